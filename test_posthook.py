"""The tests of posthook.py, in the order of its sections. Real sockets on 127.0.0.1, no mocks."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import contextvars
import copy
import functools
import hashlib
import hmac
import http.client
import http.server
import inspect
import io
import itertools
import json
import os
import random
import re
import runpy
import shlex
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from wsgiref.headers import Headers as WsgiHeaders
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

import posthook

# ==================================================================================================
# Tools
# ==================================================================================================

HOOK = {
    "id": "e5405623-2c1c-460e-9737-c884f7f59035",
    "path": "/webhooks/remind",
    "domain": "webhook.example.com",
    "data": {"userId": "123"},
    "postAt": "2026-03-01T12:00:00.123456Z",
    "status": "pending",
    "postDurationSeconds": 0.25,
    "attempts": 0,
    "failureError": "",
    "createdAt": "2026-02-23T10:00:00Z",
    "updatedAt": "2026-02-23T10:00:00Z",
}


def answer(body=None, status=200, **headers):
    """An HTTP answer as bytes; ``body`` is JSON unless it is bytes; ``a_b="c"`` is ``a-b: c``."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Whatever", f"content-length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def ok(data, **headers):
    """A 200 answer with the API's envelope around ``data``."""
    return answer({"data": data}, **headers)


class Close(bytes):
    """A step: these bytes, then the end of the connection."""


class Reset(bytes):
    """A step: these bytes, then a reset."""


class Stall(bytes):
    """A step: these bytes, then nothing more until the client goes away."""


class Script:
    """A server on 127.0.0.1 that plays a script: each request gets the next step.

    A step is bytes to send (the connection stays open), ``Close``, ``Reset`` or ``Stall``, or a
    function that takes the request and returns one of these. The last step repeats for ever.
    ``requests`` holds what came in, ``connections`` counts the connections.
    """

    def __init__(self, *steps, tls=None):
        self.steps = list(steps)
        self.requests = []
        self.connections = 0
        self._tls = tls
        self._lock = threading.Lock()
        self._open = set()
        self._threads = []
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._socket.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._start(self._accept)

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()

    @property
    def last(self):
        return self.requests[-1]

    def _start(self, target, *args):
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection = self._socket.accept()[0]
                with self._lock:
                    self.connections += 1
                    self._open.add(connection)
                self._start(self._serve, connection)

    def _serve(self, connection):
        raw = connection
        try:
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
                with self._lock:
                    self._open.add(connection)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with connection.makefile("rb") as stream:
                while self._exchange(connection, stream):
                    pass
        except (OSError, ValueError):
            pass
        finally:
            with self._lock:
                self._open -= {raw, connection}
            connection.close()
            raw.close()

    def _exchange(self, connection, stream):
        request = read_request(stream)
        if request is None:
            return False
        with self._lock:
            self.requests.append(request)
            step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        if callable(step):
            step = step(request)
        connection.sendall(step)
        if isinstance(step, Reset):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if isinstance(step, Stall):
            stream.read()
        return not isinstance(step, (Close, Reset, Stall))


class Request:
    """A request as it came over the wire; header names are lower-case."""

    def __init__(self, line, headers, body):
        self.method, self.path, self.version = line.split(" ")
        self.headers = headers
        self.body = body

    @property
    def json(self):
        return json.loads(self.body)


def read_request(stream):
    """The next request, or None at the end of the stream."""
    line = stream.readline().decode("latin-1").strip()
    if not line:
        return None
    headers = {}
    for header in iter(stream.readline, b"\r\n"):
        if not header:
            return None
        name, value = header.decode("latin-1").split(":", 1)
        assert name.lower() not in headers, f"{name} was sent twice"
        headers[name.lower()] = value.strip()
    return Request(line, headers, stream.read(int(headers.get("content-length", 0))))


def client(server, **options):
    """A client of ``server``; retries are off unless asked for."""
    options = {"timeout": 10, "max_retries": 0, **options}
    return posthook.Posthook("pk_test", base_url=server.url, **options)


@pytest.fixture(autouse=True)
def nothing_is_left(monkeypatch):
    """No environment that a test did not set, and no thread that it leaves behind."""
    for name in ("POSTHOOK_API_KEY", "POSTHOOK_SIGNING_KEY", "POSTHOOK_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive(), f"{thread} is left"


# ==================================================================================================
# 1. Imports and names
# ==================================================================================================


# ==================================================================================================
# 2. Errors
# ==================================================================================================


# ==================================================================================================
# 3. Models
# ==================================================================================================


# ==================================================================================================
# 4. Receiving
# ==================================================================================================


KEY = "phs_active_0123456789"
RETIRING_KEY = "phs_retiring_987654321"
AT = 1_767_268_800  # Unix seconds: when the vendor's example below was signed
BODY = (
    b'{"id":"e5405623-2c1c-460e-9737-c884f7f59035","path":"/webhooks/remind",'
    b'"postAt":"2026-01-01T12:00:00Z","postedAt":"2026-01-01T12:00:00.123Z",'
    b'"data":{"user_id":"usr_123"},"createdAt":"2025-12-31T12:00:00Z",'
    b'"updatedAt":"2025-12-31T12:00:00Z"}'
)
V1 = "v1,ea4c4d6263591f13732f3badf4c7c6d21ebcb5625f18c07ffbec18787265a080"
RETIRING_V1 = "v1,93ac094145a219eb8705cfc152c3916a77461b2343a121b3347ea8368e18556a"
OTHER_V1 = "v1," + "0" * 64
STAMP, SIGNATURE = "Posthook-Timestamp", "Posthook-Signature"
HEADERS = {STAMP: str(AT), SIGNATURE: V1}

service = posthook.SignaturesService(KEY)


def parse(body: Any = BODY, headers: Any = HEADERS, **options: Any) -> posthook.Delivery:
    """Verify the vendor's example, or what is given instead of parts of it."""
    return service.parse_delivery(body, headers, **{"now": AT, **options})


def refused(*arguments: Any, **options: Any) -> posthook.SignatureVerificationError:
    """The refusal of a delivery that must not be trusted."""
    with pytest.raises(posthook.SignatureVerificationError) as caught:
        parse(*arguments, **options)
    error = caught.value
    assert error.code == "signature_verification_error"
    shown = f"{error}{error!r}{error.__cause__!r}"
    assert KEY not in shown and V1[3:] not in shown
    assert len(str(error).encode()) < 1000
    return error


def signed(payload: object) -> tuple[bytes, dict[str, str]]:
    """A body that Posthook signed at AT, whatever is in it, with its headers."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return body, service.sign(body, timestamp=AT)


def test_a_delivery_is_what_the_signed_body_says():
    utc = timezone.utc
    assert parse() == posthook.Delivery(
        hook_id="e5405623-2c1c-460e-9737-c884f7f59035",
        timestamp=AT,
        path="/webhooks/remind",
        data={"user_id": "usr_123"},
        body=BODY,
        post_at=datetime(2026, 1, 1, 12, tzinfo=utc),
        posted_at=datetime(2026, 1, 1, 12, 0, 0, 123_000, tzinfo=utc),
        created_at=datetime(2025, 12, 31, 12, tzinfo=utc),
        updated_at=datetime(2025, 12, 31, 12, tzinfo=utc),
        ack_url=None,
        nack_url=None,
    )


def test_sign_gives_the_signatures_that_the_vendor_publishes():
    assert service.sign(BODY, timestamp=AT, hook_id="abc") == {
        **HEADERS,
        "X-Ph-Signature": "4fb83ec3bb1838c114f46af7abd47fcd0f9fef6b668db417d392da06dad9dd6f",
        "Posthook-Id": "abc",
    }


def test_what_sign_signs_now_can_be_verified_now():
    service.parse_delivery(BODY, service.sign(BODY))


@pytest.mark.parametrize(
    "body",
    [bytearray(BODY), memoryview(BODY), memoryview(b"<" + BODY + b">")[1:-1], BODY.decode()],
    ids=["bytearray", "memoryview", "a slice", "str"],
)
def test_a_body_may_be_any_kind_of_bytes_or_text(body):
    delivery = parse(body)
    assert type(delivery.body) is bytes and delivery.body == BODY
    assert service.sign(body, timestamp=AT)[SIGNATURE] == V1


@pytest.mark.parametrize("body", [None, {}, 1, [BODY], io.BytesIO(BODY)], ids=repr)
def test_a_body_that_something_has_parsed_is_a_type_error_that_says_so(body):
    for call in (parse, service.sign):
        with pytest.raises(TypeError, match="raw request body"):
            call(body)


def test_a_text_that_utf_8_cannot_hold_is_no_delivery():
    assert refused(BODY.decode() + "\ud800").reason == "mismatch"
    text = '{"id":"\ud800"}'
    assert refused(text, service.sign(text, timestamp=AT)).reason == "bad_payload"


class Text(str):
    """A text of a framework's own class, which shows itself differently."""

    def __str__(self) -> str:
        return "shown"


class Items:
    """Headers as many frameworks have them: with items(), but no mapping."""

    def items(self) -> list[tuple[str, str]]:
        return [("host", "example.com"), *HEADERS.items()]


def message() -> Message:
    headers = Message()
    for name, value in HEADERS.items():
        headers[name] = value
    return headers


@pytest.mark.parametrize(
    "headers",
    [
        {name.lower(): value for name, value in HEADERS.items()},
        {name.upper(): value for name, value in HEADERS.items()},
        HEADERS.items(),
        [list(pair) for pair in HEADERS.items()],
        iter(HEADERS.items()),
        [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()],
        {name: [value] for name, value in HEADERS.items()},
        {name: (value.encode(),) for name, value in HEADERS.items()},
        {Text(name): Text(value) for name, value in HEADERS.items()},
        {"HTTP_POSTHOOK_TIMESTAMP": str(AT), "HTTP_POSTHOOK_SIGNATURE": V1, "wsgi.input": None},
        WsgiHeaders(list(HEADERS.items())),
        message(),
        Items(),
        {**HEADERS, None: "x", 1: "x", b"\xff": b"\xff", "\ud800": object(), ("a",): []},
        {STAMP: f" {AT}\t", SIGNATURE: V1},
        {STAMP: [str(AT), str(AT)], SIGNATURE: V1},
    ],
    ids=str,
)
def test_headers_may_have_any_shape_that_a_framework_gives_them(headers):
    assert parse(headers=headers).timestamp == AT


@pytest.mark.parametrize("headers", [None, 1, object(), b"abc", [1], ["abc"], dict, [()]], ids=repr)
def test_what_are_no_headers_is_a_type_error_that_says_what_to_pass(headers):
    with pytest.raises(TypeError, match="pass the request's headers"):
        parse(headers=headers)


@pytest.mark.parametrize(
    "signature",
    [
        f"{RETIRING_V1} {V1}",
        f"{V1} {RETIRING_V1}",
        f"{OTHER_V1},{V1}",
        f" , {OTHER_V1} ,\t{V1},, ",
        f"v2,abc v1a,{'0' * 64} {V1}",
        [OTHER_V1, V1],
        [OTHER_V1.encode(), V1.encode()],
        "v1," + V1[3:].upper(),
    ],
    ids=str,
)
def test_one_right_signature_among_others_is_enough(signature):
    assert parse(headers={STAMP: str(AT), SIGNATURE: signature}).timestamp == AT


@pytest.mark.parametrize(
    "signature",
    [
        OTHER_V1,
        RETIRING_V1,
        "v2" + V1[2:],
        "V" + V1[1:],
        V1[3:],
        V1[:-1],
        V1 + "0",
        "x" + V1,
        V1 + ";",
        V1 + "\ud800",
        V1 + "é",
        b"\xff\xfe",
        "",
        "v1," * 400_000,
        V1[:-1] * 15_000,
        f"{OTHER_V1} " * 15_000,
    ],
    ids=lambda signature: repr(signature[:80]),
)
def test_no_other_signature_will_do_and_each_is_refused_fast(signature):
    began = time.process_time()
    assert refused(headers={STAMP: str(AT), SIGNATURE: signature}).reason == "mismatch"
    assert time.process_time() - began < 0.5


def test_every_changed_byte_of_a_body_is_found():
    for at in range(len(BODY)):
        changed = BODY[:at] + bytes([BODY[at] ^ 1]) + BODY[at + 1 :]
        assert refused(changed).reason == "mismatch"
    assert refused(b"").reason == "mismatch"


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ({}, "Missing Posthook-Timestamp"),
        ("", "Missing Posthook-Timestamp"),
        ({SIGNATURE: V1}, "Missing Posthook-Timestamp"),
        ({STAMP: None, SIGNATURE: V1}, "Missing Posthook-Timestamp"),
        ({STAMP: [], SIGNATURE: V1}, "Missing Posthook-Timestamp"),
        ({STAMP: str(AT)}, "Missing Posthook-Signature"),
        ({STAMP: str(AT), SIGNATURE: [5, None]}, "Missing Posthook-Signature"),
        ({STAMP: str(AT), "X-Ph-Signature": service.sign(BODY)["X-Ph-Signature"]}, "Missing"),
    ],
    ids=str,
)
def test_a_missing_header_is_named(headers, text):
    error = refused(headers=headers)
    assert error.reason == "missing_header" and text in str(error)


@pytest.mark.parametrize(
    "stamp",
    [
        *("", " ", "abc", "-1", "+1", "1.5", "1e9", "0x1", "17_67", "1 2", f"{AT},{AT}"),
        *("١٢٣", "²", "\ud800", b"\xff", "9" * 19, "9" * 1_000_000, [str(AT), str(AT + 1)]),
    ],
    ids=lambda stamp: repr(stamp[:20]),
)
def test_a_timestamp_is_ascii_digits_and_nothing_else(stamp):
    error = refused(headers={STAMP: stamp, SIGNATURE: V1})
    assert error.reason == "bad_timestamp" and "Invalid Posthook-Timestamp" in str(error)


@pytest.mark.parametrize(
    ("late", "tolerance", "reason"),
    [
        (300, 300, None),
        (300.9, 300, None),
        (-300, 300, None),
        (301, 300, "too_old"),
        (-301, 300, "in_future"),
        (0, 0, None),
        (1, 0, "too_old"),
        (-1, 0, "in_future"),
        (10**9, 10**30, None),
        (10**9, float("inf"), None),
        (0, float("nan"), "too_old"),
        (0, -1, "too_old"),
        (float("nan"), 300, "too_old"),
    ],
)
def test_a_delivery_is_taken_within_the_tolerance_either_way(late, tolerance, reason):
    if reason is None:
        assert parse(now=AT + late, tolerance=tolerance).timestamp == AT
    else:
        error = refused(now=AT + late, tolerance=tolerance)
        assert error.reason == reason
        assert ("Timestamp too old" in str(error)) == (reason == "too_old")


@pytest.mark.parametrize(
    "payload",
    [
        *(b"", b"{", b"[]", b"null", b"5", b'"{}"', b"{} {}", b"{}x", b"\xff", b"\xef\xbb\xbf{}"),
        *(b'{"id":"\xed\xa0\x80"}', "{}".encode("utf-16"), b"[" * 500_000, b'{"a":' * 200_000),
        b'{"a":' + b"9" * 5_000 + b"}",
    ],
    ids=lambda payload: repr(payload[:20]),
)
def test_a_signed_body_that_is_no_json_object_is_a_bad_payload(payload):
    if payload[5:6] == b"9" and not hasattr(sys, "set_int_max_str_digits"):
        pytest.skip("this Python has no limit for the digits of an int")  # pragma: no cover
    error = refused(*signed(payload))
    assert error.reason == "bad_payload" and "Failed to parse delivery payload" in str(error)


@pytest.mark.parametrize(
    "value", [None, True, 1, 2.5, "", "\ud800", [], {}, "2026-13-01T00:00:00Z"], ids=repr
)
def test_whatever_stands_in_a_signed_object_the_fields_have_their_types(value):
    names = ("id", "path", "data", "postAt", "postedAt", "createdAt", "updatedAt")
    delivery = parse(*signed(dict.fromkeys(names, value)))
    never = datetime.min.replace(tzinfo=timezone.utc)
    text = value if isinstance(value, str) else ""
    assert (delivery.hook_id, delivery.path, delivery.data) == (text, text, value)
    assert [delivery.post_at, delivery.posted_at, delivery.created_at] == [never] * 3
    assert repr(delivery).startswith("Delivery(")


@pytest.mark.parametrize(
    ("text", "microsecond"),
    [
        ("2026-03-01T12:00:00Z", 0),
        ("2026-03-01T12:00:00.1Z", 100_000),
        ("2026-03-01T12:00:00.123456999Z", 123_456),
        ("2026-03-01t12:00:00.123z", 123_000),
        ("2026-03-01T13:30:00.123+01:30", 123_000),
        ("2026-03-01T11:59:60.5Z", 500_000),
    ],
)
def test_a_deliverys_times_are_read_to_the_microsecond(text, microsecond):
    expected = datetime(2026, 3, 1, 12, 0, 0, microsecond, tzinfo=timezone.utc)
    assert parse(*signed({"postedAt": text})).posted_at == expected


@pytest.mark.parametrize(
    ("payload", "header", "hook_id"),
    [
        ({"id": "signed"}, {"Posthook-Id": "forged"}, "signed"),
        ({}, {"Posthook-Id": " header "}, "header"),
        ({"id": ""}, {"posthook-id": "header"}, "header"),
        ({}, {"Posthook-Id": None}, ""),
        ({}, {}, ""),
    ],
)
def test_the_hook_id_is_the_signed_one_and_the_headers_only_if_there_is_none(
    payload, header, hook_id
):
    body, headers = signed(payload)
    assert parse(body, {**headers, **header}).hook_id == hook_id


@pytest.mark.parametrize(
    ("urls", "found"),
    [
        (("https://a/ack?t=1,2", "https://a/nack"), ("https://a/ack?t=1,2", "https://a/nack")),
        ((" https://a/ack ", b"https://a/nack"), ("https://a/ack", "https://a/nack")),
        ((["https://a/1", "https://a/2"], "https://a/nack"), ("https://a/1", "https://a/nack")),
        (("https://a/ack", None), (None, None)),
        (("", "https://a/nack"), (None, None)),
    ],
)
def test_there_are_both_callback_urls_or_none_and_none_is_shown(urls, found):
    headers = {**HEADERS, "Posthook-Ack-URL": urls[0], "Posthook-Nack-URL": urls[1]}
    delivery = parse(headers=headers)
    assert (delivery.ack_url, delivery.nack_url) == found
    assert "https" not in repr(delivery)


@pytest.mark.parametrize("keys", [KEY, f" {KEY}\n", [KEY], (RETIRING_KEY, KEY), ["", " ", KEY]])
def test_any_of_several_keys_may_have_signed(keys):
    several = posthook.SignaturesService(keys)
    assert several.parse_delivery(BODY, HEADERS, now=AT).timestamp == AT
    assert parse(signing_key=keys).timestamp == AT
    assert KEY not in repr(several)


def test_with_several_keys_the_first_signs():
    rolling = posthook.SignaturesService([RETIRING_KEY, KEY])
    assert rolling.sign(BODY, timestamp=AT)[SIGNATURE] == RETIRING_V1
    assert repr(rolling) == "SignaturesService(2 keys)"


@pytest.mark.parametrize("key", ["schlüssel", "🔑" * 500, "inner space, comma", "\ud800"])
def test_a_key_may_be_any_text(key):
    odd = posthook.SignaturesService(key)
    assert odd.parse_delivery(BODY, odd.sign(BODY)).body == BODY


@pytest.mark.parametrize("key", [b"key", 5, ["key", None], {"key"}, [b"key"]])
def test_a_key_that_is_no_text_is_a_type_error_that_does_not_show_it(key):
    for call in (
        posthook.SignaturesService,
        posthook.create_signatures,
        lambda key: parse(signing_key=key),
    ):
        with pytest.raises(TypeError, match="^signing_key is a str, or a list or tuple of str$"):
            call(key)


def test_the_key_of_a_call_replaces_the_keys_of_the_service():
    assert refused(signing_key=RETIRING_KEY).reason == "mismatch"
    both = {STAMP: str(AT), SIGNATURE: f"{V1} {RETIRING_V1}"}
    assert parse(headers=both, signing_key=RETIRING_KEY).timestamp == AT


@pytest.mark.parametrize("blank", ["", " \n", [], (), ["", "\t"]])
def test_a_blank_key_verifies_nothing_and_is_never_replaced_by_another(blank, monkeypatch):
    monkeypatch.setenv("POSTHOOK_SIGNING_KEY", KEY)
    empty = posthook.SignaturesService(blank)
    with pytest.raises(posthook.SignatureVerificationError, match="No signing key") as caught:
        empty.parse_delivery(BODY, HEADERS, now=AT)
    assert caught.value.reason == "no_key"
    assert refused(signing_key=blank).reason == "no_key"
    with pytest.raises(ValueError, match="signing key"):
        empty.sign(BODY)
    with pytest.raises(ValueError, match="no signing key"):
        posthook.create_signatures(blank)


def test_the_environment_may_hold_several_keys(monkeypatch):
    monkeypatch.setenv("POSTHOOK_SIGNING_KEY", f" {RETIRING_KEY},{KEY}\t,\n other ")
    found = posthook.create_signatures()
    assert repr(found) == "SignaturesService(3 keys)"
    assert found.parse_delivery(BODY, HEADERS, now=AT).timestamp == AT
    with pytest.raises(posthook.SignatureVerificationError, match="No signing key"):
        posthook.SignaturesService().parse_delivery(BODY, HEADERS, now=AT)
    assert refused(signing_key=f"{KEY} {RETIRING_KEY}").reason == "mismatch"  # never split


@pytest.mark.parametrize("value", [None, "", " , "])
def test_no_key_in_the_environment_either_is_an_error(value, monkeypatch):
    monkeypatch.delenv("POSTHOOK_SIGNING_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("POSTHOOK_SIGNING_KEY", value)
    with pytest.raises(ValueError, match="POSTHOOK_SIGNING_KEY"):
        posthook.create_signatures()


def test_a_fuzzer_finds_no_forgery_and_no_other_exception():
    chance = random.Random(20_260_301)
    accepted = 0
    for _ in range(4_000):
        body, pairs = fuzzed(chance)
        try:
            delivery = service.parse_delivery(body, pairs, now=AT)
        except posthook.SignatureVerificationError as error:
            assert len(str(error).encode()) < 1000
            continue
        accepted += 1
        message = f"{delivery.timestamp}.".encode() + delivery.body
        right = hmac.new(KEY.encode(), message, "sha256").hexdigest()
        values = [v.decode("latin-1") if isinstance(v, bytes) else v for _, v in pairs]
        assert any(right in value.lower() for value in values)
    assert accepted > 200


def fuzzed(chance: random.Random) -> tuple[bytes, list[tuple[Any, Any]]]:
    """A signed delivery with up to three faults in it."""
    body, headers = signed(chance.choice([BODY, b"{}", b"[]", b'{"id":5}', b'{"data":NaN}', b""]))
    pairs: list[tuple[Any, Any]] = list(headers.items())
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(pairs))
        name, value = pairs[at]
        fault = chance.randrange(6)
        if fault == 0:
            cut = chance.randrange(len(body) + 1)
            body = body[:cut] + bytes(chance.choices(range(256), k=2)) + body[cut + 1 :]
        elif fault == 1:
            pairs[at] = (name, chance.choice([value.upper(), value + " ", "", "v1," + "0" * 64]))
        elif fault == 2:
            cut = chance.randrange(len(value) + 1)
            odd = chance.choice([",", " ", "\0", "\ud800", "\u0660", "v1,", "9" * 30, "é"])
            pairs[at] = (name, value[:cut] + odd + value[cut + chance.randrange(2) :])
        elif fault == 3:
            pairs.insert(chance.randrange(len(pairs)), (name.upper(), value))
        elif fault == 4:
            pairs[at] = (chance.choice([name[1:], "HTTP_" + name.upper().replace("-", "_")]), value)
        else:
            chance.shuffle(pairs)
    return body, [
        (name, value.encode("latin-1", "replace") if chance.random() < 0.3 else value)
        for name, value in pairs
    ]


# The three faces of the handlers. Each of these plays its server: it sends a request to the handler
# that it makes of a function, and returns status, headers with lower-case names, and body.

Answered = tuple[int, "dict[str, str]", Any]


def by_wsgi(signatures: Any, f: Any, body: Any, headers: Any, method: str = "POST") -> Answered:
    environ = {"REQUEST_METHOD": method, "CONTENT_LENGTH": str(len(body)), **from_cgi(headers)}
    return by_environ(signatures.wsgi_handler(f), io.BytesIO(body + b"next"), environ)


def from_cgi(headers: dict[str, str]) -> dict[str, str]:
    return {"HTTP_" + name.upper().replace("-", "_"): value for name, value in headers.items()}


def by_environ(app: Any, stream: Any, environ: dict[str, Any]) -> Answered:
    whole = {"wsgi.input": stream, "QUERY_STRING": "", **environ}
    setup_testing_defaults(whole)
    seen: list[Any] = []

    def start_response(status: str, pairs: Any, exc_info: Any = None) -> Any:
        seen.extend([status, pairs])

    pieces = validator(app)(whole, start_response)
    text = b"".join(pieces)
    pieces.close()
    found = {name.lower(): value for name, value in seen[1]}
    assert int(found["content-length"]) == len(text)
    return int(seen[0][:3]), found, json.loads(text)


def by_asgi(signatures: Any, f: Any, body: Any, headers: Any, method: str = "POST") -> Answered:
    cut = len(body) // 2
    pieces = [{"body": body[:cut], "more_body": True}, {"more_body": True}, {"body": body[cut:]}]
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return asyncio.run(by_scope(signatures.asgi_handler(f), pieces, pairs, method))


async def by_scope(app: Any, pieces: Any, pairs: Any = (), method: str = "POST") -> Answered:
    incoming = iter([{"type": "http.request", **piece} for piece in pieces])
    sent: list[Any] = []

    async def receive() -> Any:
        return next(incoming)

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "http", "method": method, "headers": pairs}, receive, send)
    start, end = sent
    assert [start["type"], end["type"]] == ["http.response.start", "http.response.body"]
    found = {name.decode(): value.decode() for name, value in start["headers"]}
    assert list(found) == [name.lower() for name in found]
    assert int(found["content-length"]) == len(end["body"])
    return start["status"], found, json.loads(end["body"])


def by_event(make: Any) -> Any:
    def send(signatures: Any, f: Any, body: Any, headers: Any, method: str = "POST") -> Answered:
        event = make(method, headers)
        event.update(body=base64.b64encode(body).decode(), isBase64Encoded=True)
        return answered(signatures.lambda_handler(f)(event, None))

    return send


def answered(answer: Any) -> Answered:
    assert json.loads(json.dumps(answer)) == answer and answer["isBase64Encoded"] is False
    assert set(answer) <= {"statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded"}
    single = answer.get("headers") or {n: v for n, [v] in answer["multiValueHeaders"].items()}
    return (
        answer["statusCode"],
        {name.lower(): value for name, value in single.items()},
        json.loads(answer["body"]),
    )


def rest_event(method: str, headers: Any) -> dict[str, Any]:
    several = {name: [value] for name, value in headers.items()}
    return {"httpMethod": method, "headers": {}, "multiValueHeaders": several, "requestContext": {}}


def http_event(method: str, headers: Any) -> dict[str, Any]:
    lowered = {name.lower(): value for name, value in headers.items()}
    return {"version": "2.0", "headers": lowered, "requestContext": {"http": {"method": method}}}


def balancer_event(method: str, headers: Any) -> dict[str, Any]:
    return {"httpMethod": method, "headers": headers, "requestContext": {"elb": {}}}


def several_event(method: str, headers: Any) -> dict[str, Any]:
    return {**rest_event(method, headers), "requestContext": {"elb": {}}}


FACES = {
    "wsgi": by_wsgi,
    "asgi": by_asgi,
    "lambda rest": by_event(rest_event),
    "lambda http": by_event(http_event),
    "lambda balancer": by_event(balancer_event),
    "lambda balancer, several values": by_event(several_event),
}
every_face = pytest.mark.parametrize("face", FACES.values(), ids=FACES.keys())
JSON = "application/json"


def never(delivery: posthook.Delivery) -> posthook.Result:
    raise AssertionError("called")


class Called:
    """A handler function that keeps its deliveries, and is false and async in odd ways."""

    def __init__(self, result: object = None, failure: BaseException | None = None) -> None:
        self.result, self.failure = result, failure
        self.deliveries: list[posthook.Delivery] = []

    def __bool__(self) -> bool:
        raise AssertionError("a function has no truth value")

    def __call__(self, delivery: posthook.Delivery) -> Any:
        self.deliveries.append(delivery)
        if self.failure is not None:
            raise self.failure
        return self.result


class AsyncCalled(Called):
    async def __call__(self, delivery: posthook.Delivery) -> Any:
        await asyncio.sleep(0)
        return super().__call__(delivery)


class AwaitableCalled(AsyncCalled):
    def __call__(self, delivery: posthook.Delivery) -> Any:
        return super().__call__(delivery)  # a plain function that returns an awaitable


def as_function(f: Any) -> Any:
    async def function(delivery: posthook.Delivery) -> Any:
        return await f(delivery)

    return function


KINDS = {
    "sync": (Called, lambda f: f),
    "partial": (Called, functools.partial),
    "async object": (AsyncCalled, lambda f: f),
    "async function": (AsyncCalled, as_function),
    "async partial": (AsyncCalled, functools.partial),
    "returns an awaitable": (AwaitableCalled, lambda f: f),
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


@every_face
@every_kind
@pytest.mark.parametrize(
    ("result", "status", "body"),
    [
        (None, 200, {"ok": True}),
        (posthook.Result.ack(), 200, {"ok": True}),
        (posthook.Result.accept(600), 202, {"ok": True}),
        (posthook.Result.nack("later"), 500, {"error": "later"}),
    ],
    ids=["None", "ack", "accept", "nack"],
)
def test_a_handlers_result_is_answered(face, kind, result, status, body):
    make, wrapped = kind
    f = make(result)
    found = face(service, wrapped(f), BODY, service.sign(BODY))
    assert (found[0], found[2]) == (status, body)
    assert found[1]["content-type"] == JSON
    assert found[1].get("posthook-async-timeout") == ("600" if status == 202 else None)
    assert [delivery.body for delivery in f.deliveries] == [BODY]


@every_face
@every_kind
@pytest.mark.parametrize(
    "failure",
    [OSError("down"), LookupError(), SystemExit(1), posthook.SignatureVerificationError("x")],
)
def test_a_handler_that_raises_is_logged_and_answered_500(face, kind, failure, caplog):
    make, wrapped = kind
    status, headers, body = face(service, wrapped(make(failure=failure)), BODY, service.sign(BODY))
    assert (status, headers["content-type"], body) == (500, JSON, {"error": "the handler failed"})
    [record] = [record for record in caplog.records if record.name == "posthook"]
    assert record.levelname == "ERROR" and record.exc_info[1] is failure
    assert KEY not in caplog.text


@every_face
@pytest.mark.parametrize(
    "result",
    [True, 200, {"ok": True}, "ack", (200, ""), posthook.Result("other")],
    ids=repr,
)
def test_a_handler_that_returns_anything_else_is_logged_and_answered_500(face, result, caplog):
    status, _, _ = face(service, Called(result), BODY, service.sign(BODY))
    assert status == 500
    assert [r.levelname for r in caplog.records if r.name == "posthook"] == ["ERROR"]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (None, "nack"),
        ("", "''"),
        (ValueError("broken"), "broken"),
        (KeyError(), "KeyError()"),
        ("\ud800\n", "\ud800\n"),
        ("x" * 5_000, "x" * 1_000),
    ],
)
def test_the_reason_of_a_nack_is_answered_and_logged(error, text, caplog):
    caplog.set_level("INFO")
    _, _, body = by_wsgi(service, Called(posthook.Result.nack(error)), BODY, service.sign(BODY))
    assert body == {"error": text} and repr(text) in caplog.text


@pytest.mark.parametrize(("timeout", "header"), [(10, "10"), (10.2, "11"), (10_800.0, "10800")])
def test_the_timeout_of_an_accept_is_told_in_whole_seconds(timeout, header):
    accepted = Called(posthook.Result.accept(timeout))
    _, headers, _ = by_wsgi(service, accepted, BODY, service.sign(BODY))
    assert headers["posthook-async-timeout"] == header


@every_face
@pytest.mark.parametrize(
    ("body", "headers", "text"),
    [
        (BODY + b" ", service.sign(BODY), "Signature verification failed"),
        (b"", service.sign(BODY), "Signature verification failed"),
        (BODY, HEADERS, "Timestamp too old"),
        (BODY, {}, "Missing Posthook-Timestamp"),
        (BODY, {STAMP: "1", SIGNATURE: "é"}, "Timestamp too old"),
        (BODY, {STAMP: "é", SIGNATURE: "é"}, "Invalid Posthook-Timestamp"),
        (b"[]", service.sign(b"[]"), "Failed to parse delivery payload"),
    ],
)
def test_what_must_not_be_trusted_is_answered_401(face, body, headers, text, caplog):
    caplog.set_level("DEBUG")
    status, answer_headers, answer = face(service, never, body, headers)
    assert (status, answer_headers["content-type"]) == (401, JSON)
    assert text in answer["error"] and text in caplog.text and KEY not in caplog.text


@every_face
def test_without_a_key_the_handler_can_be_made_and_answers_500(face, caplog):
    keyless = posthook.SignaturesService()
    status, headers, answer = face(keyless, never, BODY, service.sign(BODY))
    assert (status, headers["content-type"], list(answer)) == (500, JSON, ["error"])
    assert [r.levelname for r in caplog.records if r.name == "posthook"] == ["ERROR"]


@every_face
@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD", "OPTIONS", "PATCH"])
def test_only_post_is_taken(face, method):
    status, headers, answer = face(service, never, BODY, service.sign(BODY), method)
    assert (status, headers["allow"], list(answer)) == (405, "POST", ["error"])


@every_face
def test_a_body_of_one_mebibyte_is_taken_and_a_byte_more_is_not(face):
    body = BODY.ljust(1_048_576)
    assert face(service, Called(), body, service.sign(body))[0] == 200
    assert face(service, never, body + b" ", service.sign(body + b" "))[0] == 413


@pytest.mark.parametrize("f", [None, "f", 5])
def test_a_handler_of_no_function_is_a_type_error(f):
    for make in (service.wsgi_handler, service.asgi_handler, service.lambda_handler):
        with pytest.raises(TypeError, match="a function that takes a Delivery"):
            make(f)


# WSGI


class Stream:
    """A wsgi.input that gives a byte or so a read, and waits, so to say, at its end."""

    def __init__(self, content: bytes, size: int = 7, end: bytes | Exception = b"") -> None:
        self.content, self.size, self.end, self.asked = io.BytesIO(content), size, end, 0

    def read(self, size: int) -> bytes:
        self.asked += size
        piece = self.content.read(min(size, self.size))
        if not piece and isinstance(self.end, Exception):
            raise self.end
        return piece

    readline = readlines = __iter__ = read  # wsgiref.validate looks whether they are there


def environ(**more: Any) -> dict[str, Any]:
    return {"REQUEST_METHOD": "POST", **from_cgi(service.sign(BODY)), **more}


@pytest.mark.parametrize(
    ("stream", "more", "status"),
    [
        (Stream(BODY, end=OSError()), {"CONTENT_LENGTH": str(len(BODY))}, 200),
        (Stream(BODY), {"CONTENT_LENGTH": "000" + str(len(BODY)), "x.y": b"\xff"}, 200),
        (Stream(BODY), {"wsgi.input_terminated": True}, 200),
        (Stream(BODY), {"wsgi.input_terminated": True, "CONTENT_LENGTH": ""}, 200),
        (Stream(BODY, end=OSError()), {"wsgi.input_terminated": True}, 400),
        (Stream(b" " * 2**21, 2**16), {"wsgi.input_terminated": True}, 413),
        (Stream(BODY, end=OSError()), {"CONTENT_LENGTH": "500"}, 400),
        (Stream(BODY), {"CONTENT_LENGTH": "500"}, 400),
    ],
)
def test_a_wsgi_body_is_read_in_short_reads_to_its_end(stream, more, status):
    f = Called()
    assert by_environ(service.wsgi_handler(f), stream, environ(**more))[0] == status
    assert len(f.deliveries) == (status == 200)


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({}, 401),
        ({"CONTENT_LENGTH": ""}, 401),
        ({"CONTENT_LENGTH": "0"}, 401),
        ({"CONTENT_LENGTH": "-1", "x": b"x", "HTTP_HOST": 5}, 400),
        ({"CONTENT_LENGTH": b"5"}, 400),
        ({"CONTENT_LENGTH": "1e3"}, 400),
        ({"CONTENT_LENGTH": "١"}, 400),
        ({"CONTENT_LENGTH": "1048577"}, 413),
        ({"CONTENT_LENGTH": "9" * 5_000}, 413),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_wsgi_body_without_an_end_is_not_read(more, status):
    stream = Stream(BODY)
    app = service.wsgi_handler(never)
    seen: list[str] = []
    app({"wsgi.input": stream, **environ(**more)}, lambda status, headers: seen.append(status))
    assert (int(seen[0][:3]), stream.asked) == (status, 0)


def test_a_wsgi_handler_serves_over_a_real_socket():
    f = Called()
    with serving(service.wsgi_handler(f)) as address:
        assert posted(address, BODY, service.sign(BODY)) == (200, {"ok": True})
        assert posted(address, BODY + b" ", service.sign(BODY))[0] == 401
    assert f.deliveries[0].data == {"user_id": "usr_123"}


class QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        pass


def serving(app: Any) -> Any:
    return running(make_server("127.0.0.1", 0, app, handler_class=QuietHandler))


@contextlib.contextmanager
def running(server: HTTPServer) -> Iterator[tuple[str, int]]:
    """A server on a thread, and its address."""
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield ("127.0.0.1", server.server_port)
        finally:
            server.shutdown()
            thread.join()


def posted(address: tuple[str, int], body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(*address, timeout=10)
    with contextlib.closing(connection):
        connection.request("POST", "/hooks", body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def test_a_plain_http_server_receives_with_its_own_headers():
    received: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(service.parse_delivery(body, self.headers).path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        log_message = QuietHandler.log_message

    with running(HTTPServer(("127.0.0.1", 0), Handler)) as address:
        assert posted(address, BODY, service.sign(BODY)) == (200, {})
    assert received == ["/webhooks/remind"]


# ASGI


def test_an_asgi_app_is_a_coroutine_function():
    assert inspect.iscoroutinefunction(service.asgi_handler(never))


def test_forty_sync_handlers_run_at_once_and_leave_no_thread():
    together = threading.Barrier(40)

    def meet(delivery: posthook.Delivery) -> None:
        together.wait(10)

    app = service.asgi_handler(meet)
    pairs = list(service.sign(BODY).items())

    async def main() -> list[Answered]:
        return await asyncio.gather(*[by_scope(app, [{"body": BODY}], pairs) for _ in range(40)])

    assert [status for status, _, _ in asyncio.run(main())] == [200] * 40
    assert "posthook-handler" not in [thread.name for thread in threading.enumerate()]


def test_a_sync_handler_does_not_hold_up_the_loop_and_sees_the_context():
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    go_on = threading.Event()
    seen: list[Any] = []

    def wait(delivery: posthook.Delivery) -> None:
        seen.extend([go_on.wait(10), variable.get()])

    async def main() -> Answered:
        variable.set("set")
        pairs = list(service.sign(BODY).items())
        task = asyncio.ensure_future(by_scope(service.asgi_handler(wait), [{"body": BODY}], pairs))
        asyncio.get_running_loop().call_later(0.01, go_on.set)
        return await task

    assert asyncio.run(main())[0] == 200
    assert seen == [True, "set"]


def test_a_cancelled_asgi_request_does_not_wait_for_its_handler():
    started, go_on = threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    def wait(delivery: posthook.Delivery) -> None:
        threads.append(threading.current_thread())
        started.set()
        go_on.wait(10)

    async def main() -> None:
        pairs = list(service.sign(BODY).items())
        app = service.asgi_handler(wait)
        task = asyncio.ensure_future(by_scope(app, [{"body": BODY}], pairs))
        while not started.is_set():
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    go_on.set()
    threads[0].join(10)
    assert not threads[0].is_alive()


@pytest.mark.parametrize("pieces", [[], [{"body": BODY[:50], "more_body": True}]])
def test_an_asgi_client_that_goes_away_is_not_answered(pieces):
    incoming = [{"type": "http.request", **piece} for piece in pieces]
    incoming.append({"type": "http.disconnect"})
    scope = {"type": "http", "method": "POST", "headers": list(service.sign(BODY).items())}
    assert exchanged(service.asgi_handler(never), scope, incoming) == []


def test_an_asgi_client_that_does_not_wait_for_its_answer_is_no_error():
    async def receive() -> Any:
        return {"type": "http.request", "body": BODY}

    async def send(message: Any) -> None:
        raise OSError("gone")

    asyncio.run(service.asgi_handler(never)({"type": "http", "method": "GET"}, receive, send))


def exchanged(app: Any, scope: Any, incoming: list[Any]) -> list[Any]:
    """All that the app sends in answer to these events."""
    sent: list[Any] = []

    async def receive() -> Any:
        return incoming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent


def test_asgi_reading_stops_soon_after_the_limit():
    incoming = [{"type": "http.request", "body": b" " * 65_536, "more_body": True}] * 100
    sent = exchanged(service.asgi_handler(never), {"type": "http", "method": "POST"}, incoming)
    assert sent[0]["status"] == 413 and len(incoming) == 100 - 17


def test_asgi_lifespan_events_are_answered():
    incoming = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    assert exchanged(service.asgi_handler(never), {"type": "lifespan"}, incoming) == [
        {"type": "lifespan.startup.complete"},
        {"type": "lifespan.shutdown.complete"},
    ]


def test_an_asgi_websocket_is_closed_and_an_unknown_scope_refused():
    app = service.asgi_handler(never)
    assert exchanged(app, {"type": "websocket"}, []) == [{"type": "websocket.close"}]
    with pytest.raises(ValueError, match="no ASGI scope"):
        exchanged(app, {"type": "telepathy"}, [])


# AWS Lambda


def event(**more: Any) -> dict[str, Any]:
    return {**http_event("POST", service.sign(BODY)), "body": BODY.decode(), **more}


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"isBase64Encoded": False}, 200),
        ({"multiValueHeaders": None}, 200),
        ({"multiValueHeaders": {}}, 200),
        ({"body": None}, 401),
        ({"body": ""}, 401),
        ({"body": "e30=", "isBase64Encoded": True}, 401),
        ({"body": {"id": "x"}}, 400),
        ({"body": BODY}, 400),
        ({"body": "\ud800"}, 400),
        ({"body": "e30", "isBase64Encoded": True}, 400),
        ({"body": "e3 0=", "isBase64Encoded": True}, 400),
        ({"body": "é", "isBase64Encoded": True}, 400),
        ({"headers": None}, 401),
        ({"headers": ["x"], "multiValueHeaders": 5}, 401),
        ({"headers": {STAMP: None, 5: 5}}, 401),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_lambda_event_is_answered_whatever_is_in_it(more, status):
    given = event(**more)
    before = copy.deepcopy(given)
    answer = service.lambda_handler(Called())(given, None)
    assert (answered(answer)[0], given) == (status, before)


def test_a_lambda_event_without_body_or_headers_is_answered():
    bare = {"requestContext": {"http": {"method": "POST"}}}
    assert service.lambda_handler(never)(bare, None)["statusCode"] == 401


def test_a_load_balancer_is_answered_in_the_form_that_it_asked_in():
    handler = service.lambda_handler(never)
    several = handler(several_event("GET", {}), None)
    assert several["multiValueHeaders"]["Allow"] == ["POST"] and "headers" not in several
    for single in (rest_event("GET", {}), balancer_event("GET", {})):
        assert handler(single, None)["headers"]["Allow"] == "POST"


@pytest.mark.parametrize(
    "given",
    [None, [], "", {}, {"Records": []}, {"requestContext": {"http": None}}, {"httpMethod": 5}],
)
def test_an_event_that_is_no_http_request_is_a_type_error_that_says_so(given):
    with pytest.raises(TypeError, match="no HTTP request"):
        service.lambda_handler(never)(given, None)


def test_a_warm_lambda_runs_an_async_handler_again_and_again():
    f = AsyncCalled()
    handler = service.lambda_handler(f)
    assert [handler(event(), None)["statusCode"] for _ in range(3)] == [200] * 3
    assert len(f.deliveries) == 3


def test_an_async_handler_of_a_lambda_runs_to_its_end_within_a_running_loop_too():
    f = AsyncCalled()

    async def main() -> Any:
        return service.lambda_handler(f)(event(), None)

    assert asyncio.run(main())["statusCode"] == 200 and len(f.deliveries) == 1


@pytest.mark.parametrize("face", [by_wsgi, by_event(rest_event)])
def test_an_async_handler_that_is_cancelled_has_failed(face):
    f = AsyncCalled(failure=asyncio.CancelledError())
    assert face(service, f, BODY, service.sign(BODY))[0] == 500


# ==================================================================================================
# 5. Requests and answers
# ==================================================================================================


# ==================================================================================================
# 6. Transport
# ==================================================================================================


# ==================================================================================================
# 7. The client
# ==================================================================================================


def test_a_hook_is_scheduled_and_returned_with_its_quota():
    quota = {"posthook_hookquota_limit": 100, "posthook_hookquota_usage": 1}
    with Script(answer({"data": HOOK}, 201, **quota)) as server, client(server) as posthooks:
        hook = posthooks.hooks.schedule("/webhooks/remind", post_in="5m", data={"userId": "123"})
    assert hook.id == HOOK["id"]
    assert hook.quota == posthook.QuotaInfo(100, 1, 0, None)
    assert server.last.json == {
        "path": "/webhooks/remind",
        "data": {"userId": "123"},
        "postIn": "5m",
    }
    assert server.last.headers["x-api-key"] == "pk_test"


# ==================================================================================================
# 8. The async client
# ==================================================================================================


# ==================================================================================================
# 9. Callbacks
# ==================================================================================================


# ==================================================================================================
# 10. LocalPosthook
# ==================================================================================================


@contextlib.contextmanager
def endpoint(answer=200):
    """A receiver on loopback: yields its URL and the list of (path, headers, body) that came.

    ``answer`` is a status, or a function of the request's handler that gives a status or
    (status, headers); None from it means that it has answered, or dropped the connection, itself.
    """
    got = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        protocol_version, disable_nagle_algorithm, wbufsize = "HTTP/1.1", True, -1

        def do_POST(self):
            self.body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.path, self.headers, self.body))
            result = answer(self) if callable(answer) else answer
            if result is not None:
                status, headers = (result, {}) if isinstance(result, int) else result
                self.send_response(status)
                for name, value in {"Content-Length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

        def log_message(self, *args):
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *args):
            pass

    with Server(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", got
        finally:
            server.shutdown()
            thread.join()


def api(server, method, path, body=None, *, key=None):
    """One call on a connection of its own: (status, JSON, headers)."""
    connection = http.client.HTTPConnection(server.url[7:], timeout=10)
    try:
        text = body if body is None or isinstance(body, bytes) else json.dumps(body)
        headers = {} if key == "" else {"X-API-Key": key or server.api_key}
        connection.request(method, path, text, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or "null"), answer.headers
    finally:
        connection.close()


def add(server, path="/p", post_in="1h", **fields):
    """Schedule a hook: the API's object."""
    mode = {} if {"postAt", "postAtLocal"} & set(fields) else {"postIn": post_in}
    status, body, _ = api(server, "POST", "/v1/hooks", {"path": path, **mode, **fields})
    assert status == 201, body
    return body["data"]


def get(server, hook):
    return api(server, "GET", f"/v1/hooks/{hook['id']}")[1]["data"]


def until(condition, seconds=10):
    """Wait for what another thread does; the pauses only save CPU."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.002)


def raw(server, data, *, end=True):
    """What comes back for these bytes, until the server closes."""
    with socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])), 10) as sock:
        sock.sendall(data)
        if end:
            sock.shutdown(socket.SHUT_WR)
        parts = []
        with contextlib.suppress(ConnectionResetError):
            while part := sock.recv(65536):
                parts.append(part)
        return b"".join(parts)


def moment(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


PAST = "2020-01-01T00:00:00Z"
FIXED = {"minRetries": 2, "delaySecs": 5, "strategy": "fixed"}


@pytest.fixture(scope="module")
def shared():
    """A server for tests that leave nothing behind in it but hooks that are not due."""
    with posthook.LocalPosthook() as server:
        add(server, post_in="365d")
        yield server


# The object


def test_local_gives_itself_and_tells_how_to_reach_it():
    local = posthook.LocalPosthook(api_key="k", signing_key="s")
    with local as server:
        assert server is local
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", server.url)
        assert (server.api_key, server.signing_key) == ("k", "s")


def test_local_listens_on_the_port_that_was_asked_for():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with posthook.LocalPosthook(port=port) as server:
        assert server.url == f"http://127.0.0.1:{port}"
        with pytest.raises(posthook.PosthookConnectionError, match=f"{port}.* in use"):
            posthook.LocalPosthook(port=port).__enter__()


def test_the_repr_of_local_counts_and_shows_no_key():
    with posthook.LocalPosthook(signing_key="secret-key", api_key="other-key") as server:
        add(server)
        assert repr(server) == f"LocalPosthook(url='{server.url}', hooks=1, deliveries=0)"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"forward_to": "localhost:8000"}, ValueError),
        ({"forward_to": "ftp://localhost"}, ValueError),
        ({"forward_to": "http://"}, ValueError),
        ({"forward_to": ""}, ValueError),
        ({"forward_to": "http://a:99999"}, ValueError),
        ({"forward_to": "http://[::1"}, ValueError),
        ({"forward_to": "http://a b/"}, ValueError),
        ({"forward_to": "http://user:password@a/"}, ValueError),
        ({"forward_to": "http://a/?q=1"}, ValueError),
        ({"forward_to": "http://a/#f"}, ValueError),
        ({"forward_to": b"http://a"}, TypeError),
        ({"forward_to": print}, TypeError),
        ({"port": 70_000}, ValueError),
        ({"port": -1}, ValueError),
        ({"port": "80"}, TypeError),
        ({"port": True}, TypeError),
        ({"quota": -1}, ValueError),
        ({"quota": 1.5}, TypeError),
        ({"api_key": ""}, ValueError),
        ({"api_key": None}, TypeError),
        ({"signing_key": " "}, ValueError),
        ({"signing_key": b"k"}, TypeError),
    ],
)
def test_local_refuses_a_wrong_argument(arguments, error):
    with pytest.raises(error):
        posthook.LocalPosthook(**arguments)


def test_local_runs_only_once_and_only_inside_its_block():
    server = posthook.LocalPosthook()
    with pytest.raises(posthook.PosthookError, match="with"):
        server.advance("9d")
    with server:
        created = moment(add(server, post_in="1s")["createdAt"])
        server.advance(1)
    assert abs(created - datetime.now(timezone.utc)) < timedelta(seconds=2)
    with pytest.raises(posthook.PosthookError, match="with"):
        server.advance(1)
    with pytest.raises(posthook.PosthookError, match="once"):
        server.__enter__()
    assert (len(server.hooks), len(server.deliveries)) == (1, 1)


def test_leaving_local_ends_its_threads_and_connections_whatever_waits():
    before = set(threading.enumerate())
    with endpoint(500) as (url, _):
        mine = set(threading.enumerate())
        with posthook.LocalPosthook(url) as server:
            address = "127.0.0.1", int(server.url.rsplit(":", 1)[1])
            idle, half, kept = (socket.create_connection(address, 10) for _ in range(3))
            half.sendall(b"POST /v1/hooks HTTP/1.1\r\nContent-Length: 5\r\n\r\n{")
            kept.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert kept.recv(9999).startswith(b"HTTP/1.1 401 ")
            add(server, postAt=PAST)
            until(lambda: server.hooks[0].status == "retry")
            add(server, post_in="365d")
            start = time.monotonic()
        assert time.monotonic() - start < 2
        left = set(threading.enumerate()) - mine
        assert [thread for thread in left if thread.name == "LocalPosthook"] == []
        for sock in (idle, half, kept):
            assert sock.recv(1) == b""
            sock.close()
        with pytest.raises(OSError):
            socket.create_connection(address, 1)
    until(lambda: set(threading.enumerate()) <= before)


def test_leaving_local_waits_for_an_attempt_in_flight(monkeypatch):
    monkeypatch.setattr(posthook, "_ATTEMPT_SECONDS", 0.2)
    arrived, release = threading.Event(), threading.Event()

    def hang(_):
        arrived.set()
        release.wait(10)

    with endpoint(hang) as (url, _):
        with posthook.LocalPosthook(url) as server:
            add(server, postAt=PAST)
            assert arrived.wait(10)
        assert [delivery.error for delivery in server.deliveries] == ["timed out after 0.2 s"]
        release.set()


def test_hooks_are_models_in_the_order_they_were_scheduled():
    with posthook.LocalPosthook() as server:
        add(server, "/late", "2h", data={"n": 1})
        add(server, "/soon", "1h", retryOverride=FIXED)
        server.advance("1h")
        late, soon = server.hooks
    assert (late.path, late.data, late.status, late.domain) == ("/late", {"n": 1}, "pending", None)
    assert (soon.status, soon.attempts, soon.retry_override.delay_secs) == ("completed", 1, 5)


def test_a_delivery_tells_what_was_sent_and_how_it_went():
    with endpoint(404) as (url, _), posthook.LocalPosthook(url) as server:
        hook = add(server, "/x", data=[1], retryOverride=FIXED)
        server.advance(3607)
        first, second = server.deliveries
    assert (first.hook_id, first.path, first.data, first.attempt) == (hook["id"], "/x", [1], 1)
    assert (first.status_code, first.error) == (404, "HTTP 404")
    assert first.posted_at - moment(hook["postAt"]) < timedelta(seconds=1)
    assert 0 < first.seconds < 5
    assert second.attempt == 2


def test_the_observer_hears_of_every_call_and_attempt_but_of_no_token(caplog):
    lines = []
    with endpoint(202) as (url, got), posthook.LocalPosthook(url, async_hooks=True) as server:
        server.observer = lines.append
        hook = add(server, "/p q\n\x1bü?x=1", post_in="1s")
        server.advance(1)
        token = got[0][1]["Posthook-Ack-URL"]
        api(server, "POST", token[len(server.url) :], key="")
        api(server, "GET", "/v1/hooks?limit=1")
        server.observer = lambda line: 1 / 0
        api(server, "GET", "/v1/hooks?limit=1")
        assert "observer" in caplog.text
    assert [re.sub(r"\d\.\d{3}", "0.000", line) for line in lines] == [
        "POST /v1/hooks 201",
        "delivery /p%20q%0A%1B%C3%BC?x=1 #1: 202 (0.000 s)",
        f"POST /v1/callbacks/{hook['id']}/1/ack 200",
        "GET /v1/hooks 200",
    ]


# The clock


def test_the_clock_is_real_time_plus_every_advance_and_runs():
    with posthook.LocalPosthook() as server:
        server.advance("1d")
        server.advance(timedelta(hours=2))
        server.advance(30.5)
        expected = datetime.now(timezone.utc) + timedelta(hours=26, seconds=30.5)
        one, two = add(server), add(server)
    assert abs(moment(one["createdAt"]) - expected) < timedelta(seconds=2)
    assert moment(two["createdAt"]) > moment(one["createdAt"])
    assert moment(one["postAt"]) - moment(one["createdAt"]) == timedelta(hours=1)


def test_a_hook_of_the_past_is_delivered_at_once_without_advance():
    with endpoint() as (url, got), posthook.LocalPosthook(url) as server:
        hook = add(server, postAt=PAST)
        until(lambda: get(server, hook)["status"] == "completed")
        assert get(server, hook)["postAt"] == PAST
    assert len(got) == 1


def test_a_later_hook_that_is_waited_for_does_not_hold_up_an_earlier_one():
    with posthook.LocalPosthook() as server:
        add(server, post_in="5h")
        hook = add(server, post_in="1s")
        until(lambda: server.deliveries)
        assert server.deliveries[0].hook_id == hook["id"]
        late = server.deliveries[0].posted_at - moment(hook["postAt"])
    assert timedelta(0) <= late < timedelta(seconds=1)


def test_attempts_run_in_parallel_and_leave_the_api_free():
    barrier = threading.Barrier(9)

    def meet(_):
        barrier.wait(10)
        return 200

    with endpoint(meet) as (url, _), posthook.LocalPosthook(url) as server:
        hooks = [add(server, postAt=PAST) for _ in range(8)]
        assert get(server, hooks[0])["status"] == "pending"
        barrier.wait(10)
        until(lambda: len(server.deliveries) == 8)


def test_more_hooks_than_threads_are_all_delivered():
    with endpoint() as (url, got), posthook.LocalPosthook(url) as server:
        for _ in range(40):
            add(server, postAt=PAST)
        until(lambda: len(server.deliveries) == 40)
    assert len(got) == 40


# advance()


@pytest.mark.parametrize("nothing", [0, 0.0, "0s", timedelta(0)])
def test_advancing_by_nothing_attempts_what_is_due(nothing):
    with posthook.LocalPosthook() as server:
        add(server, postAt=PAST)
        server.advance(nothing)
        assert server.hooks[0].status == "completed"


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (-1, ValueError),
        (timedelta(seconds=-1), ValueError),
        ("", ValueError),
        ("-1s", ValueError),
        ("1w", ValueError),
        ("5m1h", ValueError),
        (float("nan"), ValueError),
        (float("inf"), ValueError),
        (1e30, ValueError),
        ("999999999999d", ValueError),
        ("3000000d", ValueError),
        (None, TypeError),
        (True, TypeError),
        (b"1s", TypeError),
    ],
)
def test_advance_refuses_a_wrong_step_and_does_not_move(step, error):
    with posthook.LocalPosthook() as server:
        with pytest.raises(error):
            server.advance(step)
        created = moment(add(server)["createdAt"])
    assert abs(created - datetime.now(timezone.utc)) < timedelta(seconds=2)


def test_advance_goes_from_one_due_time_to_the_next_in_order_without_overlap():
    running, most = [], []

    def slow(request):
        running.append(1)
        most.append(len(running))
        running.pop()
        return 200

    with endpoint(slow) as (url, got), posthook.LocalPosthook(url) as server:
        for minutes in (30, 10, 20, 40):
            add(server, f"/{minutes}", f"{minutes}m")
        server.advance("35m")
        posted = [delivery.posted_at for delivery in server.deliveries]
        due = sorted(hook.post_at for hook in server.hooks)[:3]
        assert [hook.status for hook in server.hooks][-1] == "pending"
    assert [path for path, *_ in got] == ["/10", "/20", "/30"]
    assert most == [1, 1, 1]
    assert all(timedelta(0) <= p - d < timedelta(seconds=1) for p, d in zip(posted, due))
    assert posted == sorted(posted)


def test_advance_makes_what_a_handler_schedules_on_the_way():
    def chain(request):
        count = json.loads(request.body)["data"]
        if count:
            add(server, post_in="1h", data=count - 1)
        return 200

    with endpoint(chain) as (url, got), posthook.LocalPosthook(url) as server:
        add(server, post_in="1h", data=5)
        server.advance("3h30m")
        assert len(got) == 3
        server.advance("1d")
        assert len(got) == 6


def test_attempts_of_one_due_time_run_in_parallel():
    barrier = threading.Barrier(4)

    def meet(_):
        barrier.wait(10)
        return 200

    with endpoint(meet) as (url, _), posthook.LocalPosthook(url) as server:
        for _ in range(4):
            add(server, postAt="2100-01-01T00:00:00Z")
        server.advance(timedelta(days=365 * 100))
        assert [hook.status for hook in server.hooks] == ["completed"] * 4


def test_advance_waits_for_what_is_in_flight_in_real_time():
    arrived, release = threading.Event(), threading.Event()

    def hold(request):
        if request.path == "/held":
            arrived.set()
            release.wait(10)
        return 200

    with endpoint(hold) as (url, got), posthook.LocalPosthook(url) as server:
        add(server, "/held", postAt=PAST)
        add(server, "/later")
        assert arrived.wait(10)
        mover = threading.Thread(target=server.advance, args=("1h",))
        mover.start()
        assert [path for path, *_ in got] == ["/held"]
        release.set()
        mover.join(10)
    assert [path for path, *_ in got] == ["/held", "/later"]


def test_an_advance_waits_for_another_threads_and_both_count():
    arrived, release = threading.Event(), threading.Event()

    def hold(_):
        arrived.set()
        release.wait(10)
        return 200

    with endpoint(hold) as (url, got), posthook.LocalPosthook(url) as server:
        for hours in (1, 3, 5):
            add(server, post_in=f"{hours}h")
        threads = [threading.Thread(target=server.advance, args=("2h",)) for _ in range(2)]
        threads[0].start()
        assert arrived.wait(10)
        threads[1].start()
        until(lambda: sys._current_frames()[threads[1].ident].f_code.co_name == "wait")
        assert len(got) == 1
        release.set()
        for thread in threads:
            thread.join(10)
        assert len(server.deliveries) == 2


def test_leaving_local_ends_an_advance_under_way():
    arrived, release, failures = threading.Event(), threading.Event(), []

    def hold(_):
        arrived.set()
        release.wait(10)
        return 200

    def move():
        with pytest.raises(posthook.PosthookError) as failure:
            server.advance("1h")
        failures.append(failure)
        release.set()

    with endpoint(hold) as (url, _):
        with posthook.LocalPosthook(url) as server:
            add(server)
            mover = threading.Thread(target=move)
            mover.start()
            assert arrived.wait(10)
        mover.join(10)
    assert len(failures) == 1


# Forwarding


def test_a_delivery_looks_like_the_services_own():
    key = "phs_ä"
    with endpoint() as (url, got), posthook.LocalPosthook(url, signing_key=key) as server:
        hook = add(server, "/a", data={"ü": 1})
        server.advance("1h")
    ((path, headers, body),) = got
    sent = json.loads(body)
    assert path == "/a"
    assert headers.get_all("Content-Type") == ["application/json"]
    assert headers["User-Agent"] == "Posthook/1.0"
    assert headers["Posthook-Id"] == hook["id"] == sent["id"]
    assert list(sent) == ["id", "path", "postAt", "postedAt", "data", "createdAt", "updatedAt"]
    assert {name: sent[name] for name in sent if name != "postedAt"} == {
        name: hook[name] for name in sent if name != "postedAt"
    }
    assert moment(sent["postedAt"]) >= moment(hook["postAt"])
    assert abs(int(headers["Posthook-Timestamp"]) - time.time()) < 5  # real, though an hour is gone
    signed = headers["Posthook-Timestamp"].encode() + b"." + body
    v1 = hmac.new(key.encode(), signed, hashlib.sha256).hexdigest()
    assert headers["Posthook-Signature"] == f"v1,{v1}"
    assert headers["X-Ph-Signature"] == hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
    assert not {"X-API-Key", "Posthook-Ack-URL", "Posthook-Nack-URL"} & set(headers)


@pytest.mark.parametrize(
    ("path", "arrives"),
    [
        ("/a%2Fb?x=1&y=%20&z=a+b", "/base/a%2Fb?x=1&y=%20&z=a+b"),
        ("/a//b/../c", "/base/a//b/../c"),
        ("/ü x", "/base/%C3%BC%20x"),
    ],
)
def test_the_target_is_forward_to_and_the_path_as_it_is(path, arrives):
    with endpoint() as (url, got), posthook.LocalPosthook(url + "/base/") as server:
        hook = add(server, path)
        server.advance("1h")
        assert get(server, hook)["path"] == path
    assert got[0][0] == arrives


def test_a_path_that_would_change_the_host_is_sent_nowhere():
    with endpoint() as (url, got), posthook.LocalPosthook(url) as server:
        add(server, "@127.0.0.1:1/x")
        server.advance("1h")
        assert "does not begin with /" in server.deliveries[0].error
    assert got == []


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_success(status):
    with endpoint(status) as (url, _), posthook.LocalPosthook(url) as server:
        hook = add(server)
        server.advance("1h")
        hook = get(server, hook)
    assert (hook["status"], hook["attempts"], hook["failureError"]) == ("completed", 1, "")
    assert 0 < hook["postDurationSeconds"] < 5
    assert (server.deliveries[0].status_code, server.deliveries[0].error) == (status, "")


def drop(request):
    request.connection.shutdown(socket.SHUT_RDWR)


def no_http(request):
    request.wfile.write(b"hello\r\n\r\n")
    request.close_connection = True


def half(request):
    request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123")
    request.close_connection = True


def drip(request):
    with contextlib.suppress(OSError):
        request.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(1000):
            request.wfile.write(b"x")
            request.wfile.flush()
            time.sleep(0.01)
    request.close_connection = True


def redirect(request):
    return 302, {"Location": "/elsewhere"}


@pytest.mark.parametrize(
    ("answer", "code", "error"),
    [
        (404, 404, "HTTP 404"),
        (500, 500, "HTTP 500"),
        (304, 304, "HTTP 304"),
        (redirect, 302, "HTTP 302"),
        (drop, None, ""),
        (no_http, None, ""),
        (half, None, ""),
        (drip, None, "timed out"),
    ],
)
def test_anything_else_is_a_failed_attempt(answer, code, error, monkeypatch):
    monkeypatch.setattr(posthook, "_ATTEMPT_SECONDS", 0.3)
    with endpoint(answer) as (url, got), posthook.LocalPosthook(url) as server:
        hook = add(server, retryOverride=FIXED)
        server.advance("1h")
        hook = get(server, hook)
        (delivery,) = server.deliveries
    assert len(got) == 1
    assert (hook["status"], hook["attempts"]) == ("retry", 1)
    assert hook["failureError"] == delivery.error != ""
    assert error in delivery.error
    assert delivery.status_code == code


def test_a_refused_connection_is_a_failed_attempt():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with posthook.LocalPosthook(url) as server:
        add(server)
        server.advance("1h")
        assert server.hooks[0].status == "retry"
        assert server.deliveries[0].status_code is None
        assert server.hooks[0].failure_error


EXPONENTIAL = {"minRetries": 4, "delaySecs": 10, "strategy": "exponential", "maxDelaySecs": 60}


@pytest.mark.parametrize(
    ("override", "delays"),
    [
        (None, [10, 20, 40, 80, 160]),
        (FIXED, [5, 5]),
        ({**FIXED, "minRetries": 15, "delaySecs": 60}, [60] * 15),
        (EXPONENTIAL, [10, 20, 40, 60]),
        ({**EXPONENTIAL, "backoffFactor": 4}, [10, 40, 60, 60]),
        ({**EXPONENTIAL, "backoffFactor": None, "jitter": False}, [10, 20, 40, 60]),
    ],
)
def test_a_failure_is_retried_after_its_delays_and_then_no_more(override, delays):
    with endpoint(500) as (url, got), posthook.LocalPosthook(url) as server:
        hook = add(server, **({} if override is None else {"retryOverride": override}))
        server.advance("1h")
        assert get(server, hook)["status"] == "retry"
        server.advance("3h")
        hook = get(server, hook)
        posted = [delivery.posted_at for delivery in server.deliveries]
    gaps = [(after - before).total_seconds() for before, after in zip(posted, posted[1:])]
    assert gaps == pytest.approx(delays, abs=1)
    assert (hook["status"], hook["attempts"]) == ("failed", 1 + len(delays))
    assert len({headers["Posthook-Id"] for _, headers, _ in got}) == 1
    assert len({headers["Posthook-Signature"] for _, headers, _ in got}) == 1 + len(delays)


@pytest.mark.parametrize(("luck", "seconds"), [(0, 60), (0.5, 67.5), (1, 75)])
def test_jitter_adds_up_to_a_quarter(luck, seconds):
    assert posthook._retry_seconds({**EXPONENTIAL, "jitter": True}, 9, luck) == seconds


def test_a_success_after_a_failure_has_no_error():
    answers = [500, 200]
    with endpoint(lambda _: answers.pop(0)) as (url, _), posthook.LocalPosthook(url) as server:
        hook = add(server)
        server.advance("2h")
        hook = get(server, hook)
    assert (hook["status"], hook["attempts"], hook["failureError"]) == ("completed", 2, "")


def test_the_result_of_a_hook_deleted_in_flight_is_dropped():
    def remove(request):
        api(server, "DELETE", f"/v1/hooks/{request.headers['Posthook-Id']}")
        return 500

    with endpoint(remove) as (url, got), posthook.LocalPosthook(url) as server:
        add(server)
        server.advance("1d")
        assert server.hooks == []
        assert len(server.deliveries) == len(got) == 1


# The HTTP face


def test_a_connection_is_kept_also_after_refusals():
    with posthook.LocalPosthook() as server:
        connection = http.client.HTTPConnection(server.url[7:])
        statuses, sockets = [], set()
        for method, path, key in [
            ("POST", "/v1/hooks", server.api_key),
            ("POST", "/v1/hooks", "wrong"),
            ("PUT", "/v1/hooks", server.api_key),
            ("POST", "/nowhere", server.api_key),
            ("GET", "/v1/hooks", server.api_key),
        ]:
            connection.request(method, path, b"{}", {"X-API-Key": key})
            answer = connection.getresponse()
            assert answer.headers["Content-Type"] == "application/json"
            answer.read()
            statuses.append(answer.status)
            sockets.add(connection.sock)
        connection.close()
    assert statuses == [400, 401, 405, 404, 200]
    assert len(sockets) == 1


@pytest.mark.parametrize("extra", [b"", b"Connection: keep-alive\r\n"])
def test_an_http_1_0_client_gets_its_answer_and_the_end(extra):
    with posthook.LocalPosthook() as server:
        got = raw(
            server,
            b"GET /v1/hooks HTTP/1.0\r\nX-API-Key: pk_local\r\n" + extra + b"\r\n",
            end=False,
        )
    assert got.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Connection: close\r\n" in got
    assert got.endswith(b'{"data": [], "meta": {"totalItems": 0}}')


HOSTILE = [
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b" 400 "),
    (b"hello\r\n\r\n", b" 400 "),
    (b"\r\n", b""),
    (b"", b""),
    (b"GET /v1/hooks HTTP/9.9\r\n\r\n", b" 505 "),
    (b"GET /\r\n\r\n", b" 401 "),
    (b"BREW /v1/hooks HTTP/1.1\r\n\r\n", b" 501 "),
    (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b" 414 "),
    (b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", b" 431 "),
    (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", b" 431 "),
    (b"POST /v1/hooks HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b" 400 "),
    (b"POST /v1/hooks HTTP/1.1\r\nContent-Length: 1_0\r\n\r\n", b" 400 "),
    (b"POST /v1/hooks HTTP/1.1\r\nContent-Length: \xb2\r\n\r\n", b" 400 "),
    (b"POST /v1/hooks HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b" 400 "),
    (b"POST /v1/hooks HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", b" 400 "),
    (b"POST /v1/hooks HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", b" 413 "),
    (b"POST /v1/hooks HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b" 411 "),
    (b"POST /v1/hooks HTTP/1.1\r\nContent-Length: 9\r\n\r\n{", b""),
    (b"HEAD /v1/hooks/x HTTP/1.1\r\nX-API-Key: pk_local\r\n\r\n", b" 405 "),
]


@pytest.mark.parametrize(("data", "answer"), HOSTILE)
def test_hostile_bytes_cost_their_connection_and_print_nothing(data, answer, capfd):
    with posthook.LocalPosthook() as server:
        got = raw(server, data)
        assert add(server)["status"] == "pending"
    assert got.startswith(b"HTTP/1.1" + answer if answer else b"")
    assert bool(got) == bool(answer)
    assert (capfd.readouterr().out, capfd.readouterr().err) == ("", "")


def test_a_client_that_resets_its_connection_prints_nothing(capfd, caplog):
    caplog.set_level("DEBUG", "posthook")
    with posthook.LocalPosthook() as server:
        sock = socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])))
        sock.sendall(b"GET /v1/hooks HTTP/1.1\r\nX")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        until(lambda: "dropped" in caplog.text)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"3",
        b'{"path": "/\xff"}',
        b'\xef\xbb\xbf{"path": "/a", "postIn": "1s"}',
        b"[" * 100_000,
        b'{"path": "/a", "postIn": "1s", "data": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"path": "/a", "postIn": "1s", "data": NaN}',
        b'{"path": "/a", "postIn": "1s", "data": -Infinity}',
        b'{"path": "/a", "postIn": "1s", "data": 1e999}',
        b'{"path": "/a", "postIn": "1s", "data": ' + b"9" * 5000 + b"}",
        b'{"path": "/a", "postIn": "1s"} {}',
    ],
)
def test_a_body_that_is_no_json_object_is_400(shared, body):
    before = len(shared.hooks)
    status, answer, _ = api(shared, "POST", "/v1/hooks", body)
    assert (status, list(answer)) == (400, ["error"])
    assert isinstance(answer["error"], str)
    assert len(shared.hooks) == before


def test_data_nested_as_deeply_as_can_be_read_can_be_given_back():
    with posthook.LocalPosthook() as server:
        accepted, deepest = 0, 100
        with contextlib.suppress(RecursionError):
            while json.loads("[" * deepest + "]" * deepest):
                deepest += 10
        for depth in range(deepest - 200, deepest + 50, 3):
            data = b"[" * depth + b"]" * depth
            body = b'{"path": "/a", "postIn": "1s", "data": ' + data + b"}"
            status, _, _ = api(server, "POST", "/v1/hooks", body)
            assert status in (201, 400)
            accepted += status == 201
        assert api(server, "GET", "/v1/hooks?limit=1000")[1]["meta"]["totalItems"] == accepted
        server.advance(1)
        assert {hook.status for hook in server.hooks} == {"completed"}


@pytest.mark.parametrize(
    "key", ["", "wrong", "ph_sk_local", "Bearer pk_local", "PK_LOCAL", "pk_löcal"]
)
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
def test_a_wrong_key_is_401_and_nothing_is_done(key, method):
    with posthook.LocalPosthook() as server:
        hook = add(server)
        path = "/v1/hooks" + ("" if method == "POST" else f"/{hook['id']}")
        headers = {"X-API-Key": key.encode("utf-8")} if key else {}
        headers["Authorization"] = "Bearer pk_local"
        connection = http.client.HTTPConnection(server.url[7:])
        connection.request(method, path, b'{"path": "/a", "postIn": "1s"}', headers)
        answer = connection.getresponse()
        assert (answer.status, json.load(answer)) == (401, {"error": "Invalid API key"})
        connection.close()
        assert len(server.hooks) == 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1", 404),
        ("POST", "/hooks", 404),
        ("POST", "/v1/v1/hooks", 404),
        ("GET", "/v1/hooks/", 404),
        ("GET", "/v1/hooks/a/b", 404),
        ("POST", "/v1/hooks/bulk/delete", 404),
        ("POST", "/v1/ws/ticket", 404),
        ("PATCH", "/v1/hooks/x", 405),
        ("DELETE", "/v1/hooks", 405),
        ("POST", "/v1/hooks/x", 405),
        ("PUT", "/v1/hooks", 405),
        ("OPTIONS", "/v1/hooks", 405),
        ("GET", "/v1/hooks/bulk", 404),
        ("GET", "/v1/hooks/%2e%2e", 404),
    ],
)
def test_unknown_paths_and_methods_are_refused(shared, method, path, status):
    got, body, headers = api(shared, method, path)
    assert (got, list(body)) == (status, ["error"])
    assert bool(headers["Allow"]) == (status == 405)


# POST /v1/hooks


def test_schedule_answers_201_with_the_whole_hook_that_get_gives_too():
    with endpoint() as (url, _), posthook.LocalPosthook(url) as server:
        sent = {"path": "/a", "postIn": "1h", "data": {"a": [1, None]}, "retryOverride": FIXED}
        status, body, _ = api(server, "POST", "/v1/hooks", sent)
        hook = body["data"]
        assert api(server, "GET", f"/v1/hooks/{hook['id']}")[:2] == (200, body)
    assert status == 201
    assert list(body) == ["data"]
    assert re.fullmatch(
        r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", hook["id"]
    )
    assert hook == {
        "id": hook["id"],
        "path": "/a",
        "domain": url[7:],
        "data": {"a": [1, None]},
        "postAt": hook["tryAt"],
        "status": "pending",
        "postDurationSeconds": 0,
        "attempts": 0,
        "failureError": "",
        "tryAt": hook["tryAt"],
        "wasNotified": False,
        "retryOverride": FIXED,
        "createdAt": hook["updatedAt"],
        "updatedAt": hook["updatedAt"],
    }
    assert moment(hook["postAt"]) - moment(hook["createdAt"]) == timedelta(hours=1)


@pytest.mark.parametrize(
    "data",
    [None, [], {}, 0, False, "", 1.5, -0.0, "ü\U0001f600", "\ud800", 10**40, {"a": {"b": []}}],
)
def test_data_may_be_any_json_value_and_arrives_as_it_was_sent(data):
    with endpoint() as (url, got), posthook.LocalPosthook(url) as server:
        hook = add(server, data=data)
        server.advance("1h")
        assert repr(hook["data"]) == repr(get(server, hook)["data"]) == repr(data)
    assert repr(json.loads(got[0][2])["data"]) == repr(data)
    assert repr(server.deliveries[0].data) == repr(data)


def test_absent_data_is_an_empty_object_and_unknown_fields_and_nulls_count_as_absent():
    with posthook.LocalPosthook() as server:
        status, body, _ = api(
            server,
            "POST",
            "/v1/hooks",
            {
                "path": "/a",
                "postAt": None,
                "postIn": "1h",
                "timezone": None,
                "retryOverride": None,
                "x": 1,
            },
        )
    assert (status, body["data"]["data"]) == (201, {})
    assert "retryOverride" not in body["data"]
    assert "sequenceData" not in body["data"]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ("x" * 65_534, 201),
        ("x" * 65_535, 413),
        ("ü" * 32_767, 201),
        ("ü" * 32_768, 413),
        ("x" * 5_000_000, 413),
        ("\ud800" * 12_000, 413),
    ],
)
def test_data_over_64_kb_is_413(shared, data, status):
    body = {"path": "/a", "postIn": "1h", "data": data}
    got, answer, _ = api(shared, "POST", "/v1/hooks", body)
    assert got == status
    assert status == 201 or answer == {"error": "Payload exceeds 64 KB limit"}


REFUSED = [
    ({"path": None}, "path is required"),
    ({"path": ""}, "path is required"),
    ({"path": 3}, "path must be"),
    ({"path": ["/a"]}, "path must be"),
    ({"postIn": None}, "exactly one"),
    ({"postAt": "2030-01-01T00:00:00Z"}, "exactly one"),
    ({"postAtLocal": "2030-01-01T00:00:00", "timezone": "UTC"}, "exactly one"),
    ({"timezone": "UTC"}, "timezone"),
    ({"postIn": None, "postAt": "2030-01-01T00:00:00Z", "timezone": "UTC"}, "timezone"),
    ({"postIn": None, "postAtLocal": "2030-01-01T00:00:00"}, "timezone"),
    ({"timezone": 3}, "timezone must be"),
    ({"postIn": 60}, "postIn must be"),
    ({"postIn": ""}, "postIn"),
    ({"postIn": "0s"}, "postIn"),
    ({"postIn": "365d1s"}, "postIn"),
    ({"postIn": "366d"}, "postIn"),
    ({"postIn": "1.5h"}, "postIn"),
    ({"postIn": "-1h"}, "postIn"),
    ({"postIn": "30m1h"}, "postIn"),
    ({"postIn": "1H"}, "postIn"),
    ({"postIn": "5"}, "postIn"),
    ({"postIn": " 5s"}, "postIn"),
    ({"postIn": "٣s"}, "postIn"),
    ({"postIn": "1w"}, "postIn"),
    ({"postIn": "9" * 5000 + "s"}, "postIn"),
    ({"postIn": None, "postAt": "2030-01-01T00:00:00"}, "postAt"),
    ({"postIn": None, "postAt": "2030-01-01"}, "postAt"),
    ({"postIn": None, "postAt": "2030-13-01T00:00:00Z"}, "postAt"),
    ({"postIn": None, "postAt": "tomorrow"}, "postAt"),
    ({"postIn": None, "postAt": ""}, "postAt"),
    ({"postIn": None, "postAt": 1_900_000_000}, "postAt must be"),
    ({"postIn": None, "postAt": "0001-01-01T00:00:00+10:00"}, "postAt"),
    ({"postIn": None, "postAt": "9999-12-31T23:59:59-10:00"}, "postAt"),
    ({"retryOverride": []}, "retryOverride must be"),
    ({"retryOverride": "fixed"}, "retryOverride must be"),
    ({"retryOverride": {}}, "strategy must be"),
]


@pytest.mark.parametrize(("fields", "text"), REFUSED)
def test_schedule_refuses_what_is_missing_or_wrong(shared, fields, text):
    before = len(shared.hooks)
    body = {"path": "/a", "postIn": "1h", **fields}
    status, answer, headers = api(shared, "POST", "/v1/hooks", body)
    assert len(shared.hooks) == before
    assert (status, list(answer)) == (400, ["error"])
    assert text in answer["error"]
    assert "Posthook-HookQuota-Limit" not in headers


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"minRetries": 0}, 400),
        ({"minRetries": 1}, 201),
        ({"minRetries": 15}, 201),
        ({"minRetries": 16}, 400),
        ({"minRetries": "3"}, 400),
        ({"minRetries": 2.5}, 400),
        ({"minRetries": 2.0}, 400),
        ({"minRetries": True}, 400),
        ({"minRetries": None}, 400),
        ({"minRetries": 10**30}, 400),
        ({"delaySecs": 4}, 400),
        ({"delaySecs": 5}, 201),
        ({"delaySecs": 60}, 201),
        ({"delaySecs": 61}, 400),
        ({"delaySecs": None}, 400),
        ({"strategy": "linear"}, 400),
        ({"strategy": "Fixed"}, 400),
        ({"strategy": None}, 400),
        ({"strategy": 1}, 400),
        ({"strategy": "exponential"}, 400),
        ({"strategy": "exponential", "maxDelaySecs": 59}, 400),
        ({"strategy": "exponential", "maxDelaySecs": 60}, 201),
        ({"strategy": "exponential", "maxDelaySecs": 3600}, 201),
        ({"strategy": "exponential", "maxDelaySecs": 3601}, 400),
        ({"strategy": "exponential", "maxDelaySecs": 60.5}, 400),
        ({"backoffFactor": 1.0}, 400),
        ({"backoffFactor": 1.1}, 201),
        ({"backoffFactor": 4}, 201),
        ({"backoffFactor": 4.1}, 400),
        ({"backoffFactor": "2"}, 400),
        ({"backoffFactor": True}, 400),
        ({"jitter": True}, 201),
        ({"jitter": 1}, 400),
        ({"jitter": "yes"}, 400),
        ({"unknown": [1]}, 201),
    ],
)
def test_the_ranges_of_a_retry_override_are_kept_and_it_is_echoed_as_sent(shared, change, status):
    override = {**FIXED, **change}
    body = {"path": "/a", "postIn": "1h", "retryOverride": override}
    got, answer, _ = api(shared, "POST", "/v1/hooks", body)
    assert got == status
    assert status == 400 or answer["data"]["retryOverride"] == override


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("5m", 300),
        ("1h30m", 5400),
        ("1d2h30m45s", 95445),
        ("365d", 31_536_000),
        ("007s", 7),
    ],
)
def test_post_in_is_counted_from_receipt(shared, text, seconds):
    hook = add(shared, post_in=text)
    assert (moment(hook["postAt"]) - moment(hook["createdAt"])).total_seconds() == seconds


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2030-01-02T03:04:05Z", "2030-01-02T03:04:05Z"),
        ("2030-01-02t03:04:05z", "2030-01-02T03:04:05Z"),
        ("2030-01-02T03:04:05.5-05:30", "2030-01-02T08:34:05.500000Z"),
        ("2030-01-02T03:04:05.123456789+00:00", "2030-01-02T03:04:05.123456Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_post_at_is_kept_to_the_microsecond_and_answered_in_utc(text, utc):
    with posthook.LocalPosthook() as server:
        assert add(server, postAt=text)["postAt"] == utc
        found = api(server, "GET", "/v1/hooks")[1]
    assert found["meta"]["totalItems"] == 1


@pytest.mark.parametrize(
    ("local", "zone", "utc"),
    [
        ("2026-07-01T09:00:00", "America/New_York", "2026-07-01T13:00:00Z"),
        ("2026-07-01T09:00:00", "US/Eastern", "2026-07-01T13:00:00Z"),
        ("2026-07-01T09:00:00", "UTC", "2026-07-01T09:00:00Z"),
        # skipped: the first moment after the gap
        ("2026-03-08T02:30:00", "America/New_York", "2026-03-08T07:00:00Z"),
        ("2026-03-08T02:00:00", "America/New_York", "2026-03-08T07:00:00Z"),
        ("2026-03-08T03:00:00", "America/New_York", "2026-03-08T07:00:00Z"),
        ("2026-03-29T01:30:00", "Europe/London", "2026-03-29T01:00:00Z"),
        ("2026-10-04T02:15:00", "Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
        ("2011-12-30T12:00:00", "Pacific/Apia", "2011-12-30T10:00:00Z"),
        ("1993-08-21T08:00:00", "Pacific/Kwajalein", "1993-08-21T12:00:00Z"),
        # twice: the earlier
        ("2026-11-01T01:30:00", "America/New_York", "2026-11-01T05:30:00Z"),
        ("2026-10-25T01:30:00", "Europe/London", "2026-10-25T00:30:00Z"),
    ],
)
def test_a_local_time_becomes_utc_by_the_services_rules(shared, local, zone, utc):
    assert add(shared, postAtLocal=local, timezone=zone)["postAt"] == utc


@pytest.mark.parametrize(
    ("local", "zone"),
    [
        ("2026-07-01T09:00:00Z", "UTC"),
        ("2026-07-01T09:00:00+01:00", "UTC"),
        ("2026-07-01T09:00", "UTC"),
        ("2026-07-01 09:00:00", "UTC"),
        ("2026-07-01T09:00:00.5", "UTC"),
        ("2026-02-30T09:00:00", "UTC"),
        ("2026-07-01T09:00:60", "UTC"),
        ("٢026-07-01T09:00:00", "UTC"),
        ("0001-01-01T00:00:00", "Asia/Tokyo"),
        ("9999-12-31T23:59:59", "America/New_York"),
        ("", "UTC"),
        (3, "UTC"),
        ("2026-07-01T09:00:00", "Mars/Olympus"),
        ("2026-07-01T09:00:00", ""),
        ("2026-07-01T09:00:00", "America"),
        ("2026-07-01T09:00:00", "../UTC"),
        ("2026-07-01T09:00:00", "/etc/passwd"),
        ("2026-07-01T09:00:00", "a\0b"),
        ("2026-07-01T09:00:00", "zone.tab"),
        ("2026-07-01T09:00:00", "\ud800"),
        ("2026-07-01T09:00:00", "Z" * 5000),
        ("2026-07-01T09:00:00", 3),
    ],
)
def test_a_wrong_local_time_or_zone_is_400(shared, local, zone):
    body = {"path": "/a", "postAtLocal": local, "timezone": zone}
    assert api(shared, "POST", "/v1/hooks", body)[0] == 400


def quota(headers):
    return {name[19:]: text for name, text in headers.items() if name.startswith("Posthook-Hook")}


def test_the_quota_is_counted_by_the_month_and_told_on_schedule_alone():
    with posthook.LocalPosthook(quota=2) as server:
        body = {"path": "/a", "postIn": "1h"}
        now = datetime.now(timezone.utc)
        reset = f"{now.year + now.month // 12}-{now.month % 12 + 1:02}-01T00:00:00Z"
        _, hook, headers = api(server, "POST", "/v1/hooks", body)
        assert quota(headers) == {"Limit": "2", "Usage": "1", "Remaining": "1", "Resets-At": reset}
        _, _, headers = api(server, "POST", "/v1/hooks", body)
        assert (quota(headers)["Usage"], quota(headers)["Remaining"]) == ("2", "0")
        status, answer, headers = api(server, "POST", "/v1/hooks", body)
        assert (status, answer) == (429, {"error": "Rate limit exceeded"})
        assert quota(headers) == {"Limit": "2", "Usage": "2", "Remaining": "0", "Resets-At": reset}
        status, _, headers = api(server, "GET", f"/v1/hooks/{hook['data']['id']}")
        assert (status, quota(headers)) == (200, {})
        server.advance(moment(reset) - now)
        status, _, headers = api(server, "POST", "/v1/hooks", body)
        assert (status, quota(headers)["Usage"]) == (201, "1")
        assert len(server.hooks) == 3


# Get, list, delete


def test_delete_removes_a_waiting_hook_and_a_finished_one():
    with posthook.LocalPosthook() as server:
        done, waiting = add(server, post_in="1h"), add(server, post_in="2h")
        server.advance("1h")
        for hook in (done, waiting):
            path = f"/v1/hooks/{hook['id']}"
            assert api(server, "DELETE", path)[:2] == (200, {"data": {}})
            missing = (404, {"error": "Hook not found"})
            assert api(server, "GET", path)[:2] == api(server, "DELETE", path)[:2] == missing
        server.advance("2h")
        assert len(server.deliveries) == 1
        assert api(server, "GET", "/v1/hooks")[1] == {"data": [], "meta": {"totalItems": 0}}


def paths(server, query=""):
    status, body, _ = api(server, "GET", f"/v1/hooks?{query}")
    assert status == 200, body
    return [hook["path"] for hook in body["data"]]


@pytest.fixture(scope="module")
def five():
    """A server with five hooks, created in the order a to e, due in the order e, d, b and c, a."""
    with posthook.LocalPosthook() as server:
        for path, day in zip("abcde", (9, 5, 5, 3, 2)):
            add(server, f"/{path}", postAt=f"2100-01-0{day}T00:00:00Z")
        yield server


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("sortBy=createdAt", "abcde"),
        ("sortBy=createdAt&sortOrder=DESC", "edcba"),
        ("sortBy=createdAt&sortOrder=desc&limit=2", "ed"),
        ("sortBy=postAt&sortOrder=asc&limit=2&offset=3&unknown=1", "ed"),
        ("limit=1", "e"),
        ("sortOrder=Desc&limit=1", "a"),
        ("status=pending&limit=1000&sortBy=createdAt", "abcde"),
        ("status=completed", ""),
        ("postAtAfter=2100-01-05T00:00:00Z", "a"),
        ("postAtBefore=2100-01-03T00:00:00Z", "e"),
        ("postAtAfter=2100-01-02T00:00:00Z&postAtBefore=2100-01-05T00:00:00Z", "d"),
        ("postAtAfter=2100-01-03T01:00:00.5%2B02:00&limit=1", "d"),
        ("postAtAfter=2100-01-03T01:00:00+02:00&limit=1", "d"),
        ("postAtAfter=2100-01-09T00:00:00Z", ""),
        ("postAtAfter=2100-01-07T00:00:00Z&postAtBefore=2100-01-01T00:00:00Z", ""),
        ("sortBy=createdAt&postAtAfter=2100-01-04T00:00:00Z", "abc"),
        ("createdAtBefore=2020-01-01T00:00:00Z", ""),
        ("createdAtAfter=2020-01-01T00:00:00Z&postAtBefore=2100-01-04T00:00:00.000Z", "ed"),
        ("createdAtAfter=2020-01-01T00:00:00Z&createdAtBefore=2099-01-01T00:00:00Z&limit=1", "e"),
        ("status=&sortBy=&limit=&cursor=&postAtAfter=&sortOrder=", None),
    ],
)
def test_list_filters_and_sorts(five, query, found):
    got = paths(five, query)
    assert got == [f"/{path}" for path in found] if found is not None else len(got) == 5


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=ten",
        "limit=1.5",
        "limit=%D9%A3",
        "limit=99999999999999999999",
        "status=done",
        "sortBy=path",
        "sortOrder=up",
        "postAtAfter=yesterday",
        "postAtBefore=2026-01-01",
        "createdAtAfter=1",
        "createdAtBefore=0001-01-01T00:00:60%2B10:00x",
        "cursor=nonsense",
        "cursor=%00",
    ],
)
def test_list_refuses_a_bad_value(five, query):
    status, body, _ = api(five, "GET", f"/v1/hooks?{query}")
    assert (status, list(body)) == (400, ["error"])


def test_list_gives_ten_by_default_and_counts_all_that_match():
    with posthook.LocalPosthook() as server:
        for _ in range(12):
            add(server)
        _, body, _ = api(server, "GET", "/v1/hooks")
    assert (len(body["data"]), body["meta"]["totalItems"]) == (10, 12)


@pytest.mark.parametrize("order", ["ASC", "DESC"])
@pytest.mark.parametrize("sort", ["postAt", "createdAt"])
@pytest.mark.parametrize("limit", [1, 2, 4, 5])
def test_a_cursor_loses_and_repeats_nothing_whatever_changes_between_pages(sort, order, limit):
    with posthook.LocalPosthook() as server:
        for day in (2, 1, 2, 2, 1, 3, 2, 3):
            add(server, f"/{day}", postAt=f"2100-01-0{day}T00:00:00Z")
        query = f"status=pending&sortBy={sort}&sortOrder={order}&limit={limit}"
        seen, cursor, total = [], "", 8
        while cursor is not None:
            page = api(server, "GET", f"/v1/hooks?{query}&cursor={cursor}")[1]
            assert page["meta"]["totalItems"] == total
            assert len(page["data"]) == min(limit, 8 - len(seen))
            seen += page["data"]
            cursor = page["meta"].get("cursor")
            assert cursor is None or isinstance(cursor, str)
            if total == 8:  # the last one seen, which the cursor stands on, goes
                api(server, "DELETE", f"/v1/hooks/{seen[-1]['id']}")
                total = 7
        assert len({hook["id"] for hook in seen}) == 8
        if sort == "postAt":
            keys = [(hook["postAt"], hook["id"]) for hook in seen]
            assert keys == sorted(keys, reverse=order == "DESC")


def test_a_list_by_status_is_never_stale():
    answers = [500, 500, 500, 200]
    with endpoint(lambda _: answers.pop(0)) as (url, _), posthook.LocalPosthook(url) as server:

        def counts():
            pages = [api(server, "GET", f"/v1/hooks?status={status}")[1] for status in statuses]
            return [page["meta"]["totalItems"] for page in pages if page["meta"] and page["data"]]

        statuses = ["pending"]
        assert counts() == []
        hook = add(server, retryOverride={**FIXED, "minRetries": 1})
        assert counts() == [1]
        other = add(server, post_in="2h")
        assert counts() == [2]
        statuses = ["pending", "retry"]
        server.advance("1h")
        assert counts() == [1, 1]
        api(server, "DELETE", f"/v1/hooks/{other['id']}")
        assert counts() == [1]
        statuses = ["failed"]
        server.advance("1m")
        assert counts() == [1]
        assert bulk(server, "retry", hookIDs=[hook["id"]]) == 1
        server.advance("1m")
        statuses = ["failed", "completed"]
        assert counts() == [1]


def test_paging_by_post_at_after_gives_what_comes_strictly_after():
    with posthook.LocalPosthook() as server:
        for second in range(7):
            add(server, f"/{second}", postAt=f"2100-01-01T00:00:0{second}.000001Z")
        seen, after = [], ""
        while page := api(server, "GET", f"/v1/hooks?limit=3&sortBy=postAt{after}")[1]["data"]:
            seen += [hook["path"] for hook in page]
            after = f"&postAtAfter={page[-1]['postAt']}"
    assert seen == [f"/{second}" for second in range(7)]


# Bulk


def bulk(server, action, **body):
    status, answer, _ = api(server, "POST", f"/v1/hooks/bulk/{action}", body)
    assert status == 200, answer
    return answer["data"]["affected"]


def test_bulk_retry_gives_failed_hooks_new_retries_at_once():
    answers = [500] * 4 + [200]
    with endpoint(lambda _: answers.pop(0)) as (url, _), posthook.LocalPosthook(url) as server:
        hook, other = (
            add(server, retryOverride={**FIXED, "minRetries": 1}),
            add(server, post_in="9h"),
        )
        server.advance("2h")
        assert get(server, hook)["status"] == "failed"
        ids = [hook["id"], other["id"], "unknown", hook["id"]]
        assert bulk(server, "retry", hookIDs=ids) == 1
        server.advance(0)
        assert get(server, hook)["status"] == "retry"
        server.advance("1m")
        assert (get(server, hook)["status"], get(server, hook)["attempts"]) == ("failed", 4)
        assert bulk(server, "retry", hookIDs=[hook["id"]]) == 1
        server.advance(0)
        assert (get(server, hook)["status"], get(server, hook)["attempts"]) == ("completed", 5)
        assert [delivery.attempt for delivery in server.deliveries] == [1, 2, 3, 4, 5]
        assert bulk(server, "retry", hookIDs=[hook["id"]]) == 0


def test_bulk_replay_makes_a_new_hook_of_a_completed_one_outside_of_the_quota():
    with endpoint() as (url, got), posthook.LocalPosthook(url, quota=2) as server:
        hook, other = add(server, "/x", data={"a": 1}), add(server, post_in="9h")
        server.advance("1h")
        assert bulk(server, "replay", hookIDs=[hook["id"], other["id"]]) == 1
        server.advance(0)
        new = server.hooks[-1]
        assert new.id != hook["id"]
        assert (new.path, new.data, new.status) == ("/x", {"a": 1}, "completed")
        assert get(server, hook)["attempts"] == 1
    assert len(got) == 2


def test_hooks_created_at_one_moment_are_listed_in_the_order_of_creation():
    with posthook.LocalPosthook() as server:
        ids = [add(server, f"/{name}", post_in="1h")["id"] for name in "abc"]
        server.advance("1h")
        assert bulk(server, "replay", hookIDs=[ids[2], ids[0], ids[1]]) == 3
        assert len({hook.created_at for hook in server.hooks[3:]}) == 1
        listed = paths(server, "sortBy=createdAt")
        assert listed == ["/a", "/b", "/c", "/c", "/a", "/b"]
        assert paths(server, "sortBy=createdAt&sortOrder=DESC") == listed[::-1]


def test_bulk_cancel_removes_waiting_hooks_and_no_others():
    with endpoint(500) as (url, _), posthook.LocalPosthook(url) as server:
        failed, retry, waiting = (add(server, post_in=f"{hour}h") for hour in (1, 2, 3))
        server.advance("2h")
        assert get(server, failed)["status"] == "failed"
        assert get(server, retry)["status"] == "retry"
        ids = [hook["id"] for hook in (failed, retry, waiting)]
        assert bulk(server, "cancel", hookIDs=ids) == 2
        server.advance("1d")
        assert [hook.id for hook in server.hooks] == [failed["id"]]


@pytest.mark.parametrize(
    ("change", "cancelled"),
    [
        ({}, "deb"),
        ({"limit": 2}, "de"),
        ({"endpointKey": "/b"}, "b"),
        ({"endpointKey": "/x"}, ""),
        ({"sequenceID": "s"}, ""),
        ({"startTime": "2100-01-01T02:00:00%2B02:00".replace("%2B", "+")}, "deb"),
        ({"startTime": "2100-01-01T00:00:00.000001Z"}, "eb"),
        ({"startTime": "2100-01-09T00:00:00Z"}, ""),
        ({"endTime": "2100-01-05T00:00:00.000001Z"}, "debac"),
    ],
)
def test_a_bulk_range_is_over_post_at_with_its_end_left_out(change, cancelled):
    with posthook.LocalPosthook() as server:
        for path, day in zip("abcde", (5, 3, 5, 1, 2)):
            add(server, f"/{path}", postAt=f"2100-01-0{day}T00:00:00Z")
        whole = {"startTime": "2100-01-01T00:00:00Z", "endTime": "2100-01-05T00:00:00Z", "limit": 9}
        assert bulk(server, "cancel", **{**whole, **change}) == len(cancelled)
        left = {hook.path for hook in server.hooks}
    assert left == {f"/{path}" for path in "abcde" if path not in cancelled}


TIMES = {"startTime": "2020-01-01T00:00:00Z", "endTime": "2200-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"hookIDs": None},
        {"hookIDs": "abc"},
        {"hookIDs": [1]},
        {"hookIDs": [None]},
        {"hookIDs": ["x"] * 1001},
        {"hookIDs": [], "limit": 5},
        {"hookIDs": ["x"], **TIMES, "limit": 5},
        TIMES,
        {"limit": 5},
        {**TIMES, "startTime": None, "limit": 5},
        {**TIMES, "endTime": None, "limit": 5},
        {**TIMES, "endTime": "", "limit": 5},
        {**TIMES, "endTime": "soon", "limit": 5},
        {**TIMES, "endTime": 5, "limit": 5},
        {**TIMES, "limit": 0},
        {**TIMES, "limit": 1001},
        {**TIMES, "limit": "5"},
        {**TIMES, "limit": 2.5},
        {**TIMES, "limit": True},
        {**TIMES, "limit": 5, "endpointKey": 1},
        {**TIMES, "limit": 5, "sequenceID": []},
        [],
    ],
)
@pytest.mark.parametrize("action", ["retry", "replay", "cancel"])
def test_bulk_refuses_a_wrong_body_and_does_nothing(shared, action, body):
    before = len(shared.hooks)
    status, answer, _ = api(shared, "POST", f"/v1/hooks/bulk/{action}", body)
    assert (status, list(answer)) == (400, ["error"])
    assert len(shared.hooks) == before


def test_bulk_takes_a_thousand_ids():
    with posthook.LocalPosthook() as server:
        ids = [add(server)["id"], *map(str, range(999))]
        assert bulk(server, "cancel", hookIDs=ids) == 1


# Async hooks


@contextlib.contextmanager
def open_hook(headers=None, status=202, **fields):
    """A hook whose endpoint has answered 202: the server, the hook, and post(verb, attempt)."""
    receiver = endpoint(lambda _: (status, headers or {}))
    with receiver as (url, got), posthook.LocalPosthook(url, async_hooks=True) as server:
        hook = add(server, post_in="1s", **fields)
        server.advance(1)

        def post(verb, attempt=1, *, body=None, change=""):
            target = got[attempt - 1][1][f"Posthook-{verb}-URL"] + change
            assert target.startswith(server.url + "/")
            status, answer, _ = api(server, "POST", target[len(server.url) :], body, key="")
            return status, answer["data"]["status"] if status == 200 else answer["error"]

        post.got = got
        yield server, hook, post


def test_a_202_waits_and_an_ack_completes():
    with open_hook() as (server, hook, post):
        assert (get(server, hook)["status"], get(server, hook)["attempts"]) == ("pending", 0)
        assert server.deliveries[0].status_code == 202
        assert post("Ack", body=b"\xff" * 100_000) == (200, "completed")
        hook = get(server, hook)
        assert (hook["status"], hook["attempts"], hook["failureError"]) == ("completed", 1, "")
        server.advance("1d")
        assert len(server.deliveries) == 1


def test_a_nack_is_a_failed_attempt_with_new_urls_for_the_next():
    with open_hook(retryOverride={**FIXED, "minRetries": 1}) as (server, hook, post):
        assert post("Nack", body=b"\xff" * 9000) == (200, "nacked")
        first = get(server, hook)
        assert (first["status"], first["attempts"], first["failureError"]) == ("retry", 1, "nacked")
        server.advance("5s")
        assert post("Ack", 1)[0] == post("Nack", 1)[0] == 409
        assert post("Nack", 2) == (200, "nacked")
        assert get(server, hook)["status"] == "failed"
        urls = {headers[f"Posthook-{v}-URL"] for _, headers, _ in post.got for v in ("Ack", "Nack")}
    assert len(urls) == 4


@pytest.mark.parametrize(("first", "result"), [("Ack", "completed"), ("Nack", "nacked")])
def test_the_first_callback_of_an_attempt_is_what_every_later_one_hears(first, result):
    with open_hook() as (_, _, post):
        assert post(first) == post("Ack") == post("Nack") == (200, result)


def test_any_other_2xx_is_done_at_once_and_a_late_callback_hears_so():
    with open_hook(status=200) as (server, hook, post):
        assert get(server, hook)["status"] == "completed"
        assert post("Nack") == (200, "completed")


def test_a_callback_for_an_attempt_that_failed_by_its_answer_hears_so():
    with open_hook(status=500) as (server, hook, post):
        assert post("Ack") == (200, "failed")
        assert get(server, hook)["status"] == "retry"


def test_any_changed_character_of_a_token_is_401():
    with open_hook() as (server, hook, post):
        url = post.got[0][1]["Posthook-Ack-URL"][len(server.url) :]
        token = re.search("[0-9a-f]+$", url).group()
        assert len(token) >= 20
        for place in range(1, len(token) + 1):
            other = "0" if url[-place] != "0" else "A"
            changed = url[: len(url) - place] + other + url[len(url) - place + 1 :]
            status, body, _ = api(server, "POST", changed, key="")
            assert (status, list(body)) == (401, ["error"])
        assert get(server, hook)["status"] == "pending"


def test_a_token_holds_for_one_verb_one_attempt_and_one_hook():
    with open_hook() as (server, hook, post):
        other = add(server)
        url = post.got[0][1]["Posthook-Ack-URL"][len(server.url) :]
        for changed in (
            url.replace("/ack/", "/nack/"),
            url.replace("/1/", "/2/"),
            url.replace(hook["id"], other["id"]),
            url[: url.rindex("/") + 1],
            url[:-5] + "%C3%BC",
            url[:-1] + "?" + url[-1],
        ):
            assert api(server, "POST", changed, key="")[0] == 401
        assert api(server, "GET", url, key="")[0] == 405
        assert api(server, "POST", url + "0", key="")[0] == 401


def test_a_callback_of_a_deleted_hook_is_404():
    with open_hook() as (server, hook, post):
        api(server, "DELETE", f"/v1/hooks/{hook['id']}")
        assert post("Ack") == (404, "Hook not found")
        assert post("Ack", change="0")[0] == 401
        server.advance("1d")


def test_a_passed_deadline_is_a_failed_attempt_and_410_until_the_next_begins():
    with open_hook(retryOverride=FIXED) as (server, hook, post):
        server.advance(299)
        assert get(server, hook)["status"] == "pending"
        server.advance(2)
        assert get(server, hook)["status"] == "retry"
        assert "deadline" in get(server, hook)["failureError"]
        assert post("Ack")[0] == 410
        server.advance(5)
        assert post("Ack")[0] == 409
        assert post("Ack", 2) == (200, "completed")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("60", 60),
        (" 60 ", 60),
        ("60.5", 60.5),
        ("9", 10),
        ("-5", 10),
        ("0", 10),
        ("10800", 10_800),
        ("99999", 10_800),
        ("9" * 400, 10_800),
        ("soon", 300),
        ("", 300),
        ("nan", 300),
        ("1_0", 300),
        ("٣", 300),
        (None, 300),
    ],
)
def test_the_async_timeout_is_clamped_and_300_when_unreadable(text, seconds):
    assert posthook._callback_seconds(text) == seconds


def test_the_async_timeout_counts_from_the_answer_in_any_case():
    with open_hook({"POSTHOOK-async-timeout": "20"}) as (server, hook, _):
        server.advance(18)
        assert get(server, hook)["status"] == "pending"
        server.advance(3)
        assert get(server, hook)["status"] == "retry"


@pytest.mark.parametrize(
    ("verb", "answer", "result", "status"),
    [
        ("Ack", 202, "completed", "completed"),
        ("Ack", 500, "completed", "completed"),
        ("Nack", 202, "nacked", "retry"),
    ],
)
def test_a_callback_may_be_faster_than_the_answer(verb, answer, result, status):
    def hurry(request):
        url = request.headers[f"Posthook-{verb}-URL"]
        heard.append(api(server, "POST", url[len(server.url) :], key="")[1])
        return answer

    heard = []
    with endpoint(hurry) as (url, _), posthook.LocalPosthook(url, async_hooks=True) as server:
        hook = add(server, post_in="1s", retryOverride=FIXED)
        server.advance(1)
        assert heard == [{"data": {"status": result}}]
        assert (get(server, hook)["status"], get(server, hook)["attempts"]) == (status, 1)


def test_a_deadline_passes_in_real_time_too_and_is_410_even_before_it_is_noticed():
    project = posthook._Project(1, True, None)
    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    second = timedelta(seconds=1)
    project.schedule(now, ("/a", {}, second, None))
    hook = project.begin(now + second)
    url = project.callback_headers(hook, "")["Posthook-Ack-URL"].split("/")[3:]
    project.end(hook, hook.record(202, "", 0.1), 10, now + second)
    assert project.due() == now + 11 * second
    with pytest.raises(posthook.PosthookError) as error:
        project.callback(now + 11 * second, *url, None)
    assert error.value.status_code == 410
    assert project.callback(now + 10 * second, *url, None)[0] == 200


# Size


def test_a_thousand_hooks_over_a_month_take_less_than_two_seconds():
    with posthook.LocalPosthook() as server:
        for number in range(1000):
            add(server, post_in=f"{number * 40 + 1}m")
        start = time.perf_counter()
        server.advance("30d")
        seconds = time.perf_counter() - start
        assert len(server.deliveries) == 1000
    assert seconds < 2


# ==================================================================================================
# 11. The command line
# ==================================================================================================


@pytest.fixture
def local(monkeypatch):
    """A LocalPosthook that the environment points the command line to."""
    with posthook.LocalPosthook() as server:
        monkeypatch.setenv("POSTHOOK_API_KEY", server.api_key)
        monkeypatch.setenv("POSTHOOK_SIGNING_KEY", server.signing_key)
        monkeypatch.setenv("POSTHOOK_BASE_URL", server.url)
        yield server


@pytest.fixture
def run(capsys):
    """Run a command in this process: its status, the objects on stdout, the text on stderr."""

    def run(*argv):
        status = posthook.main(list(argv))
        out, err = capsys.readouterr()
        assert out.isascii() and err.count("\n") == len(err.splitlines())
        return status, [json.loads(line) for line in out.split("\n")[:-1]], err

    return run


@pytest.fixture
def as_program(monkeypatch):
    """Call main() as the program does, with arguments that the process was given."""
    handler = signal.getsignal(signal.SIGINT)

    def as_program(*argv):
        monkeypatch.setattr(sys, "argv", ["posthook.py", *argv])
        return posthook.main()

    yield as_program
    signal.signal(signal.SIGINT, handler)


def process(*argv, python=(), server=None, env=None, **options):
    """Start the file as a program, with warnings as errors; it knows a server's URL."""
    command = [sys.executable, "-W", "error", *python, posthook.__file__, *argv]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    known = {"POSTHOOK_API_KEY": "pk_test", "POSTHOOK_BASE_URL": server.url} if server else {}
    return subprocess.Popen(
        command, text=True, env={**os.environ, **known, **(env or {})}, **options
    )


def ended(process):
    """The status, stdout and stderr of a process at its end."""
    with process:
        out, err = process.communicate(timeout=20)
        return process.returncode, out, err


def names(hooks):
    return [hook["path"] for hook in hooks]


COMMANDS = ("demo", "local", "schedule", "get", "list", "delete")
COMMANDS += ("retry", "replay", "cancel", "ack", "nack", "deliver")


# -- What every command keeps to


def test_help_names_every_command_and_each_has_help_with_an_example(capsys):
    assert posthook.main(["--help"]) == 0
    overview = capsys.readouterr().out
    assert overview.startswith("usage: python posthook.py ")
    for name in COMMANDS:
        assert f"\n  {name} " in overview
        assert posthook.main([name, "-h"]) == 0
        text, err = capsys.readouterr()
        assert text.startswith(f"usage: python posthook.py {name} ")
        assert f"\nexample: python posthook.py {name}" in text and not err
        assert text.isascii() and all(len(line) <= 100 for line in text.splitlines())


def test_the_examples_of_the_help_are_taken(local, capsys, monkeypatch):
    for name in ("schedule", "list", "retry", "replay", "cancel", "delete"):
        posthook.main([name, "--help"])
        example = capsys.readouterr().out.split("example: python posthook.py ")[1]
        assert posthook.main(shlex.split(example)) == 0, example


def test_no_command_shows_the_usage_on_stderr(capsys):
    assert posthook.main([]) == 2
    out, err = capsys.readouterr()
    assert not out and err.startswith("usage: ") and "schedule" in err


def test_version_prints_the_version(capsys):
    assert posthook.main(["--version"]) == 0
    assert capsys.readouterr().out == f"{posthook.__version__}\n"


def test_the_file_is_a_program_that_takes_the_arguments_of_the_process(as_program, capsys):
    assert as_program("--version") == 0
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(posthook.__file__, run_name="__main__")
    assert (ended.value.code, capsys.readouterr().out) == (0, f"{posthook.__version__}\n" * 2)


@pytest.mark.parametrize(
    "argv",
    [
        "frob",
        "--frob",
        "demo extra",
        "local --port x",
        "schedule",
        "schedule /a",
        "schedule /a --in 5m --at 2030-01-01T00:00:00Z",
        "schedule /a --in 5m --at-local 2030-01-01T00:00:00 --timezone UTC",
        "schedule /a --in 5m --timezone UTC",
        "schedule /a --at-local 2030-01-01T00:00:00",
        "schedule /a --in",
        "schedule a --in 5m",
        "schedule /a --in 0s",
        "schedule /a --in 5m --data NaN",
        "schedule /a --in 5m --data",
        "schedule /a --in 5m --data {",
        "schedule /a --in 5m --data 1e999",
        "schedule /a --in 5m --retry-override []",
        "schedule /a --in 5m --retry-override x",
        "get",
        "delete",
        "list --limit x",
        "list --limit 0",
        "list --limit 1001",
        "list --all --limit 0",
        "list --stat failed",
        "retry",
        "retry a --limit 5",
        "replay --from 2030-01-01T00:00:00Z --limit 5",
        "cancel --endpoint-key /a",
        "cancel --from 2030-01-01T00:00:00Z --to 2030-01-02T00:00:00Z --limit 1001",
        "ack",
        "ack ftp://127.0.0.1/x",
        "ack http:///x",
        "nack http://127.0.0.1/x --body {",
        "deliver",
        "deliver file:///etc/passwd",
        "deliver http:///x",
        "deliver http://127.0.0.1:1/ --data 1e999",
        "schedule /\udcff --in 5m",
    ],
)
def test_a_wrong_command_line_is_2_with_one_sentence_and_nothing_sent(argv, local, run):
    heard = []
    local.observer = heard.append
    status, out, err = run(*argv.split(" "))
    assert (status, out, heard) == (2, [], [])
    assert re.fullmatch(r"posthook: \S.*\n", err)


def test_without_a_key_the_message_names_the_variable(run):
    status, out, err = run("list")
    assert (status, out) == (1, []) and "POSTHOOK_API_KEY" in err


def test_a_wrong_key_is_1_with_the_servers_text_and_without_the_key(run, monkeypatch):
    echo = answer({"error": "Invalid API key pk_topsecret, not phs_1 \x1b\n at all"}, 401)
    with Script(echo) as server:
        monkeypatch.setenv("POSTHOOK_API_KEY", " pk_topsecret\n")
        monkeypatch.setenv("POSTHOOK_SIGNING_KEY", "phs_1,phs_12")
        monkeypatch.setenv("POSTHOOK_BASE_URL", f"{server.url}/v1/")
        assert run("list") == (1, [], "posthook: Invalid API key ..., not ... ? at all\n")
    assert server.last.path == "/v1/hooks" and server.last.headers["x-api-key"] == "pk_topsecret"


def test_a_key_that_cannot_be_sent_is_not_shown(run, monkeypatch):
    monkeypatch.setenv("POSTHOOK_API_KEY", "pk_top\nsecret")
    status, out, err = run("get", "a")
    assert status == 2 and "secret" not in err


def test_an_unreachable_service_is_1_with_its_address(run, monkeypatch):
    monkeypatch.setenv("POSTHOOK_API_KEY", "pk_test")
    with socket.create_server(("127.0.0.1", 0)) as soon_closed:
        port = soon_closed.getsockname()[1]
    monkeypatch.setenv("POSTHOOK_BASE_URL", f"http://127.0.0.1:{port}")
    status, out, err = run("delete", "a")
    assert (status, out) == (1, []) and "127.0.0.1" in err and "refused" in err


@pytest.mark.parametrize("body", [b"<html>", b'{"data": 1}', b'{"data": [1]}', b"[" * 100_000])
def test_an_answer_that_is_no_posthooks_is_1(body, run, monkeypatch):
    with Script(answer(body)) as server:
        monkeypatch.setenv("POSTHOOK_API_KEY", "pk_test")
        monkeypatch.setenv("POSTHOOK_BASE_URL", server.url)
        status, out, err = run("list")
    assert (status, out) == (1, []) and err.count("\n") == 1


# -- Hooks


def test_schedule_prints_the_hook_as_the_api_has_it(local, run):
    status, [hook], err = run("schedule", "/a?b=c", "--in", "1d2h", "--data", '{"u": ["\xe9\\n"]}')
    assert (status, err) == (0, "")
    assert hook == local.hooks[0].raw
    assert (hook["path"], hook["data"], hook["status"]) == ("/a?b=c", {"u": ["\xe9\n"]}, "pending")


def test_schedule_takes_the_other_two_modes_and_a_retry_override(local, run):
    override = {"minRetries": 3, "delaySecs": 10, "strategy": "fixed"}
    _, [first], _ = run("schedule", "/a", "--at", "2030-01-01T00:00:00Z")
    _, [second], _ = run(
        *("schedule", "--at-local", "2030-01-01T00:00:00", "--timezone", "UTC", "/b"),
        *("--retry-override", json.dumps(override)),
    )
    assert first["postAt"] == second["postAt"] == "2030-01-01T00:00:00Z"
    assert first["data"] == {} and second["retryOverride"] == override


def test_data_comes_from_a_file_or_from_stdin_as_utf_8(local, run, monkeypatch, tmp_path):
    file = tmp_path / "data.json"
    file.write_bytes('{"u": "\xe9"}'.encode())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'["\xc3\xa9"]'), "ascii"))
    _, [first], _ = run("schedule", "/a", "--in", "5m", "--data", f"@{file}")
    _, [second], _ = run("schedule", "/a", "--in", "5m", "--data", "-")
    assert (first["data"], second["data"]) == ({"u": "\xe9"}, ["\xe9"])


@pytest.mark.parametrize(
    "stdin", [b"", b" \n", b"\xff", b"\xef\xbb\xbf1", b"Infinity", b"{} {}", None]
)
def test_stdin_that_is_no_json_is_refused(stdin, local, run, monkeypatch):
    stream = None if stdin is None else io.TextIOWrapper(io.BytesIO(stdin))
    monkeypatch.setattr(sys, "stdin", stream)
    status, out, err = run("schedule", "/a", "--in", "5m", "--data", "-")
    assert (status, out, local.hooks) == (2, [], []) and "JSON" in err


def test_a_file_that_cannot_be_read_is_refused_by_its_name(local, run, tmp_path):
    for file in (tmp_path, tmp_path / "none"):
        status, out, err = run("deliver", "http://127.0.0.1:1/", "--data", f"@{file}")
        assert (status, out) == (1, []) and str(file) in err


def test_arguments_of_an_ascii_locale_are_read_as_utf_8(local, run):
    typed = "/\xe9".encode().decode("ascii", "surrogateescape")
    _, [hook], _ = run("schedule", typed, "--in", "5m")
    assert hook["path"] == "/\xe9"


def test_get_prints_what_it_finds_in_order_and_is_1_if_one_is_not_found(local, run):
    ids = [run("schedule", path, "--in", "5m")[1][0]["id"] for path in ("/a", "/b")]
    assert names(run("get", ids[1], ids[0])[1]) == ["/b", "/a"]
    status, hooks, err = run("get", ids[1], "nope", ".", ids[0])
    assert (status, names(hooks)) == (1, ["/b", "/a"])
    assert "nope: Hook not found" in err and "hook id" in err


def test_list_prints_a_page_or_every_hook_once(local, run):
    assert run("list") == run("list", "--all") == (0, [], "")
    for number in range(12):
        run("schedule", f"/{number:02}", "--in", "1h")
    every = [f"/{number:02}" for number in range(12)]
    assert len(run("list")[1]) == 10
    assert len(run("list", "--limit", "11")[1]) == 11
    assert sorted(names(run("list", "--all")[1])) == every
    assert sorted(names(run("list", "--all", "--limit", "5")[1])) == every
    assert (
        run("list", "--status", "failed")[1] == run("list", "--status", "failed", "--all")[1] == []
    )


def test_list_all_prints_page_by_page_what_comes_before_an_error(run, monkeypatch):
    page = answer({"data": [HOOK], "meta": {"cursor": "2"}})
    with Script(page, answer({"error": "no more"}, 403)) as server:
        monkeypatch.setenv("POSTHOOK_API_KEY", "pk_test")
        monkeypatch.setenv("POSTHOOK_BASE_URL", server.url)
        assert run("list", "--all") == (1, [HOOK], "posthook: no more\n")


def test_delete_prints_a_line_for_each_id(local, run):
    _, [hook], _ = run("schedule", "/a", "--in", "5m")
    status, out, err = run("delete", hook["id"], "nope")
    assert (status, err, local.hooks) == (0, "", [])
    assert out == [{"id": hook["id"], "deleted": True}, {"id": "nope", "deleted": True}]


def test_bulk_commands_take_ids_or_a_range(local, run):
    ids = [run("schedule", path, "--in", "5m")[1][0]["id"] for path in ("/a", "/b", "/c")]
    assert run("cancel", ids[0], "nope") == (0, [{"affected": 1}], "")
    span = ["--from", "2020-01-01T00:00:00Z", "--to", "2120-01-01T00:00:00Z", "--limit", "1000"]
    assert run("cancel", *span, "--sequence-id", "s")[1] == [{"affected": 0}]
    assert run("cancel", *span, "--endpoint-key", "/b")[1] == [{"affected": 1}]
    local.advance("5m")
    assert run("retry", *span)[1] == [{"affected": 0}]
    assert run("replay", *span)[1] == [{"affected": 1}]
    assert run("replay", ids[2])[1] == [{"affected": 1}]


# -- Deliveries


def test_ack_and_nack_need_no_key_and_print_what_they_did(run):
    done, nacked = ok({"status": "completed"}), ok({"status": "nacked"})
    with Script(done, nacked, nacked, answer(status=404)) as server:
        url = f"{server.url}/ack/secret-token"
        assert run("ack", url) == (0, [{"status": "completed", "applied": True}], "")
        assert run("nack", url, "--body", '{"a": 1}') == (
            0,
            [{"status": "nacked", "applied": True}],
            "",
        )
        assert run("ack", url) == (1, [{"status": "nacked", "applied": False}], "")
        assert run("ack", url) == (1, [{"status": "not_found", "applied": False}], "")
    assert [request.body for request in server.requests[:2]] == [b"", b'{"a":1}']


@pytest.mark.parametrize("status", [401, 410])
def test_a_refused_callback_is_1_and_its_token_is_not_shown(status, run):
    with Script(lambda request: answer({"error": f"bad {request.path}"}, status)) as server:
        result, out, err = run("ack", f"{server.url}/v1/ack/0123-secret?token=hush-hush")
    assert (result, out) == (1, []) and str(status) in err
    assert "secret" not in err and "hush" not in err


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ("s3cret-t0ken list", "no such command: --help lists them"),
        ("ack https://a.example/x https://a.example/t0ken", "unrecognized arguments:"),
        ("list --api-key t0ken", "unrecognized arguments: --api-key"),
        ("list --api-key=t0ken", "unrecognized arguments: --api-key"),
        ("list --limit t0ken", "argument --limit: invalid int value"),
        ("list --all=t0ken", "argument --all: ignored explicit argument"),
    ],
)
def test_what_may_be_a_secret_is_not_repeated(argv, told, run):
    status, out, err = run(*argv.split(" "))
    assert (status, out, err) == (2, [], f"posthook: {told}\n")


def test_deliver_sends_what_the_service_would(run, monkeypatch):
    monkeypatch.setenv("POSTHOOK_SIGNING_KEY", "phs_new, phs_old")
    with Script(answer(b"\xe9\n", 202)) as server:
        status, [sent], err = run("deliver", f"{server.url}/a%20b?c=d#e", "--data", "[1]")
    assert (status, err, sent["status"], sent["body"]) == (0, "", 202, "\ufffd\n")
    request, signatures = server.last, posthook.create_signatures("phs_new")
    delivery = signatures.parse_delivery(request.body, request.headers)
    assert delivery.hook_id == request.headers["posthook-id"] == sent["id"]
    assert (request.path, delivery.path, delivery.data) == ("/a%20b?c=d", "/a%20b?c=d", [1])
    assert "x-api-key" not in request.headers and "posthook-ack-url" not in request.headers
    assert set(request.json) == {
        *("id", "path", "data", "postAt", "postedAt", "createdAt", "updatedAt")
    }


def test_deliver_shows_a_refusal_and_is_1(run, monkeypatch):
    monkeypatch.setenv("POSTHOOK_SIGNING_KEY", "phs_topsecret")
    with Script(answer(status=500), Close()) as server:
        status, [sent], err = run("deliver", server.url)
        assert (status, sent["status"], server.last.path) == (1, 500, "/")
        assert server.last.json["data"] == {}
        status, out, err = run("deliver", server.url)
        assert (status, out) == (1, []) and "127.0.0.1" in err


def test_deliver_without_a_signing_key_names_the_variable(run):
    status, out, err = run("deliver", "http://127.0.0.1:1/")
    assert (status, out) == (2, []) and "POSTHOOK_SIGNING_KEY" in err


# -- local


@contextlib.contextmanager
def stdout_read_by(use, monkeypatch):
    """stdout is a pipe: ``use(out, exports)`` reads it on a thread from the fourth line on."""

    def read():
        with open(reader) as out:
            lines = [out.readline() for _ in range(3)]
            use(out, dict(line[len("export ") :].strip().split("=") for line in lines))

    reader, writer = os.pipe()
    thread = threading.Thread(target=read)
    thread.start()
    with open(writer, "w") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        yield
    thread.join()


def exported(exports):
    return posthook.Posthook(exports["POSTHOOK_API_KEY"], base_url=exports["POSTHOOK_BASE_URL"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_local_prints_each_call_and_attempt_until_a_signal(number, monkeypatch, capsys):
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    heard = []

    def use(out, exports):
        heard.append(exports["POSTHOOK_SIGNING_KEY"])
        with exported(exports) as client:
            client.hooks.schedule("/a", post_at="2020-01-01T00:00:00Z")
            heard.extend(sorted(out.readline() for _ in range(2)))
            client.hooks.list()  # its connection is left idle
            os.kill(os.getpid(), number)
            heard.extend(out)

    with stdout_read_by(use, monkeypatch):
        assert posthook.main(["local"]) == 128 + number
    key, call, attempt, last = heard
    assert (key, call, last) == ("ph_sk_local", "POST /v1/hooks 201\n", "GET /v1/hooks 200\n")
    assert attempt.startswith("delivery /a #1: ")
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert capsys.readouterr().err == ""


def test_local_forwards_and_sends_callback_urls(monkeypatch):
    def use(out, exports):
        with exported(exports) as client:
            client.hooks.schedule("/b", post_at="2020-01-01T00:00:00Z")
            while "delivery" not in out.readline():
                pass
        os.kill(os.getpid(), signal.SIGTERM)

    with Script(answer()) as app, stdout_read_by(use, monkeypatch):
        assert posthook.main(["local", "--forward", f"{app.url}/a", "--async-hooks"]) == 143
    signatures = posthook.create_signatures("ph_sk_local")
    delivery = signatures.parse_delivery(app.last.body, app.last.headers)
    assert app.last.path == "/a/b" and delivery.ack_url.startswith("http://127.0.0.1:")


def test_local_ends_silently_when_nobody_reads_it_any_more(monkeypatch, capsys):
    def use(out, exports):
        out.close()
        with exported(exports) as client, contextlib.suppress(posthook.PosthookError):
            client.hooks.list()

    with stdout_read_by(use, monkeypatch):
        assert posthook.main(["local"]) == 141
    assert capsys.readouterr().err == ""


def test_local_says_that_its_port_is_in_use(local, run):
    status, out, err = run("local", "--port", local.url.rpartition(":")[2])
    assert (status, out) == (1, []) and "in use" in err


# -- Streams, signals, and the process


def test_a_closed_pipe_is_141_and_silent(monkeypatch, capsys):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert posthook.main(["--help"]) == 141
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk_is_1_and_says_so(monkeypatch, capsys):
    with open("/dev/full", "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert posthook.main(["schedule", "--help"]) == 1
    assert "No space left" in capsys.readouterr().err


def test_a_stream_without_a_descriptor_that_cannot_be_flushed_is_left_alone(monkeypatch, capsys):
    class Full(io.StringIO):
        def flush(self):
            raise OSError("full")

    monkeypatch.setattr(sys, "stdout", Full())
    assert posthook.main(["--help"]) == 1
    assert capsys.readouterr().err == "posthook: full\n"


def test_without_stdout_nothing_is_done_and_without_stderr_nothing_is_said(
    local, monkeypatch, capfd
):
    monkeypatch.setattr(sys, "stdout", None)
    assert posthook.main(["schedule", "/a", "--in", "5m"]) == 1
    assert capfd.readouterr().err == "posthook: stdout is closed\n"
    monkeypatch.setattr(sys, "stderr", None)
    assert posthook.main(["schedule", "/a", "--in", "5m"]) == 1
    assert local.hooks == [] and capfd.readouterr().err == ""


def test_ctrl_c_in_a_call_is_130_and_a_second_one_would_kill_the_program(
    run, as_program, monkeypatch
):
    def interrupt(request):
        os.kill(os.getpid(), signal.SIGINT)
        return Stall()

    with Script(interrupt) as server:
        monkeypatch.setenv("POSTHOOK_API_KEY", "pk_test")
        monkeypatch.setenv("POSTHOOK_BASE_URL", server.url)
        assert run("list") == (130, [], "")
        assert as_program("list") == 130
    assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL


def test_the_program_ends_silently_when_its_reader_has_gone():
    ids = itertools.count()

    def page(request):
        hooks = [{**HOOK, "id": f"{next(ids)}"} for _ in range(100)]
        return answer({"data": hooks, "meta": {"cursor": "more"}})

    with Script(page) as server:  # the list has no end
        program = process("list", "--all", server=server)
        assert json.loads(program.stdout.readline())["id"] == "0"
        program.stdout.close()
        assert (program.wait(20), program.stderr.read()) == (141, "")
        program.stderr.close()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_the_program_is_1_where_neither_results_nor_messages_can_be_written():
    with Script(ok([HOOK])) as server, open("/dev/full", "w") as full:
        program = process("list", server=server, stdout=full, stderr=full)
        assert program.wait(20) == 1


def test_ctrl_c_ends_the_program_with_130_no_word_and_what_was_printed_before():
    def interrupt(request):
        os.kill(program.pid, signal.SIGINT)
        return Stall()

    page = answer({"data": [HOOK], "meta": {"cursor": "2"}})
    with Script(page, interrupt) as server:
        program = process("list", "--all", server=server)
        assert ended(program) == (130, json.dumps(HOOK) + "\n", "")


def test_the_program_local_ends_on_sigterm_with_an_idle_connection_open():
    program = process("local")
    url = program.stdout.readline().strip().partition("=")[2]
    with posthook.Posthook("pk_local", base_url=url) as client:
        client.hooks.list()
        program.terminate()
        status, out, err = ended(program)
    assert (status, out.splitlines()[-1], err) == (143, "GET /v1/hooks 200", "")


def test_the_program_runs_optimised_isolated_and_as_a_module():
    for python in (["-I", "-S", "-OO"], ["-X", "dev", "-bb"]):
        status, out, err = ended(process("list", "-h", python=python))
        assert (status, err) == (0, "") and "example: python posthook.py list" in out
    module = [sys.executable, "-m", "posthook", "--version"]
    folder = os.path.dirname(os.path.abspath(posthook.__file__))
    done = subprocess.run(module, capture_output=True, text=True, cwd=folder, timeout=20)
    assert (done.returncode, done.stdout) == (0, f"{posthook.__version__}\n")


# -- The demo


def test_the_demo_shows_hooks_attempts_and_verified_deliveries(capsys, monkeypatch):
    monkeypatch.setenv("POSTHOOK_API_KEY", "never-used")
    monkeypatch.setenv("POSTHOOK_SIGNING_KEY", "never-used")
    monkeypatch.setenv("POSTHOOK_BASE_URL", "http://never-used.invalid")
    monkeypatch.setenv("http_proxy", "http://never-used.invalid")
    assert posthook.main(["demo"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert err == "" and "never-used" not in out and out.isascii()
    assert 5 <= len(lines) <= 60 and max(map(len, lines)) <= 160
    assert len(re.findall(r"hook [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}: completed", out)) == 4
    assert out.count("verified") == 4 and out.count("the app says 500") == 1
    assert "CallbackResult(applied=True, status='completed')" in out
    assert "SignatureVerificationError: " in out


def test_the_demo_says_so_where_there_are_no_time_zones(capsys, monkeypatch):
    zoneinfo = pytest.importorskip("zoneinfo")
    monkeypatch.setitem(sys.modules, "tzdata", None)
    zoneinfo.reset_tzpath(to=[])
    zoneinfo.ZoneInfo.clear_cache()
    try:
        assert posthook.main(["demo"]) == 0
    finally:
        zoneinfo.reset_tzpath()
        zoneinfo.ZoneInfo.clear_cache()
    out = capsys.readouterr().out
    assert "BadRequestError: timezone" in out and out.count("verified") == 3


def test_the_demo_runs_anywhere_and_writes_no_file(tmp_path):
    tmp_path.chmod(0o500)
    env = {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "PYTHONUTF8": "0", "HOME": "", "TMPDIR": ""}
    program = process("demo", python=["-I", "-S"], env=env, cwd=tmp_path)
    status, out, err = ended(program)
    assert (status, err, os.listdir(tmp_path)) == (0, "", []) and "completed" in out

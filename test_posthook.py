"""The tests of posthook.py, in the order of its sections. Real sockets on 127.0.0.1, no mocks."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import contextvars
import copy
import functools
import hmac
import http.client
import inspect
import io
import json
import random
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timezone
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


# ==================================================================================================
# 11. The command line
# ==================================================================================================

"""The tests of posthook.py, in the order of its sections. Real sockets on 127.0.0.1, no mocks."""

from __future__ import annotations

import ast
import asyncio
import base64
import collections
import contextlib
import contextvars
import copy
import dataclasses
import enum
import functools
import gc
import gzip
import hashlib
import hmac
import html
import http.client
import http.server
import importlib
import inspect
import io
import itertools
import json
import logging
import operator
import os
import pathlib
import pickle
import platform
import random
import re
import runpy
import shlex
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import traceback
import types
import typing
import urllib.error
import urllib.parse
import urllib.request
import uuid
import warnings
import weakref
import zipfile
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta, timezone, tzinfo
from datetime import time as time_of_day
from email import message_from_string
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from wsgiref.headers import Headers as WsgiHeaders
from wsgiref.simple_server import make_server
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

import posthook

# ==================================================================================================
# Tools
# ==================================================================================================

SOURCE = pathlib.Path(posthook.__file__)

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


NO_ANSWER = Close(b"")  # the request was read, and then the server was gone


class Stall(bytes):
    """A step: these bytes, then nothing more until the client goes away."""


def reset_at_close(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Script:
    """A server on 127.0.0.1 that plays a script: each request gets the next step.

    A step is bytes to send (the connection stays open), ``Close``, ``Reset`` or ``Stall``, or a
    function that takes the request and returns a step or an iterator of bytes. The last step
    repeats for ever.
    ``requests`` holds what came in, ``connections`` counts the connections.
    """

    def __init__(self, *steps, tls=None):
        self.steps = list(steps)
        self.requests = []
        self.connections = 0
        self._tls = tls
        self._lock = threading.Condition()
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

    def wait_for(self, requests):
        """Wait until so many requests have come in."""
        with self._lock:
            assert self._lock.wait_for(lambda: len(self.requests) >= requests, 10)

    def wait_for_end(self):
        """Wait until no connection is open."""
        with self._lock:
            assert self._lock.wait_for(lambda: not self._open, 10)

    def interject(self, step):
        """Bytes, an end or a reset on every connection, while they are idle."""
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):  # it is being closed already
                    socket.socket.sendall(connection, step)
                    if isinstance(step, Reset):
                        reset_at_close(connection)
                    if isinstance(step, (Close, Reset)):
                        socket.socket.shutdown(connection, socket.SHUT_RD)  # its thread closes it
            if isinstance(step, (Close, Reset)):
                self.wait_for_end()

    def _start(self, target, *args):
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection = self._socket.accept()[0]
                self.connections += 1
                self._start(self._serve, connection)

    def _serve(self, connection):
        try:
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open.add(connection)
            self._play(connection)
        except (OSError, ValueError):
            pass
        finally:
            with self._lock:
                connection.close()
                self._open.discard(connection)
                self._lock.notify_all()

    def _play(self, connection):
        with connection.makefile("rb") as stream:
            while self._exchange(connection, stream):
                pass

    def _exchange(self, connection, stream):
        request = read_request(stream)
        if request is None:
            return False
        with self._lock:
            self.requests.append(request)
            self._lock.notify_all()
            step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        while callable(step):
            step = step(request)
        for piece in [step] if isinstance(step, bytes) else step:
            connection.sendall(piece)
        if isinstance(step, Reset):
            reset_at_close(connection)
        if isinstance(step, Stall):
            stream.read()
        return not isinstance(step, (Close, Reset, Stall))


class Raw(Script):
    """A server on 127.0.0.1 that has ``play`` do as it likes with each connection."""

    def __init__(self, play, tls=None):
        self._play = play
        super().__init__(tls=tls)


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


def client(server, make=posthook.Posthook, **options):
    """A client of a server, or of a URL; retries are off unless asked for."""
    url = getattr(server, "url", server)
    usual = {"api_key": "pk_test", "base_url": url, "timeout": 10, "max_retries": 0}
    return make(**{**usual, **options})


def trickled(data, pause=0.02):
    """A step: the bytes one by one."""

    def step(request):
        for byte in data:
            yield bytes([byte])
            time.sleep(pause)

    return step


def endless(head, piece, pause):
    """A step: ``head``, then ``piece`` for ever, until the client goes away."""

    def step(request):
        yield head
        while True:
            yield piece
            time.sleep(pause)

    return step


@contextlib.contextmanager
def full_backlog():
    """The port of a server that answers no SYN: its queue is full."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            other = stack.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(server.getsockname())
        yield server.getsockname()[1]


@contextlib.contextmanager
def closed_port():
    """A port of 127.0.0.1 that refuses connections, and stays so."""
    with socket.socket() as owner:
        owner.bind(("127.0.0.1", 0))
        yield owner.getsockname()[1]


def failure(call, *args, **kwargs):
    """The PosthookError that a call ends in: soon, and without showing a secret."""
    started = time.monotonic()
    with pytest.raises(posthook.PosthookError) as caught:
        call(*args, **kwargs)
    assert time.monotonic() - started < 2
    error = caught.value
    shown = "".join(traceback.format_exception(type(error), error, None)) + repr(error)
    assert not re.search("pk_test|pass(-|%2D)word", shown)
    return error


def error_of(call, *args, **options):
    """What a call raises, and it has to."""
    with pytest.raises(Exception) as caught:
        call(*args, **options)
    return caught.value


# Made for these tests, worth nothing elsewhere: a self-signed certificate for 127.0.0.1, valid to
# the year 2120, another one that has expired, and the key of both.
PRIVATE_KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgujmOna9iXIpzsoEs
L3lVKRzCQ7NLVNUFSVTLnQLbZO6hRANCAATQ5z8HFLoT1pci7Euv3iLAVLxNgFV2
0IUCWsYldxTnz8PMNeJO/rtsHxBi7LrWqMOdgSMdHHgH7Znm5VRye6Q0
-----END PRIVATE KEY-----
"""
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBdzCCARygAwIBAgIBATAKBggqhkjOPQQDAjAZMRcwFQYDVQQDDA5wb3N0aG9v
ayB0ZXN0czAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowGTEXMBUG
A1UEAwwOcG9zdGhvb2sgdGVzdHMwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATQ
5z8HFLoT1pci7Euv3iLAVLxNgFV20IUCWsYldxTnz8PMNeJO/rtsHxBi7LrWqMOd
gSMdHHgH7Znm5VRye6Q0o1MwUTAPBgNVHRMBAf8EBTADAQH/MA4GA1UdDwEB/wQE
AwIChDAdBgNVHQ4EFgQUUl+dRJBKawtsCwAccRLmPGna588wDwYDVR0RBAgwBocE
fwAAATAKBggqhkjOPQQDAgNJADBGAiEAi7rGF0O6Hk8xs1nnsTGqatTYGzKN/U2y
cIWe3dfJR7UCIQCgnepYUq55lq1aXWi6EM3uXvThYG0/UznDvJBs4FJAGQ==
-----END CERTIFICATE-----
"""
EXPIRED_CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBdDCCARqgAwIBAgIBAjAKBggqhkjOPQQDAjAZMRcwFQYDVQQDDA5wb3N0aG9v
ayB0ZXN0czAeFw0yMDAxMDEwMDAwMDBaFw0yMDAxMDIwMDAwMDBaMBkxFzAVBgNV
BAMMDnBvc3Rob29rIHRlc3RzMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE0Oc/
BxS6E9aXIuxLr94iwFS8TYBVdtCFAlrGJXcU58/DzDXiTv67bB8QYuy61qjDnYEj
HRx4B+2Z5uVUcnukNKNTMFEwDwYDVR0TAQH/BAUwAwEB/zAOBgNVHQ8BAf8EBAMC
AoQwHQYDVR0OBBYEFFJfnUSQSmsLbAsAHHES5jxp2ufPMA8GA1UdEQQIMAaHBH8A
AAEwCgYIKoZIzj0EAwIDSAAwRQIhAPjAGNs9XrUw+K0ewzUy5KC6BHLohrUiOEbI
gxuQSSH+AiANZbWVtmUM1Q2fMWqzqzMbe4p2YZK7m0HLNPxmRvfGTw==
-----END CERTIFICATE-----
"""


def server_tls(folder, certificate=CERTIFICATE):
    """The server's side of TLS; ``folder`` is where its files may be."""
    (folder / "server.pem").write_text(PRIVATE_KEY + certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context


@pytest.fixture
def secure(tmp_path, monkeypatch):
    """The server's side of TLS; by the environment, clients trust its certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.pem"))
    return server_tls(tmp_path)


@pytest.fixture(params=["plain", "tls"])
def tls(request):
    """``Script(tls=...)`` for a test that runs without TLS and with it."""
    return request.getfixturevalue("secure") if request.param == "tls" else None


def opened(**options):
    """An opener that is closed at the end of a ``with``."""
    return contextlib.closing(posthook.build_opener(**options))


def wait_until(condition):
    """For what has no event to wait for."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def in_a_child(function):
    """Call ``function`` in a forked process: it has 20 seconds, and must raise nothing."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # there are threads: on purpose
        child = os.fork()
    if child == 0:
        signal.alarm(20)
        try:
            function()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def pool(owner):
    """The pool of an opener or a client: its repr tells its state."""
    handler = owner.handlers[0] if hasattr(owner, "handlers") else owner._api._handler
    return handler._pool


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
    # What callbacks share, threads and connections, lives as long as the process by design.
    for shared in posthook._callback_crew(), posthook._callback_sender().__self__:
        shared.close()
    posthook._callback_crew.cache_clear()
    posthook._callback_sender.cache_clear()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive(), f"{thread} is left"


class Blocking:
    """An AsyncPosthook, or a part of one, whose calls run to their end on an event loop."""

    def __init__(self, wrapped, loop=None):
        self._wrapped = wrapped
        self._loop = loop or asyncio.new_event_loop()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def __repr__(self):
        return repr(self._wrapped)

    def __getattr__(self, name):
        value = getattr(self._wrapped, name)
        if name in ("hooks", "bulk"):
            return Blocking(value, self._loop)
        if name == "list_all":
            return lambda **options: self._steps(value(**options))
        if not inspect.iscoroutinefunction(value):
            return value
        return lambda *args, **options: self._loop.run_until_complete(value(*args, **options))

    def _steps(self, iterator):
        with contextlib.suppress(StopAsyncIteration):
            while True:
                yield self._loop.run_until_complete(iterator.__anext__())


@pytest.fixture(params=["sync", "async"])
def make(request):
    """``Posthook``, and ``AsyncPosthook`` behind a face with the same blocking calls."""
    if request.param == "sync":
        return posthook.Posthook
    return lambda *args, **options: Blocking(posthook.AsyncPosthook(*args, **options))


@pytest.fixture
def connect(make):
    """``client``, for both faces."""
    return functools.partial(client, make=make)


@pytest.fixture
def pauses(monkeypatch):
    """The pauses between attempts, which are noted instead of slept."""
    noted = []
    monkeypatch.setattr(posthook, "_wait", lambda event, seconds: noted.append(seconds))
    return noted


# ==================================================================================================
# 1. Imports and names
# ==================================================================================================

# What posthook-python 1.1.0 exports, and what this file adds to it above the cut line.
EXPORTS = {
    *("Posthook", "AsyncPosthook", "Hook", "HookRetryOverride", "QuotaInfo", "BulkActionResult"),
    *("CallbackResult", "Delivery", "ack", "nack", "async_ack", "async_nack", "SignaturesService"),
    *("create_signatures", "STATUS_PENDING", "STATUS_RETRY", "STATUS_COMPLETED", "STATUS_FAILED"),
    *("SORT_BY_POST_AT", "SORT_BY_CREATED_AT", "SORT_ORDER_ASC", "SORT_ORDER_DESC"),
    *("STRATEGY_FIXED", "STRATEGY_EXPONENTIAL", "PosthookError", "BadRequestError"),
    *("AuthenticationError", "CallbackError", "ForbiddenError", "NotFoundError"),
    *("PayloadTooLargeError", "RateLimitError", "InternalServerError", "PosthookConnectionError"),
    *("SignatureVerificationError", "__version__", "HookSequenceData", "Page"),
    *("PosthookTimeoutError", "Result", "build_opener"),
}

# The signatures of posthook-python 1.1.0; only base_url has another default here.
CALLBACK, STATUS_ERROR = "url, body=None", "message, headers=None"
FILTER = "self, start_time, end_time, limit, *, endpoint_key=None, sequence_id=None, timeout=None"
SIGNATURES = {
    "Posthook": "api_key=None, *, base_url=None, timeout=30.0, signing_key=None, http_client=None",
    "Posthook.close": "self",
    "AsyncPosthook.close": "self",
    "HooksService.schedule": "self, path, *, data=None, post_at=None, post_at_local=None, "
    "timezone=None, post_in=None, retry_override=None, timeout=None",
    "HooksService.get": "self, id, *, timeout=None",
    "HooksService.list": "self, *, status=None, limit=None, offset=None, post_at_before=None, "
    "post_at_after=None, created_at_before=None, created_at_after=None, sort_by=None, "
    "sort_order=None, timeout=None",
    "HooksService.list_all": "self, *, status=None, post_at_after=None, page_size=100, "
    "timeout=None",
    "HooksService.delete": "self, id, *, timeout=None",
    "BulkActions.retry": "self, hook_ids, *, timeout=None",
    "BulkActions.replay": "self, hook_ids, *, timeout=None",
    "BulkActions.cancel": "self, hook_ids, *, timeout=None",
    "BulkActions.retry_by_filter": FILTER,
    "BulkActions.replay_by_filter": FILTER,
    "BulkActions.cancel_by_filter": FILTER,
    "ack": CALLBACK,
    "nack": CALLBACK,
    "async_ack": CALLBACK,
    "async_nack": CALLBACK,
    "create_signatures": "signing_key=None",
    "SignaturesService": "signing_key=None",
    "SignaturesService.parse_delivery": "self, body, headers, *, signing_key=None, tolerance=300",
    "Hook": "id, path, data, post_at, status, post_duration_seconds, created_at, updated_at, "
    "domain=None, attempts=0, failure_error='', sequence_data=None, retry_override=None, "
    "quota=None",
    "Hook.from_dict": "data",
    "HookRetryOverride": "min_retries, delay_secs, strategy, backoff_factor=None, "
    "max_delay_secs=None, jitter=False",
    "HookRetryOverride.from_dict": "data",
    "HookRetryOverride.to_dict": "self",
    "HookSequenceData": "sequence_id, step_name, sequence_last_run_at",
    "HookSequenceData.from_dict": "data",
    "QuotaInfo": "limit, usage, remaining, resets_at",
    "BulkActionResult": "affected",
    "BulkActionResult.from_dict": "data",
    "CallbackResult": "applied, status",
    "Delivery": "hook_id, timestamp, path, data, body, post_at, posted_at, created_at, updated_at, "
    "ack_url=None, nack_url=None",
    "PosthookError": "message, *, status_code=None, code='', headers=None",
    "BadRequestError": STATUS_ERROR,
    "AuthenticationError": STATUS_ERROR,
    "ForbiddenError": STATUS_ERROR,
    "NotFoundError": STATUS_ERROR,
    "PayloadTooLargeError": STATUS_ERROR,
    "RateLimitError": STATUS_ERROR,
    "InternalServerError": "message, status_code=500, headers=None",
    "PosthookConnectionError": "message",
    "CallbackError": "message, status_code=None",
    "SignatureVerificationError": "message",
}

PUBLIC_CLASSES = [
    value
    for name, value in vars(posthook).items()
    if isinstance(value, type) and value.__module__ == "posthook" and not name.startswith("_")
]
PUBLIC = [
    *((posthook, cls.__name__) for cls in PUBLIC_CLASSES),
    *((posthook, name) for name in posthook.__all__ if inspect.isfunction(getattr(posthook, name))),
    *(
        (cls, name)
        for cls in PUBLIC_CLASSES
        for name, value in vars(cls).items()
        if not name.startswith("_")
        and isinstance(value, (types.FunctionType, classmethod, staticmethod, property))
    ),
]

# Uses the client the way a program does, and prints what it sees.
PROGRAM = """
import sys
folder, url = sys.argv[1:]
sys.path.insert(0, folder)
import posthook
with posthook.Posthook("pk", base_url=url, signing_key="ph_sk") as client:
    print(client.hooks.schedule("/webhooks/remind", post_in="5m").status)
    print(len(list(client.hooks.list_all())))
    body = b'{"id": "a", "data": [1]}'
    print(client.signatures.parse_delivery(body, client.signatures.sign(body)).data)
    try:
        client.hooks.get("")
    except ValueError as error:
        print(error)
print(posthook.ack(url + "/ack/token").status)

import asyncio
async def main():
    async with posthook.AsyncPosthook("pk", base_url=url) as client:
        print((await client.hooks.get("a")).path)
asyncio.run(main())

import pickle
print(repr(pickle.loads(pickle.dumps(posthook.NotFoundError("Hook not found")))))
"""
PROGRAM_OUTPUT = """\
pending
1
[1]
hook id is required
completed
/webhooks/remind
NotFoundError(message='Hook not found', status_code=404)
"""
PROGRAM_ANSWERS = [
    answer({"data": HOOK}, 201),
    answer({"data": [HOOK], "meta": {"totalItems": 1}}),
    ok({"status": "completed"}),
    ok(HOOK),
]


def run_python(*arguments, environment=None):
    """What a Python of its own prints; it must end well, and without a word on stderr."""
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture
def imported(monkeypatch):
    """Imports from a path for one test: ``imported(name, path)``."""
    roots = set()

    def load(name, path):
        monkeypatch.syspath_prepend(str(path))
        roots.add(name.partition(".")[0])
        return importlib.import_module(name)

    yield load
    for name in [name for name in sys.modules if name.partition(".")[0] in roots]:
        del sys.modules[name]


def test_importing_prints_nothing_and_loads_nothing_heavy():
    heavy = (
        "urllib.request http.client ssl asyncio concurrent.futures concurrent.futures.thread "
        "zoneinfo http.server argparse socket email logging hmac hashlib"
    )
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import posthook; "
        f"print(sorted(set({heavy!r}.split()) & set(sys.modules)))"
    )
    assert run_python("-S", "-I", "-c", program, SOURCE.parent) == "[]\n"


def test_the_client_works_in_development_mode_with_warnings_and_bytes_mix_ups_as_errors():
    with Script(*PROGRAM_ANSWERS) as server:
        flags = ["-O", "-bb", "-X", "dev", "-W", "error"]
        assert run_python(*flags, "-c", PROGRAM, SOURCE.parent, server.url) == PROGRAM_OUTPUT


def test_the_client_works_isolated_without_docstrings_and_home_and_writes_no_file(tmp_path):
    shutil.copy(SOURCE, tmp_path)
    tmp_path.chmod(0o555)
    with Script(*PROGRAM_ANSWERS) as server:
        flags = ["-I", "-S", "-B", "-OO", "-W", "error"]
        output = run_python(*flags, "-c", PROGRAM, tmp_path, server.url, environment={})
    tmp_path.chmod(0o755)
    assert output == PROGRAM_OUTPUT
    assert [path.name for path in tmp_path.iterdir()] == ["posthook.py"]


def test_without_the_ssl_module_http_works_and_https_names_what_is_missing():
    program = """
import sys
sys.modules["ssl"] = sys.modules["_ssl"] = None
folder, url = sys.argv[1:]
sys.path.insert(0, folder)
import posthook
print(posthook.Posthook("pk", base_url=url).hooks.get("a").path)
try:
    posthook.Posthook("pk", base_url=url.replace("http", "https"), max_retries=0).hooks.get("a")
except posthook.PosthookError as error:
    print("ssl" in str(error))
"""
    with Script(ok(HOOK)) as server:
        output = run_python("-c", program, SOURCE.parent, server.url)
    assert output == "/webhooks/remind\nTrue\n"


def test_it_works_vendored_in_a_package_under_another_name(tmp_path, imported):
    package = tmp_path / "shop"
    (package / "vendored").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "vendored" / "__init__.py").touch()
    (package / "hooks.py").write_text("from .vendored._hooks import *\n")
    shutil.copy(SOURCE, package / "vendored" / "_hooks.py")
    hooks = imported("shop.hooks", tmp_path)
    hook = hooks.Hook.from_dict(HOOK)
    assert hooks.Hook.__module__ == "shop.vendored._hooks"
    assert b"shop.vendored._hooks" in pickle.dumps(hook)
    assert pickle.loads(pickle.dumps(hook)) == hook
    with Script(ok(HOOK)) as server, hooks.Posthook("pk", base_url=server.url) as client:
        assert client.hooks.get("a") == hook


def test_it_works_from_a_zip(tmp_path, imported):
    with zipfile.ZipFile(tmp_path / "libraries.zip", "w") as archive:
        archive.write(SOURCE, "posthook_zipped.py")
    zipped = imported("posthook_zipped", tmp_path / "libraries.zip")
    with Script(ok(HOOK)) as server, zipped.Posthook("pk", base_url=server.url) as client:
        assert client.hooks.get("a").id == HOOK["id"]


def test_two_copies_in_one_process_keep_apart(tmp_path, imported):
    shutil.copy(SOURCE, tmp_path / "posthook_copy.py")
    copied = imported("posthook_copy", tmp_path)
    error = pickle.loads(pickle.dumps(copied.NotFoundError("gone")))
    assert type(error) is copied.NotFoundError is not posthook.NotFoundError
    with Script(ok(HOOK)) as server, client(server) as ours:
        with copied.Posthook("pk", base_url=server.url) as theirs:
            theirs.hooks.get("a")
        assert ours.hooks.get("a").id == HOOK["id"]


@pytest.mark.skipif(sys.version_info[:2] == (3, 12), reason="3.12.1 crashes on its own datetime")
def test_several_subinterpreters_verify():
    program = """
import os, sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
run = interpreters.exec if hasattr(interpreters, "exec") else interpreters.run_string
verify = f"import sys; sys.path.insert(0, {sys.argv[1]!r})" + '''
import posthook
signatures = posthook.SignaturesService("ph_sk")
delivery = signatures.parse_delivery("{}", signatures.sign("{}"))
assert delivery.post_at.isoformat() == "0001-01-01T00:00:00+00:00"
'''
print([run(interpreters.create(), verify) for _ in range(3)], flush=True)
os._exit(0)  # without taking them down, in which some versions fail
"""
    assert run_python("-c", program, SOURCE.parent) == "[None, None, None]\n"


def test_all_names_everything_that_is_public_and_nothing_twice():
    assert len(set(posthook.__all__)) == len(posthook.__all__)
    assert set(posthook.__all__) >= EXPORTS
    namespace = {}
    exec("from posthook import *", namespace)
    assert set(posthook.__all__) <= set(namespace)


def test_what_a_program_can_reach_from_a_client_needs_no_name_in_all():
    services = {"HooksService", "BulkActions", "AsyncHooksService", "AsyncBulkActions"}
    assert {each.__name__ for each in PUBLIC_CLASSES} - set(posthook.__all__) == services


@pytest.mark.parametrize(
    ("cls", "prefix"), [(posthook.Posthook, ""), (posthook.AsyncPosthook, "Async")]
)
def test_services_have_the_class_names_of_posthook_python(cls, prefix):
    made = cls("pk")
    assert type(made.hooks).__name__ == f"{prefix}HooksService"
    assert type(made.hooks.bulk).__name__ == f"{prefix}BulkActions"
    assert type(made.signatures) is posthook.SignaturesService


def test_the_version_begins_with_a_digit():
    assert posthook.__version__[0].isdigit()


def test_constants_are_those_of_posthook_python():
    prefixes = "STATUS_", "SORT_", "STRATEGY_"
    assert {n: getattr(posthook, n) for n in posthook.__all__ if n.startswith(prefixes)} == {
        "STATUS_PENDING": "pending",
        "STATUS_RETRY": "retry",
        "STATUS_COMPLETED": "completed",
        "STATUS_FAILED": "failed",
        "SORT_BY_POST_AT": "postAt",
        "SORT_BY_CREATED_AT": "createdAt",
        "SORT_ORDER_ASC": "ASC",
        "SORT_ORDER_DESC": "DESC",
        "STRATEGY_FIXED": "fixed",
        "STRATEGY_EXPONENTIAL": "exponential",
    }


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures_are_those_of_posthook_python_and_what_is_added_may_be_left_out(name):
    theirs = inspect.signature(eval(f"lambda {SIGNATURES[name]}: None")).parameters
    ours = list(inspect.signature(operator.attrgetter(name)(posthook)).parameters.values())
    kept = [each.replace(annotation=each.empty) for each in ours if each.name in theirs]
    assert kept == list(theirs.values())
    for place, added in enumerate(ours):
        if added.name not in theirs:
            assert added.kind is added.KEYWORD_ONLY or place >= len(theirs)
            assert added.default is not added.empty


@pytest.mark.parametrize(("owner", "name"), PUBLIC, ids=lambda it: getattr(it, "__name__", it))
def test_everything_public_has_a_docstring_of_its_own_and_a_signature(owner, name):
    public = inspect.getattr_static(owner, name)
    assert public.__doc__.strip()
    assert not public.__doc__.startswith(f"{name}(")  # as dataclasses write them
    assert isinstance(public, property) or inspect.signature(getattr(owner, name))


def test_the_module_is_documented():
    assert "Map of the file" in posthook.__doc__


# ==================================================================================================
# 2. Errors
# ==================================================================================================

ERRORS = [value for value in PUBLIC_CLASSES if issubclass(value, posthook.PosthookError)]


def answered(body, call=lambda hooks: hooks.get("a"), status=200, **headers):
    """What ``call(hooks)`` makes of an answer; ``body`` is JSON unless it is bytes."""
    with Script(answer(body, status, **headers)) as server, client(server) as posthooks:
        return call(posthooks.hooks)


def copies(original):
    """Its copies, in each way that Python has to make one."""
    pickles = [pickle.dumps(original, number) for number in range(pickle.HIGHEST_PROTOCOL + 1)]
    return [copy.copy(original), copy.deepcopy(original), *map(pickle.loads, pickles)]


@pytest.mark.parametrize(
    ("status", "name", "code"),
    [
        (400, "BadRequestError", "bad_request"),
        (401, "AuthenticationError", "authentication_error"),
        (403, "ForbiddenError", "forbidden"),
        (404, "NotFoundError", "not_found"),
        (413, "PayloadTooLargeError", "payload_too_large"),
        (429, "RateLimitError", "rate_limit_exceeded"),
        *[(status, "InternalServerError", "internal_error") for status in (500, 502, 503, 599)],
        *[(status, "PosthookError", "unknown_error") for status in (300, 302, 402, 499, 600, 999)],
    ],
)
def test_an_answer_that_is_not_2xx_is_the_error_of_its_status(status, name, code):
    error = failure(answered, {"error": "It failed"}, status=status, retry_after="7")
    assert type(error) is getattr(posthook, name)
    assert (error.status_code, error.code, error.message) == (status, code, "It failed")
    assert error.retry_after == 7.0


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("PosthookError", None, ""),
        ("BadRequestError", 400, "bad_request"),
        ("AuthenticationError", 401, "authentication_error"),
        ("ForbiddenError", 403, "forbidden"),
        ("NotFoundError", 404, "not_found"),
        ("PayloadTooLargeError", 413, "payload_too_large"),
        ("RateLimitError", 429, "rate_limit_exceeded"),
        ("InternalServerError", 500, "internal_error"),
        ("PosthookConnectionError", None, "connection_error"),
        ("PosthookTimeoutError", None, "connection_error"),
        ("CallbackError", None, "callback_error"),
        ("SignatureVerificationError", None, "signature_verification_error"),
    ],
)
def test_every_error_can_be_made_of_a_message_alone(name, status, code):
    error = getattr(posthook, name)("It failed")
    assert (error.message, error.status_code, error.code) == ("It failed", status, code)
    assert (error.headers, error.body, error.retry_after) == (None, None, None)


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (
            posthook.PosthookError("No", status_code=418, code="teapot", headers={"A": "b"}),
            (418, "teapot", {"A": "b"}),
        ),
        (posthook.InternalServerError("No", 503), (503, "internal_error", None)),
        (posthook.InternalServerError("No", 503, {"A": "b"}), (503, "internal_error", {"A": "b"})),
        (
            posthook.InternalServerError("No", status_code=504, headers={"A": "b"}),
            (504, "internal_error", {"A": "b"}),
        ),
        (posthook.CallbackError("ack failed: 410", 410), (410, "callback_error", None)),
    ],
    ids=repr,
)
def test_some_errors_take_more_than_a_message(error, found):
    assert (error.status_code, error.code, error.headers) == found


@pytest.mark.parametrize("cls", ERRORS)
def test_errors_show_their_message_and_nothing_else(cls):
    error = cls("a hook is gone: \u00fc\n")
    assert str(error) == error.message == "a hook is gone: \u00fc\n"
    assert error.args == (error.message,)
    assert repr(error).startswith(f"{cls.__name__}(message='a hook is gone: \u00fc\\n'")


@pytest.mark.parametrize("cls", ERRORS)
def test_the_message_of_an_error_is_never_empty(cls):
    assert str(cls("")) == cls.__name__


@pytest.mark.parametrize("cls", ERRORS)
def test_errors_pickle_and_copy_with_every_attribute(cls):
    error = cls("gone")
    for name in ("body", "retry_after", "quota", "maybe_sent", "reason"):
        if hasattr(error, name):
            setattr(error, name, f"a value of {name}")
    for again in copies(error):
        assert type(again) is cls
        assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))


def test_an_error_of_an_answer_pickles_with_all_that_the_answer_said():
    error = failure(answered, {"error": "No"}, status=429, x_a="Abc", posthook_hookquota_limit=5)
    again = pickle.loads(pickle.dumps(error))
    assert vars(again) == vars(error)
    assert again.headers["X-A"] == "Abc"
    assert again.quota == posthook.QuotaInfo(5, 0, 0, None)


def test_a_rate_limit_error_has_neither_quota_nor_pause_that_the_server_does_not_tell():
    error = failure(answered, {"error": "Enough"}, status=429)
    assert (error.quota, error.retry_after) == (None, None)


def test_errors_derive_from_posthook_error_alone_and_a_timeout_from_python_s_too():
    bases = {
        cls.__name__: [base.__name__ for base in cls.__mro__[1:] if base.__name__[0] != "_"]
        for cls in ERRORS
    }
    plain = ["Exception", "BaseException", "object"]
    timeout = ["PosthookConnectionError", "PosthookError", "TimeoutError", "OSError", *plain]
    assert bases.pop("PosthookError") == plain
    assert bases.pop("PosthookTimeoutError") == timeout
    assert list(bases.values()) == [["PosthookError", *plain]] * 10


@pytest.mark.parametrize("cls", [posthook.PosthookConnectionError, posthook.PosthookTimeoutError])
def test_a_connection_error_may_have_been_sent_unless_it_says_otherwise(cls):
    assert cls("reset").maybe_sent is True
    assert cls("refused", maybe_sent=False).maybe_sent is False


def test_a_signature_error_has_a_reason():
    assert posthook.SignatureVerificationError("no").reason == "mismatch"
    assert posthook.SignatureVerificationError("no", reason="too_old").reason == "too_old"


@pytest.mark.parametrize("name", ["Retry-After", "retry-after", "RETRY-AFTER"])
def test_headers_of_an_error_are_looked_up_in_any_case(name):
    headers = posthook.RateLimitError("Enough", {"Retry-After": "7"}).headers
    assert (headers[name], headers.get(name), name in headers) == ("7", "7", True)


def test_headers_of_an_error_that_are_not_there_are_a_dict_s_missing_keys():
    headers = posthook.RateLimitError("Enough", {"Retry-After": "7"}).headers
    assert (headers.get("X"), headers.get("X", "-")) == (None, "-")
    assert ("X" in headers, 5 in headers) == (False, False)
    with pytest.raises(KeyError, match="X"):
        headers["X"]


def test_headers_of_an_error_equal_the_dict_that_was_passed_in():
    headers = posthook.RateLimitError("Enough", {"Retry-After": "7", "X": "y"}).headers
    assert headers == {"Retry-After": "7", "X": "y"}
    assert list(headers.items()) == [("Retry-After", "7"), ("X", "y")]
    assert posthook.RateLimitError("Enough", {}).headers == {}


@pytest.mark.parametrize("text", ["path is required", "  spaces and \n\u00fc stay "])
def test_the_message_of_an_error_is_the_text_that_the_server_gives(text):
    assert failure(answered, {"error": text}, status=400).message == text


@pytest.mark.parametrize(
    "body",
    [
        *(b'{"error": ""}', b'{"error": " "}', b'{"error": null}', b'{"error": {"message": "x"}}'),
        *(b'{"error": 5}', b'{"message": "x"}', b'["error"]', b"<html>Bad Request</html>"),
        *(b"\xff\xfe", b"[" * 100_000, b""),
    ],
    ids=lambda body: ascii(body)[:30],
)
def test_without_a_text_of_the_server_the_message_is_the_status(body):
    error = failure(answered, body, status=400)
    assert (error.message, error.body) == ("HTTP 400", body.decode(errors="replace"))


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308, 399])
def test_a_redirect_is_no_result_and_says_what_to_check(status):
    error = failure(answered, b"", status=status, location="https://example.com/")
    assert (type(error), error.status_code) == (posthook.PosthookError, status)
    assert error.message == f"HTTP {status}: redirects are not followed, check base_url"


# ==================================================================================================
# 3. Models
# ==================================================================================================

UTC = timezone.utc
NO_TIME = datetime.min.replace(tzinfo=UTC)

WHOLE_HOOK = {
    **HOOK,
    "updatedAt": "2026-02-24T10:00:00Z",
    "attempts": 2,
    "failureError": "HTTP 500",
    "sequenceData": {"sequenceID": "s", "stepName": "one", "sequenceLastRunAt": "2026-01-01"},
    "retryOverride": {"minRetries": 3, "delaySecs": 10, "strategy": "fixed"},
    "tryAt": "2026-03-01T12:01:00Z",
    "wasNotified": True,
}

DELIVERY = posthook.Delivery(
    hook_id="e5405623",
    timestamp=1767268800,
    path="/webhooks/remind",
    data={"userId": "123"},
    body=b"secret",
    post_at=NO_TIME,
    posted_at=NO_TIME,
    created_at=NO_TIME,
    updated_at=NO_TIME,
    ack_url="https://api.posthook.io/ack/secret",
    nack_url="https://api.posthook.io/nack/secret",
)

FROZEN_MODELS = [
    posthook.QuotaInfo(100, 1, 99, NO_TIME),
    posthook.HookRetryOverride(3, 10, "exponential", 2.0, 60, True),
    posthook.HookSequenceData("s", "one", "2026-01-01T00:00:00Z"),
    posthook.BulkActionResult(3),
    posthook.CallbackResult(True, "completed"),
    posthook.Result.nack("no"),
]
MODELS = [*FROZEN_MODELS, posthook.Hook.from_dict(WHOLE_HOOK), DELIVERY]


def name_of(model):
    return type(model).__name__


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.skipif(sys.version_info < (3, 10), reason="Python 3.9 cannot evaluate str | None")
@pytest.mark.parametrize("model", MODELS, ids=name_of)
def test_the_annotations_of_a_model_can_be_evaluated(model):
    hints = typing.get_type_hints(type(model))
    assert list(hints) == [field.name for field in dataclasses.fields(model)]


@pytest.mark.parametrize("model", MODELS, ids=name_of)
def test_models_are_dataclasses_that_pickle_and_copy(model):
    for again in (*copies(model), dataclasses.replace(model)):
        assert again == model and type(again) is type(model)


@pytest.mark.parametrize("model", MODELS, ids=name_of)
def test_models_become_dicts_of_their_fields(model):
    assert list(dataclasses.asdict(model)) == [field.name for field in dataclasses.fields(model)]


@pytest.mark.parametrize("model", FROZEN_MODELS, ids=name_of)
def test_small_models_are_frozen_and_hashable(model):
    assert hash(model) == hash(copy.copy(model))
    with pytest.raises(dataclasses.FrozenInstanceError):
        model.status = "other"


def test_a_model_equals_nothing_but_its_own_kind():
    assert posthook.BulkActionResult(1) != posthook.QuotaInfo(1, 1, 1, None)
    assert posthook.BulkActionResult(1) != 1
    assert posthook.BulkActionResult(1).__eq__(1) is NotImplemented  # the other one may know


@pytest.mark.parametrize("model", MODELS[-2:], ids=name_of)
def test_hooks_and_deliveries_can_be_changed_and_compare_by_value(model):
    other = copy.copy(model)
    other.path = "/elsewhere"
    assert other != model
    assert other == dataclasses.replace(model, path="/elsewhere")


@pytest.mark.parametrize("model", MODELS, ids=name_of)
def test_the_repr_of_a_model_begins_with_its_class_and_hides_callback_urls(model):
    assert repr(model).startswith(f"{name_of(model)}(")
    assert "secret" not in repr(model)


def test_the_repr_of_a_hook_shows_what_identifies_it():
    shown = repr(posthook.Hook.from_dict(WHOLE_HOOK))
    assert shown.startswith(
        "Hook(id='e5405623-2c1c-460e-9737-c884f7f59035', path='/webhooks/remind', "
        "data={'userId': '123'}, post_at=datetime.datetime(2026, 3, 1, 12, 0, 0, 123456, "
    )
    assert "raw=" not in shown


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10_000,
        {
            "text": "x" * 60_000,
            "list": list(range(60_000)),
            "deep": json.loads("[" * 50 + "]" * 50),
        },
    ],
    ids=["text", "JSON"],
)
@pytest.mark.parametrize("model", MODELS, ids=name_of)
def test_the_repr_of_a_model_shortens_what_is_long(model, value):
    count = len(dataclasses.fields(model))
    assert len(repr(type(model)(*[value] * count))) < 300 * count


def test_every_field_of_a_hook_is_read():
    hook = posthook.Hook.from_dict(WHOLE_HOOK)
    assert dataclasses.asdict(hook) == {
        "id": "e5405623-2c1c-460e-9737-c884f7f59035",
        "path": "/webhooks/remind",
        "data": {"userId": "123"},
        "post_at": utc(2026, 3, 1, 12, 0, 0, 123456),
        "status": "pending",
        "post_duration_seconds": 0.25,
        "created_at": utc(2026, 2, 23, 10),
        "updated_at": utc(2026, 2, 24, 10),
        "domain": "webhook.example.com",
        "attempts": 2,
        "failure_error": "HTTP 500",
        "sequence_data": {
            "sequence_id": "s",
            "step_name": "one",
            "sequence_last_run_at": "2026-01-01",
        },
        "retry_override": {
            "min_retries": 3,
            "delay_secs": 10,
            "strategy": "fixed",
            "backoff_factor": None,
            "max_delay_secs": None,
            "jitter": False,
        },
        "quota": None,
        "raw": WHOLE_HOOK,
    }


EMPTY_HOOK = posthook.Hook("", "", None, NO_TIME, "", 0.0, NO_TIME, NO_TIME)


def test_missing_fields_of_a_hook_take_their_defaults():
    assert vars(posthook.Hook.from_dict({})) == vars(EMPTY_HOOK)


@pytest.mark.parametrize("value", [None, True, [], {}, [1], {"a": 1}, -(10**400), "1e5"], ids=ascii)
def test_null_or_badly_typed_fields_of_a_hook_take_their_defaults(value):
    for name, usual in WHOLE_HOOK.items():
        if name != "data" and not (value and type(value) is type(usual)):
            assert posthook.Hook.from_dict({name: value}) == EMPTY_HOOK, name


def test_missing_fields_of_a_hook_s_objects_take_their_defaults():
    hook = posthook.Hook.from_dict({"sequenceData": {"a": 1}, "retryOverride": {"a": 1}})
    assert hook.sequence_data == posthook.HookSequenceData("", "", "")
    assert hook.retry_override == posthook.HookRetryOverride(0, 0, "")


@pytest.mark.parametrize("data", [None, 0, False, "", [], {}, 1.5, "text", [None, {"a": []}]])
def test_data_of_a_hook_is_the_json_value_untouched(data):
    assert posthook.Hook.from_dict({"data": data}).data is data


def test_a_duration_of_whole_seconds_is_a_float_all_the_same():
    seconds = posthook.Hook.from_dict({"postDurationSeconds": 2}).post_duration_seconds
    assert (seconds, type(seconds)) == (2.0, float)


def test_raw_is_what_the_server_sent_and_takes_no_part_in_comparison():
    hook = posthook.Hook.from_dict(WHOLE_HOOK)
    assert hook.raw["wasNotified"] is True
    assert hook == posthook.Hook.from_dict({**WHOLE_HOOK, "wasNotified": False, "new": 1})


def test_hooks_made_without_raw_do_not_share_one():
    first, second = (posthook.Hook("", "", None, NO_TIME, "", 0.0, NO_TIME, NO_TIME) for _ in "ab")
    first.raw["a"] = 1
    assert second.raw == {}


@pytest.mark.parametrize(
    ("override", "sent"),
    [
        (posthook.HookRetryOverride(0, 0, ""), {"minRetries": 0, "delaySecs": 0, "strategy": ""}),
        (
            posthook.HookRetryOverride(1, 5, "exponential", 1.5, 3600, True),
            {
                "minRetries": 1,
                "delaySecs": 5,
                "strategy": "exponential",
                "backoffFactor": 1.5,
                "maxDelaySecs": 3600,
                "jitter": True,
            },
        ),
    ],
)
def test_a_retry_override_becomes_the_api_s_object_and_back(override, sent):
    assert override.to_dict() == sent
    assert posthook.HookRetryOverride.from_dict(sent) == override


def test_a_retry_override_from_the_server_is_not_checked_against_ranges():
    override = posthook.HookRetryOverride.from_dict({"minRetries": 99, "delaySecs": -1})
    assert override == posthook.HookRetryOverride(99, -1, "")


@pytest.mark.parametrize(
    ("field", "value", "attribute", "expected"),
    [
        ("minRetries", "3", "min_retries", 0),
        ("minRetries", True, "min_retries", 0),
        ("delaySecs", 2.5, "delay_secs", 0),
        ("strategy", 5, "strategy", ""),
        ("backoffFactor", "2", "backoff_factor", None),
        ("backoffFactor", 2, "backoff_factor", 2.0),
        ("backoffFactor", 10**400, "backoff_factor", None),
        ("maxDelaySecs", True, "max_delay_secs", None),
        ("maxDelaySecs", 60.0, "max_delay_secs", None),
        ("jitter", "yes", "jitter", False),
        ("jitter", 1, "jitter", False),
    ],
)
def test_badly_typed_retry_settings_take_their_defaults(field, value, attribute, expected):
    override = posthook.HookRetryOverride.from_dict({field: value})
    assert getattr(override, attribute) == expected


@pytest.mark.parametrize(
    ("data", "affected"),
    [({"affected": 3}, 3), ({}, 0), ({"affected": None}, 0), ({"affected": "3"}, 0)],
)
def test_a_bulk_result_counts_the_hooks(data, affected):
    assert posthook.BulkActionResult.from_dict(data).affected == affected


def test_a_page_is_a_list_with_a_cursor_and_a_total():
    page = posthook.Page([EMPTY_HOOK], cursor="c", total_items=5)
    assert page == [EMPTY_HOOK]
    assert (page.cursor, page.total_items) == ("c", 5)
    assert (posthook.Page().cursor, posthook.Page().total_items) == (None, None)


def test_a_page_pickles_and_copies_whole():
    page = posthook.Page([EMPTY_HOOK], cursor="c", total_items=5)
    for again in copies(page):
        assert (type(again), again, vars(again)) == (posthook.Page, page, vars(page))


@pytest.mark.parametrize(
    ("result", "parts"),
    [
        (posthook.Result.ack(), ("ack", None, None)),
        (posthook.Result.accept(10), ("accept", 10, None)),
        (posthook.Result.accept(10_800), ("accept", 10_800, None)),
        (posthook.Result.nack(), ("nack", None, None)),
        (posthook.Result.nack("no"), ("nack", None, "no")),
    ],
)
def test_a_result_says_what_to_answer(result, parts):
    assert dataclasses.astuple(result) == parts


@pytest.mark.parametrize("timeout", [0, 9.99, 10_800.1, -1, float("nan"), float("inf")])
def test_a_result_is_accepted_for_a_time_that_the_service_takes(timeout):
    with pytest.raises(ValueError, match="10 to 10800 seconds"):
        posthook.Result.accept(timeout)


@pytest.mark.parametrize("timeout", [None, "60", True, timedelta(60)])
def test_the_time_of_an_accepted_result_is_a_number(timeout):
    with pytest.raises(TypeError, match="number of seconds"):
        posthook.Result.accept(timeout)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-01T12:00:00Z", utc(2026, 3, 1, 12)),
        ("2026-03-01t12:00:00z", utc(2026, 3, 1, 12)),
        ("2026-03-01 12:00:00Z", utc(2026, 3, 1, 12)),
        ("2026-03-01T12:00:00+02:00", utc(2026, 3, 1, 10)),
        ("2026-03-01T12:00:00-05:30", utc(2026, 3, 1, 17, 30)),
        ("2026-03-01T12:00:00-00:00", utc(2026, 3, 1, 12)),
        ("2026-03-01T23:59:60Z", utc(2026, 3, 2)),
        ("2026-03-01T23:59:60.5+00:00", utc(2026, 3, 2, 0, 0, 0, 500_000)),
        ("0001-01-01T00:00:00Z", NO_TIME),
        ("9999-12-31T23:59:59.999999999Z", utc(9999, 12, 31, 23, 59, 59, 999_999)),
        *(
            (f"2026-03-01T12:00:00.{'987654321'[:digits]}Z", utc(2026, 3, 1, 12, 0, 0, micros))
            for digits, micros in enumerate(
                (900_000, 980_000, 987_000, 987_600, 987_650, *[987_654] * 4), 1
            )
        ),
        ("2026-03-01T12:00:00.000000999+00:00", utc(2026, 3, 1, 12)),
        ("2026-03-01T12:00:00.1234567890123z", utc(2026, 3, 1, 12, 0, 0, 123_456)),
    ],
)
def test_times_of_rfc_3339_are_read_in_every_form_and_cut_to_microseconds(text, moment):
    read = posthook.Hook.from_dict({"postAt": text}).post_at
    assert read == moment
    assert read.tzinfo is not None
    assert posthook._parse_time(text) == moment


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "yesterday", "1772366400", "2026-03-01", "2026-03-01T12:00:00"),
        *("2026-13-01T12:00:00Z", "2026-02-30T12:00:00Z", "2026-03-01T25:00:00Z"),
        *("2026-03-01T12:60:00Z", "2026-03-01T12:00:61Z", "2026-03-01T12:00:00+24:00"),
        *("2026-03-01T12:00:00Z ", "2026-03-01T12:00:00Z\n", " 2026-03-01T12:00:00Z"),
        *("0000-01-01T00:00:00Z", "9999-12-31T23:59:60Z", "99999-01-01T00:00:00Z"),
        *("2026-03-01T12:00:00Zulu", "\uff12026-03-01T12:00:00Z", "2026-03-01T12:00:00.\u0661Z"),
        *("2026-03-01T12:00:00\ud800", "2026-03-01T12:00:00." + "1" * 100_000),
    ],
    ids=lambda text: ascii(text)[:40],
)
def test_a_time_that_cannot_be_read_is_the_first_of_all_where_it_is_not_refused(text):
    assert posthook.Hook.from_dict({"postAt": text}).post_at == NO_TIME
    with pytest.raises((ValueError, OverflowError)):
        posthook._parse_time(text)


def test_a_hook_of_any_json_is_read_without_an_exception():
    choices = random.Random(8259)  # the seed
    parts = ["2026-03-01", "T", "t", " ", "12:00:00", "23:59:60", ".", "5", "Z", "+", "-", "00:00"]
    parts += ["9999-12-31", "0001-01-01", "99:99", "W", ",", "\u0665", "\ud800", "\x00"]
    for _ in range(3000):
        value = "".join(choices.choices(parts, k=choices.randrange(1, 8)))
        odd = choices.choice(
            [value, 10**400, -1.5, float("nan"), True, None, [value], {"a": value}]
        )
        names = choices.sample(list(WHOLE_HOOK), 5)
        hook = posthook.Hook.from_dict({**dict.fromkeys(names, odd), "postAt": value})
        assert hook.post_at.utcoffset() is not None
        assert repr(hook).startswith("Hook(")


def test_what_is_written_as_a_time_is_read_as_the_same_time():
    choices = random.Random(3339)  # the seed
    for _ in range(1000):
        offset = timezone(timedelta(minutes=choices.randint(-1439, 1439)))
        moment = utc(choices.randint(2, 9998), choices.randint(1, 12), choices.randint(1, 28))
        moment += timedelta(
            microseconds=choices.choice((0, 1000, 1)) * choices.randint(0, 86_399_999)
        )
        text = posthook._format_time(moment.astimezone(offset))
        assert text.endswith("Z")
        assert posthook._parse_time(text) == moment


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("90s", 90),
        ("5m", 300),
        ("2h", 7200),
        ("1d", 86_400),
        ("1h30m", 5400),
        ("1d2h30m45s", 95_445),
        ("365d", 31_536_000),
        ("0s", 0),
        ("007m", 420),
        ("9" * 12 + "s", 999_999_999_999),
    ],
)
def test_durations_are_read_as_seconds(text, seconds):
    assert posthook._parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        *("", "5", "m", "1.5h", "30m1h", "1h 30m", "-5m", "5M", "1w", "1ms", "5m5m", "\u0665m"),
        "9" * 13 + "s",
    ],
    ids=ascii,
)
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="duration"):
        posthook._parse_duration(text)


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


def parse(body=BODY, headers=HEADERS, **options):
    """Verify the vendor's example, or what is given instead of parts of it."""
    return service.parse_delivery(body, headers, **{"now": AT, **options})


def refused(*arguments, **options):
    """The refusal of a delivery that must not be trusted."""
    with pytest.raises(posthook.SignatureVerificationError) as caught:
        parse(*arguments, **options)
    error = caught.value
    assert error.code == "signature_verification_error"
    shown = f"{error}{error!r}{error.__cause__!r}"
    assert KEY not in shown and V1[3:] not in shown
    assert len(str(error).encode()) < 1000
    return error


def signed(payload):
    """A body that Posthook signed at AT, whatever is in it, with its headers."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return body, service.sign(body, timestamp=AT)


def test_a_delivery_is_what_the_signed_body_says():
    assert parse() == posthook.Delivery(
        hook_id="e5405623-2c1c-460e-9737-c884f7f59035",
        timestamp=AT,
        path="/webhooks/remind",
        data={"user_id": "usr_123"},
        body=BODY,
        post_at=utc(2026, 1, 1, 12),
        posted_at=utc(2026, 1, 1, 12, 0, 0, 123_000),
        created_at=utc(2025, 12, 31, 12),
        updated_at=utc(2025, 12, 31, 12),
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

    def __str__(self):
        return "shown"


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
        message_from_string(f"{STAMP}: {AT}\n{SIGNATURE}: {V1}\n"),
        types.SimpleNamespace(items=HEADERS.items),  # no mapping
        {**HEADERS, None: "x", 1: "x", b"\xff": b"\xff", "\ud800": object(), ("a",): []},
        {STAMP: f" {AT}\t", SIGNATURE: V1},
        {STAMP: [str(AT), str(AT)], SIGNATURE: V1},
        [*HEADERS.items(), (SIGNATURE, OTHER_V1)],
        [(SIGNATURE, OTHER_V1), *HEADERS.items()],
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
        *(OTHER_V1, RETIRING_V1, "v2" + V1[2:], "V" + V1[1:], V1[3:], V1[:-1], V1 + "0", "x" + V1),
        *(V1 + ";", V1 + "\ud800", V1 + "é", b"\xff\xfe", ""),
        *("v1," * 400_000, V1[:-1] * 15_000, f"{OTHER_V1} " * 15_000),
    ],
    ids=lambda signature: repr(signature[:80]),
)
def test_no_other_signature_will_do_and_each_is_refused_fast(signature):
    began = time.process_time()
    assert refused(headers={STAMP: str(AT), SIGNATURE: signature}).reason == "mismatch"
    assert time.process_time() - began < 1


def test_every_changed_byte_of_a_body_is_found():
    for at in range(len(BODY)):
        changed = BODY[:at] + bytes([BODY[at] ^ 1]) + BODY[at + 1 :]
        assert refused(changed).reason == "mismatch"
    assert refused(b"").reason == "mismatch"


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        *[(it, "Missing Posthook-Timestamp") for it in ({}, "", {SIGNATURE: V1})],
        *[({STAMP: it, SIGNATURE: V1}, "Missing Posthook-Timestamp") for it in (None, [])],
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


def test_a_timestamp_is_signed_as_it_is_written():
    stamp = f"00{AT}"
    v1 = hmac.new(KEY.encode(), f"{stamp}.".encode() + BODY, "sha256").hexdigest()
    assert parse(headers={STAMP: stamp, SIGNATURE: f"v1,{v1}"}).timestamp == AT


@pytest.mark.parametrize(
    ("late", "tolerance", "reason"),
    [
        *[(late, 300, None) for late in (300, 300.9, -300)],
        *[(10**9, tolerance, None) for tolerance in (10**30, float("inf"))],
        (0, 0, None),
        *[(late, 300, "too_old") for late in (301, float("nan"))],
        *[(0, tolerance, "too_old") for tolerance in (-1, float("nan"))],
        (1, 0, "too_old"),
        (-301, 300, "in_future"),
        (-1, 0, "in_future"),
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
    text = value if isinstance(value, str) else ""
    assert (delivery.hook_id, delivery.path, delivery.data) == (text, text, value)
    assert [delivery.post_at, delivery.posted_at, delivery.created_at] == [NO_TIME] * 3
    assert repr(delivery).startswith("Delivery(")


def test_each_of_a_deliverys_times_is_read_to_the_microsecond():
    names = ("postAt", "postedAt", "createdAt", "updatedAt")
    texts = {name: f"2026-03-01T13:30:00.00000{n}999+01:30" for n, name in enumerate(names)}
    it = parse(*signed(texts))
    times = [it.post_at, it.posted_at, it.created_at, it.updated_at]
    assert times == [utc(2026, 3, 1, 12, 0, 0, microsecond) for microsecond in range(4)]


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
    with pytest.raises(ValueError, match="No signing key"):
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


def fuzzed(chance):
    """A signed delivery with up to three faults in it."""
    body, headers = signed(chance.choice([BODY, b"{}", b"[]", b'{"id":5}', b'{"data":NaN}', b""]))
    pairs = list(headers.items())
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(pairs))
        name, value = pairs[at]
        cut = chance.randrange(len(value) + 1)
        odd = chance.choice([",", " ", "\0", "\ud800", "\u0660", "v1,", "9" * 30, "é"])
        faults = [
            (name, value[:cut] + odd + value[cut + chance.randrange(2) :]),
            (name, chance.choice([value.upper(), value + " ", "", OTHER_V1])),
            (chance.choice([name[1:], name.upper(), *from_cgi({name: ""})]), value),
        ]
        pairs[at : at + chance.randrange(2)] = [chance.choice(faults)]  # instead, or as well
        cut = chance.choice([chance.randrange(len(body) + 1), None, None])
        body = body if cut is None else body[:cut] + b"%c" % chance.randrange(256) + body[cut + 1 :]
    return body, [
        (name, value.encode("latin-1", "replace") if chance.random() < 0.3 else value)
        for name, value in pairs
    ]


# The three faces of the handlers. Each of these plays its server: it sends a request to the handler
# that it makes of a function, and returns status, headers with lower-case names, and body.


def by_wsgi(signatures, f, body, headers, method="POST"):
    environ = {"REQUEST_METHOD": method, "CONTENT_LENGTH": str(len(body)), **from_cgi(headers)}
    return by_environ(signatures.wsgi_handler(f), io.BytesIO(body + b"next"), environ)


def from_cgi(headers):
    return {"HTTP_" + name.upper().replace("-", "_"): value for name, value in headers.items()}


def by_environ(app, stream, environ):
    whole = {"wsgi.input": stream, "QUERY_STRING": "", **environ}
    setup_testing_defaults(whole)
    seen = []

    def start_response(status, pairs, exc_info=None):
        seen.extend([status, pairs])

    pieces = validator(app)(whole, start_response)
    text = b"".join(pieces)
    pieces.close()
    found = {name.lower(): value for name, value in seen[1]}
    assert int(found["content-length"]) == len(text)
    return int(seen[0][:3]), found, json.loads(text)


def by_asgi(signatures, f, body, headers, method="POST"):
    cut = len(body) // 2
    pieces = [{"body": body[:cut], "more_body": True}, {"more_body": True}]
    pieces += [{"body": None, "more_body": True}, {"body": body[cut:]}]
    return asyncio.run(by_pieces(signatures.asgi_handler(f), pieces, headers, method))


async def by_pieces(app, pieces, headers, method="POST"):
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "headers": pairs}
    start, end = await exchange(app, scope, [{"type": "http.request", **each} for each in pieces])
    assert [start["type"], end["type"]] == ["http.response.start", "http.response.body"]
    found = {name.decode(): value.decode() for name, value in start["headers"]}
    assert list(found) == [name.lower() for name in found]
    assert int(found["content-length"]) == len(end["body"])
    return start["status"], found, json.loads(end["body"])


async def exchange(app, scope, incoming):
    """All that the ASGI app sends in answer to these events."""
    sent = []

    async def receive():
        return incoming.pop(0)

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)
    return sent


def by_lambda(signatures, f, body, headers, method="POST"):
    event = {**http_event(method, headers), "body": base64.b64encode(body).decode()}
    return lambda_reply(signatures.lambda_handler(f)({**event, "isBase64Encoded": True}, None))


def lambda_reply(answer):
    assert json.loads(json.dumps(answer)) == answer and answer["isBase64Encoded"] is False
    assert set(answer) <= {"statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded"}
    single = answer.get("headers") or {n: v for n, [v] in answer["multiValueHeaders"].items()}
    lowered = {name.lower(): value for name, value in single.items()}
    return answer["statusCode"], lowered, json.loads(answer["body"])


def http_event(method, headers):
    lowered = {name.lower(): value for name, value in headers.items()}
    return {"version": "2.0", "headers": lowered, "requestContext": {"http": {"method": method}}}


def rest_event(method, headers):
    several = {name: [value] for name, value in headers.items()}
    return {"httpMethod": method, "headers": {}, "multiValueHeaders": several, "requestContext": {}}


def balancer_event(method, headers):
    return {"httpMethod": method, "headers": headers, "requestContext": {"elb": {}}}


def several_event(method, headers):
    return {**rest_event(method, headers), "requestContext": {"elb": {}}}


every_face = pytest.mark.parametrize("face", [by_wsgi, by_asgi, by_lambda])
JSON = "application/json"


def never(delivery):
    raise AssertionError("called")


class Called:
    """A handler function that keeps its deliveries, and has no truth value."""

    def __init__(self, result=None, failure=None):
        self.result, self.failure, self.deliveries = result, failure, []

    def __bool__(self):
        raise AssertionError("a function has no truth value")

    def __call__(self, delivery):
        self.deliveries.append(delivery)
        if self.failure is not None:
            raise self.failure
        return self.result


def as_async(f):
    async def function(delivery):
        await asyncio.sleep(0)
        return f(delivery)

    return function


class AsyncObject:
    def __init__(self, f):
        self.f = f

    async def __call__(self, delivery):
        return await as_async(self.f)(delivery)


KINDS = {
    "object": lambda f: f,
    "partial": functools.partial,
    "async function": as_async,
    "async partial": lambda f: functools.partial(as_async(f)),
    "async object": AsyncObject,
    "returns an awaitable": lambda f: lambda delivery: as_async(f)(delivery),
}


def levels(caplog):
    return [record.levelname for record in caplog.records if record.name == "posthook"]


@every_face
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_handler_of_any_kind_is_called_once_and_its_result_answered(face, kind):
    f = Called(posthook.Result.accept(600))
    status, headers, _ = face(service, kind(f), BODY, service.sign(BODY))
    assert (status, headers["posthook-async-timeout"]) == (202, "600")
    assert [delivery.body for delivery in f.deliveries] == [BODY]


@every_face
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
def test_a_handlers_result_is_answered(face, result, status, body):
    found = face(service, Called(result), BODY, service.sign(BODY))
    assert (found[0], found[2]) == (status, body)
    assert found[1]["content-type"] == JSON
    assert ("posthook-async-timeout" in found[1]) is (status == 202)


@every_face
@pytest.mark.parametrize("kind", [KINDS["object"], as_async], ids=["sync", "async"])
@pytest.mark.parametrize(
    "failure",
    [OSError("down"), LookupError(), SystemExit(1), posthook.SignatureVerificationError("x")],
    ids=repr,
)
def test_a_handler_that_raises_is_logged_and_answered_500(face, kind, failure, caplog):
    f = kind(Called(failure=failure))
    status, headers, body = face(service, f, BODY, service.sign(BODY))
    assert (status, headers["content-type"], body) == (500, JSON, {"error": "the handler failed"})
    [record] = [record for record in caplog.records if record.name == "posthook"]
    assert record.levelname == "ERROR" and record.exc_info[1] is failure
    assert "hook 'e5405623-2c1c-460e-9737-c884f7f59035' failed" in record.getMessage()
    assert KEY not in caplog.text


@every_face
def test_a_stop_iteration_in_a_handler_holds_up_nothing(face, caplog):
    f = Called(failure=StopIteration())  # of next(), say; no future can hold it
    assert face(service, f, BODY, service.sign(BODY))[0] == 500
    assert levels(caplog) == ["ERROR"]


@pytest.mark.parametrize(
    "result", [True, 200, {"ok": True}, "ack", (200, ""), posthook.Result("other")], ids=repr
)
def test_a_handler_that_returns_anything_else_is_logged_and_answered_500(result, caplog):
    assert by_wsgi(service, Called(result), BODY, service.sign(BODY))[0] == 500
    assert levels(caplog) == ["ERROR"]


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


@pytest.mark.parametrize("are_on", [True, False])
def test_an_accept_that_is_the_end_is_a_warning(caplog, are_on):
    urls = {f"Posthook-{verb}-URL": f"https://a/{verb}" for verb in ("Ack", "Nack") if are_on}
    accepted = Called(posthook.Result.accept(60))
    by_wsgi(service, accepted, BODY, {**service.sign(BODY), **urls})
    assert ("async hooks are off" in caplog.text) is not are_on


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
    assert levels(caplog) == ["INFO"]


@every_face
def test_without_a_key_the_handler_can_be_made_and_answers_500(face, caplog):
    keyless = posthook.SignaturesService()
    status, headers, answer = face(keyless, never, BODY, service.sign(BODY))
    assert (status, headers["content-type"], list(answer)) == (500, JSON, ["error"])
    assert levels(caplog) == ["ERROR"]


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

    def __init__(self, content, size=7, end=b""):
        self.content, self.size, self.end, self.asked = io.BytesIO(content), size, end, 0

    def read(self, size):
        self.asked += size
        piece = self.content.read(min(size, self.size))
        if not piece and isinstance(self.end, Exception):
            raise self.end
        return piece

    readline = readlines = __iter__ = read  # wsgiref.validate looks whether they are there


def environ(**more):
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
        *[({"CONTENT_LENGTH": it}, 401) for it in ("", "0")],
        *[({"CONTENT_LENGTH": it}, 400) for it in (b"5", "1e3", "١")],
        ({"CONTENT_LENGTH": "-1", "x": b"x", "HTTP_HOST": 5}, 400),
        *[({"CONTENT_LENGTH": it}, 413) for it in ("1048577", "9" * 5_000)],
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_wsgi_body_without_an_end_is_not_read(more, status):
    stream, seen = Stream(BODY), []
    app = service.wsgi_handler(never)
    app({"wsgi.input": stream, **environ(**more)}, lambda status, headers: seen.append(status))
    assert (int(seen[0][:3]), stream.asked) == (status, 0)


@contextlib.contextmanager
def serving(server):
    """A server on a thread: a function that posts, and returns status and JSON of the answer."""

    def post(body, headers):
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        with contextlib.closing(connection):
            connection.request("POST", "/hooks", body, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield post
        finally:
            server.shutdown()
            thread.join()


def test_a_wsgi_handler_serves_over_a_real_socket():
    f = Called()
    with serving(make_server("127.0.0.1", 0, service.wsgi_handler(f))) as post:
        assert post(BODY, service.sign(BODY)) == (200, {"ok": True})
        assert post(BODY + b" ", service.sign(BODY))[0] == 401
    assert f.deliveries[0].data == {"user_id": "usr_123"}


def test_a_plain_http_server_receives_with_its_own_headers():
    received = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(service.parse_delivery(body, self.headers).path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

    with serving(HTTPServer(("127.0.0.1", 0), Handler)) as post:
        assert post(BODY, service.sign(BODY)) == (200, {})
    assert received == ["/webhooks/remind"]


# ASGI


async def post_to(app):
    """The status of the answer to a delivery."""
    return (await by_pieces(app, [{"body": BODY}], service.sign(BODY)))[0]


def test_an_asgi_app_is_a_coroutine_function():
    assert inspect.iscoroutinefunction(service.asgi_handler(never))


def test_forty_sync_handlers_run_at_once_and_leave_no_thread():
    together = threading.Barrier(40)

    def meet(delivery):
        together.wait(10)

    async def main():
        app = service.asgi_handler(meet)
        return await asyncio.gather(*[post_to(app) for _ in range(40)])

    assert asyncio.run(main()) == [200] * 40


def test_a_sync_handler_does_not_hold_up_the_loop_and_sees_the_context():
    variable = contextvars.ContextVar("variable")
    go_on = threading.Event()
    seen = []

    def wait(delivery):
        seen.extend([go_on.wait(10), variable.get()])

    async def main():
        variable.set("set")
        asyncio.get_running_loop().call_later(0.01, go_on.set)
        return await post_to(service.asgi_handler(wait))

    assert asyncio.run(main()) == 200
    assert seen == [True, "set"]


def test_a_cancelled_asgi_request_does_not_wait_for_its_handler():
    started, go_on = threading.Event(), threading.Event()

    def wait(delivery):
        started.set()
        go_on.wait(10)

    async def main():
        task = asyncio.ensure_future(post_to(service.asgi_handler(wait)))
        while not started.is_set():
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()

    started_at = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - started_at < 5


@pytest.mark.parametrize("pieces", [[], [{"body": BODY[:50], "more_body": True}]])
def test_an_asgi_client_that_goes_away_is_not_answered(pieces):
    incoming = [{"type": "http.request", **piece} for piece in pieces]
    incoming.append({"type": "http.disconnect"})
    scope = {"type": "http", "method": "POST", "headers": list(service.sign(BODY).items())}
    assert asyncio.run(exchange(service.asgi_handler(never), scope, incoming)) == []


def test_an_asgi_client_that_does_not_wait_for_its_answer_is_no_error():
    async def send(message):
        raise OSError("gone")

    scope = {"type": "http", "method": "GET"}  # which is answered unread
    asyncio.run(service.asgi_handler(never)(scope, None, send))


def test_asgi_reading_stops_soon_after_the_limit():
    incoming = [{"type": "http.request", "body": b" " * 65_536, "more_body": True}] * 100
    scope = {"type": "http", "method": "POST"}
    sent = asyncio.run(exchange(service.asgi_handler(never), scope, incoming))
    assert sent[0]["status"] == 413 and len(incoming) == 100 - 17


def test_asgi_lifespan_events_are_answered():
    incoming = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent = asyncio.run(exchange(service.asgi_handler(never), {"type": "lifespan"}, incoming))
    assert sent == [{"type": "lifespan.startup.complete"}, {"type": "lifespan.shutdown.complete"}]


def test_an_asgi_websocket_is_closed_and_an_unknown_scope_refused():
    app = service.asgi_handler(never)
    assert asyncio.run(exchange(app, {"type": "websocket"}, [])) == [{"type": "websocket.close"}]
    with pytest.raises(ValueError, match="no ASGI scope"):
        asyncio.run(exchange(app, {"type": "telepathy"}, []))


# AWS Lambda


def event(**more):
    return {**http_event("POST", service.sign(BODY)), "body": BODY.decode(), **more}


@pytest.mark.parametrize("form", [http_event, rest_event, balancer_event, several_event])
def test_events_of_every_form_are_received(form):
    f = Called()
    given = {**form("POST", service.sign(BODY)), "body": BODY.decode()}
    assert lambda_reply(service.lambda_handler(f)(given, None))[0] == 200
    assert [delivery.body for delivery in f.deliveries] == [BODY]


@pytest.mark.parametrize(
    ("more", "status"),
    [
        *[(it, 200) for it in ({"isBase64Encoded": False}, {"multiValueHeaders": None})],
        ({"multiValueHeaders": {}}, 200),
        *[({"body": it}, 401) for it in (None, "")],
        *[({"body": it}, 400) for it in ({"id": "x"}, BODY, "\ud800")],
        ({"body": "e30=", "isBase64Encoded": True}, 401),
        *[({"body": it, "isBase64Encoded": True}, 400) for it in ("e30", "e3 0=", "é")],
        *[({"headers": it}, 401) for it in (None, {STAMP: None, 5: 5})],
        ({"headers": ["x"], "multiValueHeaders": 5}, 401),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_lambda_event_is_answered_whatever_is_in_it(more, status):
    given = event(**more)
    before = copy.deepcopy(given)
    answer = service.lambda_handler(Called())(given, None)
    assert (lambda_reply(answer)[0], given) == (status, before)


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
    f = Called()
    handler = service.lambda_handler(as_async(f))
    assert [handler(event(), None)["statusCode"] for _ in range(3)] == [200] * 3
    assert len(f.deliveries) == 3


def test_an_async_handler_of_a_lambda_runs_to_its_end_within_a_running_loop_too():
    f = Called()

    async def main():
        return service.lambda_handler(as_async(f))(event(), None)

    assert asyncio.run(main())["statusCode"] == 200 and len(f.deliveries) == 1


@pytest.mark.parametrize("face", [by_wsgi, by_lambda])
def test_an_async_handler_that_is_cancelled_has_failed(face):
    f = as_async(Called(failure=asyncio.CancelledError()))
    assert face(service, f, BODY, service.sign(BODY))[0] == 500


# ==================================================================================================
# 5. Requests and answers
# ==================================================================================================


class Id(str, enum.Enum):
    FIRST = "first/id"


class Number(int):
    """An int of another class, as numpy's and enum's are."""


class Zone(tzinfo):
    """A ZoneInfo's likeness: every day the clock is put forward from 2 to 3, back from 5 to 4."""

    def __init__(self, key="Europe/Berlin"):
        self.key = key

    def utcoffset(self, moment):
        summer = (2 + (not moment.fold)) <= moment.hour < (4 + (not moment.fold))
        return timedelta(hours=2 if summer else 1)

    def dst(self, moment):
        return timedelta(0)


def sent(call, reply=None):
    """The one request that ``call(hooks)`` sends."""
    with Script(ok(HOOK) if reply is None else reply) as server, client(server) as posthooks:
        call(posthooks.hooks)
    assert len(server.requests) == 1
    return server.last


def scheduled(**arguments):
    """The JSON that ``schedule`` sends; by default in five minutes."""
    if not arguments.keys() & {"post_in", "post_at", "post_at_local"}:
        arguments["post_in"] = "5m"
    return sent(lambda hooks: hooks.schedule(**{"path": "/p", **arguments})).json


def listed(**arguments):
    """The query that ``list`` sends, as a dict."""
    request = sent(lambda hooks: hooks.list(**arguments), ok([]))
    path, _, query = request.path.partition("?")
    assert path == "/v1/hooks"
    return dict(urllib.parse.parse_qsl(query, keep_blank_values=True))


def bulk_call(action, *arguments, **keywords):
    """The request of a bulk call."""
    return sent(
        lambda hooks: getattr(hooks.bulk, action)(*arguments, **keywords), ok({"affected": 1})
    )


@pytest.fixture
def refusing():
    """The ``hooks`` of a client that must not send anything."""
    with Script(ok(HOOK)) as server, client(server) as posthooks:
        yield posthooks.hooks
    assert server.connections == 0


def schedule(hooks):
    return hooks.schedule("/p", post_in="5m")


# Schedule


def test_schedule_posts_one_json_object():
    request = sent(lambda hooks: hooks.schedule("/p", post_in="5m", data={"\u00fc": [1, None]}))
    assert (request.method, request.path) == ("POST", "/v1/hooks")
    assert request.headers["content-type"] == "application/json"
    assert request.body == b'{"path":"/p","data":{"\\u00fc":[1,null]},"postIn":"5m"}'


@pytest.mark.parametrize(
    ("modes", "message"),
    [
        ({}, "Exactly one scheduling mode"),
        ({"post_in": "5m", "post_at": "2026-01-01T00:00:00Z"}, "Only one scheduling mode"),
        ({"post_in": "", "post_at": ""}, "Only one scheduling mode"),
        ({"post_in": "5m", "post_at_local": "2026-01-01T00:00:00"}, "Only one scheduling mode"),
        (dict.fromkeys(("post_in", "post_at", "post_at_local"), "5m"), "Only one scheduling mode"),
    ],
)
def test_exactly_one_scheduling_mode_is_given(refusing, modes, message):
    with pytest.raises(ValueError, match=message):
        refusing.schedule("/p", **modes)


@pytest.mark.parametrize(
    "path",
    ["/", "/\u00fc\U0001f600", "/p?a=b&c=d#e", "/a b/%20/../x", "//p", Text("/p")],
    ids=ascii,
)
def test_a_path_is_sent_unchanged(path):
    assert scheduled(path=path)["path"] == path


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        *[(path, ValueError, 'begins with "/"') for path in ("p", " /p", "https://a/p")],
        *[(path, ValueError, "control characters") for path in ("/a\nb", "/a\x00", "/a\x7f")],
        *[(path, ValueError, "is empty") for path in ("", " ")],
        ("/\ud800", ValueError, "surrogate"),
        *[(path, TypeError, "path is text") for path in (None, b"/p", 5, ["/p"], SOURCE)],
    ],
    ids=ascii,
)
def test_a_path_that_no_host_could_have_is_refused(refusing, path, error, message):
    with pytest.raises(error, match=message):
        refusing.schedule(path, post_in="5m")


@pytest.mark.parametrize(
    ("delay", "text"),
    [
        ("5m", "5m"),
        ("1d2h30m45s", "1d2h30m45s"),
        ("1.5h", "1.5h"),
        ("30m1h", "30m1h"),
        (Text("5m"), "5m"),
        (timedelta(minutes=5), "300s"),
        (timedelta(microseconds=1), "1s"),
        (timedelta(seconds=1.000001), "2s"),
        (timedelta(days=365), "31536000s"),
        (timedelta.max, "86400000000000s"),
    ],
)
def test_post_in_is_sent_as_text_or_in_whole_seconds_never_early(delay, text):
    assert scheduled(post_in=delay)["postIn"] == text


@pytest.mark.parametrize(
    "delay", ["", " ", "0s", "0d0h0m0s", "00m", timedelta(0), timedelta(-1), timedelta.min]
)
def test_post_in_of_no_time_is_refused(refusing, delay):
    with pytest.raises(ValueError, match="post_in is"):
        refusing.schedule("/p", post_in=delay)


@pytest.mark.parametrize("delay", [5, 5.0, True, b"5m", ["5m"], time_of_day(0, 5)])
def test_post_in_of_another_type_is_refused(refusing, delay):
    with pytest.raises(TypeError, match="timedelta"):
        refusing.schedule("/p", post_in=delay)


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        ("2026-03-01T12:00:00+02:00", "2026-03-01T12:00:00+02:00"),
        ("tomorrow", "tomorrow"),
        (Text("2026-03-01T12:00:00Z"), "2026-03-01T12:00:00Z"),
        (utc(2026, 3, 1, 12), "2026-03-01T12:00:00Z"),
        (utc(2026, 3, 1, 12, 0, 0, 1), "2026-03-01T12:00:00.000001Z"),
        (utc(2026, 3, 1, 12, 0, 0, 500_000), "2026-03-01T12:00:00.500000Z"),
        (datetime(2026, 3, 1, 12, tzinfo=Zone()), "2026-03-01T11:00:00Z"),
        (datetime(2026, 3, 1, 4, tzinfo=Zone()), "2026-03-01T02:00:00Z"),
        (datetime(2026, 3, 1, 4, tzinfo=Zone(), fold=1), "2026-03-01T03:00:00Z"),
        (
            datetime(2026, 3, 1, tzinfo=timezone(timedelta(seconds=1))),
            "2026-02-28T23:59:59Z",
        ),
        (utc(1, 1, 1), "0001-01-01T00:00:00Z"),
        (utc(9999, 12, 31, 23, 59, 59, 999_999), "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_post_at_is_sent_as_text_or_in_utc_to_the_microsecond(moment, text):
    assert scheduled(post_at=moment)["postAt"] == text


@pytest.mark.parametrize(
    ("moment", "error", "message"),
    [
        (datetime(2026, 3, 1), ValueError, "timezone-aware"),
        (datetime.min.replace(tzinfo=Zone()), ValueError, "years 1 to 9999"),
        (
            datetime.max.replace(tzinfo=timezone(-timedelta(hours=1))),
            ValueError,
            "years 1 to 9999",
        ),
        *[(it, TypeError, "aware datetime") for it in (date(2026, 3, 1), 1772366400, 1.5, True)],
        *[(it, TypeError, "aware datetime") for it in (b"2026-03-01T12:00:00Z", timedelta(1))],
        *[(it, ValueError, "is empty") for it in (" ", "")],
    ],
)
def test_post_at_that_is_no_point_in_time_is_refused(refusing, moment, error, message):
    with pytest.raises(error, match=f"post_at.*{message}"):
        refusing.schedule("/p", post_at=moment)


@pytest.mark.parametrize(
    ("local", "zone", "sent"),
    [
        ("2026-03-01T09:00:00", "Europe/Berlin", ("2026-03-01T09:00:00", "Europe/Berlin")),
        ("2026-03-01T09:00:00", Zone("Asia/Tokyo"), ("2026-03-01T09:00:00", "Asia/Tokyo")),
        ("whatever", "No/Such", ("whatever", "No/Such")),
        (datetime(2026, 3, 1, 9), "Europe/Berlin", ("2026-03-01T09:00:00", "Europe/Berlin")),
        (datetime(2026, 3, 1, 9, 0, 0, 5), Zone("Etc/UTC"), ("2026-03-01T09:00:00", "Etc/UTC")),
        (datetime(1, 1, 1), Text("Asia/Tokyo"), ("0001-01-01T00:00:00", "Asia/Tokyo")),
    ],
)
def test_a_local_time_is_sent_with_the_name_of_its_zone(local, zone, sent):
    body = scheduled(post_at_local=local, timezone=zone)
    assert (body["postAtLocal"], body["timezone"]) == sent


@pytest.mark.parametrize(("hour", "fold"), [(9, 0), (9, 1), (2, 0), (2, 1), (4, 0)])
def test_a_local_time_with_a_zone_gives_the_zone_s_name(hour, fold):
    moment = datetime(2026, 3, 1, hour, 30, tzinfo=Zone(), fold=fold)
    body = scheduled(post_at_local=moment)
    assert body["postAtLocal"] == f"2026-03-01T{hour:02}:30:00"
    assert body["timezone"] == "Europe/Berlin"


def test_a_zoneinfo_goes_out_as_its_key():
    zoneinfo = pytest.importorskip("zoneinfo")
    try:
        moment = datetime(2026, 11, 1, 1, 30, tzinfo=zoneinfo.ZoneInfo("America/New_York"))
    except zoneinfo.ZoneInfoNotFoundError:
        pytest.skip("no time zone database")
    assert scheduled(post_at_local=moment)["timezone"] == "America/New_York"


@pytest.mark.parametrize(
    ("local", "zone", "error", "message"),
    [
        ("2026-03-01T09:00:00", None, ValueError, "needs timezone"),
        (datetime(2026, 3, 1), None, ValueError, "needs timezone"),
        *[("2026-03-01T09:00:00", it, ValueError, "timezone is empty") for it in ("", " ")],
        *[("whenever", it, TypeError, "timezone is a name") for it in (5, UTC, Zone(None))],
        *[(it, "Europe/Berlin", ValueError, "post_at_local is empty") for it in ("", " ")],
        (5, "Europe/Berlin", TypeError, "post_at_local is a datetime or text"),
        (date(2026, 3, 1), "Europe/Berlin", TypeError, "post_at_local is a datetime"),
        (utc(2026, 3, 1), None, ValueError, "a ZoneInfo with a name"),
        (datetime(2026, 3, 1, tzinfo=Zone(None)), None, ValueError, "with a name"),
        (datetime(2026, 3, 1, tzinfo=Zone()), "Europe/Berlin", ValueError, "already"),
        (datetime(2026, 3, 1, tzinfo=Zone()), Zone(), ValueError, "already"),
        (datetime(2026, 3, 1, 4, tzinfo=Zone(), fold=1), None, ValueError, "twice"),
        (datetime(2026, 3, 1, tzinfo=Zone("")), None, ValueError, "timezone is empty"),
    ],
)
def test_a_local_time_that_is_none_or_has_no_zone_is_refused(refusing, local, zone, error, message):
    with pytest.raises(error, match=message):
        refusing.schedule("/p", post_at_local=local, timezone=zone)


@pytest.mark.parametrize("mode", [{"post_in": "5m"}, {"post_at": utc(2026, 3, 1)}])
@pytest.mark.parametrize("zone", ["Europe/Berlin", ""])
def test_a_timezone_without_a_local_time_is_refused(refusing, mode, zone):
    with pytest.raises(ValueError, match="timezone belongs to post_at_local"):
        refusing.schedule("/p", timezone=zone, **mode)


@pytest.mark.parametrize(
    ("data", "json_data"),
    [
        (None, {}),
        *[(same, same) for same in ({}, [], 0, False, "", -1.5, 10**300, {"a": "x" * 100_000})],
        *[(text, text) for text in ("\u00fc\U0001f600\x00\n", "\ud800")],
        ((1, (2, 3)), [1, [2, 3]]),
        ({1: "a", None: "b", 1.5: "c"}, {"1": "a", "null": "b", "1.5": "c"}),
        ({True: "a", Number(5): "b"}, {"true": "a", "5": "b"}),
        (collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        ({"id": Id.FIRST, Id.FIRST: 1}, {"id": "first/id", "first/id": 1}),
        (Number(5), 5),
        (Text("value"), "value"),
    ],
    ids=lambda it: ascii(it)[:40],
)
def test_data_is_sent_as_json(data, json_data):
    assert scheduled(data=data)["data"] == json_data


CIRCULAR = []
CIRCULAR.append(CIRCULAR)
DEEP = functools.reduce(lambda inner, _: [inner], range(100_000), [])


@pytest.mark.parametrize(
    ("data", "error"),
    [
        *[(it, ValueError) for it in (float("nan"), {"a": [float("inf")]}, -float("inf"))],
        *[(it, ValueError) for it in (CIRCULAR, DEEP)],
        *[(it, TypeError) for it in (b"bytes", {1, 2}, utc(2026, 3, 1), {(1, 2): 3}, object())],
        *[(it, TypeError) for it in ((each for each in "abc"), 1j)],
    ],
    ids=lambda it: type(it).__name__,
)
def test_data_that_is_no_json_is_refused(refusing, data, error):
    with pytest.raises(error, match="^data "):
        refusing.schedule("/p", post_in="5m", data=data)


def test_a_retry_override_is_sent():
    override = posthook.HookRetryOverride(3, 10, posthook.STRATEGY_EXPONENTIAL, 2.0, 60, True)
    assert scheduled(retry_override=override)["retryOverride"] == override.to_dict()


@pytest.mark.parametrize("override", [{}, {"minRetries": 3}, 3, "fixed"])
def test_a_retry_override_of_another_type_is_refused(refusing, override):
    with pytest.raises(TypeError, match="is a HookRetryOverride"):
        refusing.schedule("/p", post_in="5m", retry_override=override)


# Ids


@pytest.mark.parametrize("call", ["get", "delete"])
@pytest.mark.parametrize(
    ("id", "segment"),
    [
        ("e5405623-2c1c", "e5405623-2c1c"),
        ("a/b", "a%2Fb"),
        ("a b", "a%20b"),
        ("50%", "50%25"),
        ("%2F", "%252F"),
        ("../x", "..%2Fx"),
        ("...", "..."),
        ("a..b", "a..b"),
        ("a?b#c&d+e", "a%3Fb%23c%26d%2Be"),
        ("\u00fc\U0001f600", "%C3%BC%F0%9F%98%80"),
        (Id.FIRST, "first%2Fid"),
        (Text("a"), "a"),
    ],
)
def test_an_id_is_one_segment_of_the_path(call, id, segment):
    request = sent(lambda hooks: getattr(hooks, call)(id))
    assert request.path == f"/v1/hooks/{segment}"
    assert request.method == {"get": "GET", "delete": "DELETE"}[call]
    assert (request.body, request.headers.get("content-type")) == (b"", None)


@pytest.mark.parametrize("call", ["get", "delete"])
@pytest.mark.parametrize("id", ["", None, 0, " ", "\n", ".", ".."])
def test_an_id_that_names_no_hook_is_refused(refusing, call, id):
    with pytest.raises(ValueError, match="hook id is (required|empty)"):
        getattr(refusing, call)(id)


@pytest.mark.parametrize(
    ("id", "error", "message"),
    [
        *[(id, TypeError, r"pass str\(id\)") for id in (5, True, b"a", uuid.UUID(int=1), ["a"])],
        ("a\ud800", ValueError, "half of a surrogate pair"),
    ],
    ids=ascii,
)
def test_an_id_that_is_no_text_is_refused(refusing, id, error, message):
    with pytest.raises(error, match=message):
        refusing.get(id)


# List


def test_list_without_arguments_asks_without_a_query():
    assert sent(lambda hooks: hooks.list(), ok([])).path == "/v1/hooks"


def test_list_sends_every_argument_under_the_api_s_name():
    arguments = {
        "status": "pending",
        "limit": 5,
        "offset": 0,
        "cursor": "a/b=&\u00fc",
        "sort_by": posthook.SORT_BY_CREATED_AT,
        "sort_order": "dEsC",
        "post_at_before": "2026-01-01T00:00:00+01:00",
        "post_at_after": utc(2026, 1, 2),
        "created_at_before": utc(2026, 1, 3, 0, 0, 0, 5),
        "created_at_after": "yesterday",
    }
    assert listed(**arguments) == {
        "status": "pending",
        "limit": "5",
        "offset": "0",
        "cursor": "a/b=&\u00fc",
        "sortBy": "createdAt",
        "sortOrder": "dEsC",
        "postAtBefore": "2026-01-01T00:00:00+01:00",
        "postAtAfter": "2026-01-02T00:00:00Z",
        "createdAtBefore": "2026-01-03T00:00:00.000005Z",
        "createdAtAfter": "yesterday",
    }


@pytest.mark.parametrize("nothing", [None, ""])
def test_list_leaves_out_what_is_none_or_empty(nothing):
    names = ["status", "cursor", "sort_by", "sort_order", "post_at_before", "created_at_after"]
    assert listed(**dict.fromkeys(names, nothing)) == {}


@pytest.mark.parametrize("status", [Id.FIRST, Text("first/id")])
def test_list_sends_the_value_of_an_enum(status):
    assert listed(status=status, post_at_after=status) == {
        "status": "first/id",
        "postAtAfter": "first/id",
    }


@pytest.mark.parametrize("limit", [1, 1000])
def test_list_takes_limits_that_the_service_takes(limit):
    assert listed(limit=limit, offset=10**6) == {"limit": str(limit), "offset": "1000000"}


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        *[
            ("limit", each, ValueError, "from 1 to 1000")
            for each in (0, -1, 1001, 10**30, Number(5))
        ],
        *[("limit", each, ValueError, "from 1 to 1000") for each in (5.0, "5", True, float("nan"))],
        *[("offset", each, ValueError, "whole number from 0") for each in (-1, 1.0, "1", True)],
        *[("status", each, TypeError, "is text") for each in (5, True, b"a", ["pending"])],
        *[(name, 5, TypeError, "is text") for name in ("cursor", "sort_by", "sort_order")],
        *[
            (f"{what}_at_{bound}", datetime(2026, 3, 1), ValueError, "must be timezone-aware: pass")
            for what in ("post", "created")
            for bound in ("before", "after")
        ],
    ],
)
def test_list_refuses_what_can_only_be_wrong(refusing, name, value, error, message):
    with pytest.raises(error, match=f"{name}.*{message}"):
        refusing.list(**{name: value})


def test_list_refuses_half_of_a_surrogate_pair(refusing):
    with pytest.raises(ValueError, match="surrogates not allowed"):
        refusing.list(cursor="\ud800")


# Bulk


@pytest.mark.parametrize("action", ["retry", "replay", "cancel"])
@pytest.mark.parametrize("kind", [list, tuple, iter, dict.fromkeys])
def test_a_bulk_call_posts_its_ids_as_a_list(action, kind):
    request = bulk_call(action, kind(["a", "b"]))
    assert (request.method, request.path) == ("POST", f"/v1/hooks/bulk/{action}")
    assert request.json == {"hookIDs": ["a", "b"]}


def test_a_bulk_call_takes_a_generator_of_up_to_a_thousand_ids():
    request = bulk_call("cancel", (str(number) for number in range(1000)))
    assert request.json["hookIDs"] == [str(number) for number in range(1000)]


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        *[(it, ValueError, "hook_ids is empty") for it in ([], iter(()))],
        *[(it, ValueError, "a hook id is empty") for it in (["a", ""], [" "])],
        (["\ud800"], ValueError, "surrogate pair"),
        (map(str, itertools.count()), ValueError, "at most 1000 ids"),
        *[(it, TypeError, "is a list of ids") for it in ("abc", "", b"abc")],
        *[(it, TypeError, "not iterable") for it in (None, 5)],
        *[([it], TypeError, r"pass str\(id\)") for it in (5, None, uuid.UUID(int=1))],
    ],
)
def test_a_bulk_call_refuses_what_are_no_ids(refusing, ids, error, message):
    with pytest.raises(error, match=message):
        refusing.bulk.retry(ids)


@pytest.mark.parametrize("action", ["retry", "replay", "cancel"])
def test_a_bulk_call_posts_a_range(action):
    request = bulk_call(f"{action}_by_filter", utc(2026, 1, 1), "2026-01-02T00:00:00+01:00", 1000)
    assert request.path == f"/v1/hooks/bulk/{action}"
    assert request.json == {
        "startTime": "2026-01-01T00:00:00Z",
        "endTime": "2026-01-02T00:00:00+01:00",
        "limit": 1000,
    }


def test_a_bulk_range_is_narrowed_by_path_or_sequence():
    request = bulk_call("retry_by_filter", "a", "b", 1, endpoint_key="/p", sequence_id="s")
    assert (request.json["endpointKey"], request.json["sequenceID"]) == ("/p", "s")


@pytest.mark.parametrize(
    ("narrower", "error", "message"),
    [
        ({"endpoint_key": ""}, ValueError, "endpoint_key is empty"),
        ({"sequence_id": ""}, ValueError, "sequence_id is empty"),
        ({"endpoint_key": 5}, TypeError, "endpoint_key is text"),
        ({"sequence_id": b"s"}, TypeError, "sequence_id is text"),
    ],
)
def test_a_bulk_range_refuses_what_would_not_narrow_it(refusing, narrower, error, message):
    with pytest.raises(error, match=message):
        refusing.bulk.cancel_by_filter("a", "b", 1, **narrower)


@pytest.mark.parametrize("limit", [0, 1001, 5.0, None])
def test_a_bulk_range_refuses_other_limits_than_the_service(refusing, limit):
    with pytest.raises(ValueError, match="limit is a whole number from 1 to 1000"):
        refusing.bulk.cancel_by_filter("a", "b", limit)


@pytest.mark.parametrize(
    ("moment", "error", "message"),
    [
        (datetime(2026, 3, 1), ValueError, "must be timezone-aware: pass"),
        ("", ValueError, "is empty"),
        (None, TypeError, "aware datetime"),
    ],
)
def test_a_bulk_range_refuses_what_is_no_point_in_time(refusing, moment, error, message):
    with pytest.raises(error, match=f"start_time.*{message}"):
        refusing.bulk.cancel_by_filter(moment, "b", 1)
    with pytest.raises(error, match=f"end_time.*{message}"):
        refusing.bulk.cancel_by_filter("a", moment, 1)


# Timeouts and URLs


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), True, "5", 1j, b"5"])
def test_a_timeout_that_is_no_positive_finite_number_is_refused(refusing, timeout):
    with pytest.raises(ValueError, match="positive, finite number of seconds"):
        refusing.get("a", timeout=timeout)


@pytest.mark.parametrize("timeout", [0.5, 5, 10**9, 10**400, sys.float_info.max, Number(5)])
def test_a_timeout_may_be_any_positive_number(timeout):
    assert sent(lambda hooks: hooks.get("a", timeout=timeout)).method == "GET"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        *[
            (url, "must begin with https://")
            for url in ("api.posthook.io", "ftp://api.posthook.io")
        ],
        *[(url, "must begin with https://") for url in ("file:///etc/passwd", "https:a.io")],
        *[(url, "no host") for url in ("https://", "https:///v1", "https://@", "https://a%20b")],
        *[(url, "no host") for url in ("https://-a.io", "https://a-.io", f"https://{'a' * 64}.io")],
        (f"https://{'a.' * 130}io", "no host"),
        ("https://key@api.posthook.io", "or a user before the host"),
        *[
            (f"https://{at}", "bad host or port")
            for at in ("a:0", "a:65536", "a:x", "a:-1", "[::1")
        ],
        *[(f"https://a{odd}", "encode it") for odd in (" b", "/\n", "/\u00fc", "\\@b", "/\x7f")],
        ("https://\u00fc.de", "encode it"),
    ],
)
def test_a_url_that_cannot_work_is_refused_without_showing_it(url, message):
    with pytest.raises(ValueError, match=f"^url .*{message}") as info:
        posthook.ack(url)
    assert url not in str(info.value)


@pytest.mark.parametrize("url", [b"https://a", 5, ["https://a"]])
def test_a_url_that_is_no_text_is_refused(url):
    with pytest.raises(TypeError, match="url is text"):
        posthook.ack(url)


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("https://a", ("https", "a", 443)),
        ("http://a:", ("http", "a", 80)),
        ("http://a-b.c_d.io:65535/v1?x#y", ("http", "a-b.c_d.io", 65_535)),
        ("https://127.0.0.1:1", ("https", "127.0.0.1", 1)),
        ("http://[::1]:00080/", ("http", "::1", 80)),
        ("HTTPS://A", ("https", "a", 443)),
        ("http://[FE80::1%25eth0]/", ("http", "fe80::1%25eth0", 80)),
        ("https://a.io./", ("https", "a.io.", 443)),
        (f"https://{'a' * 63}.io", ("https", f"{'a' * 63}.io", 443)),
    ],
)
def test_a_url_with_a_host_is_taken(url, parts):
    assert posthook._checked_url(url, "url") == url
    assert posthook._split_url(url, "url") == parts


# Answers


@pytest.mark.parametrize("status", [200, 201, 202, 203, 299])
@pytest.mark.parametrize("content_type", ["application/json", "text/html", ""])
def test_any_2xx_body_is_read_whatever_its_content_type(status, content_type):
    hook = answered({"data": HOOK}, status=status, content_type=content_type)
    assert hook == posthook.Hook.from_dict(HOOK)


@pytest.mark.parametrize("error", ["", None, 5, "odd, but there is data"])
def test_an_error_beside_data_is_passed_over(error):
    assert answered({"data": HOOK, "error": error}).id == HOOK["id"]


CALLS = {
    "schedule": schedule,
    "get": lambda hooks: hooks.get("a"),
    "list": lambda hooks: hooks.list(),
    "list_all": lambda hooks: list(hooks.list_all()),
    "bulk": lambda hooks: hooks.bulk.cancel(["a"]),
}


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"",
            b"<html></html>",
            b"\xff\xfe",
            b"null",
            b"5",
            b'"data"',
            b"[]",
            b"{}",
            b'{"hook": {}}',
        ),
        *(b'{"data": {}', b'{"data": {"id": "a"}} x', b'\xef\xbb\xbf{"data": {"id": "a"}}'),
        *(b'{"data": ' + b"9" * 5000 + b"}", b"[" * 100_000, b'{"data": ' * 100_000),
    ],
    ids=lambda body: ascii(body)[:30],
)
def test_a_2xx_answer_that_is_no_json_object_with_data_is_an_error(body):
    error = failure(answered, body)
    assert (type(error), error.status_code) == (posthook.PosthookError, 200)
    assert error.message.startswith("HTTP 200, but the answer cannot be used: ")
    assert error.body == body.decode(errors="replace")


NO_HOOK = "a hook is no object with an id"


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        *[("get", it, NO_HOOK) for it in (None, 5, "a", [], ["a"], {}, {"id": 5}, {"id": ""})],
        ("schedule", {}, NO_HOOK),
        *[("list", [HOOK, it], NO_HOOK) for it in (None, 5, "a", [], {}, {"id": 5})],
        ("list_all", [HOOK, None], NO_HOOK),
        *[("list", it, '"data" is no list') for it in (5, "a", True, {})],
        *[("bulk", it, '"data" is no object') for it in (None, 5, "a", [])],
    ],
    ids=ascii,
)
def test_data_of_an_answer_that_are_not_what_was_asked_for_are_an_error(name, data, why):
    error = failure(answered, {"data": data}, CALLS[name])
    assert (type(error), error.status_code) == (posthook.PosthookError, 200)
    assert error.message == f"HTTP 200, but the answer cannot be used: {why}"


@pytest.mark.parametrize("name", CALLS)
def test_an_answer_without_data_tells_the_error_it_holds(name):
    error = failure(answered, {"data": None, "error": "It failed"}, CALLS[name])
    assert error.message == "HTTP 200, but the answer cannot be used: It failed"


def test_a_hook_in_an_answer_may_have_nothing_but_an_id():
    assert answered({"data": {"id": "a"}}) == dataclasses.replace(EMPTY_HOOK, id="a")


@pytest.mark.parametrize("data", [None, []])
def test_a_list_of_nothing_is_empty(data):
    assert answered({"data": data}, CALLS["list"]) == []
    assert answered({"data": data}, CALLS["list_all"]) == []


@pytest.mark.parametrize(
    ("extra", "cursor"),
    [
        ({}, None),
        ({"meta": {"cursor": "a"}}, "a"),
        ({"meta": {"nextCursor": "a"}}, "a"),
        ({"cursor": "a"}, "a"),
        ({"nextCursor": "a"}, "a"),
        ({"meta": {"cursor": "a", "nextCursor": "b"}, "cursor": "c"}, "a"),
        ({"meta": {"cursor": "", "nextCursor": "b"}, "cursor": "c"}, "b"),
        ({"meta": {"cursor": None}, "cursor": 5, "nextCursor": "d"}, "d"),
        ({"meta": {"cursor": ["a"]}}, None),
        ({"meta": None}, None),
        ({"meta": "a"}, None),
    ],
)
def test_the_cursor_of_a_page_is_found_in_the_likely_places(extra, cursor):
    page = answered({"data": [HOOK], **extra}, CALLS["list"])
    assert (type(page), page.cursor) == (posthook.Page, cursor)


@pytest.mark.parametrize(
    ("meta", "total"),
    [({"totalItems": 5}, 5), ({"totalItems": 0}, 0), ({}, None), ({"totalItems": "5"}, None)],
)
def test_the_total_of_a_page_is_the_server_s_or_none(meta, total):
    assert answered({"data": [HOOK], "meta": meta}, CALLS["list"]).total_items == total


@pytest.mark.parametrize("data", [{"affected": 3}, {"affected": 3, "new": 1}])
def test_a_bulk_call_gives_the_number_of_hooks(data):
    assert answered({"data": data}, CALLS["bulk"]) == posthook.BulkActionResult(3)


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b'{"data": {}}'), (200, b""), (200, b"<html>"), (202, b"[]"), (404, b""), (404, b"{}")],
)
def test_delete_gives_none_for_any_2xx_and_for_a_hook_that_is_gone(status, body):
    assert answered(body, lambda hooks: hooks.delete("a"), status) is None


def test_delete_gives_none_for_an_answer_without_content():
    reply = b"HTTP/1.1 204 No Content\r\n\r\n"
    with Script(reply) as server, client(server) as posthooks:
        assert posthooks.hooks.delete("a") is None


def test_delete_raises_for_other_statuses():
    error = failure(answered, {"error": "No"}, lambda hooks: hooks.delete("a"), 403)
    assert type(error) is posthook.ForbiddenError


# Quota and Retry-After


def quota_of(**headers):
    named = {f"posthook_hookquota_{name}": value for name, value in headers.items()}
    return answered({"data": HOOK}, schedule, 201, **named).quota


@pytest.mark.parametrize(
    ("headers", "quota"),
    [
        (
            {"limit": 100, "usage": 1, "remaining": 99, "resets_at": "2026-04-01T00:00:00.5Z"},
            posthook.QuotaInfo(100, 1, 99, utc(2026, 4, 1, 0, 0, 0, 500_000)),
        ),
        ({"limit": "9" * 18}, posthook.QuotaInfo(10**18 - 1, 0, 0, None)),
        ({"usage": 1, "remaining": 2, "resets_at": "2026-04-01T00:00:00Z"}, None),
    ],
)
def test_a_scheduled_hook_has_the_quota_that_the_headers_tell(headers, quota):
    assert quota_of(**headers) == quota


@pytest.mark.parametrize("name", ["Posthook-HookQuota-Limit", "POSTHOOK-HOOKQUOTA-LIMIT"])
def test_quota_headers_are_read_in_any_case(name):
    assert answered({"data": HOOK}, schedule, **{name: "5"}).quota.limit == 5


@pytest.mark.parametrize(
    "limit",
    ["", "unlimited", "100.0", "-1", "+5", "1e3", "5, 5", "0x10", "1_000", "\xb2", "9" * 19],
)
def test_a_quota_without_a_readable_limit_is_none(limit):
    assert quota_of(limit=limit, usage=1) is None


@pytest.mark.parametrize("value", ["", "none", "-1", "1.5", "2026-04-01", "0001-01-01T00:00:00Z"])
def test_the_rest_of_a_quota_that_is_unreadable_is_zero_or_none(value):
    quota = quota_of(limit=5, usage=value, remaining=value, resets_at=value)
    assert quota == posthook.QuotaInfo(5, 0, 0, None)


def test_other_calls_have_no_quota():
    assert answered({"data": HOOK}, posthook_hookquota_limit=5).quota is None


def test_a_quota_header_that_comes_twice_does_not_hurt():
    head = b"HTTP/1.1 201 Created\r\nPosthook-HookQuota-Limit: 5\r\n"
    body = ok(HOOK).partition(b"\r\n")[2]
    with Script(head + head.partition(b"\r\n")[2] + body) as server, client(server) as posthooks:
        hook = schedule(posthooks.hooks)
    assert hook.quota in (None, posthook.QuotaInfo(5, 0, 0, None))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        *[("0", 0.0), ("7", 7.0), (" 120 ", 120.0), ("9" * 9, 999_999_999.0)],
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:16:41 GMT", 1.0),
        ("Thu, 01 Jan 1970 01:00:00 GMT", 2600.0),
        *[(f"Sun, {it} 08:49:37 GMT", None) for it in ("32 Nov 1994", "06 Nov 99999")],
        (f"Sun, 06 Nov {'9' * 20} 08:49:37 GMT", None),
        *[(it, None) for it in ("", "GMT", ", , GMT", "-1", "1.5", "soon", "9" * 19, "\u0665")],
    ],
)
def test_retry_after_is_read_as_seconds_or_as_an_http_date(value, seconds):
    reply = posthook._Answer(503, {"retry-after": value}, b"")
    reply.received = 1000.0 if "1970" in value else 1_700_000_000.0
    assert posthook._retry_after(reply) == seconds


def test_retry_after_never_raises():
    choices = random.Random(9110)  # the seed
    words = [" ", *f"Sun , 06 Nov 1994 08:49:37 - : 1 {'9' * 20} \xe9 +0000".split()]
    for _ in range(3000):
        value = "".join(choices.choices(words, k=choices.randrange(9))) + "GMT"
        seconds = posthook._retry_after(posthook._Answer(503, {"retry-after": value}, b""))
        assert seconds is None or seconds >= 0


# list_all


class HooksApi:
    """``GET /v1/hooks`` as a step of a Script, with strict bounds.

    ``times`` are the ``postAt`` of its hooks, in UTC and of any precision; ids are numbers in order
    of time. ``caps`` are the most hooks of its pages, in turn. ``cursors`` says whether it gives
    cursors, ``total`` is the function that counts all that match, or this page; None: not at all.
    """

    def __init__(self, times, *, caps=(1000,), cursors=False, total=lambda found, page: len(found)):
        self.hooks = [
            {"id": str(n), "postAt": each} for n, each in enumerate(sorted(times, key=instant))
        ]
        self.caps, self.cursors, self.total = itertools.cycle(caps), cursors, total

    def __call__(self, request):
        query = dict(urllib.parse.parse_qsl(request.path.partition("?")[2], strict_parsing=True))
        assert (query.pop("sortBy"), query.pop("sortOrder")) == ("postAt", "ASC")
        assert query.keys() <= {"limit", "cursor", "postAtAfter", "postAtBefore"}
        assert 1 <= int(query["limit"]) <= 1000
        found = self.between(query.get("postAtAfter", ""), query.get("postAtBefore", "9"))
        assert self.cursors or "cursor" not in query
        start = int(query.get("cursor", 0))
        end = start + min(int(query["limit"]), next(self.caps))
        page = found[start:end]
        meta = {"totalItems": self.total(found, page)} if self.total else {}
        if self.cursors and end < len(found):
            meta["cursor"] = str(end)
        return answer({"data": page, "meta": meta})

    def between(self, after, before):
        return [h for h in self.hooks if instant(after) < instant(h["postAt"]) < instant(before)]


def instant(text):
    """A time in UTC, of any precision, as something to compare."""
    seconds, _, fraction = text.rstrip("Z").partition(".")
    return seconds, fraction.ljust(9, "0")


def second(number, fraction=""):
    """A ``postAt``, ``number`` seconds (below an hour) after some midnight."""
    return f"2026-03-01T00:{number // 60:02}:{number % 60:02}{fraction}Z"


def walked(api, **arguments):
    """The ids that ``list_all`` gives, and the requests it sent for them."""
    with Script(api) as server, client(server) as posthooks:
        ids = [hook.id for hook in posthooks.hooks.list_all(**arguments)]
    return ids, server.requests


def numbers(count):
    return [str(number) for number in range(count)]


each_kind_of_server = pytest.mark.parametrize(
    "server", [{}, {"total": None}, {"cursors": True}], ids=["plain", "no total", "cursors"]
)


@each_kind_of_server
@pytest.mark.parametrize("page_size", [1, 2, 7, 10, 100])
@pytest.mark.parametrize(
    "groups",  # hooks of the first second, of the second one, ...
    [
        *[[1] * count for count in (0, 1, 3, 9, 10, 11, 20)],
        *[[1, n, 1, n] for n in (2, 10, 11, 25)],
    ],
    ids=str,
)
def test_list_all_gives_every_hook_once_in_order(groups, page_size, server):
    times = [second(number) for number, ties in enumerate(groups) for _ in range(ties)]
    assert walked(HooksApi(times, **server), page_size=page_size)[0] == numbers(len(times))


@pytest.mark.parametrize(
    ("ties", "others", "page_size", "server"),
    [
        (999, 0, 500, {}),
        (1000, 0, 500, {}),
        (999, 2, 1000, {"total": None}),
        (2500, 0, 1000, {"cursors": True}),
    ],
)
def test_list_all_takes_a_thousand_hooks_of_one_time_and_more_with_cursors(
    ties, others, page_size, server
):
    api = HooksApi([*[second(1)] * ties, *map(second, range(2, 2 + others))], **server)
    assert walked(api, page_size=page_size)[0] == numbers(ties + others)


@pytest.mark.parametrize(
    ("ties", "page_size", "server", "count"),
    [
        (1001, 100, {}, 1000),
        (1001, 1000, {}, 1000),
        (1001, 100, {"total": None}, 1000),
        (1001, 1000, {"total": None}, 1000),
        (15, 10, {"caps": (10,)}, 10),
        (15, 100, {"caps": (10,)}, 10),
    ],
)
def test_list_all_says_so_where_it_would_lose_hooks_of_one_time(ties, page_size, server, count):
    error = failure(walked, HooksApi([second(1)] * ties, **server), page_size=page_size)
    assert f"{count} hooks of one postAt" in error.message


def test_list_all_gives_what_it_has_before_it_says_that_it_cannot_go_on():
    hooks = []
    with Script(HooksApi([second(0), *[second(1)] * 1500])) as server, client(server) as posthooks:
        error = failure(hooks.extend, posthooks.hooks.list_all(page_size=1000))
    assert "of one postAt" in error.message
    assert len(server.requests) == 2


@pytest.mark.parametrize("caps", [(10,), (10, 5, 7)])
@pytest.mark.parametrize("page_size", [10, 100, 1000])
def test_list_all_is_not_stopped_by_pages_that_are_shorter_than_asked_for(page_size, caps):
    api = HooksApi(map(second, range(35)), caps=caps)
    assert walked(api, page_size=page_size)[0] == numbers(35)


@pytest.mark.parametrize("page_size", [1, 2, 3, 10])
def test_list_all_gives_hooks_that_differ_by_nanoseconds_once(page_size):
    times = [second(1, f".{nanos:09}") for nanos in (*range(0, 3000, 250), 5, 6, 7, 8)]
    assert walked(HooksApi(times), page_size=page_size)[0] == numbers(len(times))


@pytest.mark.parametrize("page_size", [1, 2, 3, 10])
def test_list_all_keeps_to_bounds_that_are_finer_than_a_microsecond(page_size):
    times = [second(1, f".{nanos:09}") for nanos in (100, 200, 300, 400, 1200)]
    bounds = {"post_at_after": times[1], "post_at_before": second(2)}
    assert walked(HooksApi(times), page_size=page_size, **bounds)[0] == ["2", "3", "4"]


@pytest.mark.parametrize(
    "total", [lambda found, page: 1000, lambda found, page: len(page)], ids=["every hook", "page"]
)
@pytest.mark.parametrize("count", [0, 3, 25])
def test_list_all_ends_with_a_server_that_counts_other_than_what_the_filters_match(count, total):
    api = HooksApi(map(second, range(count)), total=total)
    assert walked(api, page_size=10)[0] == numbers(count)


def test_list_all_first_asks_in_order_of_post_at_with_the_filters_as_given():
    arguments = {
        "status": "failed",
        "post_at_after": "2026-03-01T00:00:00.000000001+01:00",
        "post_at_before": utc(2026, 3, 2),
        "created_at_after": "2026-01-01T00:00:00Z",
        "created_at_before": utc(2026, 3, 3),
    }
    request = sent(lambda hooks: list(hooks.list_all(**arguments)), ok([]))
    assert dict(urllib.parse.parse_qsl(request.path.partition("?")[2])) == {
        "status": "failed",
        "limit": "100",
        "sortBy": "postAt",
        "sortOrder": "ASC",
        "postAtAfter": "2026-03-01T00:00:00.000000001+01:00",
        "postAtBefore": "2026-03-02T00:00:00Z",
        "createdAtAfter": "2026-01-01T00:00:00Z",
        "createdAtBefore": "2026-03-03T00:00:00Z",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *[
            ({"page_size": it}, "page_size is a whole number from 1 to 1000")
            for it in (0, 1001, None)
        ],
        ({"post_at_after": datetime(2026, 1, 1)}, "timezone-aware"),
    ],
)
def test_list_all_refuses_what_is_wrong_at_once(refusing, arguments, message):
    with pytest.raises(ValueError, match=message):
        refusing.list_all(**arguments)


def test_list_all_sends_nothing_before_its_first_step(refusing):
    assert iter(refusing.list_all()) is not None


def test_list_all_fetches_a_page_when_it_is_needed():
    with Script(HooksApi(map(second, range(20)))) as server, client(server) as posthooks:
        hooks = posthooks.hooks.list_all(page_size=10)
        assert [next(hooks).id for _ in range(10)] == numbers(10)
        assert len(server.requests) == 1
        assert next(hooks).id == "10"


def test_list_all_takes_one_request_for_a_short_page():
    assert len(walked(HooksApi([second(0)], total=None))[1]) == 1
    assert len(walked(HooksApi([second(0)], cursors=True))[1]) == 1


def test_list_all_follows_cursors_with_the_same_filters_and_stops_after_the_last():
    api = HooksApi(map(second, range(25)), cursors=True)
    requests = walked(api, page_size=10, post_at_before=second(99))[1]
    first, *others = [set(request.path.partition("?")[2].split("&")) for request in requests]
    assert others == [first | {"cursor=10"}, first | {"cursor=20"}]


@pytest.mark.parametrize("ids", ["a", "ab", "abc"])
def test_list_all_is_not_led_in_a_circle_by_a_cursor(ids):
    pages = itertools.cycle([answer({"data": [{"id": id}], "meta": {"cursor": id}}) for id in ids])
    error = failure(walked, lambda _: next(pages))
    assert error.message == "list_all: the server's cursor leads to nothing new"


@pytest.mark.parametrize("total", [0, 1, 2, 10**6])
@pytest.mark.parametrize("page_size", [1, 2, 100])
def test_list_all_ends_whatever_a_server_repeats(page_size, total):
    reply = answer({"data": [HOOK], "meta": {"totalItems": total}})
    with Script(reply) as server, client(server) as posthooks:
        hooks = posthooks.hooks.list_all(page_size=page_size)
        with contextlib.suppress(posthook.PosthookError):
            assert [hook.id for hook in hooks] == [HOOK["id"]]
    assert len(server.requests) <= 3


@pytest.mark.parametrize(
    "moment",
    [None, "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"],
)
def test_list_all_says_so_where_a_hook_has_no_time_to_go_on_from(moment):
    reply = answer({"data": [{"id": "a", "postAt": moment}]})
    error = failure(walked, lambda _: reply, page_size=1)
    assert error.message == "list_all: the last hook of a page has no usable postAt"


def test_list_all_raises_the_error_of_a_later_page_as_it_is():
    api, hooks = HooksApi(map(second, range(20))), []
    with Script(api, answer({"error": "No"}, 403)) as server, client(server) as posthooks:
        error = failure(hooks.extend, posthooks.hooks.list_all(page_size=10))
    assert (type(error), len(server.requests)) == (posthook.ForbiddenError, 2)


@pytest.mark.parametrize("seed", range(60))
def test_list_all_gives_every_hook_exactly_once(seed):
    choices = random.Random(seed)
    fractions = choices.choice([[""], ["", ".5"], [".000001", ".0000011", ".000001999", ".000002"]])
    times = [
        second(choices.randrange(choices.choice((1, 5, 3000))), choices.choice(fractions))
        for _ in range(choices.randrange(200))
    ]
    page_size = choices.choice([1, 2, 3, 7, 50, 100, 1000])
    bounds = choices.choice([{}, {"post_at_after": second(2)}, {"post_at_before": second(2, ".5")}])
    total = choices.choice([None, lambda found, page: len(found)])
    api = HooksApi(times, cursors=choices.random() < 0.3, total=total)
    bounded = api.between(bounds.get("post_at_after", ""), bounds.get("post_at_before", "9"))
    expected = [hook["id"] for hook in bounded]
    assert walked(api, page_size=page_size, **bounds)[0] == expected


#


# ==================================================================================================
# 6. Transport
# ==================================================================================================


SMALL = b'{"data": {"id": "x"}}'
OK = answer(SMALL)
HEAD = b"HTTP/1.1 200 OK\r\n"


def framed(*headers, body=SMALL, line="HTTP/1.1 200 OK"):
    """An answer with these headers and no other, as bytes."""
    return "\r\n".join([line, *headers, "", ""]).encode("latin-1") + body


def chunked(*chunks):
    return framed("transfer-encoding: chunked", body=b"".join(chunks))


CHUNKED = chunked(b"a\r\n", SMALL[:10], b"\r\nb\r\n", SMALL[10:], b"\r\n0\r\n\r\n")
LENGTH = f"Content-Length: {len(SMALL)}"

KEEPING = {  # what comes over the wire, again and again
    "a length": OK,
    "chunks": CHUNKED,
    "one chunk": chunked(b"15\r\n", SMALL, b"\r\n0\r\n\r\n"),
    "one byte a chunk": chunked(*(b"1\r\n%c\r\n" % byte for byte in SMALL), b"0\r\n\r\n"),
    "upper-case hex, leading zeros, an extension, a trailer": chunked(
        b"0" * 20 + b"A;name=value\r\n",
        SMALL[:10],
        b"\r\nB\r\n",
        SMALL[10:],
        b"\r\n00\r\na: b\r\n\r\n",
    ),
    "a length, byte by byte": trickled(OK, 0.001),
    "five megabytes": answer({"data": {"id": "x", "data": "a" * 5_000_000}}),
    "100 first": b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    "102 and 103 first": b"HTTP/1.1 102 A\r\n\r\nHTTP/1.1 103 B\r\nlink: </a>\r\n\r\n" + OK,
    "no reason phrase": framed(LENGTH, line="HTTP/1.1 200"),
    "an empty reason phrase": framed(LENGTH, line="HTTP/1.1 200 "),
    "a header in Latin-1": framed(LENGTH, "server: caf\xe9"),
    "names in any case": framed(LENGTH.upper()),
    "a folded header": framed(LENGTH, "server: one", "  two"),
    "a NUL in a header": framed(LENGTH, "server: a\0b"),
    "a repeated header": framed(LENGTH, "vary: a", "vary: b"),
    "two hundred headers": framed(LENGTH, *["a: b"] * 200),
    "lines that end in LF alone": framed(LENGTH, "a: b").replace(b"\r", b""),
    "an unknown minor version": framed(LENGTH, line="HTTP/1.7 200 OK"),
    "keep-alive by HTTP/1.0": framed(LENGTH, "connection: keep-alive", line="HTTP/1.0 200 OK"),
}
ENDING = {  # what comes over the wire, and nothing after it
    "no length": Close(framed()),
    "no length, by HTTP/1.0": Close(framed(line="HTTP/1.0 200 OK")),
    "a length by HTTP/1.0": framed(LENGTH, line="HTTP/1.0 200 OK"),
    "connection: close": framed(LENGTH, "connection: close"),
    "close, said second": framed(LENGTH, "connection: keep-alive", "connection: close"),
}


@pytest.mark.parametrize("step", KEEPING.values(), ids=KEEPING)
def test_an_answer_is_read_in_every_form_that_http_has_for_it(step):
    with Script(step) as server, client(server) as posthooks:
        assert posthooks.hooks.get("a").id == "x"
        assert posthooks.hooks.get("b").id == "x"
    assert server.connections == 1


@pytest.mark.parametrize("step", ENDING.values(), ids=ENDING)
def test_an_answer_may_be_the_last_of_its_connection(step):
    with Script(step) as server, client(server) as posthooks:
        assert posthooks.hooks.get("a").id == "x"
        assert repr(pool(posthooks)) == "<connections: 0 at work, 0 idle, at most 100>"
        assert posthooks.hooks.get("b").id == "x"
    assert server.connections == 2


BROKEN_ANSWERS = {
    "nothing": b"",
    "no HTTP": b"220 mail.example.com ESMTP\r\n",
    "another protocol": b"ICY 200 OK\r\n\r\n",
    "HTTP/2": b"HTTP/2.0 200 OK\r\n\r\n",
    "NULs": b"\0" * 100,
    "TLS": b"\x15\x03\x01\x00\x02\x02\x16",
    "a status that is no number": b"HTTP/1.1 abc OK\r\n\r\n",
    "a status below 100": b"HTTP/1.1 99 OK\r\n\r\n",
    "a status above 999": b"HTTP/1.1 1000 OK\r\n\r\n",
    "a status line without end": b"HTTP/1.1 200 " + b"k" * 70_000,
    "a header without end": HEAD + b"a: " + b"k" * 70_000,
    "headers without end": framed(LENGTH, *["a: b"] * 40_000),
    "a header without a colon": framed("nonsense", LENGTH),
    "a bare CR in a header": framed(LENGTH, "server: a\rb: c"),
    "a header's name in Latin-1": framed(LENGTH, "caf\xe9: a"),
    "a length in white space that HTTP has not": framed(f"content-length: \xa0{len(SMALL)}"),
    "a header without a name": framed(LENGTH, ": nothing"),
    "a space before the colon": framed(LENGTH, "name : value"),
    "a CR in a header": framed(LENGTH, "name: a\rb"),
    "a first header that is folded": framed("  folded", LENGTH),
    "a folded length": framed("content-length: 2", " 1"),
    "a negative length": framed("content-length: -1"),
    "a signed length": framed("content-length: +21"),
    "an empty length": framed("content-length:"),
    "a length in words": framed("content-length: all"),
    "a length beyond any number": framed("content-length: " + "9" * 5000),
    "two lengths": framed(LENGTH, "content-length: 3"),
    "a length twice": framed(LENGTH, LENGTH),
    "a length and chunks": CHUNKED.replace(b"\r\n", f"\r\n{LENGTH}\r\n".encode(), 1),
    "an unknown transfer coding": framed("transfer-encoding: gzip, chunked"),
    "a chunk that is too short": chunked(b"fff\r\n", SMALL, b"\r\n0\r\n\r\n"),
    "a chunk that is a byte too short": chunked(b"15\r\n", SMALL[:-1], b"\r\n0\r\n\r\n"),
    "a chunk that is too long": chunked(b"5\r\n", SMALL, b"\r\n0\r\n\r\n"),
    "a chunk size that is no number": chunked(b"xyz\r\n", SMALL, b"\r\n0\r\n\r\n"),
    "a negative chunk size": chunked(b"-5\r\n", SMALL, b"\r\n0\r\n\r\n"),
    "a chunk of all that comes": chunked(b"-1\r\n", SMALL, b"\r\n0\r\n\r\n"),
    "a chunk size beyond any number": chunked(b"f" * 40 + b"\r\n", SMALL),
    "a chunk size without end": chunked(b"5;" + b"k" * 70_000),
    "a trailer without end": chunked(b"0\r\na: " + b"k" * 70_000),
}


@pytest.mark.parametrize("data", BROKEN_ANSWERS.values(), ids=BROKEN_ANSWERS)
def test_a_broken_answer_is_an_error_and_the_next_call_is_right(data):
    with Script(Close(data), OK) as server, client(server) as posthooks:
        error = failure(posthooks.hooks.get, "a")
        assert (type(error), error.maybe_sent) == (posthook.PosthookConnectionError, True)
        assert posthooks.hooks.get("b").id == "x"
    assert server.connections == 2


UNUSABLE_BODIES = {
    "UTF-16": SMALL.decode().encode("utf-16"),
    "empty": b"",
    "gzip that nobody asked for": gzip.compress(SMALL),
    "a gzip bomb": gzip.compress(bytes(10_000_000)),
}


@pytest.mark.parametrize("body", UNUSABLE_BODIES.values(), ids=UNUSABLE_BODIES)
def test_a_whole_answer_with_an_unusable_body_is_an_error_that_keeps_the_connection(body):
    with Script(answer(body), OK) as server, client(server) as posthooks:
        error = failure(posthooks.hooks.get, "a")
        assert type(error) is posthook.PosthookError
        assert error.status_code == 200
        assert posthooks.hooks.get("b").id == "x"
    assert server.connections == 1


@pytest.mark.parametrize("whole", [OK, CHUNKED], ids=["length", "chunks"])
@pytest.mark.parametrize("end", [Close, Reset])
@pytest.mark.parametrize("is_reused", [False, True], ids=["fresh", "reused"])
def test_an_answer_that_is_cut_at_any_byte_is_an_error_and_the_next_call_is_right(
    whole, end, is_reused
):
    cuts = [end(whole[:size]) for size in range(len(whole))]
    steps = [step for cut in cuts for step in ((OK, cut) if is_reused else (cut,))]
    with Script(*steps, OK) as server, client(server) as posthooks:
        for _ in cuts:
            if is_reused:
                assert posthooks.hooks.get("a").id == "x"
            error = failure(posthooks.hooks.schedule, "/a", post_in="5m")
            assert (type(error), error.maybe_sent) == (posthook.PosthookConnectionError, True)
        assert posthooks.hooks.get("b").id == "x"
    assert server.connections == len(cuts) + 1


@pytest.mark.parametrize("is_reset", [False, True], ids=["closed", "reset"])
def test_a_request_that_is_cut_at_any_byte_is_an_error_and_the_next_call_is_right(is_reset):
    def play(connection):
        size = next(sizes, None)
        if size is None:
            read_request(connection.makefile("rb"))
            connection.sendall(OK)
            return
        connection.recv(size, socket.MSG_WAITALL)
        if is_reset:
            reset_at_close(connection)

    cuts = range(1, 320, 8)
    sizes = iter(cuts)
    with Raw(play) as server, client(server) as posthooks:
        for _ in cuts:
            error = failure(posthooks.hooks.schedule, "/a", post_in="5m", data="a" * 200)
            assert (type(error), error.maybe_sent) == (posthook.PosthookConnectionError, True)
        assert posthooks.hooks.get("b").id == "x"


def test_a_refused_connection_is_an_error_that_says_that_nothing_was_sent():
    with closed_port() as port, client(f"http://127.0.0.1:{port}") as posthooks:
        error = failure(posthooks.hooks.schedule, "/a", post_in="5m")
    assert (type(error), error.maybe_sent) == (posthook.PosthookConnectionError, False)
    assert f"127.0.0.1:{port} cannot be reached" in str(error)
    assert isinstance(error.__cause__, ConnectionRefusedError)


# The deadline. Each of these would go on for ever.

STALLS = {
    "at once": Stall(),
    "in the status line": Stall(OK[:10]),
    "in the headers": Stall(OK[:30]),
    "in the body": Stall(OK[:-1]),
    "in a chunk size": Stall(CHUNKED[:48]),
    "in a chunk": Stall(CHUNKED[:-20]),
    "before the last chunk": Stall(CHUNKED[:-5]),
    "before the end, without a length": Stall(framed()),
    "after 100 Continue": Stall(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "status line byte by byte": trickled(b"HTTP/1.1 200 " + b"k" * 1000),
    "headers byte by byte": trickled(HEAD + b"a: " + b"b" * 1000),
    "body byte by byte": trickled(framed("content-length: 1000", body=bytes(1000))),
    "chunks byte by byte": trickled(chunked(b"1\r\na\r\n" * 1000), 0.001),
    "100 Continue for ever": trickled(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, 0.001),
    "103 for ever": trickled(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000, 0.001),
}


def test_a_call_ends_at_its_deadline_wherever_the_answer_stalls():
    def outcome(step):
        with Script(step, OK) as server, client(server) as posthooks:
            error = failure(posthooks.hooks.get, "a", timeout=0.3)
            return type(error), error.maybe_sent, posthooks.hooks.get("b").id

    with ThreadPoolExecutor(len(STALLS)) as threads:  # all at once, since they take their time
        outcomes = dict(zip(STALLS, threads.map(outcome, STALLS.values())))
    assert outcomes == dict.fromkeys(STALLS, (posthook.PosthookTimeoutError, True, "x"))


@pytest.mark.parametrize("pace", [None, 0.02], ids=["stalled", "trickling"])
def test_a_call_ends_at_its_deadline_while_its_request_is_written(tls, pace):
    def play(connection):
        read_request(connection.makefile("rb", 0))
        connection.sendall(OK)
        while not gone.wait(pace) and connection.recv(1000):
            pass

    gone = threading.Event()
    with Raw(play, tls) as server, client(server) as posthooks:
        posthooks.hooks.get("a")  # connects without haste
        big = "a" * 15_000_000
        error = failure(posthooks.hooks.schedule, "/a", post_in="5m", data=big, timeout=0.2)
        gone.set()
    assert (type(error), error.maybe_sent) == (posthook.PosthookTimeoutError, True)


def test_a_call_ends_at_its_deadline_while_it_connects():
    with full_backlog() as port, client(f"http://127.0.0.1:{port}") as posthooks:
        error = failure(posthooks.hooks.get, "a", timeout=0.1)
    assert (type(error), error.maybe_sent) == (posthook.PosthookTimeoutError, False)


@pytest.mark.parametrize(
    "hello", [b"", b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03" + bytes(30)]
)
def test_a_call_ends_at_its_deadline_in_a_tls_handshake(hello):
    def play(connection):
        connection.sendall(hello)
        gone.wait(10)

    gone = threading.Event()
    with Raw(play) as server, client(f"https://127.0.0.1:{server.port}") as posthooks:
        error = failure(posthooks.hooks.get, "a", timeout=0.1)
        gone.set()
    assert (type(error), error.maybe_sent) == (posthook.PosthookTimeoutError, False)


def test_an_exhausted_deadline_sends_nothing():
    with Script(OK) as server, opened() as opener:
        for _ in range(2):  # on a new connection, and on an idle one
            error = failure(opener.open, server.url, timeout=0)
            assert (type(error), error.maybe_sent) == (posthook.PosthookTimeoutError, False)
            opener.open(server.url)
    assert len(server.requests) == 2


# Sizes.


LARGE = {
    "announced": Stall(framed("content-length: 100001")),
    "endless": framed(body=bytes(500_000)),
    "chunks": chunked(b"a\r\n0123456789\r\n" * 30_000),
    "100 Continue": b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000,
}


@pytest.mark.parametrize("step", LARGE.values(), ids=LARGE)
def test_an_answer_larger_than_the_limit_is_an_error(monkeypatch, step):
    monkeypatch.setattr(posthook, "_MOST_BYTES", 100_000)
    with Script(step, OK) as server, client(server) as posthooks:
        assert "larger than 100000 bytes" in str(failure(posthooks.hooks.get, "a"))
        assert posthooks.hooks.get("b").id == "x"


def test_an_answer_of_the_limit_is_read(monkeypatch):
    monkeypatch.setattr(posthook, "_MOST_BYTES", 100_000)
    with Script(answer(SMALL.ljust(100_000))) as server, client(server) as posthooks:
        assert posthooks.hooks.get("a").id == "x"


@pytest.mark.parametrize(
    "early, is_read, message",
    [
        (answer({"error": "too large"}, 413), True, "^too large$"),
        (answer({"error": "too large"}, 413), False, "^too large$|was lost"),
        (b"", False, "was lost"),
    ],
    ids=["413, then all is read", "413, then a reset", "a reset"],
)
def test_a_server_that_ends_it_while_the_body_is_written(early, is_read, message):
    def play(connection):
        connection.recv(1000)
        connection.sendall(early)
        connection.shutdown(socket.SHUT_WR)
        while is_read and connection.recv(100_000):
            pass

    with Raw(play) as server, client(server) as posthooks:
        big = "a" * 10_000_000
        error = failure(posthooks.hooks.schedule, "/a", post_in="5m", data=big)
        assert f" {int(is_read)} idle" in repr(pool(posthooks))
    assert re.search(message, str(error))
    assert getattr(error, "maybe_sent", True) is True


def test_an_answer_that_comes_while_the_body_is_written_is_read_over_tls_too(secure):
    def play(connection):
        with secure.wrap_socket(connection, True) as plain:
            plain.recv(1000)
            plain.sendall(answer({"error": "too large"}, 413))

    with Raw(play) as server, client(f"https://127.0.0.1:{server.port}") as posthooks:
        big = "a" * 10_000_000
        error = failure(posthooks.hooks.schedule, "/a", post_in="5m", data=big)
    assert type(error) is posthook.PayloadTooLargeError


def test_a_failed_call_leaves_nothing_to_the_garbage_collector():
    def failed():
        try:
            posthooks.hooks.get("a")
        except posthook.PosthookError as error:
            return weakref.ref(error)

    broken = [Close(OK[:-1]), answer({"error": "no"}, 400), answer(b"[]")]
    with Script(*broken) as server, client(server) as posthooks:
        gc.disable()
        try:
            assert [failed()() for _ in broken] == [None] * 3
        finally:
            gc.enable()


# Statuses.


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308, 418, 999])
def test_any_other_status_is_an_error_and_no_redirect_is_followed(status):
    with Script(OK) as other:
        step = answer(b"", status, location=f"{other.url}/v1/hooks/a")
        with Script(step) as server, client(server) as posthooks:
            error = failure(posthooks.hooks.get, "a")
    assert type(error) is posthook.PosthookError
    assert (error.status_code, error.code) == (status, "unknown_error")
    assert len(server.requests) == 1
    assert other.requests == []


@pytest.mark.parametrize(
    "head, status, connections",
    [
        (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 100\r\n\r\n", 304, 1),
        (b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\r\n", 101, 2),
    ],
    ids=["304 has no body", "after 101 it speaks another protocol"],
)
def test_a_status_can_end_an_answer_or_a_connection(head, status, connections):
    with Script(head, OK) as server, client(server) as posthooks:
        assert failure(posthooks.hooks.get, "a").status_code == status
        assert posthooks.hooks.get("b").id == "x"
    assert server.connections == connections


# Connections.

EVIL = answer({"data": {"id": "evil"}})


@pytest.mark.parametrize(
    "data",
    [OK + EVIL, OK + b"\r\n", CHUNKED + EVIL, b"HTTP/1.1 204 X\r\n\r\n" + EVIL],
    ids=["an answer", "a line", "after chunks", "after 204"],
)
def test_bytes_after_an_answer_are_not_the_next_ones(tls, data):
    with Script(data, OK, tls=tls) as server, client(server) as posthooks:
        posthooks.hooks.delete("a")
        assert posthooks.hooks.get("b").id == "x"
    assert server.connections == 2


@pytest.mark.parametrize("late", [EVIL, Close(), Reset()], ids=["bytes", "an end", "a reset"])
def test_an_idle_connection_that_has_something_to_tell_is_not_used_again(tls, late):
    with Script(OK, tls=tls) as server, client(server) as posthooks:
        posthooks.hooks.get("a")
        server.interject(late)
        assert posthooks.hooks.schedule("/b", post_in="5m").id == "x"
    assert server.connections == 2


def test_the_connection_used_last_is_used_first():
    def step(request):
        barrier.wait(10)
        return OK

    barrier = threading.Barrier(2)
    with Script(step, step, OK) as server, client(server) as posthooks:
        with ThreadPoolExecutor() as threads:
            list(threads.map(posthooks.hooks.get, "ab"))
        assert repr(pool(posthooks)) == "<connections: 0 at work, 2 idle, at most 100>"
        for _ in range(3):
            last = pool(posthooks)._idle[-1]
            posthooks.hooks.get("c")
            assert pool(posthooks)._idle[-1] is last
    assert server.connections == 2


@pytest.mark.parametrize("clock", [0, 1], ids=["monotonic", "wall"])
@pytest.mark.parametrize("seconds", [20, -20], ids=["forward", "back"])
def test_an_idle_connection_expires_by_either_clock(clock, seconds):
    with Script(OK) as server, client(server) as posthooks:
        posthooks.hooks.get("a")
        (connection,) = pool(posthooks)._idle
        times = list(connection._idle_since)
        times[clock] -= seconds
        connection._idle_since = tuple(times)
        posthooks.hooks.get("b")
    assert server.connections == 2


def test_no_connection_is_kept_with_an_expiry_of_zero():
    with Script(OK) as server, opened(keepalive_expiry=0) as opener:
        client(server, http_client=opener).hooks.get("a")
        assert repr(pool(opener)) == "<connections: 0 at work, 0 idle, at most 100>"


@pytest.mark.parametrize("size, connections", [(1, (2, 1)), (2, (1, 1))])
def test_connections_to_other_hosts_make_room_where_there_is_none(size, connections):
    with Script(OK) as one, Script(EVIL) as two, opened(max_connections=size) as opener:
        hosts = [client(server, http_client=opener).hooks for server in (one, two, one)]
        assert [hooks.get("a").id for hooks in hosts] == ["x", "evil", "x"]
        assert repr(pool(opener)) == f"<connections: 0 at work, {size} idle, at most {size}>"
    assert (one.connections, two.connections) == connections


def test_a_client_remembers_a_limited_number_of_hosts():
    with Script(OK) as server, client(server) as posthooks:
        targets = posthooks._api._handler._targets
        targets.update({("http", str(n)): None for n in range(1000)})
        assert posthooks.hooks.get("a").id == "x"
        assert posthooks.hooks.get("b").id == "x"
        assert len(targets) == 1000


def test_callers_beyond_max_connections_wait_for_their_turn():
    with Script(OK) as server, opened(max_connections=2) as opener:
        with ThreadPoolExecutor(10) as threads:
            hooks = threads.map(client(server, http_client=opener).hooks.get, "abcdefghij")
        assert [hook.id for hook in hooks] == ["x"] * 10
        assert "0 at work" in repr(pool(opener))
    assert server.connections <= 2


def test_a_caller_waits_for_its_turn_no_longer_than_its_deadline():
    with Script(OK) as server, opened(max_connections=1) as opener:
        get = client(server, http_client=opener).hooks.get
        lease = pool(opener).lease(time.monotonic() + 10)
        error = failure(get, "a", timeout=0.05)
        pool(opener).release(lease, None)
        assert get("b").id == "x"
    assert (type(error), error.maybe_sent) == (posthook.PosthookTimeoutError, False)
    assert "all 1 connections were at work" in str(error)


def test_a_turn_that_comes_at_the_last_moment_is_passed_on():
    pool = posthook._Pool(1, 15)
    lease = pool.lease(time.monotonic() + 10)
    late = posthook._Lease()
    late.turn = threading.Event()
    pool._line.append(late)
    pool.release(lease, None)
    assert repr(pool) == "<connections: 1 at work, 0 idle, at most 1>"
    pool._leave_line(late)
    assert repr(pool) == "<connections: 0 at work, 0 idle, at most 1>"


def test_fifty_threads_share_a_client_without_mixing_answers():
    ids = [str(number) for number in range(200)]
    with Script(echo) as server, client(server) as posthooks, ThreadPoolExecutor(50) as threads:
        assert [hook.id for hook in threads.map(posthooks.hooks.get, ids)] == ids
        assert len({connection.target for connection in pool(posthooks)._idle}) == 1
    assert server.connections <= 50


def test_a_closed_opener_sends_nothing():
    opener = posthook.build_opener()
    opener.close()
    opener.close()
    with Script(OK) as server:
        assert "closed" in str(failure(opener.open, server.url))
    assert server.requests == []


def test_an_opener_that_nobody_closed_closes_its_connections_when_it_goes():
    with Script(OK) as server:
        opener = posthook.build_opener()
        client(server, http_client=opener).hooks.get("a")
        sock = pool(opener)._idle[0]._sock
        del opener
        gc.collect()
        assert sock.fileno() == -1


def test_what_failed_calls_leave_to_the_garbage_collector_is_silent(monkeypatch):
    complaints = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    faults = Close(OK[:-1]), Close(HEAD), Stall()
    with Script(*faults) as server, client(server) as posthooks:
        for _ in faults:
            failure(posthooks.hooks.get, "a", timeout=0.1)
    gc.collect()
    assert complaints == []


def interrupt(*args):
    raise KeyboardInterrupt


@pytest.mark.parametrize("place", ["_Connection.transmit", "_Connection.head", "_hold_socket"])
def test_an_interrupted_call_leaves_nothing_behind(monkeypatch, place):
    with Script(OK) as server, client(server) as posthooks:
        posthooks.hooks.get("a")
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(f"posthook.{place}", interrupt)
            posthooks.hooks.get("b")
        assert repr(pool(posthooks)) == "<connections: 0 at work, 0 idle, at most 100>"
        assert posthooks.hooks.get("c").id == "x"


def test_an_interrupted_caller_leaves_the_line(monkeypatch):
    pool = posthook._Pool(1, 15)
    lease = pool.lease(time.monotonic() + 10)
    monkeypatch.setattr(posthook, "_wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        pool.lease(time.monotonic() + 10)
    pool.release(lease, None)
    assert repr(pool) == "<connections: 0 at work, 0 idle, at most 1>"


def interrupted(call, place):
    """Whether a call was cut short by Ctrl-C at the n-th place where a function begins or ends.

    An exception out of a trace function strikes as a signal's does.
    """

    def trace(frame, event, argument):
        if event not in ("call", "return") or frame.f_globals is not vars(posthook):
            return None
        if next(places) == place:
            raise KeyboardInterrupt
        return trace

    places, before = itertools.count(), sys.gettrace()
    sys.settrace(trace)
    with contextlib.suppress(KeyboardInterrupt):
        call()
    sys.settrace(before)
    return next(places) > place


@pytest.mark.parametrize("expiry", [0, 15])
def test_a_call_that_is_interrupted_anywhere_keeps_no_connection(monkeypatch, expiry):
    # What such a call leaves to the garbage collector need not be silent.
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: None)
    with Script(OK) as server, opened(max_connections=1, keepalive_expiry=expiry) as opener:
        get = client(server, http_client=opener, timeout=2).hooks.get
        places = 0
        while interrupted(lambda: get("a"), places):
            assert get("b").id == "x"
            places += 1
        gc.collect()
    assert places > 50


# Names and addresses.


def resolve(monkeypatch, *addresses):
    """Have every name resolve to these (family, port) pairs of loopback."""
    found = [(family, socket.SOCK_STREAM, 6, "", ("127.0.0.1", n)) for family, n in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args: found)


@pytest.mark.parametrize(
    "fault", [socket.gaierror(socket.EAI_NONAME, "unknown"), UnicodeError("label too long")]
)
def test_a_name_that_does_not_resolve_is_an_error_that_says_that_nothing_was_sent(
    monkeypatch, fault
):
    def fail(*args):
        raise fault

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with client("http://a.invalid") as posthooks:
        error = failure(posthooks.hooks.schedule, "/a", post_in="5m")
    assert (type(error), error.maybe_sent) == (posthook.PosthookConnectionError, False)
    assert str(error).startswith("a.invalid:80 cannot be reached: ")


@pytest.mark.parametrize("dead", ["refused", "silent", "no such family"])
def test_the_next_address_is_tried_where_the_first_is_dead(monkeypatch, dead):
    with Script(OK) as server, closed_port() as refused, full_backlog() as silent:
        first = {
            "refused": (socket.AF_INET, refused),
            "silent": (socket.AF_INET, silent),
            "no such family": (9999, refused),
        }
        resolve(monkeypatch, first[dead], (socket.AF_INET, server.port))
        with client("http://a.invalid", timeout=0.6) as posthooks:
            assert posthooks.hooks.get("a").id == "x"
    assert server.connections == 1


def test_the_last_address_tells_why_none_could_be_reached(monkeypatch):
    with full_backlog() as silent, closed_port() as refused:
        resolve(monkeypatch, (socket.AF_INET, silent), (socket.AF_INET, refused))
        with client("http://a.invalid", timeout=0.2) as posthooks:
            error = failure(posthooks.hooks.get, "a")
    assert type(error) is posthook.PosthookConnectionError
    assert isinstance(error.__cause__, ConnectionRefusedError)


# TLS.


def test_a_trusted_certificate_is_enough_and_the_connection_is_kept(tmp_path):
    context = ssl.create_default_context(cadata=CERTIFICATE)
    tls = server_tls(tmp_path)
    with Script(OK, tls=tls) as server, opened(ssl_context=context) as opener:
        posthooks = client(server, http_client=opener)
        assert posthooks.hooks.get("a").id == "x"
        assert posthooks.hooks.schedule("/b", post_in="5m").id == "x"
    assert server.connections == 1


def test_the_environment_says_which_certificates_are_trusted(secure):
    with Script(OK, tls=secure) as server, client(server) as posthooks:
        assert posthooks.hooks.get("a").id == "x"


@pytest.mark.parametrize(
    "certificate, trusted, host, reason",
    [
        (CERTIFICATE, None, "127.0.0.1", "self.signed"),
        (EXPIRED_CERTIFICATE, EXPIRED_CERTIFICATE, "127.0.0.1", "expired"),
        (CERTIFICATE, CERTIFICATE, "localhost", "not valid for 'localhost'"),
    ],
    ids=["self-signed", "expired", "another host's"],
)
def test_a_bad_certificate_is_an_error_before_anything_is_sent_and_is_not_tried_again(
    tmp_path, certificate, trusted, host, reason
):
    context = ssl.create_default_context(cadata=trusted)
    tls = server_tls(tmp_path, certificate)
    with Script(OK, tls=tls) as server, opened(ssl_context=context) as opener:
        posthooks = client(f"https://{host}:{server.port}", http_client=opener, max_retries=2)
        error = failure(posthooks.hooks.get, "a")
    assert (type(error), error.maybe_sent) == (posthook.PosthookConnectionError, False)
    assert re.search(reason, str(error))
    assert server.requests == []
    assert server.connections == 1


@pytest.mark.parametrize("is_reset", [False, True], ids=["close", "reset"])
@pytest.mark.parametrize(
    "data",
    [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", bytes(50), b"\x16\x03\x03\x00\x7a\x02\x00"],
    ids=["nothing", "plain HTTP", "garbage", "half a handshake"],
)
def test_whatever_is_no_tls_is_an_error_before_anything_is_sent(data, is_reset):
    def play(connection):
        received.append(connection.recv(65_536))
        connection.sendall(data)
        if is_reset:
            reset_at_close(connection)

    received = []
    with Raw(play) as server, client(f"https://127.0.0.1:{server.port}") as posthooks:
        error = failure(posthooks.hooks.get, "a")
    assert (type(error), error.maybe_sent) == (posthook.PosthookConnectionError, False)
    assert b"pk_test" not in b"".join(received)


def test_without_the_ssl_module_only_https_fails(monkeypatch):
    monkeypatch.setitem(sys.modules, "ssl", None)
    with Script(OK) as server, client(server) as posthooks:
        assert posthooks.hooks.get("a").id == "x"
        with client(f"https://127.0.0.1:{server.port}") as secure:
            error = failure(secure.hooks.get, "a")
    assert "ssl" in str(error)
    assert error.maybe_sent is False
    assert server.connections == 1


# Proxies.


def via(port):
    """An opener that goes through a proxy, as a user with a password."""
    return opened(proxy=f"http://user:pass%2Dword@127.0.0.1:{port}/")


CREDENTIALS = "Basic dXNlcjpwYXNzLXdvcmQ="  # user:pass-word


def test_a_proxy_is_asked_for_the_whole_url_of_a_plain_request():
    with Script(OK) as proxy, via(proxy.port) as opener:
        posthooks = client("http://a.invalid", http_client=opener)
        assert posthooks.hooks.get("a").id == "x"
        assert posthooks.hooks.get("b").id == "x"
    assert proxy.last.path == "http://a.invalid/v1/hooks/b"
    assert proxy.last.headers["host"] == "a.invalid"
    assert proxy.last.headers["proxy-authorization"] == CREDENTIALS
    assert proxy.connections == 1


def test_a_proxy_only_tunnels_what_is_sent_by_tls(secure):
    def play(connection):
        requests.append(read_request(connection.makefile("rb", 0)))
        connection.sendall(HEAD + b"\r\n")
        time.sleep(0.02)  # so that the handshake has to wait
        with secure.wrap_socket(connection, True) as tunnel, tunnel.makefile("rb") as stream:
            while (request := read_request(stream)) is not None:
                requests.append(request)
                tunnel.sendall(OK)

    requests = []
    with Raw(play) as proxy, via(proxy.port) as opener:
        posthooks = client("https://127.0.0.1", http_client=opener)
        assert posthooks.hooks.get("a").id == "x"
        assert posthooks.hooks.get("b").id == "x"
    connect, first, second = requests
    assert (connect.method, connect.path) == ("CONNECT", "127.0.0.1:443")
    assert connect.headers == {"host": "127.0.0.1:443", "proxy-authorization": CREDENTIALS}
    assert (first.path, second.path) == ("/v1/hooks/a", "/v1/hooks/b")
    assert "proxy-authorization" not in first.headers


@pytest.mark.parametrize(
    "tunnel, text, attempts",
    [
        (framed(line="HTTP/1.1 407 No", body=b""), "answered HTTP 407", 1),
        (framed(line="HTTP/1.1 502 No", body=b"a page"), "answered HTTP 502", 1),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "answered no HTTP", 1),
        (framed("nonsense", body=b""), "answered no HTTP", 1),
        (Close(framed(*["a: b"] * 40_000)), "answered no HTTP", 1),
        (Close(HEAD), "answered no HTTP", 1),
        (HEAD + b"\r\nmore", "answered more than a tunnel", 1),
        (Close(), "cannot be reached", 3),
        (Reset(), "cannot be reached", 3),
        (Reset(HEAD + b"\r\n"), "cannot be reached", 3),
        (Close(HEAD + b"\r\n"), "cannot be reached", 3),
    ],
)
def test_a_proxy_that_makes_no_tunnel_is_an_error_without_its_password(
    pauses, tunnel, text, attempts
):
    with Script(tunnel) as proxy, via(proxy.port) as opener:
        posthooks = client("https://a.invalid", http_client=opener, max_retries=2)
        error = failure(posthooks.hooks.get, "a")
    assert (type(error), error.maybe_sent) == (posthook.PosthookConnectionError, False)
    assert text in str(error)
    assert proxy.connections == attempts


def test_a_407_to_a_plain_request_is_an_answer_like_any_other():
    refusal = answer({"error": "who are you?"}, 407)
    with Script(refusal) as proxy, opened(proxy=f"127.0.0.1:{proxy.port}") as opener:
        error = failure(client("http://a.invalid", http_client=opener).hooks.get, "a")
    assert (error.status_code, str(error)) == (407, "who are you?")


def test_a_proxy_that_refuses_the_connection_is_an_error():
    with closed_port() as port, via(port) as opener:
        posthooks = client("https://a.invalid", http_client=opener)
        error = failure(posthooks.hooks.schedule, "/a", post_in="5m")
    assert str(error).startswith("a.invalid:443 through a proxy cannot be reached")
    assert error.maybe_sent is False


@pytest.mark.parametrize("tunnel", [Stall(), Stall(HEAD)], ids=["silent", "half an answer"])
def test_a_call_ends_at_its_deadline_in_a_proxy(tunnel):
    with Script(tunnel) as proxy, via(proxy.port) as opener:
        posthooks = client("https://a.invalid", http_client=opener)
        error = failure(posthooks.hooks.get, "a", timeout=0.1)
    assert (type(error), error.maybe_sent) == (posthook.PosthookTimeoutError, False)


@pytest.mark.parametrize(
    "url",
    [
        "https://proxy:1",
        "socks5://proxy:1",
        "https://user:pass-word@proxy:1",
        "http://user:pass-word@",
        "http://user:pass-word@proxy:port",
        "http://user:pass-word@pro xy",
        "http://user:pass-word\u2100@[proxy",
        "http://user:pass-word@proxy\u2100:1",
    ],
)
def test_a_bad_proxy_is_refused_without_showing_its_password(url):
    with pytest.raises(ValueError) as caught:
        posthook.build_opener(proxy=url)
    assert "proxy" in str(caught.value)
    assert "pass-word" not in "".join(traceback.format_exception_only(ValueError, caught.value))


@pytest.mark.parametrize(
    "url, no_proxy, is_used",
    [
        ("http://a.invalid", "", True),
        ("HTTP://A.invalid", "", True),
        ("http://127.0.0.1.invalid", "", True),
        ("http://a.invalid", "b.invalid", True),
        ("http://a.invalid", "b.invalid,a.invalid", False),
        ("http://a.b.invalid", ".b.invalid", False),
        ("http://a.invalid", "*", False),
        ("http://127.0.0.1", "", False),
        ("http://127.1.2.3", "", False),
        ("http://localhost", "", False),
        ("http://[::1]", "", False),
    ],
)
def test_the_environments_proxy_takes_what_is_neither_loopback_nor_excepted(
    monkeypatch, url, no_proxy, is_used
):
    monkeypatch.setenv("http_proxy", "http://proxy.invalid")
    monkeypatch.setenv("no_proxy", no_proxy)
    with Script(OK) as server, client(url) as posthooks:
        resolve(monkeypatch, (socket.AF_INET, server.port))
        posthooks.hooks.get("a")
    assert server.last.path.startswith("http://") is is_used  # which is for a proxy


def test_an_explicit_proxy_takes_loopback_too():
    with Script(OK) as proxy, opened(proxy=f"127.0.0.1:{proxy.port}") as opener:
        client("http://127.0.0.1:1", http_client=opener).hooks.get("a")
    assert proxy.last.path == "http://127.0.0.1:1/v1/hooks/a"


def test_an_empty_proxy_means_none_whatever_the_environment_says(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://proxy.invalid")
    with Script(OK) as server, opened(proxy="") as opener:
        resolve(monkeypatch, (socket.AF_INET, server.port))
        client("http://a.invalid", http_client=opener).hooks.get("a")
    assert server.last.path == "/v1/hooks/a"


def test_a_bad_proxy_in_the_environment_is_an_error_without_its_password(monkeypatch):
    monkeypatch.setenv("https_proxy", "socks5://user:pass-word@127.0.0.1:1")
    with client("https://a.invalid") as posthooks:
        error = failure(posthooks.hooks.get, "a")
    assert str(error) == "https_proxy is no http://[user:password@]host:port"
    assert error.maybe_sent is False


# Fork.


def test_parent_and_child_go_on_with_one_client_after_a_fork(tls):
    with Script(OK, tls=tls) as server, client(server) as posthooks:
        posthooks.hooks.get("a")

        def go_on():
            assert posthooks.hooks.schedule("/b", post_in="5m").id == "x"
            assert repr(pool(posthooks)) == "<connections: 0 at work, 1 idle, at most 100>"
            posthooks.close()

        in_a_child(go_on)
        assert posthooks.hooks.schedule("/c", post_in="5m").id == "x"
    assert server.connections == 2


def test_a_child_has_leases_of_its_own():
    with Script(OK) as server, opened(max_connections=1) as opener:
        lease = pool(opener).lease(time.monotonic() + 10)
        in_a_child(lambda: opener.open(server.url, timeout=5))
        assert repr(pool(opener)) == "<connections: 1 at work, 0 idle, at most 1>"
        pool(opener).release(lease, None)


def test_a_child_does_not_cut_its_parents_calls():
    lifeline = posthook._Lifeline()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        lifeline.hold(lambda: posthook._shut_down(ours))
        in_a_child(lifeline.cut)
        lifeline._process -= 1  # as it is in the child, whose lines are not measured
        lifeline.cut()
        ours.sendall(b"still here")
        assert theirs.recv(100) == b"still here"


def test_in_a_child_a_pool_begins_anew(monkeypatch):
    with Script(OK) as server, client(server) as posthooks:
        posthooks.hooks.get("a")
        sock = pool(posthooks)._idle[0]._sock
        lease = pool(posthooks).lease(time.monotonic() + 10)
        monkeypatch.setattr(posthook, "_to_renew", weakref.WeakSet([pool(posthooks)]))
        posthook._renew_after_fork()
        assert repr(pool(posthooks)) == "<connections: 0 at work, 0 idle, at most 100>"
        del lease  # the copy of what another thread of the parent holds
        assert sock.fileno() == -1


def test_a_connection_of_another_process_is_not_used():
    with Script(OK) as server, client(server) as posthooks:
        posthooks.hooks.get("a")
        pool(posthooks)._idle[0]._process -= 1
        posthooks.hooks.get("b")
    assert server.connections == 2


def test_a_call_that_was_cut_before_it_began_sends_nothing(monkeypatch):
    lifeline = posthook._Lifeline()
    lifeline.cut()
    with Script(OK) as server, client(server) as posthooks:
        for _ in range(2):  # on a new connection, and on an idle one
            with monkeypatch.context() as patch:
                patch.setattr(posthook._this_thread, "lifeline", lifeline)
                assert str(failure(posthooks.hooks.get, "a")) == "the call was cancelled"
            posthooks.hooks.get("b")
    assert [request.path for request in server.requests] == ["/v1/hooks/b"] * 2


# The opener by itself.


def test_the_opener_answers_as_urllib_does():
    with Script(answer(b"no", 404, x_y="z")) as server, opened() as opener:
        response = opener.open(f"{server.url}/a?b#c", timeout=5)
    assert (response.status, response.code, response.getcode()) == (404, 404, 404)
    assert (response.reason, response.msg) == ("Whatever", "Whatever")
    assert response.headers["X-Y"] == "z"
    assert response.info() is response.headers
    assert response.geturl() == f"{server.url}/a?b#c"
    assert response.read() == b"no"
    assert server.last.path == "/a?b"
    host = f"127.0.0.1:{server.port}"
    assert server.last.headers == {"host": host, "accept-encoding": "identity"}


@pytest.mark.parametrize("data", [b"abc", bytearray(b"abc"), [b"a", b"bc"], iter([b"abc"])])
def test_the_opener_sends_bodies_of_bytes_and_of_pieces(data):
    headers = {"Content-Length": "99"}  # whoever sets it: the right one is sent
    with Script(answer(b"")) as server, opened() as opener:
        opener.open(urllib.request.Request(server.url, data, headers))
    assert server.last.headers["content-length"] == "3"
    assert server.last.body == b"abc"
    assert server.last.path == "/"


def test_the_opener_says_that_a_post_without_a_body_has_none():
    with Script(answer(b"")) as server, opened() as opener:
        opener.open(urllib.request.Request(f"{server.url}?a", method="POST"))
    assert server.last.headers["content-length"] == "0"
    assert server.last.path == "/?a"


def test_the_opener_waits_for_no_body_after_head():
    with Script(framed("content-length: 100", body=b"")) as server, opened() as opener:
        request = urllib.request.Request(server.url, method="HEAD")
        assert opener.open(request, timeout=10).read() == b""
        assert repr(pool(opener)) == "<connections: 0 at work, 1 idle, at most 100>"


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://a.invalid/", "data:,a"])
def test_the_opener_opens_http_and_https_alone(url):
    with opened() as opener, pytest.raises(ValueError, match="only http: and https: URLs"):
        opener.open(url)


@pytest.mark.parametrize(
    "url, method, headers",
    [
        ("/", "GET", {"X": "a\r\nY: b"}),
        ("/", "GET", {"X": "a\nY: b"}),
        ("/", "GET", {"X": "a\rb"}),
        ("/", "GET", {"X": "a\0b"}),
        ("/", "GET", {"X\r\nY": "b"}),
        ("/", "GET", {"X Y": "b"}),
        ("/", "GET", {"": "b"}),
        ("/", "GET", {"X": "\u20ac"}),
        ("/", "GET / HTTP/1.1\r\nX: y", {}),
        ("/", "GET /a", {}),
        ("/a b", "GET", {}),
        ("/\u20ac", "GET", {}),
    ],
)
def test_nothing_that_would_be_another_request_is_sent(url, method, headers):
    with Script(OK) as server, opened() as opener:
        request = urllib.request.Request(server.url + url, None, headers, method=method)
        with pytest.raises(ValueError):
            opener.open(request)
        assert repr(pool(opener)) == "<connections: 0 at work, 0 idle, at most 100>"
    assert server.connections == 0


@pytest.mark.parametrize(
    "options",
    [
        {"max_connections": 0},
        {"max_connections": True},
        {"max_connections": 1.5},
        {"keepalive_expiry": -1},
        {"keepalive_expiry": float("inf")},
        {"keepalive_expiry": float("nan")},
    ],
)
def test_an_opener_with_limits_that_make_no_sense_is_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        posthook.build_opener(**options)


def test_other_handlers_fit_in_with_ours():
    class Other(urllib.request.BaseHandler):
        def __init__(self, order):
            self.handler_order = order

        def http_open(self, request):
            asked.append(self.handler_order)

    asked = []
    with Script(OK) as server, opened() as opener:
        shared = urllib.request.OpenerDirector()
        for each in (Other(900), Other(100), *opener.handlers, Other(400), Other(600)):
            shared.add_handler(each)
        assert shared.open(server.url).read() == SMALL
    assert asked == [100, 400]


def test_handlers_that_are_added_to_our_opener_see_each_call():
    class Stamp(urllib.request.BaseHandler):
        handler_order = 600

        def http_request(self, request):
            request.add_header("Stamp", "yes")
            return request

    with Script(OK) as server, opened() as opener:
        opener.add_handler(Stamp())
        client(server, http_client=opener).hooks.get("a")
    assert server.last.headers["stamp"] == "yes"


def test_an_open_that_replaces_our_openers_sees_each_call():
    with Script(OK) as server, opened() as opener, client(server, http_client=opener) as posthooks:
        posthooks.hooks.get("a")
        real, seen = opener.open, []
        opener.open = lambda request, timeout: (
            seen.append(request) or real(request, timeout=timeout)
        )
        posthooks.hooks.get("b")
    assert [request.full_url for request in seen] == [f"{server.url}/v1/hooks/b"]


# What http_client may be.


class Answered:
    """A response as httpx and requests have it."""

    def __init__(self, status_code, headers, content):
        self.status_code, self.headers, self.content = status_code, headers, content


class LikeRequests:
    """A client with the ``request`` of requests.Session; it follows redirects by default."""

    def __init__(self):
        self.headers = {"X-API-Key": "theirs", "Accept": "theirs"}
        self.calls = []

    def request(self, method, url, headers=None, data=None, timeout=None, allow_redirects=True):
        self.calls.append({"method": method, "url": url, "timeout": timeout, "data": data})
        assert allow_redirects is False
        opener = urllib.request.OpenerDirector()  # it has no handler for redirects and errors
        opener.add_handler(urllib.request.HTTPHandler())
        headers = {**self.headers, **headers}
        sent = urllib.request.Request(url, data, headers, method=method)
        with opener.open(sent, timeout=timeout) as response:
            return Answered(response.status, response.headers, response.read())


class LikeHttpx(LikeRequests):
    """A client with the ``request`` of httpx.Client."""

    def request(self, method, url, *, content=None, headers=None, timeout=0, follow_redirects=True):
        return super().request(method, url, headers, content, timeout, follow_redirects)


@pytest.fixture(params=["urllib", "posthook", "requests", "httpx"])
def foreign(request):
    """A client of each kind, with no proxy."""
    if request.param == "urllib":
        return urllib.request.build_opener(urllib.request.ProxyHandler({}))
    kinds = {"posthook": posthook.build_opener, "requests": LikeRequests, "httpx": LikeHttpx}
    return kinds[request.param]()


def test_any_client_sends_the_calls(foreign):
    with Script(ok(HOOK, posthook_hookquota_limit=7)) as server:
        posthooks = client(server, http_client=foreign)
        hook = posthooks.hooks.schedule("/a", post_in="5m", data={"n": 1})
    assert (hook.id, hook.quota.limit) == (HOOK["id"], 7)
    assert server.last.json == {"path": "/a", "data": {"n": 1}, "postIn": "5m"}
    assert server.last.headers["x-api-key"] == "pk_test"
    assert server.last.headers["content-type"] == "application/json"
    assert server.last.headers["user-agent"].startswith("posthook-stdlib/")


@pytest.mark.parametrize(
    "step, expected",
    [
        (Close(answer({"error": "no such hook"}, 404)), posthook.NotFoundError),
        (Close(OK[:-5]), posthook.PosthookConnectionError),
        (Stall(), posthook.PosthookTimeoutError),
    ],
    ids=["an error", "a lost connection", "a timeout"],
)
def test_whatever_fails_is_ours_by_any_client(foreign, step, expected):
    with Script(step) as server:
        error = failure(client(server, http_client=foreign).hooks.get, "a", timeout=0.1)
    assert type(error) is expected
    assert getattr(error, "maybe_sent", True) is True


def test_any_client_is_left_open_and_can_be_shared(foreign):
    with Script(OK) as server:
        with client(server, http_client=foreign) as first:
            first.hooks.get("a")
        second = client(server, api_key="pk_second", http_client=foreign)
        assert second.hooks.get("b").id == "x"
        assert server.last.headers["x-api-key"] == "pk_second"


@pytest.mark.parametrize("kind", [LikeRequests, LikeHttpx])
def test_a_client_with_request_follows_no_redirect_and_keeps_its_own_headers(kind):
    foreign = kind()
    with Script(answer(b"", 302, location="/elsewhere")) as server:
        error = failure(client(server, http_client=foreign).hooks.get, "a", timeout=3)
    assert error.status_code == 302
    assert len(server.requests) == 1
    assert foreign.headers == {"X-API-Key": "theirs", "Accept": "theirs"}
    assert server.last.headers["accept"] == "theirs"
    (call,) = foreign.calls
    assert 2 < call.pop("timeout") <= 3
    assert call == {"method": "GET", "url": f"{server.url}/v1/hooks/a", "data": None}


@pytest.mark.parametrize("foreign", ["urllib"], indirect=True)
def test_a_redirect_that_a_urllib_opener_follows_goes_without_the_key(foreign):
    with Script(OK) as other, Script(answer(b"", 302, location=f"{other.url}/b")) as server:
        assert client(server, http_client=foreign).hooks.get("a").id == "x"
    assert server.last.headers["x-api-key"] == "pk_test"
    assert "x-api-key" not in other.last.headers


def test_an_answer_larger_than_the_limit_is_an_error_of_any_client(monkeypatch, foreign):
    monkeypatch.setattr(posthook, "_MOST_BYTES", 100_000)
    with Script(answer(bytes(100_001))) as server:
        error = failure(client(server, http_client=foreign).hooks.get, "a")
    assert "larger than 100000 bytes" in str(error)


def because(error, cause):
    error.__cause__ = cause
    return error


QUIET = {"__repr__": lambda error: "Quiet()"}


@pytest.mark.parametrize(
    "raised, expected, is_shown",
    [
        (RuntimeError("no luck"), posthook.PosthookConnectionError, True),
        (TimeoutError("late"), posthook.PosthookTimeoutError, True),
        (type("ReadTimeout", (Exception,), {})("late"), posthook.PosthookTimeoutError, True),
        (urllib.error.URLError(TimeoutError()), posthook.PosthookTimeoutError, True),
        (ValueError("bad header: 'pk_test'"), posthook.PosthookConnectionError, False),
        (because(ValueError("no"), KeyError("pk_test")), posthook.PosthookConnectionError, False),
        (posthook.PosthookConnectionError("mine"), posthook.PosthookConnectionError, True),
        (type("Quiet", (Exception,), QUIET)("pk_test"), posthook.PosthookConnectionError, False),
        (RecursionError("deep"), posthook.PosthookConnectionError, True),
    ],
)
def test_whatever_a_client_raises_becomes_ours_without_the_key(raised, expected, is_shown):
    class Failing:
        def request(self, *args, **kwargs):
            raise raised

    error = failure(client("http://a.invalid", http_client=Failing()).hooks.get, "a")
    assert type(error) is expected
    assert error.maybe_sent is True
    assert (str(raised) in str(error)) is is_shown
    assert error is raised or (error.__cause__ is raised) is is_shown


def test_a_key_is_not_shown_in_another_spelling_either():
    class Failing:
        def request(self, *args, headers, **kwargs):
            raise ValueError(headers)

    posthooks = client("http://a.invalid", api_key="pk\\'\\test", http_client=Failing())
    error = failure(posthooks.hooks.get, "a")
    assert str(error) == "the http_client failed: ValueError"
    assert error.__cause__ is None


def test_a_client_whose_signature_cannot_be_read_is_called_as_requests_is():
    class Odd:
        __signature__ = "none"

        def __call__(self, method, url, headers, data, timeout, allow_redirects):
            return Answered(200, {"A": "b"}, bytearray(SMALL))

    class Client:
        request = Odd()

    assert posthook.Posthook("pk", http_client=Client()).hooks.get("a").id == "x"


# ==================================================================================================
# 7. The client
# ==================================================================================================


RANGE = ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z", 10)

ONCE = {  # the calls that must not be sent twice
    "schedule": lambda hooks, **options: hooks.schedule("/x", post_in="5m", **options),
    "retry": lambda hooks, **options: hooks.bulk.retry(["a"], **options),
    "replay": lambda hooks, **options: hooks.bulk.replay(["a"], **options),
    "cancel": lambda hooks, **options: hooks.bulk.cancel(["a"], **options),
    "retry_by_filter": lambda hooks, **options: hooks.bulk.retry_by_filter(*RANGE, **options),
    "replay_by_filter": lambda hooks, **options: hooks.bulk.replay_by_filter(*RANGE, **options),
    "cancel_by_filter": lambda hooks, **options: hooks.bulk.cancel_by_filter(*RANGE, **options),
}
REPEATABLE = {
    "get": lambda hooks, **options: hooks.get("a", **options),
    "list": lambda hooks, **options: hooks.list(**options),
    "list_all": lambda hooks, **options: list(hooks.list_all(**options)),
    "delete": lambda hooks, **options: hooks.delete("a", **options),
}
EVERY_CALL = {**ONCE, **REPEATABLE}


def hook(id, **changes):
    return {**HOOK, "id": id, **changes}


def echo(request):
    """A step: the hook that was asked for."""
    return ok(hook(request.path.rpartition("/")[2]))


# The constructor


@pytest.mark.parametrize(
    ("argument", "sent"),
    [
        (None, "pk_environment"),
        ("", "pk_environment"),
        ("  ", "pk_environment"),
        ("\t~ any thing! \n", "~ any thing!"),
    ],
)
def test_the_key_is_the_argument_or_the_environments_stripped(connect, monkeypatch, argument, sent):
    monkeypatch.setenv("POSTHOOK_API_KEY", " pk_environment\n")
    with Script(OK) as server, connect(server, api_key=argument) as posthooks:
        monkeypatch.setenv("POSTHOOK_API_KEY", "too late")
        posthooks.hooks.get("a")
    assert server.last.headers["x-api-key"] == sent


@pytest.mark.parametrize("argument", [None, "", " \n"])
def test_a_client_without_a_key_is_refused(make, monkeypatch, argument):
    monkeypatch.setenv("POSTHOOK_API_KEY", " ")
    with pytest.raises(posthook.AuthenticationError, match="No API key"):
        make(argument)


@pytest.mark.parametrize("key", ["pk_se\ncret", "pk_se\0cret", "pk_sécret", "pk_se\x7fcret"])
def test_a_key_that_no_header_can_hold_is_refused_without_showing_it(make, key):
    with pytest.raises(ValueError, match="API key holds a control") as refusal:
        make(key)
    assert "cret" not in str(refusal.value)


@pytest.mark.parametrize("key", [b"pk", 1, ["pk"]])
def test_a_key_that_is_no_text_is_refused(make, key):
    with pytest.raises(TypeError, match="api_key is text"):
        make(key)


@pytest.mark.parametrize("url", ["", "/", "//", "/v1", "/v1/", "/v1/v1", "/api", "/api/v1"])
def test_the_base_url_loses_slashes_and_one_v1_at_its_end(connect, url):
    with Script(OK) as server, connect(server, base_url=server.url + url) as posthooks:
        posthooks.hooks.get("a")
    prefix = {"/v1/v1": "/v1", "/api": "/api", "/api/v1": "/api"}.get(url, "")
    assert server.last.path == f"{prefix}/v1/hooks/a"


@pytest.mark.parametrize("argument", [None, ""])
def test_the_base_url_comes_from_the_environment_once(connect, monkeypatch, argument):
    with Script(ok(HOOK)) as server:
        monkeypatch.setenv("POSTHOOK_BASE_URL", f" {server.url}/v1\n")
        with connect(server, base_url=argument) as posthooks:
            monkeypatch.setenv("POSTHOOK_BASE_URL", "http://127.0.0.1:1")
            posthooks.hooks.get("a")
    assert server.last.path == "/v1/hooks/a"


def test_the_service_is_called_unless_told_otherwise(make):
    with make("pk") as posthooks:
        assert "base_url='https://api.posthook.io'" in repr(posthooks)


@pytest.mark.parametrize(
    "url",
    [
        "api.posthook.io",
        "http://host:99999",
        "http://user:password@host",
        "http://host/?key=a",
        "http://host/#a",
    ],
)
def test_a_bad_base_url_is_refused(make, url):
    with pytest.raises(ValueError, match="base_url"):
        make("pk", base_url=url)


BAD_TIMEOUTS = [0, -1, float("nan"), float("inf"), True, "3", (1, 2)]


@pytest.mark.parametrize("timeout", [*BAD_TIMEOUTS, None])
def test_a_timeout_that_is_no_positive_number_is_refused(make, timeout):
    with pytest.raises(ValueError, match="timeout is a positive, finite number"):
        make("pk", timeout=timeout)


@pytest.mark.parametrize("max_retries", [-1, 1.0, True, None, "2"])
def test_a_number_of_retries_that_is_none_is_refused(make, max_retries):
    with pytest.raises(ValueError, match="max_retries is a whole number"):
        make("pk", max_retries=max_retries)


@pytest.mark.parametrize("http_client", ["http://proxy", object(), 0])
def test_an_http_client_that_cannot_send_is_refused(make, http_client):
    with pytest.raises(TypeError, match="http_client is an urllib opener"):
        make("pk", http_client=http_client)


def test_the_sync_client_refuses_an_async_http_client():
    with pytest.raises(TypeError, match="goes with AsyncPosthook"):
        posthook.Posthook("pk", http_client=AsyncRequester())


def test_making_a_client_opens_nothing(connect):
    with Script(OK) as server:
        before = threading.active_count()
        with connect(server):
            assert threading.active_count() == before
    assert server.connections == 0


def test_a_client_is_its_own_context_manager():
    posthooks = posthook.Posthook("pk")
    with posthooks as entered:
        assert entered is posthooks
    assert not hasattr(posthooks, "__aenter__")


def test_closing_twice_is_fine_and_a_call_afterwards_is_an_error(connect):
    with Script(OK) as server, connect(server) as posthooks:
        posthooks.close()
        posthooks.close()
        error = failure(posthooks.hooks.get, "a")
    assert type(error) is posthook.PosthookError
    assert "this client is closed" in str(error)
    assert server.requests == []


@pytest.mark.parametrize(
    "argument, environment",
    [("ph_sk_b", ""), (["ph_sk_a", "ph_sk_b"], ""), (None, "ph_sk_a, ph_sk_b")],
)
def test_signatures_use_the_signing_keys(make, monkeypatch, argument, environment):
    monkeypatch.setenv("POSTHOOK_SIGNING_KEY", environment)
    headers = posthook.SignaturesService("ph_sk_b").sign(b"{}")
    with make("pk", signing_key=argument) as posthooks:
        assert posthooks.signatures.parse_delivery(b"{}", headers).body == b"{}"


def test_a_repr_tells_the_state_and_no_secret(connect):
    with Script(OK) as server, connect(server, signing_key="ph_sk_test") as posthooks:
        posthooks.hooks.get("a")
        text = repr(posthooks)
    assert f"base_url='{server.url}', <connections: 0 at work, 1 idle, at most 100>" in text
    assert "pk_test" not in text
    assert "ph_sk_test" not in text


# The calls


def test_a_hook_is_scheduled_and_returned_with_its_quota(connect):
    step = answer({"data": HOOK}, 201, posthook_hookquota_limit=100, posthook_hookquota_usage=1)
    with Script(step) as server, connect(server) as posthooks:
        hook = posthooks.hooks.schedule("/p", post_in="5m", data=[1])
    assert (hook.id, hook.quota) == (HOOK["id"], posthook.QuotaInfo(100, 1, 0, None))
    assert server.last.json == {"path": "/p", "data": [1], "postIn": "5m"}
    assert server.last.headers["x-api-key"] == "pk_test"


def test_a_wrong_argument_is_refused_before_anything_is_sent(connect):
    with Script(ok(HOOK)) as server, connect(server) as posthooks:
        with pytest.raises(ValueError, match="Exactly one scheduling mode"):
            posthooks.hooks.schedule("/x")
        with pytest.raises(ValueError, match="hook id is required"):
            posthooks.hooks.get("")
        with pytest.raises(TypeError, match="pass \\[id\\]"):
            posthooks.hooks.bulk.retry("a")
    assert server.connections == 0


USER_AGENT = (
    f"posthook-stdlib/{posthook.__version__} (Python {sys.version.split()[0]}; {platform.system()})"
)


def test_a_hook_is_fetched_by_its_id(connect):
    with Script(ok(HOOK)) as server, connect(server) as posthooks:
        hook = posthooks.hooks.get("a/b")
    assert hook == posthook.Hook.from_dict(HOOK)
    assert (server.last.method, server.last.path) == ("GET", "/v1/hooks/a%2Fb")
    assert server.last.headers == {
        "host": f"127.0.0.1:{server.port}",
        "accept-encoding": "identity",
        "user-agent": USER_AGENT,
        "x-api-key": "pk_test",
    }


def test_one_page_is_listed_with_its_cursor(connect):
    page = answer({"data": [HOOK], "meta": {"cursor": "c2", "totalItems": 5}})
    with Script(page) as server, connect(server) as posthooks:
        hooks = posthooks.hooks.list()
    assert hooks == [posthook.Hook.from_dict(HOOK)]
    assert (hooks.cursor, hooks.total_items) == ("c2", 5)
    assert (server.last.method, server.last.path) == ("GET", "/v1/hooks")


def test_list_all_asks_with_its_filters(connect):
    with Script(ok([])) as server, connect(server) as posthooks:
        hooks = posthooks.hooks.list_all(
            status="failed",
            post_at_after="a",
            post_at_before="b",
            created_at_after="c",
            created_at_before="d",
        )
        assert list(hooks) == []
    assert dict(parse_qsl(urlsplit(server.last.path).query)) == {
        "status": "failed",
        "limit": "100",
        "sortBy": "postAt",
        "sortOrder": "ASC",
        "postAtAfter": "a",
        "postAtBefore": "b",
        "createdAtAfter": "c",
        "createdAtBefore": "d",
    }


TWO_PAGES = [
    answer({"data": [hook("a"), hook("b")], "meta": {"cursor": "2"}}),
    answer({"data": [hook("c")], "meta": {}}),
]


def test_list_all_gives_the_hooks_of_every_page(connect):
    with Script(*TWO_PAGES) as server, connect(server) as posthooks:
        ids = [hook.id for hook in posthooks.hooks.list_all(page_size=2)]
    assert ids == ["a", "b", "c"]
    assert "cursor=2" in server.last.path
    assert len(server.requests) == 2


def test_list_all_asks_for_no_page_before_it_is_needed(connect):
    with Script(*TWO_PAGES) as server, connect(server) as posthooks:
        hooks = posthooks.hooks.list_all(page_size=2)
        assert len(server.requests) == 0
        assert [next(hooks).id, next(hooks).id] == ["a", "b"]
        assert len(server.requests) == 1
        hooks.close()


def test_list_all_refuses_a_bad_page_size_at_once(make):
    with make("pk") as posthooks, pytest.raises(ValueError, match="page_size"):
        posthooks.hooks.list_all(page_size=1001)


@pytest.mark.parametrize(
    "step",
    [
        ok({}),
        answer(b"no JSON"),
        b"HTTP/1.1 204 No Content\r\n\r\n",
        answer(b"", 204),
        answer(b"", 205),
        answer({"error": "none"}, 404),
    ],
)
def test_a_hook_is_deleted_or_gone_already(connect, step):
    with Script(step) as server, connect(server) as posthooks:
        assert posthooks.hooks.delete("a") is None
        assert posthooks.hooks.delete("b") is None
    assert (server.last.method, server.last.path) == ("DELETE", "/v1/hooks/b")
    assert server.connections == 1


@pytest.mark.parametrize("action", ["retry", "replay", "cancel"])
def test_a_bulk_action_takes_a_range(connect, action):
    with Script(ok({"affected": 2})) as server, connect(server) as posthooks:
        call = getattr(posthooks.hooks.bulk, f"{action}_by_filter")
        result = call(*RANGE, endpoint_key="/x", sequence_id="s")
    assert result == posthook.BulkActionResult(affected=2)
    assert (server.last.method, server.last.path) == ("POST", f"/v1/hooks/bulk/{action}")
    assert server.last.json == {
        "startTime": RANGE[0],
        "endTime": RANGE[1],
        "limit": 10,
        "endpointKey": "/x",
        "sequenceID": "s",
    }


# Timeouts


@pytest.mark.parametrize("name", EVERY_CALL)
def test_the_timeout_of_a_call_replaces_the_clients(connect, name):
    with Script(OK) as server, connect(server) as posthooks:
        error = failure(EVERY_CALL[name], posthooks.hooks, timeout=1e-9)
    assert (type(error), error.maybe_sent) == (posthook.PosthookTimeoutError, False)


def test_a_call_takes_no_longer_than_the_clients_timeout(connect):
    with Script(Stall()) as server, connect(server, timeout=0.2) as posthooks:
        error = failure(posthooks.hooks.get, "a")
    assert type(error) is posthook.PosthookTimeoutError
    assert "did not answer in time" in str(error)


# Retries


def reply(status, **headers):
    return posthook._Answer(status, {name.replace("_", "-"): v for name, v in headers.items()}, b"")


def lost(maybe_sent=True, final=False):
    error = posthook.PosthookConnectionError("lost", maybe_sent=maybe_sent)
    return posthook._final(error) if final else error


@pytest.mark.parametrize(
    ("outcome", "attempt", "of_get", "of_schedule"),
    [
        (reply(500), 0, 0.5, None),
        (reply(502), 1, 1.0, None),
        (reply(503), 2, None, None),  # the last attempt
        (reply(504), 0, 0.5, None),
        (reply(501), 0, None, None),
        (reply(400), 0, None, None),
        (reply(404), 0, None, None),
        (reply(302), 0, None, None),
        (reply(503, retry_after="7"), 1, 7.0, None),
        (reply(503, retry_after="soon"), 0, 0.5, None),
        (reply(503, retry_after="7"), 2, None, None),
        (reply(503, retry_after="Thu, 01 Jan 1970 00:00:09 GMT"), 0, 9.0, None),
        (reply(404, retry_after="7"), 0, None, None),
        (reply(429), 0, None, None),
        (reply(429, retry_after="7"), 0, 7.0, None),
        (lost(), 0, 0.5, None),
        (lost(), 1, 1.0, None),
        (lost(), 2, None, None),
        (lost(maybe_sent=False), 0, 0.5, 0.5),
        (lost(maybe_sent=False), 2, None, None),
        (lost(maybe_sent=False, final=True), 0, None, None),
        (posthook.PosthookTimeoutError("slow", maybe_sent=False), 0, 0.5, 0.5),
    ],
    ids=repr,
)
def test_the_retry_rule(outcome, attempt, of_get, of_schedule):
    for repeatable, pause in ((True, of_get), (False, of_schedule)):
        call = posthook._Call("POST", "/v1/hooks", repeatable=repeatable)
        assert posthook._retry_pause(call, outcome, attempt, 2, 1.0) == pause


@pytest.mark.parametrize(
    ("attempt", "retries", "jitter", "pause"),
    [
        (0, 1, 1.0, 0.5),
        (0, 2, 0.0, 0.25),
        (1, 2, 1.0, 1.0),
        (0, 3, 1.0, 0.25),
        (2, 3, 1.0, 1.0),
        (0, 5000, 1.0, 0.0),
        (4999, 5000, 1.0, 1.0),
    ],
)
def test_pauses_double_up_to_one_second_less_at_most_half(attempt, retries, jitter, pause):
    call = posthook._Call("GET", "/v1/hooks")
    assert posthook._retry_pause(call, lost(), attempt, retries, jitter) == pause


ANSWERS = {"get": HOOK, "list": [HOOK], "list_all": [HOOK], "delete": {}}


@pytest.mark.parametrize("name", REPEATABLE)
def test_a_repeatable_call_survives_two_faults(connect, pauses, name):
    steps = answer({}, 503), Reset(b"HTTP/1.1 200"), ok(ANSWERS[name])
    with Script(*steps) as server, connect(server, max_retries=2) as posthooks:
        REPEATABLE[name](posthooks.hooks)
    assert len(server.requests) == 3
    assert len(pauses) == 2
    assert len({(request.method, request.path) for request in server.requests}) == 1


@pytest.mark.parametrize("max_retries", [0, 1, 2])
def test_max_retries_counts_the_attempts_after_the_first(connect, pauses, max_retries):
    with Script(answer({}, 503)) as server, connect(server, max_retries=max_retries) as posthooks:
        error = failure(posthooks.hooks.get, "a")
    assert type(error) is posthook.InternalServerError
    assert (len(server.requests), len(pauses)) == (max_retries + 1, max_retries)


@pytest.mark.parametrize("step", [answer({}, 503), Reset(b"HTTP/1.1 200")], ids=["503", "lost"])
@pytest.mark.parametrize("name", ONCE)
def test_schedule_and_bulk_actions_are_never_sent_twice(connect, pauses, name, step):
    with Script(step) as server, connect(server, max_retries=2) as posthooks:
        failure(ONCE[name], posthooks.hooks)
    assert len(server.requests) == 1


def test_a_kept_connection_that_dies_after_schedule_was_written_is_an_error(connect, pauses):
    with Script(OK, Close()) as server, connect(server, max_retries=2) as posthooks:
        posthooks.hooks.get("a")
        error = failure(posthooks.hooks.schedule, "/x", post_in="5m")
    assert error.maybe_sent is True
    assert (len(server.requests), server.connections) == (2, 1)


def test_what_did_not_reach_the_server_is_sent_again(connect, pauses, monkeypatch):
    def fail_once(*args):
        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    look_up = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", fail_once)
    with Script(OK) as server, connect(server, max_retries=1) as posthooks:
        assert posthooks.hooks.schedule("/x", post_in="5m").id == "x"
    assert (len(server.requests), len(pauses)) == (1, 1)


@pytest.mark.parametrize("status", [503, 429])
def test_retry_after_is_obeyed_where_it_ends_before_the_deadline(connect, pauses, status):
    steps = answer({}, status, retry_after=9), OK
    with Script(*steps) as server, connect(server, max_retries=1, timeout=10) as posthooks:
        posthooks.hooks.get("a")
    assert pauses == [9.0]


@pytest.mark.parametrize("status", [503, 429])
def test_retry_after_beyond_the_deadline_is_an_error_at_once(connect, pauses, status):
    step = answer({}, status, retry_after=11)
    with Script(step) as server, connect(server, max_retries=1, timeout=10) as posthooks:
        error = failure(posthooks.hooks.get, "a")
    assert (error.status_code, error.retry_after) == (status, 11.0)
    assert pauses == []


def test_a_pause_is_slept(connect, monkeypatch):
    monkeypatch.setattr(posthook, "_LAST_PAUSE", 0.08)
    with Script(answer({}, 503), OK) as server, connect(server, max_retries=1) as posthooks:
        started = time.monotonic()
        posthooks.hooks.get("a")
        assert time.monotonic() - started >= 0.02


# Logging


def records(caplog):
    return [(r.name, r.levelname, r.getMessage().rpartition(" (")[0]) for r in caplog.records]


def test_each_attempt_is_one_debug_record_without_the_query(connect, pauses, caplog):
    caplog.set_level(logging.DEBUG, "posthook")
    steps = answer({}, 503), Close(), ok([])
    with Script(*steps) as server, connect(server, max_retries=2) as posthooks:
        posthooks.hooks.list(status="pending")
    assert records(caplog) == [
        ("posthook", "DEBUG", "GET /v1/hooks -> 503"),
        ("posthook", "DEBUG", "GET /v1/hooks -> PosthookConnectionError"),
        ("posthook", "DEBUG", "GET /v1/hooks -> 200"),
    ]
    assert caplog.records[2].msg == "%s %s -> %d (%.3fs)"


def test_nothing_is_logged_where_nobody_has_imported_logging(monkeypatch):
    monkeypatch.delitem(sys.modules, "logging")
    with Script(OK) as server, client(server) as posthooks:
        posthooks.hooks.get("a")
    assert "logging" not in sys.modules


def test_a_call_on_a_path_prefix_is_logged_from_v1_on(caplog):
    caplog.set_level(logging.DEBUG, "posthook")
    with Script(OK) as server, client(f"{server.url}/x") as posthooks:
        posthooks.hooks.get("a")
    assert records(caplog) == [("posthook", "DEBUG", "GET /v1/hooks/a -> 200")]


def test_the_logger_is_left_as_it_is_made():
    logger = logging.getLogger("posthook")
    assert (logger.level, logger.handlers, logger.propagate) == (logging.NOTSET, [], True)


# ==================================================================================================
# 8. The async client
# ==================================================================================================


class AsyncRequester:
    """Stands for an httpx.AsyncClient: ``request`` is awaited, and says on which thread it ran.

    ``answers`` are statuses or exceptions; the last one repeats. None never answers.
    """

    def __init__(self, *answers):
        self.answers = list(answers)
        self.calls = []
        self.threads = set()
        self.cancelled = 0

    async def request(
        self, method, url, *, content=None, headers=None, timeout=None, follow_redirects=True
    ):
        self.calls.append((method, url, content, headers, timeout, follow_redirects))
        self.threads.add(threading.current_thread())
        outcome = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(outcome, Exception):
            raise outcome
        try:
            await (asyncio.sleep(0) if outcome else asyncio.Event().wait())
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return Answered(outcome, {}, json.dumps({"data": HOOK}).encode())


def on_a_loop(test):
    """Runs an async test."""

    @functools.wraps(test)
    def run(*args, **kwargs):
        asyncio.run(test(*args, **kwargs))

    return run


async_client = functools.partial(client, make=posthook.AsyncPosthook, timeout=60)


async def under_way(server, call, requests=1):
    """The task of a call, once so many requests have reached the server."""
    task = asyncio.ensure_future(call)
    await asyncio.to_thread(server.wait_for, requests)
    return task


async def begun(call):
    """The task of a call that is with a crew."""
    task = asyncio.ensure_future(call)
    await asyncio.sleep(0)
    return task


async def cancelled(task):
    """Cancel a task, and see that it ends so."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def crew(size=1):
    return contextlib.closing(posthook._Crew(size))


def workers():
    """The threads of crews that are alive."""
    return [thread for thread in threading.enumerate() if thread.name == "posthook"]


PAIRS = [
    (getattr(face, name), getattr(async_face, name))
    for face, async_face in (
        (posthook.HooksService, posthook.AsyncHooksService),
        (posthook.BulkActions, posthook.AsyncBulkActions),
    )
    for name in vars(face)
    if not name.startswith("_")
]


@pytest.mark.parametrize(("method", "awaited"), PAIRS, ids=lambda method: method.__name__)
def test_the_async_face_has_each_call_with_its_signature_and_docstring(method, awaited):
    parameters = inspect.signature(awaited).parameters
    assert parameters == inspect.signature(method).parameters
    assert awaited.__doc__ == method.__doc__
    assert awaited.__name__ == method.__name__
    assert inspect.iscoroutinefunction(awaited) == (method.__name__ != "list_all")


def test_both_constructors_take_the_same_arguments():
    signature = inspect.signature(posthook.AsyncPosthook)
    assert signature.parameters == inspect.signature(posthook.Posthook).parameters


@on_a_loop
async def test_an_async_client_is_its_own_context_manager():
    posthooks = posthook.AsyncPosthook("pk")
    async with posthooks as entered:
        assert entered is posthooks
    assert not hasattr(posthooks, "__enter__")


@on_a_loop
async def test_calls_one_after_another_use_one_thread_and_one_connection():
    with Script(OK) as server:
        async with async_client(server) as posthooks:
            assert "<threads: 0, at most 100>" in repr(posthooks)
            for _ in range(20):
                await posthooks.hooks.get("a")
            assert "<threads: 1, at most 100>" in repr(posthooks)
            assert len(workers()) == 1
    assert server.connections == 1


@on_a_loop
async def test_fifty_calls_at_once_use_fifty_threads_without_mixing_answers():
    def step(request):
        together.wait(10)
        return echo(request)

    together = threading.Barrier(50)
    ids = [str(number) for number in range(50)]
    with Script(step) as server:
        async with async_client(server) as posthooks:
            hooks = await asyncio.gather(*map(posthooks.hooks.get, ids))
            assert [hook.id for hook in hooks] == ids
            assert len(workers()) == 50


@on_a_loop
async def test_calls_beyond_the_number_of_threads_wait_for_one():
    go_on = threading.Event()
    with crew(2) as threads:
        calls = [await begun(threads.run(lambda: go_on.wait(10))) for _ in range(5)]
        assert len(workers()) == 2
        go_on.set()
        assert await asyncio.gather(*calls) == [True] * 5
        assert len(workers()) == 2


@on_a_loop
async def test_a_call_waits_for_a_thread_no_longer_than_its_timeout(monkeypatch):
    monkeypatch.setattr(posthook, "_MAX_CONNECTIONS", 1)
    with Script(Stall(), echo) as server:
        async with async_client(server) as posthooks:
            first = await under_way(server, posthooks.hooks.get("a"))
            with pytest.raises(posthook.PosthookTimeoutError, match="all threads") as caught:
                await posthooks.hooks.get("b", timeout=0.05)
            await cancelled(first)
            assert (await posthooks.hooks.get("c")).id == "c"
    assert caught.value.maybe_sent is False
    assert [request.path for request in server.requests] == ["/v1/hooks/a", "/v1/hooks/c"]


@on_a_loop
async def test_a_call_that_gets_its_thread_too_late_sends_nothing():
    go_on = threading.Event()
    with Script(OK) as server, client(server) as posthooks, crew() as threads:
        first = await begun(threads.run(lambda: go_on.wait(10)))
        second = await begun(threads.run(lambda: posthooks.hooks.get("a", timeout=0.02)))
        await asyncio.sleep(0.02)
        go_on.set()
        with pytest.raises(posthook.PosthookTimeoutError, match="before the call was sent"):
            await second
        assert await first
    assert server.requests == []


@on_a_loop
async def test_a_call_that_got_its_thread_in_time_is_left_to_its_own_timeout():
    def work():
        began.set()
        return go_on.wait(10)

    first_ends, began, go_on = threading.Event(), threading.Event(), threading.Event()
    with crew() as threads:
        first = await begun(threads.run(lambda: first_ends.wait(10)))
        second = await begun(threads.run(work, 0.02))
        first_ends.set()
        assert began.wait(10)  # holds up the event loop: the timer fires after this
        await asyncio.sleep(0.03)
        go_on.set()
        assert await asyncio.gather(first, second) == [True, True]


@on_a_loop
async def test_close_lets_a_call_under_way_end_and_its_connection_and_thread_then():
    def step(request):
        assert closed.wait(10)
        return OK

    closed = threading.Event()
    with Script(OK, step) as server:
        posthooks = async_client(server)
        await posthooks.hooks.get("a")
        call = await under_way(server, posthooks.hooks.get("b"), requests=2)
        await posthooks.close()
        await posthooks.close()
        closed.set()
        assert (await call).id == "x"
        assert "<connections: closed, 0 idle, at most 100>" in repr(posthooks)
    # `nothing_is_left` sees that the thread ends
    # `nothing_is_left` sees that the thread ends


def test_a_client_that_nobody_closed_takes_its_threads_along():
    async def forgetful(server):
        await async_client(server).hooks.get("a")

    with Script(OK) as server:
        asyncio.run(forgetful(server))
    gc.collect()
    # `nothing_is_left` sees that they end


@pytest.mark.parametrize("step", [Stall(), Stall(OK[:-1]), trickled(bytes(1000))])
@on_a_loop
async def test_a_cancelled_call_ends_with_its_connection_and_the_next_one_is_right(tls, step):
    with Script(step, OK, tls=tls) as server:
        async with async_client(server) as posthooks:
            await cancelled(await under_way(server, posthooks.hooks.get("a")))
            await asyncio.to_thread(server.wait_for_end)
            assert (await posthooks.hooks.get("b")).id == "x"
            await asyncio.to_thread(wait_until, lambda: "0 at work, 1 idle" in repr(posthooks))


@on_a_loop
async def test_a_call_that_is_cancelled_while_it_connects_ends_at_once(monkeypatch):
    def noted(sock, address):
        sockets.append(sock)
        return connect(sock, address)

    sockets, connect = [], socket.socket.connect
    with full_backlog() as port:
        monkeypatch.setattr(socket.socket, "connect", noted)
        async with async_client(f"http://127.0.0.1:{port}") as posthooks:
            call = asyncio.ensure_future(posthooks.hooks.get("a"))
            await asyncio.to_thread(wait_until, lambda: sockets and sockets[0].getsockname()[1])
            await cancelled(call)
        await asyncio.to_thread(wait_until, lambda: not workers())
    # `nothing_is_left` sees that the thread ends


@on_a_loop
async def test_a_call_that_is_cancelled_in_line_leaves_it():
    with Script(OK) as server, opened(max_connections=1) as opener:
        lease = pool(opener).lease(time.monotonic() + 10)
        async with async_client(server, http_client=opener) as posthooks:
            call = asyncio.ensure_future(posthooks.hooks.get("a"))
            await asyncio.to_thread(wait_until, lambda: pool(opener)._line)
            await cancelled(call)
            await asyncio.to_thread(wait_until, lambda: not pool(opener)._line)
        pool(opener).release(lease, None)
        assert repr(pool(opener)) == "<connections: 0 at work, 0 idle, at most 1>"


@on_a_loop
async def test_a_call_that_is_in_line_has_its_turn():
    with Script(OK) as server, opened(max_connections=1) as opener:
        lease = pool(opener).lease(time.monotonic() + 10)
        async with async_client(server, http_client=opener) as posthooks:
            call = asyncio.ensure_future(posthooks.hooks.get("a"))
            await asyncio.to_thread(wait_until, lambda: pool(opener)._line)
            pool(opener).release(lease, None)
            assert (await call).id == "x"


@on_a_loop
async def test_a_call_that_is_cancelled_while_it_pauses_sends_nothing_further(monkeypatch):
    def noted(event, seconds):
        pausing.set()
        return wait(event, seconds)

    pausing, wait = threading.Event(), posthook._wait
    monkeypatch.setattr(posthook, "_wait", noted)
    with Script(answer({}, 503, retry_after=30)) as server:
        async with async_client(server, max_retries=2) as posthooks:
            call = asyncio.ensure_future(posthooks.hooks.get("a"))
            await asyncio.to_thread(pausing.wait, 10)
            await cancelled(call)
        for thread in workers():
            await asyncio.to_thread(thread.join, 10)
    assert len(server.requests) == 1


@on_a_loop
async def test_a_call_that_is_cancelled_before_a_thread_took_it_is_not_made():
    go_on, made = threading.Event(), []
    with crew() as threads:
        first = await begun(threads.run(lambda: go_on.wait(10)))
        await cancelled(await begun(threads.run(lambda: made.append("second"))))
        go_on.set()
        assert await first
        await threads.run(lambda: made.append("third"))
    assert made == ["third"]


@on_a_loop
async def test_cancelling_a_call_over_a_sync_http_client_does_not_wait_for_it():
    class Requester:
        def request(self, method, url, **options):
            called.set()
            go_on.wait(10)
            raise OSError("too late")

    called, go_on = threading.Event(), threading.Event()
    async with posthook.AsyncPosthook("pk", http_client=Requester()) as posthooks:
        call = asyncio.ensure_future(posthooks.hooks.get("a"))
        await asyncio.to_thread(called.wait, 10)
        await cancelled(call)
    assert len(workers()) == 1
    go_on.set()


def test_one_client_serves_event_loops_one_after_another():
    with Script(echo) as server:
        posthooks = async_client(server)
        assert asyncio.run(posthooks.hooks.get("a")).id == "a"
        assert asyncio.run(posthooks.hooks.get("b")).id == "b"
        asyncio.run(posthooks.close())
    assert server.connections == 1


def test_one_client_serves_event_loops_at_once():
    async def get(first):
        ids = [f"{first}-{number}" for number in range(20)]
        hooks = await asyncio.gather(*map(posthooks.hooks.get, ids))
        return [hook.id for hook in hooks] == ids

    with Script(echo) as server, ThreadPoolExecutor(4) as threads:
        posthooks = async_client(server)
        assert list(threads.map(lambda n: asyncio.run(get(n)), range(4))) == [True] * 4
        asyncio.run(posthooks.close())


def test_a_thread_survives_an_event_loop_that_was_closed_under_its_call():
    def work():
        working.set()
        go_on.wait(10)

    working, go_on = threading.Event(), threading.Event()
    with crew() as threads:
        loop = asyncio.new_event_loop()
        call = loop.create_task(threads.run(work))
        loop.run_until_complete(asyncio.sleep(0))
        assert working.wait(10)
        loop.close()
        go_on.set()
        assert asyncio.run(threads.run(lambda: "next")) == "next"
    call._log_destroy_pending = False  # it is, and that is no news here
    del call
    gc.collect()


@on_a_loop
async def test_an_answer_that_comes_with_the_cancellation_reaches_nobody():
    done = threading.Event()
    with crew() as threads:
        call = await begun(threads.run(done.set))
        assert done.wait(10)  # holds up the event loop: the report comes after the cancellation
        await cancelled(call)
        await threads.run(lambda: None)


@pytest.mark.parametrize("error", [KeyError("a"), SystemExit(3), posthook.PosthookError("b")])
@on_a_loop
async def test_what_a_call_raises_reaches_its_caller(error):
    def fail():
        raise error

    with crew() as threads, pytest.raises(type(error)) as caught:
        await threads.run(fail)
    assert caught.value is error


@on_a_loop
async def test_a_stop_iteration_does_not_leave_the_caller_waiting():
    with crew() as threads, pytest.raises(RuntimeError, match="StopIteration"):
        await threads.run(lambda: next(iter([])))


@on_a_loop
async def test_a_call_runs_in_its_callers_context():
    request_id = contextvars.ContextVar("request_id")
    request_id.set("r1")
    with crew() as threads:
        assert await threads.run(request_id.get) == "r1"


def no_thread(thread):
    raise RuntimeError("can't start new thread")


@on_a_loop
async def test_a_thread_that_cannot_be_started_is_an_error_and_the_next_call_is_right(monkeypatch):
    with Script(echo) as server:
        async with async_client(server) as posthooks:
            with monkeypatch.context() as patch:
                patch.setattr(threading.Thread, "start", no_thread)
                with pytest.raises(posthook.PosthookConnectionError, match="no thread") as caught:
                    await posthooks.hooks.get("a")
            assert (await posthooks.hooks.get("b")).id == "b"
            assert "<threads: 1," in repr(posthooks)
    assert caught.value.maybe_sent is False
    assert len(server.requests) == 1


@on_a_loop
async def test_a_call_waits_for_a_busy_thread_where_no_other_can_be_started(monkeypatch):
    go_on = threading.Event()
    with crew(2) as threads:
        first = await begun(threads.run(lambda: go_on.wait(10)))
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", no_thread)
            second = await begun(threads.run(lambda: "second"))
        go_on.set()
        assert await asyncio.gather(first, second) == [True, "second"]
        assert len(workers()) == 1


@on_a_loop
async def test_an_abandoned_list_leaves_nothing_behind():
    with Script(*TWO_PAGES) as server:
        async with async_client(server) as posthooks:
            async for hook in posthooks.hooks.list_all(page_size=2):
                assert hook.id == "a"
                break
            posthooks.hooks.list_all()  # and one that was never begun
    assert len(server.requests) == 1


def test_parent_and_child_go_on_with_an_async_client():
    with Script(echo) as server:
        posthooks = async_client(server)
        assert asyncio.run(posthooks.hooks.get("before")).id == "before"

        def go_on():
            assert asyncio.run(posthooks.hooks.get("child")).id == "child"
            asyncio.run(posthooks.close())

        in_a_child(go_on)
        assert asyncio.run(posthooks.hooks.get("after")).id == "after"
        asyncio.run(posthooks.close())
    assert server.connections == 2  # the child made one of its own


# An httpx.AsyncClient


@on_a_loop
async def test_an_async_http_client_is_awaited_on_the_callers_event_loop():
    requester = AsyncRequester(200)
    async with async_client("http://host", timeout=5, http_client=requester) as posthooks:
        hooks = await asyncio.gather(*(posthooks.hooks.get("a") for _ in range(40)))
        assert {hook.id for hook in hooks} == {HOOK["id"]}
        assert "<on the event loop>" in repr(posthooks)
    assert requester.threads == {threading.current_thread()}
    method, url, content, headers, timeout, follow_redirects = requester.calls[0]
    assert (method, url, content) == ("GET", "http://host/v1/hooks/a", None)
    assert headers == {"User-Agent": USER_AGENT, "X-API-Key": "pk_test"}
    assert timeout == pytest.approx(5, abs=0.5)
    assert follow_redirects is False


@on_a_loop
async def test_an_async_http_client_is_retried_as_any(monkeypatch):
    monkeypatch.setattr(posthook, "_LAST_PAUSE", 0.08)
    requester = AsyncRequester(503, OSError("reset"), 200)
    posthooks = posthook.AsyncPosthook("pk", http_client=requester)
    started = time.monotonic()
    assert (await posthooks.hooks.get("a")).id == HOOK["id"]
    assert len(requester.calls) == 3
    assert time.monotonic() - started >= 0.06


@on_a_loop
async def test_what_an_async_http_client_raises_becomes_ours():
    requester = AsyncRequester(OSError("reset"))
    posthooks = posthook.AsyncPosthook("pk", http_client=requester)
    with pytest.raises(posthook.PosthookConnectionError, match="OSError: reset") as caught:
        await posthooks.hooks.schedule("/x", post_in="5m")
    assert caught.value.maybe_sent is True
    assert len(requester.calls) == 1


@on_a_loop
async def test_cancelling_cuts_an_async_http_client():
    requester = AsyncRequester(None)
    posthooks = posthook.AsyncPosthook("pk", http_client=requester)
    call = asyncio.ensure_future(posthooks.hooks.get("a"))
    await asyncio.to_thread(wait_until, lambda: requester.calls)
    await cancelled(call)
    assert (len(requester.calls), requester.cancelled) == (1, 1)


@on_a_loop
async def test_an_async_http_client_lists_all_and_is_refused_after_close():
    class Requester:
        async def request(self, method, url, **options):
            return Answered(200, {}, b'{"data": []}')

    posthooks = posthook.AsyncPosthook("pk", http_client=Requester())
    assert [hook async for hook in posthooks.hooks.list_all()] == []
    await posthooks.close()
    with pytest.raises(posthook.PosthookError, match="this client is closed"):
        await posthooks.hooks.get("a")
    with pytest.raises(ValueError, match="hook id is required"):
        await posthooks.hooks.get("")


# The end of the interpreter


UNFINISHED = """
import asyncio, sys, threading, posthook
url = sys.argv[1]
if sys.argv[2] == "async":
    async def main():
        asyncio.get_running_loop().slow_callback_duration = 30  # a busy machine is no fault
        posthooks = posthook.AsyncPosthook("pk", base_url=url, timeout=60)
        calls = posthooks.hooks.get("a"), posthook.async_ack(url + "/ack")
        calls = [asyncio.ensure_future(call) for call in calls]
        await posthooks.hooks.get("ready")
    asyncio.run(main())
else:
    posthooks = posthook.Posthook("pk", base_url=url, timeout=60)
    for call in (lambda: posthooks.hooks.get("a"), lambda: posthook.ack(url + "/ack")):
        threading.Thread(target=call, daemon=True).start()
    posthooks.hooks.get("ready")
print("end")
"""


@pytest.mark.parametrize("face", ["sync", "async"])
def test_the_interpreter_ends_at_once_with_calls_under_way(face):
    def step(request):
        if not request.path.endswith("/ready"):
            return Stall()
        server.wait_for(requests=3)
        return OK

    environment = {"PYTHONPATH": str(SOURCE.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    flags = ["-W", "error", "-X", "dev"]
    with Script(step) as server:
        output = run_python(*flags, "-c", UNFINISHED, server.url, face, environment=environment)
    assert output == "end\n"


# ==================================================================================================
# 9. Callbacks
# ==================================================================================================


TOKEN_URL = "/v1/hooks/e5405623-2c1c/ack?token=Sec-ret_Wxq%2Bs&kind=x1y2"
DONE = ok({"status": "completed"})
NACKED = ok({"status": "nacked"})


@pytest.fixture(params=["ack", "nack", "async_ack", "async_nack"])
def call_back(request):
    """All four callbacks, called in one way; ``action`` and ``wanted`` say which it is."""
    function = getattr(posthook, request.param)

    def call(*args, **options):
        outcome = function(*args, **options)
        return asyncio.run(outcome) if inspect.isawaitable(outcome) else outcome

    call.action = request.param.replace("async_", "")
    call.wanted = {"ack": "completed", "nack": "nacked"}[call.action]
    return call


def test_a_callback_is_posted_without_body_or_key(call_back):
    with Script(ok({"status": call_back.wanted})) as server:
        result = call_back(server.url + TOKEN_URL)
    assert result == posthook.CallbackResult(True, call_back.wanted)
    assert (server.last.method, server.last.path, server.last.body) == ("POST", TOKEN_URL, b"")
    assert server.last.headers == {
        "host": f"127.0.0.1:{server.port}",
        "accept-encoding": "identity",
        "user-agent": USER_AGENT,
        "content-length": "0",
    }


@pytest.mark.parametrize("body", [{"why": "ü"}, {}, [], 0, False, "", "text"])
def test_any_body_but_none_is_sent_as_json(call_back, body):
    with Script(DONE) as server:
        call_back(server.url + "/x", body)
    assert server.last.json == body
    assert server.last.headers["content-type"] == "application/json"


@pytest.mark.parametrize("action", ["ack", "nack"])
@pytest.mark.parametrize(
    ("step", "applied", "status"),
    [
        (DONE, "ack", "completed"),
        (NACKED, "nack", "nacked"),
        (ok({"status": "failed"}), None, "failed"),
        (ok({"status": "something_new"}), None, "something_new"),
        (ok({"status": None}), None, "unknown"),
        (ok({"status": ["completed"]}), None, "unknown"),
        (ok({}), None, "unknown"),
        (ok(None), None, "unknown"),
        (answer([]), None, "unknown"),
        (answer(b"<html>"), None, "unknown"),
        (answer(b"", 204), None, "unknown"),
        (answer({"error": "Hook not found"}, 404), None, "not_found"),
        (answer({"error": "newer attempt"}, 409), None, "conflict"),
    ],
)
def test_an_answer_becomes_a_result(action, step, applied, status):
    with Script(step) as server:
        result = getattr(posthook, action)(server.url + "/v1/ack/complete-nack")
    assert result == posthook.CallbackResult(action == applied, status)


@pytest.mark.parametrize("status", [302, 400, 401, 403, 410, 418, 429, 501])
def test_every_other_answer_is_an_error_at_once(call_back, status):
    step = answer({"error": "no luck"}, status, location="/elsewhere")
    with Script(step) as server:
        error = failure(call_back, server.url + "/x")
    assert type(error) is posthook.CallbackError
    assert str(error) == f'{call_back.action} failed: {status}: {{"error": "no luck"}}'
    assert (error.status_code, error.body) == (status, '{"error": "no luck"}')
    assert len(server.requests) == 1


def test_a_fault_is_tried_three_times_and_stays_an_error(call_back, pauses):
    with Script(answer(b"", 503, retry_after=3)) as server:
        error = failure(call_back, server.url + "/x")
    assert type(error) is posthook.CallbackError
    assert str(error) == f"{call_back.action} failed: 503"
    assert error.retry_after == 3
    assert (len(server.requests), pauses) == (3, [3, 3])


def test_a_connection_lost_before_the_answer_is_repeated(call_back, pauses):
    with Script(Close(), Reset(b"HTTP/1.1"), DONE) as server:
        assert call_back(server.url + "/x").status == "completed"
    assert len(server.requests) == 3


def test_a_refused_connection_is_a_connection_error(call_back, pauses):
    with closed_port() as port:
        error = failure(call_back, f"http://127.0.0.1:{port}{TOKEN_URL}")
    assert (type(error), error.maybe_sent) == (posthook.PosthookConnectionError, False)
    assert len(pauses) == 2


def test_a_callback_ends_at_its_deadline(call_back):
    with Script(Stall()) as server:
        error = failure(call_back, server.url + "/x", timeout=0.05)
    assert type(error) is posthook.PosthookTimeoutError


@pytest.mark.parametrize("timeout", [*BAD_TIMEOUTS, None])
def test_a_callback_refuses_a_bad_timeout(call_back, timeout):
    with pytest.raises(ValueError, match="timeout is a positive"):
        call_back("http://127.0.0.1:1/x", timeout=timeout)


@pytest.mark.parametrize("url", [None, ""])
def test_no_url_means_that_async_hooks_are_off(call_back, url):
    with pytest.raises(ValueError, match="async hooks"):
        call_back(url)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/secret", "http://127.0.0.1/sec ret"])
def test_a_bad_url_is_refused_unshown(call_back, url):
    with pytest.raises(ValueError, match="^url ") as refusal:
        call_back(url)
    assert "sec" not in str(refusal.value)


@pytest.mark.parametrize("body", [{1, 2}, float("nan"), b"bytes"])
def test_a_body_that_is_no_json_is_refused(body):
    with Script(DONE) as server, pytest.raises((TypeError, ValueError), match="^body cannot be"):
        posthook.nack(server.url + "/x", body)
    assert server.connections == 0


ECHOES = {
    "whole": lambda url: url,
    "path and query": lambda url: url[url.index("/v1") :],
    "query": lambda url: url.partition("?")[2],
    "half": lambda url: url[: len(url) - 12],
    "end": lambda url: url[-16:],
    "decoded": unquote,
    "upper case": str.upper,
    "escaped": html.escape,
    "encoded": quote,
    "many": lambda url: url * 50,
    "behind a letter": lambda url: f"İ{url}",
}
SECRETS = ["e540", "5623", "2c1c", "Sec-", "ret_", "Wxq", "x1y2"]


@pytest.mark.parametrize("echo", ECHOES.values(), ids=list(ECHOES))
def test_an_error_page_that_repeats_the_url_shows_nothing_of_it(caplog, echo):
    caplog.set_level(logging.DEBUG)
    step = answer(f"<p>no such page: {echo('http://host' + TOKEN_URL)}</p>".encode(), 403)
    with Script(step) as server:
        error = failure(posthook.ack, server.url + TOKEN_URL)
    shown = f"{error} {error!r} {error.args} {error.body} {error.__cause__} {caplog.text}".lower()
    assert str(error).startswith("ack failed: 403: <p>no such page: ")
    assert [secret for secret in SECRETS if secret.lower() in shown] == []
    assert len(shown) < 5_000


def test_a_status_that_repeats_the_url_shows_nothing_of_it():
    with Script(ok({"status": TOKEN_URL * 100})) as server:
        result = posthook.ack(server.url + TOKEN_URL)
    assert [secret for secret in SECRETS if secret in repr(result)] == []
    assert len(repr(result)) < 5_000


def test_words_that_say_why_are_kept():
    text = '{"error": "Callback token expired: the hook was acked"}'
    with Script(answer(text.encode(), 410)) as server:
        assert failure(posthook.ack, server.url + TOKEN_URL).body == text


def test_a_long_error_page_is_kept_in_part():
    with Script(answer(b"x" * 100_000, 410)) as server:
        error = failure(posthook.ack, server.url + TOKEN_URL)
    assert (str(error), len(error.body)) == (f"ack failed: 410: {'x' * 200}", 1000)


def test_the_log_shows_a_callback_without_its_url(call_back, caplog):
    caplog.set_level(logging.DEBUG, "posthook")
    with Script(DONE) as server:
        call_back(server.url + TOKEN_URL)
    action = call_back.action
    assert records(caplog) == [("posthook", "DEBUG", f"POST ({action} callback) -> 200")]
    assert "Sec" not in repr(caplog.records[0].args)


def test_callbacks_share_one_kept_connection():
    with Script(DONE) as server:
        posthook.ack(server.url + "/a")
        posthook.nack(server.url + "/b")
        asyncio.run(posthook.async_ack(server.url + "/c"))
        asyncio.run(posthook.async_nack(server.url + "/d"))
    assert [request.path for request in server.requests] == ["/a", "/b", "/c", "/d"]
    assert server.connections == 1


@on_a_loop
async def test_fifty_async_callbacks_at_once():
    def step(request):
        together.wait(10)
        return DONE

    together = threading.Barrier(50)
    with Script(step) as server:
        acks = [posthook.async_ack(f"{server.url}/{n}") for n in range(50)]
        results = await asyncio.gather(*acks)
    assert results == [posthook.CallbackResult(True, "completed")] * 50
    assert len({request.path for request in server.requests}) == 50


@on_a_loop
async def test_a_callback_that_takes_longer_than_wait_for_allows_ends_with_its_connection():
    with Script(Stall()) as server:
        call = await under_way(server, posthook.async_ack(server.url + "/x", timeout=60))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(call, 0.01)
        await asyncio.to_thread(server.wait_for_end)


@pytest.mark.parametrize("call_back", [posthook.async_ack, posthook.async_nack])
@on_a_loop
async def test_a_callback_waits_for_a_thread_no_longer_than_its_timeout(monkeypatch, call_back):
    monkeypatch.setattr(posthook, "_MAX_CONNECTIONS", 1)
    with Script(Stall()) as server:
        first = await under_way(server, call_back(server.url + "/a"))
        with pytest.raises(posthook.PosthookTimeoutError, match="all threads"):
            await call_back(server.url + "/b", timeout=0.05)
        await cancelled(first)


def test_parent_and_child_go_on_with_callbacks(call_back):
    def go_on():
        assert call_back(server.url + "/child").status == "completed"

    with Script(DONE) as server:
        call_back(server.url + "/before")
        in_a_child(go_on)
        call_back(server.url + "/after")
    assert server.connections == 2  # the child made one of its own


def test_async_callbacks_are_coroutine_functions():
    assert inspect.iscoroutinefunction(posthook.async_ack)
    assert inspect.iscoroutinefunction(posthook.async_nack)


# ==================================================================================================
# 10. LocalPosthook
# ==================================================================================================

FINE, FAIL, LATER = answer({}), answer({}, 500), answer({}, 202)
PAST, FUTURE = "2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z"
FIXED = {"minRetries": 2, "delaySecs": 5, "strategy": "fixed"}


@contextlib.contextmanager
def forwarding(*steps, **options):
    """A LocalPosthook, and the app that it delivers to, which plays the steps: FINE if none."""
    with Script(*steps or [FINE]) as app, posthook.LocalPosthook(app.url, **options) as server:
        yield server, app


def address(server):
    return "127.0.0.1", int(server.url.rpartition(":")[2])


def api(server, method, path, body=None, *, key=None):
    """One call on a connection of its own: (status, JSON, headers)."""
    connection = http.client.HTTPConnection(*address(server), timeout=10)
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


def state(server, hook):
    hook = get(server, hook)
    return hook["status"], hook["attempts"], hook["failureError"]


def bulk(server, action, *hooks, **fields):
    """How many hooks a bulk call affects."""
    body = fields or {"hookIDs": [hook["id"] for hook in hooks]}
    status, answer, _ = api(server, "POST", f"/v1/hooks/bulk/{action}", body)
    assert status == 200, answer
    return answer["data"]["affected"]


def paths(server, query=""):
    """The paths of the hooks in a page, of one letter each."""
    status, body, _ = api(server, "GET", f"/v1/hooks?{query}")
    assert status == 200, body
    return "".join(hook["path"][1:] for hook in body["data"])


def raw(server, data):
    """What comes back for these bytes, until the server closes."""
    with socket.create_connection(address(server), 10) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        parts = []
        with contextlib.suppress(ConnectionResetError):
            parts.extend(iter(lambda: sock.recv(65536), b""))
        return b"".join(parts)


def moment(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


class Held:
    """A step for ``Script`` that answers FINE when it is released."""

    def __init__(self):
        self.arrived, self.release = threading.Event(), threading.Event()

    def __call__(self, request):
        self.arrived.set()
        self.release.wait(10)
        return FINE


@pytest.fixture(scope="module")
def shared():
    """A server for tests that leave nothing behind in it but hooks that are not due."""
    with posthook.LocalPosthook() as server:
        add(server, post_in="365d")
        yield server


# The object


def test_local_gives_itself_and_tells_how_to_reach_it():
    local = posthook.LocalPosthook(api_key=" k\t", signing_key="s")
    with local as server:
        assert server is local
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", server.url)
        assert (server.api_key, server.signing_key) == (" k\t", "s")
        assert [api(server, "GET", "/v1/hooks", key=key)[0] for key in ("k", " k\t")] == [200, 200]


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
        port = server.url.rpartition(":")[2]
        assert repr(server) == f"LocalPosthook(running, port={port}, hooks=1, deliveries=0)"


def test_local_has_no_url_before_it_runs():
    server = posthook.LocalPosthook()
    assert "inside its `with` block" in str(failure(lambda: server.url))
    assert repr(server) == "LocalPosthook(new, port=0, hooks=0, deliveries=0)"


def test_the_clock_can_be_read():
    with posthook.LocalPosthook() as server:
        before = server.now
        server.advance("2h")
        assert timedelta(hours=2) <= server.now - before < timedelta(hours=3)


def test_the_app_may_be_named_after_local_has_begun():
    with Script(answer({}, 200)) as app, posthook.LocalPosthook() as server:
        server.forward_to = app.url
        add(server, "/x", "1h")
        server.advance("1h")
    assert [request.path for request in app.requests] == ["/x"]


def test_local_says_that_a_202_was_the_end_where_async_hooks_are_off():
    lines = []
    with forwarding(answer({}, 202)) as (server, _):
        server.observer = lines.append
        add(server, "/x", "1h")
        server.advance("1h")
    assert "202, and done: async hooks are off" in lines[-1]


BAD_URLS = (
    "localhost:8000 ftp://localhost http:// http://a:99999 http://[::1 http://a/?q=1 http://a/#f"
)


@pytest.mark.parametrize(
    ("name", "values", "error"),
    [
        ("forward_to", [*BAD_URLS.split(), "", "http://a b/", "http://u:p@a/"], ValueError),
        ("forward_to", [b"http://a", print], TypeError),
        ("api_key", ["", b"k"], ValueError),
        ("signing_key", [" ", b"k"], ValueError),
        ("port", ["80", 80.0], ValueError),
        ("quota", [-1, None], ValueError),
    ],
)
def test_local_refuses_a_wrong_argument(name, values, error):
    for value in values:
        assert type(error_of(posthook.LocalPosthook, **{name: value})) is error


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
    with Script(FAIL) as app:
        with posthook.LocalPosthook(app.url) as server:
            idle, half, kept = (socket.create_connection(address(server), 10) for _ in range(3))
            half.sendall(b"POST /v1/hooks HTTP/1.1\r\nContent-Length: 5\r\n\r\n{")
            kept.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert kept.recv(9999).startswith(b"HTTP/1.1 401 ")
            add(server, postAt=PAST, data="x" * 60_000)
            wait_until(lambda: server.hooks[0].status == "retry")
            deaf = socket.create_connection(address(server), 10)
            deaf.sendall(b"GET /v1/hooks HTTP/1.1\r\nX-API-Key: pk_local\r\n\r\n" * 300)
            assert deaf.recv(1) == b"H"
            add(server, post_in="365d")
            ours = [t for t in threading.enumerate() if t.name == "LocalPosthook"]
            assert ours and all(thread.daemon for thread in ours)  # forgotten, they hold up no exit
            start = time.monotonic()
        assert time.monotonic() - start < 2
        assert "LocalPosthook" not in {thread.name for thread in threading.enumerate()}
    deaf.close()
    for sock in (idle, half, kept):
        assert sock.recv(1) == b""
        sock.close()
    with pytest.raises(OSError):
        socket.create_connection(address(server), 1)


def test_leaving_local_waits_for_an_attempt_in_flight(monkeypatch):
    monkeypatch.setattr(posthook, "_ATTEMPT_SECONDS", 0.1)
    with forwarding(Stall()) as (server, app):
        add(server, postAt=PAST)
        app.wait_for(1)
    assert [delivery.error for delivery in server.deliveries] == [
        "timed out after 0.1 s: is the app running, and its event loop free?"
    ]


def test_hooks_are_models_in_the_order_they_were_scheduled():
    with posthook.LocalPosthook() as server:
        add(server, "/late", "2h", data={"n": 1})
        add(server, "/soon", "1h", retryOverride=FIXED)
        server.advance("1h")
        late, soon = server.hooks
    assert (late.path, late.data, late.status, late.domain) == ("/late", {"n": 1}, "pending", None)
    assert (soon.status, soon.attempts, soon.retry_override.delay_secs) == ("completed", 1, 5)


def test_a_delivery_tells_what_was_sent_and_how_it_went():
    with forwarding(answer({}, 404)) as (server, _):
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
    with forwarding(LATER, async_hooks=True) as (server, app):
        server.observer = lines.append
        hook = add(server, "/p q\n\x1bü?x=1", post_in="1s")
        server.advance(1)
        url = app.last.headers["posthook-ack-url"]
        api(server, "POST", url[len(server.url) :], key="")
        api(server, "GET", "/v1/hooks?limit=1")
        server._tell("\xe9\n")  # as it may stand in an error
        server.observer = lambda line: 1 / 0
        api(server, "GET", "/v1/hooks?limit=1")
        assert "observer" in caplog.text
    assert [re.sub(r"\d\.\d{3}", "0.000", line) for line in lines] == [
        "POST /v1/hooks 201",
        "delivery /p%20q%0A%1B%C3%BC?x=1 #1: 202 (0.000 s)",
        f"POST /v1/callbacks/{hook['id']}/1/ack 200",
        "GET /v1/hooks 200",
        "\\xe9\\n",
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
    with forwarding() as (server, app):
        hook = add(server, postAt=PAST)
        wait_until(lambda: state(server, hook) == ("completed", 1, ""))
        assert get(server, hook)["postAt"] == PAST
    assert len(app.requests) == 1


def test_a_later_hook_that_is_waited_for_does_not_hold_up_an_earlier_one():
    with posthook.LocalPosthook() as server:
        add(server, post_in="5h")
        due = datetime.now(timezone.utc) + timedelta(seconds=0.1)
        hook = add(server, postAt=due.isoformat())
        wait_until(lambda: server.deliveries)
        assert server.deliveries[0].hook_id == hook["id"]
    assert timedelta(0) <= server.deliveries[0].posted_at - due < timedelta(seconds=1)


def test_attempts_run_in_parallel_and_leave_the_api_free():
    barrier = threading.Barrier(17)

    def meet(request):
        barrier.wait(10)
        return FINE

    with forwarding(meet) as (server, _):
        hooks = [add(server, postAt=PAST) for _ in range(16)]
        assert get(server, hooks[0])["status"] == "pending"
        barrier.wait(10)
        wait_until(lambda: len(server.deliveries) == 16)


def test_more_hooks_than_threads_are_all_delivered():
    with forwarding() as (server, app):
        for _ in range(40):
            add(server, postAt=PAST)
        wait_until(lambda: len(server.deliveries) == 40)
    assert len(app.requests) == 40


# advance()


@pytest.mark.parametrize("nothing", [0, 0.0, "0s", timedelta(0)])
def test_advancing_by_nothing_attempts_what_is_due(nothing):
    with posthook.LocalPosthook() as server:
        add(server, postAt=PAST)
        server.advance(nothing)
        assert server.hooks[0].status == "completed"
        assert server.deliveries[0].posted_at >= server.hooks[0].created_at


WRONG_STEPS = [-1, timedelta(seconds=-1), float("nan"), float("inf"), 1e30, "", "-1s", "1w", "5m1h"]
WRONG_STEPS += ["999999999999d", "3000000d", None, b"1s"]


@pytest.mark.parametrize("step", WRONG_STEPS)
def test_advance_refuses_a_wrong_step_and_does_not_move(step):
    with posthook.LocalPosthook() as server:
        with pytest.raises((ValueError, TypeError)):
            server.advance(step)
        created = moment(add(server)["createdAt"])
    assert abs(created - datetime.now(timezone.utc)) < timedelta(seconds=2)


def test_advance_goes_from_one_due_time_to_the_next_in_order_without_overlap():
    running, most = [], []

    def count(request):
        running.append(1)
        most.append(len(running))
        running.pop()
        return FINE

    with forwarding(count) as (server, app):
        for minutes in (30, 10, 20, 40):
            add(server, f"/{minutes}", f"{minutes}m")
        server.advance("35m")
        posted = [delivery.posted_at for delivery in server.deliveries]
        due = sorted(hook.post_at for hook in server.hooks)[:3]
        assert server.hooks[-1].status == "pending"
    assert [request.path for request in app.requests] == ["/10", "/20", "/30"]
    assert most == [1, 1, 1]
    assert all(timedelta(0) <= p - d < timedelta(seconds=1) for p, d in zip(posted, due))
    assert posted == sorted(posted)


def test_advance_makes_what_a_handler_schedules_on_the_way():
    def chain(request):
        if request.json["data"]:
            add(server, post_in="1h", data=request.json["data"] - 1)
        return FINE

    with forwarding(chain) as (server, app):
        add(server, post_in="1h", data=5)
        server.advance("3h30m")
        assert len(app.requests) == 3
        server.advance("1d")
        assert len(app.requests) == 6


def test_a_hook_that_an_app_schedules_beyond_the_end_of_an_advance_waits():
    def reschedule(request):
        add(server)
        return FINE

    with forwarding(reschedule) as (server, _):
        add(server)
        server.advance("90m")
        assert [hook.status for hook in server.hooks] == ["completed", "pending"]


def test_a_retry_is_not_missed_by_the_time_that_attempts_take():
    with forwarding(lambda request: time.sleep(0.03) or FAIL) as (server, _):
        add(server, post_in="1m", retryOverride={**FIXED, "minRetries": 3})
        server.advance("1m")
        server.advance("15s")
        assert [delivery.attempt for delivery in server.deliveries] == [1, 2, 3, 4]


def test_attempts_of_one_due_time_run_in_parallel():
    barrier = threading.Barrier(4)

    def meet(request):
        barrier.wait(10)
        return FINE

    with forwarding(meet) as (server, _):
        for _ in range(4):
            add(server, postAt=FUTURE)
        server.advance(timedelta(days=365 * 100))
        assert [hook.status for hook in server.hooks] == ["completed"] * 4


def test_advance_waits_for_what_is_in_flight_in_real_time():
    held = Held()
    with forwarding(held, FINE) as (server, app):
        add(server, "/held", postAt=PAST)
        add(server, "/later")
        assert held.arrived.wait(10)
        mover = threading.Thread(target=server.advance, args=("1h",))
        mover.start()
        assert [request.path for request in app.requests] == ["/held"]
        assert server.deliveries == []  # none has ended
        held.release.set()
        mover.join(10)
    assert [request.path for request in app.requests] == ["/held", "/later"]


def test_an_advance_waits_for_another_threads_and_both_count():
    held = Held()
    with forwarding(held) as (server, app):
        for hours in (1, 4, 5):
            add(server, post_in=f"{hours}h")
        threads = [threading.Thread(target=server.advance, args=("2h",)) for _ in range(2)]
        threads[0].start()
        assert held.arrived.wait(10)
        threads[1].start()
        wait_until(lambda: sys._current_frames()[threads[1].ident].f_code.co_name == "wait")
        assert len(app.requests) == 1
        held.release.set()
        for thread in threads:
            thread.join(10)
        assert len(server.deliveries) == 2


def test_leaving_local_ends_an_advance_under_way():
    held, failures = Held(), []

    def move():
        failures.append(error_of(server.advance, "1h"))
        held.release.set()

    with forwarding(held) as (server, _):
        add(server)
        mover = threading.Thread(target=move)
        mover.start()
        assert held.arrived.wait(10)
    mover.join(10)
    assert [type(failure) for failure in failures] == [posthook.PosthookError]


# Forwarding


def test_a_delivery_looks_like_the_services_own():
    key = "phs_ä"
    with forwarding(signing_key=key) as (server, app):
        hook = add(server, "/a", data={"ü": 1})
        server.advance("1h")
    path, headers, body, sent = app.last.path, app.last.headers, app.last.body, app.last.json
    assert path == "/a"
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"] == "Posthook/1.0"
    assert headers["posthook-id"] == hook["id"] == sent["id"]
    assert list(sent) == ["id", "path", "postAt", "postedAt", "data", "createdAt", "updatedAt"]
    assert moment(sent.pop("postedAt")) >= moment(hook["postAt"])
    assert sent == {name: hook[name] for name in sent}
    assert abs(int(headers["posthook-timestamp"]) - time.time()) < 5  # real, though an hour is gone
    signed = headers["posthook-timestamp"].encode() + b"." + body
    v1 = hmac.new(key.encode(), signed, hashlib.sha256).hexdigest()
    assert headers["posthook-signature"] == f"v1,{v1}"
    assert headers["x-ph-signature"] == hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
    assert not {"x-api-key", "posthook-ack-url", "posthook-nack-url"} & set(headers)


@pytest.mark.parametrize(
    ("path", "arrives"),
    [
        ("/a%2Fb?x=1&y=%20&z=a+b", "/base/a%2Fb?x=1&y=%20&z=a+b"),
        ("/a//b/../c", "/base/a//b/../c"),
        ("/ü x", "/base/%C3%BC%20x"),
    ],
)
def test_the_target_is_forward_to_and_the_path_as_it_is(path, arrives):
    with Script(FINE) as app, posthook.LocalPosthook(app.url + "/base/") as server:
        hook = add(server, path)
        server.advance("1h")
        assert get(server, hook)["path"] == path
    assert app.last.path == arrives


def test_deliveries_go_through_no_proxy(monkeypatch):
    with Script(FINE) as app, posthook.LocalPosthook("http://app.invalid") as server:
        add(server)
        with closed_port() as port, monkeypatch.context() as patch:
            patch.setenv("http_proxy", f"http://127.0.0.1:{port}")
            resolve(patch, (socket.AF_INET, app.port))
            server.advance("1h")
    assert (app.last.headers["host"], app.last.path) == ("app.invalid", "/p")  # no whole URL


def test_a_path_that_would_change_the_host_is_sent_nowhere():
    with forwarding() as (server, app):
        add(server, "@127.0.0.1:1/x")
        server.advance("1h")
        assert "does not begin with /" in server.deliveries[0].error
    assert app.requests == []


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_success(status):
    with forwarding(answer(b"", status)) as (server, _):
        hook = add(server)
        server.advance("1h")
        assert state(server, hook) == ("completed", 1, "")
        assert 0 < get(server, hook)["postDurationSeconds"] < 5
    assert (server.deliveries[0].status_code, server.deliveries[0].error) == (status, "")


@pytest.mark.parametrize(
    ("step", "code", "error"),
    [
        (answer({}, 404), 404, "HTTP 404"),
        (FAIL, 500, "HTTP 500"),
        (answer(b"", 304), 304, "HTTP 304"),
        (answer({}, 302, location="/elsewhere"), 302, "HTTP 302"),
        (NO_ANSWER, None, ""),
        (Close(b"hello\r\n\r\n"), None, ""),
        (Close(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123"), None, ""),
        (endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x", 0.01), None, "timed out"),
    ],
)
def test_anything_else_is_a_failed_attempt(step, code, error, monkeypatch):
    monkeypatch.setattr(posthook, "_ATTEMPT_SECONDS", 0.2)
    with forwarding(step) as (server, app):
        hook = add(server, retryOverride=FIXED)
        server.advance("1h")
        (delivery,) = server.deliveries
        assert state(server, hook) == ("retry", 1, delivery.error)
    assert len(app.requests) == 1
    assert delivery.status_code == code
    assert delivery.error != ""
    assert error in delivery.error


def test_a_refused_connection_is_a_failed_attempt():
    lines = []
    with closed_port() as port, posthook.LocalPosthook(f"http://127.0.0.1:{port}") as server:
        server.observer = lines.append
        hook = add(server)
        server.advance("1h")
        (delivery,) = server.deliveries
        assert state(server, hook) == ("retry", 1, delivery.error)
    assert delivery.status_code is None
    assert delivery.error != ""
    assert any(f"#1: {delivery.error} (" in line for line in lines)


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
    with forwarding(FAIL) as (server, app):
        hook = add(server, retryOverride=override)
        server.advance("1h")
        assert get(server, hook)["status"] == "retry"
        server.advance("3h")
        assert state(server, hook) == ("failed", 1 + len(delays), "HTTP 500")
        posted = [delivery.posted_at for delivery in server.deliveries]
    gaps = [(after - before).total_seconds() for before, after in zip(posted, posted[1:])]
    assert gaps == pytest.approx(delays, abs=1)
    assert len({request.headers["posthook-id"] for request in app.requests}) == 1
    signatures = {request.headers["posthook-signature"] for request in app.requests}
    assert len(signatures) == 1 + len(delays)


@pytest.mark.parametrize(("luck", "seconds"), [(0, 60), (0.5, 67.5), (1, 75)])
def test_jitter_adds_up_to_a_quarter(luck, seconds):
    assert posthook._retry_seconds({**EXPONENTIAL, "jitter": True}, 9, luck) == seconds


def test_a_success_after_a_failure_has_no_error():
    with forwarding(FAIL, FINE) as (server, _):
        hook = add(server)
        server.advance("2h")
        assert state(server, hook) == ("completed", 2, "")


def test_the_result_of_a_hook_deleted_in_flight_is_dropped():
    def remove(request):
        api(server, "DELETE", f"/v1/hooks/{request.headers['posthook-id']}")
        return FAIL

    with forwarding(remove) as (server, app):
        add(server)
        server.advance("1d")
        assert server.hooks == []
        assert len(server.deliveries) == len(app.requests) == 1


# The HTTP face


def test_a_connection_is_kept_also_after_refusals(shared):
    connection = http.client.HTTPConnection(*address(shared))
    statuses, sockets = [], set()
    for method, path, key in [
        ("POST", "/v1/hooks", "pk_local"),
        ("POST", "/v1/hooks", "wrong"),
        ("PUT", "/v1/hooks", "pk_local"),
        ("POST", "/nowhere", "pk_local"),
        ("GET", "/v1/hooks", "pk_local"),
    ]:
        connection.request(method, path, b"{}", {"X-API-Key": key})
        answer = connection.getresponse()
        assert answer.headers["Content-Type"] == "application/json"
        answer.read()
        statuses.append(answer.status)
        sockets.add(connection.sock)
    connection.close()
    assert statuses == [400, 401, 404, 404, 200]
    assert len(sockets) == 1 and None not in sockets


def test_a_client_that_waits_for_100_continue_is_told_to_go_on(shared):
    with socket.create_connection(address(shared), 10) as sock:
        head = b"POST /v1/hooks HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n"
        sock.sendall(head + b"X-API-Key: pk_local\r\n\r\n")
        assert sock.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"{}")
        assert sock.recv(65536).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("extra", [b"", b"Connection: keep-alive\r\n"])
def test_an_http_1_0_client_gets_its_answer_and_the_end(shared, extra):
    with socket.create_connection(address(shared), 10) as sock, sock.makefile("rb") as stream:
        sock.sendall(
            b"GET /v1/hooks?status=failed HTTP/1.0\r\nX-API-Key: pk_local\r\n%b\r\n" % extra
        )
        head, _, body = stream.read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Connection: close" in head
    assert body == b'{"data": [], "meta": {"totalItems": 0}}'


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"HTTP/1.1 400 "),
        (b"hello\r\n\r\n", b"HTTP/1.1 400 "),
        (b"\r\n", b""),
        (b"", b""),
        (b"GET /v1/hooks HTTP/9.9\r\n\r\n", b"HTTP/1.1 505 "),
        (b"GET /\r\n\r\n", b"HTTP/1.1 401 "),
        (b"BREW /v1/hooks HTTP/1.1\r\n\r\n", b"HTTP/1.1 501 "),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b"HTTP/1.1 414 "),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", b"HTTP/1.1 431 "),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", b"HTTP/1.1 431 "),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"HTTP/1.1 400 "),
        (b"POST / HTTP/1.1\r\nContent-Length: 1_0\r\n\r\n", b"HTTP/1.1 400 "),
        (b"POST / HTTP/1.1\r\nContent-Length: \xb2\r\n\r\n", b"HTTP/1.1 400 "),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"HTTP/1.1 400 "),
        (b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", b"HTTP/1.1 400 "),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", b"HTTP/1.1 413 "),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"HTTP/1.1 400 "),
        (b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n{", b""),
    ],
)
def test_hostile_bytes_cost_their_connection_and_print_nothing(shared, data, answer, capfd):
    got = raw(shared, data)
    assert got.startswith(answer)
    assert bool(got) == bool(answer) == (b'{"error": "' in got) == (b"Connection: close" in got)
    assert api(shared, "GET", "/v1/hooks")[0] == 200
    assert tuple(capfd.readouterr()) == ("", "")


def test_an_answer_to_head_has_no_body(shared):
    got = raw(shared, b"HEAD /v1/hooks/x HTTP/1.1\r\nX-API-Key: pk_local\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 404 ")
    assert got.endswith(b"\r\n\r\n")


def test_a_client_that_resets_its_connection_prints_nothing(capfd, caplog):
    caplog.set_level("DEBUG", "posthook")
    with posthook.LocalPosthook() as server:
        sock = socket.create_connection(address(server))
        sock.sendall(b"GET /v1/hooks HTTP/1.1\r\nX")
        reset_at_close(sock)
        sock.close()
        wait_until(lambda: "dropped" in caplog.text)
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
    assert_refused(shared, "POST", "/v1/hooks", body)


def assert_refused(server, method, path, body=None, status=400, text=""):
    """A call is answered by nothing but an error, tells no quota, and does nothing."""
    before = len(server.hooks)
    got, answer, headers = api(server, method, path, body)
    assert (got, list(answer)) == (status, ["error"])
    assert isinstance(answer["error"], str)
    assert text in answer["error"]
    assert "Posthook-HookQuota-Limit" not in headers
    assert len(server.hooks) == before


def test_data_nested_as_deeply_as_can_be_read_can_be_given_back():
    with posthook.LocalPosthook() as server:
        accepted, deepest = 0, 100
        with contextlib.suppress(RecursionError):
            while json.loads("[" * deepest + "]" * deepest):
                deepest += 10
        for depth in range(deepest - 200, deepest + 50, 7):
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
def test_a_wrong_key_is_401_and_nothing_is_done(shared, key):
    headers = {"X-API-Key": key.encode("utf-8")} if key else {}
    headers["Authorization"] = "Bearer pk_local"
    before = shared.hooks
    connection = http.client.HTTPConnection(*address(shared))
    for method, path in ("POST", ""), ("GET", f"/{before[0].id}"), ("DELETE", f"/{before[0].id}"):
        body = b'{"path": "/a", "postIn": "99d"}'
        connection.request(method, f"/v1/hooks{path}", body, headers)
        answer = connection.getresponse()
        assert (answer.status, json.load(answer)) == (401, {"error": "Invalid API key"})
    connection.close()
    assert shared.hooks == before


UNKNOWN_CALLS = """
    GET/ GET/v1 POST/hooks POST/v1/v1/hooks GET/v1/hooks/ GET/v1/hooks/a/b GET/v1/hooks/bulk
    GET/v1/hooks/%2e%2e POST/v1/hooks/x POST/v1/hooks/bulk/delete POST/v1/ws/ticket
    PATCH/v1/hooks/x DELETE/v1/hooks PUT/v1/hooks OPTIONS/v1/hooks
"""


@pytest.mark.parametrize("call", UNKNOWN_CALLS.split())
def test_unknown_paths_and_methods_are_404(shared, call):
    method, slash, path = call.partition("/")
    assert_refused(shared, method, slash + path, status=404)


# POST /v1/hooks


def test_schedule_answers_201_with_the_whole_hook_that_get_gives_too(shared):
    sent = {"path": "/a", "postIn": "99d", "data": {"a": [1, None]}, "retryOverride": FIXED}
    status, body, _ = api(shared, "POST", "/v1/hooks", sent)
    hook = body["data"]
    assert (status, list(body)) == (201, ["data"])
    assert api(shared, "GET", f"/v1/hooks/{hook['id']}")[:2] == (200, body)
    assert str(uuid.UUID(hook["id"], version=4)) == hook["id"]
    assert hook == {
        "id": hook["id"],
        "path": "/a",
        "domain": None,
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
    assert moment(hook["postAt"]) - moment(hook["createdAt"]) == timedelta(days=99)


def test_data_may_be_any_json_value_and_arrives_as_it_was_sent():
    values = [None, [], {}, 0, False, "", 1.5, -0.0, "ü\U0001f600", "\ud800", 10**40, {"a": [{}]}]
    with forwarding() as (server, app):
        hooks = [add(server, data=value) for value in values]
        found = [get(server, hook) for hook in hooks]
        server.advance("1h")
        sent = {request.json["id"]: request.json["data"] for request in app.requests}
        noted = {delivery.hook_id: delivery.data for delivery in server.deliveries}
    for hook, other, value in zip(hooks, found, values):
        assert repr(hook["data"]) == repr(other["data"]) == repr(value)
        assert repr(sent[hook["id"]]) == repr(noted[hook["id"]]) == repr(value)


def test_absent_data_is_an_empty_object_and_unknown_fields_and_nulls_count_as_absent(shared):
    nulls = dict.fromkeys(["postAt", "postAtLocal", "timezone", "retryOverride"])
    body = {"path": "/a", "postIn": "99d", "limit": "x", **nulls}
    status, answer, _ = api(shared, "POST", "/v1/hooks", body)
    assert (status, answer["data"]["data"]) == (201, {})
    assert not {"retryOverride", "sequenceData", "limit"} & set(answer["data"])


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
    body = {"path": "/a", "postIn": "99d", "data": data}
    got, answer, _ = api(shared, "POST", "/v1/hooks", body)
    assert got == status
    assert status == 201 or answer == {"error": "Payload exceeds 64 KB limit"}


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"path": None}, "path is required"),
        ({"path": ""}, "path is required"),
        ({"path": 3}, "path must be"),
        ({"path": ["/a"]}, "path must be"),
        ({"postIn": None}, "exactly one"),
        ({"postAt": FUTURE}, "exactly one"),
        ({"postAtLocal": "2030-01-01T00:00:00", "timezone": "UTC"}, "exactly one"),
        ({"timezone": "UTC"}, "timezone"),
        ({"postIn": None, "postAt": FUTURE, "timezone": "UTC"}, "timezone"),
        ({"postIn": None, "postAtLocal": "2030-01-01T00:00:00"}, "timezone"),
        ({"timezone": 3}, "timezone must be"),
        ({"postIn": 60}, "postIn must be"),
        ({"postIn": None, "postAt": 1_900_000_000}, "postAt must be"),
        ({"retryOverride": []}, "retryOverride must be"),
        ({"retryOverride": "fixed"}, "retryOverride must be"),
        ({"retryOverride": {}}, "strategy must be"),
    ],
)
def test_schedule_refuses_what_is_missing_or_wrong(shared, fields, text):
    body = {"path": "/a", "postIn": "99d", **fields}
    assert_refused(shared, "POST", "/v1/hooks", body, text=text)


BAD_DELAYS = ["0s", "365d1s", "366d", "1.5h", "-1h", "30m1h", "1H", "5", " 5s", "٣s", "1w", ""]
BAD_TIMES = ["2030-01-01T00:00:00", "2030-01-01", "2030-13-01T00:00:00Z", "tomorrow", ""]
BAD_TIMES += ["0001-01-01T00:00:00+10:00", "9999-12-31T23:59:59-10:00"]


@pytest.mark.parametrize(
    ("mode", "texts"),
    [("postIn", [*BAD_DELAYS, "9" * 5000 + "s"]), ("postAt", BAD_TIMES)],
)
def test_schedule_refuses_a_time_that_cannot_be_read(shared, mode, texts):
    for text in texts:
        assert_refused(shared, "POST", "/v1/hooks", {"path": "/a", mode: text}, text=mode)


LONG = {**FIXED, "strategy": "exponential", "maxDelaySecs": 60}


@pytest.mark.parametrize(
    ("override", "name", "right", "wrong"),
    [
        (FIXED, "minRetries", [1, 15], [0, 16, "3", 2.5, 2.0, True, None, 10**30]),
        (FIXED, "delaySecs", [5, 60], [4, 61, None]),
        (FIXED, "strategy", ["fixed"], ["linear", "Fixed", "exponential", None, 1]),
        (LONG, "maxDelaySecs", [60, 3600], [59, 3601, 60.5, None]),
        (FIXED, "backoffFactor", [1.1, 4, None], [1.0, 4.1, "2", True, 10**400]),
        (FIXED, "jitter", [True, False], [1, "yes"]),
        (FIXED, "unknown", [[1]], []),
    ],
)
def test_a_retry_override_is_checked_and_echoed_as_sent(shared, override, name, right, wrong):
    for value in right:
        sent = {**override, name: value}
        assert add(shared, post_in="99d", retryOverride=sent)["retryOverride"] == sent
    for value in wrong:
        body = {"path": "/a", "postIn": "99d", "retryOverride": {**override, name: value}}
        assert_refused(shared, "POST", "/v1/hooks", body)


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
def test_post_in_is_counted_from_receipt(text, seconds):
    with posthook.LocalPosthook() as server:
        hook = add(server, post_in=text)
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
        assert add(server, "/a", postAt=text)["postAt"] == utc
        assert paths(server) == "a"


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


BAD_LOCALS = "2026-07-01T09:00:00Z 2026-07-01T09:00:00+01:00 2026-07-01T09:00 2026-02-30T09:00:00"
BAD_LOCALS += " 2026-07-01T09:00:00.5 2026-07-01T09:00:60 ٢026-07-01T09:00:00"
BAD_ZONES = "Mars/Olympus America ../UTC /etc/passwd zone.tab a\0b \ud800"


@pytest.mark.parametrize(
    ("locals", "zones"),
    [
        ([*BAD_LOCALS.split(), "2026-07-01 09:00:00", "", 3], ["UTC"]),
        (["0001-01-01T00:00:00"], ["Asia/Tokyo"]),
        (["9999-12-31T23:59:59"], ["America/New_York"]),
        (["2026-07-01T09:00:00"], [*BAD_ZONES.split(), "", "Z" * 5000, 3]),
    ],
)
def test_a_wrong_local_time_or_zone_is_400(shared, locals, zones):
    for local, zone in itertools.product(locals, zones):
        body = {"path": "/a", "postAtLocal": local, "timezone": zone}
        assert_refused(shared, "POST", "/v1/hooks", body)


def test_the_quota_is_counted_by_the_month_and_told_on_schedule_alone():
    def call(method, path):
        status, answer, headers = api(server, method, path, {"path": "/a", "postIn": "1h"})
        names = [name for name in headers if name.startswith("Posthook-HookQuota-")]
        return status, answer.get("error"), [headers[name] for name in names]

    now = datetime.now(timezone.utc)
    reset = f"{now.year + now.month // 12}-{now.month % 12 + 1:02}-01T00:00:00Z"
    with posthook.LocalPosthook(quota=2) as server:
        assert call("POST", "/v1/hooks") == (201, None, ["2", "1", "1", reset])
        assert call("POST", "/v1/hooks") == (201, None, ["2", "2", "0", reset])
        refused = (429, "Rate limit exceeded", ["2", "2", "0", reset])
        assert call("POST", "/v1/hooks") == refused
        assert call("GET", f"/v1/hooks/{server.hooks[0].id}") == (200, None, [])
        server.advance(moment(reset) - now)
        assert call("POST", "/v1/hooks")[2][:3] == ["2", "1", "1"]
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
        ("status=&sortBy=&cursor=&postAtAfter=&sortOrder=&limit=2", "ed"),
    ],
)
def test_list_filters_and_sorts(five, query, found):
    assert paths(five, query) == found


BAD_QUERIES = """
    limit= limit=0 limit=1001 limit=-1 limit=ten limit=1.5 limit=%D9%A3 limit=99999999999999999999
    status=done sortBy=path sortOrder=up cursor=nonsense cursor=%00 postAtAfter=yesterday
    postAtBefore=2026-01-01 createdAtAfter=1 createdAtBefore=0001-01-01T00:00:60%2B10:00x
"""


@pytest.mark.parametrize("query", BAD_QUERIES.split())
def test_list_refuses_a_bad_value(five, query):
    assert_refused(five, "GET", f"/v1/hooks?{query}")


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
            add(server, postAt=f"2100-01-0{day}T00:00:00Z")
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
    def found():
        names = ("pending", "retry", "failed", "completed")
        return [paths(server, f"status={name}") for name in names]

    with forwarding(FAIL, FAIL, FINE) as (server, _):
        assert found() == ["", "", "", ""]
        a = add(server, "/a", retryOverride={**FIXED, "minRetries": 1})
        b = add(server, "/b", post_in="2h")
        assert found() == ["ab", "", "", ""]
        server.advance("1h")
        assert found() == ["b", "a", "", ""]
        api(server, "DELETE", f"/v1/hooks/{b['id']}")
        assert found() == ["", "a", "", ""]
        server.advance("1m")
        assert found() == ["", "", "a", ""]
        assert bulk(server, "retry", a) == 1
        server.advance("1m")
        assert found() == ["", "", "", "a"]


def test_paging_by_post_at_after_gives_what_comes_strictly_after():
    with posthook.LocalPosthook() as server:
        for second in range(7):
            add(server, f"/{second}", postAt=f"2100-01-01T00:00:0{second}.000001Z")
        seen, after = "", ""
        while page := api(server, "GET", f"/v1/hooks?limit=3&sortBy=postAt{after}")[1]["data"]:
            seen += "".join(hook["path"] for hook in page)
            after = f"&postAtAfter={page[-1]['postAt']}"
    assert seen == "/0/1/2/3/4/5/6"


# Bulk


def test_bulk_retry_gives_failed_hooks_new_retries_at_once():
    with forwarding(*[FAIL] * 4, FINE) as (server, _):
        hook = add(server, retryOverride={**FIXED, "minRetries": 1})
        other = add(server, post_in="9h")
        server.advance("2h")
        assert state(server, hook) == ("failed", 2, "HTTP 500")
        assert bulk(server, "retry", hook, other, {"id": "unknown"}, hook) == 1
        server.advance(0)
        assert state(server, hook) == ("retry", 3, "HTTP 500")
        server.advance("1m")
        assert state(server, hook) == ("failed", 4, "HTTP 500")
        assert bulk(server, "retry", hook) == 1
        server.advance(0)
        assert state(server, hook) == ("completed", 5, "")
        assert [delivery.attempt for delivery in server.deliveries] == [1, 2, 3, 4, 5]
        assert bulk(server, "retry", hook) == 0


def test_bulk_replay_makes_a_new_hook_of_a_completed_one_outside_of_the_quota():
    with forwarding(quota=2) as (server, app):
        hook = add(server, "/x", data={"a": 1}, retryOverride=FIXED)
        other = add(server, post_in="9h")
        server.advance("1h")
        assert bulk(server, "replay", hook, other) == 1
        server.advance(0)
        new = server.hooks[-1]
        assert new.id != hook["id"]
        assert (new.path, new.data, new.status) == ("/x", {"a": 1}, "completed")
        assert new.raw["retryOverride"] == FIXED
        assert get(server, hook)["attempts"] == 1
    assert len(app.requests) == 2


def test_hooks_created_at_one_moment_are_listed_in_the_order_of_creation():
    with posthook.LocalPosthook() as server:
        hooks = [add(server, f"/{name}", post_in="1h") for name in "abcdef"]
        server.advance("1h")
        assert bulk(server, "replay", *hooks[3:], *hooks[:3]) == 6
        assert len({hook.created_at for hook in server.hooks[6:]}) == 1
        assert paths(server, "sortBy=createdAt&limit=12") == "abcdefdefabc"
        assert paths(server, "sortBy=createdAt&sortOrder=DESC&limit=12") == "cbafedfedcba"


def test_bulk_cancel_removes_waiting_hooks_and_no_others():
    with forwarding(FAIL) as (server, _):
        failed, retry, waiting = (add(server, post_in=f"{hour}h") for hour in (1, 2, 3))
        server.advance("2h")
        assert get(server, failed)["status"] == "failed"
        assert get(server, retry)["status"] == "retry"
        assert bulk(server, "cancel", **TIMES, limit=2) == 2  # the failed one is not counted
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
        ({"startTime": "2100-01-01T02:00:00+02:00"}, "deb"),
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
        assert {*paths(server)} == {*"abcde"} - {*cancelled}


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
    assert_refused(shared, "POST", f"/v1/hooks/bulk/{action}", body)


def test_bulk_takes_a_thousand_ids():
    with posthook.LocalPosthook() as server:
        others = [{"id": str(number)} for number in range(999)]
        assert bulk(server, "cancel", add(server), *others) == 1


# Async hooks


class Callbacks:
    """The callback URLs that an app was given, and what is said to a call of one."""

    def __init__(self, server, app):
        self._server, self._app = server, app

    def path(self, verb, attempt=1):
        url = self._app.requests[attempt - 1].headers[f"posthook-{verb}-url"]
        assert url.startswith(self._server.url + "/")
        return url[len(self._server.url) :]

    def post(self, verb, attempt=1, body=None):
        return self.post_to(self.path(verb, attempt), body)

    def post_to(self, path, body=None):
        status, answer, _ = api(self._server, "POST", path, body, key="")
        return status, answer["data"]["status"] if status == 200 else answer["error"]


@contextlib.contextmanager
def open_hook(step=LATER, **fields):
    """The server, a hook that an app has answered by the step, and its callbacks."""
    with forwarding(step, async_hooks=True) as (server, app):
        hook = add(server, post_in="1s", **fields)
        server.advance(1)
        yield server, hook, Callbacks(server, app)


def test_a_202_waits_and_an_ack_completes():
    with open_hook() as (server, hook, callbacks):
        assert state(server, hook) == ("pending", 0, "")
        assert server.deliveries[0].status_code == 202
        assert callbacks.post("ack", body=b"\xff" * 100_000) == (200, "completed")
        assert state(server, hook) == ("completed", 1, "")
        server.advance("1d")
        assert len(server.deliveries) == 1


def test_a_nack_is_a_failed_attempt_with_new_urls_for_the_next():
    with open_hook(retryOverride={**FIXED, "minRetries": 1}) as (server, hook, callbacks):
        assert callbacks.post("nack", body=b"\xff" * 9000) == (200, "nacked")
        assert state(server, hook) == ("retry", 1, "nacked")
        server.advance("5s")
        assert callbacks.post("ack", 1)[0] == callbacks.post("nack", 1)[0] == 409
        assert callbacks.post("nack", 2) == (200, "nacked")
        assert state(server, hook) == ("failed", 2, "nacked")
        assert len({callbacks.path(verb, n) for verb in ("ack", "nack") for n in (1, 2)}) == 4


@pytest.mark.parametrize(("first", "result"), [("ack", "completed"), ("nack", "nacked")])
def test_the_first_callback_of_an_attempt_is_what_every_later_one_hears(first, result):
    with open_hook() as (_, _, callbacks):
        for verb in (first, "ack", "nack"):
            assert callbacks.post(verb) == (200, result)


def test_any_other_2xx_is_done_at_once_and_a_late_callback_hears_so():
    with open_hook(FINE) as (server, hook, callbacks):
        assert get(server, hook)["status"] == "completed"
        assert callbacks.post("nack") == (200, "completed")


def test_a_callback_for_an_attempt_that_failed_by_its_answer_hears_so():
    with open_hook(FAIL) as (server, hook, callbacks):
        assert callbacks.post("ack") == (200, "failed")
        assert get(server, hook)["status"] == "retry"


def test_any_changed_character_of_a_token_is_401():
    with open_hook() as (server, hook, callbacks):
        path, _, token = callbacks.path("ack").rpartition("/")
        assert len(token) >= 20
        for place, character in enumerate(token):
            other = "0" if character != "0" else "A"
            changed = f"{path}/{token[:place]}{other}{token[place + 1 :]}"
            assert callbacks.post_to(changed) == (401, "Invalid callback token")
        assert get(server, hook)["status"] == "pending"


def test_a_token_holds_for_one_verb_one_attempt_and_one_hook():
    with open_hook() as (server, hook, callbacks):
        other, path = add(server), callbacks.path("ack")
        for changed in (
            path.replace("/ack/", "/nack/"),
            path.replace("/1/", "/2/"),
            path.replace(hook["id"], other["id"]),
            path[: path.rindex("/") + 1],
            path[:-5] + "%C3%BC",
            path[:-1] + "?" + path[-1],
            path + "0",
        ):
            assert callbacks.post_to(changed)[0] == 401
        assert api(server, "GET", path, key="")[0] == 404
        assert posthook._Project(1, True)._token(path) != server._project._token(path)


def test_a_callback_of_a_deleted_hook_is_404():
    with open_hook() as (server, hook, callbacks):
        api(server, "DELETE", f"/v1/hooks/{hook['id']}")
        assert callbacks.post("ack") == (404, "Hook not found")
        assert callbacks.post_to(callbacks.path("ack") + "0")[0] == 401
        server.advance("1d")


def test_a_passed_deadline_is_a_failed_attempt_and_410_until_the_next_begins():
    with open_hook(retryOverride=FIXED) as (server, hook, callbacks):
        server.advance(299)
        assert get(server, hook)["status"] == "pending"
        server.advance(2)
        status, attempts, error = state(server, hook)
        assert (status, attempts) == ("retry", 1)
        assert "deadline" in error
        assert callbacks.post("ack")[0] == 410
        server.advance(5)
        assert callbacks.post("ack")[0] == 409
        assert callbacks.post("ack", 2) == (200, "completed")


@pytest.mark.parametrize(
    ("seconds", "texts"),
    [
        (60, ["60", " 60 ", "60.0"]),
        (60.5, ["60.5"]),
        (10, ["10", "9", "-5", "0"]),
        (10_800, ["10800", "99999", "9" * 400]),
        (300, ["soon", "", "nan", "1_0", "٣", None]),
    ],
)
def test_the_async_timeout_is_clamped_and_300_when_unreadable(seconds, texts):
    assert {posthook._callback_seconds(text) for text in texts} == {seconds}


def test_the_async_timeout_counts_from_the_answer_in_any_case():
    with open_hook(answer({}, 202, POSTHOOK_async_timeout=20)) as (server, hook, _):
        server.advance(18)
        assert get(server, hook)["status"] == "pending"
        server.advance(3)
        assert get(server, hook)["status"] == "retry"


@pytest.mark.parametrize(
    ("verb", "step", "result", "status"),
    [
        ("ack", LATER, "completed", "completed"),
        ("ack", FAIL, "completed", "completed"),
        ("nack", LATER, "nacked", "retry"),
    ],
)
def test_a_callback_may_be_faster_than_the_answer(verb, step, result, status):
    def hurry(request):
        heard.append(Callbacks(server, app).post(verb))
        return step

    heard = []
    with forwarding(hurry, async_hooks=True) as (server, app):
        hook = add(server, post_in="1s", retryOverride=FIXED)
        server.advance(1)
        assert heard == [(200, result)]
        assert state(server, hook)[:2] == (status, 1)


def test_a_deadline_passes_in_real_time_too_and_is_410_even_before_it_is_noticed():
    project = posthook._Project(1, True)
    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    second = timedelta(seconds=1)
    project.schedule(now, (second, "/a", {}, None))
    hook = project.begin(now + second)
    url = project.callback_headers(hook, "")["Posthook-Ack-URL"]
    _, callback, names = posthook._route(f"POST {url}")
    hook.attempt.status_code = 202
    project.end(hook, 10, now + second)
    assert project.next() == (now + 11 * second, False)
    assert error_of(callback, project, now + 11 * second, *names).status_code == 410
    assert callback(project, now + 10 * second, *names)[0] == 200


def test_what_is_shown_of_a_hook_follows_its_life():
    project = posthook._Project(1, True)
    project._random = lambda: 1  # the most of jitter
    override = {**EXPONENTIAL, "minRetries": 1, "jitter": True}

    def at(seconds):
        return datetime(2026, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=seconds)

    def shown(status, attempts, updated, tries):
        assert (hook["status"], hook["attempts"]) == (status, attempts)
        assert (moment(hook["updatedAt"]), moment(hook["tryAt"])) == (at(updated), at(tries))

    project.schedule(at(0), (timedelta(seconds=1), "/a", {}, override))
    hook = project.begin(at(1))
    shown("pending", 0, 0, 1)
    hook.attempt.status_code = 202
    project.end(hook, 10, at(2))
    shown("pending", 0, 2, 1)
    assert project.begin(at(12)) is None
    shown("retry", 1, 12, 24.5)
    assert project.next() == (at(24.5), True)
    project.begin(at(25)).attempt.status_code = 202
    project.end(hook, 10, at(26))
    shown("pending", 1, 26, 24.5)
    assert project.begin(at(36)) is None
    shown("failed", 2, 36, 24.5)
    project.bulk(at(40), "retry", {"hookIDs": [hook["id"]]})
    shown("retry", 2, 40, 40)
    assert project.next() == (at(40), True)
    project.begin(at(41)).attempt.error = "HTTP 500"
    project.end(hook, 0, at(42))
    shown("retry", 3, 42, 54.5)


# Size


def test_hundreds_of_hooks_over_a_month_take_seconds_at_most():
    with posthook.LocalPosthook() as server:
        with posthook.Posthook(server.api_key, base_url=server.url) as client:
            for number in range(300):
                client.hooks.schedule("/a", post_in=f"{number * 2 + 1}h")
        start = time.perf_counter()
        server.advance("30d")
        seconds = time.perf_counter() - start
        assert len(server.deliveries) == 300
    assert seconds < 5


# ==================================================================================================
# 11. The command line
# ==================================================================================================


@pytest.fixture
def known(monkeypatch):
    """Has the environment point the command line to a server, which it returns."""

    def known(server):
        monkeypatch.setenv("POSTHOOK_API_KEY", getattr(server, "api_key", "pk_test"))
        monkeypatch.setenv("POSTHOOK_BASE_URL", server.url)
        return server

    return known


@pytest.fixture
def local(known):
    """A LocalPosthook that the environment points the command line to."""
    with posthook.LocalPosthook() as server:
        yield known(server)


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
    # A process in the background of a shell ignores SIGINT, unless told otherwise.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)

    def as_program(*argv):
        monkeypatch.setattr(sys, "argv", ["posthook.py", *argv])
        return posthook.main()

    yield as_program
    signal.signal(signal.SIGINT, handler)


def process(*argv, python=(), **options):
    """Start the file as a program, with warnings as errors."""
    command = [sys.executable, "-W", "error", *python, posthook.__file__, *argv]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen(command, text=True, **options)


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
        assert f"\n    {name} " in overview
        assert posthook.main([name, "-h"]) == 0
        text, err = capsys.readouterr()
        assert text.startswith(f"usage: python posthook.py {name} ")
        assert f"\nexample: python posthook.py {name}" in text and not err
        assert text.isascii() and all(len(line) <= 100 for line in text.splitlines())


@pytest.mark.parametrize("name", ["schedule", "list", "retry", "replay", "cancel", "delete"])
def test_the_example_of_the_help_is_taken(name, local, capsys):
    posthook.main([name, "--help"])
    example = capsys.readouterr().out.split("example: python posthook.py ")[1]
    assert posthook.main(shlex.split(example)) == 0


def test_no_command_shows_the_usage_on_stderr(capsys):
    assert posthook.main([]) == 2
    out, err = capsys.readouterr()
    assert not out and err.startswith("usage: ") and "schedule" in err


def test_the_file_is_a_program_that_takes_the_arguments_of_the_process(as_program, capsys):
    assert as_program("--version") == 0
    assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL  # what is left is the process's end
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
        "schedule /\udcff --in 5m",
        "schedule /a --in 0s",
        "schedule /a --in 5m --data NaN",
        "schedule /a --in 5m --data",
        "schedule /a --in 5m --data {",
        "schedule /a --in 5m --data 1e999",
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
    ],
)
def test_a_wrong_command_line_is_2_with_one_sentence_and_nothing_sent(
    argv, local, run, monkeypatch
):
    monkeypatch.setenv("POSTHOOK_SIGNING_KEY", "ph_sk_local")
    heard = []
    local.observer = heard.append
    status, out, err = run(*argv.split(" "))
    assert (status, out, heard) == (2, [], [])
    assert re.fullmatch(r"posthook: \S.*\n", err)


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ("s3cret-t0ken list", "argument COMMAND: invalid choice"),
        ("ack https://a.example/x https://a.example/t0ken", "unrecognized arguments:"),
        ("list --api-key t0ken", "unrecognized arguments: --api-key"),
        ("list --api-key=t0ken", "unrecognized arguments: --api-key"),
        ("list --limit t0ken", "argument --limit: invalid int value"),
        ("list --all=t0ken", "argument --all: ignored explicit argument"),
    ],
)
def test_what_may_be_a_secret_is_not_repeated(argv, told, run):
    assert run(*argv.split(" ")) == (2, [], f"posthook: {told}\n")


def test_without_a_key_the_message_names_the_variable(run):
    status, out, err = run("list")
    assert (status, out) == (1, []) and "POSTHOOK_API_KEY" in err


def test_a_wrong_key_is_1_with_the_servers_text_and_without_the_key(run, monkeypatch):
    echo = answer({"error": "Invalid API key pk_topsecret, not phs_12 \x1b\n at all"}, 401)
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


def test_an_unreachable_service_is_1_with_its_address(run, known, pauses):
    with Script() as soon_closed:
        known(soon_closed)
    status, out, err = run("schedule", "/a", "--in", "5m")
    assert (status, out) == (1, []) and "127.0.0.1" in err and "refused" in err
    assert "may be done" not in err


@pytest.mark.parametrize(
    ("line", "is_perhaps_done"),
    [("schedule /a --in 5m", True), ("cancel a", True), ("get a", False)],
)
def test_a_lost_answer_is_1_and_says_where_it_may_be_done(
    run, known, pauses, line, is_perhaps_done
):
    with Script(Close()) as server:
        known(server)
        status, out, err = run(*line.split())
    assert (status, out) == (1, [])
    assert ("may be done all the same" in err) is is_perhaps_done


@pytest.mark.parametrize("body", [b"<html>", b'{"data": 1}', b'{"data": [1]}', b"[" * 100_000])
def test_an_answer_that_is_no_posthooks_is_1(body, run, known):
    with Script(answer(body)) as server:
        known(server)
        status, out, err = run("list")
    assert (status, out) == (1, []) and err.count("\n") == 1


# -- Hooks


def test_schedule_prints_the_hook_as_the_api_has_it(local, run):
    status, [hook], err = run("schedule", "/a?b=c", "--in", "1d2h", "--data", '{"u": ["\xe9\\n"]}')
    assert (status, err) == (0, "")
    assert hook == local.hooks[0].raw
    assert (hook["path"], hook["data"], hook["status"]) == ("/a?b=c", {"u": ["\xe9\n"]}, "pending")


@pytest.mark.parametrize(
    "mode", ["--at 2030-01-01T00:00:00Z", "--at-local 2030-01-01T00:00:00 --timezone UTC"]
)
def test_schedule_takes_a_time_and_a_local_time(mode, local, run):
    _, [hook], _ = run("schedule", *mode.split(), "/a")
    assert (hook["postAt"], hook["data"]) == ("2030-01-01T00:00:00Z", {})


def test_schedule_takes_a_retry_override(local, run):
    override = {"minRetries": 3, "delaySecs": 10, "strategy": "fixed"}
    _, [hook], _ = run("schedule", "/a", "--in", "5m", "--retry-override", json.dumps(override))
    assert hook["retryOverride"] == override


@pytest.mark.parametrize("override", ['{"min_retries": 3, "strategy": "fixed"}', "[]"])
def test_an_override_that_is_not_the_apis_is_refused_with_its_names(override, local, run):
    status, out, err = run("schedule", "/a", "--in", "5m", "--retry-override", override)
    assert (status, out, local.hooks) == (2, [], [])
    assert "minRetries, delaySecs, strategy, backoffFactor, maxDelaySecs, jitter\n" in err


def test_data_comes_from_a_file_or_from_stdin_as_utf_8(local, run, monkeypatch, tmp_path):
    file = tmp_path / "data.json"
    file.write_bytes('{"u": "\xe9"}'.encode())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'["\xc3\xa9"]'), "ascii"))
    _, [first], _ = run("schedule", "/a", "--in", "5m", "--data", f"@{file}")
    _, [second], _ = run("schedule", "/a", "--in", "5m", "--data", "-")
    assert (first["data"], second["data"]) == ({"u": "\xe9"}, ["\xe9"])


def test_data_that_never_ends_is_refused(local, run, tmp_path):
    (tmp_path / "endless").write_bytes(b'"' + b"a" * 2**24 + b'"')
    status, out, err = run("schedule", "/a", "--in", "5m", "--data", f"@{tmp_path / 'endless'}")
    assert (status, out, local.hooks) == (2, [], []) and "no JSON: Unterminated string" in err


@pytest.mark.parametrize(
    "stdin", [b"", b" \n", b"\xff", b"\xef\xbb\xbf1", b"Infinity", b"{} {}", None]
)
def test_stdin_that_is_no_json_is_refused(stdin, local, run, monkeypatch):
    stream = None if stdin is None else io.TextIOWrapper(io.BytesIO(stdin))
    monkeypatch.setattr(sys, "stdin", stream)
    status, out, err = run("schedule", "/a", "--in", "5m", "--data", "-")
    assert (status, out, local.hooks) == (2, [], [])
    assert ("not in UTF-8" if stdin == b"\xff" else "no JSON") in err


def test_json_that_is_broken_is_refused_with_the_place(local, run):
    _, _, err = run("schedule", "/a", "--in", "5m", "--data", '{"a" 1}')
    assert err.endswith('no JSON: Expecting ":" delimiter: line 1 column 6 (char 5)\n')


@pytest.mark.parametrize("name", [".", "none"])
def test_a_file_that_cannot_be_read_is_refused_by_its_name(name, run, tmp_path):
    status, out, err = run("deliver", "http://127.0.0.1:1/", "--data", f"@{tmp_path / name}")
    assert (status, out) == (1, []) and str(tmp_path / name) in err


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
    every = [f"/{number:02}" for number in range(12)]
    for path in every:
        run("schedule", path, "--in", "1h")
    assert len(run("list")[1]) == 10
    assert len(run("list", "--limit", "11")[1]) == 11
    for whole in (["--all"], ["--all", "--limit", "5"], ["--all", "--status", "pending"]):
        assert sorted(names(run("list", *whole)[1])) == every
    assert run("list", "--status", "failed") == run("list", "--status", "failed", "--all")


def test_list_all_prints_page_by_page_what_comes_before_an_error(run, known):
    page = answer({"data": [HOOK], "meta": {"cursor": "2"}})
    with Script(page, answer({"error": "no more"}, 403)) as server:
        known(server)
        assert run("list", "--all") == (1, [HOOK], "posthook: no more\n")
    assert "limit=1000" in server.requests[0].path


def test_delete_prints_a_line_for_each_id(local, run):
    _, [hook], _ = run("schedule", "/a", "--in", "5m")
    lines = [{"id": hook["id"], "deleted": True}, {"id": "nope", "deleted": True}]
    assert run("delete", hook["id"], "nope") == (0, lines, "")
    assert local.hooks == []


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
        for status, argv, result in (
            (0, ["ack", url], {"status": "completed", "applied": True}),
            (0, ["nack", url, "--body", '{"a": 1}'], {"status": "nacked", "applied": True}),
            (1, ["ack", url], {"status": "nacked", "applied": False}),
            (1, ["ack", url], {"status": "not_found", "applied": False}),
        ):
            assert run(*argv) == (status, [result], "")
    assert [request.body for request in server.requests[:2]] == [b"", b'{"a":1}']


def test_a_callback_url_may_come_from_a_file_where_no_command_line_shows_its_token(run, tmp_path):
    with Script(ok({"status": "completed"})) as server:
        (tmp_path / "url").write_text(f"{server.url}/ack/secret-token\n")
        assert run("ack", f"@{tmp_path / 'url'}")[0] == 0
    assert server.last.path == "/ack/secret-token"


@pytest.mark.parametrize("status", [401, 410])
def test_a_refused_callback_is_1_and_its_token_is_not_shown(status, run):
    with Script(lambda request: answer({"error": f"bad {request.path}"}, status)) as server:
        result, out, err = run("ack", f"{server.url}/v1/ack/0123-secret?token=hush-hush")
    assert (result, out) == (1, []) and str(status) in err
    assert "secret" not in err and "hush" not in err


def test_deliver_sends_what_the_service_would(run, monkeypatch):
    monkeypatch.setenv("POSTHOOK_SIGNING_KEY", "phs_new, phs_old")
    with Script(answer(b"\xe9\n", 202)) as server:
        status, [sent], err = run("deliver", f"{server.url}/a%20b?c=d#e", "--data", "[1]")
    assert (status, err, sent["status"], sent["body"]) == (0, "", 202, "\ufffd\n")
    request, signatures = server.last, posthook.create_signatures("phs_new")
    delivery = signatures.parse_delivery(request.body, request.headers)
    assert delivery.hook_id == request.headers["posthook-id"] == sent["id"]
    assert (request.path, delivery.path, delivery.data) == ("/a%20b?c=d", "/a%20b?c=d", [1])
    assert delivery.post_at == delivery.posted_at == delivery.created_at == delivery.updated_at
    assert abs(delivery.posted_at - datetime.now(timezone.utc)) < timedelta(seconds=9)
    sender = (request.headers["user-agent"], request.headers["content-type"])
    assert sender == ("Posthook/1.0", "application/json")
    assert "x-api-key" not in request.headers and "posthook-ack-url" not in request.headers
    assert set(request.json) == {
        *("id", "path", "data", "postAt", "postedAt", "createdAt", "updatedAt")
    }


def test_deliver_shows_a_refusal_and_is_1(run, monkeypatch):
    monkeypatch.setenv("POSTHOOK_SIGNING_KEY", "phs_topsecret")
    with Script(answer(status=500), Close()) as server:
        status, [sent], err = run("deliver", server.url)
        assert (status, sent["status"], server.last.path) == (1, 500, "/")
        assert (server.last.json["path"], server.last.json["data"]) == ("/", {})
        status, out, err = run("deliver", server.url)
        assert (status, out) == (1, []) and "127.0.0.1" in err


@pytest.mark.parametrize(("answered", "status"), [(200, 0), (299, 0), (300, 1), (401, 1)])
def test_deliver_is_0_for_every_2xx(answered, status, run, monkeypatch):
    monkeypatch.setenv("POSTHOOK_SIGNING_KEY", "phs_topsecret")
    with Script(answer(status=answered)) as server:
        assert run("deliver", server.url)[0] == status


def test_deliver_without_a_signing_key_names_the_variable(run):
    status, out, err = run("deliver", "http://127.0.0.1:1/")
    assert (status, out) == (2, []) and "POSTHOOK_SIGNING_KEY" in err


# -- local


@contextlib.contextmanager
def stdout_read_by(use, monkeypatch):
    """stdout is a pipe: ``use(out, client)`` reads it on a thread from the fourth line on."""

    def read():
        with open(reader) as out:
            lines = [out.readline() for _ in range(3)]
            url, key, signing_key = (line.strip().partition("=")[2] for line in lines)
            assert all(line.startswith("export POSTHOOK_") for line in lines)
            with posthook.Posthook(key, base_url=url, signing_key=signing_key) as client:
                use(out, client)

    reader, writer = os.pipe()
    thread = threading.Thread(target=read)
    thread.start()
    with open(writer, "w") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        yield
    thread.join()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_local_prints_each_call_and_attempt_until_a_signal(number, monkeypatch, capsys):
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    heard = []

    def use(out, client):
        client.hooks.schedule("/a", post_at="2020-01-01T00:00:00Z")
        heard.extend(sorted(out.readline() for _ in range(2)))
        client.hooks.list()  # its connection is left idle
        os.kill(os.getpid(), number)
        heard.extend(out)

    with stdout_read_by(use, monkeypatch):
        assert posthook.main(["local"]) == 128 + number
    call, attempt, last = heard
    assert re.fullmatch(r"# \d\d:\d\d:\d\d POST /v1/hooks 201\n", call)
    assert " delivery /a #1: " in attempt
    assert last.endswith(" GET /v1/hooks 200\n")
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert capsys.readouterr().err == ""


def test_local_forwards_signed_deliveries_with_callback_urls(monkeypatch):
    deliveries = []

    def use(out, client):
        client.hooks.schedule("/b", post_at="2020-01-01T00:00:00Z")
        while "delivery" not in out.readline():
            pass
        deliveries.append(client.signatures.parse_delivery(app.last.body, app.last.headers))
        client.hooks.schedule("/b", post_at="2020-01-01T00:00:00Z")
        assert held.arrived.wait(10)  # which holds up the end
        os.kill(os.getpid(), signal.SIGTERM)
        wait_until(lambda: signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)  # a second one kills
        held.release.set()

    held = Held()
    with Script(answer(), held) as app, stdout_read_by(use, monkeypatch):
        assert posthook.main(["local", "--forward", f"{app.url}/a", "--async-hooks"]) == 143
    assert app.last.path == "/a/b" and deliveries[0].ack_url.startswith("http://127.0.0.1:")


def test_local_ends_silently_when_nobody_reads_it_any_more(monkeypatch, capsys):
    def use(out, client):
        out.close()
        with contextlib.suppress(posthook.PosthookError):
            client.hooks.list()

    with stdout_read_by(use, monkeypatch):
        assert posthook.main(["local"]) == 141
    assert capsys.readouterr().err == ""


def test_local_says_that_its_port_is_in_use(local, run):
    status, out, err = run("local", "--port", local.url.rpartition(":")[2])
    assert (status, out) == (1, []) and "in use" in err


def test_local_says_that_its_port_is_none(run):
    status, out, err = run("local", "--port", "70000")
    assert (status, out) == (1, []) and "65535" in err


# -- Streams, signals, and the process


@pytest.mark.parametrize("line", ["--help", "schedule /a --in 5m", "delete a"])
def test_a_closed_pipe_is_141_and_silent(line, local, monkeypatch, capsys):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert posthook.main(line.split()) == 141
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("line", ["schedule --help", "delete a"])
def test_a_full_disk_is_1_and_says_so(line, local, monkeypatch, capsys):
    with open("/dev/full", "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert posthook.main(line.split()) == 1
    assert "No space left" in capsys.readouterr().err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_hook_that_cannot_be_printed_is_told_by_its_id(local, monkeypatch, capsys):
    with open("/dev/full", "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert posthook.main(["schedule", "/a", "--in", "5m"]) == 1
    assert f"hook {local.hooks[0].id} is scheduled, but not printed" in capsys.readouterr().err


def test_without_stdout_nothing_is_done_and_without_stderr_nothing_is_said(
    local, monkeypatch, capfd
):
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", None)
        assert posthook.main(["frob"]) == 2
    assert tuple(capfd.readouterr()) == ("", "")
    monkeypatch.setattr(sys, "stdout", None)
    assert posthook.main(["schedule", "/a", "--in", "5m"]) == 1
    assert capfd.readouterr().err == "posthook: stdout is closed\n"
    monkeypatch.setattr(sys, "stderr", None)
    assert posthook.main(["schedule", "/a", "--in", "5m"]) == 1
    assert local.hooks == [] and capfd.readouterr().err == ""


def test_ctrl_c_in_a_call_is_130_and_a_second_one_would_kill_the_program(run, as_program, known):
    def interrupt(request):
        os.kill(os.getpid(), signal.SIGINT)
        return Stall()

    with Script(interrupt) as server:
        known(server)
        assert run("list") == (130, [], "")
        assert as_program("list") == 130
    signal.signal(signal.SIGINT, posthook._interrupt)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL


def test_the_program_ends_silently_when_its_reader_has_gone(known):
    ids = itertools.count()

    def page(request):
        hooks = [{**HOOK, "id": f"{next(ids)}"} for _ in range(100)]
        return answer({"data": hooks, "meta": {"cursor": "more"}})

    with Script(page) as server:  # the list has no end
        known(server)
        program = process("list", "--all")
        assert json.loads(program.stdout.readline())["id"] == "0"
        program.stdout.close()
        assert (program.wait(20), program.stderr.read()) == (141, "")
        program.stderr.close()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("argv", [["list"], ["list", "--help"]])
def test_the_program_is_1_where_neither_results_nor_messages_can_be_written(argv, known):
    with Script(ok([HOOK])) as server, open("/dev/full", "w") as full:
        known(server)
        assert process(*argv, python=["-u"], stdout=full, stderr=full).wait(20) == 1


def test_ctrl_c_ends_the_program_with_130_no_word_and_what_was_printed_before(known):
    def interrupt(request):
        os.kill(program.pid, signal.SIGINT)
        return Stall()

    page = answer({"data": [HOOK], "meta": {"cursor": "2"}})
    with Script(page, interrupt) as server:
        known(server)
        program = process("list", "--all")
        assert ended(program) == (130, json.dumps(HOOK) + "\n", "")


def test_the_program_local_ends_on_sigterm_with_an_idle_connection_open():
    program = process("local")
    url = program.stdout.readline().strip().partition("=")[2]
    with posthook.Posthook("pk_local", base_url=url) as client:
        client.hooks.list()
        program.terminate()
        status, out, err = ended(program)
    assert (status, err) == (143, "")
    assert out.endswith(" GET /v1/hooks 200\n")


def test_the_program_runs_optimised_and_isolated_and_as_a_module(monkeypatch):
    out = run_python("-I", "-S", "-OO", posthook.__file__, "list", "-h")
    assert "example: python posthook.py list" in out
    monkeypatch.chdir(os.path.dirname(os.path.abspath(posthook.__file__)))
    out = run_python("-X", "dev", "-bb", "-W", "error", "-m", "posthook", "--version")
    assert out == f"{posthook.__version__}\n"


# -- The demo


def test_the_demo_shows_hooks_attempts_and_verified_deliveries(capsys, monkeypatch):
    for name in ("POSTHOOK_API_KEY", "POSTHOOK_SIGNING_KEY", "POSTHOOK_BASE_URL", "http_proxy"):
        monkeypatch.setenv(name, "http://never-used.invalid")
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
    program = process("demo", python=["-I", "-S"], env={**os.environ, **env}, cwd=tmp_path)
    status, out, err = ended(program)
    assert (status, err, os.listdir(tmp_path)) == (0, "", []) and "completed" in out


# ==================================================================================================
# The README, and the file without what stands below the cut line
# ==================================================================================================

README = (pathlib.Path(__file__).parent / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"(<!-- not run: [^>]+ -->\n)?```python\n(.*?)```", re.DOTALL)


def test_the_examples_of_the_readme_run(monkeypatch, capsys):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])  # two examples configure logging
    for logger in root, logging.getLogger("posthook"):
        monkeypatch.setattr(logger, "level", logger.level)
    monkeypatch.setenv("POSTHOOK_API_KEY", "pk_...")
    monkeypatch.setenv("POSTHOOK_SIGNING_KEY", "ph_sk_... ph_sk_local")
    names = {"__name__": "readme", "contextlib": contextlib}
    with posthook.LocalPosthook(api_key="pk_...", signing_key="ph_sk_...") as server:
        monkeypatch.setenv("POSTHOOK_BASE_URL", server.url)
        for note, code in BLOCK.findall(README):
            if not note:
                exec(code.replace("@pytest.fixture", "@contextlib.contextmanager"), names)
        names["client"].close()
        assert [hook.path for hook in server.hooks][0] == "/webhooks/user-created"
    with names["local"]() as local:
        names["test_the_reminder_goes_out_after_two_hours"](local)
    assert "Hook not found 404 not_found\n" in capsys.readouterr().out


def test_every_python_example_of_the_readme_is_python():
    for note, code in BLOCK.findall(README):
        compile(code, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        assert note or "await " not in code.split("def ")[0]


def test_the_transcript_of_the_readme_is_the_demos(capsys):
    def masked(text):
        return re.sub(r"[0-9a-f]{8}-[-0-9a-f]{27}|[-0-9]{10} [:0-9]{8}|0\.\d{3} s", "*", text)

    assert posthook.main(["demo"]) == 0
    demo = masked(capsys.readouterr().out)
    (transcript,) = re.findall(r"```text\n(.*?)```", README, re.DOTALL)
    assert [part for part in masked(transcript).split("...\n") if part not in demo] == []


def test_the_command_lines_of_the_readme_are_understood(local, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digest.json").write_text("{}")
    monkeypatch.setenv("POSTHOOK_SIGNING_KEY", local.signing_key)
    monkeypatch.setenv("ACK_URL", f"{local.url}/v1/callbacks/gone/1/ack/token")
    monkeypatch.setenv("NACK_URL", f"{local.url}/v1/callbacks/gone/1/nack/token")
    for line in re.findall(r"^python3 posthook\.py (?!demo|local)(.+)", README, re.MULTILINE):
        line = os.path.expandvars(line.replace("http://127.0.0.1:8000", local.url))
        assert posthook.main(shlex.split(line)) in (0, 1), capsys.readouterr().err


def test_every_link_inside_of_the_readme_leads_to_a_heading():
    headings = re.findall(r"^#+ (.+)", re.sub(r"```.*?```", "", README, flags=re.DOTALL), re.M)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#(.+?)\)", README)) - anchors == set()


def test_the_readme_begins_with_the_demo_and_names_every_public_name():
    assert "\npython3 posthook.py demo\n" in "\n".join(README.split("\n")[:40])
    assert [name for name in posthook.__all__ if name not in README] == []


def test_the_file_works_without_what_stands_below_the_cut_line(tmp_path, imported):
    whole = pathlib.Path(posthook.__file__).read_text(encoding="utf-8")
    above = whole[: whole.index("# THE CUT LINE.")]
    (tmp_path / "cut.py").write_text(above, encoding="utf-8")
    cut = imported("cut", tmp_path)
    with Script(ok(HOOK)) as server:
        assert not hasattr(cut, "LocalPosthook") and "main" not in cut.__all__
        assert all(hasattr(cut, name) for name in cut.__all__)
        with cut.Posthook("pk", base_url=server.url, signing_key="key") as posthooks:
            assert posthooks.hooks.schedule("/x", post_in="5m").id == HOOK["id"]
            body = b'{"id": "a"}'
            delivery = posthooks.signatures.parse_delivery(body, posthooks.signatures.sign(body))
    assert delivery.hook_id == "a"

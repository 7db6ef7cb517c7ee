"""The tests of posthook.py, in the order of its sections. Real sockets on 127.0.0.1, no mocks."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import gzip
import json
import os
import re
import socket
import ssl
import struct
import sys
import threading
import time
import traceback
import urllib.error
import urllib.request

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
                assert self._lock.wait_for(lambda: not self._open, 10)

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
                    self._open.remove(raw)
                    self._open.add(connection)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with connection.makefile("rb") as stream:
                while self._exchange(connection, stream):
                    pass
        except (OSError, ValueError):
            pass
        finally:
            connection.close()
            raw.close()
            with self._lock:
                self._open -= {raw, connection}
                self._lock.notify_all()

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


class Raw(Script):
    """A server on 127.0.0.1 that has ``play`` do as it likes with each connection."""

    def __init__(self, play):
        self._play = play
        super().__init__(b"")

    def _serve(self, connection):
        with connection, contextlib.suppress(OSError, ValueError):
            self._play(connection)


def by_id(**steps):
    """A step: the one of the hook that is asked for."""
    return lambda request: steps[request.path.rpartition("/")[2]]


def trickled(data, pause=0.02):
    """A step: the bytes one by one."""

    def step(request):
        for n in range(len(data)):
            yield data[n : n + 1]
            time.sleep(pause)

    return step


def endless(head, piece, pause=0.0):
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
    assert "pk_test" not in shown
    assert "pass-word" not in shown
    return error


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


def opened(**options):
    """An opener that is closed at the end of a ``with``."""
    return contextlib.closing(posthook.build_opener(**options))


def trusting(**options):
    """An opener that trusts the certificate."""
    return opened(ssl_context=ssl.create_default_context(cadata=CERTIFICATE), **options)


class Address:
    """What ``client`` needs to know of a server."""

    def __init__(self, port, scheme="http", host="127.0.0.1"):
        self.url = f"{scheme}://{host}:{port}"


def in_threads(count, function):
    """The results of ``function(0)``, ``function(1)``, ... on as many threads at once."""
    results = [None] * count

    def run(n):
        results[n] = function(n)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return results


@contextlib.contextmanager
def at_work(call, server, requests=1):
    """A thread makes a call that has reached the server; at the end its result is in the list."""
    result = []

    def run():
        with contextlib.suppress(posthook.PosthookError):
            result.append(call())

    thread = threading.Thread(target=run)
    thread.start()
    server.wait_for(requests)
    try:
        yield result
    finally:
        thread.join(20)


class cuttable:
    """A thread that makes a call, and ``cut``, which ends it; both outcomes are kept."""

    def __init__(self, call, is_cut=False):
        self.result = self.error = None
        self.lifeline = posthook._Lifeline()
        self.cut = self.lifeline.cut
        if is_cut:
            self.cut()
        self._thread = threading.Thread(target=self._run, args=(call,))

    def _run(self, call):
        posthook._this_thread.lifeline = self.lifeline
        try:
            self.result = call()
        except posthook.PosthookError as error:
            self.error = error

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc_info):
        started = time.monotonic()
        self._thread.join(20)
        assert time.monotonic() - started < 2


def wait_until(condition):
    """For what has no event to wait for."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def forked(function):
    """The exit status of a child process that calls ``function``: 0 if that raises nothing."""
    child = os.fork()
    if child == 0:  # pragma: no cover  # the child is not measured
        try:
            function()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def handler(opener):
    return opener.handlers[0]


def pool(opener):
    """What the opener's pool says of its state."""
    return repr(handler(opener))


def idle_connections(opener):
    """The one used last stands last."""
    return handler(opener)._pool._idle


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


# ==================================================================================================
# 5. Requests and answers
# ==================================================================================================


# ==================================================================================================
# 6. Transport
# ==================================================================================================


SMALL = b'{"data": {"id": "x"}}'
OK = answer(SMALL)
HEAD = b"HTTP/1.1 200 OK\r\n"


def framed(*headers, body=SMALL, line="HTTP/1.1 200 OK"):
    """An answer with these headers and no other, as bytes."""
    return "\r\n".join([line, *headers, "", ""]).encode("latin-1") + body


def chunked(*chunks, head="HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"):
    return head.encode() + b"".join(chunks)


CHUNKED = chunked(b"a\r\n", SMALL[:10], b"\r\nb\r\n", SMALL[10:], b"\r\n0\r\n\r\n")
LENGTH = f"Content-Length: {len(SMALL)}"

# What comes over the wire, and how many connections two calls then take.
WHOLE_ANSWERS = {
    "a length": (OK, 1),
    "chunks": (CHUNKED, 1),
    "one byte a chunk": (
        chunked(*(b"1\r\n%c\r\n" % byte for byte in SMALL), b"0\r\n\r\n"),
        1,
    ),
    "upper-case hex, leading zeros, an extension, a trailer": (
        chunked(
            b"000A;name=value\r\n", SMALL[:10], b"\r\nB\r\n", SMALL[10:], b"\r\n00\r\na: b\r\n\r\n"
        ),
        1,
    ),
    "a length, byte by byte": (trickled(OK, 0.001), 1),
    "100 first": (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 1),
    "102 and 103 first": (
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + OK,
        1,
    ),
    "no reason phrase": (framed(LENGTH, line="HTTP/1.1 200"), 1),
    "an empty reason phrase": (framed(LENGTH, line="HTTP/1.1 200 "), 1),
    "a header in Latin-1": (framed(LENGTH, "server: caf\xe9"), 1),
    "names in any case": (framed(LENGTH.upper()), 1),
    "a folded header": (framed(LENGTH, "server: one", "  two"), 1),
    "a NUL in a header": (framed(LENGTH, "server: a\0b"), 1),
    "a repeated header": (framed(LENGTH, "vary: a", "vary: b"), 1),
    "an unknown minor version": (framed(LENGTH, line="HTTP/1.7 200 OK"), 1),
    "keep-alive by HTTP/1.0": (
        framed(LENGTH, "connection: keep-alive", line="HTTP/1.0 200 OK"),
        1,
    ),
    "no length": (Close(framed()), 2),
    "no length, by HTTP/1.0": (Close(framed(line="HTTP/1.0 200 OK")), 2),
    "a length by HTTP/1.0": (framed(LENGTH, line="HTTP/1.0 200 OK"), 2),
    "connection: close": (framed(LENGTH, "connection: close"), 2),
    "connection: close, said second": (
        framed(LENGTH, "connection: keep-alive", "connection: close"),
        2,
    ),
}


@pytest.mark.parametrize("step, connections", WHOLE_ANSWERS.values(), ids=WHOLE_ANSWERS)
def test_an_answer_is_read_in_every_form_that_http_has_for_it(step, connections):
    with Script(step) as server, client(server) as posthooks:
        assert posthooks.hooks.get("a").id == "x"
        assert posthooks.hooks.get("b").id == "x"
    assert server.connections == connections


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
    "too many headers": framed(LENGTH, *["a: b"] * 200),
    "a header without a colon": framed("nonsense", LENGTH),
    "a header without a name": framed(LENGTH, ": nothing"),
    "a space before the colon": framed(LENGTH, "name : value"),
    "a first header that is folded": framed("  folded", LENGTH),
    "a folded length": framed("content-length: 2", " 1"),
    "a negative length": framed("content-length: -1"),
    "a signed length": framed("content-length: +21"),
    "an empty length": framed("content-length:"),
    "a length in words": framed("content-length: all"),
    "a length beyond any number": framed("content-length: " + "9" * 5000),
    "two lengths": framed(LENGTH, "content-length: 3"),
    "a length twice": framed(LENGTH, LENGTH),
    "a length and chunks": chunked(
        b"15\r\n",
        SMALL,
        b"\r\n0\r\n\r\n",
        head=f"HTTP/1.1 200 OK\r\n{LENGTH}\r\ntransfer-encoding: chunked\r\n\r\n",
    ),
    "an unknown transfer coding": framed("transfer-encoding: gzip, chunked"),
    "a chunk that is too short": chunked(b"fff\r\n", SMALL, b"\r\n0\r\n\r\n"),
    "a chunk that is too long": chunked(b"5\r\n", SMALL, b"\r\n0\r\n\r\n"),
    "a chunk size that is no number": chunked(b"xyz\r\n", SMALL, b"\r\n0\r\n\r\n"),
    "a negative chunk size": chunked(b"-5\r\n", SMALL, b"\r\n0\r\n\r\n"),
    "a chunk of all that comes": chunked(b"-1\r\n", SMALL, b"\r\n0\r\n\r\n"),
    "a chunk size beyond any number": chunked(b"f" * 40 + b"\r\n", SMALL),
    "a chunk size without end": chunked(b"5;" + b"k" * 70_000),
    "a trailer without end": chunked(b"0\r\na: " + b"k" * 70_000),
    "gzip that nobody asked for": framed("content-encoding: gzip", body=gzip.compress(SMALL)),
    "a gzip bomb": framed("content-encoding: gzip", body=gzip.compress(bytes(10_000_000))),
}


@pytest.mark.parametrize("data", BROKEN_ANSWERS.values(), ids=BROKEN_ANSWERS)
def test_a_broken_answer_is_an_error_and_the_next_call_is_right(data):
    with Script(Close(data), OK) as server, client(server) as posthooks:
        error = failure(posthooks.hooks.get, "a")
        assert type(error) is posthook.PosthookConnectionError
        assert error.maybe_sent is True
        assert posthooks.hooks.get("b").id == "x"
    assert server.connections == 2


UNUSABLE_BODIES = {
    "not UTF-8": b'{"data": {"id": "\xe9"}}',
    "UTF-16": SMALL.decode().encode("utf-16"),
    "a BOM": b"\xef\xbb\xbf" + SMALL,
    "deep": b"[" * 200_000,
    "a huge number": b'{"data": {"id": ' + b"9" * 10_000 + b"}}",
    "empty": b"",
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
            assert type(error) is posthook.PosthookConnectionError
            assert error.maybe_sent is True
        assert posthooks.hooks.get("b").id == "x"
    assert server.connections == len(cuts) + 1


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_a_request_that_is_cut_at_any_byte_is_an_error_and_the_next_call_is_right(reset):
    sizes = iter(range(1, 320, 8))

    def play(connection):
        size = next(sizes, None)
        if size is None:
            read_request(connection.makefile("rb"))
            connection.sendall(OK)
            return
        connection.recv(size, socket.MSG_WAITALL)
        if reset:
            reset_at_close(connection)

    with Raw(play) as server, client(server) as posthooks:
        for _ in range(1, 320, 8):
            error = failure(posthooks.hooks.schedule, "/a", post_in="5m", data="a" * 200)
            assert type(error) is posthook.PosthookConnectionError
            assert error.maybe_sent is True
        assert posthooks.hooks.get("b").id == "x"


def test_a_refused_connection_is_an_error_that_says_that_nothing_was_sent():
    with closed_port() as port, client(Address(port)) as posthooks:
        error = failure(posthooks.hooks.schedule, "/a", post_in="5m")
    assert type(error) is posthook.PosthookConnectionError
    assert error.maybe_sent is False
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
    "chunks byte by byte": endless(chunked(), b"1\r\na\r\n", 0.02),
    "100 Continue for ever": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "103 for ever": endless(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
}


@pytest.mark.parametrize("step", STALLS.values(), ids=STALLS)
def test_a_call_ends_at_its_deadline_wherever_the_answer_stalls(step):
    with Script(by_id(a=step, b=OK)) as server, client(server) as posthooks:
        error = failure(posthooks.hooks.get, "a", timeout=0.2)
        assert type(error) is posthook.PosthookTimeoutError
        assert error.maybe_sent is True
        assert posthooks.hooks.get("b").id == "x"


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("pace", [None, 0.02], ids=["stalled", "trickling"])
def test_a_call_ends_at_its_deadline_while_its_request_is_written(tmp_path, scheme, pace):
    def play(connection):
        with tls.wrap_socket(connection, True) if scheme == "https" else connection as plain:
            read_request(plain.makefile("rb", 0))
            plain.sendall(OK)
            while not gone.wait(pace) and plain.recv(1000):
                pass

    gone, tls = threading.Event(), server_tls(tmp_path)
    with Raw(play) as server, trusting() as opener:
        posthooks = client(Address(server.port, scheme), http_client=opener)
        posthooks.hooks.get("a")  # connects without haste
        big = "a" * 15_000_000
        error = failure(posthooks.hooks.schedule, "/a", post_in="5m", data=big, timeout=0.2)
        gone.set()
    assert type(error) is posthook.PosthookTimeoutError
    assert error.maybe_sent is True


def test_a_call_ends_at_its_deadline_while_it_connects():
    with full_backlog() as port, client(Address(port)) as posthooks:
        error = failure(posthooks.hooks.get, "a", timeout=0.2)
    assert type(error) is posthook.PosthookTimeoutError
    assert error.maybe_sent is False


@pytest.mark.parametrize("hello", [0, 1, 30], ids=["before", "at", "in"])
def test_a_call_ends_at_its_deadline_in_a_tls_handshake(hello):
    def play(connection):
        if hello:
            connection.recv(65_536)
            connection.sendall(b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03" + bytes(hello))
        gone.wait(10)

    gone = threading.Event()
    with Raw(play) as server, client(Address(server.port, "https")) as posthooks:
        error = failure(posthooks.hooks.get, "a", timeout=0.2)
        gone.set()
    assert type(error) is posthook.PosthookTimeoutError
    assert error.maybe_sent is False


def test_an_exhausted_deadline_sends_nothing():
    with Script(OK) as server, opened() as opener:
        error = failure(opener.open, server.url, timeout=0)
    assert type(error) is posthook.PosthookTimeoutError
    assert error.maybe_sent is False
    assert server.requests == []


# Sizes.


@pytest.mark.parametrize(
    "step",
    [
        Stall(framed("content-length: 100001")),
        endless(framed(), bytes(5000)),
        endless(chunked(), b"a\r\n0123456789\r\n" * 500),
        endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 500),
    ],
    ids=["announced", "endless", "chunks", "100 Continue"],
)
def test_an_answer_larger_than_the_limit_is_an_error(monkeypatch, step):
    monkeypatch.setattr(posthook, "_MOST_BYTES", 100_000)
    with Script(step, OK) as server, client(server) as posthooks:
        error = failure(posthooks.hooks.get, "a")
        assert "larger than 100000 bytes" in str(error)
        assert posthooks.hooks.get("b").id == "x"


def test_a_large_answer_is_read_whole():
    big = answer({"data": {"id": "x", "data": "a" * 5_000_000}})
    with Script(big) as server, client(server) as posthooks:
        assert len(posthooks.hooks.get("a").data) == 5_000_000
        assert posthooks.hooks.get("b").id == "x"
    assert server.connections == 1


@pytest.mark.parametrize("is_read", [False, True], ids=["early", "late"])
def test_a_413_that_comes_while_the_body_is_written_is_that_error_or_a_lost_connection(is_read):
    def play(connection):
        connection.recv(1000)
        connection.sendall(answer({"error": "too large"}, 413))
        connection.shutdown(socket.SHUT_WR)
        while is_read and connection.recv(100_000):
            pass

    with Raw(play) as server, client(server) as posthooks:
        big = "a" * 10_000_000
        error = failure(posthooks.hooks.schedule, "/a", post_in="5m", data=big)
    expected = (posthook.PayloadTooLargeError, posthook.PosthookConnectionError)
    assert isinstance(error, expected[:1] if is_read else expected)


def test_a_connection_that_breaks_while_the_body_is_written_is_an_error():
    def play(connection):
        connection.recv(1000)
        reset_at_close(connection)

    with Raw(play) as server, client(server) as posthooks:
        error = failure(posthooks.hooks.schedule, "/a", post_in="5m", data="a" * 10_000_000)
    assert type(error) is posthook.PosthookConnectionError
    assert error.maybe_sent is True
    assert "was lost" in str(error)


# Statuses.


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 205 Reset Content\r\ncontent-length: 0\r\n\r\n",
        answer(b"gone", 200),
    ],
)
def test_a_delete_takes_any_2xx(data):
    with Script(data) as server, client(server) as posthooks:
        assert posthooks.hooks.delete("a") is None
        assert posthooks.hooks.delete("b") is None
    assert server.connections == 1


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


def test_a_304_has_no_body_whatever_its_length_says():
    not_modified = b"HTTP/1.1 304 Not Modified\r\ncontent-length: 100\r\n\r\n"
    with Script(not_modified, OK) as server, client(server) as posthooks:
        assert failure(posthooks.hooks.get, "a").status_code == 304
        assert posthooks.hooks.get("b").id == "x"
    assert server.connections == 1


def test_a_connection_that_switched_protocols_is_not_used_again():
    switch = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\r\n"
    with Script(switch, OK) as server, client(server) as posthooks:
        assert failure(posthooks.hooks.get, "a").status_code == 101
        assert posthooks.hooks.get("b").id == "x"
    assert server.connections == 2


# Connections.

EVIL = answer({"data": {"id": "evil"}})


@pytest.mark.parametrize(
    "data",
    [OK + EVIL, OK + b"\r\n", CHUNKED + EVIL, b"HTTP/1.1 204 X\r\n\r\n" + EVIL],
    ids=["an answer", "a line", "after chunks", "after 204"],
)
@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
def test_bytes_after_an_answer_are_not_the_next_ones(tmp_path, data, is_tls):
    tls = server_tls(tmp_path) if is_tls else None
    with Script(data, OK, tls=tls) as server, trusting() as opener:
        posthooks = client(server, http_client=opener)
        posthooks.hooks.delete("a")
        assert posthooks.hooks.get("b").id == "x"
    assert server.connections == 2


@pytest.mark.parametrize("late", [EVIL, Close(), Reset()], ids=["bytes", "an end", "a reset"])
@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
def test_an_idle_connection_that_has_something_to_tell_is_not_used_again(tmp_path, late, is_tls):
    tls = server_tls(tmp_path) if is_tls else None
    with Script(OK, tls=tls) as server, trusting() as opener:
        posthooks = client(server, http_client=opener)
        posthooks.hooks.get("a")
        server.interject(late)
        assert posthooks.hooks.schedule("/b", post_in="5m").id == "x"
    assert server.connections == 2


def test_a_call_uses_the_connection_of_the_one_before():
    with Script(OK) as server, client(server) as posthooks:
        for _ in range(5):
            posthooks.hooks.get("a")
    assert server.connections == 1


def test_the_connection_used_last_is_used_first():
    def step(request):
        barrier.wait(10)
        return OK

    barrier = threading.Barrier(2)
    with Script(step, step, OK) as server, opened() as opener:
        posthooks = client(server, http_client=opener)
        in_threads(2, lambda n: posthooks.hooks.get("a"))
        assert pool(opener) == "<connections: 0 at work, 2 idle, at most 100>"
        for _ in range(3):
            last = idle_connections(opener)[-1]
            posthooks.hooks.get("b")
            assert idle_connections(opener)[-1] is last
    assert server.connections == 2


@pytest.mark.parametrize("clock", [0, 1], ids=["monotonic", "wall"])
@pytest.mark.parametrize("seconds", [20, -20], ids=["forward", "back"])
def test_an_idle_connection_expires_by_either_clock(clock, seconds):
    with Script(OK) as server, opened() as opener:
        posthooks = client(server, http_client=opener)
        posthooks.hooks.get("a")
        connection = idle_connections(opener)[0]
        times = list(connection._idle_since)
        times[clock] -= seconds
        connection._idle_since = tuple(times)
        posthooks.hooks.get("b")
    assert server.connections == 2


def test_no_connection_is_kept_with_an_expiry_of_zero():
    with Script(OK) as server, opened(keepalive_expiry=0) as opener:
        client(server, http_client=opener).hooks.get("a")
        assert pool(opener) == "<connections: 0 at work, 0 idle, at most 100>"


def test_connections_to_other_hosts_make_room():
    with Script(OK) as one, Script(OK) as two, opened(max_connections=1) as opener:
        for server in (one, two, one):
            assert client(server, http_client=opener).hooks.get("a").id == "x"
            assert pool(opener) == "<connections: 0 at work, 1 idle, at most 1>"
    assert (one.connections, two.connections) == (2, 1)


def test_an_opener_remembers_a_limited_number_of_hosts():
    with Script(OK) as server, opened() as opener:
        handler(opener)._targets.update({("http", str(n)): None for n in range(1000)})
        posthooks = client(server, http_client=opener)
        assert posthooks.hooks.get("a").id == "x"
        assert posthooks.hooks.get("b").id == "x"
        assert len(handler(opener)._targets) == 1000


def test_callers_beyond_max_connections_wait_for_their_turn():
    with Script(OK) as server, opened(max_connections=2) as opener:
        posthooks = client(server, http_client=opener)
        hooks = in_threads(10, lambda n: posthooks.hooks.get("a"))
        assert [hook.id for hook in hooks] == ["x"] * 10
        assert pool(opener).startswith("<connections: 0 at work")
    assert server.connections <= 2


def test_a_caller_waits_for_its_turn_no_longer_than_its_deadline():
    with Script(Stall(), OK) as server, opened(max_connections=1) as opener:
        posthooks = client(server, http_client=opener)
        with at_work(lambda: posthooks.hooks.get("a"), server):
            assert pool(opener) == "<connections: 1 at work, 0 idle, at most 1>"
            error = failure(posthooks.hooks.get, "b", timeout=0.1)
            server.interject(Close())
        assert posthooks.hooks.get("c").id == "x"
    assert type(error) is posthook.PosthookTimeoutError
    assert error.maybe_sent is False
    assert "all 1 connections were at work" in str(error)


def test_a_turn_that_comes_at_the_last_moment_is_passed_on():
    pool = posthook._Pool(1, 15)
    pool.lease(time.monotonic() + 10)
    turn = threading.Event()
    pool._line.append(turn)
    pool.release(None)
    assert repr(pool) == "<connections: 1 at work, 0 idle, at most 1>"
    pool._leave_line(turn)
    assert repr(pool) == "<connections: 0 at work, 0 idle, at most 1>"


def test_fifty_threads_never_get_each_others_answers():
    def echo(request):
        return ok({"id": request.path.rpartition("/")[2]})

    with Script(echo) as server, opened() as opener:
        posthooks = client(server, http_client=opener)
        names = in_threads(50, lambda n: [posthooks.hooks.get(f"{n}.{m}").id for m in range(4)])
        assert len({connection.target for connection in idle_connections(opener)}) == 1
    assert names == [[f"{n}.{m}" for m in range(4)] for n in range(50)]
    assert server.connections <= 50


def test_close_leaves_calls_under_way_to_end_by_themselves():
    def step(request):
        assert closed.wait(10)
        return OK

    closed = threading.Event()
    with Script(OK, step) as server, client(server) as posthooks:
        posthooks.hooks.get("a")
        with at_work(lambda: posthooks.hooks.get("b"), server, requests=2) as result:
            posthooks.close()
            assert repr(posthooks).endswith("<connections: closed, 0 idle, at most 100>)")
            closed.set()
        assert result[0].id == "x"
        assert repr(posthooks).endswith("<connections: closed, 0 idle, at most 100>)")


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
        sock = idle_connections(opener)[0]._sock
        del opener
        gc.collect()
        assert sock.fileno() == -1


def test_what_failed_calls_leave_to_the_garbage_collector_is_silent(monkeypatch):
    complaints = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    faults = {"a": Close(OK[:-1]), "b": Close(HEAD), "c": Stall()}
    with Script(by_id(**faults)) as server, client(server) as posthooks:
        for id in faults:
            failure(posthooks.hooks.get, id, timeout=0.2)
    gc.collect()
    assert complaints == []


def test_an_interrupted_call_leaves_nothing_behind(monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    with Script(OK) as server, opened() as opener:
        posthooks = client(server, http_client=opener)
        for name in ("transmit", "head"):
            posthooks.hooks.get("a")
            with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
                patch.setattr(posthook._Connection, name, interrupt)
                posthooks.hooks.get("b")
            assert pool(opener) == "<connections: 0 at work, 0 idle, at most 100>"
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(posthook, "_hold_socket", interrupt)
            posthooks.hooks.get("c")
        assert posthooks.hooks.get("d").id == "x"


def test_an_interrupted_caller_leaves_the_line(monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    pool = posthook._Pool(1, 15)
    pool.lease(time.monotonic() + 10)
    monkeypatch.setattr(posthook, "_wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        pool.lease(time.monotonic() + 10)
    pool.release(None)
    assert repr(pool) == "<connections: 0 at work, 0 idle, at most 1>"


# Names and addresses.


def resolve(monkeypatch, *addresses):
    """Have every name resolve to these (family, port) pairs of loopback."""
    host = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
    found = [
        (family, socket.SOCK_STREAM, 6, "", (host.get(family), port)) for family, port in addresses
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args: found)


def test_an_unknown_name_is_an_error_that_says_that_nothing_was_sent(monkeypatch):
    def fail(*args):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with client(Address(80, host="posthook.invalid")) as posthooks:
        error = failure(posthooks.hooks.schedule, "/a", post_in="5m")
    assert type(error) is posthook.PosthookConnectionError
    assert error.maybe_sent is False
    assert str(error).startswith("posthook.invalid:80 cannot be reached")


def test_a_name_that_no_resolver_takes_is_an_error():
    with client(Address(80, host="a..invalid")) as posthooks:
        error = failure(posthooks.hooks.get, "a")
    assert type(error) is posthook.PosthookConnectionError
    assert error.maybe_sent is False


@pytest.mark.parametrize("dead", ["refused", "silent", "no such family"])
def test_the_next_address_is_tried_where_the_first_is_dead(monkeypatch, dead):
    with Script(OK) as server, closed_port() as refused, full_backlog() as silent:
        first = {
            "refused": (socket.AF_INET, refused),
            "silent": (socket.AF_INET, silent),
            "no such family": (9999, refused),
        }
        resolve(monkeypatch, first[dead], (socket.AF_INET, server.port))
        with posthook.Posthook("pk_test", base_url="http://a.invalid", timeout=1) as posthooks:
            assert posthooks.hooks.get("a").id == "x"
    assert server.connections == 1


def test_the_last_address_tells_why_none_could_be_reached(monkeypatch):
    with full_backlog() as silent, closed_port() as refused:
        resolve(monkeypatch, (socket.AF_INET, silent), (socket.AF_INET, refused))
        with posthook.Posthook("pk_test", base_url="http://a.invalid", timeout=0.2) as posthooks:
            error = failure(posthooks.hooks.get, "a")
    assert type(error) is posthook.PosthookConnectionError
    assert isinstance(error.__cause__, ConnectionRefusedError)


# TLS.


def test_a_trusted_certificate_is_enough_and_the_connection_is_kept(tmp_path):
    with Script(OK, tls=server_tls(tmp_path)) as server, trusting() as opener:
        posthooks = client(server, http_client=opener)
        assert posthooks.hooks.get("a").id == "x"
        assert posthooks.hooks.schedule("/b", post_in="5m").id == "x"
    assert server.connections == 1


def test_the_environment_says_which_certificates_are_trusted(tmp_path, monkeypatch):
    (tmp_path / "ca.pem").write_text(CERTIFICATE)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with Script(OK, tls=server_tls(tmp_path)) as server, client(server) as posthooks:
        assert posthooks.hooks.get("a").id == "x"
        assert posthooks.hooks.get("b").id == "x"


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
        url = f"https://{host}:{server.port}"
        posthooks = posthook.Posthook("pk_test", base_url=url, http_client=opener)
        error = failure(posthooks.hooks.get, "a")
    assert type(error) is posthook.PosthookConnectionError
    assert error.maybe_sent is False
    assert re.search(reason, str(error))
    assert server.requests == []
    assert server.connections == 1


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize(
    "data",
    [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", bytes(50), b"\x16\x03\x03\x00\x7a\x02\x00"],
    ids=["nothing", "plain HTTP", "garbage", "half a handshake"],
)
def test_whatever_is_no_tls_is_an_error_before_anything_is_sent(data, end):
    def play(connection):
        received.append(connection.recv(65_536))
        connection.sendall(data)
        if end == "reset":
            reset_at_close(connection)

    received = []
    with Raw(play) as server, client(Address(server.port, "https")) as posthooks:
        error = failure(posthooks.hooks.get, "a")
    assert type(error) is posthook.PosthookConnectionError
    assert error.maybe_sent is False
    assert b"pk_test" not in b"".join(received)


def test_without_the_ssl_module_only_https_fails(monkeypatch):
    monkeypatch.setitem(sys.modules, "ssl", None)
    with Script(OK) as server, client(server) as posthooks:
        assert posthooks.hooks.get("a").id == "x"
        with client(Address(server.port, "https")) as secure:
            error = failure(secure.hooks.get, "a")
    assert "ssl" in str(error)
    assert error.maybe_sent is False
    assert server.connections == 1


# Proxies.


class Proxy(Raw):
    """A proxy that opens a tunnel to itself: it answers CONNECT with ``tunnel``, then OK by TLS."""

    def __init__(self, tls, tunnel=b"HTTP/1.1 200 Connection established\r\n\r\n"):
        self.requests = []
        super().__init__(lambda connection: self._tunnel(connection, tls, tunnel))
        self.url = f"http://user:pass-word@127.0.0.1:{self.port}"

    def _tunnel(self, connection, tls, tunnel):
        self.requests.append(read_request(connection.makefile("rb", 0)))
        connection.sendall(tunnel)
        if isinstance(tunnel, Reset):
            reset_at_close(connection)
        if isinstance(tunnel, (Close, Reset)):
            return
        with tls.wrap_socket(connection, True) as secure, secure.makefile("rb") as stream:
            while (request := read_request(stream)) is not None:
                self.requests.append(request)
                secure.sendall(OK)


CREDENTIALS = "Basic dXNlcjpwYXNzLXdvcmQ="  # user:pass-word


def test_a_proxy_is_asked_for_the_whole_url_of_a_plain_request():
    with (
        Script(OK) as proxy,
        trusting(proxy=f"http://user:pass-word@127.0.0.1:{proxy.port}") as opener,
    ):
        posthooks = posthook.Posthook("pk_test", base_url="http://a.invalid", http_client=opener)
        assert posthooks.hooks.get("a").id == "x"
        assert posthooks.hooks.get("b").id == "x"
    assert proxy.last.path == "http://a.invalid/v1/hooks/b"
    assert proxy.last.headers["host"] == "a.invalid"
    assert proxy.last.headers["proxy-authorization"] == CREDENTIALS
    assert proxy.connections == 1


def test_a_proxy_only_tunnels_what_is_sent_by_tls(tmp_path):
    with Proxy(server_tls(tmp_path)) as proxy, trusting(proxy=proxy.url) as opener:
        posthooks = posthook.Posthook("pk_test", base_url="https://127.0.0.1", http_client=opener)
        assert posthooks.hooks.get("a").id == "x"
        assert posthooks.hooks.get("b").id == "x"
    connect, first, second = proxy.requests
    assert (connect.method, connect.path) == ("CONNECT", "127.0.0.1:443")
    assert connect.headers == {"host": "127.0.0.1:443", "proxy-authorization": CREDENTIALS}
    assert (first.path, second.path) == ("/v1/hooks/a", "/v1/hooks/b")
    assert "proxy-authorization" not in first.headers


@pytest.mark.parametrize(
    "tunnel, text, attempts",
    [
        (framed("content-length: 0", line="HTTP/1.1 407 No", body=b""), "answered HTTP 407", 1),
        (framed("content-length: 0", line="HTTP/1.1 502 No", body=b""), "answered HTTP 502", 1),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "answered no HTTP", 1),
        (framed("nonsense", body=b""), "answered no HTTP", 1),
        (framed(*["a: b"] * 200), "answered no HTTP", 1),
        (Close(HEAD), "answered no HTTP", 1),
        (HEAD + b"\r\nmore", "answered more than a tunnel", 1),
        (Close(), "cannot be reached", 3),
        (Reset(), "cannot be reached", 3),
        (Reset(HEAD + b"\r\n"), "cannot be reached", 3),
        (Close(HEAD + b"\r\n"), "cannot be reached", 3),
    ],
)
def test_a_proxy_that_makes_no_tunnel_is_an_error_without_its_password(
    tmp_path, monkeypatch, tunnel, text, attempts
):
    monkeypatch.setattr(posthook, "_FIRST_PAUSE", 0)
    with Proxy(server_tls(tmp_path), tunnel) as proxy, trusting(proxy=proxy.url) as opener:
        posthooks = posthook.Posthook("pk_test", base_url="https://a.invalid", http_client=opener)
        error = failure(posthooks.hooks.get, "a")
    assert type(error) is posthook.PosthookConnectionError
    assert error.maybe_sent is False
    assert text in str(error)
    assert proxy.connections == attempts


def test_a_407_to_a_plain_request_is_an_answer_like_any_other():
    refusal = answer({"error": "who are you?"}, 407)
    with Script(refusal) as proxy, opened(proxy=f"127.0.0.1:{proxy.port}") as opener:
        posthooks = posthook.Posthook("pk", base_url="http://a.invalid", http_client=opener)
        error = failure(posthooks.hooks.get, "a")
    assert (error.status_code, str(error)) == (407, "who are you?")


def test_a_proxy_that_refuses_the_connection_is_an_error():
    with (
        closed_port() as port,
        trusting(proxy=f"http://user:pass-word@127.0.0.1:{port}/") as opener,
    ):
        posthooks = client(Address(443, "https", "a.invalid"), http_client=opener)
        error = failure(posthooks.hooks.schedule, "/a", post_in="5m")
    assert str(error).startswith("a.invalid:443 through a proxy cannot be reached")
    assert error.maybe_sent is False


@pytest.mark.parametrize("tunnel", [Stall(), Stall(HEAD)], ids=["silent", "half an answer"])
def test_a_call_ends_at_its_deadline_in_a_proxy(tunnel):
    with Script(tunnel) as proxy, trusting(proxy=f"http://127.0.0.1:{proxy.port}") as opener:
        posthooks = posthook.Posthook("pk_test", base_url="https://a.invalid", http_client=opener)
        error = failure(posthooks.hooks.get, "a", timeout=0.2)
    assert type(error) is posthook.PosthookTimeoutError
    assert error.maybe_sent is False


def test_credentials_are_percent_decoded():
    with Script(OK) as proxy, trusting(proxy=f"http://a%40b:c%3A@127.0.0.1:{proxy.port}") as opener:
        posthooks = posthook.Posthook("pk", base_url="http://a.invalid", http_client=opener)
        posthooks.hooks.get("a")
    assert proxy.last.headers["proxy-authorization"] == "Basic YUBiOmM6"  # a@b:c:


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
    with Script(OK) as proxy, Script(EVIL) as server:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", no_proxy)
        if not is_used:
            resolve(monkeypatch, (socket.AF_INET, server.port))
        with posthook.Posthook("pk_test", base_url=url) as posthooks:
            posthooks.hooks.get("a")
    assert proxy.connections == int(is_used)
    assert server.connections == int(not is_used)


def test_an_explicit_proxy_takes_loopback_too_and_an_empty_one_means_none(monkeypatch):
    with Script(OK) as proxy, Script(OK) as server:
        with trusting(proxy=f"127.0.0.1:{proxy.port}") as opener:
            client(server, http_client=opener).hooks.get("a")
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        resolve(monkeypatch, (socket.AF_INET, server.port))
        with trusting(proxy="") as opener:
            posthooks = posthook.Posthook("pk", base_url="http://a.invalid", http_client=opener)
            posthooks.hooks.get("b")
    assert (proxy.connections, server.connections) == (1, 1)


def test_a_bad_proxy_in_the_environment_is_an_error_without_its_password(monkeypatch):
    monkeypatch.setenv("https_proxy", "socks5://user:pass-word@127.0.0.1:1")
    with posthook.Posthook("pk_test", base_url="https://a.invalid") as posthooks:
        error = failure(posthooks.hooks.get, "a")
    assert str(error) == "https_proxy is no http://[user:password@]host:port"
    assert error.maybe_sent is False


# Fork.


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # it has threads: yes
@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
def test_parent_and_child_go_on_with_one_client_after_a_fork(tmp_path, is_tls):
    tls = server_tls(tmp_path) if is_tls else None
    with Script(OK, tls=tls) as server, trusting() as opener:
        posthooks = client(server, http_client=opener)
        posthooks.hooks.get("a")

        def in_child():
            assert posthooks.hooks.schedule("/b", post_in="5m").id == "x"
            assert pool(opener) == "<connections: 0 at work, 1 idle, at most 100>"
            opener.close()

        assert forked(in_child) == 0
        assert posthooks.hooks.schedule("/c", post_in="5m").id == "x"
    assert server.connections == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_has_leases_of_its_own():
    with Script(Stall(), OK) as server, opened(max_connections=1) as opener:
        posthooks = client(server, http_client=opener)
        with at_work(lambda: posthooks.hooks.get("a"), server):
            assert forked(lambda: posthooks.hooks.get("b", timeout=5)) == 0
            server.interject(Close())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_does_not_cut_its_parents_calls():
    lifeline = posthook._Lifeline()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        lifeline.hold(lambda: posthook._shut_down(ours))
        assert forked(lifeline.cut) == 0
        lifeline._process -= 1  # as it is in the child, whose lines are not measured
        lifeline.cut()
        ours.sendall(b"still here")
        assert theirs.recv(100) == b"still here"


def test_in_a_child_a_pool_begins_anew(monkeypatch):
    with Script(OK) as server, opened() as opener:
        client(server, http_client=opener).hooks.get("a")
        sock = idle_connections(opener)[0]._sock
        handler(opener)._pool.lease(time.monotonic() + 10)
        monkeypatch.setattr(posthook, "_to_renew", [handler(opener)._pool])
        posthook._renew_after_fork()
        assert pool(opener) == "<connections: 0 at work, 0 idle, at most 100>"
        assert sock.fileno() == -1


def test_a_connection_of_another_process_is_not_used():
    with Script(OK) as server, opened() as opener:
        posthooks = client(server, http_client=opener)
        posthooks.hooks.get("a")
        idle_connections(opener)[0]._process -= 1
        posthooks.hooks.get("b")
    assert server.connections == 2


# Cutting a call.


@pytest.mark.parametrize("step", [Stall(), Stall(OK[:-1]), trickled(bytes(1000))])
@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
def test_a_call_that_is_cut_ends_at_once(tmp_path, step, is_tls):
    tls = server_tls(tmp_path) if is_tls else None
    with Script(step, OK, tls=tls) as server, trusting() as opener:
        posthooks = client(server, http_client=opener)
        with cuttable(lambda: posthooks.hooks.get("a")) as call:
            server.wait_for(requests=1)
            call.cut()
        assert isinstance(call.error, posthook.PosthookConnectionError)
        assert pool(opener) == "<connections: 0 at work, 0 idle, at most 100>"
        assert posthooks.hooks.get("b").id == "x"


def test_a_call_that_is_cut_in_line_leaves_it():
    with Script(Stall()) as server, opened(max_connections=1) as opener:
        posthooks = client(server, http_client=opener)
        with at_work(lambda: posthooks.hooks.get("a"), server):
            with cuttable(lambda: posthooks.hooks.get("b")) as call:
                wait_until(lambda: handler(opener)._pool._line)
                call.cut()
            assert str(call.error) == "the call was cancelled"
            assert pool(opener) == "<connections: 1 at work, 0 idle, at most 1>"
            assert not handler(opener)._pool._line
            server.interject(Close())
        assert pool(opener) == "<connections: 0 at work, 0 idle, at most 1>"


def test_a_call_waits_in_line_for_its_turn_on_a_thread_that_can_be_cut():
    def step(request):
        assert go_on.wait(10)
        return OK

    go_on = threading.Event()
    with Script(step) as server, opened(max_connections=1) as opener:
        posthooks = client(server, http_client=opener)
        get = posthooks.hooks.get
        with at_work(lambda: get("a"), server), cuttable(lambda: get("b")) as call:
            wait_until(lambda: handler(opener)._pool._line)
            go_on.set()
        assert call.result.id == "x"
    assert server.connections == 1


def test_a_call_that_is_cut_while_it_connects_ends_at_once():
    with full_backlog() as port:
        posthooks = client(Address(port))
        with cuttable(lambda: posthooks.hooks.get("a")) as call:
            wait_until(lambda: call.lifeline._end is not None)
            call.cut()
    assert isinstance(call.error, posthook.PosthookConnectionError)


def test_a_call_that_was_cut_before_it_began_sends_nothing():
    with Script(OK) as server, opened() as opener:
        posthooks = client(server, http_client=opener)
        for _ in range(2):  # on a new connection, and on an idle one
            with cuttable(lambda: posthooks.hooks.get("a"), is_cut=True) as call:
                pass
            assert str(call.error) == "the call was cancelled"
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


def test_the_opener_sends_bodies_of_bytes_and_of_pieces():
    with Script(answer(b"")) as server, opened() as opener:
        for data in (b"abc", [b"a", b"bc"], iter([b"abc"])):
            headers = {"Content-Length": "99"}  # whoever sets it: the right one is sent
            opener.open(urllib.request.Request(server.url, data, headers))
            assert server.last.headers["content-length"] == "3"
            assert server.last.body == b"abc"
            assert server.last.path == "/"


def test_the_opener_says_that_a_post_without_a_body_has_none():
    with Script(answer(b"")) as server, opened() as opener:
        opener.open(urllib.request.Request(f"{server.url}?a", method="POST"))
    assert server.last.headers["content-length"] == "0"
    assert server.last.path == "/?a"


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
        assert pool(opener) == "<connections: 0 at work, 0 idle, at most 100>"
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
        for each in (Other(900), Other(100), handler(opener), Other(400), Other(600)):
            shared.add_handler(each)
        assert shared.open(server.url).read() == SMALL
    assert asked == [100, 400]


# What http_client may be.


@pytest.fixture(params=["urllib", "posthook", "requests", "httpx"])
def foreign(request):
    """A client of each kind, with no proxy."""
    if request.param == "urllib":
        yield urllib.request.build_opener(urllib.request.ProxyHandler({}))
    elif request.param == "posthook":
        with opened() as opener:
            yield opener
    else:
        yield {"requests": LikeRequests, "httpx": LikeHttpx}[request.param]()


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


def test_any_client_sends_the_calls(foreign):
    with Script(ok(HOOK, posthook_hookquota_limit=7)) as server:
        posthooks = client(server, http_client=foreign)
        hook = posthooks.hooks.schedule("/a", post_in="5m", data={"n": 1})
    assert (hook.id, hook.quota.limit) == (HOOK["id"], 7)
    assert server.last.json == {"path": "/a", "data": {"n": 1}, "postIn": "5m"}
    assert server.last.headers["x-api-key"] == "pk_test"
    assert server.last.headers["content-type"] == "application/json"
    assert server.last.headers["user-agent"].startswith("posthook-stdlib/")


def test_any_client_gives_errors_their_class(foreign):
    with Script(Close(answer({"error": "no such hook"}, 404))) as server:
        error = failure(client(server, http_client=foreign).hooks.get, "a")
    assert type(error) is posthook.NotFoundError
    assert str(error) == "no such hook"


def test_any_client_makes_a_lost_connection_ours(foreign):
    with Script(Close(OK[:-5])) as server:
        error = failure(client(server, http_client=foreign).hooks.get, "a")
    assert type(error) is posthook.PosthookConnectionError
    assert error.maybe_sent is True


def test_any_client_makes_a_timeout_ours(foreign):
    with Script(Stall()) as server:
        error = failure(client(server, http_client=foreign).hooks.get, "a", timeout=0.2)
    assert type(error) is posthook.PosthookTimeoutError


def test_any_client_is_left_open_and_can_be_shared(foreign):
    with Script(OK) as server:
        with client(server, http_client=foreign) as first:
            first.hooks.get("a")
        second = posthook.Posthook("pk_second", base_url=server.url, http_client=foreign)
        assert second.hooks.get("b").id == "x"
        assert server.last.headers["x-api-key"] == "pk_second"


@pytest.mark.parametrize("make", [LikeRequests, LikeHttpx])
def test_a_client_with_request_follows_no_redirect_and_keeps_its_own_headers(make):
    foreign = make()
    with Script(answer(b"", 302, location="/elsewhere")) as server:
        error = failure(client(server, http_client=foreign).hooks.get, "a", timeout=3)
    assert error.status_code == 302
    assert len(server.requests) == 1
    assert foreign.headers == {"X-API-Key": "theirs", "Accept": "theirs"}
    assert server.last.headers["accept"] == "theirs"
    (call,) = foreign.calls
    assert 2 < call.pop("timeout") <= 3
    assert call == {"method": "GET", "url": f"{server.url}/v1/hooks/a", "data": None}


def test_a_redirect_that_a_urllib_opener_follows_goes_without_the_key():
    with Script(OK) as other, Script(answer(b"", 302, location=f"{other.url}/b")) as server:
        foreign = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        posthooks = client(server, http_client=foreign)
        assert posthooks.hooks.get("a").id == "x"
    assert server.last.headers["x-api-key"] == "pk_test"
    assert "x-api-key" not in other.last.headers


@pytest.mark.parametrize(
    "make",
    [LikeRequests, LikeHttpx, lambda: urllib.request.build_opener(urllib.request.ProxyHandler({}))],
)
def test_an_answer_larger_than_the_limit_is_an_error_of_any_client(monkeypatch, make):
    monkeypatch.setattr(posthook, "_MOST_BYTES", 100_000)
    with Script(answer(bytes(100_001))) as server:
        error = failure(client(server, http_client=make()).hooks.get, "a")
    assert "larger than 100000 bytes" in str(error)


def because(error, cause):
    error.__cause__ = cause
    return error


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
        (RecursionError("deep"), posthook.PosthookConnectionError, True),
    ],
)
def test_whatever_a_client_raises_becomes_ours_without_the_key(raised, expected, is_shown):
    class Failing:
        def request(self, *args, **kwargs):
            raise raised

    error = failure(
        posthook.Posthook("pk_test", http_client=Failing(), max_retries=0).hooks.get, "a"
    )
    assert type(error) is expected
    assert error.maybe_sent is True
    assert (str(raised) in str(error)) is is_shown
    assert error is raised or (error.__cause__ is raised) is is_shown


def test_a_key_is_not_shown_in_another_spelling_either():
    class Failing:
        def request(self, *args, headers, **kwargs):
            raise ValueError(headers)

    posthooks = posthook.Posthook("pk\\'\\test", http_client=Failing(), max_retries=0)
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


class AwaitedClient(LikeHttpx):
    """A client with the ``request`` of httpx.AsyncClient."""

    async def request(
        self, method, url, *, content=None, headers=None, timeout=0, follow_redirects=True
    ):
        if url.endswith("/broken"):
            raise RuntimeError("no luck with pk_test")
        return LikeRequests.request(self, method, url, headers, content, timeout, follow_redirects)


def test_an_awaited_client_is_for_the_async_client():
    async def use(server):
        async with posthook.AsyncPosthook(
            "pk_test", base_url=server.url, http_client=AwaitedClient(), max_retries=0
        ) as posthooks:
            hook = await posthooks.hooks.get("a")
            with pytest.raises(posthook.PosthookConnectionError) as caught:
                await posthooks.hooks.get("broken")
            return hook.id, str(caught.value)

    with Script(OK) as server:
        used = asyncio.run(use(server))
    assert used == ("x", "the http_client failed: RuntimeError")


@pytest.mark.parametrize("thing", [object(), 5, "http://a.invalid", AwaitedClient()])
def test_what_cannot_send_is_no_http_client(thing):
    with pytest.raises(TypeError, match="http_client is an urllib opener"):
        posthook.Posthook("pk", http_client=thing)


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

"""The tests of posthook.py, in the order of its sections. Real sockets on 127.0.0.1, no mocks."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading

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

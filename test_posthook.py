"""The tests of posthook.py, in the order of its sections. Real sockets on 127.0.0.1, no mocks."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import html
import inspect
import json
import logging
import os
import pickle
import platform
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from urllib.parse import parse_qsl, quote, unquote, urlsplit

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
    # What callbacks share, threads and connections, lives as long as the process by design.
    for shared, close in (
        (posthook._callback_crew, lambda crew: crew.close()),
        (posthook._callback_sender, lambda send: send.__self__.close()),
    ):
        close(shared())
        shared.cache_clear()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive(), f"{thread} is left"


NO_ANSWER = Close(b"")  # the request was read, and then the server was gone


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

    def connect(server, **options):
        usual = {"api_key": "pk_test", "base_url": server.url, "timeout": 10, "max_retries": 0}
        return make(**{**usual, **options})

    return connect


@pytest.fixture
def pauses(monkeypatch):
    """The pauses between attempts, which are noted instead of slept."""
    noted = []
    monkeypatch.setattr(posthook, "_wait", lambda event, seconds: noted.append(seconds))
    return noted


def error_of(call, *args, **options):
    """What a call raises, and it has to."""
    with pytest.raises(Exception) as failure:
        call(*args, **options)
    return failure.value


class Arrivals:
    """A step for ``Script`` that never answers; ``wait`` returns when so many have come."""

    def __init__(self):
        self._semaphore = threading.Semaphore(0)

    def __call__(self, request):
        self._semaphore.release()
        return Stall(b"")

    def wait(self, count=1):
        for _ in range(count):
            assert self._semaphore.acquire(timeout=10)


def in_child(check):
    """Whether ``check`` is true in a forked process; one that hangs is killed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # there are threads: on purpose
        child = os.fork()
    if not child:
        signal.alarm(20)
        status = 1
        with contextlib.suppress(BaseException):
            status = 0 if check() else 1
        os._exit(status)
    return os.waitpid(child, 0)[1] == 0


def run_program(program, *arguments):
    """What a program prints, on both streams, under the interpreter's strictest settings."""
    folder = os.path.dirname(os.path.abspath(posthook.__file__))
    command = [sys.executable, "-W", "error", "-X", "dev", "-c", program, *arguments]
    done = subprocess.run(
        command,
        cwd=folder,
        env={"PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=30,
        text=True,
    )
    return done.returncode, done.stdout


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
once = pytest.mark.parametrize("call", ONCE.values(), ids=list(ONCE))
repeatable = pytest.mark.parametrize("call", REPEATABLE.values(), ids=list(REPEATABLE))
every_call = pytest.mark.parametrize(
    "call", [*ONCE.values(), *REPEATABLE.values()], ids=[*ONCE, *REPEATABLE]
)


def hook(id, **changes):
    return {**HOOK, "id": id, **changes}


# The constructor


@pytest.mark.parametrize("argument", [None, "", "  "])
def test_the_key_comes_from_the_environment_when_none_is_given(connect, monkeypatch, argument):
    monkeypatch.setenv("POSTHOOK_API_KEY", " pk_environment\n")
    with Script(ok(HOOK)) as server, connect(server, api_key=argument) as posthooks:
        posthooks.hooks.get("a")
    assert server.last.headers["x-api-key"] == "pk_environment"


def test_a_key_is_opaque_and_stripped(connect):
    with Script(ok(HOOK)) as server, connect(server, api_key="\t~ any thing! \n") as posthooks:
        posthooks.hooks.get("a")
    assert server.last.headers["x-api-key"] == "~ any thing!"


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


@pytest.mark.parametrize(
    ("suffix", "path"),
    [
        ("", "/v1/hooks/a"),
        ("/", "/v1/hooks/a"),
        ("//", "/v1/hooks/a"),
        ("/v1", "/v1/hooks/a"),
        ("/v1/", "/v1/hooks/a"),
        ("/v1/v1", "/v1/v1/hooks/a"),
        ("/api", "/api/v1/hooks/a"),
        ("/api/v1", "/api/v1/hooks/a"),
    ],
)
def test_the_base_url_loses_slashes_and_one_v1_at_its_end(connect, suffix, path):
    with Script(ok(HOOK)) as server, connect(server, base_url=server.url + suffix) as posthooks:
        posthooks.hooks.get("a")
    assert server.last.path == path


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
        "ftp://host",
        "file:///etc/passwd",
        "http://",
        "http://host:port",
        "http://host:99999",
        "http://ho st",
        "http://host\r\nx: y",
        "http://user:password@host",
        "http://-host",
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
    with pytest.raises(TypeError, match="http_client is"):
        make("pk", http_client=http_client)


def test_the_sync_client_refuses_an_async_http_client():
    with pytest.raises(TypeError, match="goes with AsyncPosthook"):
        posthook.Posthook("pk", http_client=AsyncRequester())


def test_making_a_client_opens_nothing(connect):
    before = threading.active_count()
    with Script(ok(HOOK)) as server:
        listening = threading.active_count()
        with connect(server):
            assert threading.active_count() == listening
    assert (server.connections, threading.active_count()) == (0, before)


def test_a_client_is_its_own_context_manager():
    posthooks = posthook.Posthook("pk")
    with posthooks as entered:
        assert entered is posthooks
    assert not hasattr(posthooks, "__aenter__")


def test_closing_twice_is_fine_and_a_call_afterwards_is_an_error(connect):
    with Script(ok(HOOK)) as server, connect(server) as posthooks:
        posthooks.close()
        posthooks.close()
        with pytest.raises(posthook.PosthookError, match="this client is closed") as failure:
            posthooks.hooks.get("a")
    assert type(failure.value) is posthook.PosthookError
    assert server.requests == []


@pytest.mark.parametrize("prefix", ["", "Async"])
def test_the_services_have_the_names_of_the_official_client(prefix):
    posthooks = getattr(posthook, f"{prefix}Posthook")("pk")
    assert type(posthooks.hooks).__name__ == f"{prefix}HooksService"
    assert type(posthooks.hooks.bulk).__name__ == f"{prefix}BulkActions"
    assert type(posthooks.signatures) is posthook.SignaturesService


@pytest.mark.parametrize("keys", ["ph_sk_b", ["ph_sk_a", "ph_sk_b"]])
def test_signatures_use_the_signing_key(make, keys):
    headers = posthook.SignaturesService("ph_sk_b").sign(b"{}")
    with make("pk", signing_key=keys) as posthooks:
        assert posthooks.signatures.parse_delivery(b"{}", headers).body == b"{}"


def test_signatures_use_the_signing_keys_of_the_environment(make, monkeypatch):
    monkeypatch.setenv("POSTHOOK_SIGNING_KEY", "ph_sk_a, ph_sk_b")
    headers = posthook.SignaturesService("ph_sk_b").sign(b"{}")
    with make("pk") as posthooks:
        assert posthooks.signatures.parse_delivery(b"{}", headers).body == b"{}"


def test_a_repr_tells_the_state_and_no_secret(connect):
    with Script(ok(HOOK)) as server, connect(server, signing_key="ph_sk_test") as posthooks:
        posthooks.hooks.get("a")
        text = repr(posthooks)
    assert f"base_url='{server.url}', <connections: 0 at work, 1 idle, at most 100>" in text
    assert "pk_test" not in text
    assert "ph_sk_test" not in text


# The calls


def test_a_hook_is_scheduled_and_returned_with_its_quota(connect):
    quota = {"posthook_hookquota_limit": 100, "posthook_hookquota_usage": 1}
    with Script(answer({"data": HOOK}, 201, **quota)) as server, connect(server) as posthooks:
        hook = posthooks.hooks.schedule("/webhooks/remind", post_in="5m", data={"userId": "123"})
    assert hook.id == HOOK["id"]
    assert hook.quota == posthook.QuotaInfo(100, 1, 0, None)
    assert server.last.json == {
        "path": "/webhooks/remind",
        "data": {"userId": "123"},
        "postIn": "5m",
    }
    assert server.last.headers["x-api-key"] == "pk_test"


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ({"post_at": "2030-01-01T00:00:00Z"}, {"postAt": "2030-01-01T00:00:00Z"}),
        (
            {"post_at_local": "2030-01-01T09:00:00", "timezone": "Europe/Berlin"},
            {"postAtLocal": "2030-01-01T09:00:00", "timezone": "Europe/Berlin"},
        ),
        (
            {"post_in": "5m", "retry_override": posthook.HookRetryOverride(2, 30, "fixed")},
            {
                "postIn": "5m",
                "retryOverride": {"minRetries": 2, "delaySecs": 30, "strategy": "fixed"},
            },
        ),
    ],
    ids=["post_at", "post_at_local", "retry_override"],
)
def test_every_argument_of_schedule_is_sent(connect, arguments, sent):
    with Script(ok(HOOK)) as server, connect(server) as posthooks:
        posthooks.hooks.schedule("/x", **arguments)
    body = server.last.json
    body.get("retryOverride", {}).pop("jitter", None)
    assert body == {"path": "/x", "data": {}, **sent}


def test_a_wrong_argument_is_refused_before_anything_is_sent(connect):
    with Script(ok(HOOK)) as server, connect(server) as posthooks:
        with pytest.raises(ValueError, match="Exactly one scheduling mode"):
            posthooks.hooks.schedule("/x")
        with pytest.raises(ValueError, match="hook id is required"):
            posthooks.hooks.get("")
        with pytest.raises(TypeError, match="pass \\[id\\]"):
            posthooks.hooks.bulk.retry("a")
    assert server.connections == 0


def test_a_hook_is_fetched_by_its_id(connect):
    with Script(ok(HOOK)) as server, connect(server) as posthooks:
        hook = posthooks.hooks.get("a/b")
    assert hook == posthook.Hook.from_dict(HOOK)
    assert (server.last.method, server.last.path) == ("GET", "/v1/hooks/a%2Fb")
    assert server.last.headers == {
        "host": f"127.0.0.1:{server.port}",
        "accept-encoding": "identity",
        "user-agent": posthook._USER_AGENT,
        "x-api-key": "pk_test",
    }


def test_the_user_agent_tells_version_python_and_system(connect):
    with Script(ok(HOOK)) as server, connect(server) as posthooks:
        posthooks.hooks.get("a")
    python = f"Python {sys.version.split()[0]}; {platform.system()}"
    expected = f"posthook-stdlib/{posthook.__version__} ({python})"
    assert server.last.headers["user-agent"] == expected


def test_an_unknown_hook_is_not_found(connect):
    with Script(answer({"error": "Hook not found"}, 404)) as server, connect(server) as posthooks:
        error = error_of(posthooks.hooks.get, "a")
    assert type(error) is posthook.NotFoundError
    assert "Hook not found" in str(error)


def test_one_page_is_listed_with_its_cursor(connect):
    page = answer({"data": [HOOK], "meta": {"cursor": "c2", "totalItems": 5}})
    with Script(page) as server, connect(server) as posthooks:
        hooks = posthooks.hooks.list()
    assert hooks == [posthook.Hook.from_dict(HOOK)]
    assert (hooks.cursor, hooks.total_items) == ("c2", 5)
    assert (server.last.method, server.last.path) == ("GET", "/v1/hooks")


def test_every_argument_of_list_is_sent(connect):
    with Script(ok([])) as server, connect(server) as posthooks:
        posthooks.hooks.list(
            status="pending",
            limit=5,
            offset=3,
            post_at_before="b",
            post_at_after="a",
            created_at_before="d",
            created_at_after="c",
            sort_by="postAt",
            sort_order="ASC",
            cursor="x y",
        )
    assert dict(parse_qsl(urlsplit(server.last.path).query)) == {
        "status": "pending",
        "limit": "5",
        "offset": "3",
        "postAtBefore": "b",
        "postAtAfter": "a",
        "createdAtBefore": "d",
        "createdAtAfter": "c",
        "sortBy": "postAt",
        "sortOrder": "ASC",
        "cursor": "x y",
    }


def test_list_all_asks_with_its_filters(connect):
    with Script(ok([])) as server, connect(server) as posthooks:
        filters = {
            "post_at_after": "a",
            "post_at_before": "b",
            "created_at_after": "c",
            "created_at_before": "d",
        }
        assert list(posthooks.hooks.list_all(status="failed", **filters)) == []
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


def test_list_all_raises_the_error_of_a_later_page(connect):
    steps = [TWO_PAGES[0], answer({"error": "gone wrong"}, 500)]
    with Script(*steps) as server, connect(server) as posthooks:
        hooks = posthooks.hooks.list_all(page_size=2)
        assert [next(hooks).id, next(hooks).id] == ["a", "b"]
        with pytest.raises(posthook.InternalServerError, match="^gone wrong$"):
            next(hooks)


@pytest.mark.parametrize("page_size", [0, 1001, "10", None])
def test_list_all_refuses_a_bad_page_size_at_once(make, page_size):
    with make("pk") as posthooks, pytest.raises(ValueError, match="page_size"):
        posthooks.hooks.list_all(page_size=page_size)


@pytest.mark.parametrize(
    "step", [ok({}), answer(b"", 204), answer(b"no JSON"), answer({"error": "none"}, 404)]
)
def test_a_hook_is_deleted_or_gone_already(connect, step):
    with Script(step) as server, connect(server) as posthooks:
        assert posthooks.hooks.delete("a") is None
    assert (server.last.method, server.last.path) == ("DELETE", "/v1/hooks/a")


@pytest.mark.parametrize("action", ["retry", "replay", "cancel"])
def test_a_bulk_action_takes_any_iterable_of_ids(connect, action):
    with Script(ok({"affected": 2})) as server, connect(server) as posthooks:
        result = getattr(posthooks.hooks.bulk, action)(id for id in "ab")
    assert result == posthook.BulkActionResult(affected=2)
    assert (server.last.method, server.last.path) == ("POST", f"/v1/hooks/bulk/{action}")
    assert server.last.json == {"hookIDs": ["a", "b"]}


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


@every_call
def test_the_timeout_of_a_call_replaces_the_clients(connect, call):
    with Script(Stall(b"")) as server, connect(server) as posthooks:
        error = error_of(call, posthooks.hooks, timeout=0.02)
    assert type(error) is posthook.PosthookTimeoutError
    assert error.maybe_sent


def test_a_call_takes_no_longer_than_the_clients_timeout(connect):
    with Script(Stall(b"HTTP/1.1 200 ")) as server, connect(server, timeout=0.02) as posthooks:
        error = error_of(posthooks.hooks.get, "a")
    assert type(error) is posthook.PosthookTimeoutError
    assert "did not answer in time" in str(error)


@pytest.mark.parametrize("timeout", BAD_TIMEOUTS)
def test_a_bad_timeout_of_a_call_is_refused(connect, timeout):
    with Script(ok(HOOK)) as server, connect(server) as posthooks:
        error = error_of(posthooks.hooks.schedule, "/x", post_in="5m", timeout=timeout)
    assert type(error) is ValueError
    assert "timeout is a positive, finite number" in str(error)
    assert server.connections == 0


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


@pytest.mark.parametrize("retries", [1, 2, 3, 10])
def test_pauses_double_from_half_a_second_or_less_to_under_two_seconds_in_all(retries):
    call = posthook._Call("GET", "/v1/hooks")
    pauses = [
        posthook._retry_pause(call, lost(), attempt, retries, 1.0) for attempt in range(retries)
    ]
    assert pauses[0] <= 0.5
    assert all(2 * first == second for first, second in zip(pauses, pauses[1:]))
    assert sum(pauses) < 2


def test_no_number_of_retries_is_too_large():
    call = posthook._Call("GET", "/v1/hooks")
    pauses = [posthook._retry_pause(call, lost(), attempt, 5000, 1.0) for attempt in (0, 4999)]
    assert pauses == [0.0, 1.0]


def test_a_pause_is_at_least_half_of_its_length():
    call = posthook._Call("GET", "/v1/hooks")
    assert posthook._retry_pause(call, lost(), 0, 2, 0.0) == 0.25


ANSWERS = {"get": HOOK, "list": [HOOK], "list_all": [HOOK], "delete": {}}


@pytest.mark.parametrize("name", REPEATABLE)
def test_a_repeatable_call_survives_two_faults(connect, pauses, name):
    steps = answer({}, 503), Reset(b"HTTP/1.1 200"), ok(ANSWERS[name])
    with Script(*steps) as server, connect(server, max_retries=2) as posthooks:
        REPEATABLE[name](posthooks.hooks)
    assert len(server.requests) == 3
    assert len(pauses) == 2
    assert len({(request.method, request.path) for request in server.requests}) == 1


@repeatable
def test_the_last_attempt_does_not_pause(connect, pauses, call):
    with Script(answer({}, 503)) as server, connect(server, max_retries=2) as posthooks:
        error = error_of(call, posthooks.hooks)
    assert type(error) is posthook.InternalServerError
    assert (len(server.requests), len(pauses)) == (3, 2)


@repeatable
def test_no_retries_means_one_attempt(connect, call):
    with Script(NO_ANSWER) as server, connect(server, max_retries=0) as posthooks:
        error = error_of(call, posthooks.hooks)
    assert type(error) is posthook.PosthookConnectionError
    assert len(server.requests) == 1


@once
@pytest.mark.parametrize(
    "step", [answer({}, 503), answer({}, 429, retry_after=1), NO_ANSWER, Reset(b"HTTP/1.1 200")]
)
def test_schedule_and_bulk_actions_are_never_sent_twice(connect, pauses, call, step):
    with Script(step) as server, connect(server, max_retries=2) as posthooks:
        error = error_of(call, posthooks.hooks)
    assert isinstance(error, posthook.PosthookError)
    assert len(server.requests) == 1


def test_a_kept_connection_that_dies_after_schedule_was_written_is_an_error(connect, pauses):
    with Script(ok(HOOK), NO_ANSWER) as server, connect(server, max_retries=2) as posthooks:
        posthooks.hooks.get("a")
        with pytest.raises(posthook.PosthookConnectionError) as failure:
            posthooks.hooks.schedule("/x", post_in="5m")
    assert failure.value.maybe_sent
    assert (len(server.requests), server.connections) == (2, 1)


@once
def test_what_did_not_reach_the_server_is_sent_again(connect, pauses, call):
    opener = posthook.build_opener()

    class Unlucky:
        """An opener whose first connection is refused."""

        failures = [posthook.PosthookConnectionError("refused", maybe_sent=False)]

        def open(self, request, timeout):
            if self.failures:
                raise self.failures.pop()
            return opener.open(request, timeout=timeout)

    options = {"max_retries": 1, "http_client": Unlucky()}
    with Script(ok({**HOOK, "affected": 1})) as server, connect(server, **options) as posthooks:
        call(posthooks.hooks)
    opener.close()
    assert (len(server.requests), len(pauses)) == (1, 1)


@pytest.mark.parametrize("status", [503, 429])
def test_retry_after_is_obeyed_where_it_ends_before_the_deadline(connect, pauses, status):
    steps = answer({}, status, retry_after=9), ok(HOOK)
    with Script(*steps) as server, connect(server, max_retries=1, timeout=10) as posthooks:
        posthooks.hooks.get("a")
    assert pauses == [9.0]


@pytest.mark.parametrize("status", [503, 429])
def test_retry_after_beyond_the_deadline_is_an_error_at_once(connect, pauses, status):
    step = answer({}, status, retry_after=11)
    with Script(step) as server, connect(server, max_retries=1, timeout=10) as posthooks:
        error = error_of(posthooks.hooks.get, "a")
    assert (error.status_code, error.retry_after) == (status, 11.0)
    assert pauses == []


def test_a_used_up_quota_is_not_asked_again(connect, pauses):
    with Script(answer({}, 429)) as server, connect(server, max_retries=2) as posthooks:
        error = error_of(posthooks.hooks.get, "a")
    assert type(error) is posthook.RateLimitError
    assert len(server.requests) == 1


def test_no_pause_goes_beyond_the_deadline(connect):
    with Script(answer({}, 503)) as server, connect(server, max_retries=2) as posthooks:
        error = error_of(posthooks.hooks.get, "a", timeout=0.2)
    assert type(error) is posthook.InternalServerError
    assert len(server.requests) == 1


def test_a_pause_is_slept(connect, monkeypatch):
    monkeypatch.setattr(posthook, "_LAST_PAUSE", 0.02)
    steps = answer({}, 503), ok(HOOK)
    with Script(*steps) as server, connect(server, max_retries=1) as posthooks:
        assert posthooks.hooks.get("a").id == HOOK["id"]


# Logging


def records(caplog):
    return [(r.name, r.levelname, r.getMessage().rpartition(" (")[0]) for r in caplog.records]


def test_each_attempt_is_one_debug_record_without_the_query(connect, pauses, caplog):
    caplog.set_level(logging.DEBUG, "posthook")
    steps = answer({}, 503), NO_ANSWER, ok([])
    with Script(*steps) as server, connect(server, max_retries=2) as posthooks:
        posthooks.hooks.list(status="pending")
    assert records(caplog) == [
        ("posthook", "DEBUG", "GET /v1/hooks -> 503"),
        ("posthook", "DEBUG", "GET /v1/hooks -> PosthookConnectionError"),
        ("posthook", "DEBUG", "GET /v1/hooks -> 200"),
    ]
    assert caplog.records[2].msg == "%s %s -> %d (%.3fs)"


def test_a_call_on_a_path_prefix_is_logged_from_v1_on(connect, caplog):
    caplog.set_level(logging.DEBUG, "posthook")
    with Script(ok(HOOK)) as server, connect(server, base_url=f"{server.url}/x") as posthooks:
        posthooks.hooks.get("a")
    assert records(caplog) == [("posthook", "DEBUG", "GET /v1/hooks/a -> 200")]


def test_the_logger_is_left_as_it_is_made():
    logger = logging.getLogger("posthook")
    assert (logger.level, logger.handlers, logger.propagate) == (logging.NOTSET, [], True)


# Threads, forks, close


def echo(request):
    return ok(hook(request.path.rpartition("/")[2]))


def test_fifty_threads_share_a_client_without_mixing_answers():
    ids = [str(number) for number in range(200)]
    with Script(echo) as server, client(server) as posthooks, ThreadPoolExecutor(50) as threads:
        got = [hook.id for hook in threads.map(posthooks.hooks.get, ids)]
    assert got == ids
    assert server.connections <= 50


def test_close_leaves_calls_under_way_alone():
    go_on = threading.Event()

    def step(request):
        arrivals(request)
        go_on.wait(10)
        return ok(HOOK)

    arrivals = Arrivals()
    with Script(step) as server, ThreadPoolExecutor() as threads:
        posthooks = client(server)
        call = threads.submit(posthooks.hooks.get, "a")
        arrivals.wait()
        posthooks.close()
        go_on.set()
        assert call.result().id == HOOK["id"]
        assert "0 idle" in repr(posthooks)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_parent_and_child_go_on_with_the_same_client(connect):
    with Script(echo, echo) as server, connect(server) as posthooks:
        posthooks.hooks.get("before")

        def check():
            ids = [posthooks.hooks.get("child").id, posthooks.hooks.schedule("/x", post_in="1s").id]
            posthooks.close()
            return ids == ["child", "hooks"]

        assert in_child(check)
        assert posthooks.hooks.get("after").id == "after"
    assert server.connections == 2  # the child made one of its own


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
        return SimpleNamespace(
            status_code=outcome, headers={}, content=json.dumps({"data": HOOK}).encode()
        )


def async_client(server, **options):
    """An async client of ``server``, without retries unless asked for."""
    options = {"timeout": 60, "max_retries": 0, **options}
    return posthook.AsyncPosthook("pk_test", base_url=server.url, **options)


def workers():
    """The threads of crews that are alive."""
    return [thread for thread in threading.enumerate() if thread.name == "posthook"]


def in_thread(function, *arguments):
    """Awaits what would hold up the event loop."""
    return asyncio.get_running_loop().run_in_executor(None, function, *arguments)


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


def test_an_async_client_is_its_own_context_manager():
    async def main():
        posthooks = posthook.AsyncPosthook("pk")
        async with posthooks as entered:
            assert entered is posthooks
        assert not hasattr(posthooks, "__enter__")

    asyncio.run(main())


def test_an_async_repr_tells_the_threads():
    async def main(server):
        async with async_client(server) as posthooks:
            assert "<threads: 0, at most 100>" in repr(posthooks)
            await posthooks.hooks.get("a")
            assert "<threads: 1, at most 100>" in repr(posthooks)

    with Script(ok(HOOK)) as server:
        asyncio.run(main(server))


def test_calls_one_after_another_use_one_thread_and_one_connection():
    async def main(server):
        async with async_client(server) as posthooks:
            assert workers() == []
            for _ in range(20):
                await posthooks.hooks.get("a")
            assert len(workers()) == 1

    with Script(ok(HOOK)) as server:
        asyncio.run(main(server))
    assert server.connections == 1


def test_fifty_calls_at_once_use_fifty_threads_without_mixing_answers():
    together = threading.Barrier(50)

    def step(request):
        together.wait(10)
        return echo(request)

    async def main(server):
        async with async_client(server) as posthooks:
            ids = [str(number) for number in range(50)]
            hooks = await asyncio.gather(*map(posthooks.hooks.get, ids))
            assert [hook.id for hook in hooks] == ids
            assert len(workers()) == 50

    with Script(step) as server:
        asyncio.run(main(server))


def test_calls_beyond_the_number_of_threads_wait_for_one():
    go_on = threading.Event()

    async def main():
        crew = posthook._Crew(2)
        calls = [asyncio.ensure_future(crew.run(lambda: go_on.wait(10))) for _ in range(5)]
        await asyncio.sleep(0)
        assert len(workers()) == 2
        go_on.set()
        assert await asyncio.gather(*calls) == [True] * 5
        assert len(workers()) == 2
        crew.close()

    asyncio.run(main())


def test_close_ends_idle_threads_at_once_and_the_others_after_their_call():
    arrivals = Arrivals()

    async def main(server):
        posthooks = async_client(server)
        call = asyncio.ensure_future(posthooks.hooks.get("a", timeout=0.2))
        await in_thread(arrivals.wait)
        await posthooks.close()
        await posthooks.close()
        with pytest.raises(posthook.PosthookTimeoutError):
            await call

    with Script(arrivals) as server:
        asyncio.run(main(server))
    # `nothing_is_left` sees that the thread ends


def test_a_client_that_nobody_closed_takes_its_threads_along():
    async def main(server):
        await async_client(server).hooks.get("a")

    with Script(ok(HOOK)) as server:
        asyncio.run(main(server))
    gc.collect()


@pytest.mark.parametrize("wait", ["cancel", "wait_for"])
def test_a_cancelled_call_ends_at_once_and_its_connection_and_thread_with_it(wait):
    async def main(listener):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with posthook.AsyncPosthook("pk", base_url=url, timeout=60) as posthooks:
            call = asyncio.ensure_future(posthooks.hooks.get("a"))
            connection, _ = await in_thread(listener.accept)
            with connection, connection.makefile("rb") as stream:
                assert (await in_thread(read_request, stream)).path == "/v1/hooks/a"
                if wait == "cancel":
                    call.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await call
                else:
                    with pytest.raises(asyncio.TimeoutError):
                        await asyncio.wait_for(call, 0.01)
                assert await in_thread(stream.read) == b""

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        asyncio.run(main(listener))


def test_the_next_call_after_a_cancelled_one_is_right():
    arrivals = Arrivals()

    async def main(server):
        async with async_client(server) as posthooks:
            call = asyncio.ensure_future(posthooks.hooks.get("a"))
            await in_thread(arrivals.wait)
            call.cancel()
            assert (await posthooks.hooks.get("b")).id == "b"

    with Script(arrivals, echo) as server:
        asyncio.run(main(server))


def test_a_call_that_is_cancelled_while_it_pauses_sends_nothing_further(monkeypatch):
    pausing = threading.Event()
    wait = posthook._wait

    def noted(event, seconds):
        pausing.set()
        return wait(event, seconds)

    async def main(server):
        async with async_client(server, max_retries=2) as posthooks:
            call = asyncio.ensure_future(posthooks.hooks.get("a"))
            await in_thread(pausing.wait, 10)
            call.cancel()

    monkeypatch.setattr(posthook, "_wait", noted)
    with Script(answer({}, 503, retry_after=30)) as server:
        asyncio.run(main(server))
        for thread in workers():
            thread.join(10)
    assert len(server.requests) == 1


def test_a_call_that_is_cancelled_before_a_thread_took_it_is_not_made():
    go_on = threading.Event()
    made = []

    async def main():
        crew = posthook._Crew(1)
        first = asyncio.ensure_future(crew.run(lambda: go_on.wait(10)))
        second = asyncio.ensure_future(crew.run(lambda: made.append("second")))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        go_on.set()
        assert await first
        await crew.run(lambda: made.append("third"))
        crew.close()

    asyncio.run(main())
    assert made == ["third"]


def test_cancelling_a_call_over_a_sync_http_client_does_not_wait_for_it():
    called, go_on = threading.Event(), threading.Event()

    class Requester:
        def request(self, method, url, **options):
            called.set()
            go_on.wait(10)
            raise OSError("too late")

    async def main():
        async with posthook.AsyncPosthook("pk", http_client=Requester()) as posthooks:
            call = asyncio.ensure_future(posthooks.hooks.get("a"))
            await in_thread(called.wait, 10)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

    asyncio.run(main())
    assert len(workers()) == 1
    go_on.set()


def test_a_call_holds_up_nothing_on_the_event_loop():
    arrivals = Arrivals()

    async def main(server):
        async with async_client(server) as posthooks:
            call = asyncio.ensure_future(posthooks.hooks.get("a", timeout=0.2))
            await in_thread(arrivals.wait)
            assert not call.done()
            with pytest.raises(posthook.PosthookTimeoutError):
                await call

    with Script(arrivals) as server:
        asyncio.run(main(server))


def test_one_client_serves_event_loops_one_after_another():
    with Script(echo) as server:
        posthooks = async_client(server)
        assert asyncio.run(posthooks.hooks.get("a")).id == "a"
        assert asyncio.run(posthooks.hooks.get("b")).id == "b"
        asyncio.run(posthooks.close())
    assert server.connections == 1


def test_one_client_serves_event_loops_at_once():
    async def main(posthooks, first):
        ids = [f"{first}-{number}" for number in range(20)]
        hooks = await asyncio.gather(*map(posthooks.hooks.get, ids))
        return [hook.id for hook in hooks] == ids

    with Script(echo) as server, ThreadPoolExecutor(4) as threads:
        posthooks = async_client(server)
        runs = [threads.submit(asyncio.run, main(posthooks, first)) for first in range(4)]
        assert [run.result() for run in runs] == [True] * 4
        asyncio.run(posthooks.close())


def test_a_thread_survives_an_event_loop_that_was_closed_under_its_call():
    began, go_on = threading.Event(), threading.Event()

    def work():
        began.set()
        go_on.wait(10)

    crew = posthook._Crew(1)
    loop = asyncio.new_event_loop()
    call = loop.create_task(crew.run(work))
    loop.run_until_complete(asyncio.sleep(0))
    assert began.wait(10)
    loop.close()
    go_on.set()
    assert asyncio.run(crew.run(lambda: "next")) == "next"
    crew.close()
    call._log_destroy_pending = False  # it is, and that is no news here
    del call
    gc.collect()


def test_an_answer_that_comes_with_the_cancellation_reaches_nobody():
    done = threading.Event()

    async def main():
        crew = posthook._Crew(1)
        call = asyncio.ensure_future(crew.run(done.set))
        await asyncio.sleep(0)
        assert done.wait(10)  # holds up the event loop: the report comes after the cancellation
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await crew.run(lambda: None)
        crew.close()

    asyncio.run(main())


@pytest.mark.parametrize("error", [KeyError("a"), SystemExit(3), posthook.PosthookError("b")])
def test_what_a_call_raises_reaches_its_caller(error):
    def fail():
        raise error

    async def main():
        crew = posthook._Crew(1)
        with pytest.raises(type(error)) as failure:
            await crew.run(fail)
        crew.close()
        return failure.value

    assert asyncio.run(main()) is error


def test_a_stop_iteration_does_not_leave_the_caller_waiting():
    async def main():
        crew = posthook._Crew(1)
        with pytest.raises(RuntimeError, match="StopIteration"):
            await crew.run(lambda: next(iter([])))
        crew.close()

    asyncio.run(main())


def test_a_call_runs_in_its_callers_context():
    request_id = contextvars.ContextVar("request_id")

    async def main():
        crew = posthook._Crew(1)
        request_id.set("r1")
        assert await crew.run(request_id.get) == "r1"
        crew.close()

    asyncio.run(main())


def no_thread(thread):
    raise RuntimeError("can't start new thread")


def test_a_thread_that_cannot_be_started_is_an_error_and_the_next_call_is_right(monkeypatch):
    async def main(server):
        async with async_client(server) as posthooks:
            with monkeypatch.context() as patch:
                patch.setattr(threading.Thread, "start", no_thread)
                with pytest.raises(posthook.PosthookConnectionError, match="no thread") as failure:
                    await posthooks.hooks.get("a")
            assert not failure.value.maybe_sent
            assert (await posthooks.hooks.get("b")).id == "b"
            assert "<threads: 1," in repr(posthooks)

    with Script(echo) as server:
        asyncio.run(main(server))
    assert len(server.requests) == 1


def test_a_call_waits_for_a_busy_thread_where_no_other_can_be_started(monkeypatch):
    go_on = threading.Event()

    async def main():
        crew = posthook._Crew(2)
        first = asyncio.ensure_future(crew.run(lambda: go_on.wait(10)))
        await asyncio.sleep(0)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", no_thread)
            second = asyncio.ensure_future(crew.run(lambda: "second"))
            await asyncio.sleep(0)
        go_on.set()
        assert await asyncio.gather(first, second) == [True, "second"]
        assert len(workers()) == 1
        crew.close()

    asyncio.run(main())


def test_an_abandoned_list_leaves_nothing_behind():
    async def main(server):
        async with async_client(server) as posthooks:
            async for hook in posthooks.hooks.list_all(page_size=2):
                assert hook.id == "a"
                break
            never_begun = posthooks.hooks.list_all()
            del never_begun

    with Script(*TWO_PAGES) as server:
        asyncio.run(main(server))
    assert len(server.requests) == 1


# An httpx.AsyncClient


def test_an_async_http_client_is_awaited_on_the_callers_event_loop():
    requester = AsyncRequester(200)

    async def main():
        async with posthook.AsyncPosthook(
            "pk", base_url="http://host", timeout=5, http_client=requester
        ) as posthooks:
            hooks = await asyncio.gather(*(posthooks.hooks.get("a") for _ in range(40)))
            assert {hook.id for hook in hooks} == {HOOK["id"]}
            assert "<on the event loop>" in repr(posthooks)

    asyncio.run(main())
    assert requester.threads == {threading.current_thread()}
    method, url, content, headers, timeout, follow_redirects = requester.calls[0]
    assert (method, url, content) == ("GET", "http://host/v1/hooks/a", None)
    assert headers == {"User-Agent": posthook._USER_AGENT, "X-API-Key": "pk"}
    assert timeout == pytest.approx(5, abs=0.5)
    assert follow_redirects is False


def test_an_async_http_client_is_retried_as_any(monkeypatch):
    monkeypatch.setattr(posthook, "_LAST_PAUSE", 0.0)
    requester = AsyncRequester(503, OSError("reset"), 200)
    posthooks = posthook.AsyncPosthook("pk", http_client=requester)
    assert asyncio.run(posthooks.hooks.get("a")).id == HOOK["id"]
    assert len(requester.calls) == 3


def test_what_an_async_http_client_raises_becomes_ours():
    requester = AsyncRequester(OSError("reset"))
    posthooks = posthook.AsyncPosthook("pk", http_client=requester)
    with pytest.raises(posthook.PosthookConnectionError, match="OSError: reset") as failure:
        asyncio.run(posthooks.hooks.schedule("/x", post_in="5m"))
    assert failure.value.maybe_sent
    assert len(requester.calls) == 1


def test_cancelling_cuts_an_async_http_client():
    requester = AsyncRequester(None)

    async def main():
        async with posthook.AsyncPosthook("pk", http_client=requester) as posthooks:
            call = asyncio.ensure_future(posthooks.hooks.get("a"))
            while not requester.calls:
                await asyncio.sleep(0)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

    asyncio.run(main())
    assert (len(requester.calls), requester.cancelled) == (1, 1)


def test_an_async_http_client_lists_all_and_is_refused_after_close():
    page = SimpleNamespace(status_code=200, headers={}, content=b'{"data": []}')

    class Requester:
        async def request(self, method, url, **options):
            return page

    async def main():
        posthooks = posthook.AsyncPosthook("pk", http_client=Requester())
        assert [hook async for hook in posthooks.hooks.list_all()] == []
        await posthooks.close()
        with pytest.raises(posthook.PosthookError, match="this client is closed"):
            await posthooks.hooks.get("a")
        with pytest.raises(ValueError, match="hook id is required"):
            await posthooks.hooks.get("")

    asyncio.run(main())


# The end of the interpreter


def at_the_end(calls):
    """A step that never answers but for ``/ready``, once so many calls are under way."""
    arrivals = Arrivals()

    def step(request):
        if not request.path.endswith("/ready"):
            return arrivals(request)
        arrivals.wait(calls)
        return ok(HOOK)

    return step


def test_the_interpreter_ends_at_once_with_async_calls_under_way():
    program = """if True:
        import asyncio, sys, posthook
        url = sys.argv[1]
        async def main():
            asyncio.get_running_loop().slow_callback_duration = 30  # a busy machine is no fault
            posthooks = posthook.AsyncPosthook("pk", base_url=url, timeout=60)
            calls = [asyncio.ensure_future(posthooks.hooks.get("a")) for _ in range(3)]
            calls.append(asyncio.ensure_future(posthook.async_ack(url + "/ack")))
            await posthooks.hooks.get("ready")
        asyncio.run(main())
        print("end")
    """
    with Script(at_the_end(4)) as server:
        assert run_program(program, server.url) == (0, "end\n")


def test_the_interpreter_ends_at_once_with_threads_at_work():
    program = """if True:
        import sys, threading, posthook
        url = sys.argv[1]
        posthooks = posthook.Posthook("pk", base_url=url, timeout=60)
        for call in (lambda: posthooks.hooks.get("a"), lambda: posthook.ack(url + "/ack")):
            threading.Thread(target=call, daemon=True).start()
        posthooks.hooks.get("ready")
        print("end")
    """
    with Script(at_the_end(2)) as server:
        assert run_program(program, server.url) == (0, "end\n")


def test_a_fork_renews_a_crew():
    crew = posthook._Crew(1)
    first = crew._shift
    posthook._renew_after_fork()
    assert crew._shift is not first


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
        "user-agent": posthook._USER_AGENT,
        "content-length": "0",
    }


@pytest.mark.parametrize("body", [{"why": "ü"}, {}, [], 0, False, "", "text"])
def test_any_body_but_none_is_sent_as_json(call_back, body):
    with Script(DONE) as server:
        call_back(server.url + "/x", body)
    assert server.last.json == body
    assert server.last.headers["content-type"] == "application/json"


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
def test_an_answer_becomes_a_result(call_back, step, applied, status):
    with Script(step) as server:
        result = call_back(server.url + "/v1/ack/complete-nack")
    assert result == posthook.CallbackResult(call_back.action == applied, status)


@pytest.mark.parametrize("status", [302, 400, 401, 403, 410, 418, 429, 501])
def test_every_other_answer_is_an_error_at_once(call_back, status):
    step = answer({"error": "no luck"}, status, location="/elsewhere")
    with Script(step) as server, pytest.raises(posthook.CallbackError) as failure:
        call_back(server.url + "/x")
    error = failure.value
    assert str(error) == f'{call_back.action} failed: {status}: {{"error": "no luck"}}'
    assert (error.status_code, error.body) == (status, '{"error": "no luck"}')
    assert pickle.loads(pickle.dumps(error)).status_code == status
    assert len(server.requests) == 1


def test_a_fault_is_tried_three_times_and_stays_an_error(call_back, pauses):
    step = answer(b"", 503, retry_after=3)
    with Script(step) as server, pytest.raises(posthook.CallbackError) as failure:
        call_back(server.url + "/x")
    assert str(failure.value) == f"{call_back.action} failed: 503"
    assert failure.value.retry_after == 3
    assert (len(server.requests), pauses) == (3, [3, 3])


def test_a_connection_lost_before_the_answer_is_repeated(call_back, pauses):
    with Script(NO_ANSWER, Reset(b"HTTP/1.1"), DONE) as server:
        assert call_back(server.url + "/x").status == "completed"
    assert len(server.requests) == 3


def test_a_refused_connection_is_a_connection_error(call_back, pauses):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}{TOKEN_URL}"
    with pytest.raises(posthook.PosthookConnectionError) as failure:
        call_back(url)
    assert not failure.value.maybe_sent
    assert len(pauses) == 2


@pytest.mark.parametrize("step", [Stall(b""), Stall(b"HTTP/1.1 200 OK\r\n")])
def test_a_callback_ends_at_its_deadline(call_back, step):
    with Script(step) as server, pytest.raises(posthook.PosthookTimeoutError):
        call_back(server.url + "/x", timeout=0.05)
    assert len(server.requests) == 1


@pytest.mark.parametrize("timeout", [*BAD_TIMEOUTS, None])
def test_a_callback_refuses_a_bad_timeout(call_back, timeout):
    with Script(DONE) as server, pytest.raises(ValueError, match="timeout is a positive"):
        call_back(server.url + "/x", timeout=timeout)
    assert server.connections == 0


@pytest.mark.parametrize("url", [None, ""])
def test_no_url_means_that_async_hooks_are_off(call_back, url):
    with pytest.raises(ValueError, match="async hooks"):
        call_back(url)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1:{port}/secret",
        "file:///secret",
        "127.0.0.1:{port}/secret",
        "//127.0.0.1:{port}/secret",
        "http:///secret",
        "http://127.0.0.1:{port}0000/secret",
        "http://127.0.0.1:port/secret",
        "http://127.0.0.1:{port}/secret\r\nx: y",
        "http://127.0.0.1:{port}/sec ret",
        "http://127.0.0.1:{port}/sécret",
        " http://127.0.0.1:{port}/secret",
        "http://user@127.0.0.1:{port}/secret",
        "http://[::1/secret",
    ],
)
def test_a_bad_url_is_refused_unopened_and_unshown(call_back, url):
    with Script(DONE) as server, pytest.raises(ValueError, match="^url ") as refusal:
        call_back(url.format(port=server.port))
    assert "ret" not in str(refusal.value)
    assert server.connections == 0


def test_a_callback_url_that_is_no_text_is_refused(call_back):
    with pytest.raises(TypeError, match="url is text, not bytes"):
        call_back(b"http://127.0.0.1/x")


@pytest.mark.parametrize("body", [{1, 2}, float("nan"), b"bytes"])
def test_a_body_that_is_no_json_is_refused(call_back, body):
    with Script(DONE) as server, pytest.raises((TypeError, ValueError), match="^body cannot be"):
        call_back(server.url + "/x", body)
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
def test_an_error_page_that_repeats_the_url_shows_nothing_of_it(call_back, caplog, echo):
    caplog.set_level(logging.DEBUG)
    step = answer(f"<p>no such page: {echo('http://host' + TOKEN_URL)}</p>".encode(), 403)
    with Script(step) as server, pytest.raises(posthook.CallbackError) as failure:
        call_back(server.url + TOKEN_URL)
    error = failure.value
    shown = f"{error} {error!r} {error.args} {error.body} {error.__cause__} {caplog.text}".lower()
    assert str(error).startswith(f"{call_back.action} failed: 403: <p>no such page: ")
    assert [secret for secret in SECRETS if secret.lower() in shown] == []
    assert len(shown) < 5_000


def test_a_status_that_repeats_the_url_shows_nothing_of_it(call_back):
    with Script(ok({"status": TOKEN_URL * 100})) as server:
        result = call_back(server.url + TOKEN_URL)
    assert [secret for secret in SECRETS if secret in repr(result)] == []
    assert len(repr(result)) < 5_000


def test_words_that_say_why_are_kept(call_back):
    text = '{"error": "Callback token expired: the hook was acked"}'
    with Script(answer(text.encode(), 410)) as server:
        error = error_of(call_back, server.url + TOKEN_URL)
    assert error.body == text


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


def test_a_connection_that_was_closed_while_idle_costs_no_failed_send(call_back, pauses):
    with Script(Close(DONE), DONE) as server:
        call_back(server.url + "/a")
        (idle,) = posthook._callback_sender().__self__._pool._idle
        assert select.select([idle._sock], [], [], 10)[0]  # the server's end has arrived
        call_back(server.url + "/b")
    assert [request.path for request in server.requests] == ["/a", "/b"]
    assert pauses == []


def test_fifty_async_callbacks_at_once():
    together = threading.Barrier(50)

    def step(request):
        together.wait(10)
        return DONE if request.path.startswith("/ack") else NACKED

    async def main(server):
        acks = [posthook.async_ack(f"{server.url}/ack/{n}") for n in range(25)]
        nacks = [posthook.async_nack(f"{server.url}/nack/{n}") for n in range(25)]
        return await asyncio.gather(*acks, *nacks)

    with Script(step) as server:
        results = asyncio.run(main(server))
    assert {result.applied for result in results} == {True}
    assert len({request.path for request in server.requests}) == 50


def test_a_cancelled_callback_is_cut():
    arrivals = Arrivals()

    async def main(server):
        call = asyncio.ensure_future(posthook.async_ack(server.url + "/x", timeout=60))
        await in_thread(arrivals.wait)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    with Script(arrivals) as server:
        asyncio.run(main(server))
    assert len(server.requests) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_parent_and_child_go_on_with_callbacks(call_back):
    with Script(DONE) as server:
        call_back(server.url + "/before")
        assert in_child(lambda: call_back(server.url + "/child").status == "completed")
        call_back(server.url + "/after")
    assert server.connections == 2  # the child made one of its own


@pytest.mark.parametrize("name", ["ack", "nack", "async_ack", "async_nack"])
def test_a_callback_has_the_signature_of_the_contract(name):
    function = getattr(posthook, name)
    signature = "(url: 'str | None', body: 'object' = None, *, timeout: 'float' = 30.0)"
    assert str(inspect.signature(function)).startswith(signature)
    assert inspect.iscoroutinefunction(function) == name.startswith("async_")


# ==================================================================================================
# 10. LocalPosthook
# ==================================================================================================


# ==================================================================================================
# 11. The command line
# ==================================================================================================

"""The tests of posthook.py, in the order of its sections. Real sockets on 127.0.0.1, no mocks."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import operator
import pathlib
import pickle
import shutil
import socket
import struct
import subprocess
import sys
import threading
import types
import zipfile

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

# What posthook-python 1.1.0 exports, and what this file adds to it above the cut line.
EXPORTS = """
    Posthook AsyncPosthook Hook HookRetryOverride QuotaInfo BulkActionResult CallbackResult Delivery
    ack nack async_ack async_nack SignaturesService create_signatures
    STATUS_PENDING STATUS_RETRY STATUS_COMPLETED STATUS_FAILED SORT_BY_POST_AT SORT_BY_CREATED_AT
    SORT_ORDER_ASC SORT_ORDER_DESC STRATEGY_FIXED STRATEGY_EXPONENTIAL
    PosthookError BadRequestError AuthenticationError CallbackError ForbiddenError NotFoundError
    PayloadTooLargeError RateLimitError InternalServerError PosthookConnectionError
    SignatureVerificationError __version__
    HookSequenceData Page PosthookTimeoutError Result build_opener
""".split()

# The signatures of posthook-python 1.1.0; only base_url has another default here.
FILTER = "self, start_time, end_time, limit, *, endpoint_key=None, sequence_id=None, timeout=None"
HOOK_FIELDS = (
    "id, path, data, post_at, status, post_duration_seconds, created_at, updated_at, domain=None, "
    "attempts=0, failure_error='', sequence_data=None, retry_override=None, quota=None"
)
CLIENT = "api_key=None, *, base_url=None, timeout=30.0, signing_key=None, http_client=None"
SCHEDULE = (
    "self, path, *, data=None, post_at=None, post_at_local=None, timezone=None, post_in=None, "
    "retry_override=None, timeout=None"
)
LIST = (
    "self, *, status=None, limit=None, offset=None, post_at_before=None, post_at_after=None, "
    "created_at_before=None, created_at_after=None, sort_by=None, sort_order=None, timeout=None"
)
LIST_ALL = "self, *, status=None, post_at_after=None, page_size=100, timeout=None"
SIGNATURES = {
    "Posthook": CLIENT,
    "Posthook.close": "self",
    "AsyncPosthook": CLIENT,
    "AsyncPosthook.close": "self",
    "HooksService.schedule": SCHEDULE,
    "HooksService.get": "self, id, *, timeout=None",
    "HooksService.list": LIST,
    "HooksService.list_all": LIST_ALL,
    "HooksService.delete": "self, id, *, timeout=None",
    "BulkActions.retry": "self, hook_ids, *, timeout=None",
    "BulkActions.replay": "self, hook_ids, *, timeout=None",
    "BulkActions.cancel": "self, hook_ids, *, timeout=None",
    "BulkActions.retry_by_filter": FILTER,
    "BulkActions.replay_by_filter": FILTER,
    "BulkActions.cancel_by_filter": FILTER,
    "AsyncHooksService.schedule": SCHEDULE,
    "AsyncHooksService.get": "self, id, *, timeout=None",
    "AsyncHooksService.list": LIST,
    "AsyncHooksService.list_all": LIST_ALL,
    "AsyncHooksService.delete": "self, id, *, timeout=None",
    "AsyncBulkActions.retry": "self, hook_ids, *, timeout=None",
    "AsyncBulkActions.replay": "self, hook_ids, *, timeout=None",
    "AsyncBulkActions.cancel": "self, hook_ids, *, timeout=None",
    "AsyncBulkActions.retry_by_filter": FILTER,
    "AsyncBulkActions.replay_by_filter": FILTER,
    "AsyncBulkActions.cancel_by_filter": FILTER,
    "ack": "url, body=None",
    "nack": "url, body=None",
    "async_ack": "url, body=None",
    "async_nack": "url, body=None",
    "create_signatures": "signing_key=None",
    "SignaturesService": "signing_key=None",
    "SignaturesService.parse_delivery": "self, body, headers, *, signing_key=None, tolerance=300",
    "Hook": HOOK_FIELDS,
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
    "BadRequestError": "message, headers=None",
    "AuthenticationError": "message, headers=None",
    "ForbiddenError": "message, headers=None",
    "NotFoundError": "message, headers=None",
    "PayloadTooLargeError": "message, headers=None",
    "RateLimitError": "message, headers=None",
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
PUBLIC_FUNCTIONS = [
    value for name in posthook.__all__ if inspect.isfunction(value := getattr(posthook, name))
]
PUBLIC_METHODS = [
    (owner, name)
    for owner in PUBLIC_CLASSES
    for name, value in vars(owner).items()
    if not name.startswith("_")
    and isinstance(value, (types.FunctionType, classmethod, staticmethod, property))
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
    before = set(sys.modules)

    def load(name, path):
        monkeypatch.syspath_prepend(str(path))
        return importlib.import_module(name)

    yield load
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_importing_prints_nothing_and_loads_nothing_heavy():
    heavy = (
        "urllib.request http.client ssl asyncio concurrent.futures concurrent.futures.thread "
        "zoneinfo http.server argparse socket email"
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


def test_all_names_everything_that_is_public_and_nothing_twice():
    assert len(set(posthook.__all__)) == len(posthook.__all__)
    assert set(EXPORTS) <= set(posthook.__all__)
    namespace = {}
    exec("from posthook import *", namespace)
    assert set(posthook.__all__) <= set(namespace)


def test_what_a_program_can_reach_from_a_client_needs_no_name_in_all():
    services = {"HooksService", "BulkActions", "AsyncHooksService", "AsyncBulkActions"}
    assert {each.__name__ for each in PUBLIC_CLASSES} - set(posthook.__all__) == services


def test_the_version_begins_with_a_digit():
    assert posthook.__version__[0].isdigit()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STATUS_PENDING", "pending"),
        ("STATUS_RETRY", "retry"),
        ("STATUS_COMPLETED", "completed"),
        ("STATUS_FAILED", "failed"),
        ("SORT_BY_POST_AT", "postAt"),
        ("SORT_BY_CREATED_AT", "createdAt"),
        ("SORT_ORDER_ASC", "ASC"),
        ("SORT_ORDER_DESC", "DESC"),
        ("STRATEGY_FIXED", "fixed"),
        ("STRATEGY_EXPONENTIAL", "exponential"),
    ],
)
def test_constants_are_those_of_posthook_python(name, value):
    assert getattr(posthook, name) == value


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures_are_those_of_posthook_python(name):
    expected = inspect.signature(eval(f"lambda {SIGNATURES[name]}: None")).parameters
    parameters = inspect.signature(operator.attrgetter(name)(posthook)).parameters
    kept = [p.replace(annotation=p.empty) for p in parameters.values() if p.name in expected]
    assert kept == list(expected.values())


@pytest.mark.parametrize("name", SIGNATURES)
def test_parameters_of_our_own_are_keyword_only_or_last_and_have_defaults(name):
    expected = inspect.signature(eval(f"lambda {SIGNATURES[name]}: None")).parameters
    parameters = list(inspect.signature(operator.attrgetter(name)(posthook)).parameters.values())
    for place, parameter in enumerate(parameters):
        if parameter.name not in expected:
            assert parameter.kind is parameter.KEYWORD_ONLY or place >= len(expected)
            assert parameter.default is not parameter.empty


@pytest.mark.parametrize("function", PUBLIC_FUNCTIONS + PUBLIC_CLASSES, ids=lambda it: it.__name__)
def test_functions_and_classes_have_signatures_and_docstrings_of_their_own(function):
    assert inspect.signature(function)
    documentation = vars(function).get("__doc__", function.__doc__)
    assert documentation.strip()
    assert not documentation.startswith(f"{function.__name__}(")  # as dataclasses write them


@pytest.mark.parametrize(
    ("owner", "name"), PUBLIC_METHODS, ids=lambda it: getattr(it, "__name__", it)
)
def test_methods_have_signatures_and_docstrings(owner, name):
    method = inspect.getattr_static(owner, name)
    assert method.__doc__.strip()
    assert isinstance(method, property) or inspect.signature(getattr(owner, name))


def test_the_module_is_documented():
    assert "Map of the file" in posthook.__doc__


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

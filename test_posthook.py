"""The tests of posthook.py, in the order of its sections. Real sockets on 127.0.0.1, no mocks."""

from __future__ import annotations

import collections
import contextlib
import copy
import dataclasses
import datetime
import enum
import functools
import importlib
import inspect
import itertools
import json
import operator
import pathlib
import pickle
import random
import shutil
import socket
import struct
import subprocess
import sys
import threading
import types
import urllib.parse
import uuid
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
EXPORTS = {
    "Posthook",
    "AsyncPosthook",
    "Hook",
    "HookRetryOverride",
    "QuotaInfo",
    "BulkActionResult",
    "CallbackResult",
    "Delivery",
    "ack",
    "nack",
    "async_ack",
    "async_nack",
    "SignaturesService",
    "create_signatures",
    "STATUS_PENDING",
    "STATUS_RETRY",
    "STATUS_COMPLETED",
    "STATUS_FAILED",
    "SORT_BY_POST_AT",
    "SORT_BY_CREATED_AT",
    "SORT_ORDER_ASC",
    "SORT_ORDER_DESC",
    "STRATEGY_FIXED",
    "STRATEGY_EXPONENTIAL",
    "PosthookError",
    "BadRequestError",
    "AuthenticationError",
    "CallbackError",
    "ForbiddenError",
    "NotFoundError",
    "PayloadTooLargeError",
    "RateLimitError",
    "InternalServerError",
    "PosthookConnectionError",
    "SignatureVerificationError",
    "__version__",
    "HookSequenceData",
    "Page",
    "PosthookTimeoutError",
    "Result",
    "build_opener",
}

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

STATUSES = [
    (400, "BadRequestError", "bad_request"),
    (401, "AuthenticationError", "authentication_error"),
    (403, "ForbiddenError", "forbidden"),
    (404, "NotFoundError", "not_found"),
    (413, "PayloadTooLargeError", "payload_too_large"),
    (429, "RateLimitError", "rate_limit_exceeded"),
    (500, "InternalServerError", "internal_error"),
    (502, "InternalServerError", "internal_error"),
    (503, "InternalServerError", "internal_error"),
    (599, "InternalServerError", "internal_error"),
    (300, "PosthookError", "unknown_error"),
    (302, "PosthookError", "unknown_error"),
    (402, "PosthookError", "unknown_error"),
    (418, "PosthookError", "unknown_error"),
    (600, "PosthookError", "unknown_error"),
    (999, "PosthookError", "unknown_error"),
]

ERRORS = [value for value in PUBLIC_CLASSES if issubclass(value, posthook.PosthookError)]


def filled(error):
    """``error`` with a value in every public attribute, as some caller could have set it."""
    for name in ("body", "retry_after", "quota", "maybe_sent", "reason"):
        if hasattr(error, name):
            setattr(error, name, f"a value of {name}")
    return error


def raised(call):
    """The PosthookError that ``call()`` raises."""
    with pytest.raises(posthook.PosthookError) as info:
        call()
    return info.value


@pytest.mark.parametrize(("status", "name", "code"), STATUSES)
def test_an_answer_that_is_not_2xx_is_the_error_of_its_status(status, name, code):
    with Script(answer({"error": "It failed"}, status)) as server, client(server) as posthooks:
        error = raised(lambda: posthooks.hooks.get("a"))
    assert type(error) is getattr(posthook, name)
    assert (error.status_code, error.code, error.message) == (status, code, "It failed")


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
    ("arguments", "keywords", "status"),
    [
        ((), {}, 500),
        ((503,), {}, 503),
        ((503, {"A": "b"}), {}, 503),
        ((), {"status_code": 504, "headers": {"A": "b"}}, 504),
    ],
)
def test_a_server_error_takes_its_status_and_headers_in_either_form(arguments, keywords, status):
    error = posthook.InternalServerError("It failed", *arguments, **keywords)
    assert error.status_code == status


def test_a_plain_error_takes_status_code_and_headers_as_keywords():
    error = posthook.PosthookError("No", status_code=418, code="teapot", headers={"A": "b"})
    assert (error.status_code, error.code, error.headers) == (418, "teapot", {"A": "b"})


def test_a_status_error_takes_its_headers_also_by_position():
    assert posthook.NotFoundError("gone", {"A": "b"}).headers == {"A": "b"}


def test_a_callback_error_takes_its_status_by_position():
    assert posthook.CallbackError("ack failed: 410", 410).status_code == 410


@pytest.mark.parametrize("cls", ERRORS)
def test_errors_show_their_message_and_nothing_else(cls):
    error = cls("a hook is gone: \u00fc\n")
    assert str(error) == error.message == "a hook is gone: \u00fc\n"
    assert error.args == (error.message,)


@pytest.mark.parametrize("cls", ERRORS)
def test_the_message_of_an_error_is_never_empty(cls):
    assert str(cls("")) == cls.__name__


@pytest.mark.parametrize("cls", ERRORS)
def test_the_repr_of_an_error_tells_class_and_message(cls):
    assert repr(cls("gone")).startswith(f"{cls.__name__}(message='gone'")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("cls", ERRORS)
def test_errors_pickle_whole(cls, protocol):
    error = filled(cls("gone"))
    again = pickle.loads(pickle.dumps(error, protocol))
    assert type(again) is cls
    assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
@pytest.mark.parametrize("cls", ERRORS)
def test_errors_copy_whole(cls, copied):
    error = filled(cls("gone"))
    again = copied(error)
    assert type(again) is cls
    assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))


def test_an_error_of_an_answer_pickles_with_all_that_the_answer_said():
    headers = {"retry_after": "7", "posthook_hookquota_limit": "5"}
    with Script(answer({"error": "Enough"}, 429, **headers)) as server, client(server) as posthooks:
        error = raised(lambda: posthooks.hooks.get("a"))
    again = pickle.loads(pickle.dumps(error))
    assert vars(again) == vars(error)
    assert again.headers["Retry-After"] == "7"
    assert again.quota == posthook.QuotaInfo(5, 0, 0, None)


def test_every_error_but_a_timeout_derives_from_posthook_error_alone():
    foreign = {
        cls.__name__: [base.__name__ for base in cls.__mro__ if base.__module__ == "builtins"]
        for cls in ERRORS
    }
    plain = ["Exception", "BaseException", "object"]
    assert foreign.pop("PosthookTimeoutError") == ["TimeoutError", "OSError", *plain]
    assert len(foreign) == 11
    assert all(bases == plain for bases in foreign.values())


def test_a_timeout_is_a_connection_error_and_a_timeout_error_of_python():
    assert issubclass(posthook.PosthookTimeoutError, posthook.PosthookConnectionError)
    assert issubclass(posthook.PosthookTimeoutError, TimeoutError)
    assert posthook.PosthookTimeoutError("late", maybe_sent=False).maybe_sent is False


def test_a_connection_error_may_have_been_sent_unless_it_says_otherwise():
    assert posthook.PosthookConnectionError("reset").maybe_sent is True
    assert posthook.PosthookConnectionError("refused", maybe_sent=False).maybe_sent is False


def test_a_signature_error_has_a_reason():
    assert posthook.SignatureVerificationError("no").reason == "mismatch"
    assert posthook.SignatureVerificationError("no", reason="too_old").reason == "too_old"


@pytest.mark.parametrize("name", ["Retry-After", "retry-after", "RETRY-AFTER"])
def test_headers_of_an_error_are_looked_up_in_any_case(name):
    headers = posthook.RateLimitError("Enough", {"Retry-After": "7"}).headers
    assert (headers[name], headers.get(name), name in headers) == ("7", "7", True)


def test_headers_of_an_error_that_are_not_there_are_a_dict_s_missing_keys():
    headers = posthook.RateLimitError("Enough", {"Retry-After": "7"}).headers
    assert (headers.get("X"), headers.get("X", "-"), "X" in headers, 5 in headers) == (
        None,
        "-",
        False,
        False,
    )
    with pytest.raises(KeyError, match="X"):
        headers["X"]


def test_headers_of_an_error_equal_the_dict_that_was_passed_in():
    headers = posthook.RateLimitError("Enough", {"Retry-After": "7", "X": "y"}).headers
    assert headers == {"Retry-After": "7", "X": "y"}
    assert list(headers.items()) == [("Retry-After", "7"), ("X", "y")]
    assert posthook.RateLimitError("Enough", {}).headers == {}


def test_headers_of_an_error_are_the_server_s():
    with Script(answer({"error": "No"}, 400, x_request="Abc")) as server, client(server) as it:
        error = raised(lambda: it.hooks.get("a"))
    assert error.headers["X-Request"] == "Abc"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": "path is required"}', "path is required"),
        (b'{"error": "  spaces and \\n\\u00fc stay "}', "  spaces and \n\u00fc stay "),
        (b'{"error": ""}', "HTTP 400"),
        (b'{"error": " "}', "HTTP 400"),
        (b'{"error": null}', "HTTP 400"),
        (b'{"error": {"message": "x"}}', "HTTP 400"),
        (b'{"error": 5}', "HTTP 400"),
        (b'{"message": "x"}', "HTTP 400"),
        (b'["error"]', "HTTP 400"),
        (b"<html>Bad Request</html>", "HTTP 400"),
        (b"\xff\xfe", "HTTP 400"),
        (b"[" * 100_000, "HTTP 400"),
        (b"", "HTTP 400"),
    ],
)
def test_the_message_is_the_server_s_error_text_or_the_status(body, message):
    with Script(answer(body, 400)) as server, client(server) as posthooks:
        error = raised(lambda: posthooks.hooks.get("a"))
    assert error.message == message
    assert error.body == body.decode(errors="replace")


def test_not_modified_is_no_result():
    with Script(answer(b"", 304)) as server, client(server) as posthooks:
        error = raised(lambda: posthooks.hooks.get("a"))
    assert (type(error), error.status_code) == (posthook.PosthookError, 304)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308, 399])
def test_a_redirect_says_what_to_check(status):
    moved = answer(b"", status, location="https://example.com/")
    with Script(moved) as server, client(server) as posthooks:
        error = raised(lambda: posthooks.hooks.get("a"))
    assert error.message == f"HTTP {status}: redirects are not followed, check base_url"


def test_a_rate_limit_error_tells_the_quota():
    quota = {"posthook_hookquota_limit": "100", "posthook_hookquota_usage": "100"}
    with Script(answer({"error": "Enough"}, 429, **quota)) as server, client(server) as posthooks:
        error = raised(lambda: posthooks.hooks.schedule("/p", post_in="5m"))
    assert error.quota == posthook.QuotaInfo(100, 100, 0, None)


def test_a_rate_limit_error_without_quota_headers_has_none():
    with Script(answer({"error": "Enough"}, 429)) as server, client(server) as posthooks:
        error = raised(lambda: posthooks.hooks.schedule("/p", post_in="5m"))
    assert (error.quota, error.retry_after) == (None, None)


# ==================================================================================================
# 3. Models
# ==================================================================================================

UTC = datetime.timezone.utc
NO_TIME = datetime.datetime.min.replace(tzinfo=UTC)

WHOLE_HOOK = {
    **HOOK,
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
    return datetime.datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize("model", MODELS, ids=name_of)
def test_models_are_dataclasses_that_pickle_and_copy(model):
    assert all(
        again == model and type(again) is type(model)
        for again in (
            *(pickle.loads(pickle.dumps(model, p)) for p in range(pickle.HIGHEST_PROTOCOL + 1)),
            copy.copy(model),
            copy.deepcopy(model),
            dataclasses.replace(model),
        )
    )


@pytest.mark.parametrize("model", MODELS, ids=name_of)
def test_models_become_dicts_of_their_fields(model):
    assert list(dataclasses.asdict(model)) == [field.name for field in dataclasses.fields(model)]


@pytest.mark.parametrize("model", FROZEN_MODELS, ids=name_of)
def test_small_models_are_frozen_and_hashable(model):
    assert hash(model) == hash(copy.copy(model))
    with pytest.raises(dataclasses.FrozenInstanceError):
        model.status = "other"


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


@pytest.mark.parametrize("cls", [*map(type, MODELS)], ids=lambda cls: cls.__name__)
def test_the_repr_of_a_model_shortens_what_is_long(cls):
    count = len(dataclasses.fields(cls))
    assert len(repr(cls(*["x" * 10_000] * count))) < 200 * count


def test_the_repr_of_a_hook_stays_short_whatever_it_carries():
    data = {
        "text": "x" * 60_000,
        "list": list(range(60_000)),
        "deep": json.loads("[" * 50 + "]" * 50),
    }
    assert len(repr(posthook.Hook.from_dict({**WHOLE_HOOK, "data": data}))) < 1200


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
        "updated_at": utc(2026, 2, 23, 10),
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
    assert posthook.Hook.from_dict({}) == EMPTY_HOOK


@pytest.mark.parametrize("value", [None, True, [], {}, [1], {"a": 1}, -(10**400), "1e5"], ids=ascii)
@pytest.mark.parametrize("name", [name for name in WHOLE_HOOK if name not in ("data", "tryAt")])
def test_null_or_badly_typed_fields_of_a_hook_take_their_defaults(name, value):
    hook = posthook.Hook.from_dict({name: value})
    if isinstance(value, str) and name in ("id", "path", "status", "domain", "failureError"):
        assert value in dataclasses.astuple(hook)
    elif type(value) is int and name == "attempts":
        assert hook.attempts == value
    elif value == {"a": 1} and name == "sequenceData":
        assert hook.sequence_data == posthook.HookSequenceData("", "", "")
    elif value == {"a": 1} and name == "retryOverride":
        assert hook.retry_override == posthook.HookRetryOverride(0, 0, "")
    else:
        assert hook == EMPTY_HOOK


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


def test_null_and_empty_objects_in_a_hook_are_none():
    for empty in (None, {}):
        hook = posthook.Hook.from_dict({"sequenceData": empty, "retryOverride": empty})
        assert (hook.sequence_data, hook.retry_override) == (None, None)


@pytest.mark.parametrize(
    ("override", "sent"),
    [
        (
            posthook.HookRetryOverride(3, 10, "fixed"),
            {"minRetries": 3, "delaySecs": 10, "strategy": "fixed"},
        ),
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


def test_the_last_run_of_a_sequence_stays_text():
    sequence = posthook.HookSequenceData.from_dict({"sequenceLastRunAt": "2026-01-01T00:00:00Z"})
    assert sequence == posthook.HookSequenceData("", "", "2026-01-01T00:00:00Z")


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


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_page_pickles_whole(protocol):
    page = posthook.Page([EMPTY_HOOK], cursor="c", total_items=5)
    again = pickle.loads(pickle.dumps(page, protocol))
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


@pytest.mark.parametrize("timeout", [None, "60", True, datetime.timedelta(60)])
def test_the_time_of_an_accepted_result_is_a_number(timeout):
    with pytest.raises(TypeError, match="number of seconds"):
        posthook.Result.accept(timeout)


READABLE_TIMES = [
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
]


@pytest.mark.parametrize(("text", "moment"), READABLE_TIMES)
def test_times_of_rfc_3339_are_read_in_every_form_and_cut_to_microseconds(text, moment):
    read = posthook.Hook.from_dict({"postAt": text}).post_at
    assert read == moment
    assert read.tzinfo is not None
    assert posthook._parse_time(text) == moment


UNREADABLE_TIMES = [
    "",
    " ",
    "yesterday",
    "2026-03-01",
    "2026-03-01T12:00:00",
    "2026-13-01T12:00:00Z",
    "2026-02-30T12:00:00Z",
    "2026-03-01T25:00:00Z",
    "2026-03-01T12:60:00Z",
    "2026-03-01T12:00:61Z",
    "2026-03-01T12:00:00+24:00",
    "2026-03-01T12:00:00Z ",
    "2026-03-01T12:00:00Z\n",
    " 2026-03-01T12:00:00Z",
    "0000-01-01T00:00:00Z",
    "9999-12-31T23:59:60Z",
    "99999-01-01T00:00:00Z",
    "2026-03-01T12:00:00Zulu",
    "\uff12026-03-01T12:00:00Z",
    "2026-03-01T12:00:00.\u0661Z",
    "2026-03-01T12:00:00\ud800",
    "2026-03-01T12:00:00." + "1" * 100_000,
    "1772366400",
]


@pytest.mark.parametrize("text", UNREADABLE_TIMES, ids=lambda text: ascii(text)[:40])
def test_a_time_that_cannot_be_read_is_the_first_of_all(text):
    assert posthook.Hook.from_dict({"postAt": text}).post_at == NO_TIME


@pytest.mark.parametrize("text", UNREADABLE_TIMES, ids=lambda text: ascii(text)[:40])
def test_the_strict_reader_of_times_refuses_them(text):
    with pytest.raises((ValueError, OverflowError)):
        posthook._parse_time(text)


@pytest.mark.parametrize("name", ["postAt", "createdAt", "updatedAt"])
def test_every_time_of_a_hook_that_is_no_text_is_the_first_of_all(name):
    assert posthook.Hook.from_dict({name: 1772366400}) == EMPTY_HOOK


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
        offset = datetime.timezone(datetime.timedelta(minutes=choices.randint(-1439, 1439)))
        moment = utc(choices.randint(2, 9998), choices.randint(1, 12), choices.randint(1, 28))
        moment += datetime.timedelta(
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
        "",
        "5",
        "m",
        "1.5h",
        "30m1h",
        "1h 30m",
        "-5m",
        "5M",
        "1w",
        "1ms",
        "5m5m",
        "\u0665m",
        "9" * 13 + "s",
    ],
    ids=ascii,
)
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="duration"):
        posthook._parse_duration(text)


@pytest.mark.parametrize(
    ("delay", "text"),
    [
        (datetime.timedelta(microseconds=1), "1s"),
        (datetime.timedelta(seconds=1), "1s"),
        (datetime.timedelta(seconds=1, microseconds=1), "2s"),
        (datetime.timedelta(days=365), "31536000s"),
        (datetime.timedelta.max, "86400000000000s"),
    ],
)
def test_a_timedelta_is_written_in_whole_seconds_never_too_few(delay, text):
    assert posthook._format_duration(delay) == text


# ==================================================================================================
# 4. Receiving
# ==================================================================================================


# ==================================================================================================
# 5. Requests and answers
# ==================================================================================================


class Id(str, enum.Enum):
    FIRST = "first/id"


class Text(str):
    """A str of another class, whose str() is not its value."""

    __slots__ = ()

    def __str__(self):
        return "not the value"


class Number(int):
    """An int of another class, as numpy's and enum's are."""


class Zone(datetime.tzinfo):
    """A ZoneInfo's likeness: every day the clock is put forward from 2 to 3, back from 5 to 4."""

    def __init__(self, key="Europe/Berlin"):
        self.key = key

    def utcoffset(self, moment):
        summer = (2 + (not moment.fold)) <= moment.hour < (4 + (not moment.fold))
        return datetime.timedelta(hours=2 if summer else 1)

    def dst(self, moment):
        return datetime.timedelta(0)


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


def bulk(action, *arguments, **keywords):
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


def answered(body, call=lambda hooks: hooks.get("a"), status=200, **headers):
    """What ``call(hooks)`` makes of an answer; ``body`` is JSON unless it is bytes."""
    with Script(answer(body, status, **headers)) as server, client(server) as posthooks:
        return call(posthooks.hooks)


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
    [
        "/",
        "/p",
        "/\u00fc\U0001f600",
        "/p?a=b&c=d#e",
        "/a b/%20/../x",
        "//p",
        Text("/p"),
    ],
    ids=ascii,
)
def test_a_path_is_sent_unchanged(path):
    assert scheduled(path=path)["path"] == path


@pytest.mark.parametrize(
    "path", ["", "p", " /p", "https://a/p", "/a\nb", "/a\x00", "/a\x7f", "/\ud800"], ids=ascii
)
def test_a_path_without_a_slash_or_with_control_characters_is_refused(refusing, path):
    with pytest.raises(ValueError, match='begins with "/"'):
        refusing.schedule(path, post_in="5m")


@pytest.mark.parametrize("path", [None, b"/p", 5, ["/p"], SOURCE])
def test_a_path_that_is_no_text_is_refused(refusing, path):
    with pytest.raises(TypeError, match="path is text"):
        refusing.schedule(path, post_in="5m")


@pytest.mark.parametrize(
    ("delay", "text"),
    [
        ("5m", "5m"),
        ("1d2h30m45s", "1d2h30m45s"),
        ("1.5h", "1.5h"),
        ("30m1h", "30m1h"),
        (Text("5m"), "5m"),
        (datetime.timedelta(minutes=5), "300s"),
        (datetime.timedelta(milliseconds=1), "1s"),
        (datetime.timedelta(seconds=1.000001), "2s"),
        (datetime.timedelta.max, "86400000000000s"),
    ],
)
def test_post_in_is_sent_as_text_or_in_whole_seconds_never_early(delay, text):
    assert scheduled(post_in=delay)["postIn"] == text


@pytest.mark.parametrize(
    "delay",
    [
        "",
        " ",
        "0s",
        "0d0h0m0s",
        "00m",
        datetime.timedelta(0),
        datetime.timedelta(-1),
        datetime.timedelta.min,
    ],
)
def test_post_in_of_no_time_is_refused(refusing, delay):
    with pytest.raises(ValueError, match="post_in is"):
        refusing.schedule("/p", post_in=delay)


@pytest.mark.parametrize("delay", [5, 5.0, True, b"5m", ["5m"], datetime.time(0, 5)])
def test_post_in_of_another_type_is_refused(refusing, delay):
    with pytest.raises(TypeError, match="timedelta"):
        refusing.schedule("/p", post_in=delay)


MOMENTS = [
    ("2026-03-01T12:00:00+02:00", "2026-03-01T12:00:00+02:00"),
    ("tomorrow", "tomorrow"),
    (Text("2026-03-01T12:00:00Z"), "2026-03-01T12:00:00Z"),
    (utc(2026, 3, 1, 12), "2026-03-01T12:00:00Z"),
    (utc(2026, 3, 1, 12, 0, 0, 1), "2026-03-01T12:00:00.000001Z"),
    (utc(2026, 3, 1, 12, 0, 0, 500_000), "2026-03-01T12:00:00.500000Z"),
    (datetime.datetime(2026, 3, 1, 12, tzinfo=Zone()), "2026-03-01T11:00:00Z"),
    (datetime.datetime(2026, 3, 1, 4, tzinfo=Zone()), "2026-03-01T02:00:00Z"),
    (datetime.datetime(2026, 3, 1, 4, tzinfo=Zone(), fold=1), "2026-03-01T03:00:00Z"),
    (
        datetime.datetime(2026, 3, 1, tzinfo=datetime.timezone(datetime.timedelta(seconds=1))),
        "2026-02-28T23:59:59Z",
    ),
    (utc(1, 1, 1), "0001-01-01T00:00:00Z"),
    (utc(9999, 12, 31, 23, 59, 59, 999_999), "9999-12-31T23:59:59.999999Z"),
]


@pytest.mark.parametrize(("moment", "text"), MOMENTS)
def test_post_at_is_sent_as_text_or_in_utc_to_the_microsecond(moment, text):
    assert scheduled(post_at=moment)["postAt"] == text


BAD_MOMENTS = [
    (datetime.datetime(2026, 3, 1), ValueError, "timezone-aware"),
    (
        datetime.datetime(2026, 3, 1, tzinfo=Zone()).replace(tzinfo=None),
        ValueError,
        "timezone-aware",
    ),
    (datetime.datetime.min.replace(tzinfo=Zone()), ValueError, "years 1 to 9999"),
    (
        datetime.datetime.max.replace(tzinfo=datetime.timezone(-datetime.timedelta(hours=1))),
        ValueError,
        "years 1 to 9999",
    ),
    (datetime.date(2026, 3, 1), TypeError, "aware datetime"),
    (1772366400, TypeError, "aware datetime"),
    (1772366400.0, TypeError, "aware datetime"),
    (True, TypeError, "aware datetime"),
    (b"2026-03-01T12:00:00Z", TypeError, "aware datetime"),
    (datetime.timedelta(1), TypeError, "aware datetime"),
    (" ", ValueError, "is empty"),
]


@pytest.mark.parametrize(
    ("moment", "error", "message"), [*BAD_MOMENTS, ("", ValueError, "is empty")]
)
def test_post_at_that_is_no_point_in_time_is_refused(refusing, moment, error, message):
    with pytest.raises(error, match=f"post_at.*{message}"):
        refusing.schedule("/p", post_at=moment)


@pytest.mark.parametrize(
    ("local", "zone", "text"),
    [
        ("2026-03-01T09:00:00", "Europe/Berlin", "2026-03-01T09:00:00"),
        ("whatever", "No/Such", "whatever"),
        (datetime.datetime(2026, 3, 1, 9), "Europe/Berlin", "2026-03-01T09:00:00"),
        (datetime.datetime(2026, 3, 1, 9, 0, 0, 5), "Asia/Tokyo", "2026-03-01T09:00:00"),
        (datetime.datetime(1, 1, 1), Text("Asia/Tokyo"), "0001-01-01T00:00:00"),
    ],
)
def test_a_local_time_is_sent_with_the_name_of_its_zone(local, zone, text):
    body = scheduled(post_at_local=local, timezone=zone)
    assert (body["postAtLocal"], body["timezone"]) == (text, zone)


def test_a_zone_goes_out_as_its_key():
    body = scheduled(post_at_local="2026-03-01T09:00:00", timezone=Zone("Asia/Tokyo"))
    assert body["timezone"] == "Asia/Tokyo"


@pytest.mark.parametrize(("hour", "fold"), [(9, 0), (9, 1), (2, 0), (2, 1), (4, 0)])
def test_a_local_time_with_a_zone_gives_the_zone_s_name(hour, fold):
    moment = datetime.datetime(2026, 3, 1, hour, 30, tzinfo=Zone(), fold=fold)
    body = scheduled(post_at_local=moment)
    assert body["postAtLocal"] == f"2026-03-01T{hour:02}:30:00"
    assert body["timezone"] == "Europe/Berlin"


@pytest.mark.parametrize("moment", ["2026-11-01T01:30:00", datetime.datetime(2026, 11, 1, 1, 30)])
def test_a_zoneinfo_goes_out_as_its_key(moment):
    zoneinfo = pytest.importorskip("zoneinfo")
    try:
        zone = zoneinfo.ZoneInfo("America/New_York")
    except zoneinfo.ZoneInfoNotFoundError:
        pytest.skip("no time zone database")
    assert scheduled(post_at_local=moment, timezone=zone)["timezone"] == "America/New_York"


@pytest.mark.parametrize(
    ("local", "zone", "error", "message"),
    [
        ("2026-03-01T09:00:00", None, ValueError, "needs timezone"),
        (datetime.datetime(2026, 3, 1), None, ValueError, "needs timezone"),
        ("2026-03-01T09:00:00", "", ValueError, "timezone is empty"),
        ("2026-03-01T09:00:00", " ", ValueError, "timezone is empty"),
        ("2026-03-01T09:00:00", 5, TypeError, "timezone is a name"),
        ("2026-03-01T09:00:00", UTC, TypeError, "timezone is a name"),
        ("2026-03-01T09:00:00", Zone(None), TypeError, "timezone is a name"),
        ("", "Europe/Berlin", ValueError, "post_at_local is empty"),
        (" ", "Europe/Berlin", ValueError, "post_at_local is empty"),
        (5, "Europe/Berlin", TypeError, "post_at_local is a datetime or text"),
        (datetime.date(2026, 3, 1), "Europe/Berlin", TypeError, "post_at_local is a datetime"),
        (utc(2026, 3, 1), None, ValueError, "needs a ZoneInfo with a name"),
        (datetime.datetime(2026, 3, 1, tzinfo=Zone(None)), None, ValueError, "with a name"),
        (datetime.datetime(2026, 3, 1, tzinfo=Zone()), "Europe/Berlin", ValueError, "already"),
        (datetime.datetime(2026, 3, 1, tzinfo=Zone()), Zone(), ValueError, "already"),
        (datetime.datetime(2026, 3, 1, 4, tzinfo=Zone(), fold=1), None, ValueError, "twice"),
        (datetime.datetime(2026, 3, 1, tzinfo=Zone("")), None, ValueError, "timezone is empty"),
    ],
)
def test_a_local_time_that_is_none_or_has_no_zone_is_refused(refusing, local, zone, error, message):
    with pytest.raises(error, match=message):
        refusing.schedule("/p", post_at_local=local, timezone=zone)


@pytest.mark.parametrize("mode", [{"post_in": "5m"}, {"post_at": utc(2026, 3, 1)}])
@pytest.mark.parametrize("zone", ["Europe/Berlin", "", UTC])
def test_a_timezone_without_a_local_time_is_refused(refusing, mode, zone):
    with pytest.raises(ValueError, match="timezone belongs to post_at_local"):
        refusing.schedule("/p", timezone=zone, **mode)


@pytest.mark.parametrize(
    ("data", "json_data"),
    [
        (None, {}),
        ({}, {}),
        ([], []),
        (0, 0),
        (False, False),
        ("", ""),
        (-1.5, -1.5),
        (10**300, 10**300),
        ((1, (2, 3)), [1, [2, 3]]),
        ({1: "a", None: "b", 1.5: "c"}, {"1": "a", "null": "b", "1.5": "c"}),
        ({True: "a", Number(5): "b"}, {"true": "a", "5": "b"}),
        (collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        ({"id": Id.FIRST, Id.FIRST: 1}, {"id": "first/id", "first/id": 1}),
        (Number(5), 5),
        (Text("value"), "value"),
        ("\u00fc\U0001f600\x00\n", "\u00fc\U0001f600\x00\n"),
        ("\ud800", "\ud800"),
        ({"text": "x" * 100_000}, {"text": "x" * 100_000}),
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
        (float("nan"), ValueError),
        ({"a": [float("inf")]}, ValueError),
        (-float("inf"), ValueError),
        (b"bytes", TypeError),
        ({1, 2}, TypeError),
        (utc(2026, 3, 1), TypeError),
        ({(1, 2): 3}, TypeError),
        ((each for each in "abc"), TypeError),
        (object(), TypeError),
        (1j, TypeError),
        (CIRCULAR, ValueError),
        (DEEP, ValueError),
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
    with pytest.raises(ValueError, match="hook id is required"):
        getattr(refusing, call)(id)


@pytest.mark.parametrize("id", [5, True, b"a", uuid.UUID(int=1), ["a"]], ids=repr)
def test_an_id_that_is_no_text_is_refused(refusing, id):
    with pytest.raises(TypeError, match=r"pass str\(id\)"):
        refusing.get(id)


def test_an_id_with_half_of_a_surrogate_pair_is_refused(refusing):
    with pytest.raises(ValueError, match="surrogates not allowed"):
        refusing.get("a\ud800")


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


BAD_COUNTS = [0, -1, 1001, 10**30, 5.0, "5", True, False, None, float("nan"), Number(5)]


@pytest.mark.parametrize("limit", [limit for limit in BAD_COUNTS if limit is not None])
def test_list_refuses_other_limits(refusing, limit):
    with pytest.raises(ValueError, match="limit is a whole number from 1 to 1000"):
        refusing.list(limit=limit)


@pytest.mark.parametrize("offset", [-1, 1.0, "1", True])
def test_list_refuses_an_offset_that_is_no_count(refusing, offset):
    with pytest.raises(ValueError, match="offset is a whole number"):
        refusing.list(offset=offset)


@pytest.mark.parametrize("name", ["status", "cursor", "sort_by", "sort_order"])
@pytest.mark.parametrize("value", [5, True, b"a", ["pending"]])
def test_list_refuses_what_is_no_text(refusing, name, value):
    with pytest.raises(TypeError, match=f"{name} is text"):
        refusing.list(**{name: value})


@pytest.mark.parametrize(
    "name", ["post_at_before", "post_at_after", "created_at_before", "created_at_after"]
)
@pytest.mark.parametrize(("moment", "error", "message"), BAD_MOMENTS)
def test_list_refuses_what_is_no_point_in_time(refusing, name, moment, error, message):
    with pytest.raises(error, match=f"{name}.*{message}"):
        refusing.list(**{name: moment})


def test_list_refuses_half_of_a_surrogate_pair(refusing):
    with pytest.raises(ValueError, match="surrogates not allowed"):
        refusing.list(cursor="\ud800")


# Bulk


@pytest.mark.parametrize("action", ["retry", "replay", "cancel"])
@pytest.mark.parametrize("kind", [list, tuple, iter, dict.fromkeys])
def test_a_bulk_call_posts_its_ids_as_a_list(action, kind):
    request = bulk(action, kind(["a", "b"]))
    assert (request.method, request.path) == ("POST", f"/v1/hooks/bulk/{action}")
    assert request.json == {"hookIDs": ["a", "b"]}


def test_a_bulk_call_takes_a_generator_of_up_to_a_thousand_ids():
    request = bulk("cancel", (str(number) for number in range(1000)))
    assert request.json["hookIDs"] == [str(number) for number in range(1000)]


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        ([], ValueError, "hook_ids is empty"),
        (iter(()), ValueError, "hook_ids is empty"),
        (["a", ""], ValueError, "empty"),
        ([" "], ValueError, "empty"),
        (["\ud800"], ValueError, "no Unicode"),
        (map(str, itertools.count()), ValueError, "at most 1000"),
        ("abc", TypeError, "is a list of ids"),
        ("", TypeError, "is a list of ids"),
        (b"abc", TypeError, "is a list of ids"),
        (None, TypeError, "not iterable"),
        (5, TypeError, "not iterable"),
        ([5], TypeError, r"pass str\(id\)"),
        ([None], TypeError, r"pass str\(id\)"),
        ([uuid.UUID(int=1)], TypeError, r"pass str\(id\)"),
    ],
)
def test_a_bulk_call_refuses_what_are_no_ids(refusing, ids, error, message):
    with pytest.raises(error, match=message):
        refusing.bulk.retry(ids)


@pytest.mark.parametrize("action", ["retry", "replay", "cancel"])
def test_a_bulk_call_posts_a_range(action):
    request = bulk(f"{action}_by_filter", utc(2026, 1, 1), "2026-01-02T00:00:00+01:00", 1000)
    assert request.path == f"/v1/hooks/bulk/{action}"
    assert request.json == {
        "startTime": "2026-01-01T00:00:00Z",
        "endTime": "2026-01-02T00:00:00+01:00",
        "limit": 1000,
    }


def test_a_bulk_range_is_narrowed_by_path_or_sequence():
    request = bulk("retry_by_filter", "a", "b", 1, endpoint_key="/p", sequence_id="s")
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


@pytest.mark.parametrize("limit", BAD_COUNTS)
def test_a_bulk_range_refuses_other_limits_than_the_service(refusing, limit):
    with pytest.raises(ValueError, match="limit is a whole number from 1 to 1000"):
        refusing.bulk.cancel_by_filter("a", "b", limit)


@pytest.mark.parametrize(
    ("moment", "error", "message"),
    [*BAD_MOMENTS, ("", ValueError, "is empty"), (None, TypeError, "aware datetime")],
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
        ("api.posthook.io", "begins with https://"),
        ("ftp://api.posthook.io", "begins with https://"),
        ("file:///etc/passwd", "begins with https://"),
        ("https://", "no host"),
        ("https:api.posthook.io", "no host"),
        ("https:///v1", "no host"),
        ("https://key@api.posthook.io", "no host"),
        ("https://@", "no host"),
        ("https://a%20b", "no host"),
        ("https://-a.io", "no host"),
        ("https://a-.io", "no host"),
        (f"https://{'a' * 64}.io", "no host"),
        (f"https://{'a.' * 130}io", "no host"),
        ("https://a:0", "bad host or port"),
        ("https://a:65536", "bad host or port"),
        ("https://a:x", "bad host or port"),
        ("https://a:-1", "bad host or port"),
        ("https://[::1", "bad host or port"),
        ("https://a b", "encode it"),
        ("https://a/\n", "encode it"),
        ("https://a/\u00fc", "encode it"),
        ("https://\u00fc.de", "encode it"),
        ("https://a\\@b", "encode it"),
        ("https://a/\x7f", "encode it"),
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
    "url",
    [
        "https://a",
        "http://a-b.c_d.io:65535/v1?x#y",
        "http://127.0.0.1:1",
        "http://[::1]:80/",
        "HTTPS://A",
        "http://[fe80::1%25eth0]/",
        "https://a.io./",
        f"https://{'a' * 63}.io",
    ],
)
def test_a_url_with_a_host_is_taken(url):
    assert posthook._checked_url(url, "url") == url


# Answers


@pytest.mark.parametrize("status", [200, 201, 202, 203, 299])
@pytest.mark.parametrize("content_type", ["application/json", "text/html", ""])
def test_any_2xx_body_is_read_whatever_its_content_type(status, content_type):
    hook = answered({"data": HOOK}, status=status, content_type=content_type)
    assert hook == posthook.Hook.from_dict(HOOK)


@pytest.mark.parametrize("error", ["", None, 5, "odd, but there is data"])
def test_an_error_beside_data_is_passed_over(error):
    assert answered({"data": HOOK, "error": error}).id == HOOK["id"]


NO_ENVELOPES = [
    b"",
    b"<html></html>",
    b"\xff\xfe",
    b"null",
    b"5",
    b'"data"',
    b"[]",
    b"{}",
    b'{"hook": {}}',
    b'{"data": {}',
    b'{"data": {"id": "a"}} x',
    b'\xef\xbb\xbf{"data": {"id": "a"}}',
    b'{"data": ' + b"9" * 5000 + b"}",
    b"[" * 100_000,
    b'{"data": ' * 100_000,
    b'{"data": 5}',
    b'{"data": "a"}',
    b'{"data": true}',
]
CALLS = {
    "schedule": schedule,
    "get": lambda hooks: hooks.get("a"),
    "list": lambda hooks: hooks.list(),
    "list_all": lambda hooks: list(hooks.list_all()),
    "bulk": lambda hooks: hooks.bulk.cancel(["a"]),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("body", NO_ENVELOPES, ids=lambda body: ascii(body)[:30])
def test_a_2xx_answer_that_is_not_what_was_asked_for_is_an_error(name, body):
    error = raised(lambda: answered(body, CALLS[name]))
    assert (type(error), error.status_code) == (posthook.PosthookError, 200)
    assert error.message.startswith("HTTP 200, but the answer cannot be used: ")
    assert error.body == body.decode(errors="replace")


@pytest.mark.parametrize("data", [None, {}, [], {"id": None}, {"id": 5}, {"path": "/p"}, ["a"]])
@pytest.mark.parametrize("name", ["schedule", "get"])
def test_a_hook_in_an_answer_is_an_object_with_an_id(name, data):
    error = raised(lambda: answered({"data": data}, CALLS[name]))
    assert error.message.endswith("a hook is no object with an id")


def test_a_hook_in_an_answer_may_have_nothing_but_an_id():
    assert answered({"data": {"id": "a"}}) == dataclasses.replace(EMPTY_HOOK, id="a")


@pytest.mark.parametrize("name", CALLS)
def test_an_answer_without_data_tells_the_error_it_holds(name):
    error = raised(lambda: answered({"data": None, "error": "It failed"}, CALLS[name]))
    assert error.message == "HTTP 200, but the answer cannot be used: It failed"


@pytest.mark.parametrize("item", [None, 5, "a", [], {}, {"id": 5}])
@pytest.mark.parametrize("name", ["list", "list_all"])
def test_an_item_of_a_list_that_is_no_hook_is_an_error(name, item):
    error = raised(lambda: answered({"data": [HOOK, item]}, CALLS[name]))
    assert error.message.endswith("a hook is no object with an id")


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


@pytest.mark.parametrize("data", [None, [], 3])
def test_a_bulk_answer_that_is_no_object_is_an_error(data):
    assert raised(lambda: answered({"data": data}, CALLS["bulk"])).message.endswith("no object")


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
    error = raised(lambda: answered({"error": "No"}, lambda hooks: hooks.delete("a"), 403))
    assert type(error) is posthook.ForbiddenError


# Quota and Retry-After


def quota_of(**headers):
    named = {f"posthook_hookquota_{name}": value for name, value in headers.items()}
    return answered({"data": HOOK}, schedule, 201, **named).quota


def test_a_scheduled_hook_has_the_quota():
    quota = quota_of(limit=100, usage=1, remaining=99, resets_at="2026-04-01T00:00:00.5Z")
    assert quota == posthook.QuotaInfo(100, 1, 99, utc(2026, 4, 1, 0, 0, 0, 500_000))


def test_a_quota_may_be_as_large_as_18_digits():
    assert quota_of(limit="9" * 18).limit == 10**18 - 1


@pytest.mark.parametrize("name", ["Posthook-HookQuota-Limit", "POSTHOOK-HOOKQUOTA-LIMIT"])
def test_quota_headers_are_read_in_any_case(name):
    assert answered({"data": HOOK}, schedule, **{name: "5"}).quota.limit == 5


@pytest.mark.parametrize(
    "limit",
    ["", "unlimited", "100.0", "-1", "+5", "1e3", "5, 5", "0x10", "1_000", "\xb2", "9" * 19],
)
def test_a_quota_without_a_readable_limit_is_none(limit):
    assert quota_of(limit=limit, usage=1) is None


def test_a_quota_without_a_limit_is_none():
    assert quota_of(usage=1, remaining=2, resets_at="2026-04-01T00:00:00Z") is None


@pytest.mark.parametrize("value", ["", "none", "-1", "1.5"])
def test_the_rest_of_a_quota_that_is_absent_or_unreadable_is_zero(value):
    assert quota_of(limit=5) == posthook.QuotaInfo(5, 0, 0, None)
    assert quota_of(limit=5, usage=value, remaining=value) == posthook.QuotaInfo(5, 0, 0, None)


@pytest.mark.parametrize("value", ["", "soon", "1775001600", "2026-04-01", "0001-01-01T00:00:00Z"])
def test_a_quota_that_does_not_say_readably_when_it_resets_says_none(value):
    assert quota_of(limit=5, resets_at=value).resets_at is None


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
        ("0", 0.0),
        ("7", 7.0),
        (" 120 ", 120.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:16:41 GMT", 1.0),
        ("Thu, 01 Jan 1970 01:00:00 GMT", 2600.0),
        ("Sun, 32 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 99999 08:49:37 GMT", None),
        (f"Sun, 06 Nov {'9' * 20} 08:49:37 GMT", None),
        ("", None),
        ("GMT", None),
        (", , GMT", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("9" * 9, 999_999_999.0),
        ("9" * 10, None),
        ("\u0665", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_an_http_date(value, seconds):
    reply = posthook._Answer(503, {"retry-after": value}, b"")
    reply.received = 1000.0 if "1970" in value else 1_700_000_000.0
    assert posthook._retry_after(reply) == seconds


def test_retry_after_never_raises():
    choices = random.Random(9110)  # the seed
    words = [
        "Sun",
        ",",
        " ",
        "06",
        "Nov",
        "1994",
        "08:49:37",
        "-",
        ":",
        "1",
        "9" * 20,
        "\xe9",
        "+0000",
    ]
    for _ in range(3000):
        value = "".join(choices.choices(words, k=choices.randrange(9))) + "GMT"
        seconds = posthook._retry_after(posthook._Answer(503, {"retry-after": value}, b""))
        assert seconds is None or seconds >= 0


@pytest.mark.parametrize(("status", "name", "code"), STATUSES)
def test_every_error_of_an_answer_says_how_long_to_wait(status, name, code):
    error = raised(lambda: answered({"error": "No"}, status=status, retry_after="7"))
    assert error.retry_after == 7.0


# list_all


class HooksApi:
    """``GET /v1/hooks`` as a step of a Script: strict bounds, pages of at most ``cap`` hooks.

    ``times`` are the ``postAt`` of its hooks, in UTC and of any precision; ids are numbers in order
    of time. ``cursors`` says whether it gives cursors, ``totals`` whether it counts.
    """

    def __init__(self, times, *, cap=1000, cursors=False, totals=True):
        self.hooks = [
            {"id": str(n), "postAt": each} for n, each in enumerate(sorted(times, key=instant))
        ]
        self.cap, self.cursors, self.totals = cap, cursors, totals

    def __call__(self, request):
        query = dict(urllib.parse.parse_qsl(request.path.partition("?")[2], strict_parsing=True))
        assert (query.pop("sortBy"), query.pop("sortOrder")) == ("postAt", "ASC")
        assert query.keys() <= {"limit", "cursor", "postAtAfter", "postAtBefore"}
        assert 1 <= int(query["limit"]) <= 1000
        after, before = query.get("postAtAfter"), query.get("postAtBefore")
        found = [
            hook
            for hook in self.hooks
            if (after is None or instant(hook["postAt"]) > instant(after))
            and (before is None or instant(hook["postAt"]) < instant(before))
        ]
        assert self.cursors or "cursor" not in query
        start = int(query.get("cursor", 0))
        end = start + min(int(query["limit"]), self.cap)
        meta = {"totalItems": len(found)} if self.totals else {}
        if self.cursors and end < len(found):
            meta["cursor"] = str(end)
        return answer({"data": found[start:end], "meta": meta})


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


SIZES = [(0, 1), (1, 1), (3, 1), (9, 10), (10, 10), (11, 10), (20, 10), (25, 10), (100, 100)]


@pytest.mark.parametrize("cursors", [False, True])
@pytest.mark.parametrize("totals", [False, True])
@pytest.mark.parametrize(("count", "page_size"), SIZES)
def test_list_all_gives_every_hook_once_in_order(count, page_size, cursors, totals):
    api = HooksApi(map(second, range(count)), cursors=cursors, totals=totals)
    assert walked(api, page_size=page_size)[0] == numbers(count)


@pytest.mark.parametrize("cursors", [False, True])
@pytest.mark.parametrize("totals", [False, True])
@pytest.mark.parametrize("page_size", [1, 2, 7, 10, 100])
@pytest.mark.parametrize("ties", [2, 10, 11, 25])
def test_list_all_gives_hooks_of_one_time_once(ties, page_size, cursors, totals):
    times = [second(0), *[second(1)] * ties, second(2), *[second(3)] * ties]
    api = HooksApi(times, cursors=cursors, totals=totals)
    assert walked(api, page_size=page_size)[0] == numbers(len(times))


@pytest.mark.parametrize("ties", [999, 1000])
def test_list_all_takes_up_to_a_thousand_hooks_of_one_time_without_cursors(ties):
    api = HooksApi([second(1)] * ties)
    assert walked(api, page_size=500)[0] == numbers(ties)


def test_list_all_goes_on_after_hundreds_of_hooks_of_one_time():
    api = HooksApi([*[second(1)] * 999, second(2), second(3)], totals=False)
    assert walked(api, page_size=1000)[0] == numbers(1001)


def test_list_all_takes_thousands_of_hooks_of_one_time_with_cursors():
    api = HooksApi([second(1)] * 2500, cursors=True)
    assert walked(api, page_size=1000)[0] == numbers(2500)


@pytest.mark.parametrize("totals", [False, True])
@pytest.mark.parametrize("page_size", [100, 1000])
def test_list_all_says_so_where_it_would_lose_hooks_of_one_time(page_size, totals):
    api = HooksApi([second(1)] * 1001, totals=totals)
    error = raised(lambda: walked(api, page_size=page_size))
    assert "1000 hooks of one postAt" in error.message


def test_list_all_gives_what_it_has_before_it_says_that_it_cannot_go_on():
    hooks = []
    with Script(HooksApi([second(0), *[second(1)] * 1500])) as server, client(server) as posthooks:
        error = raised(lambda: hooks.extend(posthooks.hooks.list_all(page_size=1000)))
    assert "of one postAt" in error.message
    assert len(server.requests) == 2


@pytest.mark.parametrize("page_size", [10, 100, 1000])
def test_list_all_is_not_stopped_by_pages_that_are_shorter_than_asked_for(page_size):
    api = HooksApi(map(second, range(35)), cap=10)
    assert walked(api, page_size=page_size)[0] == numbers(35)


@pytest.mark.parametrize("page_size", [10, 100])
def test_list_all_says_so_where_a_server_s_short_pages_hide_hooks_of_one_time(page_size):
    api = HooksApi([second(1)] * 15, cap=10)
    error = raised(lambda: walked(api, page_size=page_size))
    assert "10 hooks of one postAt" in error.message


@pytest.mark.parametrize("page_size", [1, 2, 3, 10])
def test_list_all_gives_hooks_that_differ_by_nanoseconds_once(page_size):
    times = [second(1, f".{nanos:09}") for nanos in (*range(0, 3000, 250), 5, 6, 7, 8)]
    assert walked(HooksApi(times), page_size=page_size)[0] == numbers(len(times))


@pytest.mark.parametrize("page_size", [1, 2, 3, 10])
def test_list_all_keeps_to_bounds_that_are_finer_than_a_microsecond(page_size):
    times = [second(1, f".{nanos:09}") for nanos in (100, 200, 300, 400, 1200)]
    bounds = {"post_at_after": times[1], "post_at_before": second(2)}
    assert walked(HooksApi(times), page_size=page_size, **bounds)[0] == ["2", "3", "4"]


def test_list_all_is_not_stopped_by_pages_that_become_shorter():
    api = HooksApi(map(second, range(35)))
    caps = itertools.cycle((10, 5, 7))

    def step(request):
        api.cap = next(caps)
        return api(request)

    assert walked(step)[0] == numbers(35)


@pytest.mark.parametrize("count", [0, 3, 25])
def test_list_all_ends_with_a_server_that_counts_more_than_the_filters_match(count):
    api = HooksApi(map(second, range(count)))

    def step(request):
        body = api(request).partition(b"\r\n\r\n")[2]
        return answer({**json.loads(body), "meta": {"totalItems": 1000}})

    assert walked(step, page_size=10)[0] == numbers(count)


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


@pytest.mark.parametrize("page_size", BAD_COUNTS)
def test_list_all_refuses_other_page_sizes_than_the_service_at_once(refusing, page_size):
    with pytest.raises(ValueError, match="page_size is a whole number from 1 to 1000"):
        refusing.list_all(page_size=page_size)


def test_list_all_refuses_a_bad_filter_at_once(refusing):
    with pytest.raises(ValueError, match="timezone-aware"):
        refusing.list_all(post_at_after=datetime.datetime(2026, 1, 1))


def test_list_all_sends_nothing_before_its_first_step(refusing):
    assert iter(refusing.list_all()) is not None


def test_list_all_fetches_a_page_when_it_is_needed():
    with Script(HooksApi(map(second, range(20)))) as server, client(server) as posthooks:
        hooks = posthooks.hooks.list_all(page_size=10)
        assert [next(hooks).id for _ in range(10)] == numbers(10)
        assert len(server.requests) == 1
        assert next(hooks).id == "10"


def test_list_all_takes_one_request_for_a_short_page():
    assert len(walked(HooksApi([second(0)], totals=False))[1]) == 1
    assert len(walked(HooksApi([second(0)], cursors=True))[1]) == 1


def test_list_all_follows_cursors_with_the_same_filters_and_stops_after_the_last():
    api = HooksApi(map(second, range(25)), cursors=True)
    requests = walked(api, page_size=10, post_at_before=second(99))[1]
    first, *others = [set(request.path.partition("?")[2].split("&")) for request in requests]
    assert others == [first | {"cursor=10"}, first | {"cursor=20"}]


def test_list_all_is_not_led_in_a_circle_by_a_cursor():
    error = raised(lambda: walked(lambda _: answer({"data": [HOOK], "meta": {"cursor": "same"}})))
    assert error.message == "list_all: the server's cursor leads to nothing new"


@pytest.mark.parametrize("total", [0, 1, 2, 10**6])
@pytest.mark.parametrize("page_size", [1, 2, 100])
def test_list_all_ends_whatever_a_server_repeats(page_size, total):
    reply = answer({"data": [HOOK], "meta": {"totalItems": total}})
    with (
        Script(reply) as server,
        client(server) as posthooks,
        contextlib.suppress(posthook.PosthookError),
    ):
        assert [hook.id for hook in posthooks.hooks.list_all(page_size=page_size)] == [HOOK["id"]]
    assert len(server.requests) <= 3


@pytest.mark.parametrize(
    "moment",
    [
        None,
        "",
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
    ],
)
def test_list_all_says_so_where_a_hook_has_no_time_to_go_on_from(moment):
    reply = answer({"data": [{"id": "a", "postAt": moment}]})
    error = raised(lambda: walked(lambda _: reply, page_size=1))
    assert error.message == "list_all: the last hook of a page has no postAt to go on from"


def test_list_all_raises_the_error_of_a_later_page_as_it_is():
    api, hooks = HooksApi(map(second, range(20))), []
    with Script(api, answer({"error": "No"}, 403)) as server, client(server) as posthooks:
        error = raised(lambda: hooks.extend(posthooks.hooks.list_all(page_size=10)))
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
    cursors, totals = choices.random() < 0.3, choices.random() < 0.5
    api = HooksApi(times, cursors=cursors, totals=totals)
    expected = [
        hook["id"]
        for hook in api.hooks
        if instant(bounds.get("post_at_after", "")) < instant(hook["postAt"])
        and instant(hook["postAt"]) < instant(bounds.get("post_at_before", "9"))
    ]
    assert walked(api, page_size=page_size, **bounds)[0] == expected


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

# SPDX-License-Identifier: MIT
"""Schedule webhooks with Posthook (https://posthook.io), in one file on the standard library.

Copy this file into a project, drop it beside an AWS Lambda handler, or install it; then::

    import posthook

    client = posthook.Posthook("pk_...")  # or set POSTHOOK_API_KEY
    hook = client.hooks.schedule("/webhooks/reminder", post_in="5m", data={"userId": "123"})
    print(hook.id, hook.status)

At that time Posthook POSTs the data, signed, to your project's domain. To verify what arrives::

    signatures = posthook.create_signatures("ph_sk_...")  # or set POSTHOOK_SIGNING_KEY
    delivery = signatures.parse_delivery(body, headers)  # or raises SignatureVerificationError

Public names are those of posthook-python, so a program written for it runs unchanged. Python 3.9
and later. ``python posthook.py demo`` shows everything at work with no account and no network.

Map of the file; a section uses only what stands above it:

     1  imports, names        5  requests and answers     9  callbacks: ack, nack
     2  errors                6  transport               --  the cut line
     3  models                7  client                  10  LocalPosthook
     4  receiving             8  async client            11  command line

Environment variables, read once by the constructors and only where the argument is not given:
``POSTHOOK_API_KEY``, ``POSTHOOK_BASE_URL``, and ``POSTHOOK_SIGNING_KEY``, where commas or white
space separate several keys. At the first call to a host: ``http_proxy``, ``https_proxy`` and
``no_proxy``, as urllib reads them.
"""

# ==================================================================================================
# 1. Imports and names. Cheap ones only: whatever is heavy is imported by the object that needs it.
# ==================================================================================================

# What pyright need not report: the types inside of JSON, checks of arguments for callers without a
# type checker, and that the classes of one file know each other.
# pyright: strict, reportUnnecessaryIsInstance=false, reportPrivateUsage=false
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownLambdaType=false, reportUnusedImport=false

from __future__ import annotations

import contextlib
import functools
import inspect
import io
import json
import os
import re
import reprlib
import sys
import threading
import time
import weakref
from collections import deque
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta, timezone
from itertools import islice

TYPE_CHECKING = False  # type checkers take it for true; `typing` itself need not be imported
if TYPE_CHECKING:
    import asyncio
    import http.client
    import logging
    import socket
    import ssl
    import urllib.request
    from collections.abc import (
        AsyncIterator,
        Awaitable,
        Callable,
        Coroutine,
        Generator,
        Iterable,
        Iterator,
        Mapping,
        MutableMapping,
    )
    from datetime import tzinfo
    from queue import SimpleQueue
    from typing import Any, Optional, Protocol, TypeVar, Union

    from _typeshed.wsgi import StartResponse, WSGIApplication
    from typing_extensions import Concatenate, ParamSpec

    P = ParamSpec("P")
    T = TypeVar("T")
    _Body = dict[str, object]  # a request's JSON object, or a query, by the API's names
else:
    Any = object  # for programs that evaluate the models' annotations, as FastAPI does

__version__ = "1.0.0"

__all__ = ["__version__", "Posthook", "AsyncPosthook", "build_opener"]
__all__ += ["Hook", "HookRetryOverride", "HookSequenceData", "Page", "Delivery", "Result"]
__all__ += ["QuotaInfo", "BulkActionResult", "CallbackResult"]
__all__ += ["ack", "nack", "async_ack", "async_nack", "SignaturesService", "create_signatures"]
__all__ += ["STATUS_PENDING", "STATUS_RETRY", "STATUS_COMPLETED", "STATUS_FAILED"]
__all__ += ["SORT_BY_POST_AT", "SORT_BY_CREATED_AT", "SORT_ORDER_ASC", "SORT_ORDER_DESC"]
__all__ += ["STRATEGY_FIXED", "STRATEGY_EXPONENTIAL"]
__all__ += ["PosthookError", "BadRequestError", "AuthenticationError", "ForbiddenError"]
__all__ += ["NotFoundError", "PayloadTooLargeError", "RateLimitError", "InternalServerError"]
__all__ += ["PosthookConnectionError", "PosthookTimeoutError", "CallbackError"]
__all__ += ["SignatureVerificationError"]

STATUS_PENDING = "pending"  # waiting, or being delivered
STATUS_RETRY = "retry"  # an attempt failed, another one follows
STATUS_COMPLETED = "completed"
STATUS_FAILED = "failed"  # the last retry failed

SORT_BY_POST_AT = "postAt"
SORT_BY_CREATED_AT = "createdAt"
SORT_ORDER_ASC = "ASC"
SORT_ORDER_DESC = "DESC"

STRATEGY_FIXED = "fixed"
STRATEGY_EXPONENTIAL = "exponential"

_UTC = timezone.utc


def _log() -> logging.Logger:
    """The logger ``posthook``; by this name also where the file is vendored under another."""
    import logging  # late: it is a sixth of what this file would import

    return logging.getLogger("posthook")


# ==================================================================================================
# 2. Errors. They touch nothing. Every one pickles: the message is the only positional argument.
#
#    PosthookError
#    ├── BadRequestError 400, AuthenticationError 401, ForbiddenError 403, NotFoundError 404,
#    │   PayloadTooLargeError 413, RateLimitError 429, InternalServerError 5xx
#    ├── PosthookConnectionError     no whole answer: network, TLS, DNS, proxy
#    │   └── PosthookTimeoutError    the deadline passed; a TimeoutError too
#    ├── CallbackError               ack or nack was refused
#    └── SignatureVerificationError  a delivery that must not be trusted
#
#    A wrong argument is a ValueError or a TypeError, raised before anything is sent.
# ==================================================================================================


class _Headers(dict[str, str]):
    """A dict of response headers whose look-ups ignore case, as header names do."""

    def get(self, name: str, default: Any = None) -> Any:
        return next((v for key, v in self.items() if key.lower() == name.lower()), default)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __missing__(self, name: str) -> str:
        if name not in self:
            raise KeyError(name)
        return str(self.get(name))


class PosthookError(Exception):
    """Base of every error that this module raises, wrong arguments aside.

    Attributes:
        message: what happened, also ``str(error)``; for an HTTP error, the server's text.
        status_code: the HTTP status, or None where there was no answer.
        code: a word for programs, such as ``"not_found"``; made from the status.
        headers: the answer's headers, looked up in any case, or None.
        body: the text of the answer's body (HTTP errors), or None.
        retry_after: seconds that the server asked to wait (``Retry-After``), or None.
    """

    status_code: int | None = None
    code: str = ""
    headers: Mapping[str, str] | None = None
    body: str | None = None
    retry_after: float | None = None

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        code: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.message = str(message) or type(self).__name__
        super().__init__(self.message)
        self.status_code = self.status_code if status_code is None else status_code
        self.code = code or self.code
        self.headers = None if headers is None else _Headers(headers)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(message={self.message!r}, status_code={self.status_code})"


class _StatusError(PosthookError):
    """Base of the errors that stand for one HTTP status."""

    def __init__(self, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message, headers=headers)


class BadRequestError(_StatusError):
    """HTTP 400: a field is missing or wrong; the message says which."""

    status_code, code = 400, "bad_request"


class AuthenticationError(_StatusError):
    """HTTP 401: the API key is wrong or revoked; also raised when there is no key at all."""

    status_code, code = 401, "authentication_error"


class ForbiddenError(_StatusError):
    """HTTP 403: the project's plan does not allow this call."""

    status_code, code = 403, "forbidden"


class NotFoundError(_StatusError):
    """HTTP 404: no such hook in the API key's project."""

    status_code, code = 404, "not_found"


class PayloadTooLargeError(_StatusError):
    """HTTP 413: ``data`` is larger than the service takes (64 KB)."""

    status_code, code = 413, "payload_too_large"


class RateLimitError(_StatusError):
    """HTTP 429: the month's hooks are used up; ``quota`` is what the headers tell, or None."""

    status_code, code = 429, "rate_limit_exceeded"
    quota: QuotaInfo | None = None


class InternalServerError(PosthookError):
    """HTTP 5xx: the service failed; ``status_code`` tells how."""

    code = "internal_error"

    def __init__(
        self, message: str, status_code: int = 500, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message, status_code=status_code, headers=headers)


class PosthookConnectionError(PosthookError):
    """No whole answer came: the network, DNS, TLS or a proxy failed.

    Attributes:
        maybe_sent: False if no byte of the request was written. If True after ``schedule``, look
            for the hook with ``list(created_at_after=...)`` before scheduling again.
    """

    code = "connection_error"
    _is_final = False  # whether a repetition cannot mend it

    def __init__(self, message: str, *, maybe_sent: bool = True) -> None:
        super().__init__(message)
        self.maybe_sent: bool = maybe_sent


class PosthookTimeoutError(PosthookConnectionError, TimeoutError):
    """The call's deadline (``timeout``) passed before its answer was whole."""


class CallbackError(PosthookError):
    """An ``ack`` or ``nack`` was refused: bad token (401), one expired (410), a server fault."""

    code = "callback_error"

    def __init__(self, message: str, status_code: int | None = None) -> None:
        super().__init__(message, status_code=status_code)


class SignatureVerificationError(PosthookError):
    """A delivery that must not be trusted.

    ``reason`` is ``no_key``, ``missing_header``, ``bad_timestamp``, ``too_old``, ``in_future``,
    ``mismatch`` or ``bad_payload``.
    """

    code = "signature_verification_error"

    def __init__(self, message: str, *, reason: str = "mismatch") -> None:
        super().__init__(message)
        self.reason: str = reason


_STATUS_ERRORS: dict[int | None, type[PosthookError]] = {
    **{cls.status_code: cls for cls in _StatusError.__subclasses__()},
    **dict.fromkeys(range(500, 600), InternalServerError),
}


# ==================================================================================================
# 3. Models. They may raise errors; they never touch the clock or a socket.
#
#    What the server sends is read leniently: a field that is missing, null or of the wrong type
#    takes its default, a field that is not known stays in ``Hook.raw``. Nothing here raises for it.
# ==================================================================================================

# Stands for a time that is absent or unreadable. It is datetime.min in UTC, yet not made from it:
# where several subinterpreters live, 3.9 confuses that with timedelta.min.
_NO_TIME = datetime(1, 1, 1, tzinfo=_UTC)

_repr = reprlib.Repr()
_repr.maxstring, _repr.maxother = 100, 400  # characters; a time or a model is shown whole


class _Model:
    """Base of the dataclasses.

    They compare by value, and their repr stays short whatever a server put into a field.
    ``dataclass`` would generate both for each class: a tenth of the import's time.
    """

    def _values(self) -> tuple[object, ...]:
        return tuple(getattr(self, f.name) for f in fields(self) if f.compare)  # type: ignore[arg-type]

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    def __repr__(self) -> str:
        names = [f.name for f in fields(self) if f.repr]  # type: ignore[arg-type]
        shown = ", ".join(f"{name}={_repr.repr(getattr(self, name))}" for name in names)
        return f"{type(self).__name__}({shown})"


class _Value(_Model):
    """Base of the frozen ones, which can be hashed."""

    def __hash__(self) -> int:
        return hash(self._values())


@dataclass(frozen=True, repr=False, eq=False)
class QuotaInfo(_Value):
    """The calendar month's quota of hooks, as ``schedule`` learns it.

    ``usage`` counts the hook just scheduled; ``resets_at`` is None if it was not readable.
    """

    limit: int
    usage: int
    remaining: int
    resets_at: datetime | None


@dataclass(frozen=True, repr=False, eq=False)
class HookRetryOverride(_Value):
    """How one hook's delivery is retried, instead of the project's settings.

    Attributes: the ranges are the service's, which answers 400 outside of them.
        min_retries: retries after the first attempt, 1 to 15.
        delay_secs: seconds before a retry, 5 to 60.
        strategy: ``STRATEGY_FIXED``, or ``STRATEGY_EXPONENTIAL``: each delay longer than the last.
        backoff_factor: by how much (exponential), 1.1 to 4.0; the service's default is 2.0.
        max_delay_secs: longest delay in seconds, 60 to 3600; required with exponential.
        jitter: add 0 to 25 % at random to each delay.
    """

    min_retries: int
    delay_secs: int
    strategy: str
    backoff_factor: float | None = None
    max_delay_secs: int | None = None
    jitter: bool = False

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> HookRetryOverride:
        """Read the API's object; what is missing or of a wrong type becomes 0, "" or None."""
        get = data.get
        return cls(
            _whole(get("minRetries")),
            _whole(get("delaySecs")),
            _text(get("strategy")),
            _number(get("backoffFactor")) or None,
            _whole(get("maxDelaySecs")) or None,
            get("jitter") is True,
        )

    def to_dict(self) -> dict[str, Any]:
        """The API's object, without what was not given."""
        given = {_api_name(f.name): getattr(self, f.name) for f in fields(self)}
        return {n: value for n, value in given.items() if value is not None and value is not False}


@dataclass(frozen=True, repr=False, eq=False)
class HookSequenceData(_Value):
    """The step of a sequence that a hook runs. The time is the server's text (RFC 3339)."""

    sequence_id: str
    step_name: str
    sequence_last_run_at: str

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> HookSequenceData:
        """Read the API's object; what is missing or no text becomes ``""``."""
        names = ("sequenceID", "stepName", "sequenceLastRunAt")
        return cls(*[_text(data.get(name)) for name in names])


@dataclass(repr=False, eq=False)
class Hook(_Model):
    """A scheduled webhook.

    Times are aware datetimes; one that is absent or unreadable is ``datetime.min`` in UTC.

    Attributes:
        id: also the idempotency key of its deliveries.
        path, domain: where it is delivered; ``domain`` is None if the server did not say.
        data: the payload, any JSON value.
        post_at, created_at, updated_at: when it is due, was scheduled, was last changed.
        status: ``STATUS_PENDING``, ``STATUS_RETRY``, ``STATUS_COMPLETED`` or ``STATUS_FAILED``.
        post_duration_seconds: what the last delivery took; 0.0 before the first.
        attempts, failure_error: deliveries so far, and why the last one failed, or ``""``.
        sequence_data, retry_override: None if it belongs to no sequence, has no own settings.
        quota: the quota after ``schedule``; None on every other call.
        raw: the object as the server sent it, with every field that this class does not name.
    """

    id: str
    path: str
    data: Any
    post_at: datetime
    status: str
    post_duration_seconds: float
    created_at: datetime
    updated_at: datetime
    domain: str | None = None
    attempts: int = 0
    failure_error: str = ""
    sequence_data: HookSequenceData | None = None
    retry_override: HookRetryOverride | None = None
    quota: QuotaInfo | None = None
    raw: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Hook:
        """Read the API's object; what is missing or of a wrong type takes its default."""
        # The fast way, for pages of a thousand: no call for what has its type, nor of __init__
        # (a fifth less time).
        get, hook = data.get, cls.__new__(cls)
        hook.id = it if type(it := get("id")) is str else ""
        hook.path = it if type(it := get("path")) is str else ""
        hook.data = get("data")
        hook.post_at = _time(get("postAt"))
        hook.status = it if type(it := get("status")) is str else ""
        seconds = get("postDurationSeconds")
        hook.post_duration_seconds = seconds if type(seconds) is float else _number(seconds)
        hook.created_at = _time(get("createdAt"))
        hook.updated_at = _time(get("updatedAt"))
        hook.domain = it if type(it := get("domain")) is str else None
        hook.attempts = it if type(it := get("attempts")) is int else 0
        hook.failure_error = it if type(it := get("failureError")) is str else ""
        hook.sequence_data = hook.retry_override = hook.quota = None
        if type(it := get("sequenceData")) is dict and it:
            hook.sequence_data = HookSequenceData.from_dict(it)
        if type(it := get("retryOverride")) is dict and it:
            hook.retry_override = HookRetryOverride.from_dict(it)
        hook.raw = data
        return hook


class Page(list["Hook"]):
    """One page of hooks: a list with what the server said about the rest.

    ``list(cursor=page.cursor)`` is the next page; None on the last, or if the server has no
    cursors. ``total_items`` is how many hooks match in all, or None if the server did not say.
    """

    def __init__(
        self,
        hooks: Iterable[Hook] = (),
        *,
        cursor: str | None = None,
        total_items: int | None = None,
    ) -> None:
        super().__init__(hooks)
        self.cursor = cursor
        self.total_items = total_items


@dataclass(frozen=True, repr=False, eq=False)
class BulkActionResult(_Value):
    """What a bulk call did: ``affected`` hooks were known, in the right state, and acted on."""

    affected: int

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> BulkActionResult:
        """Read the API's object; a missing or badly typed count is 0."""
        return cls(affected=_whole(data.get("affected")))


@dataclass(frozen=True, repr=False, eq=False)
class CallbackResult(_Value):
    """What an ``ack`` or ``nack`` did.

    ``applied`` is True if the hook is now as asked, also after a repeated call. ``status`` is the
    hook's: ``completed``, ``nacked``, ``failed``, ``not_found`` (it was deleted), ``conflict`` (a
    newer attempt has started) or ``unknown``.
    """

    applied: bool
    status: str


@dataclass(repr=False, eq=False)
class Delivery(_Model):
    """A delivery whose signature holds.

    Attributes:
        hook_id: the hook's id, from the signed body; the same on every attempt.
        timestamp: when this attempt was signed, in Unix seconds.
        path: the path that the hook was scheduled with.
        data: the payload, any JSON value.
        body: the exact bytes that were signed.
        post_at, posted_at: when it was due, and when it was sent; all times as in ``Hook``.
        created_at, updated_at: when the hook was scheduled, and last changed.
        ack_url, nack_url: where an async hook's result is reported; None unless both came. They
            are not signed: see the README before calling them where anyone can reach you.
    """

    hook_id: str
    timestamp: int
    path: str
    data: Any
    body: bytes = field(repr=False)
    post_at: datetime
    posted_at: datetime
    created_at: datetime
    updated_at: datetime
    ack_url: str | None = field(default=None, repr=False)
    nack_url: str | None = field(default=None, repr=False)


_ACCEPT_SECONDS = (10, 10_800)  # the service's range for Posthook-Async-Timeout


@dataclass(frozen=True, repr=False, eq=False)
class Result(_Value):
    """What a handler function says about a delivery: made by ``ack``, ``accept`` or ``nack``.

    ``kind`` is that name, ``timeout`` what ``accept`` was given, ``error`` what ``nack`` was.
    """

    kind: str
    timeout: float | None = None
    error: object = None

    @classmethod
    def ack(cls) -> Result:
        """The delivery is done: answered 200, the hook is completed."""
        return cls("ack")

    @classmethod
    def accept(cls, timeout: float) -> Result:
        """The delivery is worked on: answered 202; call ``ack`` or ``nack`` within ``timeout``.

        That is 10 to 10,800 seconds (the service's range), else ValueError or TypeError.
        """
        least, most = _ACCEPT_SECONDS
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
            raise TypeError(f"timeout is a number of seconds, not {type(timeout).__name__}")
        if not least <= timeout <= most:
            raise ValueError(f"timeout is {least} to {most} seconds")
        return cls("accept", timeout)

    @classmethod
    def nack(cls, error: object = None) -> Result:
        """The delivery failed: answered 500, with ``error`` (text or an exception) as why."""
        return cls("nack", None, error)


def _api_name(name: str) -> str:
    return name[0] + name.title().replace("_", "")[1:]  # sort_by -> sortBy


# What a field of the server's may be, else its default. `type() is` keeps bool out of the numbers.


def _text(value: object) -> str:
    return value if type(value) is str else ""


def _whole(value: object) -> int:
    return value if type(value) is int else 0


def _number(value: object) -> float:
    try:
        return float(value) if type(value) in (int, float) else 0.0  # type: ignore[arg-type]
    except OverflowError:
        return 0.0


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(text: str) -> int | None:
    """A header's whole number, of 18 digits at most: int() of more takes quadratic time."""
    return int(text) if text.isdigit() and text.isascii() and len(text) <= 18 else None


# RFC 3339, one reader and one writer. datetime.fromisoformat alone takes neither "Z" nor three of
# the ten lengths of a fraction before Python 3.11, and more than RFC 3339 from then on.
#
# Patterns that a call seldom needs are text, which `re` compiles and keeps when it meets them.

_RFC3339 = r"(?a)(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:)(\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)"


def _parse_time(text: str) -> datetime:
    """Read an RFC 3339 time; digits past the microsecond are cut. Raises ValueError."""
    match = re.fullmatch(_RFC3339, text)
    if match is None:
        raise ValueError(f"no RFC 3339 time with a time zone: {text[:40]!r}")
    minute, second, fraction, offset = match.groups("")
    leap = second == "60"  # RFC 3339 has leap seconds, datetime does not: the next second
    zone = "+00:00" if offset in "Zz" else offset
    moment = datetime.fromisoformat(f"{minute}{'59' if leap else second}.{fraction:0<6.6}{zone}")
    return moment + timedelta(seconds=1) if leap else moment


_NO_TIME_ERRORS = (AttributeError, TypeError, ValueError, OverflowError)
_from_iso = (
    datetime.fromisoformat
    if sys.version_info >= (3, 11)
    else lambda text: datetime.fromisoformat(text.replace("Z", "+00:00"))
)


def _time(value: Any) -> datetime:
    """Read a time that the server sent; one that is absent or unreadable is _NO_TIME."""
    try:
        moment = _from_iso(value)  # a sixth of what _parse_time takes, and right for most
    except _NO_TIME_ERRORS:
        try:
            moment = _parse_time(value)
        except _NO_TIME_ERRORS:
            return _NO_TIME
    return moment if moment.tzinfo is not None else _NO_TIME


def _format_time(moment: datetime) -> str:
    """Write an aware datetime as RFC 3339 in UTC, microseconds kept, none where they are zero."""
    return moment.astimezone(_UTC).replace(tzinfo=None).isoformat() + "Z"


# Days, hours, minutes, seconds, each once, large first.
_DURATION = r"(?a)(?:(\d{1,12})d)?(?:(\d{1,12})h)?(?:(\d{1,12})m)?(?:(\d{1,12})s)?"


def _parse_duration(text: str) -> int:
    """Read a duration such as ``1d2h30m`` as seconds. Raises ValueError."""
    match = re.fullmatch(_DURATION, text)
    if not text or match is None:
        raise ValueError(f'no duration such as "90s", "5m" or "1d2h30m": {text[:40]!r}')
    return sum(int(n or 0) * unit for n, unit in zip(match.groups(), (86_400, 3_600, 60, 1)))


# ==================================================================================================
# 4. Receiving: verifying deliveries, and the WSGI, ASGI and AWS Lambda handlers. Uses the models,
#    hmac and logging; never a socket, never an API path.
# ==================================================================================================

if TYPE_CHECKING:

    class _HasItems(Protocol):
        def items(self) -> Iterable[tuple[object, object]]: ...

    _SigningKey = Union[str, list[str], tuple[str, ...], None]
    _RawBody = Union[bytes, bytearray, memoryview, str]
    _RawHeaders = Union[_HasItems, Iterable[Union[tuple[object, object], list[str], list[bytes]]]]
    _Function = Callable[["Delivery"], Union["Result", None, Awaitable[Union["Result", None]]]]
    _Read = Callable[[], Awaitable[bytes]]  # the request's body; may raise _Refused
    _Run = Callable[["Delivery"], Awaitable[object]]  # a _Function, to its end
    _Reply = tuple[int, dict[str, str], str]  # status, headers, body
    _AsgiMessage = MutableMapping[str, Any]
    _AsgiReceive = Callable[[], Awaitable[_AsgiMessage]]
    _AsgiSend = Callable[[_AsgiMessage], Awaitable[None]]
    _AsgiApp = Callable[[_AsgiMessage, _AsgiReceive, _AsgiSend], Coroutine[Any, Any, None]]


def create_signatures(signing_key: _SigningKey = None) -> SignaturesService:
    """A service that verifies deliveries, for a program that does not schedule any.

    Args:
        signing_key: the project's signing key, or several (while one is rotated). None: what
            ``POSTHOOK_SIGNING_KEY`` holds, split at commas and white space.

    Raises:
        ValueError: there is no key, or only blank ones.
    """
    service = SignaturesService(_signing_key_or_environment(signing_key))
    if not service._keys:
        raise ValueError(_REFUSALS["no_key"])
    return service


class SignaturesService:
    """Verifies deliveries, signs them for tests, and makes web handlers that do the former.

    A delivery is trusted when one entry of ``Posthook-Signature`` is the HMAC-SHA256 of
    ``<Posthook-Timestamp>.<raw body>`` under one of the keys, and the timestamp is recent.
    Without a key none is. One service serves any number of threads and event loops.

    Args:
        signing_key: a ``str``, or a list or tuple of them, any of which may have signed. White
            space around a key is dropped, a blank key with it. The environment is not asked.
    """

    def __init__(self, signing_key: _SigningKey = None) -> None:
        self._keys = () if signing_key is None else _encoded_keys(signing_key)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self._keys)} keys)"

    def parse_delivery(
        self,
        body: _RawBody,
        headers: _RawHeaders,
        *,
        signing_key: _SigningKey = None,
        tolerance: float = 300,
        now: float | None = None,
    ) -> Delivery:
        """Verify a delivery's signature and return the delivery parsed.

        Args:
            body: the request body as received, before anything has parsed it: bytes of any kind,
                or a ``str`` that stands for its UTF-8 bytes.
            headers: the request's headers: anything with ``items()``, (name, value) pairs, or a
                WSGI environ. Names in any case, text or bytes (Latin-1); a value may be a list.
            signing_key: keys to verify with instead of the service's.
            tolerance: seconds by which the timestamp may differ from this clock, either way.
            now: the time in Unix seconds, for tests; None: this clock's.

        Raises:
            SignatureVerificationError: for all that must not be trusted; ``reason`` says why.
            TypeError: ``body`` or ``headers`` is none of these kinds of object.
        """
        raw = body if type(body) is bytes else _raw_body(body)
        keys = self._keys if signing_key is None else _encoded_keys(signing_key)
        if not keys:
            raise _untrusted("no_key")
        own = _own_headers(headers)
        stamps, signatures = own.get("timestamp"), own.get("signature")
        if not stamps or not signatures:
            raise _untrusted("missing_header", "Signature" if stamps else "Timestamp")
        digits = stamps[0].strip()
        stamp = _count(digits)
        if stamp is None or (len(stamps) > 1 and stamps.count(stamps[0]) < len(stamps)):
            raise _untrusted("bad_timestamp")
        age = (int(time.time()) if now is None else now // 1) - stamp
        if not -tolerance <= age <= tolerance:  # put like this, NaN does not pass
            raise _untrusted("in_future", -age) if age < 0 else _untrusted("too_old", age)
        if not _is_signed(keys, digits.encode() + b"." + raw, signatures):
            raise _untrusted("mismatch")
        return _delivery(raw, stamp, own)

    def sign(
        self, body: _RawBody, *, hook_id: str | None = None, timestamp: int | None = None
    ) -> dict[str, str]:
        """The headers, signed by the first key, with which Posthook would deliver this body.

        Args:
            hook_id: the value of ``Posthook-Id``; None: no such header.
            timestamp: when it is signed, in Unix seconds; None: now.

        Raises:
            ValueError: the service has no key.
        """
        if not self._keys:
            raise ValueError("no signing key to sign with: pass one to SignaturesService")
        key, raw = self._keys[0], _raw_body(body)
        stamp = str(int(time.time() if timestamp is None else timestamp))
        return {
            "Posthook-Timestamp": stamp,
            "Posthook-Signature": "v1," + _hexmac(key, stamp.encode() + b"." + raw),
            "X-Ph-Signature": _hexmac(key, raw),
            **({} if hook_id is None else {"Posthook-Id": hook_id}),
        }

    def wsgi_handler(self, f: _Function) -> WSGIApplication:
        """A WSGI app that verifies each delivery, calls ``f`` with it, and answers Posthook.

        ``f(delivery)`` returns ``Result.ack()`` or None (answered 200: done),
        ``Result.accept(seconds)`` (202: a callback follows) or ``Result.nack(error)`` (500: try
        again). If it raises, that is logged and answered 500. It is not called for a request that
        is no POST (405), above 1 MiB (413), unreadable (400) or not to be trusted (401), nor while
        there is no signing key (500, logged). The path is not looked at. An async ``f`` is run to
        its end in an event loop of its own.

        Raises:
            TypeError: ``f`` cannot be called.
        """
        from http import HTTPStatus

        call = _calling(f, in_loop=False)

        def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
            method = environ.get("REQUEST_METHOD")
            reply = _at_once(_respond(self, method, environ, lambda: _wsgi_body(environ), call))
            status, headers, body = reply
            start_response(f"{status} {HTTPStatus(status).phrase}", list(headers.items()))
            return [body.encode()]

        return app

    def asgi_handler(self, f: _Function) -> _AsgiApp:
        """An ASGI 3 app that does what ``wsgi_handler`` says.

        A sync ``f`` runs on a thread of its own, however many do so at once, and never holds up
        the event loop. Lifespan events are answered, a WebSocket is closed.
        """
        call = _calling(f, in_loop=True)

        async def app(scope: _AsgiMessage, receive: _AsgiReceive, send: _AsgiSend) -> None:
            if scope["type"] != "http":
                await _asgi_other(scope["type"], receive, send)
                return
            method, pairs = scope["method"], scope.get("headers", ())
            with contextlib.suppress(OSError):  # the client went away: there is nobody to answer
                reply = await _respond(self, method, pairs, lambda: _asgi_body(receive), call)
                status, headers, body = reply
                lowered = [(name.lower().encode(), v.encode()) for name, v in headers.items()]
                await send({"type": "http.response.start", "status": status, "headers": lowered})
                await send({"type": "http.response.body", "body": body.encode()})

        return app

    def lambda_handler(self, f: _Function) -> Callable[[dict[str, Any], object], dict[str, Any]]:
        """An AWS Lambda handler that does what ``wsgi_handler`` says.

        It takes the events of API Gateway (REST, and HTTP with payloads 1.0 and 2.0), of Function
        URLs and of load balancers, and answers in the form of each; others are a TypeError.
        """
        call = _calling(f, in_loop=False)

        def handler(event: dict[str, Any], context: object = None) -> dict[str, Any]:
            origin, method = _lambda_request(event)
            several = event.get("multiValueHeaders")
            pairs = _dict(several) or _dict(event.get("headers"))
            reply = _at_once(_respond(self, method, pairs, lambda: _lambda_body(event), call))
            status, headers, body = reply
            answer = {"statusCode": status, "body": body, "isBase64Encoded": False}
            # A load balancer with multi-value headers switched on ignores the other kind.
            if several is not None and "elb" in origin:
                return {**answer, "multiValueHeaders": {n: [v] for n, v in headers.items()}}
            return {**answer, "headers": headers}

        return handler


def _signing_key_or_environment(signing_key: _SigningKey) -> str | list[str] | tuple[str, ...]:
    """The argument, else the keys in POSTHOOK_SIGNING_KEY; a blank argument stays blank.

    A program that looks a key up and finds none must not end up verifying with another one.
    """
    if signing_key is not None:
        return signing_key
    return os.environ.get("POSTHOOK_SIGNING_KEY", "").replace(",", " ").split()


def _encoded_keys(signing_key: str | list[str] | tuple[str, ...]) -> tuple[bytes, ...]:
    """The keys that are not blank, ready for hmac."""
    keys = [signing_key] if isinstance(signing_key, str) else signing_key
    if not isinstance(keys, (list, tuple)) or not all(isinstance(key, str) for key in keys):
        raise TypeError("signing_key is a str, or a list or tuple of str")
    # surrogatepass: strict encoding would raise an error that holds the key.
    return tuple(key.strip().encode("utf-8", "surrogatepass") for key in keys if key.strip())


def _raw_body(body: object) -> bytes:
    if isinstance(body, str):  # a lone surrogate is for the signature, or the parser, to refuse
        return body.encode("utf-8", "surrogatepass")
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(body)
    raise TypeError(f"pass the raw request body as received, not {type(body).__name__}")


_REFUSALS = {  # reason -> message
    "no_key": "No signing key provided: pass signing_key, or set POSTHOOK_SIGNING_KEY",
    "missing_header": "Missing Posthook-{} header",
    "bad_timestamp": "Invalid Posthook-Timestamp header: no Unix time in seconds",
    "too_old": "Timestamp too old: signed {} seconds ago",
    "in_future": "Timestamp lies {} seconds in the future",
    "mismatch": "Signature verification failed: another key, or the body is not the raw bytes",
    "bad_payload": "Failed to parse delivery payload: {}",
}


def _untrusted(reason: str, detail: object = None) -> SignatureVerificationError:
    return SignatureVerificationError(_REFUSALS[reason].format(detail), reason=reason)


# How a header may be spelled -> its name. In a WSGI environ it is HTTP_POSTHOOK_ID.
_OWN_HEADERS = {
    spelling: name
    for name in ("timestamp", "signature", "id", "ack-url", "nack-url")
    for spelling in (f"posthook-{name}", f"http_posthook_{name.replace('-', '_')}")
}


def _own_headers(headers: _RawHeaders) -> dict[str, list[str]]:
    """The values of the headers that are Posthook's; a repeated header has several."""
    own: dict[str, list[str]] = {}
    items = getattr(headers, "items", None)  # not headers[name]: it gives one value of several
    try:
        pairs: Any = headers if items is None else items()
        for name, value in pairs:
            if not isinstance(name, str):
                name = name.decode("latin-1") if isinstance(name, bytes) else ""
            if known := _OWN_HEADERS.get(name.lower()):
                texts = [value] if type(value) is str else _header_texts(value)
                own.setdefault(known, []).extend(texts)
    except (TypeError, ValueError) as error:  # cannot be iterated over, or does not give pairs
        kind = type(headers).__name__
        raise TypeError(f"pass the request's headers, a mapping or pairs, not {kind}") from error
    return own


def _header_texts(value: object) -> list[str]:
    """The texts in a header's value, which may be a list; what is no text is left out."""
    values = value if isinstance(value, (list, tuple)) else (value,)
    texts = (each.decode("latin-1") if isinstance(each, bytes) else each for each in values)
    return [text for text in texts if isinstance(text, str)]


# An entry stands between white space or commas, and holds a comma itself.
_v1_signatures = re.compile(r"(?<![^\s,])v1,([0-9a-fA-F]{64})(?![^\s,])", re.ASCII).findall


def _is_signed(keys: tuple[bytes, ...], message: bytes, values: list[str]) -> bool:
    """Whether one of the v1 signatures in the header's values is one of the keys' of message."""
    import hmac  # not above: it loads OpenSSL, which a client that only schedules may not need

    offered = _v1_signatures(values[0] if len(values) == 1 else " ".join(values))
    for key in keys:
        right = hmac.digest(key, message, "sha256").hex()
        for signature in offered:
            if hmac.compare_digest(right, signature.lower()):
                return True
    return False


def _hexmac(key: bytes, message: bytes) -> str:
    import hmac

    return hmac.digest(key, message, "sha256").hex()


def _delivery(body: bytes, stamp: int, own: dict[str, list[str]]) -> Delivery:
    """The delivery in a body whose signature holds."""
    get = _payload(body).get
    ack_url = _first(own, "ack-url")
    nack_url = ack_url and _first(own, "nack-url")
    return Delivery(
        # The signed id first: anyone can put another hook's id into a header.
        _text(get("id")) or _first(own, "id") or "",
        stamp,
        _text(get("path")),
        get("data"),
        body,
        _time(get("postAt")),
        _time(get("postedAt")),
        _time(get("createdAt")),
        _time(get("updatedAt")),
        ack_url if nack_url else None,
        nack_url,
    )


def _first(own: dict[str, list[str]], name: str) -> str | None:
    values = own.get(name)
    return (values[0].strip() or None) if values else None


_read_json = json.JSONDecoder().raw_decode  # json.loads would take UTF-16 as well


def _payload(body: bytes) -> dict[str, Any]:
    try:
        text = body.decode().strip(" \t\r\n")
        payload, end = _read_json(text)
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, a huge number; too deep
        raise _untrusted("bad_payload", error) from error
    if type(payload) is not dict or end != len(text):
        raise _untrusted("bad_payload", "no JSON object alone")
    return payload


# The handlers: one core between three faces. It is a coroutine for the sake of ASGI. What the other
# two hand it never waits, so that for them it runs through without an event loop.

_BODY_LIMIT = 1_048_576  # bytes; the service takes 64 KB of data, however it is encoded
_NACK_CHARACTERS = 1_000  # of a nack's reason, in the answer and in the log


class _Refused(Exception):
    """A request that is answered with this status and text, without a look at its signature."""


async def _respond(
    service: SignaturesService, method: object, headers: _RawHeaders, read: _Read, call: _Run
) -> _Reply:
    """The core: what came in, verified, handed to the function; what that said, as an answer."""
    try:
        if method != "POST":
            raise _Refused(405, "deliveries are sent by POST")
        body = await read()
        _check_size(len(body))
        delivery = service.parse_delivery(body, headers)
    except _Refused as refused:
        status, why = refused.args
        return _reply(status, {"error": why}, {"Allow": "POST"})
    except SignatureVerificationError as error:
        lacking = error.reason == "no_key"
        (_log().error if lacking else _log().info)("a delivery was refused: %s", error)
        return _reply(500 if lacking else 401, {"error": error.message})
    try:
        return _result_reply(await call(delivery), delivery)
    except (Exception, SystemExit) as error:  # SystemExit: of some library, for one request
        _log().error("the handler of hook %.100r failed", delivery.hook_id, exc_info=error)
        return _reply(500, {"error": "the handler failed"})


def _check_size(size: int) -> None:
    if size > _BODY_LIMIT:
        raise _Refused(413, f"a delivery has at most {_BODY_LIMIT} bytes")


def _result_reply(result: object, delivery: Delivery) -> _Reply:
    """The answer for what the function returned; raises for what it may not return."""
    if result is None:
        result = Result.ack()
    if not isinstance(result, Result):
        raise TypeError(f"a handler returns a Result or None, not {type(result).__name__}")
    if result.kind == "nack":
        why = "nack" if result.error is None else str(result.error) or repr(result.error)
        why = why[:_NACK_CHARACTERS]
        _log().info("nack for hook %.100r: %r", delivery.hook_id, why)
        return _reply(500, {"error": why})
    headers = {}
    if result.kind == "accept" and delivery.ack_url is None:
        _log().warning("hook %.100r counts as done: async hooks are off", delivery.hook_id)
    if result.timeout is not None:  # rounded up: no less than what was asked for
        headers["Posthook-Async-Timeout"] = str(int(-(-result.timeout // 1)))
    return _reply({"ack": 200, "accept": 202}[result.kind], {"ok": True}, headers)


def _reply(status: int, content: object, headers: Mapping[str, str] | None = None) -> _Reply:
    body = json.dumps(content)  # ASCII
    entity = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    return status, {**entity, **(headers or {})}, body


def _at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits for anything to its end."""
    try:
        while True:
            coroutine.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def _calling(f: _Function, *, in_loop: bool) -> _Run:
    """How a face with or without an event loop calls a handler function, sync or async."""
    if not callable(f):
        raise TypeError(f"pass a function that takes a Delivery, not {type(f).__name__}")
    is_async = any(map(inspect.iscoroutinefunction, (f, type(f).__call__)))

    async def call(delivery: Delivery) -> object:
        threaded = in_loop and not is_async
        result: Any = await _on_thread(f, delivery) if threaded else f(delivery)
        if not hasattr(result, "__await__"):
            return result
        return await result if in_loop else _completed(result)

    return call


def _completed(awaitable: Awaitable[object]) -> object:
    """What an awaitable comes to, in an event loop of its own, closed again: there is no other."""
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    async def main() -> object:
        return await awaitable

    try:
        if asyncio._get_running_loop() is None:
            return asyncio.run(main())
        with ThreadPoolExecutor(1) as pool:  # we are called by an async test, or in a notebook
            return pool.submit(asyncio.run, main()).result()
    except asyncio.CancelledError as error:  # a BaseException: who calls us would not catch it
        raise RuntimeError("the handler's coroutine was cancelled") from error


async def _on_thread(f: _Function, delivery: Delivery) -> object:
    """Call ``f`` on a thread of its own, which ends with it: asyncio's are few, and stay."""
    import asyncio
    import contextvars
    from concurrent.futures import ThreadPoolExecutor

    async def called() -> object:  # turns a StopIteration, for which a future would wait for ever
        return f(delivery)

    pool = ThreadPoolExecutor(1, "posthook-handler")
    done = pool.submit(contextvars.copy_context().run, lambda: _at_once(called()))
    pool.shutdown(wait=False)
    return await asyncio.wrap_future(done)


async def _wsgi_body(environ: Mapping[str, Any]) -> bytes:
    """The request's body. Never a read too many: it would wait for a byte that does not come."""
    announced = str(environ.get("CONTENT_LENGTH") or "")
    if not re.fullmatch("[0-9]*", announced):
        raise _Refused(400, "the Content-Length is no number")
    # The first digits are enough to say that it is too large.
    _check_size(size := int(announced.lstrip("0")[:18] or 0))
    if not announced and environ.get("wsgi.input_terminated"):
        size = _BODY_LIMIT + 1
    body = bytearray()
    try:
        while len(body) < size and (piece := environ["wsgi.input"].read(size - len(body))):
            body += piece  # a short read is not the end
    except Exception as error:  # each server has its own for a client that went away
        raise _Refused(400, "the body could not be read") from error
    if announced and len(body) < size:
        raise _Refused(400, "the body is shorter than its Content-Length")
    return bytes(body)


async def _asgi_other(kind: str, receive: _AsgiReceive, send: _AsgiSend) -> None:
    """What is no HTTP request: ``kind`` is the scope's type."""
    if kind == "websocket":
        await send({"type": "websocket.close"})
    elif kind == "lifespan":
        while kind != "lifespan.shutdown":
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
    else:
        raise ValueError(f"no ASGI scope of HTTP: {kind}")


async def _asgi_body(receive: _AsgiReceive) -> bytes:
    body, more = bytearray(), True
    while more and len(body) <= _BODY_LIMIT:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the client went away")
        body += message.get("body") or b""
        more = message.get("more_body", False)
    return bytes(body)


def _lambda_request(event: object) -> tuple[dict[str, Any], str]:
    """The context and the method of an event; payload 2.0 has the latter inside of the former."""
    origin = _dict(_dict(event).get("requestContext"))
    method = _dict(origin.get("http")).get("method") or _dict(event).get("httpMethod")
    if not isinstance(method, str):
        raise TypeError("no HTTP request: is it from API Gateway, a Function URL or a balancer?")
    return origin, method


async def _lambda_body(event: Mapping[str, Any]) -> bytes:
    from base64 import b64decode

    try:
        body: bytes = (event.get("body") or "").encode()
        return b64decode(body, validate=True) if event.get("isBase64Encoded") else body
    except (AttributeError, ValueError) as error:
        raise _Refused(400, "the event's body is no text, or no base64") from error


# ==================================================================================================
# 5. Requests and answers: what a call becomes on the wire, and how an answer becomes a model or an
#    error. Pure functions: no socket, no clock.
# ==================================================================================================


class _Call:
    """One call: what goes on the wire, and what the retry rule and the log need to know of it.

    ``url`` is the path until the client knows better; ``secrets`` are headers that no other host
    may see; ``repeatable`` says whether sending it twice does no harm.
    """

    def __init__(
        self, method: str, url: str, body: bytes | None = None, *, repeatable: bool = True
    ) -> None:
        self.method, self.url, self.body = method, url, body
        self.headers: dict[str, str] = {}
        self.secrets: dict[str, str] = {}
        self.repeatable, self.label = repeatable, url.partition("?")[0]


class _Answer:
    """One whole answer; header names are lower-case. ``received`` is its time in Unix seconds."""

    __slots__ = ("status", "headers", "body", "head", "received")

    def __init__(self, status: int, headers: dict[str, str], body: bytes, head: str = "") -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.head = head  # as it came over our own connections: for who wants urllib's form of it
        self.received = 0.0


# Arguments: what can only be wrong is refused here, the rest is the server's to judge.

_MOST_HOOKS = 1000  # the service's limit for a page, for bulk ids and for a bulk range
_LONGEST_TIMEOUT = 20 * 86_400.0  # seconds; poll() takes no more than 24 days

_encode_json = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


def _json_body(value: object, what: str) -> bytes:
    """``value`` as JSON. Raises ValueError or TypeError, which name ``what``."""
    try:
        return _encode_json(value).encode()
    except (RecursionError, ValueError, TypeError) as error:
        refusal = TypeError if isinstance(error, TypeError) else ValueError
        raise refusal(f"{what} cannot be sent as JSON: {error}") from None


def _checked_text(name: str, value: object, wanted: str = "text") -> str:
    """``value`` if it is text that says something; else a refusal that tells what is ``wanted``."""
    if not isinstance(value, str):
        raise TypeError(f"{name} is {wanted}, not {type(value).__name__}")
    if not value.strip():
        raise ValueError(f"{name} is empty: pass {wanted}")
    if not value.isascii() and value != value.encode(errors="ignore").decode():
        raise ValueError(f"{name} holds half of a surrogate pair, which UTF-8 cannot")
    return value


def _schedule_call(
    path: str, data: object, override: object, zone: object, **modes: object
) -> _Call:
    given = [(mode, when) for mode, when in modes.items() if when is not None]
    if len(given) != 1:
        rule = "Only one scheduling mode allowed"
        if not given:
            rule = "Exactly one scheduling mode is required"
        raise ValueError(f"{rule}: post_in, post_at, or post_at_local + timezone")
    mode, when = given[0]
    body = {"path": _checked_path(path), "data": {} if data is None else data}
    if mode == "post_at_local":
        body["postAtLocal"], body["timezone"] = _local_time(when, zone)
    elif zone is not None:
        raise ValueError("timezone belongs to post_at_local: leave it out, or use that mode")
    elif mode == "post_at":
        body["postAt"] = _moment(mode, when)
    else:
        body["postIn"] = _delay(when)
    if isinstance(override, HookRetryOverride):
        body["retryOverride"] = override.to_dict()
    elif override is not None:
        kind = type(override).__name__
        raise TypeError(f"retry_override is a HookRetryOverride(min_retries=...), not {kind}")
    return _Call("POST", "/v1/hooks", _json_body(body, "data"), repeatable=False)


def _checked_path(path: str) -> str:
    _checked_text("path", path, 'text such as "/webhooks/x"')
    if not path.startswith("/") or re.search(r"[\x00-\x1f\x7f]", path):
        raise ValueError('path begins with "/" and has no control characters: "/webhooks/x"')
    return path


def _moment(name: str, value: object) -> str:
    """A point in time as the API takes it: text unchanged, an aware datetime as RFC 3339."""
    if not isinstance(value, datetime):
        return _checked_text(name, value, "an aware datetime or RFC 3339 text")
    if value.utcoffset() is None:
        other = ", or use post_at_local" if name == "post_at" else ""
        raise ValueError(f"{name} must be timezone-aware: pass datetime.now(timezone.utc){other}")
    try:
        return _format_time(value)
    except OverflowError:
        raise ValueError(f"{name} is outside of the years 1 to 9999 in UTC") from None


def _delay(value: object) -> str:
    """A duration as the API takes it: text unchanged, a timedelta in whole seconds, never early."""
    text = f"{-(value // timedelta(seconds=-1))}s" if isinstance(value, timedelta) else value
    text = _checked_text("post_in", text, 'a timedelta, or text such as "90s", "5m", "1d2h30m"')
    if text.startswith("-") or not text.strip("0dhms"):
        raise ValueError("post_in is longer than zero; for a past time use post_at")
    return text


def _local_time(value: object, zone: object) -> tuple[str, str]:
    """``postAtLocal`` and ``timezone``. Zone names are the server's to check: ours may be old."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        if zone is not None:
            raise ValueError("post_at_local has a time zone already: leave timezone out")
        if value.fold and value.timestamp() > value.replace(fold=0).timestamp():
            # Posthook takes the earlier of the two instants: this one would come an hour early.
            raise ValueError("post_at_local happens twice, and this is the later one: use post_at")
        zone = getattr(value.tzinfo, "key", None)
    if zone is None:
        raise ValueError("post_at_local needs timezone: a name, or a ZoneInfo with a name")
    if isinstance(value, datetime):
        value = value.replace(tzinfo=None, microsecond=0).isoformat()
    local = _checked_text("post_at_local", value, 'a datetime or text: "2030-03-01T09:00:00"')
    wanted = 'a name such as "Europe/Berlin", or a ZoneInfo that has one'
    return local, _checked_text("timezone", getattr(zone, "key", zone), wanted)


def _checked_id(id: object) -> str:
    better = "hook.id" if isinstance(id, Hook) else "str(id)"
    return _checked_text("a hook id", id, f"text: pass {better}")


def _hook_call(method: str, id: str) -> _Call:
    if not id or _checked_id(id) in (".", ".."):  # the dots would name another resource
        raise ValueError("hook id is required")
    return _Call(method, f"/v1/hooks/{_quoted(id)}")


def _list_call(query: Mapping[str, object]) -> _Call:
    given = "&".join(f"{name}={_quoted(value)}" for name, value in query.items())
    return _Call("GET", f"/v1/hooks?{given}" if given else "/v1/hooks")


def _quoted(value: object) -> str:
    """Percent-encoded, as by urllib.parse.quote, which would take 2 ms to import."""
    text = value if isinstance(value, str) else str(value)  # str() would give an enum's name
    return re.sub(rb"[^\w.~-]", lambda byte: b"%%%02X" % ord(byte[0]), text.encode()).decode()


def _list_query(**given: object) -> _Body:
    """The query of one page; a parameter that is None or "" is left out."""
    query: _Body = {}
    for name, value in given.items():
        if value is None or (isinstance(value, str) and not value):
            continue
        if name == "limit":
            _checked_count(name, value)
        elif name == "offset":
            if type(value) is not int or value < 0:
                raise ValueError("offset is a whole number from 0")
        elif "_at_" in name:
            value = _moment(name, value)
        elif not isinstance(value, str):
            raise TypeError(f"{name} is text, not {type(value).__name__}")
        query[_api_name(name)] = value
    return query


def _checked_count(name: str, value: object) -> int:
    if type(value) is not int or not 1 <= value <= _MOST_HOOKS:
        raise ValueError(f"{name} is a whole number from 1 to {_MOST_HOOKS}")
    return value


def _bulk_ids(hook_ids: Iterable[str]) -> _Body:
    if isinstance(hook_ids, (str, bytes)):
        raise TypeError("hook_ids is a list of ids: pass [id]")
    ids = [_checked_id(id) for id in islice(hook_ids, _MOST_HOOKS + 1)]
    if not ids:
        raise ValueError("hook_ids is empty: leave the call out")
    if len(ids) > _MOST_HOOKS:
        raise ValueError(f"hook_ids holds at most {_MOST_HOOKS} ids: make several calls")
    return {"hookIDs": ids}


def _bulk_range(start: object, end: object, limit: int, key: object, sequence: object) -> _Body:
    body: _Body = {
        "startTime": _moment("start_time", start),
        "endTime": _moment("end_time", end),
        "limit": _checked_count("limit", limit),
    }
    # Left out, an empty one of these would widen the range to every hook.
    if key is not None:
        body["endpointKey"] = _checked_text("endpoint_key", key)
    if sequence is not None:
        body["sequenceID"] = _checked_text("sequence_id", sequence)
    return body


def _checked_timeout(value: object) -> float:
    """Seconds as a float. Raises ValueError for whatever is no positive finite number."""
    if isinstance(value, (int, float)) and type(value) is not bool and 0 < value < float("inf"):
        return float(min(value, _LONGEST_TIMEOUT))
    raise ValueError(f"timeout is a positive, finite number of seconds, not {str(value)[:40]}")


# urllib.parse would take 2 ms to import, and let through what is no URL of http.
_URL = r"(?i)(https?)://([^/?#]*)([^#]*)"
_LABEL = r"(?!-)[\w-]{0,63}(?<!-)"
_AUTHORITY = (
    rf"(?ai)(?:(?=[^:]{{1,253}}(?::|$))({_LABEL}(?:\.{_LABEL})*)"
    r"|\[([\da-f.]*:[\da-f.:]+(?:%25[\w.-]+)?)\])(?::(\d{0,5}))?"
)


def _split_url(url: str, name: str) -> tuple[str, str, int]:
    """Scheme, host and port of an http(s) URL. A refusal does not show it: it may be a secret."""
    match = re.match(_URL, url)
    if match is None:
        raise ValueError(f"{name} must begin with https:// or http://")
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise ValueError(f"{name} holds a space, a control or a non-ASCII character: encode it")
    scheme, place = match[1].lower(), re.fullmatch(_AUTHORITY, match[2])
    port = int((place and place[3]) or (443 if scheme == "https" else 80))
    if place is None or not 1 <= port <= 65_535:
        raise ValueError(f"{name} has no host, a bad host or port, or a user before the host")
    return scheme, (place[1] or place[2]).lower(), port


def _checked_url(url: object, name: str) -> str:
    if not isinstance(url, str):
        raise TypeError(f"{name} is text, not {type(url).__name__}")
    _split_url(url, name)
    return url


# Answers. Each reader takes an answer of any status, and gives the call's result or raises.


def _read_hook(answer: _Answer) -> Hook:
    return _hooks(answer, [_envelope(answer)["data"]])[0]


def _read_scheduled(answer: _Answer) -> Hook:
    hook = _read_hook(answer)
    hook.quota = _quota(answer.headers)
    return hook


def _read_page(answer: _Answer) -> Page:
    envelope = _envelope(answer)
    items = [] if envelope["data"] is None else envelope["data"]
    if type(items) is not list:
        raise _unusable(answer, '"data" is no list')
    meta = _dict(envelope.get("meta"))
    # Where the cursor stands is not documented: the likely places, likeliest first.
    cursors = [_text(it.get(name)) for it in (meta, envelope) for name in ("cursor", "nextCursor")]
    total = meta.get("totalItems")
    return Page(
        _hooks(answer, items),
        cursor=next((each for each in cursors if each and each.isprintable()), None),
        total_items=total if type(total) is int else None,
    )


def _read_affected(answer: _Answer) -> BulkActionResult:
    data = _envelope(answer)["data"]
    if type(data) is not dict:
        raise _unusable(answer, '"data" is no object')
    return BulkActionResult.from_dict(data)


def _read_deleted(answer: _Answer) -> None:
    if answer.status != 404:  # gone already is as good
        _raise_for_status(answer)


def _hooks(answer: _Answer, items: list[Any]) -> list[Hook]:
    hooks = [Hook.from_dict(item if type(item) is dict else {}) for item in items]
    if "" in [hook.id for hook in hooks]:
        raise _unusable(answer, "a hook is no object with an id")
    return hooks


def _envelope(answer: _Answer) -> dict[str, Any]:
    """The body of a 2xx answer, an object with ``data``."""
    _raise_for_status(answer)
    envelope = _json(answer)
    if type(envelope) is not dict or "data" not in envelope:
        raise _unusable(answer, 'no JSON object with "data"')
    if envelope["data"] is None and _text(envelope.get("error")):
        raise _unusable(answer, envelope["error"])
    return envelope


def _json(answer: _Answer) -> object:
    """The body's JSON value, or None where it is none at all."""
    try:
        return json.loads(answer.body.decode())
    except (ValueError, RecursionError):  # not UTF-8, no JSON, numbers too long, nested too deep
        return None


def _unusable(answer: _Answer, why: str) -> PosthookError:
    """The error for a 2xx answer that is not what the service documents."""
    return _error(answer, f"HTTP {answer.status}, but the answer cannot be used: {why}")


def _raise_for_status(answer: _Answer) -> None:
    if 200 <= answer.status <= 299:
        return
    text = _text(_dict(_json(answer)).get("error"))
    message = text if text.strip() else f"HTTP {answer.status}"
    if not text and 300 <= answer.status <= 399:
        message += ": redirects are not followed, check base_url"
    raise _error(answer, message)


def _error(answer: _Answer, message: str) -> PosthookError:
    """The error of the answer's status, with all that the answer says."""
    status, headers = answer.status, answer.headers
    error = _STATUS_ERRORS.get(status, PosthookError)(message, headers=headers)
    error.status_code, error.code = status, error.code or "unknown_error"
    error.body = answer.body.decode(errors="replace")
    error.retry_after = _retry_after(answer)
    if isinstance(error, RateLimitError):
        error.quota = _quota(headers)
    return error


def _retry_after(answer: _Answer) -> float | None:
    """Seconds to wait, from ``Retry-After`` as seconds or as an HTTP date."""
    value = answer.headers.get("retry-after", "").strip()
    if (seconds := _count(value)) is not None:
        return float(seconds)
    if not value.endswith("GMT"):
        return None
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - answer.received)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _quota(headers: Mapping[str, str]) -> QuotaInfo | None:
    """The quota headers; None without a readable limit. Never raises: the hook exists already."""
    names = ("limit", "usage", "remaining", "resets-at")
    *texts, reset = (headers.get(f"posthook-hookquota-{name}", "") for name in names)
    limit, usage, remaining = map(_count, texts)
    if limit is None:
        return None
    resets_at = None if (moment := _time(reset)) == _NO_TIME else moment
    return QuotaInfo(limit, usage or 0, remaining or 0, resets_at)


def _walk(status: str | None, page_size: int, *times: datetime | str | None) -> _Walk:
    names = ("post_at_after", "post_at_before", "created_at_after", "created_at_before")
    limit = _checked_count("page_size", page_size)
    order = {"sort_by": SORT_BY_POST_AT, "sort_order": SORT_ORDER_ASC}
    return _Walk(_list_query(status=status, limit=limit, **order, **dict(zip(names, times))), limit)


class _Walk:
    """The way through all pages of a list, in order of ``postAt``, without loss, repeat or loop.

    ``query`` says what to ask next, None at the end; ``take`` wants the page and gives what is new.
    A server with cursors is followed along them. Another one is asked for what is posted after the
    last hook, less a microsecond so that hooks of the same time are not lost; those that came
    before are told by their ids, and the page is longer by their number.
    """

    def __init__(self, query: _Body, page_size: int) -> None:
        self._asked = query
        self._page_size = self._limit = page_size
        self._start = _time(query.get("postAtAfter"))
        self._longest = 1  # of the pages so far
        self._page: Page | None = None
        self._new: list[Hook] = []
        self._seen: set[str] = set()

    def take(self, page: Page) -> list[Hook]:
        """The hooks of ``page`` that no page before it had."""
        self._page, self._longest = page, max(self._longest, len(page))
        self._new = [hook for hook in page if hook.id not in self._seen]
        self._seen.update(hook.id for hook in self._new)
        return self._new

    def query(self) -> _Body | None:
        """What to ask next. Raises PosthookError where that would lose hooks or never end."""
        page, asked = self._page, self._asked
        if page is None:
            return asked
        if page.cursor is not None:
            if not self._new:
                raise PosthookError("list_all: the server's cursor leads to nothing new")
            asked["cursor"] = page.cursor
            return asked
        if self._is_last(page):
            return None
        last = page[-1].post_at
        same = sum(hook.post_at == last for hook in page)
        can_grow = len(page) >= self._limit < _MOST_HOOKS
        if same >= _MOST_HOOKS or not (self._new or can_grow):
            raise PosthookError(
                f"list_all: {same} hooks of one postAt fill a page, and the server has no cursor "
                "to go on with: list them with hooks.list(), sorted by createdAt"
            )
        try:
            after = last.astimezone(_UTC) - timedelta(microseconds=1)
        except OverflowError:  # no time, or the first or last of datetime's
            raise PosthookError("list_all: the last hook of a page has no usable postAt") from None
        if after > self._start:  # else the caller's bound stays: it may be finer than a microsecond
            asked["postAtAfter"] = _format_time(after)
        # Those of the microsecond before may come again too: what is finer was cut from post_at.
        again = sum(hook.post_at >= after for hook in page)
        room = self._page_size if self._new else self._limit  # equals may come in any order
        asked["limit"] = self._limit = min(room + again, _MOST_HOOKS)
        return asked

    def _is_last(self, page: Page) -> bool:
        """Whether nothing follows. A full page says nothing, unless it can grow no further."""
        if "cursor" in self._asked:
            return True  # a server with cursors, and it gave none
        complete = page.total_items is not None and page.total_items <= len(page)
        if len(page) >= self._limit:
            return complete and len(page) >= _MOST_HOOKS
        # With nothing new, a page as long as the longest may be as long as this server's pages get.
        ended = not self._new and len(page) < self._longest
        return complete or ended or page.total_items is None


# ==================================================================================================
# 6. Transport: one request in, one whole response out, over kept connections, for our client and
#    for urllib alike. Knows HTTP, TLS and sockets; never JSON, API paths or retries.
# ==================================================================================================

_DEFAULT_TIMEOUT = 30.0  # seconds; posthook-python's
_MAX_CONNECTIONS = 100
_KEEPALIVE_EXPIRY = 15.0  # seconds; below the idle limits of common servers and load balancers
_MOST_BYTES = 128 * 1024 * 1024  # of an answer; a page of 1,000 hooks of 64 KB is half of it


def build_opener(
    *,
    proxy: str | None = None,
    ssl_context: ssl.SSLContext | None = None,
    max_connections: int = _MAX_CONNECTIONS,
    keepalive_expiry: float = _KEEPALIVE_EXPIRY,
) -> urllib.request.OpenerDirector:
    """An opener that keeps its connections, for ``Posthook(http_client=...)``.

    It follows no redirect and returns the answer of every status; its ``timeout`` is the deadline
    of the whole exchange. Several clients may share it. ``close()`` closes its connections.

    Args:
        proxy: an ``http://[user:password@]host:port`` for every request; None takes
            ``http_proxy``, ``https_proxy`` and ``no_proxy`` as urllib does (never for loopback
            hosts), ``""`` takes none.
        ssl_context: for a CA or a client certificate of your own; None means
            ``ssl.create_default_context()``, made when first needed.
        max_connections: connections at most; further calls wait, within their deadline.
        keepalive_expiry: seconds that an idle connection may be used again.

    Raises:
        ValueError: for an argument outside of these.
    """
    if type(max_connections) is not int or max_connections < 1:
        raise ValueError("max_connections is a whole number from 1")
    if not 0 <= keepalive_expiry < float("inf"):
        raise ValueError("keepalive_expiry is a number of seconds from 0")
    import urllib.request

    handler = _KeepAliveHandler(proxy, ssl_context, max_connections, keepalive_expiry)
    opener = urllib.request.OpenerDirector()
    opener.add_handler(handler)  # type: ignore[arg-type]
    opener.close = handler.close  # type: ignore[method-assign]  # urllib's own does nothing
    return opener


class _KeepAliveHandler:
    """Answers http: and https: requests over a pool.

    It has what ``urllib.request.BaseHandler`` would give it; to inherit from that would import
    urllib.request together with this file.
    """

    handler_order = 500

    def __init__(
        self,
        proxy: str | None = None,
        context: ssl.SSLContext | None = None,
        max_connections: int = _MAX_CONNECTIONS,
        keepalive_expiry: float = _KEEPALIVE_EXPIRY,
    ) -> None:
        self._proxy = _Proxy(proxy) if proxy else None
        self._asks_environment = proxy is None
        self._context = context
        self._pool = _Pool(max_connections, keepalive_expiry)
        self._targets: dict[tuple[str, str], _Target] = {}

    def __lt__(self, other: object) -> bool:
        return self.handler_order < getattr(other, "handler_order", self.handler_order + 1)

    def __repr__(self) -> str:
        return repr(self._pool)

    def add_parent(self, parent: urllib.request.OpenerDirector) -> None:
        """Called by the opener; nothing here needs it."""

    def close(self) -> None:
        self._pool.close()

    def unknown_open(self, request: urllib.request.Request) -> _Response:
        raise ValueError("only http: and https: URLs are opened")

    def http_open(self, request: urllib.request.Request) -> _Response:
        """Called by the opener. Raises as ``send`` does."""
        body: Any = request.data
        if body is not None:
            is_whole = isinstance(body, (bytes, bytearray, memoryview))
            body = bytes(body) if is_whole else b"".join(body)
        headers = {**request.unredirected_hdrs, **request.headers}
        timeout = request.timeout if isinstance(request.timeout, (int, float)) else _DEFAULT_TIMEOUT
        target = self._target(request.type, request.host or "")
        data = target.request(request.get_method(), request.selector, headers, body)
        answer = self._exchange(target, request.get_method(), data, timeout)
        return _Response(answer, request.full_url)

    https_open = http_open

    def send(self, call: _Call, timeout: float) -> _Answer:
        """One exchange, without urllib's Request, opener and response: they cost 40 us a call.

        Raises PosthookConnectionError, or PosthookError for an answer that is too large.
        """
        match = re.match(_URL, call.url)
        assert match is not None  # it was checked when it came in
        scheme, authority, selector = match.groups()
        target = self._target(scheme.lower(), authority)  # proxies go by it
        data = target.request(call.method, selector, {**call.headers, **call.secrets}, call.body)
        return self._exchange(target, call.method, data, timeout)

    def _exchange(self, target: _Target, method: str, data: bytes, timeout: float) -> _Answer:
        deadline = time.monotonic() + min(timeout, _LONGEST_TIMEOUT)
        lease = self._pool.lease(deadline)
        connection = None
        failed: list[PosthookError] = []
        try:
            connection = self._pool.take(target)
            if connection is None:
                connection = _Connection(target, _connect(target, deadline, self._tls_context))
            return connection.exchange(method, data, deadline)
        except Exception as error:  # whatever ssl and socket make of hostile bytes, and we do
            written = connection is not None and connection.written
            failed.append(_our_error(error, target, written))
        finally:
            _let_go()
            self._pool.release(lease, connection)
        # Outside of the except clause: what was caught may hold a secret. Popped: a name for the
        # error would be a cycle, in which the request stays until the garbage collector comes.
        raise failed.pop()

    def _target(self, scheme: str, authority: str) -> _Target:
        target = self._targets.get((scheme, authority))
        if target is None:
            proxy = self._proxy
            if self._asks_environment:
                proxy = _environment_proxy(scheme, authority)
            target = _Target(scheme, authority, proxy)
            if len(self._targets) < 1000:  # hosts come from URLs, so their number has no limit
                target = self._targets.setdefault((scheme, authority), target)
        return target

    def _tls_context(self) -> ssl.SSLContext:
        if self._context is None:
            import ssl

            context = ssl.create_default_context()
            context.set_alpn_protocols(["http/1.1"])
            self._context = context
        return self._context


_MOST_HEAD = 65_536  # bytes of a status line, of all headers, or of a line between chunks
_LINE_END, _HEADERS_END = rb"\r?\n", rb"(?:\A|\r?\n)\r?\n"
_LOOPBACK = r"localhost\.?|::1|127(\.\d{1,3}){1,3}"
_HEAD_BREAKS = re.compile(r"[\r\0]|\n(?![!-9;-~]+: )")  # what would end a header, or begin another


class _Target:
    """Where requests go: a host by one way. ``name`` is for messages."""

    def __init__(self, scheme: str, authority: str, proxy: _Proxy | None) -> None:
        scheme, self.host, self.port = _split_url(f"{scheme}://{authority}", "URL")
        self.is_tls = scheme == "https"
        self.proxy = proxy
        host = f"[{self.host}]" if ":" in self.host else self.host
        self.address = f"{host}:{self.port}"
        self.name = f"{self.address} through a proxy" if proxy else self.address
        self._headers = {"Host": authority, "Accept-encoding": "identity"}  # spelled as by urllib
        self._before_path = ""
        if proxy and not self.is_tls:  # this proxy reads the request itself
            self._before_path = f"http://{authority}"
            self._headers.update(proxy.headers)

    def request(
        self, method: str, selector: str, headers: Mapping[str, str], body: bytes | None
    ) -> bytes:
        """A request as bytes, for one write.

        Raises ValueError for whatever would be more than one request.
        """
        if not selector.startswith("/"):
            selector = f"/{selector}"
        fields = {**self._headers, **headers}
        if body is not None or method in ("POST", "PUT", "PATCH"):
            fields["Content-length"] = str(len(body or b""))  # the one that is right
        lines = [f"{method} {self._before_path}{selector} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        head = "\n".join(lines)
        if head.count("\n") >= len(lines) or _HEAD_BREAKS.search(head) or lines[0].count(" ") != 2:
            raise ValueError("a request line or a header holds a control character")
        return head.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n" + (body or b"")


class _Proxy:
    """An HTTP proxy. Its password is in ``headers`` and nowhere else."""

    def __init__(self, url: str) -> None:
        match = re.fullmatch(r"(?:http://)?(?:([^/]*)@)?([^/@]+)(?:/[^/]*)?", url, re.I)
        if match is None:
            raise ValueError("a proxy is an http://[user:password@]host:port")
        credentials, address = match.groups()
        _, self.host, self.port = _split_url(f"http://{address}", "proxy")
        self.headers: dict[str, str] = {}
        if credentials is not None:
            from base64 import b64encode
            from urllib.parse import unquote

            token = b64encode(unquote(credentials).encode()).decode()
            self.headers["Proxy-Authorization"] = f"Basic {token}"


def _environment_proxy(scheme: str, authority: str) -> _Proxy | None:
    """The proxy that the environment has for a host, as urllib reads it."""
    if sys.platform.startswith("linux") and "_proxy" not in "".join(os.environ).lower():
        return None  # spares the import of urllib.request
    from urllib.request import getproxies, proxy_bypass

    url = getproxies().get(scheme)
    _, host, _ = _split_url(f"{scheme}://{authority}", "URL")
    if not url or re.fullmatch(_LOOPBACK, host) or proxy_bypass(authority):
        return None
    try:
        return _Proxy(url)
    except ValueError:
        message = f"{scheme}_proxy is no http://[user:password@]host:port"
    raise _final(PosthookConnectionError(message, maybe_sent=False))


# Cutting a call. shutdown() of the plain socket is the one way that ends a blocked recv, connect or
# handshake in another thread: close() leaves it blocked, SSLSocket.shutdown() drops the TLS layer
# first, so that a write under way would go out in plain text.


class _Lifeline:
    """By it another thread ends what the thread that holds it waits for.

    ``begun`` is when the call began, on the monotonic clock: before it waited for its thread.
    """

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self._lock = threading.RLock()  # the garbage collector may end a call in this very thread
        self._end: Callable[[], object] | None = None
        self._process = os.getpid()
        self.is_cut = False

    def hold(self, end: Callable[[], object] | None) -> None:
        """``cut`` calls ``end`` from now on. Raises PosthookConnectionError if it has been cut."""
        with self._lock:
            self._end = end
            if not self.is_cut:
                return
        raise _final(PosthookConnectionError("the call was cancelled"))

    def let_go(self) -> None:
        with self._lock:
            self._end = None

    def cut(self) -> None:
        if self._process != os.getpid():  # a fork's copy: the socket is the parent's
            return
        with self._lock:  # held over end(): what was let go must not be ended for its next user
            self.is_cut = True
            if self._end is not None:
                self._end()


class _ThisThread(threading.local):
    lifeline: _Lifeline | None = None  # of the call that it makes, if that can be cut


_this_thread = _ThisThread()


def _begun() -> float:
    """When this thread's call began, on the monotonic clock."""
    lifeline = _this_thread.lifeline
    return time.monotonic() if lifeline is None else lifeline.begun


def _hold_socket(sock: socket.socket) -> None:
    if _this_thread.lifeline is not None:
        _this_thread.lifeline.hold(lambda: _shut_down(sock))


def _let_go() -> None:
    """Before a socket is closed or another call's: its number may be another socket's soon."""
    if _this_thread.lifeline is not None:
        _this_thread.lifeline.let_go()


def _shut_down(sock: socket.socket) -> None:
    import socket

    with contextlib.suppress(OSError):  # not connected any more, or not yet
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _wait(event: threading.Event, seconds: float) -> bool:
    """Wait until ``event`` is set, and no longer than ``seconds``. Says whether it is.

    Raises PosthookConnectionError if the call is cut.
    """
    lifeline = _this_thread.lifeline
    if lifeline is None:
        return event.wait(seconds)
    lifeline.hold(event.set)
    is_set = event.wait(seconds)
    lifeline.hold(None)
    return is_set


# What a fork leaves in the child: locks that nobody will release, threads that do not run, and the
# parent's sockets. Pools and crews of threads begin anew there.

_to_renew: weakref.WeakSet[Any] = weakref.WeakSet()


def _renew_after_fork() -> None:
    for each in list(_to_renew):
        each.renew()


if hasattr(os, "register_at_fork"):  # pragma: no branch  # Windows has no fork
    os.register_at_fork(after_in_child=_renew_after_fork)


class _Lease:
    """The right to a connection. ``turn`` is set for who had to wait for it."""

    __slots__ = ("turn", "__weakref__")
    turn: threading.Event


class _Pool:
    """The connections of an opener: at most ``size`` at work, the idle ones used last first.

    Decisions are made under the lock, sockets are touched outside of it. Who finds every
    connection at work waits in line for a lease.
    """

    def __init__(self, size: int, expiry: float) -> None:
        self._size = size
        self._expiry = expiry
        self._idle: list[_Connection] = []  # the one used last stands last
        self._is_closed = False
        # An opener that nobody closed: its sockets are closed with it, or at the interpreter's end.
        weakref.finalize(self, _drop_all, self._idle)
        self.renew()
        _to_renew.add(self)

    def renew(self) -> None:
        self._lock = threading.Lock()
        # Weak references: wherever a Ctrl-C strikes a call, the lease ends with it at the latest.
        self._leases: set[weakref.ref[_Lease]] = set()
        self._line: deque[_Lease] = deque()
        _drop_all(self._idle)  # after a fork: closes copies, the parent's connections go on

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else f"{len(self._leases)} at work"
        return f"<connections: {state}, {len(self._idle)} idle, at most {self._size}>"

    def lease(self, deadline: float) -> _Lease:
        """The right to a connection; ``release`` gives it back. Raises PosthookTimeoutError."""
        lease = _Lease()
        try:
            with self._lock:
                if self._is_closed:
                    raise PosthookError("this client is closed: make a new one")
                if len(self._leases) < self._size:
                    self._grant(lease)
                    return lease
                lease.turn = threading.Event()
                self._line.append(lease)
            if _wait(lease.turn, max(0.0, deadline - time.monotonic())):
                return lease
            message = f"all {self._size} connections were at work until the deadline"
            raise PosthookTimeoutError(message, maybe_sent=False)
        except BaseException:
            self._leave_line(lease)
            raise

    def take(self, target: _Target) -> _Connection | None:
        """An idle connection that can be used, or None."""
        while True:
            with self._lock:
                matching = (n for n, c in enumerate(reversed(self._idle), 1) if c.target is target)
                place = next(matching, None)
                if place is None:
                    room = self._size - len(self._leases)
                    surplus = self._idle[: max(0, len(self._idle) - room)]  # other hosts'
                    del self._idle[: len(surplus)]
                    break
                connection = self._idle.pop(-place)
            if connection.is_alive(self._expiry):
                return connection
            connection.drop()
        _drop_all(surplus)
        return None

    def release(self, lease: _Lease, connection: _Connection | None) -> None:
        """Give a lease back, and its connection if that can be used again."""
        expired = []
        with self._lock:
            self._leases.discard(weakref.ref(lease))
            while self._line and len(self._leases) < self._size:
                first = self._line.popleft()  # who waits longest
                self._grant(first)
                first.turn.set()
            if connection is not None and connection.is_reusable and not self._is_closed:
                self._idle.append(connection)
                connection = None
            if self._idle and self._idle[0].is_expired(self._expiry):
                expired.append(self._idle.pop(0))
        if connection is not None:
            expired.append(connection)
        _drop_all(expired)

    def close(self) -> None:
        """Close the idle connections; those at work are closed when their call ends."""
        with self._lock:
            self._is_closed = True
            idle = self._idle[:]
            self._idle.clear()
        _drop_all(idle)

    def _grant(self, lease: _Lease) -> None:
        self._leases.add(weakref.ref(lease, self._leases.discard))

    def _leave_line(self, lease: _Lease) -> None:
        with self._lock:
            if lease in self._line:
                self._line.remove(lease)
                return
        self.release(lease, None)  # it came at the last moment: pass it on


def _drop_all(connections: list[_Connection]) -> None:
    while connections:
        connections.pop().drop()


def _connect(
    target: _Target, deadline: float, tls_context: Callable[[], ssl.SSLContext]
) -> socket.socket:
    """A connected socket, through the proxy and with TLS where the target has them."""
    context = tls_context() if target.is_tls else None  # no `ssl` module: fail before connecting
    proxy = target.proxy
    host, port = (proxy.host, proxy.port) if proxy else (target.host, target.port)
    sock = _dial(host, port, deadline)
    try:
        if context is not None:
            if proxy:
                _tunnel(sock, target, proxy, deadline)
            sock.getpeername()  # raises if it was reset: wrap_socket would leave it open then
            # No handshake yet: the wrapped socket is the one that can be cut from now on.
            wrapped = context.wrap_socket(
                sock, server_hostname=target.host, do_handshake_on_connect=False
            )
            sock = wrapped
            _hold_socket(sock)
            sock.settimeout(_left(deadline))
            wrapped.do_handshake()
        return sock
    except BaseException:
        _let_go()
        sock.close()
        raise


def _dial(host: str, port: int, deadline: float) -> socket.socket:
    """A TCP connection to the first address that takes one; each has an even share of the time."""
    import socket

    failed: list[OSError] = [TimeoutError()]
    addresses = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    for tried, (family, kind, protocol, _, address) in enumerate(addresses):
        try:
            sock = socket.socket(family, kind, protocol)
        except OSError as error:  # a kernel without IPv6, though /etc/hosts names ::1
            failed.append(error)
            continue
        try:
            _hold_socket(sock)
            sock.settimeout(_left(deadline) / (len(addresses) - tried))
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except BaseException as error:
            _let_go()
            sock.close()
            if not isinstance(error, OSError):
                raise
            failed.append(error)
    raise failed.pop()


def _tunnel(sock: socket.socket, target: _Target, proxy: _Proxy, deadline: float) -> None:
    """Have the proxy connect ``sock`` to the target."""
    headers = "".join(f"{name}: {value}\r\n" for name, value in proxy.headers.items())
    request = f"CONNECT {target.address} HTTP/1.1\r\nHost: {target.address}\r\n{headers}\r\n"
    connection = _Connection(target, sock)
    connection.begin(deadline)
    connection.transmit(request.encode())
    try:
        answer = connection.head()
        refusal = "" if 200 <= answer.status <= 299 else f"HTTP {answer.status}"
        if not refusal and connection.has_leftover():
            refusal = "more than a tunnel"
    except OSError:
        raise
    except Exception as error:
        refusal = f"no HTTP ({type(error).__name__})"
    if refusal:
        message = f"the proxy answered {refusal} to CONNECT {target.address}"
        raise _final(PosthookConnectionError(message, maybe_sent=False))


def _left(deadline: float) -> float:
    """Seconds until the deadline. Raises TimeoutError at its end."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class _Connection:
    """A socket, and the reading of HTTP/1 answers from it, each within its deadline.

    Not by http.client: that takes an end of the stream for an end of the headers, guesses where a
    malformed answer ends, and knows a deadline for one read alone; its import is a third of a cold
    start (17 ms), and a call takes a third less without it. What is no plain answer is an error.
    """

    def __init__(self, target: _Target, sock: socket.socket) -> None:
        self.target = target
        self.written = False  # whether a byte of the request may have left
        self.is_reusable = False
        self._sock = sock
        sock.setblocking(False)  # each wait is a poll, for what is left of the deadline
        self._is_readable = _watch(sock)
        self._pending: Callable[[], int] = getattr(sock, "pending", int)  # bytes in the TLS layer
        self._buffer = bytearray()  # what was received and not read yet
        self._process = os.getpid()

    def exchange(self, method: str, request: bytes, deadline: float) -> _Answer:
        """Send a request and read its answer to the end."""
        self.begin(deadline)
        write_error = self.transmit(request)
        try:
            answer = self.head()
            has_end = self._read_body(method, answer)
        except (OSError, EOFError) as error:
            # An early answer (413) is worth more than the write that failed. There was none.
            raise write_error or error from None
        self._idle_since = (time.monotonic(), time.time())
        wanted = answer.headers.get("connection", "").lower()
        self.is_reusable = (
            has_end
            and answer.status >= 200  # after a 101 it speaks another protocol
            and "close" not in wanted
            and ("keep-alive" in wanted or not answer.head.startswith("HTTP/1.0"))
            and write_error is None
            and not self.has_leftover()
        )
        return answer

    def begin(self, deadline: float) -> None:
        """An exchange begins; it can be cut from now on."""
        self.written = self.is_reusable = False
        self._received = 0
        self._deadline = deadline
        _hold_socket(self._sock)

    def transmit(self, data: bytes) -> OSError | None:
        """Returns the error of a server that has closed: its answer may be there already."""
        _left(self._deadline)
        self.written = True
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._patiently(self._sock.send, rest, to_write=True) :]
        except TimeoutError:
            raise
        except OSError as error:  # also SSLEOFError, as 3.10 to 3.12 have it
            return error
        return None

    def head(self) -> _Answer:
        """The final answer, without its body; those of 1xx are passed over."""
        while True:
            line = self._until(_LINE_END)
            match = re.match(r"HTTP/1\.\d ([1-9]\d\d)(?: |$)", line)
            if match is None:
                raise ValueError("its status line is malformed")
            headers = re.sub(r"\r?\n[ \t]+", " ", self._until(_HEADERS_END))  # folded lines
            status = int(match[1])
            if status == 101 or status >= 200:
                return _Answer(status, _fields(_pairs(headers)), b"", f"{line}\n{headers}")

    def _read_body(self, method: str, answer: _Answer) -> bool:
        """Says whether the answer told where it ends; else the end of the stream was its end."""
        if method == "HEAD" or answer.status < 200 or answer.status in (204, 304):
            return True
        length = answer.headers.get("content-length")
        coding = answer.headers.get("transfer-encoding")
        if coding is not None:
            if coding.lower() != "chunked" or length is not None:
                raise ValueError("its body is framed in two ways, or in an unknown one")
            answer.body = self._chunks()
        elif length is not None:
            answer.body = self._take(_size(length, r"[0-9]{1,15}", 10))
        else:
            with contextlib.suppress(EOFError):
                while True:
                    self._receive()
            answer.body = bytes(self._buffer)
            return False
        return True

    def _chunks(self) -> bytes:
        body = bytearray()
        while size := _size(self._until(_LINE_END), r"0*([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?", 16):
            body += self._take(size)
            if self._take(2) != b"\r\n":
                raise ValueError("a chunk has another size than it says")
        while self._until(_LINE_END):
            pass  # trailers
        return bytes(body)

    def _until(self, end: bytes) -> str:
        """What comes before the next ``end``, which is dropped."""
        searched = 0
        while (match := re.compile(end).search(self._buffer, searched)) is None:
            if len(self._buffer) >= _MOST_HEAD:
                raise ValueError("a line or its headers are too long")
            searched = max(0, len(self._buffer) - 3)
            self._receive()
        text = self._buffer[: match.start()].decode("latin-1")
        del self._buffer[: match.end()]
        return text

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._receive()
        data = bytes(memoryview(self._buffer)[:size])  # copied once
        del self._buffer[:size]
        return data

    def _receive(self) -> None:
        """Wait until something comes, and add it to the buffer. Raises EOFError at the end."""
        if not self._pending() and not self._is_readable(_left(self._deadline)):
            raise TimeoutError
        data = self._patiently(self._sock.recv, 65_536)
        if not data:
            raise EOFError if self._received else ConnectionResetError("closed without an answer")
        self._buffer += data
        self._received += len(data)
        if self._received > _MOST_BYTES + _MOST_HEAD:
            raise _too_large()

    def _patiently(self, action: Callable[[Any], T], what: object, to_write: bool = False) -> T:
        """Do what the socket refuses to do at once as soon as it can."""
        while True:
            left = _left(self._deadline)
            try:
                return action(what)
            except BlockingIOError:
                pass
            except OSError as error:  # of the ssl module, which need not be there
                wanted = type(error).__name__
                if wanted not in ("SSLWantReadError", "SSLWantWriteError"):
                    raise
                to_write = wanted == "SSLWantWriteError"
            if not _watch(self._sock, to_write)(left):
                raise TimeoutError

    def has_leftover(self) -> bool:
        """Whether bytes came after the answer, which must not become the next one's."""
        return bool(self._buffer or self._pending())

    def is_expired(self, expiry: float) -> bool:
        """By the monotonic and the wall clock: either may stand still while a machine sleeps."""
        monotonic, wall = self._idle_since
        age, wall_age = time.monotonic() - monotonic, time.time() - wall
        return not (0 <= age <= expiry and 0 <= wall_age <= expiry)

    def is_alive(self, expiry: float) -> bool:
        """Whether it can be used again. All that an idle socket has to tell is its end."""
        is_ours = self._process == os.getpid()
        return is_ours and not self.is_expired(expiry) and not self._is_readable(0)

    def drop(self) -> None:
        self._sock.close()


def _watch(sock: socket.socket, to_write: bool = False) -> Callable[[float], object]:
    """A function that waits so many seconds, and says whether the socket can be read (written)."""
    import select

    if not hasattr(select, "poll"):  # pragma: no cover  # Windows
        sets = ([], [sock]) if to_write else ([sock], [])
        return lambda seconds: any(select.select(*sets, [], seconds))
    poll = select.poll()
    poll.register(sock, select.POLLOUT if to_write else select.POLLIN)
    return lambda seconds: poll.poll(seconds * 1000)


def _size(text: str, form: str, base: int) -> int:
    match = re.fullmatch(form, text)
    if match is None:
        raise ValueError("the length of its body, or of a chunk, is not one number")
    size = int(match[match.lastindex or 0], base)
    if size > _MOST_BYTES:
        raise _too_large()
    return size


def _pairs(headers: str) -> Iterator[tuple[str, str]]:
    for line in headers.split("\n") if headers else ():
        name, _, value = line.partition(":")
        value = value.strip(" \t\r")
        if not re.match(r"[!-9;-~]+:", line) or "\r" in value:
            raise ValueError("a header is malformed")
        yield name, value


class _Response(io.BytesIO):
    """What the opener returns: a whole answer, in the shape of urllib's own responses."""

    def __init__(self, answer: _Answer, url: str) -> None:
        from http.client import HTTPMessage

        super().__init__(answer.body)
        status_line, _, headers = answer.head.partition("\n")
        self.status = self.code = answer.status
        self.reason = self.msg = status_line[len("HTTP/1.1 200 ") :]
        self.headers = HTTPMessage()
        for name, value in _pairs(headers):
            self.headers[name] = value  # adds one, and replaces none
        self.url = url

    def info(self) -> http.client.HTTPMessage:
        return self.headers

    def geturl(self) -> str:
        return self.url

    def getcode(self) -> int:
        return self.status


def _fields(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers with lower-case names; the values of a repeated one are joined by a comma."""
    fields: dict[str, str] = {}
    for name, value in headers:
        name = name.lower()
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields


def _too_large() -> PosthookError:
    return PosthookError(f"the answer is larger than {_MOST_BYTES} bytes")


def _our_error(error: Exception, target: _Target, written: bool) -> PosthookError:
    """What the caller gets for ``error``; its text only where no server can have written it."""
    if isinstance(error, PosthookError):
        return error
    name = target.name
    if isinstance(error, ImportError):
        message = "https: URLs need Python's ssl module, which this interpreter does not have"
        return _final(PosthookConnectionError(message, maybe_sent=False))
    if _is_timeout(error):
        message = f"{name} did not answer in time" if written else f"{name} was not reached in time"
        return PosthookTimeoutError(message, maybe_sent=written)
    if isinstance(error, OSError) or not written:
        message = f"the connection to {name} was lost" if written else f"{name} cannot be reached"
        ours = PosthookConnectionError(f"{message}: {error}", maybe_sent=written)
        ours.__cause__ = error
        return _final(ours) if type(error).__name__ == "SSLCertVerificationError" else ours
    fault = "an answer that was cut off" if isinstance(error, EOFError) else "no valid HTTP answer"
    words = f": {error}" if isinstance(error, ValueError) else f" ({type(error).__name__})"
    return PosthookConnectionError(f"{name} gave {fault}{words}", maybe_sent=written)


def _is_timeout(error: object) -> bool:
    """Also socket.timeout, before 3.10 a class of its own, and the time-outs of other clients."""
    names = (kind.__name__ for kind in type(error).__mro__)
    return any(name == "timeout" or "Timeout" in name for name in names)


def _final(error: PosthookConnectionError) -> PosthookConnectionError:
    """Mark an error that a repetition cannot mend."""
    error._is_final = True
    return error


# What `http_client` may be: each becomes a function that sends one call and returns the whole
# answer, or raises PosthookError. A call's `secrets` are headers that no other host may see.

if TYPE_CHECKING:
    _Send = Callable[[_Call, float], _Answer]
    _AsyncSend = Callable[[_Call, float], Awaitable[_Answer]]

    class _Requester(Protocol):
        """An httpx.Client, a requests.Session, or whatever else has their ``request``."""

        @property
        def request(self) -> Callable[..., Any]: ...

    HttpClient = Union[urllib.request.OpenerDirector, _Requester]


def _is_async_client(client: object) -> bool:
    return inspect.iscoroutinefunction(getattr(client, "request", None))


def _sender(client: Any) -> _Send:
    """Raises TypeError for an object that cannot send."""
    if callable(getattr(client, "open", None)):
        return _guarded(_opener_sender(client))
    if callable(getattr(client, "request", None)) and not _is_async_client(client):
        return _guarded(_client_sender(client))
    raise TypeError(
        "http_client is an urllib opener, or has a .request like httpx.Client and "
        "requests.Session; an httpx.AsyncClient goes with AsyncPosthook"
    )


def _guarded(send: _Send) -> _Send:
    """``send``, with whatever a client that is not ours raises made ours."""

    def guarded(call: _Call, timeout: float) -> _Answer:
        failed = []
        try:
            return send(call, timeout)
        except Exception as error:
            failed.append(_foreign_error(error, call))
        raise failed.pop()  # popped: see _KeepAliveHandler

    return guarded


def _opener_sender(opener: Any) -> _Send:
    from urllib.error import HTTPError
    from urllib.request import OpenerDirector, Request

    urllibs_open = OpenerDirector.open
    handlers: Any = getattr(opener, "handlers", ())

    def opened(request: Request, timeout: float) -> Any:
        try:
            return opener.open(request, timeout=timeout)
        except HTTPError as error:  # of a plain opener: an answer like any other
            return error

    def send(call: _Call, timeout: float) -> _Answer:
        is_urllibs = getattr(opener.open, "__func__", None) is urllibs_open
        if is_urllibs and len(handlers) == 1 and type(handlers[0]) is _KeepAliveHandler:
            return handlers[0].send(call, timeout)  # as open() would, 40 us faster
        request = Request(call.url, call.body, call.headers, method=call.method)
        for name, value in call.secrets.items():
            request.add_unredirected_header(name, value)
        response = opened(request, timeout)
        body = bytearray()
        with response:
            while piece := response.read(65_536):  # all at once, 3.9 would take _MOST_BYTES first
                body += piece
                if len(body) > _MOST_BYTES:
                    raise _too_large()
        if getattr(response, "length", None):  # read(n) of http.client does not tell a cut
            raise EOFError
        return _Answer(response.status, _fields(response.headers.items()), bytes(body))

    return send


def _client_sender(client: _Requester) -> _Send:
    options = _request_options(client)

    def send(call: _Call, timeout: float) -> _Answer:
        return _client_answer(client.request(call.method, call.url, **options(call, timeout)))

    return send


def _async_client_sender(client: Any) -> _AsyncSend:
    options = _request_options(client)

    async def send(call: _Call, timeout: float) -> _Answer:
        failed = []
        try:
            response = await client.request(call.method, call.url, **options(call, timeout))
            return _client_answer(response)
        except Exception as error:
            failed.append(_foreign_error(error, call))
        raise failed.pop()

    return send


def _request_options(client: _Requester) -> Callable[[_Call, float], dict[str, object]]:
    """What ``client.request`` takes: httpx and requests differ in two names."""
    try:
        is_httpx = "content" in inspect.signature(client.request).parameters
    except (TypeError, ValueError):  # a callable that does not tell
        is_httpx = False
    body, redirects = ("content", "follow_redirects") if is_httpx else ("data", "allow_redirects")

    def options(call: _Call, timeout: float) -> dict[str, object]:
        headers = {**call.headers, **call.secrets}
        return {"headers": headers, body: call.body, "timeout": timeout, redirects: False}

    return options


def _client_answer(response: Any) -> _Answer:
    body = bytes(response.content)
    if len(body) > _MOST_BYTES:
        raise _too_large()
    return _Answer(int(response.status_code), _fields(response.headers.items()), body)


def _foreign_error(error: Exception, call: _Call) -> PosthookError:
    """Its text and the cause are kept, unless these or the cause's own causes show a secret."""
    if isinstance(error, PosthookError):
        return error
    texts: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(texts) < 10:
        texts.append(f"{cause!r} {cause}")
        cause = cause.__cause__ or cause.__context__
    secrets = {form for each in call.secrets.values() for form in (each, repr(each)[1:-1])}
    shown = not any(secret in text for text in texts for secret in secrets)
    message = f"the http_client failed: {type(error).__name__}" + (f": {error}" if shown else "")
    is_timeout = _is_timeout(error) or _is_timeout(getattr(error, "reason", None))
    ours = (PosthookTimeoutError if is_timeout else PosthookConnectionError)(message)
    ours.__cause__ = error if shown else None
    return ours


# ==================================================================================================
# 7. The client: the retry rule, the one loop that follows it, and the calls. Uses all above, the
#    clock and logging; never http.client or ssl.
# ==================================================================================================


class Posthook:
    """The client: ``hooks`` calls the service, ``signatures`` verifies deliveries.

    One serves any number of threads; ``with`` closes it.

    Args:
        api_key: the project's API key; else ``POSTHOOK_API_KEY``.
        base_url: the API's URL; else ``POSTHOOK_BASE_URL``, else ``https://api.posthook.io``. A
            trailing ``/`` or ``/v1`` is dropped.
        timeout: seconds that a call may take in all, repeats and the pauses between them included.
        signing_key: for ``signatures``: a key, or a list of them while you roll keys; else
            ``POSTHOOK_SIGNING_KEY``.
        http_client: sends the requests instead of this client: an opener from ``build_opener`` or
            urllib, an httpx.Client or a requests.Session. It is neither changed nor closed.
        max_retries: repeats after a failed attempt, where a repeat does no harm; 0 for none.

    Raises:
        AuthenticationError: if there is no API key.
        ValueError, TypeError: for any other argument that cannot work.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        timeout: float = _DEFAULT_TIMEOUT,
        signing_key: str | list[str] | tuple[str, ...] | None = None,
        http_client: HttpClient | None = None,
        max_retries: int = 2,
    ) -> None:
        send = None if http_client is None else _sender(http_client)
        self._api = _Api(api_key, base_url, timeout, max_retries, send)
        self.hooks = HooksService(self._api)
        self.signatures = SignaturesService(_signing_key_or_environment(signing_key))

    def __repr__(self) -> str:
        return f"Posthook({self._api!r})"

    def close(self) -> None:
        """Close idle connections; calls under way end by themselves. A second time is fine."""
        self._api.close()

    def __enter__(self) -> Posthook:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class HooksService:
    """Hooks: schedule, get, list, delete; ``bulk`` acts on many. Used as ``client.hooks``.

    ``timeout`` is the seconds that this one call may take (None: the client's). Whatever the
    network or the service does is a ``PosthookError``; a wrong argument is a ``ValueError`` or a
    ``TypeError``, before anything is sent.
    """

    def __init__(self, api: _Api) -> None:
        self._api = api
        self.bulk = BulkActions(api)

    def schedule(
        self,
        path: str,
        *,
        data: object = None,
        post_at: datetime | str | None = None,
        post_at_local: datetime | str | None = None,
        timezone: str | tzinfo | None = None,
        post_in: timedelta | str | None = None,
        retry_override: HookRetryOverride | None = None,
        timeout: float | None = None,
    ) -> Hook:
        """Schedule a hook, by exactly one of ``post_in``, ``post_at`` and ``post_at_local``.

        It is sent once: repeated only if the first attempt provably did not reach the service.

        Args:
            path: where under the project's domain it is delivered, from ``"/"`` on.
            data: the payload, whatever ``json.dumps`` takes; None is sent as ``{}``.
            post_at: an aware datetime, or RFC 3339 text; a past time means now.
            post_at_local: wall time in ``timezone``: a datetime, or ``"YYYY-MM-DDTHH:MM:SS"``. One
                that daylight saving skips becomes the first that exists, of two the earlier one.
            timezone: an IANA name or a ZoneInfo; not needed where ``post_at_local`` carries one.
            post_in: a timedelta, or text in days, hours, minutes and seconds: ``"1d2h30m"``.
            retry_override: retry settings of this hook's own.

        Raises:
            RateLimitError: if the month's quota is used up; the hook's ``quota`` tells beforehand.
            PosthookConnectionError: ``maybe_sent`` tells whether the hook may exist all the same.
        """
        modes = {"post_at": post_at, "post_at_local": post_at_local, "post_in": post_in}
        call = _schedule_call(path, data, retry_override, timezone, **modes)
        return self._api.call(call, _read_scheduled, timeout)

    def get(self, id: str, *, timeout: float | None = None) -> Hook:
        """One hook by its id. Raises NotFoundError if there is none in this project."""
        return self._api.call(_hook_call("GET", id), _read_hook, timeout)

    def list(
        self,
        *,
        status: str | None = None,
        limit: int | None = None,
        offset: int | None = None,
        post_at_before: datetime | str | None = None,
        post_at_after: datetime | str | None = None,
        created_at_before: datetime | str | None = None,
        created_at_after: datetime | str | None = None,
        sort_by: str | None = None,
        sort_order: str | None = None,
        cursor: str | None = None,
        timeout: float | None = None,
    ) -> Page:
        """One page of hooks; ``list_all`` gives every one.

        Args:
            status: ``STATUS_PENDING`` and so on; None for all.
            limit: hooks at most, 1 to 1000; the service's default is 10.
            offset: the service has dropped it in favour of ``cursor``.
            post_at_before and so on: aware datetimes, or RFC 3339 text, themselves left out.
            sort_by: ``SORT_BY_POST_AT`` or ``SORT_BY_CREATED_AT``.
            sort_order: ``SORT_ORDER_ASC`` or ``SORT_ORDER_DESC``.
            cursor: the ``cursor`` of the page before, with the same filters.
        """
        query = _list_query(
            status=status,
            limit=limit,
            offset=offset,
            cursor=cursor,
            sort_by=sort_by,
            sort_order=sort_order,
            post_at_before=post_at_before,
            post_at_after=post_at_after,
            created_at_before=created_at_before,
            created_at_after=created_at_after,
        )
        return self._page(query, timeout)

    def list_all(
        self,
        *,
        status: str | None = None,
        post_at_after: datetime | str | None = None,
        post_at_before: datetime | str | None = None,
        created_at_after: datetime | str | None = None,
        created_at_before: datetime | str | None = None,
        page_size: int = 100,
        timeout: float | None = None,
    ) -> Iterator[Hook]:
        """Every hook that matches the filters, which are those of ``list``, by ``post_at``.

        Pages of ``page_size`` hooks (1 to 1000) are fetched as they are needed, each within
        ``timeout``. No hook is lost or repeated, also where many share one ``post_at``.

        Raises:
            PosthookError: also where that cannot be promised: more than 1000 hooks of one
                ``post_at``, on a server without cursors.
        """
        walk = _walk(
            status, page_size, post_at_after, post_at_before, created_at_after, created_at_before
        )
        return self._pages(walk, timeout)

    def _pages(self, walk: _Walk, timeout: float | None) -> Iterator[Hook]:
        while (query := walk.query()) is not None:
            yield from walk.take(self._page(query, timeout))

    def _page(self, query: Mapping[str, object], timeout: float | None) -> Page:
        return self._api.call(_list_call(query), _read_page, timeout)

    def delete(self, id: str, *, timeout: float | None = None) -> None:
        """Cancel a hook that waits, or remove one that is done; one that is gone is no error."""
        return self._api.call(_hook_call("DELETE", id), _read_deleted, timeout)


class BulkActions:
    """One action on many hooks, by ids or by a range of ``post_at``. Used as ``client.hooks.bulk``.

    By ids: any iterable of 1 to 1000 ids. By filter: hooks from ``start_time`` to before
    ``end_time`` (aware datetimes, or RFC 3339 text), ``limit`` of them at most (1 to 1000), of
    ``endpoint_key`` (a path) or ``sequence_id`` alone where these are given. Hooks in another state
    are passed over. Sent once, as ``schedule`` is; ``timeout`` is the call's, in seconds.
    """

    def __init__(self, api: _Api) -> None:
        self._api = api

    def retry(self, hook_ids: Iterable[str], *, timeout: float | None = None) -> BulkActionResult:
        """Deliver failed hooks again."""
        return self._do("retry", _bulk_ids(hook_ids), timeout)

    def retry_by_filter(
        self,
        start_time: datetime | str,
        end_time: datetime | str,
        limit: int,
        *,
        endpoint_key: str | None = None,
        sequence_id: str | None = None,
        timeout: float | None = None,
    ) -> BulkActionResult:
        """Deliver the failed hooks of a range again."""
        chosen = _bulk_range(start_time, end_time, limit, endpoint_key, sequence_id)
        return self._do("retry", chosen, timeout)

    def replay(self, hook_ids: Iterable[str], *, timeout: float | None = None) -> BulkActionResult:
        """Deliver completed hooks once more, as new hooks with the same path and data."""
        return self._do("replay", _bulk_ids(hook_ids), timeout)

    def replay_by_filter(
        self,
        start_time: datetime | str,
        end_time: datetime | str,
        limit: int,
        *,
        endpoint_key: str | None = None,
        sequence_id: str | None = None,
        timeout: float | None = None,
    ) -> BulkActionResult:
        """Deliver the completed hooks of a range once more, as new hooks."""
        chosen = _bulk_range(start_time, end_time, limit, endpoint_key, sequence_id)
        return self._do("replay", chosen, timeout)

    def cancel(self, hook_ids: Iterable[str], *, timeout: float | None = None) -> BulkActionResult:
        """Cancel hooks that wait: they will not be delivered."""
        return self._do("cancel", _bulk_ids(hook_ids), timeout)

    def cancel_by_filter(
        self,
        start_time: datetime | str,
        end_time: datetime | str,
        limit: int,
        *,
        endpoint_key: str | None = None,
        sequence_id: str | None = None,
        timeout: float | None = None,
    ) -> BulkActionResult:
        """Cancel the waiting hooks of a range."""
        chosen = _bulk_range(start_time, end_time, limit, endpoint_key, sequence_id)
        return self._do("cancel", chosen, timeout)

    def _do(self, action: str, body: _Body, timeout: float | None) -> BulkActionResult:
        path = f"/v1/hooks/bulk/{action}"
        call = _Call("POST", path, _json_body(body, "ids"), repeatable=False)
        return self._api.call(call, _read_affected, timeout)


class _Api:
    """The service as one project sees it: sends a call, has its answer read."""

    def __init__(
        self, api_key: str | None, base_url: str | None, timeout: float, max_retries: int, send: Any
    ) -> None:
        self._secrets = {"X-API-Key": _api_key(api_key)}
        self._base_url = _base_url(base_url)
        self._timeout = _checked_timeout(timeout)
        if type(max_retries) is not int or max_retries < 0:
            raise ValueError("max_retries is a whole number from 0")
        self._max_retries = max_retries
        self._handler = _KeepAliveHandler()
        self._send = send or self._handler.send
        self._is_closed = False

    def __repr__(self) -> str:
        return f"base_url={self._base_url!r}, {self._handler!r}"

    def call(self, call: _Call, read: Callable[[_Answer], T], timeout: float | None) -> T:
        """Raises what the transport or ``read`` raises, once the retry rule has had its say."""
        deadline = self._prepare(call, timeout)
        return read(_drive(_attempts(call, deadline, self._max_retries), call, self._send))

    def _prepare(self, call: _Call, timeout: float | None) -> float:
        """Complete the call; gives its deadline on the monotonic clock."""
        if self._is_closed:
            raise PosthookError("this client is closed: make a new one")
        call.url = self._base_url + call.url
        call.headers, call.secrets = _headers(call.body), self._secrets
        return _begun() + self.seconds(timeout)

    def seconds(self, timeout: object) -> float:
        """The timeout of a call. Raises ValueError for whatever is no positive finite number."""
        return self._timeout if timeout is None else _checked_timeout(timeout)

    def close(self) -> None:
        self._is_closed = True
        self._handler.close()


def _api_key(api_key: str | None) -> str:
    if api_key is not None and not isinstance(api_key, str):
        raise TypeError(f"api_key is text, not {type(api_key).__name__}")
    key = (api_key or "").strip() or os.environ.get("POSTHOOK_API_KEY", "").strip()
    if not key:
        raise AuthenticationError("No API key provided: pass api_key, or set POSTHOOK_API_KEY")
    if not (key.isascii() and key.isprintable()):
        raise ValueError("the API key holds a control or non-ASCII character: copy it once more")
    return key


def _base_url(base_url: str | None) -> str:
    name, url = ("base_url" if base_url else "POSTHOOK_BASE_URL"), base_url
    url = url or os.environ.get("POSTHOOK_BASE_URL", "").strip() or "https://api.posthook.io"
    url = _checked_url(url, name).rstrip("/")
    if "?" in url or "#" in url:
        raise ValueError(f"{name} has a query or a fragment: leave it out")
    return url[: -len("/v1")] if url.endswith("/v1") else url


_SYSTEM = os.uname().sysname if hasattr(os, "uname") else "Windows"
_USER_AGENT = f"posthook-stdlib/{__version__} (Python {sys.version.split()[0]}; {_SYSTEM})"


def _headers(body: bytes | None) -> dict[str, str]:
    content = {} if body is None else {"Content-Type": "application/json"}
    return {"User-Agent": _USER_AGENT, **content}


# Retries: one rule, and one loop that follows it. Nothing else repeats a call or sleeps.

if TYPE_CHECKING:
    _Outcome = Union[_Answer, PosthookConnectionError]
    _Steps = Generator[tuple[str, float], Optional[_Answer], _Answer]

_REPEATABLE_STATUS = (429, 500, 502, 503, 504)
_LAST_PAUSE = 1.0  # seconds at most; each one before is half as long, so all take less than two


def _retry_pause(
    call: _Call, outcome: _Outcome, attempt: int, max_retries: int, jitter: float
) -> float | None:
    """Seconds until the call is sent again, or None for never.

    ``attempt`` counts from 0; ``jitter`` is a random number from 0 to 1.
    """
    if attempt >= max_retries:
        return None
    if isinstance(outcome, PosthookConnectionError):
        if outcome._is_final or (outcome.maybe_sent and not call.repeatable):
            return None
    elif not call.repeatable or outcome.status not in _REPEATABLE_STATUS:
        return None
    elif (asked := _retry_after(outcome)) is not None or outcome.status == 429:
        return asked  # 429 is the month's quota: only the server can know that it ends soon
    # From 2000 on it is zero anyhow, and a float takes no exponent without limit.
    pause = _LAST_PAUSE * 0.5 ** min(max(max_retries, 2) - attempt - 1, 2000)
    return pause * (1 + jitter) / 2


def _attempts(call: _Call, deadline: float, max_retries: int) -> _Steps:
    """Says what to do next: ``("send", seconds)`` or ``("sleep", seconds)``; returns the answer.

    Who drives it sends in the answer that came of a "send", or throws the PosthookConnectionError.
    """

    def pause_after(outcome: _Outcome) -> float | None:
        pause = _retry_pause(call, outcome, attempt, max_retries, os.urandom(1)[0] / 255)
        return None if pause is None or time.monotonic() + pause >= deadline else pause

    attempt = 0
    while True:
        started = time.monotonic()
        if started >= deadline:  # spent in waiting for a thread
            message = "the timeout was over before the call was sent"
            raise PosthookTimeoutError(message, maybe_sent=False)
        try:
            answer = yield "send", deadline - started
        except PosthookConnectionError as error:
            _log_attempt("%s %s -> %s (%.3fs)", call, type(error).__name__, started)
            if (pause := pause_after(error)) is None:
                raise
        else:
            assert answer is not None
            answer.received = time.time()
            _log_attempt("%s %s -> %d (%.3fs)", call, answer.status, started)
            if 200 <= answer.status <= 299 or (pause := pause_after(answer)) is None:
                return answer
        yield "sleep", pause
        attempt += 1


def _log_attempt(form: str, call: _Call, result: object, started: float) -> None:
    if "logging" in sys.modules:  # else nobody can have switched it on
        _log().debug(form, call.method, call.label, result, time.monotonic() - started)


def _drive(steps: _Steps, call: _Call, send: _Send) -> _Answer:
    try:
        action, seconds = next(steps)
        while True:
            if action == "sleep":
                _wait(threading.Event(), seconds)
                action, seconds = next(steps)
            try:
                answer = send(call, seconds)
            except PosthookConnectionError as error:
                action, seconds = steps.throw(error)
            else:
                action, seconds = steps.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


# ==================================================================================================
# 8. The async client: the calls of section 7 on threads of its own. Uses the client, asyncio and
#    the transport's one way to cut a call; never JSON or API paths.
# ==================================================================================================


class AsyncPosthook:
    """The client for asyncio: ``Posthook``, each call awaited.

    The calls run on threads of this client's own, as many as there are calls at once, at most 100;
    none is started before the first call. A cancelled call is cut off at once and sends nothing
    further. One client serves several event loops, also one after another; ``async with`` closes
    it.

    Args:
        api_key, base_url, timeout, signing_key, max_retries: as for ``Posthook``.
        http_client: as for ``Posthook``, or an httpx.AsyncClient, which is awaited on the caller's
            event loop and uses no threads.

    Attributes:
        hooks: the calls of ``Posthook.hooks``, as coroutines; ``list_all`` is an async iterator.
        signatures: verifies deliveries; not async, since it waits for nothing.

    Raises:
        AuthenticationError, ValueError, TypeError: as ``Posthook``.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        timeout: float = _DEFAULT_TIMEOUT,
        signing_key: str | list[str] | tuple[str, ...] | None = None,
        http_client: HttpClient | None = None,
        max_retries: int = 2,
    ) -> None:
        settings = (api_key, base_url, timeout, max_retries)
        self._api: _Api | _AwaitedApi
        self._runner: _Crew | _OnLoop
        if http_client is not None and _is_async_client(http_client):
            self._api = _AwaitedApi(*settings, _async_client_sender(http_client))
            self._runner = _OnLoop()
        else:
            send = None if http_client is None else _sender(http_client)
            self._api = _Api(*settings, send)
            self._runner = _Crew(_MAX_CONNECTIONS)
        self.hooks = AsyncHooksService(self._api, self._runner)
        self.signatures = SignaturesService(_signing_key_or_environment(signing_key))

    def __repr__(self) -> str:
        return f"AsyncPosthook({self._api!r}, {self._runner!r})"

    async def close(self) -> None:
        """Close idle connections and threads; calls under way end by themselves."""
        self._api.close()
        self._runner.close()

    async def __aenter__(self) -> AsyncPosthook:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()


# Written once: an async method is the sync one, handed to what runs it. `_awaited` keeps its name,
# docstring and signature, for type checkers too.


def _awaited(
    method: Callable[Concatenate[Any, P], T],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    @functools.wraps(method)
    async def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        seconds = self._sync._api.seconds(kwargs.get("timeout"))
        function = functools.partial(method, self._sync, *args, **kwargs)
        result: T = await self._runner.run(function, seconds)
        return result

    return call


class AsyncHooksService:
    """``HooksService`` with every method awaited. Used as ``client.hooks``.

    Attributes:
        bulk: acts on many hooks at once.
    """

    def __init__(self, api: _Api, runner: _Crew | _OnLoop) -> None:
        self._sync = HooksService(api)
        self._runner = runner
        self.bulk = AsyncBulkActions(self._sync.bulk, runner)

    schedule = _awaited(HooksService.schedule)
    get = _awaited(HooksService.get)
    list = _awaited(HooksService.list)
    delete = _awaited(HooksService.delete)

    def list_all(
        self,
        *,
        status: str | None = None,
        post_at_after: datetime | str | None = None,
        post_at_before: datetime | str | None = None,
        created_at_after: datetime | str | None = None,
        created_at_before: datetime | str | None = None,
        page_size: int = 100,
        timeout: float | None = None,
    ) -> AsyncIterator[Hook]:
        walk = _walk(
            status, page_size, post_at_after, post_at_before, created_at_after, created_at_before
        )
        return self._pages(walk, timeout)

    list_all.__doc__ = HooksService.list_all.__doc__

    _page = _awaited(HooksService._page)

    async def _pages(self, walk: _Walk, timeout: float | None) -> AsyncIterator[Hook]:
        while (query := walk.query()) is not None:
            for hook in walk.take(await self._page(query, timeout=timeout)):
                yield hook


class AsyncBulkActions:
    """``BulkActions`` with every method awaited. Used as ``client.hooks.bulk``."""

    def __init__(self, sync: BulkActions, runner: _Crew | _OnLoop) -> None:
        self._sync = sync
        self._runner = runner

    retry = _awaited(BulkActions.retry)
    retry_by_filter = _awaited(BulkActions.retry_by_filter)
    replay = _awaited(BulkActions.replay)
    replay_by_filter = _awaited(BulkActions.replay_by_filter)
    cancel = _awaited(BulkActions.cancel)
    cancel_by_filter = _awaited(BulkActions.cancel_by_filter)


class _Job:
    """One call for a thread of a crew, and the future that its caller awaits."""

    def __init__(self, function: Callable[[], object], inbox: _Inbox) -> None:
        import contextvars

        self._function = function
        self._context = contextvars.copy_context()  # as asyncio.to_thread does
        self._lifeline = _Lifeline()
        self._inbox = inbox
        self._result: Any = None
        self._failed: list[BaseException] = []
        self._claim = threading.Lock()  # whoever has it decides what comes of the call
        self.future = inbox.loop.create_future()

    def cut(self) -> None:
        self._lifeline.cut()

    def expire_in(self, seconds: float) -> asyncio.TimerHandle:
        """The call ends after so many seconds if no thread has taken it by then."""
        return self._inbox.loop.call_later(seconds, self._expire)

    def _expire(self) -> None:
        if self._claim.acquire(blocking=False):
            message = "all threads were at work until the deadline"
            self._failed.append(PosthookTimeoutError(message, maybe_sent=False))
            self.finish()

    def work(self) -> None:
        """Make the call, on the thread that this is called by."""
        if not self._claim.acquire(blocking=False):
            return
        _this_thread.lifeline = self._lifeline
        try:
            if not self._lifeline.is_cut:
                self._result = self._context.run(self._function)
        except BaseException as error:
            self._failed.append(error)
        _this_thread.lifeline = None

    def report(self) -> None:
        """The call is made: have the caller woken, from the thread that has made it."""
        self._inbox.put(self)

    def finish(self) -> None:
        """Wake the caller, on its event loop. What comes of a call that was cut reaches nobody."""
        if not self.future.done():
            self.future.set_result(None)

    def result(self) -> Any:
        """What came of the call. Raises what it raised, popped: see _KeepAliveHandler."""
        if self._failed:
            raise self._failed.pop()
        return self._result


class _Inbox:
    """Jobs that are done, for one event loop: it is woken once for all that come meanwhile.

    Without this, each of many calls at once would wake it by a byte through a socket: 8 us a call.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._done: deque[_Job] = deque()
        self._is_called = False

    def put(self, job: _Job) -> None:
        self._done.append(job)
        if not self._is_called:
            self._is_called = True
            with contextlib.suppress(RuntimeError):  # the event loop is closed: nobody waits
                self.loop.call_soon_threadsafe(self._empty)

    def _empty(self) -> None:
        self._is_called = False  # first: who puts a job in from now on calls again
        while self._done:
            self._done.popleft().finish()


class _Crew:
    """Up to ``size`` daemon threads that make calls: started as they are needed, kept until close.

    They are not the event loop's default executor, which other code may fill, and not a
    ThreadPoolExecutor, which holds up the interpreter's exit.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self.renew()
        _to_renew.add(self)

    def renew(self) -> None:
        """Begin anew, also after a fork: the child has none of the threads."""
        self._shift = _Shift(self._size)
        # Of a crew that nobody closed; at the interpreter's end, too.
        weakref.finalize(self, self._shift.jobs.put, None)

    def __repr__(self) -> str:
        return f"<threads: {self._shift.threads}, at most {self._size}>"

    async def run(self, function: Callable[[], T], seconds: float = _DEFAULT_TIMEOUT) -> T:
        """Make the call on a thread; it is cut when this is cancelled.

        Raises PosthookTimeoutError if no thread is free for so many seconds.
        """
        job = _Job(function, self._shift.inbox())
        timer = None
        try:
            if not self._shift.add(job):
                timer = job.expire_in(seconds)
            await job.future
        except BaseException:  # cancelled, or left behind by an event loop that was closed
            job.cut()
            raise
        finally:
            if timer is not None:
                timer.cancel()
        return job.result()  # type: ignore[no-any-return]

    def close(self) -> None:
        self._shift.end()


class _Shift:
    """The threads of a crew and the jobs that wait for one. It does not refer to the crew."""

    def __init__(self, size: int) -> None:
        from queue import SimpleQueue

        self.threads = 0
        self.jobs: SimpleQueue[_Job | None] = SimpleQueue()  # None is the end, for every thread
        self._size = size
        self._lock = threading.Lock()
        self._spare = 0  # idle threads, less the jobs that wait for one
        self._is_over = False
        self._inbox: _Inbox | None = None

    def inbox(self) -> _Inbox:
        """Of the running event loop."""
        import asyncio

        loop, inbox = asyncio.get_running_loop(), self._inbox
        if inbox is None or inbox.loop is not loop:
            inbox = self._inbox = _Inbox(loop)
        return inbox

    def add(self, job: _Job) -> bool:
        """Says whether a thread is free for it; else it waits for one.

        Raises PosthookError after ``end``, PosthookConnectionError if no thread starts.
        """
        with self._lock:
            if self._is_over:
                raise PosthookError("this client is closed: make a new one")
            self.jobs.put(job)
            if self._spare > 0 or self.threads == self._size:
                self._spare -= 1
                return self._spare >= 0
            self.threads += 1
        try:
            threading.Thread(target=self._work, name="posthook", daemon=True).start()
        except RuntimeError:  # no more threads are to be had, or the interpreter is at its end
            with self._lock:
                self.threads -= 1
                self._spare -= 1
                if self.threads:
                    return False
            message = "no thread could be started for the call"
            raise PosthookConnectionError(message, maybe_sent=False) from None
        return True

    def _work(self) -> None:
        while (job := self.jobs.get()) is not None:
            job.work()
            with self._lock:
                self._spare += 1  # before the caller hears of it: its next call needs no new thread
            job.report()
            del job  # an idle thread keeps nothing alive
        self.jobs.put(None)
        with self._lock:
            self.threads -= 1

    def end(self) -> None:
        """Idle threads go now, the others when the jobs that were taken on are done."""
        with self._lock:
            self._is_over = True
            self.jobs.put(None)


class _OnLoop:
    """Runs the calls of an httpx.AsyncClient where they are made: on the caller's event loop."""

    def __repr__(self) -> str:
        return "<on the event loop>"

    async def run(self, function: Callable[[], T], seconds: float) -> T:
        return await function()  # type: ignore[misc, no-any-return]  # a call of _AwaitedApi

    def close(self) -> None:
        """It has nothing to close."""


class _AwaitedApi(_Api):
    """The service through a client whose ``request`` is awaited; so ``call`` is, too."""

    async def call(  # type: ignore[override]
        self, call: _Call, read: Callable[[_Answer], T], timeout: float | None
    ) -> T:
        deadline = self._prepare(call, timeout)
        steps = _attempts(call, deadline, self._max_retries)
        return read(await _drive_async(steps, call, self._send))  # type: ignore[arg-type]


async def _drive_async(steps: _Steps, call: _Call, send: _AsyncSend) -> _Answer:
    import asyncio

    try:
        action, seconds = next(steps)
        while True:
            if action == "sleep":
                await asyncio.sleep(seconds)
                action, seconds = next(steps)
            try:
                answer = await send(call, seconds)
            except PosthookConnectionError as error:
                action, seconds = steps.throw(error)
            else:
                action, seconds = steps.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


# ==================================================================================================
# 9. Callbacks: ack and nack, and their async forms, over one shared pool. They use sections 5 to 8,
#    never the hooks API.
# ==================================================================================================


def ack(
    url: str | None, body: object = None, *, timeout: float = _DEFAULT_TIMEOUT
) -> CallbackResult:
    """Report that an async hook is done: it becomes ``completed``.

    Repeating it does no harm, so a lost connection or a 5xx is tried again within ``timeout``.

    Args:
        url: ``delivery.ack_url``.
        body: anything that JSON can hold; the service ignores it. None sends no body.
        timeout: seconds for all of it.

    Returns:
        ``applied`` is False where the hook was deleted (``not_found``) or a newer attempt has
        started (``conflict``).

    Raises:
        CallbackError: for every other answer: a bad token (401), one expired (410), a server fault.
        PosthookConnectionError: if there was no answer; PosthookTimeoutError at the deadline.
        ValueError, TypeError: no http(s) URL, or a body that JSON cannot hold; nothing is sent.
    """
    return _call_back("ack", url, body, timeout)


def nack(
    url: str | None, body: object = None, *, timeout: float = _DEFAULT_TIMEOUT
) -> CallbackResult:
    """Report that an async hook failed, as ``ack`` does: its retry policy decides what follows.

    Args:
        url: ``delivery.nack_url``.
        body: why, anything that JSON can hold; the service keeps up to 8 KB. None sends no body.
        timeout: seconds for all of it.
    """
    return _call_back("nack", url, body, timeout)


async def async_ack(
    url: str | None, body: object = None, *, timeout: float = _DEFAULT_TIMEOUT
) -> CallbackResult:
    """``ack`` for asyncio, on a thread of this module's own; it is cut when cancelled."""
    function = functools.partial(ack, url, body, timeout=timeout)
    return await _callback_crew().run(function, _checked_timeout(timeout))


async def async_nack(
    url: str | None, body: object = None, *, timeout: float = _DEFAULT_TIMEOUT
) -> CallbackResult:
    """``nack`` for asyncio, on a thread of this module's own; it is cut when cancelled."""
    function = functools.partial(nack, url, body, timeout=timeout)
    return await _callback_crew().run(function, _checked_timeout(timeout))


_CALLBACK_RETRIES = 2
_CALLBACK_STATUSES = {"ack": "completed", "nack": "nacked"}  # where it has been applied


@functools.cache
def _callback_crew() -> _Crew:
    return _Crew(_MAX_CONNECTIONS)


@functools.cache
def _callback_sender() -> _Send:
    return _KeepAliveHandler().send


def _call_back(action: str, url: str | None, body: object, timeout: float) -> CallbackResult:
    if not url:
        raise ValueError(f"no {action} URL: are async hooks switched on for this project?")
    encoded = None if body is None else _json_body(body, "body")
    call = _Call("POST", _checked_url(url, "url"), encoded)
    call.label = f"({action} callback)"  # the URL holds a token
    call.headers = _headers(call.body)
    deadline = _begun() + _checked_timeout(timeout)
    answer = _drive(_attempts(call, deadline, _CALLBACK_RETRIES), call, _callback_sender())
    return _read_callback(action, call.url, answer)


def _read_callback(action: str, url: str, answer: _Answer) -> CallbackResult:
    if answer.status in (404, 409):
        return CallbackResult(False, "not_found" if answer.status == 404 else "conflict")
    if 200 <= answer.status <= 299:
        status = _text(_dict(_dict(_json(answer)).get("data")).get("status"))
        if status not in (*_CALLBACK_STATUSES.values(), "failed"):
            status = _without_echo(status.encode(errors="replace"), url) or "unknown"
        return CallbackResult(status == _CALLBACK_STATUSES[action], status)
    text = _without_echo(answer.body, url)
    message = f"{action} failed: {answer.status}" + (f": {text[:200]}" if text else "")
    error = CallbackError(message, answer.status)
    error.body, error.retry_after = text, _retry_after(answer)
    raise error


_MOST_ECHO = 1_000  # bytes of an answer that are looked at
_SHORTEST_ECHO = 4  # bytes; shorter pieces of a token tell nothing, and words may hold them
_FIXED_WORDS = rb"\b(v1|hooks?|async|callbacks?|ack|nack|tokens?|posthook)\b"


def _without_echo(text: bytes, url: str) -> str:
    """``text`` without what it repeats of the URL's path and query, in any spelling of them."""
    from urllib.parse import unquote_to_bytes, urlsplit

    secret = urlsplit(url)._replace(scheme="", netloc="").geturl().encode()
    secret = re.sub(_FIXED_WORDS, b" ", (secret + b" " + unquote_to_bytes(secret)).lower())
    size, shown = _SHORTEST_ECHO, bytearray(text[:_MOST_ECHO])
    pieces = {secret[at : at + size] for at in range(len(secret) - size + 1)}
    small = bytes(shown.lower())
    for at in range(len(small) - size + 1):
        if small[at : at + size] in pieces:
            shown[at : at + size] = bytes(size)
    return re.sub("\0+", "...", shown.decode(errors="replace")).strip()


# ==================================================================================================
# THE CUT LINE. The client works without what follows: delete from here to the end to ship it alone.
# ==================================================================================================
# 10. LocalPosthook: the service on loopback, with a clock that can be moved. Uses models, signing,
#     the check of a URL, transport and http.server; never the client.
# ==================================================================================================

if TYPE_CHECKING:
    _LocalAnswer = tuple[int, dict[str, Any], Mapping[str, str]]  # status, JSON body, headers

__all__ += ["LocalPosthook"]

_ATTEMPT_SECONDS = 10.0  # the service's limit for an attempt; real seconds, whatever the clock does
_PARALLEL = 16  # attempts that run at once
_LONGEST_WAIT = 60.0  # seconds; by then a wall clock that was set, or a laptop's sleep, is noticed
_CLOCK_END = datetime(9000, 1, 1, tzinfo=_UTC)  # so that no delay ends beyond datetime.max
_CALLBACKS = "/v1/callbacks/"
_NOT_RUNNING = "LocalPosthook runs only inside its `with` block"


class LocalPosthook:
    """The Posthook service on this machine: no account, no network, and a clock that can be moved.

    ::

        with LocalPosthook(forward_to="http://127.0.0.1:8000") as server:
            client = Posthook(server.api_key, base_url=server.url)
            client.hooks.schedule("/remind", post_in="2h", data={"user": 1})
            server.advance("2h")  # POSTs to http://127.0.0.1:8000/remind, signed
            assert server.deliveries[0].status_code == 200

    It speaks the API at ``url``, delivers what is due in real time, retries what fails, and forgets
    everything at the end. A hook without a ``retryOverride`` is retried 5 times, after 10, 20, 40,
    80 and 160 seconds.

    Args:
        forward_to: http(s) URL that deliveries go to, each hook's path appended; None records
            them as delivered without sending anything.
        port: port on 127.0.0.1; 0 takes a free one.
        api_key: the one key that calls must bring.
        signing_key: what deliveries are signed with.
        async_hooks: send the ack and nack URLs, and take a 202 as "the callback follows".
        quota: hooks that may be scheduled in a calendar month.

    Raises:
        ValueError, TypeError: for an argument that cannot work.
        PosthookConnectionError: by ``with``, if the port is in use.

    Attributes:
        forward_to: as given; it may be set later, where the app needs ``url`` to be made.
        observer: None, or a function that gets a line of ASCII text after each API call and each
            attempt, on several threads; it must not call ``advance``. No line holds a key or token.
    """

    def __init__(
        self,
        forward_to: str | None = None,
        *,
        port: int = 0,
        api_key: str = "pk_local",
        signing_key: str = "ph_sk_local",
        async_hooks: bool = False,
        quota: int = 1_000_000,
    ) -> None:
        from queue import SimpleQueue

        for name, key in ("api_key", api_key), ("signing_key", signing_key):
            if not isinstance(key, str) or not key.strip():
                raise ValueError(f"{name} is text that is not empty")
        for name, number in ("port", port), ("quota", quota):
            if type(number) is not int or number < 0:
                raise ValueError(f"{name} is a whole number from 0")
        if forward_to is not None and {"?", "#"} & set(_checked_url(forward_to, "forward_to")):
            raise ValueError("forward_to has no query: a hook's path is appended to it")
        self.api_key, self.signing_key = api_key, signing_key
        self.observer: Callable[[str], object] | None = None
        self.forward_to, self._port = forward_to, port
        self._signatures = SignaturesService(signing_key)
        # One lock guards the project and what follows. Nobody holds it during I/O.
        self._changed = threading.Condition()
        self._project = _Project(quota, async_hooks)
        self._offset = timedelta(0)  # the clock is real time plus this
        self._goal: tuple[datetime, timedelta] | None = None  # advance() wants this clock, offset
        self._moment: datetime | None = None  # when the attempt begun last was due
        self._busy = 0  # attempts under way
        self._state = "new"  # then "running", then "closed"
        self._begun: SimpleQueue[_LocalHook | None] = SimpleQueue()  # None ends a thread

    @property
    def url(self) -> str:
        """The API's base URL. Raises PosthookError before the ``with`` block has begun."""
        if self._state == "new":
            raise PosthookError(_NOT_RUNNING)
        return f"http://127.0.0.1:{self._port}"

    @property
    def now(self) -> datetime:
        """The clock: this machine's time, in UTC, plus all that it was advanced by."""
        return datetime.now(_UTC) + self._offset

    @property
    def hooks(self) -> list[Hook]:
        """The hooks that exist now, finished ones included, in the order they were scheduled."""
        with self._changed:
            found = [dict(hook) for hook in self._project.hooks.values()]
        return [Hook.from_dict(hook) for hook in found]

    @property
    def deliveries(self) -> list[_Attempt]:
        """Every attempt that has ended, in the order they were made.

        Each has ``hook_id``, ``path``, ``data``, ``attempt`` (from 1), ``posted_at``,
        ``status_code`` (None: no answer), ``error`` (``""``: delivered) and ``seconds``.
        """
        with self._changed:
            return [attempt for attempt in self._project.attempts if attempt.seconds >= 0]

    def advance(self, duration: str | timedelta | float) -> None:
        """Move the clock, and attempt on the way whatever becomes due; return when all has ended.

        It goes from one due time to the next: a retry, or a hook that a handler schedules, is
        attempted too if it falls within ``duration``, and callback deadlines pass. With async
        hooks, advance to the delivery, wait for the callback, then go on.

        Args:
            duration: ``"1d2h30m"``, a timedelta, or seconds; zero attempts what is due now.

        Raises:
            ValueError, TypeError: for what is none of these, or negative; the clock stays.
            PosthookError: outside of the ``with`` block.
        """
        length = _parse_duration(duration) if isinstance(duration, str) else duration
        seconds = length.total_seconds() if isinstance(length, timedelta) else length
        if not isinstance(seconds, (int, float)):
            raise TypeError('duration is text such as "1d2h30m", a timedelta, or seconds')
        with self._changed:
            self._changed.wait_for(lambda: self._goal is None)  # another thread's advance()
            now = self.now
            if not 0 <= seconds <= (_CLOCK_END - now).total_seconds():
                raise ValueError("the clock only goes forward, and ends with the year 8999")
            if self._state == "running":
                step = timedelta(seconds=seconds)
                self._goal = goal = now + step, self._offset + step
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._goal is not goal)
            if self._state != "running":
                raise PosthookError(_NOT_RUNNING)

    def __enter__(self) -> LocalPosthook:
        import socket

        if self._state != "new":
            raise PosthookError("LocalPosthook is used once: make a new one")
        try:
            if not 0 <= self._port <= 65_535:  # create_server() would leave a socket open
                raise ValueError("a port is 0 to 65535")
            listener = socket.create_server(("127.0.0.1", self._port), backlog=1024)
        except (OSError, ValueError) as error:
            problem = f"cannot listen on 127.0.0.1:{self._port}: {error}"
            raise PosthookConnectionError(problem, maybe_sent=False) from error
        self._port = listener.getsockname()[1]
        self._opener: Any = build_opener(proxy="", max_connections=_PARALLEL)
        self._state = "running"
        work = [self._keep_time] + [self._make_attempts] * _PARALLEL
        self._threads = [_thread(self._accept, listener), *map(_thread, work)]
        return self

    def __exit__(self, *_exception: object) -> None:
        import socket

        with self._changed:
            self._state, self._goal = "closed", None
            self._changed.notify_all()
        with contextlib.suppress(OSError):  # a call, so that _accept() looks
            socket.create_connection(("127.0.0.1", self._port), 1.0).close()
        for _ in range(_PARALLEL):
            self._begun.put(None)
        for thread in self._threads:
            thread.join()
        self._opener.close()

    def __repr__(self) -> str:
        hooks, deliveries = len(self._project.hooks), len(self._project.attempts)
        state = f"{self._state}, port={self._port}"
        return f"LocalPosthook({state}, hooks={hooks}, deliveries={deliveries})"

    # The clock, and the thread that begins what is due.

    def _keep_time(self) -> None:
        """The one thread that moves the clock and begins attempts."""
        with self._changed:
            while self._state == "running":
                self._step()

    def _step(self) -> None:
        """Begin what is due, or take advance() to its end, or wait until there is a change."""
        due, is_retry = self._project.next()
        if self._goal is not None:
            end, offset = self._goal
            if is_retry:  # it is not missed by the time that attempts took
                end = datetime.now(_UTC) + offset
            if self._busy and due != self._moment:
                self._changed.wait()  # attempts of different due times do not overlap
                return
            if due is None or due > end:
                self._offset, self._goal = offset, None
                self._changed.notify_all()
                return
            self._offset += max(due - self.now, timedelta(0))
        if due is None or self._busy == _PARALLEL:
            self._changed.wait()
        elif due > self.now:
            self._changed.wait(min((due - self.now).total_seconds(), _LONGEST_WAIT))
        else:
            hook, self._moment = self._project.begin(self.now), due
            if hook is not None:
                self._busy += 1
                self._begun.put(hook)

    # The attempts, and the threads that make them.

    def _make_attempts(self) -> None:
        """Make one attempt after the other, and tell the project how each ended."""
        for hook in iter(self._begun.get, None):
            attempt, start = hook.attempt, time.perf_counter()
            attempt.status_code, attempt.error, wait = self._post(hook)
            seconds = round(time.perf_counter() - start, 6)
            outcome = attempt.error or attempt.status_code or "recorded"
            if outcome == 202 and not self._project.async_hooks:
                outcome = "202, and done: async hooks are off"
            line = f"delivery {_on_the_wire(hook['path'])} #{attempt.attempt}: {outcome}"
            self._tell(f"{line} ({seconds:.3f} s)")
            with self._changed:
                self._busy -= 1
                attempt.seconds = seconds
                self._project.end(hook, wait, self.now)
                self._changed.notify_all()

    def _post(self, hook: _LocalHook) -> tuple[int | None, str, float]:
        """POST a hook: status, error, and for a 202 the seconds until the callback is due."""
        try:
            if self.forward_to is None:
                return None, "", 0
            request = self._request(hook, self.forward_to)
            with self._opener.open(request, timeout=_ATTEMPT_SECONDS) as answer:
                answer.read()
                wait = _callback_seconds(answer.headers.get("Posthook-Async-Timeout"))
                error = "" if 200 <= answer.status <= 299 else f"HTTP {answer.status}"
                return answer.status, error, wait
        except PosthookTimeoutError:
            hint = "is the app running, and its event loop free?"
            return None, f"timed out after {_ATTEMPT_SECONDS:g} s: {hint}", 0
        except Exception as failure:  # whatever happens, the attempt ends
            return None, str(failure) or type(failure).__name__, 0

    def _request(self, hook: _LocalHook, base: str) -> urllib.request.Request:
        from urllib.request import Request

        if not hook["path"].startswith("/"):  # it would become a part of the host's name
            raise ValueError("the path does not begin with /")
        whole = {**hook, "postedAt": _format_time(hook.attempt.posted_at)}
        shown = ("id", "path", "postAt", "postedAt", "data", "createdAt", "updatedAt")
        body = _encode({name: whole[name] for name in shown})
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Posthook/1.0",
            **self._signatures.sign(body, hook_id=hook["id"]),
            **self._project.callback_headers(hook, self.url),
        }
        url = base.removesuffix("/") + _on_the_wire(hook["path"])
        return Request(url, body, headers, method="POST")

    # The API's calls, each connection on a thread of its own.

    def _accept(self, listener: socket.socket) -> None:
        """Give each connection a thread; at the end, cut those that are left."""
        calls: list[tuple[threading.Thread, socket.socket]] = []
        with listener:
            while self._state == "running":
                with contextlib.suppress(OSError, RuntimeError):  # no file or thread is left
                    connection, address = listener.accept()
                    calls = [call for call in calls if call[0].is_alive()]
                    calls.append((_thread(self._converse, connection, address), connection))
        for thread, connection in calls:
            with contextlib.suppress(OSError):  # it has ended by itself
                connection.shutdown(2)  # both ways
            thread.join()

    def _converse(self, connection: socket.socket, address: object) -> None:
        """Answer what comes over a connection, until it ends."""
        with connection:
            connection.settimeout(None)  # whatever socket.setdefaulttimeout() says
            try:
                _connection_class()(connection, address, self)
            except Exception:
                _log().debug("a connection to LocalPosthook was dropped", exc_info=True)

    def _answer(self, method: str, target: str, key: str, body: bytes) -> _LocalAnswer:
        """Do what an API call asks for."""
        path, _, query = target.partition("?")
        try:
            if key != self.api_key.strip() and not path.startswith(_CALLBACKS):
                raise AuthenticationError("Invalid API key")
            read, act, names = _route(f"{method} {path}")
            wanted = [read(query, body)] if read else []
            with self._changed:
                answer: _LocalAnswer = act(self._project, self.now, *names, *wanted)
                self._changed.notify_all()
        except PosthookError as error:
            answer = error.status_code or 500, {"error": error.message}, error.headers or {}
        except (ValueError, OverflowError, RecursionError) as error:  # of what came
            answer = 400, {"error": str(error)}, {}
        shown = "/".join(path.split("/")[:6])  # a callback's token comes after that
        self._tell(f"{method} {_on_the_wire(shown)} {answer[0]}")
        return answer

    def _tell(self, line: str) -> None:
        try:
            if self.observer is not None:
                self.observer(line.encode("unicode_escape").decode())
        except Exception:  # it must not end a thread that others wait for
            _log().exception("the observer of a LocalPosthook failed")


# The life of hooks, without clock, thread, lock or socket: `now` is always an argument, an aware
# datetime in UTC. Attempts are numbered through a hook's whole life, so that no number comes twice.
#
#    waiting --due--> in flight --2xx, ack-------------------------> completed --bulk replay--> new
#       ^               |   '--202, async hooks--> open --ack-------> completed
#       |               | no 2xx, nack              | nack, deadline
#       |               v                           v
#       +--retries left-+---------------------------'--none left----> failed
#       '--bulk retry---------------------------------------------------'

# The example of the service's own documentation.
_DEFAULT_RETRIES = HookRetryOverride(5, 10, STRATEGY_EXPONENTIAL, max_delay_secs=300).to_dict()
_CALLBACK_SECONDS = 300.0  # until ack or nack, unless the 202 says otherwise
_DUE = "due"  # beside what a list call sorts by: the hooks that wait for an attempt or a deadline


@dataclass(repr=False, eq=False)
class _Attempt(_Model):
    """One attempt to deliver a hook; LocalPosthook.deliveries explains the fields."""

    hook_id: str
    path: str
    data: Any
    attempt: int
    posted_at: datetime
    status_code: int | None = None
    error: str = ""
    seconds: float = -1.0  # until it has ended


class _LocalHook(dict[str, "Any"]):
    """A hook: the API's object, and as attributes what the API does not show."""

    number: str  # in the order of creation, as text that sorts
    places: dict[str, tuple[datetime, str]]  # its keys in the sorted lists of _Project
    attempt: _Attempt  # the last one begun
    begun = 0  # attempts that have begun, and the number of the last one
    tries = 0  # attempts that have ended, since a bulk retry if there was one
    result = ""  # of the last attempt: completed, nacked, failed or expired; "" until that is known
    is_open = False  # its callback is awaited: what is due next is the deadline


class _Project:
    """The hooks of one project. An operation raises a PosthookError to refuse a call."""

    def __init__(self, quota: int, async_hooks: bool) -> None:
        from random import random

        self.hooks: dict[str, _LocalHook] = {}
        self.attempts: list[_Attempt] = []  # in the order they began
        self._quota, self.async_hooks = quota, async_hooks
        self._used: dict[datetime, int] = {}  # hooks by the first of the month
        self._random, self._secret = random, os.urandom(32)
        self._count = 0  # numbers hooks
        # Sorted: moment, a text that makes the order of equal moments total, hook.
        self._rows: dict[str, list[Any]] = {SORT_BY_POST_AT: [], SORT_BY_CREATED_AT: [], _DUE: []}

    # What happens as time passes.

    def next(self) -> tuple[datetime | None, bool]:
        """When the next thing is due, None if nothing is, and whether it is another attempt."""
        for moment, _, hook in self._rows[_DUE][:1]:
            return moment, hook["status"] == STATUS_RETRY
        return None, False

    def begin(self, now: datetime) -> _LocalHook | None:
        """Take up what next() told: the hook whose attempt begins, None if it was a deadline."""
        hook: _LocalHook = self._rows[_DUE][0][2]
        self._place(hook, _DUE, None)
        if hook.is_open:
            self._settle(hook, "expired", now, "no ack or nack before the callback deadline")
            return None
        hook.begun, hook.result = hook.begun + 1, ""
        hook.attempt = _Attempt(hook["id"], hook["path"], hook["data"], hook.begun, now)
        self.attempts.append(hook.attempt)
        return hook

    def end(self, hook: _LocalHook, wait: float, now: datetime) -> None:
        """Decide how a hook goes on whose attempt has ended; ``wait``: seconds for a callback."""
        attempt = hook.attempt
        hook["postDurationSeconds"] = attempt.seconds
        if hook["id"] not in self.hooks:
            return  # deleted meanwhile: the result is dropped
        if self.async_hooks and attempt.status_code == 202 and not hook.result:
            hook.is_open = True
            hook.update(status=STATUS_PENDING, updatedAt=_format_time(now))
            self._place(hook, _DUE, now + timedelta(seconds=wait))
        else:  # a callback that was faster than the answer is what counts
            by_answer = "failed" if attempt.error else "completed"
            self._settle(hook, hook.result or by_answer, now, attempt.error)

    def _settle(self, hook: _LocalHook, result: str, now: datetime, error: str = "") -> None:
        """Count the attempt begun last as ended: the hook is done, or is tried again."""
        retries, next_try = hook.get("retryOverride", _DEFAULT_RETRIES), None
        hook.result, hook.is_open, hook.tries = result, False, hook.tries + 1
        hook.update(attempts=hook["attempts"] + 1, updatedAt=_format_time(now))
        hook.update(status=STATUS_FAILED, failureError=error or result)
        if result == "completed":
            hook.update(status=STATUS_COMPLETED, failureError="")
        elif hook.tries <= retries["minRetries"]:
            next_try = now + timedelta(seconds=_retry_seconds(retries, hook.tries, self._random()))
            hook.update(status=STATUS_RETRY, tryAt=_format_time(next_try))
        self._place(hook, _DUE, next_try)

    # The API's operations: _ROUTES gives them their paths. A ValueError, or what else comes of
    # parsing, refuses the call with 400.

    def schedule(self, now: datetime, wanted: tuple[Any, ...]) -> _LocalAnswer:
        when, *what = wanted
        headers = self._use_quota(now)
        post_at = now + when if isinstance(when, timedelta) else when
        return 201, {"data": dict(self._add(now, post_at, *what))}, headers

    def get(self, now: datetime, hook_id: str) -> _LocalAnswer:
        return 200, {"data": dict(self._find(hook_id))}, {}

    def delete(self, now: datetime, hook_id: str) -> _LocalAnswer:
        self._cancel(self._find(hook_id), now)
        return 200, {"data": {}}, {}

    def page(self, now: datetime, query: dict[str, Any]) -> _LocalAnswer:
        rows, limit, cursor = self._matching(query), _field(query, "limit"), _field(query, "cursor")
        meta: dict[str, Any] = {"totalItems": len(rows)}
        if _field(query, "sortOrder") == SORT_ORDER_DESC:
            left, end = _between(rows, None, cursor)[::-1], ""
        else:
            left, end = _between(rows, cursor, None), "~"  # sorts last: beyond that row
        if len(left) > limit:
            moment, text, _ = left[limit - 1]
            meta["cursor"] = f"{_format_time(moment)}_{text}{end}"
        return 200, {"data": [dict(hook) for _, _, hook in left[:limit]], "meta": meta}, {}

    def bulk(self, now: datetime, action: str, fields: dict[str, Any]) -> _LocalAnswer:
        act, statuses = _BULK[action]
        fit = [hook for hook in self._chosen(fields) if hook["status"] in statuses]
        hooks = fit[: _field(fields, "limit")]
        for hook in hooks:
            act(self, hook, now)
        return 200, {"data": {"affected": len(hooks)}}, {}

    def callback(
        self, now: datetime, path: str, hook_id: str, number: str, verb: str, token: str
    ) -> _LocalAnswer:
        if token != self._token(path):
            raise AuthenticationError("Invalid callback token")
        hook = self._find(hook_id)
        if int(number) != hook.begun:
            raise PosthookError("A newer attempt has started", status_code=409)
        if hook.result == "expired" or (hook.is_open and now >= hook.places[_DUE][0]):
            raise PosthookError("The callback deadline has passed", status_code=410)
        if not hook.result:
            hook.result = {"ack": "completed", "nack": "nacked"}[verb]
            if hook.is_open:  # else its answer has not come yet: end() follows
                self._settle(hook, hook.result, now)
        return 200, {"data": {"status": hook.result}}, {}

    def callback_headers(self, hook: _LocalHook, url: str) -> dict[str, str]:
        """The headers that tell an endpoint where the attempt under way is acked and nacked."""
        headers = {}
        for verb in ("Ack", "Nack") if self.async_hooks else ():
            path = f"{_CALLBACKS}{hook['id']}/{hook.begun}/{verb.lower()}"
            headers[f"Posthook-{verb}-URL"] = f"{url}{path}/{self._token(path)}"
        return headers

    # What the operations are made of.

    def _find(self, hook_id: str) -> _LocalHook:
        if hook_id not in self.hooks:
            raise NotFoundError("Hook not found")
        return self.hooks[hook_id]

    def _place(self, hook: _LocalHook, name: str, moment: datetime | None) -> None:
        """Have the hook stand at that moment in a sorted list, or no longer in it."""
        from bisect import bisect_left, insort

        rows = self._rows[name]
        if name in hook.places:
            del rows[bisect_left(rows, hook.places.pop(name))]
        if moment is not None:
            hook.places[name] = moment, hook["id"] if name == SORT_BY_POST_AT else hook.number
            insort(rows, (*hook.places[name], hook))

    def _add(
        self, now: datetime, post_at: datetime, path: str, data: Any, override: Any
    ) -> _LocalHook:
        from uuid import uuid4

        due, created = _format_time(post_at), _format_time(now)
        hook = _LocalHook(id=str(uuid4()), path=path, domain=None, data=data, postAt=due)
        hook.update(status=STATUS_PENDING, postDurationSeconds=0.0, attempts=0, failureError="")
        hook.update(tryAt=due, wasNotified=False, createdAt=created, updatedAt=created)
        if override is not None:
            hook["retryOverride"] = override
        self._count += 1
        hook.number, hook.places = f"{self._count:015}", {}
        self.hooks[hook["id"]] = hook
        self._place(hook, SORT_BY_POST_AT, post_at)
        self._place(hook, SORT_BY_CREATED_AT, now)
        self._place(hook, _DUE, post_at)
        return hook

    def _cancel(self, hook: _LocalHook, now: datetime) -> None:
        del self.hooks[hook["id"]]
        for name in list(hook.places):
            self._place(hook, name, None)

    def _retry(self, hook: _LocalHook, now: datetime) -> None:
        hook.tries = 0
        hook.update(status=STATUS_RETRY, tryAt=_format_time(now), updatedAt=_format_time(now))
        self._place(hook, _DUE, now)

    def _replay(self, hook: _LocalHook, now: datetime) -> None:
        self._add(now, now, hook["path"], hook["data"], hook.get("retryOverride"))

    def _matching(self, query: dict[str, Any]) -> list[tuple[Any, ...]]:
        """The rows that a list call's filters let through, ascending."""
        sort, status = _field(query, "sortBy"), _field(query, "status")
        (other,) = {SORT_BY_POST_AT, SORT_BY_CREATED_AT} - {sort}
        rows, also = (
            _between(self._rows[n], _field(query, n + "After"), _field(query, n + "Before"))
            for n in (sort, other)
        )
        if len(also) < len(self.hooks):
            kept = {hook.number for _, _, hook in also}
            rows = [row for row in rows if row[2].number in kept]
        return [row for row in rows if row[2]["status"] == status] if status else rows

    def _chosen(self, fields: dict[str, Any]) -> list[_LocalHook]:
        """The hooks that a bulk call names, in whatever state."""
        names = ("hookIDs", "startTime", "endTime", "limit", "endpointKey", "sequenceID")
        ids, *others = (_field(fields, name) for name in names)
        given = [value is not None for value in others]
        if not all(given[:3]) if ids is None else any(given):
            raise ValueError("pass either hookIDs, or startTime, endTime and limit")
        if ids is None:
            start, end, _, path, sequence = others
            found = [row[2] for row in _between(self._rows[SORT_BY_POST_AT], start, end)]
            # No hook here is in a sequence.
            return [hook for hook in found if path in (None, hook["path"]) and sequence is None]
        if len(ids) > 1000 or not all(type(hook_id) is str for hook_id in ids):
            raise ValueError("hookIDs must be at most 1000 strings")
        return [self.hooks[hook_id] for hook_id in dict.fromkeys(ids) if hook_id in self.hooks]

    def _use_quota(self, now: datetime) -> dict[str, str]:
        """Count one hook against its calendar month; the headers that tell so."""
        month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        allowed = self._used.get(month, 0) < self._quota
        used = self._used[month] = self._used.get(month, 0) + allowed
        facts: dict[str, object] = {"Limit": self._quota, "Usage": used}
        facts["Remaining"] = self._quota - used
        facts["Resets-At"] = _format_time((month + timedelta(days=32)).replace(day=1))
        headers = {f"Posthook-HookQuota-{name}": str(fact) for name, fact in facts.items()}
        if not allowed:
            raise RateLimitError("Rate limit exceeded", headers)
        return headers

    def _token(self, path: str) -> str:
        """What makes a callback URL unguessable: made anew to compare, so that none is kept."""
        return _hexmac(self._secret, path.encode())[:40]


_BULK: dict[str, tuple[Callable[..., object], tuple[str, ...]]] = {  # what it does, to which status
    "retry": (_Project._retry, (STATUS_FAILED,)),
    "replay": (_Project._replay, (STATUS_COMPLETED,)),
    "cancel": (_Project._cancel, (STATUS_PENDING, STATUS_RETRY)),
}


def _between(rows: list[Any], low: tuple[Any, ...] | None, high: Any) -> list[Any]:
    """The sorted rows from one key up to another; None is no bound."""
    from bisect import bisect_left

    start = bisect_left(rows, low) if low else 0
    end = bisect_left(rows, high) if high else len(rows)
    return rows[start:end] if end - start < len(rows) else rows


def _retry_seconds(retries: dict[str, Any], tries: int, random: float) -> float:
    """The delay after so many failed tries. ``random``, 0 to 1, is where jitter falls."""
    delay: float = retries["delaySecs"]
    if retries["strategy"] == STRATEGY_EXPONENTIAL:
        factor = retries.get("backoffFactor") or 2.0
        delay = min(delay * factor ** (tries - 1), retries["maxDelaySecs"])
    return delay * (1 + random / 4) if retries.get("jitter") else delay


def _callback_seconds(header: str | None) -> float:
    """Read Posthook-Async-Timeout: the service's range, its default where there is no number."""
    text = (header or "").strip()
    if not re.fullmatch(r"[+-]?[0-9]+(\.[0-9]*)?", text):
        return _CALLBACK_SECONDS
    return min(max(float(text), _ACCEPT_SECONDS[0]), _ACCEPT_SECONDS[1])


# Reading API calls.

_MAX_DATA = 65_536  # bytes of encoded data


def _read_object(query: str, body: bytes) -> dict[str, Any]:
    value = json.loads(body.decode())
    if type(value) is not dict:
        raise ValueError("the body must be a JSON object")
    return value


def _read_schedule(query: str, body: bytes) -> tuple[Any, ...]:
    """When (a timedelta: from now), the path, the data, and the retry settings."""
    fields = _read_object(query, body)
    if not _field(fields, "path"):
        raise ValueError("path is required")
    when, override = _when(fields), _field(fields, "retryOverride")
    data, deep = fields.get("data", {}), fields
    for _ in range(50):  # what could just be read must also fit into an answer
        deep = {"": deep}
    _encode(deep)
    if len(_encode(data)) > _MAX_DATA:
        raise PayloadTooLargeError("Payload exceeds 64 KB limit")
    return when, fields["path"], data, override


def _read_query(query: str, body: bytes) -> dict[str, Any]:
    from urllib.parse import parse_qsl

    pairs = parse_qsl(query.replace("+", "%2B"), keep_blank_values=True)  # an offset has a plus
    given: dict[str, Any] = {"limit": "10", "sortBy": SORT_BY_POST_AT}
    given.update((name, text) for name, text in pairs if text or name == "limit")
    if not re.fullmatch("[0-9]{1,18}", given["limit"]):
        raise ValueError("limit must be a whole number")
    return {**given, "limit": int(given["limit"])}


def _field(fields: dict[str, Any], name: str) -> Any:
    """A field, as _FIELDS has it read; None if it is null or absent."""
    kind, read, *allowed = _FIELDS[name]
    value = fields.get(name)
    if value is None:
        return None
    if type(value) is not kind and (kind, type(value)) != (float, int):
        raise ValueError(f"{name} must be of type {kind.__name__}")
    try:
        value = read(value)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{name} is invalid: {error}") from None
    is_text = isinstance(value, str)
    if allowed and not (value in allowed if is_text else allowed[0] <= value <= allowed[1]):
        word = " or " if is_text else " to "
        raise ValueError(f"{name} must be {word.join(map(str, allowed))}")
    return value


def _when(fields: dict[str, Any]) -> datetime | timedelta:
    """What the one scheduling mode says."""
    names = ("postAt", "postAtLocal", "postIn", "timezone")
    moment, local, delay, zone = (_field(fields, name) for name in names)
    if [moment, local, delay].count(None) != 2:
        raise ValueError("exactly one of postAt, postAtLocal and postIn is required")
    if (zone is None) != (local is None):
        raise ValueError("timezone belongs to postAtLocal: both or neither")
    if local is not None:
        return _from_local(local, zone)
    return moment or timedelta(seconds=delay)


def _from_local(text: str, name: str) -> datetime:
    """The instant of a local time: the first of two, or the end of the gap that it falls into."""
    from zoneinfo import ZoneInfo

    if not re.fullmatch(r"(?a)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", text):
        raise ValueError("postAtLocal must be YYYY-MM-DDTHH:MM:SS, without a zone")
    local = datetime.fromisoformat(text)
    try:
        zone = ZoneInfo(name)
    except Exception:  # KeyError, ValueError, OSError, UnicodeError: whatever the name leads to
        raise ValueError("timezone is not known here: an IANA name is needed") from None

    def wall(moment: datetime) -> datetime:
        return moment.astimezone(zone).replace(tzinfo=None)

    low, high = sorted(local.replace(tzinfo=zone, fold=fold).astimezone(_UTC) for fold in (0, 1))
    if wall(low) == local:
        return low
    while high - low > timedelta(seconds=1):  # between the two, the clock jumps over `local`
        middle = (low + (high - low) / 2).replace(microsecond=0)
        low, high = (low, middle) if wall(middle) > local else (middle, high)
    return high


def _read_override(override: dict[str, Any]) -> dict[str, Any]:
    names = ("strategy", "minRetries", "delaySecs", "maxDelaySecs", "backoffFactor", "jitter")
    values = [_field({"strategy": "missing", **override}, name) for name in names]
    needed = names[: 4 if values[0] == STRATEGY_EXPONENTIAL else 3]
    if None in values[: len(needed)]:
        raise ValueError(f"it needs {', '.join(needed)}")
    return override


def _read_cursor(text: str) -> tuple[datetime, str]:
    moment, _, rest = text.partition("_")
    return _parse_time(moment), rest


# Keys that stand in a sorted list before, or after, all rows of one moment.
_BEFORE = (str, lambda text: (_parse_time(text), ""))
_AFTER = (str, lambda text: (_parse_time(text), "~"))
# What a field is in JSON, what reads it, and then its choices, or the least and the most.
_FIELDS: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("path", "postAtLocal", "timezone", "endpointKey", "sequenceID"), (str, str)),
    "postAt": (str, lambda text: _parse_time(text).astimezone(_UTC)),
    "postIn": (str, _parse_duration, 1, 31_536_000),
    "retryOverride": (dict, _read_override),
    "strategy": (str, str, STRATEGY_FIXED, STRATEGY_EXPONENTIAL),
    "minRetries": (int, int, 1, 15),
    "delaySecs": (int, int, 5, 60),
    "maxDelaySecs": (int, int, 60, 3600),
    "backoffFactor": (float, float, 1.1, 4.0),
    "jitter": (bool, bool),
    "hookIDs": (list, list),
    "limit": (int, int, 1, 1000),
    "status": (str, str, STATUS_PENDING, STATUS_RETRY, STATUS_COMPLETED, STATUS_FAILED),
    "sortBy": (str, str, SORT_BY_POST_AT, SORT_BY_CREATED_AT),
    "sortOrder": (str, str.upper, SORT_ORDER_ASC, SORT_ORDER_DESC),
    "cursor": (str, _read_cursor),
    **dict.fromkeys(("startTime", "endTime", "postAtBefore", "createdAtBefore"), _BEFORE),
    **dict.fromkeys(("postAtAfter", "createdAtAfter"), _AFTER),
}

_ROUTES: tuple[tuple[str, Any, Callable[..., _LocalAnswer]], ...] = (
    ("POST /v1/hooks", _read_schedule, _Project.schedule),
    ("GET /v1/hooks", _read_query, _Project.page),
    ("GET /v1/hooks/([^/]+)", None, _Project.get),
    ("DELETE /v1/hooks/([^/]+)", None, _Project.delete),
    ("POST /v1/hooks/bulk/(retry|replay|cancel)", _read_object, _Project.bulk),
    (f"POST ({_CALLBACKS}([^/]+)/([0-9]+)/(ack|nack))/(.*)", None, _Project.callback),
)


def _route(call: str) -> tuple[Any, Callable[..., _LocalAnswer], tuple[str, ...]]:
    """How to read a call, what does it, and the names in its path."""
    for pattern, read, act in _ROUTES:
        match = re.fullmatch(pattern, call)
        if match:
            return read, act, match.groups()
    raise NotFoundError("Not found")


def _encode(value: Any) -> bytes:
    """The value as JSON. NaN and what is too large for a float, read as infinity: ValueError."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode(errors="backslashreplace")  # which makes half a surrogate pair JSON's escape


def _on_the_wire(text: str) -> str:
    """The text in visible ASCII: percent-encoded where it is not, unchanged where it is."""
    from urllib.parse import quote

    return quote(text, safe="".join(map(chr, range(33, 127))), errors="replace")


def _thread(target: Callable[..., object], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, name="LocalPosthook", daemon=True)
    thread.start()
    return thread


_MAX_BODY = 16 * 1_048_576  # bytes that are read to keep the connection, whatever they are


@functools.lru_cache(None)
def _connection_class() -> Any:
    """What answers the calls of one connection; http.server takes its time to be imported."""
    from http.server import BaseHTTPRequestHandler

    class Connection(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        server: Any  # the LocalPosthook

        def do_GET(self) -> None:
            length, *more = self.headers.get_all("Content-Length", ["0"])
            odd = more or "Transfer-Encoding" in self.headers
            if odd or not re.fullmatch("[0-9]{1,18} *", length):
                self.send_error(400, "one Content-Length is required")
            elif int(length) > _MAX_BODY:
                self.send_error(413, "Payload exceeds 64 KB limit")
            else:
                body = self.rfile.read(int(length))
                self.close_connection |= self.request_version == "HTTP/1.0"
                if len(body) == int(length):  # else the client is gone, and next is the end
                    key = self.headers.get("X-API-Key", "").strip()
                    self.reply(*self.server._answer(self.command, self.path, key, body))

        do_POST = do_DELETE = do_PUT = do_PATCH = do_HEAD = do_OPTIONS = do_GET

        def send_error(self, code: int, message: str | None = None, explain: object = None) -> None:
            self.close_connection = True  # its body, if any, was not read
            self.reply(code, {"error": message or "the request is invalid"}, {})

        def reply(self, status: int, payload: object, headers: Mapping[str, str]) -> None:
            body = json.dumps(payload).encode()
            fields = {"Content-Type": "application/json", "Content-Length": len(body), **headers}
            if self.close_connection:
                fields["Connection"] = "close"
            lines = [f"HTTP/1.1 {status} {self.responses[status][0]}"]
            lines += [f"{name}: {value}" for name, value in fields.items()]
            head = "\r\n".join([*lines, "", ""]).encode()
            self.wfile.write(head if self.command == "HEAD" else head + body)  # in one piece

    return Connection


# ==================================================================================================
# 11. The command line. Uses everything public, and nothing private of the sections above.
# ==================================================================================================

if TYPE_CHECKING:
    import argparse
    from typing import NoReturn, TextIO

__all__ += ["main"]


def main(argv: list[str] | None = None) -> int:
    """Run one command of the command line and return its exit status.

    Results go to stdout, one JSON object a line, messages to stderr; no secret is among these.

    Args:
        argv: the arguments; None takes the process's, and its Ctrl-C.

    Returns:
        0: done. 1: it could not be done. 2: the command line is wrong, and nothing was sent.
        130: Ctrl-C. 141: nobody reads stdout any more.
    """
    import signal

    if argv is None:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        if sys.stdout is None:
            raise OSError("stdout is closed")
        status = _run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except SystemExit:  # --help or --version: it is printed
        status = 0
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:
        status = 141
    except (PosthookError, OSError, RuntimeError) as error:  # RuntimeError: no thread, too deep
        status = _complain(error)
    except (ValueError, TypeError) as error:  # an argument that cannot work
        status = _complain(error, 2)
    if argv is None:  # what is left is the end of the process
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    for stream in filter(None, (sys.stdout, sys.stderr)):
        _settle(stream)
    return status


def _interrupt(number: int, _frame: object) -> None:
    """The first Ctrl-C ends a call in good order; a second one, which would disturb that, kills."""
    import signal

    signal.signal(number, signal.SIG_DFL)
    raise KeyboardInterrupt


def _run(argv: list[str]) -> int:
    # Under an ASCII locale, what is not ASCII stands in argv as escaped bytes.
    argv = [text.encode("utf-8", "surrogateescape").decode() for text in argv]
    parser = _parser()
    options = vars(parser.parse_args(argv))
    command = options.pop("command")
    if command is None:
        parser.print_help(sys.stderr)
        return 2
    # Before a call, not in it: a Ctrl-C that meets an import can be swallowed by it.
    with contextlib.suppress(ImportError):  # there may be no ssl
        import socket  # noqa: F401
        import ssl  # noqa: F401

    try:
        return _COMMANDS[command][0](**options) or 0
    except PosthookConnectionError as error:
        if error.maybe_sent and command in ("schedule", "retry", "replay", "cancel"):
            raise PosthookError(f"{error}; it may be done all the same: see list") from error
        raise


def _complain(message: object, status: int = 1) -> int:
    """Print a message to stderr, in one line, without the environment's keys; the status."""
    text = str(message)
    api, signing = (os.environ.get(f"POSTHOOK_{which}_KEY", "") for which in ("API", "SIGNING"))
    for key in sorted([api.strip(), *re.split(r"[\s,]+", signing)], key=len, reverse=True):
        if len(key) >= 4:  # a shorter one is no secret, and part of words
            text = text.replace(key, "...")
    line = "".join(c if c.isprintable() else "?" for c in " ".join(text[:1000].split()))
    if sys.stderr is not None:
        with contextlib.suppress(OSError):  # there is nobody to tell
            print(f"posthook: {line}", file=sys.stderr)
    return status


def _settle(stream: TextIO) -> None:
    """Leave nothing unwritten in a stream that cannot be written: it would fail again at exit."""
    try:
        stream.flush()
    except OSError:
        with contextlib.suppress(OSError):
            stream.close()


# The commands. Each takes its arguments, those that were given, by the names of the API's
# parameters, and returns its exit status, or None for 0. What it prints is ASCII, whatever the
# terminal knows: json.dumps escapes.


def _do_schedule(**options: Any) -> None:
    with Posthook() as client:
        hook = client.hooks.schedule(**options)
    try:
        print(json.dumps(hook.raw), flush=True)
    except OSError as error:  # of its own kind: nobody complains of a closed pipe
        raise type(error)(f"hook {hook.id} is scheduled, but not printed: {error}") from error


def _do_get(id: list[str]) -> int:
    with Posthook() as client:
        return max(_print_hook(client, hook_id) for hook_id in id)


def _print_hook(client: Posthook, hook_id: str) -> int:
    try:
        print(json.dumps(client.hooks.get(hook_id).raw))
    except (NotFoundError, ValueError) as error:  # the others are printed all the same
        return _complain(f"{hook_id}: {error}")
    return 0


def _do_list(all: bool = False, **options: Any) -> None:
    if all:  # the largest pages, unless told otherwise: each costs a round trip
        options["page_size"] = options.pop("limit", 1000)
    with Posthook() as client:
        ask: Callable[..., Iterable[Hook]] = client.hooks.list_all if all else client.hooks.list
        for hook in ask(**options):
            print(json.dumps(hook.raw))


def _do_delete(id: list[str]) -> None:
    with Posthook() as client:
        for hook_id in id:
            client.hooks.delete(hook_id)
            print(json.dumps({"id": hook_id, "deleted": True}))


def _do_bulk(action: str, ids: Iterable[str] = (), **span: Any) -> None:
    if bool(ids) == bool(span) or (span and not {"start_time", "end_time", "limit"} <= span.keys()):
        raise ValueError("pass either ids, or all of --from, --to and --limit")
    with Posthook() as client:
        bulk = client.hooks.bulk
        result = getattr(bulk, action)(ids) if ids else getattr(bulk, f"{action}_by_filter")(**span)
    print(json.dumps({"affected": result.affected}))


def _do_callback(send: Callable[..., CallbackResult], url: str, body: object = None) -> int:
    result = send(url, body)
    print(json.dumps({"status": result.status, "applied": result.applied}))
    return 0 if result.applied else 1


def _do_deliver(url: str, **options: Any) -> int:
    from urllib.request import Request
    from uuid import uuid4

    hook_id, now = str(uuid4()), f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%S.%fZ}"
    payload = {"id": hook_id, "path": Request(url).selector or "/", "data": {}, **options}
    payload.update(dict.fromkeys(("postAt", "postedAt", "createdAt", "updatedAt"), now))
    body = json.dumps(payload, allow_nan=False).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "Posthook/1.0"}
    headers.update(create_signatures().sign(body, hook_id=hook_id))
    with contextlib.closing(build_opener()) as opener:
        answer = opener.open(Request(url, body, headers), timeout=10)  # seconds, as the service
    text = answer.read().decode("utf-8", "replace")
    print(json.dumps({"id": hook_id, "status": answer.status, "body": text}))
    return 0 if 200 <= answer.status <= 299 else 1


def _do_local(**options: Any) -> int:
    import signal
    from queue import Empty, SimpleQueue

    # Lines and signals go through one queue: in order, and printed by this thread, which learns
    # that way that nobody reads them any more.
    events: SimpleQueue[str | int] = SimpleQueue()

    def stop(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second one does not wait for anything
        events.put(128 + number)

    server = LocalPosthook(**options)
    server.observer = events.put
    with contextlib.ExitStack() as stack:
        for number in (signal.SIGINT, signal.SIGTERM):
            stack.callback(signal.signal, number, signal.signal(number, stop))
        stack.enter_context(server)
        print(f"export POSTHOOK_BASE_URL={server.url}")
        print(f"export POSTHOOK_API_KEY={server.api_key}")
        print(f"export POSTHOOK_SIGNING_KEY={server.signing_key}", flush=True)
        while True:
            # Not for ever: a signal that comes just before the wait does not end it, nor does any
            # on Windows.
            with contextlib.suppress(Empty):
                event = events.get(timeout=0.5)
                if isinstance(event, int):
                    return event
                print(f"# {datetime.now():%H:%M:%S} {event}", flush=True)  # for a shell: a comment


# The demo. The calls that it prints are those that it makes.


def _do_demo() -> None:
    from http.server import BaseHTTPRequestHandler
    from socketserver import TCPServer
    from types import SimpleNamespace

    # Whatever a call is made on; `news` is what other threads have to tell.
    stage = SimpleNamespace(posthook=sys.modules[__name__], news=[])
    stage.signatures = create_signatures("ph_sk_demo")
    answers = [202, 500, 200, 200]

    class App(BaseHTTPRequestHandler):
        """What a user writes: verify, then work, or have it done and say so later."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            delivery = stage.signatures.parse_delivery(body, self.headers)
            stage.received, status = (delivery, self.headers), answers.pop(0)
            what = f"{delivery.posted_at:%Y-%m-%d %H:%M:%S} UTC: {delivery.path} {delivery.data}"
            stage.news.append(f"{what} is verified, the app says {status}")
            self.send_response_only(status)  # which logs nothing
            self.end_headers()

    with contextlib.ExitStack() as stack:
        app = stack.enter_context(TCPServer(("127.0.0.1", 0), App))
        threading.Thread(target=app.serve_forever, args=(0.01,), daemon=True).start()
        stack.callback(app.shutdown)
        url = f"http://127.0.0.1:{app.server_address[1]}"
        stage.server = LocalPosthook(url, signing_key="ph_sk_demo", async_hooks=True)
        stage.server.observer = stage.news.append
        server = stack.enter_context(stage.server)
        stage.client = stack.enter_context(Posthook(server.api_key, base_url=server.url))
        print(f"A Posthook runs at {server.url}, and delivers to an app at {url}.")
        print("Nothing leaves this machine, and its clock can be moved.")
        _tell_story(stage, functools.partial(_do_aloud, stage))


def _tell_story(stage: Any, do: Callable[..., None]) -> None:
    days = [datetime.now(timezone.utc) + timedelta(days=n) for n in (1, 2)]
    tomorrow, later = (f"{day:%Y-%m-%d}" for day in days)

    print("\nSchedule webhooks: in a while, at a time, at a local time.\n")
    do("client.hooks.schedule", "/import", post_in="1h", data={"rows": 3})
    do("client.hooks.schedule", "/report", post_at=f"{tomorrow}T09:00:00Z", data={"user": "ada"})
    do("client.hooks.schedule", "/lunch", post_at_local=f"{later}T12:30:00", timezone="Asia/Tokyo")

    print("\nAn hour later the first is due. It comes signed; the app says 202: not done yet.\n")
    do("server.advance", "1h")
    delivery, headers = stage.received
    print(f"    Posthook-Signature: {headers['Posthook-Signature']}")

    print("\nWhat somebody has changed on the way does not get in.\n")
    forged, shown = delivery.body.replace(b"3", b"4"), "delivery.body.replace(b'3', b'4'), headers"
    do("signatures.parse_delivery", forged, headers, shown=shown)

    print("\nWhen the work is done, the app says so.\n")
    do("posthook.ack", delivery.ack_url, shown="delivery.ack_url")
    do("client.hooks.get", delivery.hook_id)

    print("\nThe next days. The app fails once, and gets the report again ten seconds later.\n")
    do("server.advance", "3d")
    do("client.hooks.list", status="completed")

    print("\nNext: `python3 posthook.py local --forward http://127.0.0.1:8000` does this for your")
    print("own app, and `python3 posthook.py --help` lists the other commands.")


def _do_aloud(stage: Any, name: str, *args: Any, shown: str = "", **options: Any) -> None:
    """Make a call, print it as a line of Python, and below it what happens and what it gives."""
    given = [*map(repr, args), *(f"{key}={value!r}" for key, value in options.items())]
    print(f">>> {name}({shown or ', '.join(given)})")
    try:
        result = functools.reduce(getattr, name.split("."), stage)(*args, **options)
    except PosthookError as error:  # such as a local time, on a machine without time zones
        result = f"{type(error).__name__}: {error}"
    for line in [*stage.news, *(result if isinstance(result, Page) else [result])]:
        if isinstance(line, Hook):
            line = f"hook {line.id}: {line.status}, due {line.post_at:%Y-%m-%d %H:%M:%S} UTC"
        if line is not None:
            print(f"    {line}")
    stage.news.clear()


def _input(text: str) -> str:
    """An argument's text: itself, or what ``@FILE`` or ``-`` (stdin) holds."""
    from argparse import ArgumentTypeError

    most = 16 * 1_048_576  # bytes; the service takes 64 KB, and a device or pipe never ends
    try:
        if text == "-" and sys.stdin is not None:
            return sys.stdin.buffer.read(most).decode().strip()
        if text.startswith("@"):
            with open(text[1:], "rb") as file:
                return file.read(most).decode().strip()
    except ValueError:
        raise ArgumentTypeError(f"{text} is not in UTF-8") from None
    return text


def _json_argument(text: str) -> Any:
    from argparse import ArgumentTypeError

    try:
        return json.loads(_input(text), parse_constant=_reject)
    except (ValueError, RecursionError) as error:  # quoted so that _reject lets it through
        raise ArgumentTypeError(f"no JSON: {error}".replace("'", '"')) from None


def _override_argument(text: str) -> HookRetryOverride:
    from argparse import ArgumentTypeError

    value = _json_argument(text)
    known = HookRetryOverride(3, 10, STRATEGY_FIXED, 2.0, 60, jitter=True).to_dict()
    if not isinstance(value, dict) or not value.keys() <= known.keys():
        raise ArgumentTypeError(f"pass a JSON object of {', '.join(known)}")
    return HookRetryOverride.from_dict(value)


# The tables: what argparse is told about each argument; and what runs a command, its summary, its
# arguments (of "a|b" exactly one is given), and an example of them.


def _option(metavar: str, help: str, type: Callable[[str], Any] = str, **more: str) -> Any:
    return {"metavar": metavar, "help": help, "type": type, **more}


_ARGUMENTS: dict[str, dict[str, Any]] = {
    "path": _option("PATH", "where it is delivered, under the project's domain"),
    "id": _option("ID", "ids of hooks", nargs="+"),
    "ids": _option("ID", "ids of hooks, at most 1000", nargs="*"),
    "url": _option("URL", "an http or https URL; @FILE reads a file, - reads stdin", _input),
    "--in": _option("DURATION", "from now: 90s, 5m, 1d2h30m", dest="post_in"),
    "--at": _option("TIME", "such as 2030-03-01T09:00:00Z", dest="post_at"),
    "--at-local": _option("TIME", "such as 2030-03-01T09:00:00", dest="post_at_local"),
    "--timezone": _option("ZONE", "of --at-local, such as America/New_York"),
    "--data": _option("JSON", "the payload; @FILE reads a file, - reads stdin", _json_argument),
    "--retry-override": _option(
        "JSON", '{"minRetries": 3, "delaySecs": 10, "strategy": "fixed"}', _override_argument
    ),
    "--body": _option("JSON", "what Posthook is told; @FILE, - as for the URL", _json_argument),
    "--status": _option("STATUS", "only those pending, in retry, completed or failed"),
    "--limit": _option("N", "hooks at most, 1 to 1000", int),
    "--all": {"action": "store_true", "help": "every hook; --limit is the size of a page"},
    "--from": _option("TIME", "hooks due from then on", dest="start_time"),
    "--to": _option("TIME", "and before this", dest="end_time"),
    "--endpoint-key": _option("PATH", "only those of this path"),
    "--sequence-id": _option("ID", "only those of this sequence"),
    "--port": _option("N", "of 127.0.0.1; a free one if not given", int),
    "--forward": _option("URL", "where hooks are delivered, path appended", dest="forward_to"),
    "--async-hooks": {"action": "store_true", "help": "send ack URLs, and wait after a 202"},
}
_LOCAL = "--port --forward --async-hooks"
_PLAN = "path --in|--at|--at-local --timezone --data --retry-override"
_REMIND = """/remind --in 5m --data '{"user": 1}'"""
_ID = "e5405623-2c1c-460e-9737-c884f7f59035"
_SOME = "ids --from --to --limit --endpoint-key --sequence-id"
_SPAN = "--from 2030-02-01T00:00:00Z --to 2030-02-02T00:00:00Z --limit 500"
_CALLBACK = ("url --body", '"$URL"')
_COMMANDS: dict[str, tuple[Callable[..., int | None], str, str, str]] = {
    "demo": (_do_demo, "see everything at work, without account or network", "", ""),
    "local": (_do_local, "run a Posthook on this machine", _LOCAL, "--port 4100"),
    "schedule": (_do_schedule, "schedule a hook", _PLAN, _REMIND),
    "get": (_do_get, "show hooks", "id", _ID),
    "list": (_do_list, "show a page of hooks, or all", "--status --limit --all", "--all"),
    "delete": (_do_delete, "cancel a waiting hook, forget a finished one", "id", _ID),
    "retry": (functools.partial(_do_bulk, "retry"), "deliver failed hooks again", _SOME, _SPAN),
    "replay": (functools.partial(_do_bulk, "replay"), "deliver completed hooks anew", _SOME, _SPAN),
    "cancel": (functools.partial(_do_bulk, "cancel"), "cancel waiting hooks", _SOME, _SPAN),
    "ack": (functools.partial(_do_callback, ack), "report that an async hook is done", *_CALLBACK),
    "nack": (functools.partial(_do_callback, nack), "report that it has failed", *_CALLBACK),
    "deliver": (_do_deliver, "send one signed delivery", "url --data", "http://127.0.0.1:8000/a"),
}


def _parser() -> argparse.ArgumentParser:
    import argparse

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            _reject(message)

        def _print_message(self, message: str, file: Any = None) -> None:
            print(message, end="", file=file, flush=True)  # argparse's own hides a full disk

    program = "python posthook.py"
    shape: dict[str, Any] = {
        "formatter_class": lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=100),
        "allow_abbrev": False,
        "argument_default": argparse.SUPPRESS,  # what is not given is not passed on
    }
    keys = "Keys and URL come from POSTHOOK_API_KEY, POSTHOOK_SIGNING_KEY and POSTHOOK_BASE_URL."
    parser = Parser(program, epilog=keys, **shape)
    parser.add_argument("--version", action="version", version=__version__)
    table = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for name, (_, summary, arguments, example) in _COMMANDS.items():
        shape["epilog"] = f"example: {program} {name} {example}".rstrip()
        command = table.add_parser(name, help=summary, description=summary, **shape)
        for alternatives in arguments.split():
            group: Any = command
            if "|" in alternatives:
                group = command.add_mutually_exclusive_group(required=True)
            for argument in alternatives.split("|"):
                group.add_argument(argument, **_ARGUMENTS[argument])
    return parser


def _reject(message: str) -> NoReturn:
    """Refuse the command line, as argparse does, but repeat no value: it may be a secret."""
    refusal, unknown, arguments = message.partition("unrecognized arguments: ")
    options = re.findall(r"(?<!\S)--?[a-z-]+", arguments)
    raise ValueError(re.sub(r":? '.*", "", refusal) + unknown + " ".join(options))


if __name__ == "__main__":
    sys.exit(main())

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
``POSTHOOK_API_KEY``, ``POSTHOOK_SIGNING_KEY`` (several keys may be separated by commas or white
space), ``POSTHOOK_BASE_URL``; ``http_proxy``, ``https_proxy`` and ``no_proxy`` as urllib reads them.
"""

# ==================================================================================================
# 1. Imports and names. Cheap ones only: whatever is heavy is imported by the object that needs it.
# ==================================================================================================

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import re
import reprlib
import sys
import time
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta, timezone
from functools import partial

TYPE_CHECKING = False  # type checkers take it for true; `typing` itself need not be imported
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, MutableMapping
    from typing import Any, Protocol, Union

    from _typeshed.wsgi import StartResponse, WSGIApplication

    class _HasItems(Protocol):
        def items(self) -> Iterable[tuple[object, object]]: ...

    _DeliveryHeaders = Union[
        _HasItems, Iterable[Union[tuple[object, object], list[str], list[bytes]]]
    ]
    _HandlerFunction = Callable[
        ["Delivery"], Union["Result", None, Awaitable[Union["Result", None]]]
    ]
    _Answer = tuple[int, Mapping[str, str], str]  # status, headers, body
    _Message = MutableMapping[str, Any]
    _Receive = Callable[[], Awaitable[_Message]]
    _Send = Callable[[_Message], Awaitable[None]]
    _AsgiApp = Callable[[_Message, _Receive, _Send], Coroutine[Any, Any, None]]
    _LambdaHandler = Callable[[dict[str, Any], object], dict[str, Any]]

__version__ = "1.0.0"

__all__ = [
    # clients
    "Posthook",
    "AsyncPosthook",
    "build_opener",
    # models
    "Hook",
    "HookRetryOverride",
    "HookSequenceData",
    "QuotaInfo",
    "BulkActionResult",
    "CallbackResult",
    "Delivery",
    "Page",
    "Result",
    # callbacks
    "ack",
    "nack",
    "async_ack",
    "async_nack",
    # receiving
    "SignaturesService",
    "create_signatures",
    # constants
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
    # errors
    "PosthookError",
    "BadRequestError",
    "AuthenticationError",
    "ForbiddenError",
    "NotFoundError",
    "PayloadTooLargeError",
    "RateLimitError",
    "InternalServerError",
    "PosthookConnectionError",
    "PosthookTimeoutError",
    "CallbackError",
    "SignatureVerificationError",
    "__version__",
]

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

_log = logging.getLogger("posthook")  # this name also where the file is vendored under another

_UTC = timezone.utc


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

    def __missing__(self, name: str) -> str:
        wanted = name.lower()
        for key, value in self.items():
            if key.lower() == wanted:
                return value
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def get(self, name: str, default: Any = None) -> Any:  # dict.get does not ask __missing__
        try:
            return self[name]
        except KeyError:
            return default


class PosthookError(Exception):
    """Base of every error that this module raises, wrong arguments aside.

    Attributes:
        message: what happened; the same as ``str(error)``. For an HTTP error, the server's text.
        status_code: the HTTP status, or None where there was no answer.
        code: a word for programs, such as ``"not_found"``; made from the status.
        headers: the answer's headers, looked up in any case, or None.
        body: the text of the answer's body (HTTP errors), or None.
        retry_after: seconds that the server asked to wait (``Retry-After``), or None.
    """

    _status: int | None = None
    _code = ""

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        code: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.message: str = str(message) or type(self).__name__
        super().__init__(self.message)
        self.status_code: int | None = self._status if status_code is None else status_code
        self.code: str = code or self._code
        self.headers: Mapping[str, str] | None = None if headers is None else _Headers(headers)
        self.body: str | None = None
        self.retry_after: float | None = None

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"{name}(message={self.message!r}, status_code={self.status_code})"


class _StatusError(PosthookError):
    """Base of the errors that stand for one HTTP status."""

    def __init__(self, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message, headers=headers)


class BadRequestError(_StatusError):
    """HTTP 400: a field is missing or wrong; the message says which."""

    _status, _code = 400, "bad_request"


class AuthenticationError(_StatusError):
    """HTTP 401: the API key is wrong or revoked; also raised when there is no key at all."""

    _status, _code = 401, "authentication_error"


class ForbiddenError(_StatusError):
    """HTTP 403: the project's plan does not allow this call."""

    _status, _code = 403, "forbidden"


class NotFoundError(_StatusError):
    """HTTP 404: no such hook in the API key's project."""

    _status, _code = 404, "not_found"


class PayloadTooLargeError(_StatusError):
    """HTTP 413: ``data`` is larger than the service takes (64 KB)."""

    _status, _code = 413, "payload_too_large"


class RateLimitError(_StatusError):
    """HTTP 429: the month's hooks are used up, so trying again soon is of no use.

    Attributes:
        quota: the quota as the answer's headers tell it, or None.
    """

    _status, _code = 429, "rate_limit_exceeded"

    def __init__(self, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message, headers)
        self.quota: QuotaInfo | None = None


class InternalServerError(PosthookError):
    """HTTP 5xx: the service failed; ``status_code`` tells how."""

    _code = "internal_error"

    def __init__(
        self, message: str, status_code: int = 500, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message, status_code=status_code, headers=headers)


class PosthookConnectionError(PosthookError):
    """No whole answer came: the network, DNS, TLS or a proxy failed.

    Attributes:
        maybe_sent: False if no byte of the request was written, so that the server cannot have
            seen it; True if it may have. After a failed ``schedule`` with True, look for the hook
            with ``list(created_at_after=...)`` before scheduling again.
    """

    _code = "connection_error"

    def __init__(self, message: str, *, maybe_sent: bool = True) -> None:
        super().__init__(message)
        self.maybe_sent: bool = maybe_sent


class PosthookTimeoutError(PosthookConnectionError, TimeoutError):
    """The call's deadline (``timeout``) passed before its answer was whole."""


class CallbackError(PosthookError):
    """An ``ack`` or ``nack`` was refused: a bad token (401), one expired (410), or a server fault."""

    _code = "callback_error"

    def __init__(self, message: str, status_code: int | None = None) -> None:
        super().__init__(message, status_code=status_code)


class SignatureVerificationError(PosthookError):
    """A delivery that must not be trusted, for whatever cause.

    Attributes:
        reason: ``no_key``, ``missing_header``, ``bad_timestamp``, ``too_old``, ``in_future``,
            ``mismatch`` or ``bad_payload``.
    """

    _code = "signature_verification_error"

    def __init__(self, message: str, *, reason: str = "mismatch") -> None:
        super().__init__(message)
        self.reason: str = reason


_STATUS_ERRORS: dict[int, type[_StatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: ForbiddenError,
    404: NotFoundError,
    413: PayloadTooLargeError,
    429: RateLimitError,
}


def _status_error(
    status: int, message: str, headers: Mapping[str, str] | None = None
) -> PosthookError:
    """The error for an HTTP status that is not 2xx."""
    if status in _STATUS_ERRORS:
        return _STATUS_ERRORS[status](message, headers)
    if 500 <= status <= 599:
        return InternalServerError(message, status, headers)
    return PosthookError(message, status_code=status, code="unknown_error", headers=headers)


# ==================================================================================================
# 3. Models. They may raise errors; they never touch the clock or a socket.
#
#    What the server sends is read leniently: a field that is missing, null or of the wrong type
#    takes its default, a field that is not known stays in ``Hook.raw``. Nothing here raises for it.
# ==================================================================================================

_NO_TIME = datetime.min.replace(tzinfo=_UTC)  # stands for a time that is absent or unreadable


_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 100  # characters; a datetime is shown whole


class _Model:
    """Base of the dataclasses: a repr that stays short whatever a server put into a field."""

    def __repr__(self) -> str:
        shown = (
            f"{f.name}={_repr.repr(getattr(self, f.name))}"
            for f in fields(self)  # type: ignore[arg-type]
            if f.repr
        )
        return f"{type(self).__name__}({', '.join(shown)})"


@dataclass(frozen=True, repr=False)
class QuotaInfo(_Model):
    """The month's quota of hooks, from the headers of the answer to ``schedule``.

    Attributes:
        limit: hooks that may be scheduled in the calendar month.
        usage: hooks scheduled in it so far, this one included.
        remaining: hooks left.
        resets_at: when a new month begins, or None if the server did not say so readably.
    """

    limit: int
    usage: int
    remaining: int
    resets_at: datetime | None


@dataclass(frozen=True, repr=False)
class HookRetryOverride(_Model):
    """How often and how soon one hook's delivery is retried, instead of the project's settings.

    The ranges are the service's; it answers 400 outside of them.

    Attributes:
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
        most = data.get("maxDelaySecs")
        return cls(
            min_retries=_whole(data.get("minRetries")),
            delay_secs=_whole(data.get("delaySecs")),
            strategy=_text(data.get("strategy")),
            backoff_factor=_number(data.get("backoffFactor"), None),
            max_delay_secs=most if type(most) is int else None,
            jitter=data.get("jitter") is True,
        )

    def to_dict(self) -> dict[str, Any]:
        """The API's object, without what was not given."""
        optional = {
            "backoffFactor": self.backoff_factor,
            "maxDelaySecs": self.max_delay_secs,
            "jitter": self.jitter or None,
        }
        return {
            "minRetries": self.min_retries,
            "delaySecs": self.delay_secs,
            "strategy": self.strategy,
            **{name: value for name, value in optional.items() if value is not None},
        }


@dataclass(frozen=True, repr=False)
class HookSequenceData(_Model):
    """Where a hook stands in a sequence.

    Attributes:
        sequence_id: the sequence's id.
        step_name: the step that this hook runs.
        sequence_last_run_at: when the sequence ran last, as the server's text (RFC 3339).
    """

    sequence_id: str
    step_name: str
    sequence_last_run_at: str

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> HookSequenceData:
        """Read the API's object; what is missing or no text becomes ``""``."""
        return cls(
            sequence_id=_text(data.get("sequenceID")),
            step_name=_text(data.get("stepName")),
            sequence_last_run_at=_text(data.get("sequenceLastRunAt")),
        )


@dataclass(repr=False)
class Hook(_Model):
    """A scheduled webhook.

    Times are aware datetimes; one that is absent or unreadable is ``datetime.min`` in UTC.

    Attributes:
        id: the hook's id, also the idempotency key of its deliveries.
        path: the path under the project's domain that it is delivered to.
        data: the payload, any JSON value.
        post_at: when it is due.
        status: ``STATUS_PENDING``, ``STATUS_RETRY``, ``STATUS_COMPLETED`` or ``STATUS_FAILED``.
        post_duration_seconds: seconds that the last delivery took; 0.0 before the first.
        created_at, updated_at: when it was scheduled, and last changed.
        domain: the domain that it is delivered to, or None if the server did not say.
        attempts: deliveries attempted so far.
        failure_error: why the last attempt failed, or ``""``.
        sequence_data: its place in a sequence, or None.
        retry_override: its own retry settings, or None for the project's.
        quota: the quota after ``schedule``; None on every other call.
        raw: the object as the server sent it, with every field this class does not name.
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
        get = data.get
        domain, sequence, override = get("domain"), get("sequenceData"), get("retryOverride")
        return cls(
            _text(get("id")),
            _text(get("path")),
            get("data"),
            _time(get("postAt")),
            _text(get("status")),
            _number(get("postDurationSeconds"), 0.0),
            _time(get("createdAt")),
            _time(get("updatedAt")),
            domain if type(domain) is str else None,
            _whole(get("attempts")),
            _text(get("failureError")),
            HookSequenceData.from_dict(sequence) if _is_filled(sequence) else None,
            HookRetryOverride.from_dict(override) if _is_filled(override) else None,
            None,
            data,
        )


class Page(list["Hook"]):
    """One page of hooks: a list with what the server said about the rest.

    Attributes:
        cursor: pass it to ``list(cursor=...)`` for the next page; None on the last one, or from a
            server that has no cursors.
        total_items: how many hooks match in all, or None if the server did not say.
    """

    def __init__(
        self,
        hooks: Iterable[Hook] = (),
        *,
        cursor: str | None = None,
        total_items: int | None = None,
    ) -> None:
        super().__init__(hooks)
        self.cursor: str | None = cursor
        self.total_items: int | None = total_items


@dataclass(frozen=True, repr=False)
class BulkActionResult(_Model):
    """What a bulk call did.

    Attributes:
        affected: hooks acted on; those that are unknown or in the wrong state are not counted.
    """

    affected: int

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> BulkActionResult:
        """Read the API's object; a missing or badly typed count is 0."""
        return cls(affected=_whole(data.get("affected")))


@dataclass(frozen=True, repr=False)
class CallbackResult(_Model):
    """What an ``ack`` or ``nack`` did.

    Attributes:
        applied: True if the hook is now as asked; a repeated callback says True again.
        status: the hook's status: ``completed``, ``nacked``, ``failed``, ``not_found`` (the hook
            was deleted), ``conflict`` (a newer attempt has started) or ``unknown``.
    """

    applied: bool
    status: str


@dataclass(repr=False)
class Delivery(_Model):
    """A delivery whose signature holds.

    Attributes:
        hook_id: the hook's id, from the signed body; the same on every attempt.
        timestamp: when this attempt was signed, in Unix seconds.
        path: the path that the hook was scheduled with.
        data: the payload, any JSON value.
        body: the exact bytes that were signed.
        post_at, posted_at: when it was due, and when it was sent (aware datetimes; absent or
            unreadable: ``datetime.min`` in UTC).
        created_at, updated_at: when the hook was scheduled, and last changed.
        ack_url, nack_url: where to report the result of an async hook; None for both unless the
            delivery has both. They are not signed: see the README before calling them from a
            place that anyone can reach.
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


@dataclass(frozen=True, repr=False)
class Result(_Model):
    """What a handler function says about a delivery: make one with ``ack``, ``accept`` or ``nack``.

    Attributes:
        kind: ``"ack"``, ``"accept"`` or ``"nack"``.
        timeout: seconds until the callback is due, for ``accept``; else None.
        error: the object given to ``nack``; else None.
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
        """The delivery is being worked on: answered 202; call ``ack`` or ``nack`` within ``timeout``.

        Args:
            timeout: seconds until then, 10 to 10,800 (the service's range).

        Raises:
            ValueError, TypeError: for anything else.
        """
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
            raise TypeError(f"timeout is a number of seconds, not {type(timeout).__name__}")
        least, most = _ACCEPT_SECONDS
        if not least <= timeout <= most:
            raise ValueError(f"timeout is {least} to {most} seconds")
        return cls("accept", timeout)

    @classmethod
    def nack(cls, error: object = None) -> Result:
        """The delivery failed: answered 500, Posthook tries again or gives up.

        Args:
            error: why, for the log and the answer; a text or an exception.
        """
        return cls("nack", None, error)


# What a field of the server's may be, else its default. `type() is` keeps bool out of the numbers.


def _text(value: object) -> str:
    return value if type(value) is str else ""


def _whole(value: object) -> int:
    return value if type(value) is int else 0


def _number(value: object, default: Any) -> Any:
    if type(value) is float:
        return value
    try:
        return float(value) if type(value) is int else default
    except OverflowError:
        return default


def _is_filled(value: object) -> bool:
    return bool(value) and type(value) is dict


# RFC 3339, one reader and one writer. datetime.fromisoformat alone takes neither "Z" nor three of
# the ten lengths of a fraction before Python 3.11, and more than RFC 3339 from then on.

_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:)(\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


def _parse_time(text: str) -> datetime:
    """Read an RFC 3339 time; digits past the microsecond are cut. Raises ValueError."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"no RFC 3339 time with a time zone: {text[:40]!r}")
    minute, second, fraction, offset = match.groups("")
    leap = second == "60"  # RFC 3339 has leap seconds, datetime does not: the next second
    zone = "+00:00" if offset in "Zz" else offset
    moment = datetime.fromisoformat(f"{minute}{'59' if leap else second}.{fraction:0<6.6}{zone}")
    return moment + timedelta(seconds=1) if leap else moment


# What the service sends has these shapes (every third character from the fifth on). The regex and
# what follows it take three times as long; but fromisoformat knows "Z" from Python 3.11 on only.
_PLAIN_SHAPES = ("--T::Z", "--T::.") if sys.version_info >= (3, 11) else ()
_from_iso = datetime.fromisoformat


def _time(value: object) -> datetime:
    """Read a time that the server sent; one that is absent or unreadable is _NO_TIME."""
    if type(value) is not str:
        return _NO_TIME
    try:
        plain = value[4:20:3] in _PLAIN_SHAPES and value[-1] == "Z" and value[17] != "6"
        return _from_iso(value) if plain else _parse_time(value)
    except (ValueError, OverflowError):
        return _NO_TIME


def _format_time(moment: datetime) -> str:
    """Write an aware datetime as RFC 3339 in UTC, microseconds kept, none where they are zero."""
    return moment.astimezone(_UTC).replace(tzinfo=None).isoformat() + "Z"


# Durations, one reader and one writer: days, hours, minutes, seconds, each at most once, large first.

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", re.ASCII)
_UNIT_SECONDS = (86_400, 3_600, 60, 1)


def _parse_duration(text: str) -> int:
    """Read a duration such as ``1d2h30m`` as seconds. Raises ValueError."""
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise ValueError(f'no duration such as "90s", "5m" or "1d2h30m": {text[:40]!r}')
    if any(len(count) > 12 for count in match.groups("")):
        raise ValueError("a duration of more than 12 digits")
    return sum(int(n or 0) * unit for n, unit in zip(match.groups(), _UNIT_SECONDS))


def _format_duration(delay: timedelta) -> str:
    """Write a timedelta as whole seconds, rounded up so that a hook never comes early."""
    return f"{-(-delay // timedelta(seconds=1))}s"


# ==================================================================================================
# 4. Receiving: verifying deliveries, and the WSGI, ASGI and AWS Lambda handlers. Uses the models,
#    hmac and logging; never a socket, never an API path.
# ==================================================================================================


def create_signatures(
    signing_key: str | list[str] | tuple[str, ...] | None = None,
) -> SignaturesService:
    """A service that verifies deliveries, for a program that does not schedule any.

    Args:
        signing_key: the project's signing key, or several (while one is rotated). None: what
            ``POSTHOOK_SIGNING_KEY`` holds, split at commas and white space.

    Raises:
        ValueError: there is no key, or none that is not blank.
    """
    service = SignaturesService(_signing_key_or_environment(signing_key))
    if not service._keys:
        raise ValueError(f"no signing key: {_HOW_TO_SET_A_KEY}")
    return service


class SignaturesService:
    """Verifies deliveries, signs them for tests, and makes web handlers that do the former.

    A delivery is trusted when one entry of ``Posthook-Signature`` is the HMAC-SHA256 of
    ``<Posthook-Timestamp>.<raw body>`` under one of the keys, and the timestamp is recent.
    Nothing here keeps state, so one service serves any number of threads and event loops.

    Args:
        signing_key: a key, or a list or tuple of keys any of which may have signed. White space
            around a key is dropped, a blank key with it. The environment is not asked.

    Raises:
        TypeError: for a key that is no ``str``.
    """

    def __init__(self, signing_key: str | list[str] | tuple[str, ...] | None = None) -> None:
        self._keys = () if signing_key is None else _encoded_keys(signing_key)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self._keys)} keys)"

    def parse_delivery(
        self,
        body: bytes | bytearray | memoryview | str,
        headers: _DeliveryHeaders,
        *,
        signing_key: str | list[str] | tuple[str, ...] | None = None,
        tolerance: float = 300,
        now: float | None = None,
    ) -> Delivery:
        """Verify a delivery's signature and return the delivery parsed.

        Args:
            body: the request body as received, before anything has parsed it; a ``str`` stands
                for its UTF-8 bytes.
            headers: the request's headers: anything with ``items()``, (name, value) pairs, or a
                WSGI environ. Names in any case, text or bytes (Latin-1); a value may be a list.
            signing_key: keys to verify with instead of the service's.
            tolerance: seconds by which the timestamp may differ from this clock, either way.
            now: the time in Unix seconds, for tests; None: this clock's.

        Raises:
            SignatureVerificationError: for every delivery that must not be trusted; ``reason``
                says why.
            TypeError: ``body`` or ``headers`` is none of these kinds of object.
        """
        raw = body if type(body) is bytes else _raw_body(body)
        keys = self._keys if signing_key is None else _encoded_keys(signing_key)
        if not keys:
            raise _untrusted("no_key", f"No signing key: {_HOW_TO_SET_A_KEY}")
        own = _own_headers(headers)
        stamps, signatures = own.get("timestamp"), own.get("signature")
        if not stamps or not signatures:
            missing = "Signature" if stamps else "Timestamp"
            raise _untrusted("missing_header", f"Missing Posthook-{missing} header")
        digits = _timestamp(stamps)
        stamp = int(digits)
        age = (int(time.time()) if now is None else now // 1) - stamp
        if not -tolerance <= age <= tolerance:  # put like this, NaN does not pass
            raise _out_of_time(age)
        if not _is_signed(keys, digits.encode() + b"." + raw, signatures):
            raise _untrusted("mismatch", f"Signature verification failed: {_WHY_MISMATCH}")
        return _delivery(raw, stamp, own)

    def sign(
        self,
        body: bytes | bytearray | memoryview | str,
        *,
        hook_id: str | None = None,
        timestamp: int | None = None,
    ) -> dict[str, str]:
        """The headers with which Posthook would deliver this body, to test a receiver with.

        Args:
            body: the request body, exactly as it will be sent.
            hook_id: the value of ``Posthook-Id``; None: no such header.
            timestamp: when it is signed, in Unix seconds; None: now.

        Returns:
            ``Posthook-Timestamp``, ``Posthook-Signature`` and the legacy ``X-Ph-Signature``, by
            the first key, and ``Posthook-Id`` if asked for.

        Raises:
            ValueError: the service has no key.
            TypeError: ``body`` is none of these types.
        """
        if not self._keys:
            raise ValueError("no signing key to sign with: pass one to SignaturesService")
        key, raw = self._keys[0], _raw_body(body)
        stamp = str(int(time.time() if timestamp is None else timestamp))
        headers = {
            "Posthook-Timestamp": stamp,
            "Posthook-Signature": "v1," + _hexmac(key, stamp.encode() + b"." + raw),
            "X-Ph-Signature": _hexmac(key, raw),
        }
        if hook_id is not None:
            headers["Posthook-Id"] = hook_id
        return headers

    def wsgi_handler(self, f: _HandlerFunction) -> WSGIApplication:
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
        call = _blocking(f)

        def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
            method = environ.get("REQUEST_METHOD")
            answer = _at_once(_respond(self, method, environ, partial(_wsgi_body, environ), call))
            return _wsgi_answer(answer, start_response)

        return app

    def asgi_handler(self, f: _HandlerFunction) -> _AsgiApp:
        """An ASGI 3 app that does what ``wsgi_handler`` says.

        A sync ``f`` runs on a thread of its own, however many do so at once, and never holds up
        the event loop. Lifespan events are answered, a WebSocket is closed.

        Raises:
            TypeError: ``f`` cannot be called.
        """
        call = _awaiting(f)

        async def app(scope: _Message, receive: _Receive, send: _Send) -> None:
            if scope["type"] != "http":
                await _asgi_other(scope["type"], receive, send)
                return
            read, headers = partial(_asgi_body, receive), scope.get("headers", ())
            try:
                await _asgi_answer(await _respond(self, scope["method"], headers, read, call), send)
            except (_Disconnected, OSError):  # nobody is left to be answered
                return

        return app

    def lambda_handler(self, f: _HandlerFunction) -> _LambdaHandler:
        """An AWS Lambda handler that does what ``wsgi_handler`` says.

        It takes the events of API Gateway (REST, and HTTP with payloads 1.0 and 2.0), of Function
        URLs and of load balancers, and answers in the form of each.

        Raises:
            TypeError: ``f`` cannot be called; raised by the handler, the event is no HTTP request.
        """
        call = _blocking(f)

        def handler(event: dict[str, Any], context: object = None) -> dict[str, Any]:
            method, headers = _lambda_request(event)
            answer = _at_once(_respond(self, method, headers, partial(_lambda_body, event), call))
            return _lambda_answer(answer, event)

        return handler


_HOW_TO_SET_A_KEY = "pass signing_key, or set POSTHOOK_SIGNING_KEY"
_WHY_MISMATCH = "another key, or the body is not as it was sent (pass the raw bytes)"


def _signing_key_or_environment(
    signing_key: str | list[str] | tuple[str, ...] | None,
) -> str | list[str] | tuple[str, ...]:
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
    raise TypeError(
        f"pass the raw request body, bytes or str as received, not {type(body).__name__}"
    )


# How a header may be spelled -> its name. In a WSGI environ it is HTTP_POSTHOOK_ID.
_OWN_HEADERS = {
    spelling: name
    for name in ("timestamp", "signature", "id", "ack-url", "nack-url")
    for spelling in (f"posthook-{name}", f"http_posthook_{name.replace('-', '_')}")
}


def _own_headers(headers: _DeliveryHeaders) -> dict[str, list[str]]:
    """The values of the headers that are Posthook's, in one pass; a repeated header has several."""
    own: dict[str, list[str]] = {}
    items = getattr(headers, "items", None)  # not headers[name]: it gives one value of several
    try:
        pairs: Any = headers if items is None else items()
        for name, value in pairs:
            lowered = name.lower() if type(name) is str else _lowered(name)
            if lowered in _OWN_HEADERS:
                known = _OWN_HEADERS[lowered]
                if type(value) is str and known not in own:
                    own[known] = [value]
                else:
                    own.setdefault(known, []).extend(_texts(value))
    except (TypeError, ValueError) as error:  # cannot be iterated over, or does not give pairs
        raise TypeError(
            "pass the request's headers: an object with items(), (name, value) pairs, or a WSGI "
            f"environ, not {type(headers).__name__}"
        ) from error
    return own


def _lowered(name: object) -> str:
    if isinstance(name, bytes):
        return name.decode("latin-1").lower()
    return name.lower() if isinstance(name, str) else ""


def _texts(value: object) -> list[str]:
    """The texts in a header's value, which may be a list; what is no text is left out."""
    values = value if isinstance(value, (list, tuple)) else (value,)
    texts = (v.decode("latin-1") if isinstance(v, bytes) else v for v in values)
    # Of a subclass, such as an enum, str() would ask __str__.
    return [str.__str__(text) for text in texts if isinstance(text, str)]


_STAMP_DIGITS = 18  # Unix seconds have 10; int() of a text without limit takes quadratic time


def _timestamp(values: list[str]) -> str:
    """The digits that were signed; a repeated header must say the same again."""
    digits = values[0].strip()
    agreed = len(values) == 1 or all(value.strip() == digits for value in values)
    if agreed and len(digits) <= _STAMP_DIGITS and digits.isascii() and digits.isdigit():
        return digits
    raise _untrusted("bad_timestamp", "Invalid Posthook-Timestamp header: no Unix time in seconds")


def _out_of_time(age: float) -> SignatureVerificationError:
    if age < 0:
        return _untrusted("in_future", f"Timestamp lies {-age} seconds in the future")
    return _untrusted("too_old", f"Timestamp too old: signed {age} seconds ago")


# An entry stands between white space or commas, and holds a comma itself.
_v1_signatures = re.compile(r"(?<![^\s,])v1,([0-9a-fA-F]{64})(?![^\s,])", re.ASCII).findall


def _is_signed(keys: Iterable[bytes], message: bytes, values: list[str]) -> bool:
    """Whether one of the v1 signatures in the header's values is one of the keys' of message."""
    offered = _v1_signatures(" ".join(values))
    for key in keys:
        right = hmac.digest(key, message, "sha256").hex()
        for signature in offered:
            if hmac.compare_digest(right, signature.lower()):
                return True
    return False


def _hexmac(key: bytes, message: bytes) -> str:
    return hmac.digest(key, message, "sha256").hex()


def _delivery(body: bytes, stamp: int, own: Mapping[str, list[str]]) -> Delivery:
    """The delivery in a body whose signature holds."""
    get = _payload(body).get
    ack_url, nack_url = _callback_urls(own) if "ack-url" in own else (None, None)
    return Delivery(
        # The signed id first: anyone can put another hook's id into a header.
        _text(get("id")) or _first(own, "id"),
        stamp,
        _text(get("path")),
        get("data"),
        body,
        _time(get("postAt")),
        _time(get("postedAt")),
        _time(get("createdAt")),
        _time(get("updatedAt")),
        ack_url,
        nack_url,
    )


def _callback_urls(own: Mapping[str, list[str]]) -> tuple[str | None, str | None]:
    urls = _first(own, "ack-url"), _first(own, "nack-url")
    return urls if all(urls) else (None, None)


def _first(own: Mapping[str, list[str]], name: str) -> str:
    values = own.get(name)
    return values[0].strip() if values else ""


_read_json = json.JSONDecoder().raw_decode  # json.loads would take UTF-16 as well


def _payload(body: bytes) -> dict[str, Any]:
    try:
        text = body.decode().strip(" \t\r\n")
        payload, end = _read_json(text)
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, a huge number; too deep
        raise _untrusted("bad_payload", _BAD_PAYLOAD + str(error)) from error
    if type(payload) is not dict or end != len(text):
        raise _untrusted("bad_payload", _BAD_PAYLOAD + "no JSON object alone")
    return payload


_BAD_PAYLOAD = "Failed to parse delivery payload: "


def _untrusted(reason: str, message: str) -> SignatureVerificationError:
    return SignatureVerificationError(message, reason=reason)


# The handlers: one core between three faces. It is a coroutine for the sake of ASGI. What the other
# two hand it never waits, so that for them it runs through without an event loop.

_BODY_LIMIT = 1_048_576  # bytes; the service takes 64 KB of data, however it is encoded
_NACK_CHARACTERS = 1_000  # of a nack's reason, in the answer and in the log


class _Refused(Exception):
    """A request that is answered without a look at its signature."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.answer = _error_answer(status, why)


class _Disconnected(Exception):
    """The client went away in the middle of its request."""


async def _respond(
    signatures: SignaturesService,
    method: object,
    headers: _DeliveryHeaders,
    read: Callable[[], Awaitable[bytes]],
    call: Callable[[Delivery], Awaitable[object]],
) -> _Answer:
    """The core: what came in, verified, handed to the function; what that said, as an answer.

    ``read`` gives the body or raises _Refused; ``call`` runs the handler function to its end.
    """
    try:
        if method != "POST":
            raise _Refused(405, "deliveries are sent by POST")
        delivery = signatures.parse_delivery(await read(), headers)
    except _Refused as refused:
        return refused.answer
    except SignatureVerificationError as error:
        return _untrusted_answer(error)
    try:
        return _result_answer(await call(delivery), delivery)
    except (Exception, SystemExit) as error:  # SystemExit: of some library, for one request
        _log.error("the handler of hook %.100r failed", delivery.hook_id, exc_info=error)
        return _error_answer(500, "the handler failed")


def _check_size(size: int) -> None:
    if size > _BODY_LIMIT:
        raise _Refused(413, f"a delivery has at most {_BODY_LIMIT} bytes")


def _untrusted_answer(error: SignatureVerificationError) -> _Answer:
    if error.reason == "no_key":
        _log.error("a delivery could not be verified: %s", error)
        return _error_answer(500, "the receiver has no signing key")
    _log.info("a delivery was refused: %s", error)
    return _error_answer(401, error.message)


def _result_answer(result: object, delivery: Delivery) -> _Answer:
    """The answer for what the function returned; raises for what it may not return."""
    if result is None:
        result = Result.ack()
    if not isinstance(result, Result):
        raise TypeError(f"a handler returns a Result or None, not {type(result).__name__}")
    if result.kind == "nack":
        why = "nack" if result.error is None else str(result.error) or repr(result.error)
        why = why[:_NACK_CHARACTERS]
        _log.info("nack for hook %.100r: %r", delivery.hook_id, why)
        return _error_answer(500, why)
    status, headers = {"ack": 200, "accept": 202}[result.kind], dict(_JSON)
    if status == 202 and result.timeout is not None:  # rounded up: no less than what was asked for
        headers["Posthook-Async-Timeout"] = str(int(-(-result.timeout // 1)))
    return status, headers, '{"ok": true}'


_JSON = {"Content-Type": "application/json"}


def _error_answer(status: int, why: str) -> _Answer:
    headers = {**_JSON, "Allow": "POST"} if status == 405 else _JSON
    return status, headers, json.dumps({"error": why})


def _at_once(coroutine: Coroutine[Any, Any, _Answer]) -> _Answer:
    """Run a coroutine that never waits for anything to its end."""
    try:
        while True:
            coroutine.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


# How a face without and one with an event loop calls a handler function, sync or async.


def _blocking(f: _HandlerFunction) -> Callable[[Delivery], Awaitable[object]]:
    _refuse_uncallable(f)

    async def call(delivery: Delivery) -> object:
        result: Any = f(delivery)
        return _completed(result) if hasattr(result, "__await__") else result

    return call


def _completed(awaitable: Awaitable[object]) -> object:
    """What an awaitable comes to, in an event loop of its own, closed again: there is no other."""
    import asyncio

    async def main() -> object:
        return await awaitable

    try:
        if asyncio._get_running_loop() is None:
            return asyncio.run(main())
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(1) as pool:  # we are called by an async test, or in a notebook
            return pool.submit(asyncio.run, main()).result()
    except asyncio.CancelledError as error:  # a BaseException: who calls us would not catch it
        raise RuntimeError("the handler's coroutine was cancelled") from error


def _awaiting(f: _HandlerFunction) -> Callable[[Delivery], Awaitable[object]]:
    import inspect

    _refuse_uncallable(f)
    if inspect.iscoroutinefunction(f) or inspect.iscoroutinefunction(type(f).__call__):
        return f  # type: ignore[return-value]

    async def call(delivery: Delivery) -> object:
        result = await _on_thread(f, delivery)
        return await result if hasattr(result, "__await__") else result

    return call


def _refuse_uncallable(f: object) -> None:
    if not callable(f):
        raise TypeError(f"pass a function that takes a Delivery, not {type(f).__name__}")


async def _on_thread(f: _HandlerFunction, delivery: Delivery) -> Any:
    """Call ``f`` on a thread of its own, which ends with it.

    Not on asyncio's: they are few, the program has other work for them, and they stay.
    """
    import asyncio
    import contextlib
    import contextvars
    import threading

    loop, ended, context = asyncio.get_running_loop(), asyncio.Event(), contextvars.copy_context()
    result: object = None
    failure: BaseException | None = None

    def work() -> None:
        nonlocal result, failure
        try:
            result = context.run(f, delivery)
        except BaseException as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # cancelled, and the loop closed: nobody waits
            loop.call_soon_threadsafe(ended.set)

    thread = threading.Thread(target=work, name="posthook-handler", daemon=True)
    thread.start()
    await ended.wait()
    while thread.is_alive():  # it has only to end; yet among busy threads join() could take long
        await asyncio.sleep(0)
    if failure is not None:
        raise failure
    return result


# WSGI


async def _wsgi_body(environ: Mapping[str, Any]) -> bytes:
    """The request's body. Never a read too many: it would wait for a byte that does not come."""
    announced = environ.get("CONTENT_LENGTH")
    if not announced and not environ.get("wsgi.input_terminated"):
        return b""
    length = _content_length(announced) if announced else _BODY_LIMIT + 1
    body = _read(environ["wsgi.input"], length)
    if announced and len(body) < length:
        raise _Refused(400, "the body is shorter than its Content-Length")
    _check_size(len(body))
    return body


def _content_length(announced: object) -> int:
    if not (isinstance(announced, str) and announced.isascii() and announced.isdigit()):
        raise _Refused(400, "the Content-Length is no number")
    # int() refuses thousands of digits, or takes its time for them.
    length = int(announced) if len(announced) < 20 else _BODY_LIMIT + 1
    _check_size(length)
    return length


def _read(stream: Any, size: int) -> bytes:
    """Up to ``size`` bytes; less where the stream ends before. A short read is none."""
    pieces = []
    while size:
        try:
            piece = stream.read(min(size, 65_536))
        except Exception as error:  # each server has its own for a client that went away
            raise _Refused(400, "the body could not be read") from error
        if not piece:
            break
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _wsgi_answer(answer: _Answer, start_response: StartResponse) -> list[bytes]:
    from http import HTTPStatus

    status, headers, body = answer
    length = ("Content-Length", str(len(body)))
    start_response(f"{status} {HTTPStatus(status).phrase}", [*headers.items(), length])
    return [body.encode()]


# ASGI


async def _asgi_other(kind: str, receive: _Receive, send: _Send) -> None:
    """What is no HTTP request: ``kind`` is the scope's type."""
    if kind == "websocket":
        await send({"type": "websocket.close"})
    elif kind == "lifespan":
        while kind != "lifespan.shutdown":
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
    else:
        raise ValueError(f"no ASGI scope of HTTP: {kind}")


async def _asgi_body(receive: _Receive) -> bytes:
    pieces, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Disconnected
        pieces.append(message.get("body") or b"")
        size += len(pieces[-1])
        _check_size(size)
        more = message.get("more_body", False)
    return b"".join(pieces)


async def _asgi_answer(answer: _Answer, send: _Send) -> None:
    status, headers, body = answer
    pairs = [*headers.items(), ("Content-Length", str(len(body)))]
    lowered = [(name.lower().encode(), value.encode()) for name, value in pairs]
    await send({"type": "http.response.start", "status": status, "headers": lowered})
    await send({"type": "http.response.body", "body": body.encode()})


# AWS Lambda


def _lambda_request(event: object) -> tuple[str, dict[str, Any]]:
    """The method and headers of an event. Payload 2.0 has the method inside of requestContext."""
    fields = _dict(event)
    http = _dict(_dict(fields.get("requestContext")).get("http"))
    method = http.get("method") or fields.get("httpMethod")
    if not isinstance(method, str):
        raise TypeError(
            "the event is no HTTP request: invoke this function through API Gateway, "
            "a Function URL or a load balancer"
        )
    return method, _dict(fields.get("multiValueHeaders")) or _dict(fields.get("headers"))


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


async def _lambda_body(event: Mapping[str, Any]) -> bytes:
    from base64 import b64decode

    try:
        body: bytes = (event.get("body") or "").encode()
        if event.get("isBase64Encoded"):
            body = b64decode(body, validate=True)
    except (AttributeError, ValueError) as error:
        raise _Refused(400, "the event's body is no text, or no base64") from error
    _check_size(len(body))
    return body


def _lambda_answer(answer: _Answer, event: Mapping[str, Any]) -> dict[str, Any]:
    status, headers, body = answer
    several = event.get("multiValueHeaders") is not None
    if several and "elb" in _dict(event.get("requestContext")):
        # A load balancer with multi-value headers switched on ignores the other kind.
        headed: dict[str, Any] = {"multiValueHeaders": {n: [v] for n, v in headers.items()}}
    else:
        headed = {"headers": dict(headers)}
    return {"statusCode": status, **headed, "body": body, "isBase64Encoded": False}


# ==================================================================================================
# 5. Requests and answers: what a call becomes on the wire, and how an answer becomes a model or an
#    error. Pure functions: no socket, no clock.
# ==================================================================================================


# ==================================================================================================
# 6. Transport: one urllib.request.Request in, one whole response out, over kept connections. Knows
#    HTTP, TLS and sockets; never JSON, API paths or retries.
# ==================================================================================================


# ==================================================================================================
# 7. The client: the retry rule, the one loop that follows it, and the calls. Uses all above, the
#    clock and logging; never http.client or ssl.
# ==================================================================================================


# ==================================================================================================
# 8. The async client: the calls of section 7 on threads of its own. Uses the client, asyncio and
#    the transport's one way to cut a call; never JSON or API paths.
# ==================================================================================================


# ==================================================================================================
# 9. Callbacks: ack and nack, and their async forms, over one shared pool. They use sections 5 to 8,
#    never the hooks API.
# ==================================================================================================


# ==================================================================================================
# THE CUT LINE. The client works without what follows: delete from here to the end to ship it alone.
# ==================================================================================================
# 10. LocalPosthook: the service on loopback, with a clock that can be moved. Uses models, signing,
#     transport and http.server; never the client.
# ==================================================================================================


# ==================================================================================================
# 11. The command line. Uses everything public, and nothing private of the sections above.
# ==================================================================================================

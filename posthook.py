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

TYPE_CHECKING = False  # type checkers take it for true; `typing` itself need not be imported
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

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


def _time(value: object) -> datetime:
    """Read a time that the server sent; one that is absent or unreadable is _NO_TIME."""
    try:
        return _parse_time(value) if type(value) is str else _NO_TIME
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


class SignaturesService:
    """Stand-in until section 4 is merged."""

    def __init__(self, signing_key: str) -> None:
        self._key = signing_key.strip().encode()

    def sign(
        self, body: bytes, *, hook_id: str | None = None, timestamp: int | None = None
    ) -> dict[str, str]:
        stamp = str(int(time.time()) if timestamp is None else timestamp)
        mac = hmac.new(self._key, stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        headers = {"Posthook-Timestamp": stamp, "Posthook-Signature": f"v1,{mac}"}
        return headers if hook_id is None else {"Posthook-Id": hook_id, **headers}


# ==================================================================================================
# 5. Requests and answers: what a call becomes on the wire, and how an answer becomes a model or an
#    error. Pure functions: no socket, no clock.
# ==================================================================================================


# ==================================================================================================
# 6. Transport: one urllib.request.Request in, one whole response out, over kept connections. Knows
#    HTTP, TLS and sockets; never JSON, API paths or retries.
# ==================================================================================================


def build_opener(*, proxy: str | None = None, max_connections: int = 100) -> Any:
    """Stand-in until section 6 is merged: no TLS, no proxies."""
    return _StandInOpener()


class _StandInOpener:
    def __init__(self) -> None:
        self._idle: dict[str, list[Any]] = {}

    def open(self, request: Any, timeout: float) -> Any:
        import http.client
        import io
        import select
        import urllib.response

        end = time.monotonic() + timeout
        pool = self._idle.setdefault(request.host, [])
        connection = None
        while pool and connection is None:
            connection = pool.pop()
            if select.select([connection.sock], [], [], 0)[0]:
                connection.close()
                connection = None
        connection = connection or http.client.HTTPConnection(request.host)
        try:
            connection.timeout = timeout
            if connection.sock:
                connection.sock.settimeout(timeout)
            connection.request(
                request.get_method(), request.selector, request.data, dict(request.header_items())
            )
            answer = connection.getresponse()
            parts = []
            while True:
                left = end - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                if connection.sock:
                    connection.sock.settimeout(left)
                part = answer.read1(65536)
                if not part:
                    break
                parts.append(part)
            answer.read()
            if answer.length:
                raise ConnectionError("cut off")
        except TimeoutError:
            connection.close()
            raise PosthookTimeoutError("timed out") from None
        except OSError as error:
            connection.close()
            if type(error).__name__ == "timeout":
                raise PosthookTimeoutError("timed out") from None
            raise PosthookConnectionError(str(error) or type(error).__name__) from error
        except http.client.HTTPException as error:
            connection.close()
            raise PosthookConnectionError(str(error) or type(error).__name__) from error
        if connection.sock and not answer.will_close:
            pool.append(connection)
        else:
            connection.close()
        whole = urllib.response.addinfourl(
            io.BytesIO(b"".join(parts)), answer.headers, request.full_url, answer.status
        )
        return whole

    def close(self) -> None:
        for pool in self._idle.values():
            while pool:
                pool.pop().close()


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

import bisect  # noqa: E402 - imported below the line, so that it goes with what needs it
import heapq  # noqa: E402
import threading  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable
    from urllib.request import OpenerDirector, Request

    _Answer = tuple[int, dict[str, Any], Mapping[str, str]]  # status, JSON body, headers

__all__ += ["LocalPosthook"]

_ATTEMPT_SECONDS = 10.0  # the service's limit for an attempt; real seconds, whatever the clock does
_PARALLEL = 16  # attempts that run at once
_LONGEST_WAIT = 60.0  # seconds; by then a wall clock that was set, or a laptop's sleep, is noticed
_CLOCK_END = datetime(9000, 1, 1, tzinfo=_UTC)  # so that no delay ends beyond datetime.max
_CALLBACKS = "/v1/callbacks/"


class LocalPosthook:
    """The Posthook service on this machine: no account, no network, and a clock that can be moved.

    ::

        with LocalPosthook(forward_to="http://127.0.0.1:8000") as server:
            client = Posthook(server.api_key, base_url=server.url)
            client.hooks.schedule("/remind", post_in="2h", data={"user": 1})
            server.advance("2h")  # POSTs to http://127.0.0.1:8000/remind, signed
            assert server.deliveries[0].status_code == 200

    It speaks the API at ``url`` (hooks, bulk actions, async callbacks, quota), delivers what is due
    in real time, retries what fails, and forgets everything at the end. A hook without a
    ``retryOverride`` is retried 5 times, after 10, 20, 40, 80 and 160 seconds.

    Args:
        forward_to: http(s) URL that deliveries go to, each hook's path appended; None records
            them as delivered without sending anything.
        port: port on 127.0.0.1; 0 takes a free one.
        api_key: the key that calls must bring.
        signing_key: the key that deliveries are signed with.
        async_hooks: send the ack and nack URLs, and take a 202 as "the callback follows".
        quota: hooks that may be scheduled in a calendar month.

    Attributes:
        url: the API's base URL, from the start of the ``with`` block on.
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

        _check_arguments(forward_to, port, quota, api_key, signing_key)
        self.url, self.api_key, self.signing_key = "", api_key, signing_key
        self.observer: Callable[[str], object] | None = None
        self._forward_to, self._port = forward_to, port
        self._signatures = SignaturesService(signing_key)
        domain = forward_to and forward_to.split("/")[2]
        # One lock guards the project, the clock and what follows. Nobody holds it during I/O.
        self._changed = threading.Condition()
        self._project = _Project(quota, bool(async_hooks), domain)
        self._offset = timedelta(0)  # the clock is real time plus this
        self._goal: tuple[datetime, timedelta] | None = None  # advance() wants this clock, offset
        self._moment: datetime | None = None  # the due time of the attempts under way
        self._busy = 0  # attempts under way
        self._state = "new"  # then "running", then "closed"
        self._started: SimpleQueue[_LocalHook | None] = SimpleQueue()  # None ends a thread

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
            return [attempt for attempt in self._project.attempts if attempt is not None]

    def advance(self, duration: str | timedelta | float) -> None:
        """Move the clock, and attempt on the way whatever becomes due; return when all has ended.

        It goes from one due time to the next, so that a retry, or a hook scheduled by a handler,
        is attempted too if it falls within ``duration``. A callback deadline passes as well: with
        async hooks, advance to the delivery, wait for the callback, then go on.

        Args:
            duration: ``"1d2h30m"``, a timedelta, or seconds; zero attempts what is due now.

        Raises:
            ValueError, TypeError: for anything else; nothing has moved.
            PosthookError: outside of the ``with`` block.
        """
        step = _check_step(duration)
        with self._changed:
            self._changed.wait_for(lambda: self._goal is None)  # another thread's advance()
            if self._state == "running":
                now = self._now()
                if step > _CLOCK_END - now:
                    raise ValueError("the clock ends with the year 8999")
                self._goal = goal = now + step, self._offset + step
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._goal is not goal)
            if self._state != "running":
                raise PosthookError("LocalPosthook runs only inside its `with` block")

    def __enter__(self) -> LocalPosthook:
        if self._state != "new":
            raise PosthookError("LocalPosthook is used once: make a new one")
        self._http = _http_server(self._answer, self._port)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._opener: OpenerDirector = build_opener(proxy="", max_connections=_PARALLEL)
        self._state = "running"
        work = [self._keep_time] + [self._make_attempts] * _PARALLEL
        self._threads = [_thread(target) for target in work]
        return self

    def __exit__(self, *_exception: object) -> None:
        with self._changed:
            self._state, self._goal = "closed", None
            self._changed.notify_all()
        self._http.stop()
        for _ in range(_PARALLEL):
            self._started.put(None)
        for thread in self._threads:
            thread.join()
        self._opener.close()

    def __repr__(self) -> str:
        with self._changed:
            hooks, deliveries = len(self._project.hooks), len(self._project.attempts)
        return f"LocalPosthook(url={self.url!r}, hooks={hooks}, deliveries={deliveries})"

    # The clock, and the thread that starts what is due.

    def _now(self) -> datetime:
        return datetime.now(_UTC) + self._offset

    def _keep_time(self) -> None:
        """Start what is due, when it is due. No other thread starts attempts or moves the clock."""
        with self._changed:
            while self._state == "running":
                pause = self._step()
                if pause != 0:
                    self._changed.wait(pause)

    def _step(self) -> float | None:
        """Do the next thing: 0. Else seconds until it is due, or None: until something changes."""
        due = self._project.due()
        if self._goal is not None:
            if self._busy and due != self._moment:
                return None  # attempts of different due times do not overlap
            goal, offset = self._goal
            if due is None or due > goal:
                self._offset, self._goal = offset, None
                self._changed.notify_all()
                return 0
            self._offset += max(due - self._now(), timedelta(0))
        if due is None or self._busy == _PARALLEL:
            return None
        if due > self._now():
            return min((due - self._now()).total_seconds(), _LONGEST_WAIT)
        hook, self._moment = self._project.begin(self._now()), due
        if hook is not None:
            self._busy += 1
            self._started.put(hook)
        return 0

    # The attempts, and the threads that make them.

    def _make_attempts(self) -> None:
        """Make one started attempt after the other, and tell the project how each ended."""
        for hook in iter(self._started.get, None):
            start = time.perf_counter()
            status, error, wait = self._attempt(hook)
            seconds = round(time.perf_counter() - start, 6)
            outcome = f"{error or status or 'recorded'} ({seconds:.3f} s)"
            self._tell(f"delivery {_on_the_wire(hook['path'])} #{hook.begun}: {outcome}")
            with self._changed:
                self._busy -= 1
                self._project.end(hook, hook.record(status, error, seconds), wait, self._now())
                self._changed.notify_all()

    def _attempt(self, hook: _LocalHook) -> tuple[int | None, str, float]:
        """POST a hook: status, error, and for a 202 the seconds until the callback is due."""
        try:
            if self._forward_to is None:
                return None, "", 0
            request = self._request(hook, self._forward_to)
            with self._opener.open(request, timeout=_ATTEMPT_SECONDS) as answer:
                answer.read()
                wait = _callback_seconds(answer.headers.get("Posthook-Async-Timeout"))
                error = "" if 200 <= answer.status <= 299 else f"HTTP {answer.status}"
                return answer.status, error, wait
        except PosthookTimeoutError:
            return None, f"timed out after {_ATTEMPT_SECONDS:g} s", 0
        except Exception as failure:  # whatever happens, the attempt ends
            return None, str(failure) or type(failure).__name__, 0

    def _request(self, hook: _LocalHook, base: str) -> Request:
        from urllib.request import Request

        if not hook["path"].startswith("/"):  # it would become a part of the host's name
            raise ValueError("the path does not begin with /")
        body, key = _encode(hook.payload()), self.signing_key.strip().encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Posthook/1.0",
            "X-Ph-Signature": hmac.new(key, body, hashlib.sha256).hexdigest(),
            **self._signatures.sign(body, hook_id=hook["id"]),
            **self._project.callback_headers(hook, self.url),
        }
        url = base.removesuffix("/") + _on_the_wire(hook["path"])
        return Request(url, body, headers, method="POST")

    # The API's calls, each on its connection's thread.

    def _answer(self, method: str, target: str, key: str, body: bytes) -> _Answer:
        """Do what an API call asks for."""
        path, _, query = target.partition("?")
        try:
            if key != self.api_key.strip() and not path.startswith(_CALLBACKS):
                raise AuthenticationError("Invalid API key")
            read, act, names = _route(method, path)
            wanted = read and read(query, body)
            with self._changed:
                answer: _Answer = act(self._project, self._now(), *names, wanted)
                self._changed.notify_all()
        except PosthookError as error:
            answer = error.status_code or 500, {"error": error.message}, error.headers or {}
        shown = "/".join(path.split("/")[:6])  # a callback's token comes after that
        self._tell(f"{method} {_on_the_wire(shown)} {answer[0]}")
        return answer

    def _tell(self, line: str) -> None:
        try:
            if self.observer is not None:
                self.observer(line.encode("unicode_escape").decode())
        except Exception:  # it must not end a thread that others wait for
            _log.exception("the observer of a LocalPosthook failed")


def _check_arguments(url: str | None, port: int, quota: int, *keys: str) -> None:
    from urllib.parse import urlsplit

    if not all(isinstance(text, str) for text in (keys if url is None else (url, *keys))):
        raise TypeError("forward_to, api_key and signing_key are text")
    if not type(port) is type(quota) is int:
        raise TypeError("port and quota are whole numbers")
    if not all(map(str.strip, keys)) or quota < 0 or not 0 <= port <= 65_535:
        raise ValueError("keys are not empty, quota is not negative, port is 0 to 65535")
    if url is not None:
        parts = urlsplit(url)  # raises ValueError too, as .port does
        plain = _on_the_wire(url) == url and not set("@?#") & set(url) and parts.port != 0
        if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
            raise ValueError("forward_to is an http or https URL such as http://127.0.0.1:8000")


def _check_step(duration: str | timedelta | float) -> timedelta:
    if isinstance(duration, bool) or not isinstance(duration, (str, timedelta, int, float)):
        raise TypeError('advance() takes "1d2h30m", a timedelta, or seconds')
    seconds = _parse_duration(duration) if isinstance(duration, str) else duration
    try:
        step = seconds if isinstance(seconds, timedelta) else timedelta(seconds=seconds)
    except OverflowError:
        step = timedelta.max  # advance() knows how far the clock goes
    if step < timedelta(0):
        raise ValueError("the clock only goes forward")
    return step


# The life of hooks, without clock, thread, lock or socket: `now` is always an argument, an aware
# datetime in UTC. Attempts are numbered through a hook's whole life, so that no number comes twice.
#
#    waiting --due--> in flight --2xx, ack-------------------------> completed --bulk replay--> new
#       ^               |   '--202, async hooks--> open --ack-------> completed
#       |               | no 2xx, nack              | nack, deadline
#       |               v                           v
#       +--retries left-+---------------------------'--none left----> failed
#       '--bulk retry---------------------------------------------------'

_DEFAULT_RETRIES: dict[str, Any] = {  # the example of the service's own documentation
    "minRetries": 5,
    "delaySecs": 10,
    "strategy": STRATEGY_EXPONENTIAL,
    "maxDelaySecs": 300,
}
_CALLBACK_SECONDS = 300.0  # until ack or nack, unless the 202 says otherwise


@dataclass(frozen=True, repr=False)
class _Attempt(_Model):
    """One attempt to deliver a hook; LocalPosthook.deliveries explains the fields."""

    hook_id: str
    path: str
    data: Any
    attempt: int
    posted_at: datetime
    status_code: int | None
    error: str
    seconds: float


class _LocalHook(dict[str, "Any"]):
    """A hook: the API's object, and as attributes what the API does not show."""

    def __init__(
        self, number: int, path: str, data: Any, post_at: datetime, override: Any, now: datetime
    ) -> None:
        from uuid import uuid4

        due, created = _format_time(post_at), _format_time(now)
        super().__init__(id=str(uuid4()), path=path, domain=None, data=data, postAt=due)
        self.update(status=STATUS_PENDING, postDurationSeconds=0.0, attempts=0, failureError="")
        self.update(tryAt=due, wasNotified=False, createdAt=created, updatedAt=created)
        if override is not None:
            self["retryOverride"] = override
        self.entry = 0  # the one entry of the heap that counts
        self.begun = self.forgiven = 0  # attempts begun; those ended before a bulk retry
        self.posted_at, self.place = now, 0  # of the last attempt begun: when, and where it is kept
        self.result = ""  # of that: completed, nacked, failed or expired; "" while it is under way
        self.deadline: datetime | None = None  # of its callback, while that is awaited
        # What list sorts by. The text makes the order of equal times total, and a cursor exact.
        self.order = {
            SORT_BY_POST_AT: (post_at, self["id"]),
            SORT_BY_CREATED_AT: (now, f"{number:015}"),
        }

    def payload(self) -> dict[str, Any]:
        """What is delivered."""
        whole = {**self, "postedAt": _format_time(self.posted_at)}
        names = ("id", "path", "postAt", "postedAt", "data", "createdAt", "updatedAt")
        return {name: whole[name] for name in names}

    def record(self, status: int | None, error: str, seconds: float) -> _Attempt:
        """The attempt under way, which has just ended."""
        what = self["id"], self["path"], self["data"], self.begun, self.posted_at
        return _Attempt(*what, status, error, seconds)


class _Project:
    """The hooks of one project. An operation raises a PosthookError to refuse a call."""

    def __init__(self, quota: int, async_hooks: bool, domain: str | None) -> None:
        from random import random

        self.hooks: dict[str, _LocalHook] = {}
        self.attempts: list[_Attempt | None] = []  # None while under way
        self._quota, self._async_hooks, self._domain = quota, async_hooks, domain
        self._month, self._used = _NO_TIME, 0
        self._random, self._secret = random, os.urandom(32)
        self._count = 0  # numbers hooks and the heap's entries
        self._heap: list[tuple[datetime, int, str]] = []  # when, entry, hook's id
        self._rows: dict[str, list[tuple[Any, ...]]] = {  # sorted: time, text, hook
            SORT_BY_POST_AT: [],
            SORT_BY_CREATED_AT: [],
        }
        self._found: tuple[Any, list[Any]] = None, []  # filters of the last list call, and its rows

    # What happens as time passes.

    def due(self) -> datetime | None:
        """When the next thing is due, or None."""
        while self._heap:
            moment, entry, hook_id = self._heap[0]
            if hook_id in self.hooks and self.hooks[hook_id].entry == entry:
                return moment
            heapq.heappop(self._heap)  # deleted, or something else has happened to it
        return None

    def begin(self, now: datetime) -> _LocalHook | None:
        """Take up what due() told: the hook whose attempt begins; None if a deadline has passed."""
        hook = self.hooks[heapq.heappop(self._heap)[2]]
        if hook.deadline is not None:
            self._settle(hook, "expired", now, "no ack or nack before the callback deadline")
            return None
        hook.begun, hook.result, hook.posted_at = hook.begun + 1, "", now
        hook.place = len(self.attempts)
        self.attempts.append(None)
        return hook

    def end(self, hook: _LocalHook, attempt: _Attempt, wait: float, now: datetime) -> None:
        """Record an attempt that has ended, and decide how the hook goes on."""
        self.attempts[hook.place] = attempt
        hook["postDurationSeconds"] = attempt.seconds
        if hook["id"] not in self.hooks:
            return  # deleted meanwhile: the result is dropped
        if hook.result:  # the callback was faster than the answer
            self._settle(hook, hook.result, now)
        elif attempt.error:
            self._settle(hook, "failed", now, attempt.error)
        elif self._async_hooks and attempt.status_code == 202:
            hook.update(status=STATUS_PENDING, updatedAt=_format_time(now))
            hook.deadline = now + timedelta(seconds=wait)
            self._wake(hook, hook.deadline)
        else:
            self._settle(hook, "completed", now)

    def _settle(self, hook: _LocalHook, result: str, now: datetime, error: str = "") -> None:
        """Count the attempt begun last as ended: the hook is done, or is tried again."""
        hook.result, hook.deadline, hook.entry = result, None, 0
        self._found = None, []
        hook.update(attempts=hook["attempts"] + 1, updatedAt=_format_time(now))
        retries = hook.get("retryOverride", _DEFAULT_RETRIES)
        tries = hook["attempts"] - hook.forgiven
        if result == "completed":
            hook.update(status=STATUS_COMPLETED, failureError="")
        elif tries > retries["minRetries"]:
            hook.update(status=STATUS_FAILED, failureError=error or result)
        else:
            moment = now + timedelta(seconds=_retry_seconds(retries, tries, self._random()))
            hook.update(status=STATUS_RETRY, failureError=error or result)
            hook["tryAt"] = _format_time(moment)
            self._wake(hook, moment)

    def _wake(self, hook: _LocalHook, moment: datetime) -> None:
        self._count += 1
        self._found = None, []
        hook.entry = self._count
        heapq.heappush(self._heap, (moment, hook.entry, hook["id"]))

    # The API's operations: _ROUTES gives them their paths, and reads what `wanted` is.

    def schedule(self, now: datetime, wanted: tuple[str, Any, Any, Any]) -> _Answer:
        path, data, moment, override = wanted
        headers = self._use_quota(now)
        post_at = now + moment if isinstance(moment, timedelta) else moment
        return 201, {"data": dict(self._add(path, data, post_at, override, now))}, headers

    def get(self, now: datetime, hook_id: str, wanted: None) -> _Answer:
        return 200, {"data": dict(self._find(hook_id))}, {}

    def delete(self, now: datetime, hook_id: str, wanted: None) -> _Answer:
        self._cancel(self._find(hook_id), now)
        return 200, {"data": {}}, {}

    def page(self, now: datetime, wanted: dict[str, Any]) -> _Answer:
        rows, limit, cursor = self._matching(wanted), wanted["limit"], wanted.get("cursor")
        if wanted["sortOrder"] == SORT_ORDER_DESC:
            end = bisect.bisect_left(rows, cursor) if cursor else len(rows)
            shown, more = rows[max(end - limit, 0) : end][::-1], end > limit
        else:
            start = bisect.bisect_left(rows, (cursor[0], cursor[1] + " ")) if cursor else 0
            shown, more = rows[start : start + limit], start + limit < len(rows)
        meta: dict[str, Any] = {"totalItems": len(rows)}
        if more:
            meta["cursor"] = f"{_format_time(shown[-1][0])}_{shown[-1][1]}"
        return 200, {"data": [dict(hook) for _, _, hook in shown], "meta": meta}, {}

    def bulk(self, now: datetime, action: str, wanted: dict[str, Any]) -> _Answer:
        act, statuses = _BULK[action]
        hooks = [hook for hook in self._chosen(wanted) if hook["status"] in statuses]
        hooks = hooks[: wanted["limit"]]
        for hook in hooks:
            act(self, hook, now)
        return 200, {"data": {"affected": len(hooks)}}, {}

    def callback(
        self, now: datetime, hook_id: str, number: str, verb: str, token: str, wanted: None
    ) -> _Answer:
        if token != self._token(hook_id, number, verb):
            raise AuthenticationError("Invalid callback token")
        hook = self._find(hook_id)
        if int(number) != hook.begun:
            raise PosthookError("A newer attempt has started", status_code=409)
        if hook.result == "expired" or (hook.deadline and now >= hook.deadline):
            raise PosthookError("The callback deadline has passed", status_code=410)
        if not hook.result:
            hook.result = {"ack": "completed", "nack": "nacked"}[verb]
            if hook.deadline:  # else its answer has not come yet: end() follows
                self._settle(hook, hook.result, now)
        return 200, {"data": {"status": hook.result}}, {}

    def callback_headers(self, hook: _LocalHook, url: str) -> dict[str, str]:
        """The headers that tell an endpoint where the attempt under way is acked and nacked."""
        if not self._async_hooks:
            return {}
        hook_id, number = hook["id"], str(hook.begun)
        ack, nack = (
            f"{url}{_CALLBACKS}{hook_id}/{number}/{verb}/{self._token(hook_id, number, verb)}"
            for verb in ("ack", "nack")
        )
        return {"Posthook-Ack-URL": ack, "Posthook-Nack-URL": nack}

    # What the operations are made of.

    def _find(self, hook_id: str) -> _LocalHook:
        if hook_id not in self.hooks:
            raise NotFoundError("Hook not found")
        return self.hooks[hook_id]

    def _add(
        self, path: str, data: Any, post_at: datetime, override: Any, now: datetime
    ) -> _LocalHook:
        hook = _LocalHook(self._count, path, data, post_at, override, now)
        hook["domain"] = self._domain
        self.hooks[hook["id"]] = hook
        self._wake(hook, post_at)
        for name, key in hook.order.items():
            bisect.insort(self._rows[name], (*key, hook))
        return hook

    def _cancel(self, hook: _LocalHook, now: datetime) -> None:
        del self.hooks[hook["id"]]
        self._found = None, []
        for name, key in hook.order.items():
            del self._rows[name][bisect.bisect_left(self._rows[name], key)]

    def _retry(self, hook: _LocalHook, now: datetime) -> None:
        hook.forgiven = hook["attempts"]
        hook.update(status=STATUS_RETRY, tryAt=_format_time(now))
        self._wake(hook, now)

    def _replay(self, hook: _LocalHook, now: datetime) -> None:
        self._add(hook["path"], hook["data"], now, hook.get("retryOverride"), now)

    def _matching(self, wanted: dict[str, Any]) -> list[tuple[Any, ...]]:
        """The rows that a list call's filters let through, ascending."""
        sort = wanted["sortBy"]
        (other,) = self._rows.keys() - {sort}
        filters = sort, wanted["status"], other, wanted[other + "After"], wanted[other + "Before"]
        if self._found[0] != filters:  # else this is the next page, and nothing has changed
            self._found = filters, self._filter(*filters)
        return _between(self._found[1], wanted[sort + "After"], wanted[sort + "Before"])

    def _filter(self, sort: str, status: str, other: str, after: Any, before: Any) -> list[Any]:
        rows = self._rows[sort]
        if status:
            rows = [row for row in rows if row[2]["status"] == status]
        if after or before:
            kept = {row[2]["id"] for row in _between(self._rows[other], after, before)}
            rows = [row for row in rows if row[2]["id"] in kept]
        return rows

    def _chosen(self, wanted: dict[str, Any]) -> list[_LocalHook]:
        """The hooks that a bulk call names, in whatever state."""
        if wanted["hookIDs"] is not None:
            ids = dict.fromkeys(wanted["hookIDs"])
            return [self.hooks[hook_id] for hook_id in ids if hook_id in self.hooks]
        rows, path = self._rows[SORT_BY_POST_AT], wanted["endpointKey"]
        if wanted["sequenceID"] is not None:
            return []  # no hook here is in a sequence
        start, end = (bisect.bisect_left(rows, (wanted[n],)) for n in ("startTime", "endTime"))
        return [hook for _, _, hook in rows[start:end] if path in (None, hook["path"])]

    def _use_quota(self, now: datetime) -> dict[str, str]:
        """Count one hook against its calendar month; the headers that tell so."""
        month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        if month != self._month:
            self._month, self._used = month, 0
        allowed = self._used < self._quota
        self._used += allowed
        facts = {
            "Limit": self._quota,
            "Usage": self._used,
            "Remaining": self._quota - self._used,
            "Resets-At": _format_time((month + timedelta(days=32)).replace(day=1)),
        }
        headers = {f"Posthook-HookQuota-{name}": str(fact) for name, fact in facts.items()}
        if not allowed:
            raise RateLimitError("Rate limit exceeded", headers)
        return headers

    def _token(self, hook_id: str, number: str, verb: str) -> str:
        """What makes a callback URL unguessable: made anew to compare, so that none is kept."""
        text = f"{hook_id} {number} {verb}".encode()
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest()[:40]


_BULK: dict[str, tuple[Callable[..., object], tuple[str, ...]]] = {  # what it does, to which status
    "retry": (_Project._retry, (STATUS_FAILED,)),
    "replay": (_Project._replay, (STATUS_COMPLETED,)),
    "cancel": (_Project._cancel, (STATUS_PENDING, STATUS_RETRY)),
}


def _between(rows: list[Any], after: datetime | None, before: datetime | None) -> list[Any]:
    start = bisect.bisect_right(rows, (after, "~")) if after else 0  # "~" sorts last
    return rows[start : bisect.bisect_left(rows, (before,)) if before else len(rows)]


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
    least, most = _ACCEPT_SECONDS
    return min(max(float(text), least), most)


# Reading API calls: what is on the wire becomes what _Project's operations want, or a refusal.

_MAX_DATA = 65_536  # bytes of encoded data
_MAX_JSON = 1_048_576  # bytes of a body worth parsing: the largest data with every byte escaped
_KINDS: dict[type, str] = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}


def _read_object(body: bytes) -> dict[str, Any]:
    if len(body) > _MAX_JSON:
        raise PayloadTooLargeError("Payload exceeds 64 KB limit")
    try:
        value = json.loads(body.decode())
    except (ValueError, RecursionError):
        value = None
    if type(value) is not dict:
        raise BadRequestError("the body must be a JSON object")
    return value


def _field(
    fields: dict[str, Any], name: str, kind: type, span: Any = None, needed: bool = False
) -> Any:
    """A field of exactly that type, and within the span; None if it is null or absent."""
    value = fields.get(name)
    if value is None and not needed:
        return None
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise BadRequestError(f"{name} must be {_KINDS[kind]}")
    if span and not span[0] <= value <= span[1]:
        raise BadRequestError(f"{name} must be {span[0]} to {span[1]}")
    return value


def _read_schedule(query: str, body: bytes) -> tuple[str, Any, Any, Any]:
    """The path, the data, a datetime or a timedelta, and the retryOverride."""
    fields = _read_object(body)
    if not _field(fields, "path", str):
        raise BadRequestError("path is required")
    data, deep = fields.get("data", {}), fields
    for _ in range(50):  # what could just be read must also fit into an answer
        deep = {"": deep}
    try:
        _encode(deep)
    except (ValueError, RecursionError):
        raise BadRequestError("a number is too large, or data nested too deeply") from None
    if len(_encode(data)) > _MAX_DATA:
        raise PayloadTooLargeError("Payload exceeds 64 KB limit")
    return fields["path"], data, _read_moment(fields), _read_override(fields)


def _read_moment(fields: dict[str, Any]) -> Any:
    """What the one scheduling mode says; a delay stays one until the clock is read."""
    given = [name for name in _MODES if fields.get(name) is not None]
    if len(given) != 1:
        raise BadRequestError("exactly one of postAt, postAtLocal and postIn is required")
    text, zone = _field(fields, given[0], str), _field(fields, "timezone", str)
    if (zone is None) == (given == ["postAtLocal"]):
        raise BadRequestError("timezone belongs to postAtLocal: both or neither")
    try:
        return _MODES[given[0]](text, zone)
    except (ValueError, OverflowError) as error:
        raise BadRequestError(f"{given[0]} is invalid: {error}") from None


def _from_delay(text: str, zone: None) -> timedelta:
    delay = timedelta(seconds=_parse_duration(text))
    if not timedelta(seconds=1) <= delay <= timedelta(days=365):
        raise ValueError("it must be 1 second to 365 days")
    return delay


def _from_local(text: str, zone: str) -> datetime:
    """The instant of a local time: the first of two, or the end of the gap that it falls into."""
    from zoneinfo import ZoneInfo

    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}", text):
        raise ValueError("it must be YYYY-MM-DDTHH:MM:SS, without a zone")
    local = datetime.fromisoformat(text)
    try:
        tz = ZoneInfo(zone)
    except Exception:  # KeyError, ValueError, OSError, UnicodeError: whatever the name leads to
        raise BadRequestError("timezone is not known here: an IANA name is needed") from None

    def wall(moment: datetime) -> datetime:
        return moment.astimezone(tz).replace(tzinfo=None)

    low, high = sorted(local.replace(tzinfo=tz, fold=fold).astimezone(_UTC) for fold in (0, 1))
    for moment in (low, high):
        if wall(moment) == local:
            return moment
    while high - low > timedelta(seconds=1):  # between the two, the clock jumps over `local`
        middle = (low + (high - low) / 2).replace(microsecond=0)
        low, high = (low, middle) if wall(middle) > local else (middle, high)
    return high


_MODES: dict[str, Callable[..., Any]] = {
    "postAt": lambda text, zone: _parse_time(text).astimezone(_UTC),
    "postAtLocal": _from_local,
    "postIn": _from_delay,
}
_OVERRIDE = {"minRetries": (1, 15), "delaySecs": (5, 60), "maxDelaySecs": (60, 3600)}


def _read_override(fields: dict[str, Any]) -> dict[str, Any] | None:
    override: dict[str, Any] | None = _field(fields, "retryOverride", dict)
    if override is not None:
        strategy = _field(override, "strategy", str, needed=True)
        if strategy not in (STRATEGY_FIXED, STRATEGY_EXPONENTIAL):
            raise BadRequestError("strategy must be fixed or exponential")
        for name, span in _OVERRIDE.items():
            needed = name != "maxDelaySecs" or strategy == STRATEGY_EXPONENTIAL
            _field(override, name, int, span, needed=needed)
        _field(override, "backoffFactor", float, (1.1, 4.0))
        _field(override, "jitter", bool)
    return override


_CHOICES = {  # of a list call, the default first
    "status": ("", STATUS_PENDING, STATUS_RETRY, STATUS_COMPLETED, STATUS_FAILED),
    "sortBy": (SORT_BY_POST_AT, SORT_BY_CREATED_AT),
    "sortOrder": (SORT_ORDER_ASC, SORT_ORDER_DESC),
}


def _read_list(query: str, body: bytes) -> dict[str, Any]:
    from urllib.parse import parse_qsl

    given: dict[str, Any] = dict(parse_qsl(query.replace("+", "%2B")))  # a time's offset has a plus
    given["sortOrder"] = given.get("sortOrder", SORT_ORDER_ASC).upper()
    for name, choices in _CHOICES.items():
        if given.setdefault(name, choices[0]) not in choices:
            raise BadRequestError(f"{name} must be one of {', '.join(filter(None, choices))}")
    limit = given.get("limit", "10")
    if not re.fullmatch("[0-9]{1,4}", limit) or not 1 <= int(limit) <= 1000:
        raise BadRequestError("limit must be 1 to 1000")
    given["limit"] = int(limit)
    for name in ("postAtAfter", "postAtBefore", "createdAtAfter", "createdAtBefore"):
        given[name] = _read_time(name, given.get(name))
    if "cursor" in given:
        moment, _, text = given["cursor"].partition("_")
        given["cursor"] = _read_time("cursor", moment), text
    return given


def _read_time(name: str, text: str | None) -> datetime | None:
    try:
        return None if text is None else _parse_time(text)
    except (ValueError, OverflowError):
        raise BadRequestError(f"{name} must be an RFC 3339 time") from None


_RANGE = {"startTime": str, "endTime": str, "limit": int, "endpointKey": str, "sequenceID": str}


def _read_bulk(query: str, body: bytes) -> dict[str, Any]:
    fields = _read_object(body)
    ids = _field(fields, "hookIDs", list)
    wanted = {name: _field(fields, name, kind) for name, kind in _RANGE.items()}
    if (ids is None) == all(value is None for value in wanted.values()):
        raise BadRequestError("pass either hookIDs, or startTime, endTime and limit")
    if ids is not None:
        if len(ids) > 1000 or not all(type(hook_id) is str for hook_id in ids):
            raise BadRequestError("hookIDs must be at most 1000 strings")
        return {"hookIDs": ids, "limit": 1000}
    for name in ("startTime", "endTime"):
        wanted[name] = _read_time(name, _field(fields, name, str, needed=True))
    wanted.update(hookIDs=None, limit=_field(fields, "limit", int, (1, 1000), needed=True))
    return wanted


_ROUTES: tuple[tuple[str, str, Callable[[str, bytes], Any] | None, Callable[..., _Answer]], ...] = (
    ("POST", "/v1/hooks", _read_schedule, _Project.schedule),
    ("GET", "/v1/hooks", _read_list, _Project.page),
    ("GET", "/v1/hooks/([^/]+)", None, _Project.get),
    ("DELETE", "/v1/hooks/([^/]+)", None, _Project.delete),
    ("POST", "/v1/hooks/bulk/(retry|replay|cancel)", _read_bulk, _Project.bulk),
    ("POST", _CALLBACKS + "([^/]+)/([0-9]+)/(ack|nack)/(.*)", None, _Project.callback),
)


def _route(method: str, path: str) -> tuple[Any, Any, tuple[str, ...]]:
    """How to read a call, what does it, and the names in its path."""
    allow = []
    for verb, pattern, read, act in _ROUTES:
        match = re.fullmatch(pattern, path)
        if match and verb == method:
            return read, act, match.groups()
        allow += [verb] if match else []
    if not allow:
        raise NotFoundError("Not found")
    headers = {"Allow": ", ".join(allow)}
    raise PosthookError("Method not allowed", status_code=405, headers=headers)


def _encode(value: Any) -> bytes:
    """The value as JSON. NaN and what is too large for a float, read as infinity: ValueError."""
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair is JSON only as an escape
        return json.dumps(value, separators=(",", ":")).encode()


def _on_the_wire(text: str) -> str:
    """The text in visible ASCII: percent-encoded where it is not, unchanged where it is."""
    from urllib.parse import quote

    return quote(text, safe="".join(map(chr, range(33, 127))), errors="replace")


def _thread(target: Callable[..., object], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, name="LocalPosthook", daemon=True)
    thread.start()
    return thread


_MAX_BODY = 16 * 1_048_576  # bytes that are read to keep the connection, whatever they are


def _http_server(answer: Callable[[str, str, str, bytes], _Answer], port: int) -> Any:
    """A server on 127.0.0.1 that has ``answer`` answer its calls, each connection on a thread.

    Its ``stop()`` cuts the connections, and returns when every thread has ended.
    """
    # What inherits from http.server is made here, because importing that takes its time.
    import socket
    from contextlib import suppress
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    from socketserver import TCPServer

    class Connection(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        default_request_version = "HTTP/1.0"  # of a line that is no HTTP: answer it properly
        server_version, sys_version = "Posthook", "(local)"
        disable_nagle_algorithm = True
        wbufsize = -1  # one write an answer

        def do_GET(self) -> None:
            lengths = {text.strip() for text in self.headers.get_all("Content-Length", ["0"])}
            length = lengths.pop()
            if lengths or not re.fullmatch("[0-9]{1,18}", length):
                self.send_error(400, "the Content-Length is invalid")
            elif "Transfer-Encoding" in self.headers:
                self.send_error(411, "a Content-Length is required")
            elif int(length) > _MAX_BODY:
                self.send_error(413, "Payload exceeds 64 KB limit")
            else:
                body = self.rfile.read(int(length))
                self.close_connection |= self.request_version == "HTTP/1.0"
                if len(body) == int(length):  # else the client is gone, and next is the end
                    key = self.headers.get("X-API-Key", "").strip()
                    self.reply(*answer(self.command, self.path, key, body))

        do_POST = do_DELETE = do_PUT = do_PATCH = do_HEAD = do_OPTIONS = do_GET

        def send_error(self, code: int, message: str | None = None, explain: object = None) -> None:
            self.close_connection = True  # its body, if any, was not read
            self.reply(code, {"error": message or "the request is invalid"}, {})

        def reply(self, status: int, payload: object, headers: Mapping[str, str]) -> None:
            text = json.dumps(payload).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            for name, value in headers.items():
                self.send_header(name, value)
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 1024
        allow_reuse_address = os.name == "posix"  # elsewhere it would let two servers share a port
        server_bind = TCPServer.server_bind  # without the DNS look-up that HTTPServer adds
        stopping = False

        def start(self) -> None:
            self.calls: dict[threading.Thread, socket.socket] = {}
            self.thread = _thread(self.accept)

        def accept(self) -> None:  # serve_forever() would look twice a second whether to stop
            while not self.stopping:
                self.handle_request()

        def process_request(self, request: Any, client_address: Any) -> None:
            self.calls = {t: c for t, c in self.calls.items() if t.is_alive()}
            self.calls[_thread(self.process_request_thread, request, client_address)] = request

        def handle_error(self, request: Any, client_address: Any) -> None:
            _log.debug("a connection to LocalPosthook was dropped", exc_info=True)

        def stop(self) -> None:
            self.stopping = True
            with suppress(OSError):  # a call, so that accept() looks
                socket.create_connection(self.socket.getsockname(), 1.0).close()
            self.thread.join()
            self.server_close()
            for thread, connection in self.calls.items():
                with suppress(OSError):  # it has ended by itself
                    connection.shutdown(socket.SHUT_RDWR)
                thread.join()

    try:
        server = Server(("127.0.0.1", port), Connection)
    except OSError as error:
        problem = f"cannot listen on 127.0.0.1:{port}: {error.strerror}"
        raise PosthookConnectionError(problem, maybe_sent=False) from error
    server.start()
    return server


# ==================================================================================================
# 11. The command line. Uses everything public, and nothing private of the sections above.
# ==================================================================================================

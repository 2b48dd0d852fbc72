"""What talking to an API server can end in. Everything below is raised by `transport` alone; foreign errors never leave it.

`is_answered` is the question that matters after a write: True means that the API server gave its verdict, False that the write
may or may not have happened, so read again and decide again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from k8s.api.errors import PlatformError, UsageError

MAX_TEXT = 256
"""Characters of a foreign message that we pass on: enough to understand it, too few to leak a payload."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One field that the API server objects to."""

    field: str
    message: str


class ApiError(PlatformError):
    """The API server refused, or could not be asked."""

    reason = "ApiError"
    is_answered = True

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        api_reason: str = "",
        causes: tuple[Cause, ...] = (),
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.api_reason = api_reason
        self.causes = causes
        self.retry_after_seconds = retry_after_seconds


class BadRequest(ApiError):
    """400: the request itself is malformed; most often our bug."""

    reason = "BadRequest"


class Unauthorized(ApiError):
    """401: the credentials are missing, wrong or expired."""

    reason = "Unauthorized"


class Forbidden(ApiError):
    """403: RBAC or an admission rule says no."""

    reason = "Forbidden"


class NotFound(ApiError):
    """404: no such object, or no such kind."""

    reason = "NotFound"


class Conflict(ApiError):
    """409: the object has changed since it was read. Read again, decide again; never resend."""

    reason = "Conflict"


class AlreadyExists(Conflict):
    """409 with reason AlreadyExists: the name is taken."""

    reason = "AlreadyExists"


class Gone(ApiError):
    """410: this resourceVersion or continue token is too old; list anew."""

    reason = "Gone"


class Invalid(ApiError):
    """422: the object breaks a rule (see `causes`), or a test of a JSON Patch failed."""

    reason = "Invalid"


class Throttled(ApiError):
    """429: too many requests; not before `retry_after_seconds`."""

    reason = "Throttled"
    retryable = True


class ServerError(ApiError):
    """5xx: the API server failed. Like Kubernetes, assume nothing about whether a write happened: `is_answered` is False."""

    reason = "ServerError"
    retryable = True
    is_answered = False


class RequestTimeout(ApiError):
    """No answer within the deadline."""

    reason = "RequestTimeout"
    retryable = True
    is_answered = False


class Unreachable(ApiError):
    """No connection, or it broke before the answer was complete."""

    reason = "Unreachable"
    retryable = True
    is_answered = False


class UnreadableAnswer(ApiError):
    """The answer is not what the API promises. A write that got it has happened all the same: read again."""

    reason = "UnreadableAnswer"
    is_answered = False


class ConfigError(UsageError):
    """Broken credentials or kubeconfig. The message names the file, the field and the remedy."""

    reason = "ConfigError"


class _StatusCause(msgspec.Struct):
    field: str = ""
    message: str = ""


class _StatusDetails(msgspec.Struct, rename="camel"):
    causes: list[_StatusCause] | None = None
    retry_after_seconds: float | None = None


class Status(msgspec.Struct):
    """metav1.Status, as far as we read it."""

    kind: str = ""
    message: str = ""
    reason: str = ""
    code: int = 0
    details: _StatusDetails | None = None


_BY_REASON: dict[str, type[ApiError]] = {"AlreadyExists": AlreadyExists, "Expired": Gone, "Gone": Gone}
_BY_STATUS: dict[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    415: BadRequest,
    422: Invalid,
    429: Throttled,
}
_decode_status = msgspec.json.Decoder(Status).decode


def error_from_answer(*, status: int, body: bytes, what: str, retry_after: str | None = None) -> ApiError:
    """The error for an answer of 300 and above. `what` says which request, as in `PATCH runs/hello`."""
    try:
        parsed = _decode_status(body)
    except msgspec.DecodeError:
        parsed = Status()
    if parsed.kind != "Status":
        parsed = Status(message=_plain_text(body))
    return error_from_status(parsed, status=status, what=what, retry_after_seconds=_seconds(retry_after))


def error_from_status(parsed: Status, *, status: int, what: str, retry_after_seconds: float | None = None) -> ApiError:
    """The error that a Status object means: an answer's body, or the object of a watch's ERROR event."""
    error_type = _BY_REASON.get(parsed.reason) or _BY_STATUS.get(status) or (ServerError if status >= 500 else ApiError)
    details = parsed.details or _StatusDetails()
    message = f"{what}: {cut(parsed.message) or 'the API server gave no message'} (HTTP {status})"
    return error_type(
        message,
        status=status,
        api_reason=parsed.reason,
        causes=tuple(Cause(field=cause.field, message=cut(cause.message)) for cause in details.causes or ()),
        retry_after_seconds=retry_after_seconds if retry_after_seconds is not None else details.retry_after_seconds,
    )


def cut(text: str) -> str:
    """At most 256 characters of it."""
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def _plain_text(body: bytes) -> str:
    """Proxies and load balancers answer in text or HTML; JSON that is no Status may be an object, and is not shown."""
    text = body[: MAX_TEXT * 4].decode(errors="replace").strip()
    return "" if text.startswith(("{", "[", '"')) else cut(" ".join(text.split()))


def _seconds(text: str | None) -> float | None:
    # The other form of Retry-After, a date, would compare our clock with theirs: not honoured.
    return float(text) if text is not None and text.isdecimal() else None


def message_of(error: BaseException) -> dict[str, Any]:
    """Fields for a log line about `error`."""
    fields: dict[str, Any] = {"error": cut(str(error)) or type(error).__name__}
    if isinstance(error, ApiError):
        fields |= {"reason": error.reason, "status": error.status}
    return fields

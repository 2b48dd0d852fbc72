"""What the API server answers when it refuses: Kubernetes' `Status` objects, in its shape and wording (kubectl prints them).

Not for our clients: `k8s.client.errors` is the other side of this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec


@dataclass(frozen=True, slots=True)
class Cause:
    """One broken rule: `reason` as FieldValueInvalid, `message` without the field, `field` as in spec.mode."""

    reason: str
    message: str
    field: str

    def as_json(self) -> dict[str, str]:
        return {"reason": self.reason, "message": self.message, "field": self.field}


class Refused(Exception):
    """Ends a request with a Status object."""

    def __init__(
        self,
        message: str,
        *,
        code: int,
        reason: str = "",
        details: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        meta: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason
        self.details = details
        self.headers = headers or {}
        self.meta = meta or {}

    def as_json(self) -> dict[str, Any]:
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.meta,
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = self.details
        status["code"] = self.code
        return status

    def encode(self) -> bytes:
        return msgspec.json.encode(self.as_json()) + b"\n"


def qualify(plural: str, *, group: str) -> str:
    """`runs.kruntimes.io`, or just `pods` in the core group: how messages name a resource or kind."""
    return f"{plural}.{group}" if group else plural


def _details(name: str, *, group: str, kind: str, **more: Any) -> dict[str, Any]:
    details: dict[str, Any] = {"name": name, "group": group, "kind": kind, **more}
    return {key: value for key, value in details.items() if value != ""}


def not_found(name: str, *, group: str, plural: str) -> Refused:
    message = f'{qualify(plural, group=group)} "{name}" not found'
    return Refused(message, code=404, reason="NotFound", details=_details(name, group=group, kind=plural))


def already_exists(name: str, *, group: str, plural: str) -> Refused:
    message = f'{qualify(plural, group=group)} "{name}" already exists'
    return Refused(message, code=409, reason="AlreadyExists", details=_details(name, group=group, kind=plural))


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(name: str, *, group: str, plural: str, message: str = MODIFIED) -> Refused:
    text = f'Operation cannot be fulfilled on {qualify(plural, group=group)} "{name}": {message}'
    return Refused(text, code=409, reason="Conflict", details=_details(name, group=group, kind=plural))


def invalid(name: str, *, group: str, kind: str, causes: Sequence[Cause]) -> Refused:
    problems = [f"{cause.field}: {cause.message}" for cause in causes]
    listed = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
    return Refused(
        f'{qualify(kind, group=group)} "{name}" is invalid: {listed}',
        code=422,
        reason="Invalid",
        details=_details(name, group=group, kind=kind, causes=[cause.as_json() for cause in causes]),
    )


def invalid_options(kind: str, *, cause: Cause) -> Refused:
    """A query parameter or a DeleteOptions field that makes no sense: as `ListOptions.meta.k8s.io "" is invalid`."""
    return invalid("", group="meta.k8s.io", kind=kind, causes=[cause])


def bad_request(message: str) -> Refused:
    return Refused(message, code=400, reason="BadRequest")


def forbidden(name: str, *, group: str, plural: str, message: str, causes: Sequence[Cause] = ()) -> Refused:
    details = _details(name, group=group, kind=plural)
    if causes:
        details["causes"] = [cause.as_json() for cause in causes]
    return Refused(f'{qualify(plural, group=group)} "{name}" is forbidden: {message}', code=403, reason="Forbidden", details=details)


def method_not_allowed(*, group: str, plural: str, action: str) -> Refused:
    message = f'{action} is not supported on resources of kind "{qualify(plural, group=group)}"'
    return Refused(message, code=405, reason="MethodNotAllowed", details=_details("", group=group, kind=plural))


def unauthorized() -> Refused:
    return Refused("Unauthorized", code=401, reason="Unauthorized")


def gone(message: str) -> Refused:
    return Refused(message, code=410, reason="Expired")


def not_acceptable(accepted: Sequence[str]) -> Refused:
    return Refused(f"only the following media types are accepted: {', '.join(accepted)}", code=406, reason="NotAcceptable")


def unsupported_media_type(accepted: Sequence[str]) -> Refused:
    message = f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
    return Refused(message, code=415, reason="UnsupportedMediaType")


def not_implemented(message: str) -> Refused:
    """What a cluster can and local mode cannot; the message says so and names what works instead."""
    return Refused(message, code=501, reason="NotImplemented")


def success(name: str, *, group: str, plural: str, uid: str) -> dict[str, Any]:
    """The answer to a deletion that left nothing behind."""
    details = _details(name, group=group, kind=plural, uid=uid)
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def disk_full() -> Refused:
    """As etcd without room answers through kube-apiserver."""
    message = "Internal error occurred: the disk of the API server is full, nothing was written; make room on it and try again"
    return Refused(message, code=500, reason="InternalError")

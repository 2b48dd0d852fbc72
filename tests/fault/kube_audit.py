"""The audit log of a real kube-apiserver as the same Writes that the embedded server's audit gives."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from tests.fault.history import Write


def reader(*, wall_minus_monotonic: float) -> Callable[[bytes], Write | None]:
    """Reads one line; None for what is no write of a Run or a Lease."""

    def read(line: bytes) -> Write | None:
        entry = msgspec.json.decode(line)
        reference = entry.get("objectRef") or {}
        if not reference.get("resource"):
            return None
        if entry["verb"] in ("patch", "update") and "requestObject" not in entry:
            return None  # refused before anybody read it: without rights, say, while the authorizer of a new process is not warm
        return _write(entry, reference=reference, wall_minus_monotonic=wall_minus_monotonic)

    return read


def _write(entry: dict[str, Any], *, reference: dict[str, Any], wall_minus_monotonic: float) -> Write:
    answer = entry.get("responseObject") or {}
    code = int((entry.get("responseStatus") or {}).get("code") or 0)
    landed = answer if code < 300 else {}
    # The answer to a deletion is a Status that names the object in its details.
    is_deletion = landed.get("kind") == "Status"
    metadata = landed.get("metadata") or {}
    is_lease = reference["resource"] == "leases"
    status = {} if is_deletion else landed.get("spec" if is_lease else "status") or {}
    at = datetime.fromisoformat(entry["stageTimestamp"]).timestamp() - wall_minus_monotonic
    return Write(
        monotonic=at,
        user_agent=entry.get("userAgent", ""),
        verb=entry["verb"],
        resource=f"{reference['resource']}.{reference.get('apiGroup', '')}",
        subresource=reference.get("subresource", ""),
        name=reference.get("name") or metadata.get("name", ""),
        uid=landed["details"].get("uid", "") if is_deletion else metadata.get("uid", ""),
        before=None,
        after=int(metadata["resourceVersion"]) if metadata.get("resourceVersion") else None,
        code=code,
        phase=status.get("phase", "") if not is_lease else "",
        preconditions=_preconditions(entry.get("requestObject")),
        status=status,
    )


def _preconditions(body: Any) -> list[str]:
    if isinstance(body, list):
        return [operation.get("path", "") for operation in body if operation.get("op") == "test"]
    metadata = (body or {}).get("metadata") or {}
    return [f"/metadata/{key}" for key in ("resourceVersion", "uid") if metadata.get(key)]

"""An append-only record of every write, for checkers that replay a history (tests, fault injection). Off unless asked for."""

from __future__ import annotations

import errno
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from controlplane.local.apiserver.store import Stored


class _Shown(msgspec.Struct):
    """What of an object is recorded: never the spec of a Run, whose environment may hold secrets."""

    spec: msgspec.Raw = msgspec.Raw(b"null")
    status: msgspec.Raw = msgspec.Raw(b"null")


class _Metadata(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    uid: str = ""


class _Body(msgspec.Struct):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


class _Operation(msgspec.Struct):
    op: str
    path: str


def preconditions_of(body: bytes, *, content_type: str) -> list[str]:
    """The paths that a write depends on: what its JSON Patch tests, or the version and UID that it names. Never their values."""
    try:
        if content_type.startswith("application/json-patch+json"):
            operations = msgspec.json.decode(body, type=list[_Operation])
            return [operation.path for operation in operations if operation.op == "test"]
        metadata = msgspec.json.decode(body, type=_Body).metadata
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []  # refused anyway, or YAML
    named = {"/metadata/resourceVersion": metadata.resource_version, "/metadata/uid": metadata.uid}
    return [path for path, value in named.items() if value]


def _shown(body: bytes, *, resource: str) -> msgspec.Raw:
    shown = msgspec.json.decode(body, type=_Shown)
    return shown.spec if resource.startswith("leases.") else shown.status


class Audit:
    """JSON lines; each is written before the request is answered. `status` is the object's after the write (of a Lease: its spec).

    What a full disk does not take is kept and comes before the next line: a record of faults must not lose some to one of them.
    """

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("ab", buffering=0)
        self._pending = b""
        path.chmod(0o600)

    def close(self) -> None:
        self._append(b"")
        self._file.close()

    def _append(self, line: bytes) -> None:
        self._pending += line
        try:
            while self._pending:
                self._pending = self._pending[self._file.write(self._pending) :]
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise

    def record(
        self,
        *,
        user_agent: str,
        verb: str,
        resource: str,
        subresource: str,
        namespace: str,
        name: str,
        code: int,
        before: Stored | None,
        after: Stored | None,
        preconditions: Sequence[str] = (),
    ) -> None:
        changed = after if after is not None else before
        line: dict[str, Any] = {
            "monotonic": time.monotonic(),
            "time": datetime.now(UTC).isoformat(timespec="microseconds"),
            "userAgent": user_agent,
            "verb": verb,
            "resource": resource,
            "subresource": subresource,
            "namespace": namespace,
            "name": changed.key[1] if changed is not None else name,
            "uid": changed.uid if changed is not None else "",
            "before": before.rv if before is not None else None,
            "after": after.rv if after is not None else None,
            "code": code,
            "phase": changed.fields.get("status.phase", "") if changed is not None else "",
            "preconditions": preconditions,
            "status": _shown(changed.body, resource=resource) if changed is not None else None,
        }
        self._append(msgspec.json.encode(line) + b"\n")

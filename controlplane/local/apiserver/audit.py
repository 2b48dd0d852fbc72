"""An append-only record of every write, for checkers that replay a history (tests, fault injection). Off unless asked for."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from controlplane.local.apiserver.store import Stored


class Audit:
    """JSON lines; each is written before the request is answered."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("ab", buffering=0)
        path.chmod(0o600)

    def close(self) -> None:
        self._file.close()

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
        }
        self._file.write(msgspec.json.encode(line) + b"\n")

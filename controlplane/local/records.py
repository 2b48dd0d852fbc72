"""Which processes were started, on disk: so that whoever comes after a killed node or daemon ends what was left behind.

The kernel ends direct children with their parent; their own children it does not. A record names a session by its leader, and
each process in it by an environment entry, so that nothing foreign is ever killed.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from controlplane.local import processes
from controlplane.local.processes import Identity

CONTAINER_ID = "KRUNTIMES_CONTAINER_ID"
"""Environment name under which every process of a container carries its unique id."""


class Record(msgspec.Struct, frozen=True):
    """A session that we started."""

    pid: int
    started: int
    boot_id: str
    container_id: str


class Records:
    """A folder with one file a session."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def add(self, identity: Identity, *, container_id: str) -> None:
        record = Record(identity.pid, identity.started, identity.boot_id, container_id)
        path = self._path(identity)
        temporary = path.with_suffix(".new")
        temporary.write_bytes(msgspec.json.encode(record))
        os.replace(temporary, path)

    def remove(self, identity: Identity) -> None:
        self._path(identity).unlink(missing_ok=True)

    def kill_leftovers(self) -> int:
        """End every recorded session and forget it; gives how many processes were hit."""
        killed = 0
        for path in sorted(self._folder.glob("*.json")):
            try:
                record = msgspec.json.decode(path.read_bytes(), type=Record)
            except msgspec.MsgspecError:
                path.unlink(missing_ok=True)  # cut by a power loss; after the boot nothing of it runs
                continue
            killed += _kill(record)
            path.unlink(missing_ok=True)
        return killed

    def _path(self, identity: Identity) -> Path:
        return self._folder / f"{identity.pid}-{identity.started}.json"


def _kill(record: Record) -> int:
    if record.boot_id != processes.boot_id():
        return 0
    leader = processes.read_stat(record.pid)
    if leader and leader.started != record.started:
        return 0  # the number was given away, which the kernel does only once nothing of the session is left
    entry = f"{CONTAINER_ID}={record.container_id}"
    return processes.kill_session(record.pid, is_ours=lambda pid: processes.has_environment(pid, entry=entry))

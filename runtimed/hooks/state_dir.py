"""Markers and result records on disk, outside of what user code can reach (ownership.md, "Words" and rules 14, 15, 23).

One file each, named by Run UID and attempt, complete or absent, whatever crashes. No fsync: the folder knows under which boot of
the node it was written, and after another every assigned Run counts as lost.
"""

from __future__ import annotations

import errno
import logging
import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from k8s.api.errors import PlatformError
from runtimed.core.facts import Instant, Marker, Outcome, Workspace

logger = logging.getLogger(__name__)

BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")
_NODE_BOOT = "node-boot-id"
_SUFFIXES = {"marker": Marker, "record": Outcome, "workspace": Workspace}


class StateDirError(PlatformError):
    """The state folder cannot be used; without it no attempt may start."""

    reason = "StateDir"


def read_node_boot_id() -> str:
    """The same until the node boots again."""
    return BOOT_ID_FILE.read_text().strip()


@dataclass(slots=True)
class Remains:
    """What an earlier runtimed of this Pod left of one Run."""

    markers: list[Marker] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    workspace: Workspace | None = None


class StateDir:
    """The folder of one Pod. Every method is a few system calls on small files."""

    def __init__(self, path: Path, *, node_boot_id: str, pod_uid: str) -> None:
        self.path = path
        self.node_boot_id = node_boot_id
        self._pod_uid = pod_uid
        self.was_left_by_another_boot = False

    def open(self) -> None:
        """Makes it, mode 0700. Raises StateDirError."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
            for leftover in self.path.glob("*.tmp"):
                leftover.unlink()
            known = self._read_boot()
        except OSError as error:
            raise StateDirError(f"--state-dir {self.path}: {error.strerror}; it must be a folder that runtimed can write to") from error
        self.was_left_by_another_boot = known not in ("", self.node_boot_id)
        if not known:
            self._note_boot()

    def load(self) -> dict[str, Remains]:
        """What is there, by Run UID. Of another boot nothing is believed."""
        remains: dict[str, Remains] = defaultdict(Remains)
        for path in sorted(self.path.iterdir()):
            uid, _, rest = path.name.rpartition("@")
            kind = rest.rpartition(".")[2]
            if not uid or kind not in _SUFFIXES:
                # E.g. what was printed of an attempt whose marker is gone.
                if kind == "printed" and not path.with_name(f"{uid}@{rest.partition('.')[0]}.marker").exists():
                    path.unlink(missing_ok=True)
                continue
            value = self._read(path, _SUFFIXES[kind])
            if value is None and kind == "marker":
                value = self._unreadable_marker(uid, rest)
            if value is None or self.was_left_by_another_boot:
                path.unlink(missing_ok=True)
            elif isinstance(value, Marker):
                remains[uid].markers.append(value)
            elif isinstance(value, Outcome):
                remains[uid].outcomes.append(value)
            else:
                remains[uid].workspace = value
        return dict(remains)

    def count_as_lost(self, attempts: Iterable[tuple[str, int]], *, now: Instant) -> list[Marker]:
        """After a boot of the node: a marker for every assigned attempt, as if it had been started before the boot.

        STRICTLY BEFORE the new boot is noted: a crash in between must find it still to be done.
        """
        markers = [Marker(uid, attempt, self._pod_uid, "", "another boot", now, now.wall) for uid, attempt in attempts]
        for marker in markers:
            self.make_marker(marker)
        self._note_boot()
        self.was_left_by_another_boot = False
        return markers

    def make_marker(self, marker: Marker) -> Marker:
        """Creates it exclusively; the one that is there already, if any. Raises OSError."""
        path = self._path(marker.run_uid, marker.attempt, "marker")
        temporary = self._write_temporary(path, marker)
        try:
            # A link, unlike a rename, fails where the name is taken: exclusive and complete at once.
            os.link(temporary, path)
        except OSError as error:
            if error.errno != errno.EEXIST:
                raise
            return self._read(path, Marker) or marker
        finally:
            temporary.unlink()
        return marker

    def write_record(self, run_uid: str, outcome: Outcome) -> None:
        """Replaces an older one. Raises OSError."""
        self._replace(self._path(run_uid, outcome.attempt, "record"), outcome)

    def note_workspace(self, run_uid: str, workspace: Workspace) -> None:
        """That it is complete, and for which attempt. Raises OSError."""
        self._replace(self._path(run_uid, 0, "workspace"), workspace)

    def drop_marker(self, run_uid: str, attempt: int) -> None:
        """And with it how far its output is printed."""
        self._path(run_uid, attempt, "marker").unlink(missing_ok=True)
        self._path(run_uid, attempt, "printed").unlink(missing_ok=True)

    def note_printed(self, run_uid: str, attempt: int, *, stdout: int, stderr: int) -> None:
        """How many bytes of both streams are in our log. Best effort: without it a successor prints them again."""
        try:
            fd = os.open(self._path(run_uid, attempt, "printed"), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                # In one call of fixed length: it is never seen half written by a successor.
                os.pwrite(fd, b"%019d %019d" % (stdout, stderr), 0)
            finally:
                os.close(fd)
        except OSError as error:
            logger.debug("progress of output is not noted", extra={"uid": run_uid, "error": error.strerror})

    def read_printed(self, run_uid: str, attempt: int) -> tuple[int, int]:
        """As noted, or nothing."""
        try:
            stdout, stderr = self._path(run_uid, attempt, "printed").read_bytes().split()
            return int(stdout), int(stderr)
        except (OSError, ValueError):
            return 0, 0

    def drop_record(self, run_uid: str, attempt: int) -> None:
        self._path(run_uid, attempt, "record").unlink(missing_ok=True)

    def drop_workspace(self, run_uid: str) -> None:
        self._path(run_uid, 0, "workspace").unlink(missing_ok=True)

    def _path(self, run_uid: str, attempt: int, kind: str) -> Path:
        if not run_uid or "/" in run_uid or len(run_uid) > 128:
            raise OSError(errno.EINVAL, "metadata.uid is no name of a file")
        return self.path / f"{run_uid}@{attempt}.{kind}"

    def _replace(self, path: Path, value: object) -> None:
        self._write_temporary(path, value).replace(path)

    def _write_temporary(self, path: Path, value: object) -> Path:
        temporary = path.with_name(path.name + ".tmp")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            data = msgspec.json.encode(value)
            if os.write(fd, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)
        return temporary

    def _unreadable_marker(self, uid: str, rest: str) -> Marker | None:
        """It was made, so the attempt may have started: of a boot that is no more, it counts as lost."""
        number = rest.partition(".")[0]
        nothing = datetime.fromtimestamp(0, tz=UTC)
        return Marker(uid, int(number), self._pod_uid, "", "unreadable", Instant(0.0, nothing), nothing) if number.isdecimal() else None

    def _read(self, path: Path, type_: type[Any]) -> Any:
        try:
            return msgspec.json.decode(path.read_bytes(), type=type_)
        except (OSError, msgspec.DecodeError) as error:
            logger.error("a file of the state folder cannot be read and is ignored", extra={"file": path.name, "error": str(error)[:256]})
            return None

    def _read_boot(self) -> str:
        path = self.path / _NODE_BOOT
        return path.read_text().strip() if path.exists() else ""

    def _note_boot(self) -> None:
        """On stable storage: once a boot, and without it a crash of the node could make the folder look fresh."""
        temporary = self.path / (_NODE_BOOT + ".tmp")
        with temporary.open("w") as file:
            file.write(self.node_boot_id)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path / _NODE_BOOT)
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

"""Markers and result records on disk, outside of what user code can reach (ownership.md, "Words" and rules 14, 15, 23).

One file each, named by Run UID and attempt, complete or absent, whatever crashes. No fsync: the folder knows under which boot of
the node it was written, and after another every assigned Run counts as lost. So the files themselves may lie in memory, where
making one costs a twentieth; what must outlive a boot, that there was one before, is on disk.
"""

from __future__ import annotations

import errno
import logging
import os
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
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
_encode = msgspec.json.Encoder().encode
_LOG_SUFFIX = ".log"
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
    """The folder of one Pod. Every method is a few system calls on small files; paths are plain text, for they are on the hot path."""

    def __init__(self, path: Path, *, node_boot_id: str, pod_uid: str, memory: Path | None = None) -> None:
        """`memory` is a folder on a tmpfs that lives at least as long as the Pod; without it everything is in `path`."""
        self.path = path
        self.files = memory or path
        self.node_boot_id = node_boot_id
        self._pod_uid = pod_uid
        self.was_left_by_another_boot = False

    def open(self) -> None:
        """Makes it, mode 0700 where it is ours: a volume of the Pod belongs to root, and is mounted into our container alone.

        Raises StateDirError.
        """
        for flag, folder in (("--state-dir", self.path), ("--memory-dir", self.files)):
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                if folder.stat().st_uid == os.geteuid():
                    folder.chmod(0o700)
                for leftover in folder.glob("*.tmp"):
                    leftover.unlink()
            except OSError as error:
                raise StateDirError(f"{flag} {folder}: {error.strerror}; it must be a folder that runtimed can write to") from error
        known = _read_boot(self.path)
        # Files in memory must be those that were there before: a folder that came back empty says nothing about what was started.
        self.was_left_by_another_boot = bool(known) and {known, _read_boot(self.files)} != {self.node_boot_id}
        if not known:
            self._note_boot()

    def load(self) -> dict[str, Remains]:
        """What is there, by Run UID. Of another boot nothing is believed."""
        self._drop_lost_logs()
        remains: dict[str, Remains] = defaultdict(Remains)
        for path in sorted(self.files.iterdir()):
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
        temporary = _write_temporary(path, marker)
        try:
            # A link, unlike a rename, fails where the name is taken: exclusive and complete at once.
            os.link(temporary, path)
        except OSError as error:
            if error.errno != errno.EEXIST:
                raise
            return self._read(Path(path), Marker) or marker
        finally:
            os.unlink(temporary)
        return marker

    def write_record(self, run_uid: str, outcome: Outcome) -> None:
        """Replaces an older one. Raises OSError."""
        _replace(self._path(run_uid, outcome.attempt, "record"), outcome)

    def note_workspace(self, run_uid: str, workspace: Workspace) -> None:
        """That it is complete, and for which attempt. Raises OSError."""
        _replace(self._path(run_uid, 0, "workspace"), workspace)

    def drop_marker(self, run_uid: str, attempt: int) -> None:
        """And with it how far its output is printed."""
        _unlink(self._path(run_uid, attempt, "marker"))
        _unlink(self._path(run_uid, attempt, "printed"))

    def log_path(self, run_uid: str, attempt: int, stream: str) -> str:
        """Where the output of an attempt is kept for its artifacts: on disk, for it may be long. Raises OSError."""
        return f"{self.path}/{os.path.basename(self._path(run_uid, attempt, stream))}{_LOG_SUFFIX}"

    def drop_log(self, run_uid: str, attempt: int, stream: str) -> None:
        _unlink(self.log_path(run_uid, attempt, stream))

    def _drop_lost_logs(self) -> None:
        """Of attempts whose marker is gone: a crash came between."""
        for path in self.path.glob(f"*{_LOG_SUFFIX}"):
            attempt = path.name.removesuffix(_LOG_SUFFIX).rpartition(".")[0]
            if not (self.files / f"{attempt}.marker").exists():
                path.unlink(missing_ok=True)

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
            stdout, stderr = Path(self._path(run_uid, attempt, "printed")).read_bytes().split()
            return int(stdout), int(stderr)
        except (OSError, ValueError):
            return 0, 0

    def drop_record(self, run_uid: str, attempt: int) -> None:
        _unlink(self._path(run_uid, attempt, "record"))

    def drop_workspace(self, run_uid: str) -> None:
        _unlink(self._path(run_uid, 0, "workspace"))

    def _path(self, run_uid: str, attempt: int, kind: str) -> str:
        if not run_uid or "/" in run_uid or len(run_uid) > 128:
            raise OSError(errno.EINVAL, "metadata.uid is no name of a file")
        return f"{self.files}/{run_uid}@{attempt}.{kind}"

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

    def _note_boot(self) -> None:
        """STRICTLY in this order: what is on disk says that what is in memory was there."""
        if self.files != self.path:
            (self.files / _NODE_BOOT).write_text(self.node_boot_id)
        _write_durably(self.path, _NODE_BOOT, self.node_boot_id)


def _read_boot(folder: Path) -> str:
    path = folder / _NODE_BOOT
    return path.read_text().strip() if path.exists() else ""


def _write_durably(folder: Path, name: str, text: str) -> None:
    """On stable storage: once a boot, and without it a crash of the node could make the folder look fresh."""
    temporary = folder / (name + ".tmp")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / name)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _replace(path: str, value: object) -> None:
    os.replace(_write_temporary(path, value), path)


def _write_temporary(path: str, value: object) -> str:
    temporary = path + ".tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        data = _encode(value)
        if os.write(fd, data) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
        _unlink(temporary)
        raise
    finally:
        os.close(fd)
    return temporary


def _unlink(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)

"""What happened: every write at the API server, every start and end of user code, as values that checkers read. No I/O but reading.

Two files make a history. `audit.jsonl` is written by the API server, before each answer. `workload.log` is written by user code
itself (see `workload`), one short append a line, outside of everything that our processes touch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

RUN_KIND = "runs.kruntimes.io"


class Write(msgspec.Struct, frozen=True, rename="camel"):
    """One line of the audit."""

    monotonic: float
    user_agent: str
    verb: str
    resource: str
    subresource: str
    name: str
    uid: str
    before: int | None
    after: int | None
    code: int
    phase: str
    preconditions: list[str] = []
    status: dict[str, Any] | None = None

    @property
    def has_landed(self) -> bool:
        return self.code < 300

    @property
    def is_of_something(self) -> bool:
        """The object is there after it: not a deletion."""
        return not self.verb.startswith("delete")

    @property
    def is_status_of_run(self) -> bool:
        return self.resource == RUN_KIND and self.subresource == "status"

    @property
    def attempt(self) -> int:
        return int((self.status or {}).get("attempt") or 0)


class Attempt(NamedTuple):
    """Who may execute: at most one process ever."""

    run_uid: str
    number: int
    pod_uid: str


@dataclass(frozen=True, slots=True)
class Start:
    """User code began. `attempts` are the markers that lay in runtimed's folder at that moment: exactly one, if all is well."""

    run_uid: str
    attempts: tuple[int, ...]
    pod_uid: str
    pid: int
    at: float
    """The monotonic clock of this machine."""


@dataclass(frozen=True, slots=True)
class Made:
    """A Run that the client was told is created."""

    uid: str
    name: str
    max_attempts: int = 1


@dataclass(frozen=True, slots=True)
class History:
    """Everything, in order."""

    writes: list[Write] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    ends: list[Start] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)

    def writes_by_run(self) -> dict[str, list[Write]]:
        """Those that landed, in the order in which they did: a kube-apiserver notes a write when it answers, which may be later."""
        found: dict[str, list[Write]] = defaultdict(list)
        for write in self.writes:
            if write.resource == RUN_KIND and write.has_landed:
                found[write.uid].append(write)
        for writes in found.values():
            writes.sort(key=_place)
        return found

    def starts_by_run(self) -> dict[str, list[Start]]:
        found: dict[str, list[Start]] = defaultdict(list)
        for start in self.starts:
            found[start.run_uid].append(start)
        return found

    def of(self, made: Iterable[Made]) -> History:
        """The part that concerns these Runs."""
        chosen = list(made)
        uids, names = {run.uid for run in chosen}, {run.name for run in chosen}
        return History(
            # A refused write has no UID.
            [write for write in self.writes if write.uid in uids or (not write.uid and write.name in names)],
            [start for start in self.starts if start.run_uid in uids],
            [end for end in self.ends if end.run_uid in uids],
            chosen,
        )


def _place(write: Write) -> tuple[bool, int]:
    """A deletion may have no resourceVersion, and is the last."""
    return write.after is None, write.after or 0


def read_embedded(line: bytes) -> Write:
    return msgspec.json.decode(line, type=Write)


class Recorder:
    """Reads both files on as they grow. `read_write` turns a line of the audit into a Write, or into None."""

    def __init__(
        self, *, audit: Path, workload: Path, wall_minus_monotonic: float, read_write: Callable[[bytes], Write | None] = read_embedded
    ) -> None:
        self._audit, self._workload = _Tail(audit), _Tail(workload)
        self._read_write = read_write
        self._wall_minus_monotonic = wall_minus_monotonic
        self._history = History()

    def read(self) -> History:
        """Everything so far."""
        history = self._history
        history.writes.extend(write for line in self._audit.new_lines() if (write := self._read_write(line)) is not None)
        for line in self._workload.new_lines():
            what, start = parse_line(line.decode(), wall_minus_monotonic=self._wall_minus_monotonic)
            (history.starts if what == "start" else history.ends).append(start)
        return history


def parse_line(line: str, *, wall_minus_monotonic: float) -> tuple[str, Start]:
    """`start RUN-UID POD-UID PID EPOCH-SECONDS MARKER...`"""
    what, uid, pod_uid, pid, epoch, *markers = line.split()
    numbers = tuple(int(number) for marker in markers if (number := marker.rpartition("@")[2].partition(".")[0]).isdecimal())
    return what, Start(uid, numbers, pod_uid, int(pid), float(epoch) - wall_minus_monotonic)


class _Tail:
    """Whole lines that were not given yet. A line that is being written is not there yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def new_lines(self) -> list[bytes]:
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        return whole.splitlines()

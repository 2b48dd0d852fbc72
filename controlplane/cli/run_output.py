"""Streams the output of one Run from the log of the `runtimed` container of its Pod, from the first byte to the last.

It hands on lines, and parts of lines that are not complete yet.

How the end is known: runtimed prints all lines of an attempt, and at the end, when it asks for the terminal status, an end line
(`k8s.api.run_log`). The log pipeline of a node is asynchronous, so the status may get here first. After the terminal status
we read on until the first of
* the end line of the terminal attempt: nothing of this Run comes after it (the normal case, no waiting at all),
* a line, of whatever Run, that the node stamped more than `PASSED_SECONDS` after the Run's completionTime (both are that
  node's clock) and after its last line so far: the log has passed the end of the Run,
* `QUIET_SECONDS` without any line, for runtimeds that print no end line and attempts that died with their Pod: what the log
  holds at that moment is then read to its end without following, so that a slow server cannot make us miss anything.

A broken stream is taken up again where it stopped: lines carry the node's timestamps, so none is printed twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from controlplane.cli.ages import parse_instant
from controlplane.cli.tail import Tail
from k8s.api.errors import KrtError
from k8s.api.run import Run
from k8s.api.run_log import EndLine, OutputLine, PartialLine, parse_line
from k8s.api.timestamps import format_timestamp

CONNECT_SECONDS = 10.0
"""How long a log may take to open after the Run has ended, before its output is given up."""
QUIET_SECONDS = 1.0
"""Kubelet and container runtime forward a line within some ten milliseconds; a loaded node may take several hundred."""
PASSED_SECONDS = 2.0
"""More than a line can wait in the pipe between runtimed and the log file of its node."""
CLOCK_MARGIN = timedelta(seconds=15)
"""How far the node's clock may be behind the API server's for no line to be missed: the freshness limit of a heartbeat."""
REST_SECONDS = 60.0
"""A log is at most some ten megabytes a file; a node that takes longer is not coming back."""
START_MARGIN = timedelta(seconds=1)
"""For servers that cut timestamps to whole seconds."""
RECONNECT_SECONDS = (0.1, 0.3, 1.0, 3.0)


class LogUnavailable(KrtError):
    """The log cannot be read, and asking again will not help. The message says why."""

    reason = "LogUnavailable"


class LogInterrupted(KrtError):
    """The log cannot be read now, or broke off; it may be taken up again."""

    reason = "LogInterrupted"
    retryable = True


class LogSource(Protocol):
    """The log of one `runtimed` container."""

    def open(self, *, since: str, is_following: bool, is_previous: bool = False) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Lines with the node's timestamp before each. Raises LogUnavailable and LogInterrupted, also while lines are read."""
        ...


@dataclass(slots=True)
class Position:
    """How far the log has been read: the stamp of the last line, and how many lines with that very stamp."""

    since: str
    stamp: str = ""
    seen: int = 0
    _to_skip: int = 0
    _is_catching_up: bool = False

    def restart(self) -> str:
        """Where to ask from; lines that were seen already will be skipped."""
        # The most of what was seen: an attempt to read that brought nothing must not make us forget.
        self._to_skip, self.seen = max(self._to_skip, self.seen), 0
        self._is_catching_up = bool(self.stamp)
        return self.stamp or self.since

    def is_new(self, stamp: str) -> bool:
        """Whether the line with `stamp`, the next one read, has not been read before; remembers it."""
        # Only after a reconnect: within one stream an older stamp means that the node's clock was set back.
        if self._is_catching_up and _order(stamp) < _order(self.stamp):
            return False
        if stamp != self.stamp:
            self.stamp, self.seen, self._to_skip, self._is_catching_up = stamp, 1, 0, False
            return True
        self.seen += 1
        return self.seen > self._to_skip


def first_moment(run: Run) -> datetime | None:
    """The node's time before which it has printed nothing of this Run. startTime is that node's clock, creation is not."""
    if run.status.start_time is not None:
        return run.status.start_time - START_MARGIN
    created = run.metadata.creation_timestamp
    return created - CLOCK_MARGIN if created else None


@dataclass(slots=True)
class OutputReader:
    """Reads one container's log and hands on the lines of one Run."""

    source: LogSource
    run_uid: str
    since: datetime | None
    """The node's time before which there is nothing of this Run; see `first_moment`."""
    emit: Callable[[OutputLine | PartialLine], None]
    quiet_seconds: float = QUIET_SECONDS
    ended_attempts: set[int] = field(default_factory=set)
    is_holding_back: bool = False
    """Lines are being collected for a tail; the end line may be among them already."""
    last_stamp: str = ""
    """The node's clock at the last line of any Run."""
    _own_stamp: str = ""
    """The same of this one: a flood is on its way to the log for long after its Run has ended."""
    _position: Position = field(init=False)
    _needle: bytes = field(init=False)
    _activity: asyncio.Event = field(default_factory=asyncio.Event)
    _was_open: bool = False

    def __post_init__(self) -> None:
        self._position = Position(format_timestamp(self.since) if self.since else "")
        self._needle = self.run_uid.encode()

    async def read_tail(self, tail: int) -> None:
        """What the log holds now, but only the last `tail` lines of each stream; 0 for all, each as it is read."""
        if not tail:
            await self.read_once()
            return
        kept, emit = Tail(tail), self.emit
        self.emit, self.is_holding_back = kept.add, True
        try:
            await self.read_once()
        finally:  # also where it broke off: who follows goes on from there
            for line in kept.lines():
                emit(line)
            self.emit, self.is_holding_back = emit, False
            self._activity.set()

    async def read_once(self) -> None:
        """What the log holds now."""
        await self._read_previous()
        await self._read(is_following=False)

    async def follow(self) -> None:
        """For ever, over broken connections; raises LogUnavailable."""
        failures = 0
        while True:
            if self._was_open:
                await self._read_previous()
            before = self._position.stamp
            with suppress(LogInterrupted):
                await self._read(is_following=True)
            failures = 0 if self._position.stamp != before else failures + 1
            await asyncio.sleep(RECONNECT_SECONDS[min(failures, len(RECONNECT_SECONDS) - 1)])

    async def finish(self, following: asyncio.Task[None], *, attempt: int, completed: datetime | None) -> None:
        """After the terminal status: reads on until the last line of `attempt` has been read (see the module's text)."""
        while not following.done() and (self.is_holding_back or not self._is_over(attempt, completed=completed)):
            self._activity.clear()
            limit_seconds = self.quiet_seconds if self._was_open and not self.is_holding_back else CONNECT_SECONDS
            try:
                await asyncio.wait_for(_first(following, self._activity), limit_seconds)
            except TimeoutError:
                await self._read_the_rest(following)
                return

    async def _read_the_rest(self, following: asyncio.Task[None]) -> None:
        """Silence may be a server that is still skipping a long log: only the end of what there is proves that nothing is missing."""
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        with suppress(LogInterrupted, LogUnavailable, TimeoutError):
            async with asyncio.timeout(REST_SECONDS):
                await self._read(is_following=False)

    def _is_over(self, attempt: int, *, completed: datetime | None) -> bool:
        if attempt in self.ended_attempts:
            return True
        stamp, own = parse_instant(self.last_stamp), parse_instant(self._own_stamp)
        if not completed or not stamp:
            return False
        return stamp > max(completed, own or completed) + timedelta(seconds=PASSED_SECONDS)

    async def _read_previous(self) -> None:
        """What the container wrote before it was restarted; most often it was not."""
        with suppress(LogInterrupted, LogUnavailable):
            await self._read(is_following=False, is_previous=True)

    async def _read(self, *, is_following: bool, is_previous: bool = False) -> None:
        async with self.source.open(since=self._position.restart(), is_following=is_following, is_previous=is_previous) as lines:
            self._was_open = True
            self._activity.set()
            async for line in lines:
                self._take(line)

    def _take(self, line: bytes) -> None:
        stamp, _, text = line.partition(b" ")
        self.last_stamp = stamp.decode("ascii", "replace")
        # A busy Pod's log is mostly of other Runs: they must cost next to nothing.
        if self._position.is_new(self.last_stamp) and self._needle in text:
            parsed = parse_line(text)
            if isinstance(parsed, EndLine) and parsed.run_uid == self.run_uid:
                self.ended_attempts.add(parsed.attempt)
            elif isinstance(parsed, OutputLine | PartialLine) and parsed.run_uid == self.run_uid:
                self._own_stamp = self.last_stamp
                self.emit(parsed)
        self._activity.set()


async def _first(task: asyncio.Task[None], event: asyncio.Event) -> None:
    """Until one of them."""
    waiting = asyncio.create_task(event.wait(), name="log-activity")
    try:
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()


def _order(stamp: str) -> tuple[str, str]:
    """Stamps compare as text once the fraction is apart: Go leaves out trailing zeros."""
    whole, _, fraction = stamp.removesuffix("Z").partition(".")
    return whole, fraction

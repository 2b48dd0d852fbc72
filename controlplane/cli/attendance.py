"""Attends a Run until it ends: streams its output, tells its progress, and says what to exit with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controlplane.cli import console
from controlplane.cli.ages import human_duration
from controlplane.cli.failures import CommandFailed
from controlplane.cli.pod_log import PodLog
from controlplane.cli.run_output import LogInterrupted, LogUnavailable, OutputReader, first_moment
from controlplane.cli.run_watch import watch_run
from controlplane.cli.screen import Screen
from controlplane.cli.verdicts import failure_reason
from k8s.api import phases
from k8s.api.run import Run

if TYPE_CHECKING:
    from controlplane.cli.connection import Session


@dataclass(slots=True)
class Progress:
    """Tells what happens to a Run, each thing once."""

    tell: Callable[[str], None] = console.note
    _told: str = ""

    def show(self, run: Run) -> None:
        text = _describe(run)
        if text and text != self._told:
            self._told = text
            self.tell(text)


def _describe(run: Run) -> str:
    status = run.status
    retrying = f" (attempt {run.attempt_number})" if run.attempt_number > 1 else ""
    match run.phase:
        case phases.PENDING:
            return f"Waiting: {status.message}" if status.message else ""
        case phases.SCHEDULED:
            return f"Scheduled to {status.assigned_pod}{retrying}"
        case phases.RUNNING:
            return f"Running on {status.assigned_pod}{retrying}"
        case phases.READY:
            return f"Ready on {status.assigned_pod}"
    return ""


def describe_end(run: Run) -> str:
    """One line about a terminal Run."""
    started, ended = run.status.start_time, run.status.completion_time
    took = f" in {human_duration((ended - started).total_seconds())}" if started and ended else ""
    name = f"Run {run.metadata.name}"
    if run.phase == phases.SUCCEEDED:
        return f"{name} succeeded{took}"
    verb = {phases.TIMEOUT: "timed out", phases.CANCELLED: "was cancelled"}.get(run.phase, "failed")
    reason = failure_reason(run)
    detail = f" ({reason})" if reason and run.phase == phases.FAILED else ""
    return f"{name} {verb}{detail}{took}: {run.status.message or 'no message'}"


@dataclass(slots=True)
class Attendance:
    """Follows one Run and the log of whichever Pod has it."""

    session: Session
    tell: Callable[[str], None] = console.note
    is_about_output: bool = False
    """`krt logs`: fails without the log, and begins with what there is. Waiting goes on without it."""
    tail: int = 0
    """How many lines of each stream to begin with; 0 for all."""
    _pod_uid: str = ""
    _attempt: int = 1
    """The last one seen on that Pod."""
    _reader: OutputReader | None = None
    _following: asyncio.Task[None] | None = None
    _is_reported: bool = False
    _screen: Screen = field(default_factory=Screen)

    async def attend(self, name: str, *, uid: str | None = None) -> Run:
        """Until it is terminal and its output has been written."""
        progress = Progress(self.tell)
        try:
            async with aclosing(watch_run(self.session, name, uid=uid)) as states:
                while (run := await self._next_of(states)) is not None:
                    progress.show(run)
                    await self._follow_pod(run)
                    if run.is_terminal:
                        await self._finish_reading(run)
                        return run
        finally:
            await self._stop()
        raise CommandFailed(f"Run {name}: the watch ended before the Run did")

    async def _next_of(self, states: AsyncGenerator[Run, None]) -> Run | None:
        """The next state. Meanwhile the reader may fail: at once for a closed stdout, with a warning for a log that is gone."""
        upcoming = asyncio.ensure_future(anext(states, None))
        try:
            while not upcoming.done():
                reading = [self._following] if self._following and not self._is_reported else []
                await asyncio.wait([upcoming, *reading], return_when=asyncio.FIRST_COMPLETED)
                self._report_failed_reading()
            return upcoming.result()
        finally:
            upcoming.cancel()
            # Waited for: the generator cannot be closed while it runs.
            await asyncio.gather(upcoming, return_exceptions=True)

    async def _follow_pod(self, run: Run) -> None:
        """Starts following the Pod's log; when the Run moved, after the rest of the former Pod's."""
        pod_uid = run.status.assigned_pod_uid or run.status.assigned_pod
        if not pod_uid or not may_have_output(run):
            return
        if pod_uid != self._pod_uid:
            await self._finish_reading(run)
            await self._stop()
            self._start(run)
            self._pod_uid = pod_uid
        self._attempt = max(1, run.attempt_number)

    def _start(self, run: Run) -> None:
        log = PodLog(self.session.client, self.session.namespace, run.status.assigned_pod)
        self._reader = OutputReader(log, run_uid=run.uid, since=first_moment(run), emit=self._screen.show)
        self._following = asyncio.create_task(self._read(self._reader), name="follow-output")

    async def _read(self, reader: OutputReader) -> None:
        if self.is_about_output:
            with suppress(LogInterrupted):  # taken up by the following, from where it stopped
                await reader.read_tail(self.tail)
        await reader.follow()

    async def _finish_reading(self, run: Run) -> None:
        if self._reader is not None and self._following is not None:
            await self._reader.finish(self._following, attempt=self._attempt, completed=run.status.completion_time)
            self._report_failed_reading()

    def _report_failed_reading(self) -> None:
        """Raises what only the command can answer; a log that cannot be had is told once, unless nothing is missing."""
        if self._following is None or not self._following.done() or self._is_reported:
            return
        self._is_reported = True
        error = None if self._following.cancelled() else self._following.exception()
        if error is not None and not (isinstance(error, LogUnavailable) and not self.is_about_output):
            raise error
        if error is not None and self._reader is not None and self._attempt not in self._reader.ended_attempts:
            console.warn(f"no more output: {error}")

    async def _stop(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
            with suppress(OSError):  # nobody reads it any more; what that means has been said
                self._screen.end()
        self._following = self._reader = None
        self._is_reported = False


def may_have_output(run: Run) -> bool:
    """False for a terminal Run that never started: waiting for its log would be in vain."""
    has_started = run.status.start_time is not None or run.status.exit_code is not None or run.attempt_number > 1
    return not run.is_terminal or run.phase == phases.SUCCEEDED or has_started

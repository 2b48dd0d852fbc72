"""Attends a Run until it ends: streams its output, tells its progress, and says what to exit with."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controlplane.cli import console
from controlplane.cli.ages import human_duration
from controlplane.cli.pod_log import PodLog
from controlplane.cli.run_output import LogUnavailable, OutputReader
from controlplane.cli.run_watch import watch_run
from controlplane.cli.verdicts import failure_reason
from k8s.api import phases
from k8s.api.run import Run
from k8s.api.run_log import OutputLine

if TYPE_CHECKING:
    from controlplane.cli.connection import Session


def write_output_line(line: OutputLine) -> None:
    """To the stream that the Run wrote it to, at once."""
    stream = sys.stderr if line.stream == "stderr" else sys.stdout
    stream.buffer.write(line.message.encode("utf-8", "surrogatepass") + b"\n")
    stream.buffer.flush()


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
    emit: Callable[[OutputLine], None] = write_output_line
    tell: Callable[[str], None] = console.note
    is_log_optional: bool = True
    """Waiting goes on without the log; `krt logs` is about nothing else."""
    _pod_uid: str = ""
    _attempt: int = 1
    """The last one seen on that Pod."""
    _reader: OutputReader | None = None
    _following: asyncio.Task[None] | None = None
    _refusals: set[str] = field(default_factory=set)

    async def attend(self, name: str, *, uid: str | None = None) -> Run:
        """Until it is terminal and its output has been written."""
        progress = Progress(self.tell)
        run: Run | None = None
        try:
            async with aclosing(watch_run(self.session, name, uid=uid)) as states:
                async for run in states:
                    progress.show(run)
                    await self._follow_pod(run)
            assert run is not None
            await self._finish_reading(run)
        finally:
            await self._stop()
        return run

    async def _follow_pod(self, run: Run) -> None:
        """Starts following the Pod's log; when the Run moved, after the rest of the former Pod's."""
        pod_uid = run.status.assigned_pod_uid or run.status.assigned_pod
        if pod_uid and pod_uid != self._pod_uid and may_have_output(run):
            await self._finish_reading(run)
            await self._stop()
            self._start(run, pod_uid=pod_uid)
        if pod_uid:
            self._attempt = max(1, run.attempt_number)

    def _start(self, run: Run, *, pod_uid: str) -> None:
        self._pod_uid = pod_uid
        log = PodLog(self.session.client, self.session.namespace, run.status.assigned_pod)
        self._reader = OutputReader(log, run_uid=run.uid, created=run.metadata.creation_timestamp, emit=self.emit)
        self._following = asyncio.create_task(self._reader.follow(), name="follow-output")

    async def _finish_reading(self, run: Run) -> None:
        if self._reader is None or self._following is None:
            return
        await self._reader.finish(self._following, attempt=self._attempt, completed=run.status.completion_time)
        if self._following.done() and not self._following.cancelled() and (error := self._following.exception()):
            self._report(error)

    def _report(self, error: BaseException) -> None:
        if not isinstance(error, LogUnavailable) or not self.is_log_optional:
            raise error
        if str(error) not in self._refusals:
            self._refusals.add(str(error))
            console.warn(f"no output to show: {error}")

    async def _stop(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        self._following = self._reader = None


def may_have_output(run: Run) -> bool:
    """False for a terminal Run that never started: waiting for its log would be in vain."""
    has_started = run.status.start_time is not None or run.status.exit_code is not None or run.attempt_number > 1
    return not run.is_terminal or run.phase == phases.SUCCEEDED or has_started

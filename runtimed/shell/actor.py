"""One Run's actor: feeds its machine and performs what it decides. Nothing here decides, and nothing here waits for another Run.

Events are handled to completion on the loop, one after the other; what takes time is a task or a timer of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any

from krtpb.executor.v1 import stream_pb2

from k8s.api.phases import Reason
from k8s.api.run import Run
from runtimed.core import decisions, events
from runtimed.core.facts import Timer
from runtimed.core.machine import RunMachine
from runtimed.hooks import run_events
from runtimed.hooks.artifacts import KeptArtifacts
from runtimed.hooks.env import NOTHING_RESOLVED, Resolved, build_env
from runtimed.hooks.outputs import OutputsError, read_outputs
from runtimed.shell import frames
from runtimed.shell.run_output import RunOutput
from runtimed.shell.services import Services

logger = logging.getLogger(__name__)


class RunActor:
    """The actor of one Run UID. `on_retired` is called once nothing of the Run is left."""

    def __init__(self, machine: RunMachine, *, services: Services, on_retired: Callable[[RunActor], None]) -> None:
        self.machine = machine
        self.uid = machine.state.uid
        self._services = services
        self._on_retired = on_retired
        self._events: deque[events.Event] = deque()
        self._is_handling = False
        self._is_stopped = False
        self._timers: dict[Timer, asyncio.TimerHandle] = {}
        self._output = RunOutput(self.uid, services=services)
        self._last_run: Run | None = None
        self._preparation: asyncio.Task[None] | None = None
        self._resolved: dict[int, Resolved] = {}
        """Values of env from elsewhere, by attempt: in memory alone."""
        self._upload: KeptArtifacts | None = None

    def handle(self, event: events.Event) -> None:
        """Takes the event in and performs what follows from it. Events that arise meanwhile wait their turn."""
        if self._is_stopped:
            return
        self._events.append(event)
        if self._is_handling:
            return
        self._is_handling = True
        try:
            while self._events:
                for decision in self.machine.handle(self._events.popleft(), now=self._services.clock()):
                    _PERFORM[type(decision)](self, decision)
                self._last_run = self.machine.state.view or self._last_run
        except Exception as error:
            story = [f"{at:.6f} {type(what).__name__}" for at, what in self.machine.state.story]
            logger.exception("the life cycle of a Run is broken", extra={"uid": self.uid, "story": story[-60:]})
            self._services.fail(error)
        finally:
            self._is_handling = False

    def on_output(self, output: stream_pb2.Output) -> None:
        """Only the first of an attempt concerns the core."""
        if self._output.feed(output, run=self._run):
            self.handle(events.OutputSeen(output.key.attempt))

    def stop(self) -> None:
        """The process ends, or nothing is left to do. What is on disk is enough for a successor."""
        self._is_stopped = True
        for handle in self._timers.values():
            handle.cancel()
        self._timers.clear()
        self._output.stop()

    @property
    def _run(self) -> Run | None:
        """As last seen, also when it is gone."""
        return self.machine.state.view or self._last_run

    # -- slots, workspace ---------------------------------------------------------------------------------------------

    def _ask_slot(self, decision: decisions.AskSlot) -> None:
        self._services.slots.ask(self.uid, lambda: self.handle(events.SlotGranted()), is_running_already=decision.is_running_already)

    def _return_slot(self, decision: decisions.ReturnSlot) -> None:
        self._services.slots.give_back(self.uid)

    def _prepare_workspace(self, decision: decisions.PrepareWorkspace) -> None:
        preparing = self._services.preparing
        if preparing.is_quick(decision.run):
            self.handle(preparing.prepare_quickly(decision))
        else:
            self._preparation = self._start(self._prepare_slowly(decision), "prepare workspace")

    async def _prepare_slowly(self, decision: decisions.PrepareWorkspace) -> None:
        event: events.Event = events.WorkspaceFailed(decision.attempt, "prepare source: stopped")
        try:
            event, self._resolved[decision.attempt] = await self._services.preparing.prepare_slowly(decision)
        finally:  # also when it was stopped
            self._preparation = None
            self.handle(event)

    def _stop_preparing(self, decision: decisions.StopPreparing) -> None:
        if self._preparation is not None:
            self._preparation.cancel()

    def _clean_workspace(self, decision: decisions.CleanWorkspace) -> None:
        self._services.state_dir.drop_workspace(self.uid)
        if self._services.workspaces.remove_if_small(self.uid):
            self.handle(events.WorkspaceCleaned())
        else:
            self._start(self._remove_workspace(), "remove workspace")

    async def _remove_workspace(self) -> None:
        try:
            # A big tree takes long to remove: not on the loop.
            await asyncio.to_thread(self._services.workspaces.remove, self.uid)
        except OSError as error:
            logger.warning("workspace is not removed", extra={"uid": self.uid, "error": error.strerror})
        self.handle(events.WorkspaceCleaned())

    # -- markers and records ------------------------------------------------------------------------------------------

    def _make_marker(self, decision: decisions.MakeMarker) -> None:
        try:
            marker = self._services.state_dir.make_marker(decision.marker)
        except OSError as error:
            self.handle(events.MarkerFailed(decision.marker.attempt, f"prepare source: start marker: {error.strerror}"))
            return
        if marker is decision.marker:
            self._output.begin(marker.attempt)
        run = self.machine.state.view
        if run is not None:
            self._services.metrics.note_claim(run, now=self._services.clock().wall)
        self.handle(events.MarkerMade(marker))

    def _drop_marker(self, decision: decisions.DropMarker) -> None:
        self._services.state_dir.drop_marker(self.uid, decision.attempt)
        self._output.drop(decision.attempt, run=self._run)

    def _write_record(self, decision: decisions.WriteRecord) -> None:
        try:
            self._services.state_dir.write_record(self.uid, decision.outcome)
        except OSError as error:
            logger.warning("result record is not written", extra={"uid": self.uid, "error": error.strerror})
            self.handle(events.RecordFailed(decision.outcome.attempt))
        else:
            self.handle(events.RecordWritten(decision.outcome.attempt))

    def _drop_record(self, decision: decisions.DropRecord) -> None:
        self._services.state_dir.drop_record(self.uid, decision.attempt)

    # -- the Runtime Server -------------------------------------------------------------------------------------------

    def _send_execute(self, decision: decisions.SendExecute) -> None:
        workspace = decision.workspace
        resolved = self._resolved.get(decision.attempt, NOTHING_RESOLVED)
        env = build_env(decision.run, outputs_file=workspace.outputs_file, artifacts_dir=workspace.artifacts_dir, resolved=resolved)
        frame = frames.execute(decision.run, attempt=decision.attempt, workspace=workspace, env=env)
        self._services.session.send(frame)
        run_events.tell_retrying(self._services.recorder, decision.run, attempt=decision.attempt)

    def _send_attach(self, decision: decisions.SendAttach) -> None:
        stdout, stderr = self._output.offsets(decision.attempt, run=self._run)
        self._services.session.send(frames.attach(self.uid, decision.attempt, stdout_offset=stdout, stderr_offset=stderr))

    def _send_cancel(self, decision: decisions.SendCancel) -> None:
        self._services.session.send(frames.cancel(self.uid, decision.attempt))

    def _send_forget(self, decision: decisions.SendForget) -> None:
        self._services.session.send(frames.forget(self.uid, decision.attempt))

    # -- output -------------------------------------------------------------------------------------------------------

    def _end_output(self, decision: decisions.EndOutput) -> None:
        # Behind the status write that follows: a line wakes the node's reader of our log, who on a busy machine would go first.
        end = partial(self._output.end, decision.attempt, run=self._run)
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, end)

    def _read_outputs(self, decision: decisions.ReadOutputs) -> None:
        workspace, log_store = self.machine.state.workspace, self._log_store_for(decision.attempt)
        try:
            outputs = read_outputs(workspace.outputs_file) if workspace else {}
        except OutputsError as error:
            self.handle(events.OutputsRefused(decision.attempt, error.condition_reason, str(error), log_store=log_store))
        else:
            # STRICTLY in this order: asking what is staged removes a folder that is empty, and the log is kept beside it.
            store = log_store or self._store_for_staged()
            self.handle(events.OutputsRead(decision.attempt, outputs, artifact_store=store, log_store=log_store))

    def _store_for_staged(self) -> Mapping[str, Any] | None:
        """Where its artifacts go, if it has any."""
        keeper, workspace = self._services.artifacts, self.machine.state.workspace
        if keeper is None or workspace is None or not workspace.artifacts_dir or not keeper.has_any(self.uid):
            return None
        return keeper.snapshot

    def _log_store_for(self, attempt: int) -> Mapping[str, Any] | None:
        """Where its log goes, if it is to be kept and there is any."""
        keeper = self._services.artifacts
        return keeper.snapshot if keeper is not None and self._output.has_kept(attempt, run=self._run) else None

    # -- artifacts ----------------------------------------------------------------------------------------------------

    def _upload_artifacts(self, decision: decisions.UploadArtifacts) -> None:
        assert self._services.artifacts is not None  # the store that the core was told of is its
        self._upload = self._services.artifacts.begin(decision, own=self._output.kept_files(decision.attempt))
        self._start(self._upload.run(self.handle), "upload of artifacts")

    def _stop_upload(self, decision: decisions.StopUpload) -> None:
        if self._upload is not None:
            self._upload.stop(removes_all=decision.removes_all)

    # -- the API server -----------------------------------------------------------------------------------------------

    def _send_status(self, decision: decisions.SendStatus) -> None:
        self._start(self._write_status(decision), "status write")

    async def _write_status(self, decision: decisions.SendStatus) -> None:
        event = await self._services.writer.write(decision)
        if isinstance(event, events.WriteAnswered):
            self._services.metrics.note_written(decision, now=self._services.clock().wall)
            run_events.tell_written(self._services.recorder, decision)
            self._log_written(decision)
        else:
            self._log_line(logging.INFO, "status write failed, reading", decision.run.attempt_number, type(event).__name__)
        self.handle(event)

    def _log_written(self, decision: decisions.SendStatus) -> None:
        """Of what went well only when asked: the Run itself says all of it, and a line a Run wakes the node's reader of our log."""
        outcome = decision.outcome
        level = logging.INFO if outcome and outcome.reason else logging.DEBUG
        if logger.isEnabledFor(level):
            reason = outcome.reason or Reason.COMPLETED if outcome else ""
            self._log_line(level, "status is written", decision.run.attempt_number, reason, write=decision.kind.name)

    def _read_run(self, decision: decisions.ReadRun) -> None:
        run = self._run
        assert run is not None  # a write was made of it
        self._start(self._read(run), "read after a write")

    async def _read(self, run: Run) -> None:
        self.handle(await self._services.writer.read(run))

    def _count_fenced_write(self, decision: decisions.CountFencedWrite) -> None:
        self._services.metrics.note_fenced()
        self._log_line(logging.WARNING, "a status write was fenced off: the attempt is not ours any more", None, decision.kind.name)

    # -- time, and the end --------------------------------------------------------------------------------------------

    def _start_timer(self, decision: decisions.StartTimer) -> None:
        self._cancel_timer(decision.timer)
        fire = events.TimerFired(decision.timer, decision.attempt)
        self._timers[decision.timer] = asyncio.get_running_loop().call_later(decision.seconds, self._fire, fire)

    def _fire(self, event: events.TimerFired) -> None:
        del self._timers[event.timer]
        self.handle(event)

    def _stop_timer(self, decision: decisions.StopTimer) -> None:
        self._cancel_timer(decision.timer)

    def _cancel_timer(self, timer: Timer) -> None:
        handle = self._timers.pop(timer, None)
        if handle is not None:
            handle.cancel()

    def _note(self, decision: decisions.Note) -> None:
        self._log_line(logging.INFO, decision.message, decision.attempt, decision.reason)

    def _retire(self, decision: decisions.Retire) -> None:
        self.stop()
        self._on_retired(self)

    def _start(self, work: Coroutine[Any, Any, None], what: str) -> asyncio.Task[None]:
        return self._services.start(work, f"{what} {self.uid}")

    def _log_line(self, level: int, message: str, attempt: int | None, reason: str, **fields: object) -> None:
        run = self._run
        logger.log(
            level,
            message,
            extra={"run": run.key if run else "", "uid": self.uid, "attempt": attempt, "reason": reason, **fields},
        )


_PERFORM: dict[type, Callable[[RunActor, Any], None]] = {
    decisions.AskSlot: RunActor._ask_slot,
    decisions.ReturnSlot: RunActor._return_slot,
    decisions.PrepareWorkspace: RunActor._prepare_workspace,
    decisions.StopPreparing: RunActor._stop_preparing,
    decisions.CleanWorkspace: RunActor._clean_workspace,
    decisions.MakeMarker: RunActor._make_marker,
    decisions.DropMarker: RunActor._drop_marker,
    decisions.WriteRecord: RunActor._write_record,
    decisions.DropRecord: RunActor._drop_record,
    decisions.SendExecute: RunActor._send_execute,
    decisions.SendAttach: RunActor._send_attach,
    decisions.SendCancel: RunActor._send_cancel,
    decisions.SendForget: RunActor._send_forget,
    decisions.ReadOutputs: RunActor._read_outputs,
    decisions.UploadArtifacts: RunActor._upload_artifacts,
    decisions.StopUpload: RunActor._stop_upload,
    decisions.EndOutput: RunActor._end_output,
    decisions.SendStatus: RunActor._send_status,
    decisions.ReadRun: RunActor._read_run,
    decisions.StartTimer: RunActor._start_timer,
    decisions.StopTimer: RunActor._stop_timer,
    decisions.CountFencedWrite: RunActor._count_fenced_write,
    decisions.Note: RunActor._note,
    decisions.Retire: RunActor._retire,
}

"""Between the stream's messages and the core's events. Pure; the only place in runtimed that fills or reads protobuf messages."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from krtpb.executor.v1 import stream_pb2

from k8s.api.run import Run
from k8s.api.timestamps import from_unix_micros
from runtimed.core import events
from runtimed.core.facts import Exit, ExitReason, Held, Workspace

_REASONS = {
    stream_pb2.EXIT_REASON_EXITED: ExitReason.EXITED,
    stream_pb2.EXIT_REASON_CANCELLED: ExitReason.CANCELLED,
    stream_pb2.EXIT_REASON_NOT_STARTED: ExitReason.NOT_STARTED,
    stream_pb2.EXIT_REASON_LOST: ExitReason.LOST,
}

HeldRuns = dict[str, dict[int, Held]]
"""By Run UID, then by attempt."""


def hello(session: str, *, slots: int = 0, log_bytes: int = 0, takes_line: bool = False) -> stream_pb2.SessionRequest:
    """`slots` is how many Runs may be at it at a time; a server holds as many processes ready. `log_bytes`: of output, an attempt."""
    hello = stream_pb2.Hello(session=session, slots=slots, takes_batches=True, takes_line=takes_line, log_bytes=log_bytes)
    return stream_pb2.SessionRequest(hello=hello)


def execute(run: Run, *, attempt: int, workspace: Workspace, env: dict[str, str]) -> stream_pb2.SessionRequest:
    task, function = run.spec.mode.task, run.spec.mode.function
    frame = stream_pb2.Execute(
        key=_key(run.uid, attempt),
        args=task.args if task and workspace.sends_args else [],
        env=env,
        working_dir=workspace.working_dir,
        entrypoint=workspace.entrypoint,
        handler=(function.handler or "") if function else "",
    )
    return stream_pb2.SessionRequest(execute=frame)


def cancel(run_uid: str, attempt: int) -> stream_pb2.SessionRequest:
    return stream_pb2.SessionRequest(cancel=stream_pb2.Cancel(key=_key(run_uid, attempt)))


def forget(run_uid: str, attempt: int) -> stream_pb2.SessionRequest:
    return stream_pb2.SessionRequest(forget=stream_pb2.Forget(key=_key(run_uid, attempt)))


def attach(run_uid: str, attempt: int, *, stdout_offset: int, stderr_offset: int) -> stream_pb2.SessionRequest:
    frame = stream_pb2.Attach(key=_key(run_uid, attempt), stdout_offset=stdout_offset, stderr_offset=stderr_offset)
    return stream_pb2.SessionRequest(attach=frame)


def _key(run_uid: str, attempt: int) -> stream_pb2.AttemptKey:
    return stream_pb2.AttemptKey(run_uid=run_uid, attempt=attempt)


def read_held(entries: Iterable[stream_pb2.Held]) -> HeldRuns:
    """What a Welcome names."""
    held: HeldRuns = {}
    for entry in entries:
        exit_ = _read_exit(entry.exited) if entry.HasField("exited") else None
        held.setdefault(entry.key.run_uid, {})[entry.key.attempt] = Held(_instant(entry.started_unix_micros), exit_)
    return held


def read_event(response: stream_pb2.SessionResponse) -> tuple[str, events.Event] | None:
    """The Run UID and what happened to it; None for Welcome, Output and what a newer server may say."""
    match response.WhichOneof("event"):
        case "accepted":
            accepted = response.accepted
            return accepted.key.run_uid, events.ExecutionAccepted(accepted.key.attempt, is_duplicate=accepted.duplicate)
        case "started":
            started = response.started
            return started.key.run_uid, events.ExecutionStarted(started.key.attempt, Held(_instant(started.started_unix_micros)))
        case "exited":
            exited = response.exited
            return exited.key.run_uid, events.ExecutionExited(exited.key.attempt, _read_exit(exited))
        case "forgotten":
            return response.forgotten.key.run_uid, events.ExecutionForgotten(response.forgotten.key.attempt)
        case _:
            return None


def _read_exit(exited: stream_pb2.Exited) -> Exit:
    return Exit(
        reason=_REASONS.get(exited.reason, ExitReason.EXITED),
        exit_code=exited.exit_code,
        signal=exited.signal,
        error_message=exited.error_message,
        stderr_tail=exited.stderr_tail.decode("utf-8", "replace"),
        at=_instant(exited.exited_unix_micros),
    )


def _instant(unix_micros: int) -> datetime | None:
    return from_unix_micros(unix_micros) if unix_micros > 0 else None

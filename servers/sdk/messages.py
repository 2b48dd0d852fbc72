"""From what the server knows to what the protocols say, and back. Pure; the only place that fills protobuf messages."""

from __future__ import annotations

from collections.abc import Sequence

from krtpb.executor.v1 import runtime_pb2, stream_pb2

from servers.sdk import exits
from servers.sdk.command import Request
from servers.sdk.execution import AttemptId, Execution, StreamName
from servers.sdk.exits import Exit, ExitReason
from servers.sdk.limits import LIST_OUTPUT_BYTES, RETAINED_BYTES, WELCOME_TAILS_LIMIT

_REASONS: dict[ExitReason, stream_pb2.ExitReason] = {
    ExitReason.EXITED: stream_pb2.EXIT_REASON_EXITED,
    ExitReason.CANCELLED: stream_pb2.EXIT_REASON_CANCELLED,
    ExitReason.NOT_STARTED: stream_pb2.EXIT_REASON_NOT_STARTED,
    ExitReason.LOST: stream_pb2.EXIT_REASON_LOST,
}
_STREAMS: dict[StreamName, stream_pb2.OutputStream] = {
    StreamName.STDOUT: stream_pb2.OUTPUT_STREAM_STDOUT,
    StreamName.STDERR: stream_pb2.OUTPUT_STREAM_STDERR,
}

# The stream


def attempt_of(key: stream_pb2.AttemptKey) -> AttemptId:
    return AttemptId(key.run_uid, attempt=key.attempt)


def key_of(attempt: AttemptId) -> stream_pb2.AttemptKey:
    return stream_pb2.AttemptKey(run_uid=attempt.run_uid, attempt=attempt.attempt)


def request_of_stream(execute: stream_pb2.Execute) -> Request:
    return Request(
        run_uid=execute.key.run_uid,
        args=list(execute.args),
        env=dict(execute.env),
        working_dir=execute.working_dir,
        entrypoint=execute.entrypoint,
        handler=execute.handler,
    )


def welcome_event(boot_id: str, *, held: Sequence[Execution], line: stream_pb2.Line | None = None) -> stream_pb2.SessionResponse:
    """With very many of them the tails of standard error are left out, so that the message fits; Attach brings them again."""
    entries = [_held(execution) for execution in held]
    if len(entries) > WELCOME_TAILS_LIMIT:
        for entry in filter(_has_ended, entries):
            entry.exited.ClearField("stderr_tail")
    return stream_pb2.SessionResponse(welcome=stream_pb2.Welcome(boot_id=boot_id, held=entries, takes_batches=True, line=line))


def accepted_event(attempt: AttemptId, *, duplicate: bool) -> stream_pb2.SessionResponse:
    return stream_pb2.SessionResponse(accepted=stream_pb2.Accepted(key=key_of(attempt), duplicate=duplicate))


def started_event(execution: Execution) -> stream_pb2.SessionResponse:
    started = stream_pb2.Started(key=key_of(execution.id), pid=execution.pid, started_unix_micros=execution.started_micros)
    return stream_pb2.SessionResponse(started=started)


def output_event(attempt: AttemptId, *, stream: StreamName, offset: int, data: bytes, truncated: bool) -> stream_pb2.SessionResponse:
    output = stream_pb2.Output(key=key_of(attempt), stream=_STREAMS[stream], offset=offset, data=data, truncated=truncated)
    return stream_pb2.SessionResponse(output=output)


def exited_event(execution: Execution) -> stream_pb2.SessionResponse:
    return stream_pb2.SessionResponse(exited=_exited(execution))


def forgotten_event(attempt: AttemptId) -> stream_pb2.SessionResponse:
    return stream_pb2.SessionResponse(forgotten=stream_pb2.Forgotten(key=key_of(attempt)))


def _has_ended(held: stream_pb2.Held) -> bool:
    return bool(held.HasField("exited"))


def _held(execution: Execution) -> stream_pb2.Held:
    held = stream_pb2.Held(key=key_of(execution.id), started_unix_micros=execution.started_micros)
    if execution.is_over:
        held.exited.CopyFrom(_exited(execution))
    return held


def _exited(execution: Execution) -> stream_pb2.Exited:
    outcome = execution.exit
    assert outcome is not None
    return stream_pb2.Exited(
        key=key_of(execution.id),
        reason=_REASONS[outcome.reason],
        exit_code=outcome.exit_code,
        signal=outcome.signal,
        error_message=outcome.error_message,
        stderr_tail=execution.stderr.tail,
        stdout_bytes=execution.stdout.total_bytes,
        stderr_bytes=execution.stderr.total_bytes,
        cpu_seconds=outcome.cpu_seconds,
        peak_rss_bytes=outcome.peak_rss_bytes,
        exited_unix_micros=outcome.micros,
    )


# Unary


def request_of_unary(request: runtime_pb2.ExecuteRequest) -> Request:
    return Request(
        run_uid=request.id,
        args=list(request.args),
        env=dict(request.env),
        working_dir=request.working_dir,
        entrypoint=request.entrypoint,
        handler=request.handler,
    )


def status_response(execution: Execution, *, output_limit_bytes: int = RETAINED_BYTES) -> runtime_pb2.StatusResponse:
    """Both streams at most `output_limit_bytes` each, cut at the end of a character, and the marker."""
    response = runtime_pb2.StatusResponse(
        id=execution.id.run_uid,
        state=runtime_pb2.EXECUTION_STATE_RUNNING,
        stdout=execution.stdout.text(limit_bytes=output_limit_bytes),
        stderr=execution.stderr.text(limit_bytes=output_limit_bytes),
    )
    if execution.exit is not None:
        _add_outcome(response, execution.exit)
    return response


def list_response(executions: list[Execution]) -> runtime_pb2.ListResponse:
    """All of them; where their output together would not fit a message, the longest are cut. Status has more."""
    streams = [output for execution in executions for output in (execution.stdout, execution.stderr)]
    limit = fair_limit([len(stream.text().encode()) for stream in streams], budget=LIST_OUTPUT_BYTES)
    entries = [status_response(execution, output_limit_bytes=limit) for execution in executions]
    return runtime_pb2.ListResponse(entries=entries)


def fair_limit(sizes: list[int], *, budget: int) -> int:
    """The largest limit such that the sizes, each cut to it, fit the budget."""
    left = budget
    for position, size in enumerate(sorted(sizes)):
        share = left // (len(sizes) - position)
        if size > share:
            return share
        left -= size
    return max(sizes, default=0)


def _add_outcome(response: runtime_pb2.StatusResponse, outcome: Exit) -> None:
    response.state = runtime_pb2.EXECUTION_STATE_SUCCEEDED if outcome.is_success else runtime_pb2.EXECUTION_STATE_FAILED
    # Callers know a timeout and a cancel by -1 and the text.
    response.exit_code = -1 if outcome.reason is ExitReason.CANCELLED else outcome.exit_code
    response.error_message = outcome.error_message or ("" if outcome.is_success else exits.CANCELLED)

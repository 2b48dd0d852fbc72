"""What the unary server's answers mean, in the words of the stream; and when to ask again. Pure.

The unary protocol knows neither attempts nor bytes: its id is a Run UID, and its output is all of the text so far, each time.
"""

from __future__ import annotations

import signal
from typing import Final

from krtpb.executor.v1 import runtime_pb2, stream_pb2

FIRST_PAUSE_SECONDS: Final = 0.005
LONGEST_PAUSE_SECONDS: Final = 0.5
PAUSE_GROWTH: Final = 1.25
"""An end is then seen late by at most a quarter of what the execution took; and 500 ms are reached after 21 answers."""

STDERR_TAIL_BYTES: Final = 1024
"""As much as the stream tells of it, and as a Run's status.message may hold."""
REPLACEMENT: Final = "\ufffd"
CANCELLED_TEXT: Final = "cancelled"
CANCELLED_ELSEWHERE_TEXT: Final = "the execution was cancelled at the Runtime Server by somebody else"
LOST_TEXT: Final = "the Runtime Server does not know the execution any more"

_SIGNAL_PREFIX: Final = "signal: "
_SIGNALS_BY_TEXT: Final = {(signal.strsignal(number) or "").lower(): int(number) for number in signal.valid_signals()}


class Pauses:
    """How long to wait before each answer is asked for."""

    def __init__(self) -> None:
        self._next_seconds = FIRST_PAUSE_SECONDS

    def next(self) -> float:
        seconds = self._next_seconds
        self._next_seconds = min(seconds * PAUSE_GROWTH, LONGEST_PAUSE_SECONDS)
        return seconds


class OutputReader:
    """What is new in the text of one Status after the other, as bytes with their offset. Offsets count the text in UTF-8."""

    def __init__(self, *, stdout_offset: int = 0, stderr_offset: int = 0) -> None:
        self._offsets: dict[stream_pb2.OutputStream, int] = {
            stream_pb2.OUTPUT_STREAM_STDOUT: stdout_offset,
            stream_pb2.OUTPUT_STREAM_STDERR: stderr_offset,
        }

    def read(self, status: runtime_pb2.StatusResponse, *, key: stream_pb2.AttemptKey) -> list[stream_pb2.SessionResponse]:
        texts = {stream_pb2.OUTPUT_STREAM_STDOUT: status.stdout, stream_pb2.OUTPUT_STREAM_STDERR: status.stderr}
        is_final = has_ended(status)
        new = [(stream, *self._take(stream, text, is_final=is_final)) for stream, text in texts.items()]
        return [_output(key, stream, offset=offset, data=data) for stream, offset, data in new if data]

    def _take(self, stream: stream_pb2.OutputStream, text: str, *, is_final: bool) -> tuple[int, bytes]:
        if not is_final:
            # A character of which only the first bytes have been written yet looks like this, and like itself in the next answer.
            text = text.rstrip(REPLACEMENT)
        offset = self._offsets[stream]
        data = text.encode()[offset:]
        self._offsets[stream] = offset + len(data)
        return offset, data


def has_ended(status: runtime_pb2.StatusResponse) -> bool:
    """Whatever else a state may be called by a newer server, the execution goes on."""
    return status.state in (runtime_pb2.EXECUTION_STATE_SUCCEEDED, runtime_pb2.EXECUTION_STATE_FAILED)


def accepted(key: stream_pb2.AttemptKey) -> stream_pb2.SessionResponse:
    return stream_pb2.SessionResponse(accepted=stream_pb2.Accepted(key=key))


def started(key: stream_pb2.AttemptKey, *, unix_micros: int) -> stream_pb2.SessionResponse:
    """The server does not say when; the instant at which it took it is close."""
    return stream_pb2.SessionResponse(started=stream_pb2.Started(key=key, started_unix_micros=unix_micros))


def forgotten(key: stream_pb2.AttemptKey) -> stream_pb2.SessionResponse:
    return stream_pb2.SessionResponse(forgotten=stream_pb2.Forgotten(key=key))


def exited(status: runtime_pb2.StatusResponse, *, key: stream_pb2.AttemptKey, unix_micros: int) -> stream_pb2.SessionResponse:
    """Of an answer that `has_ended`."""
    if status.exit_code == -1 and status.error_message == CANCELLED_TEXT:
        # By runtimed it is judged before its Cancel.
        return _exited(key, reason=stream_pb2.EXIT_REASON_LOST, error_message=CANCELLED_ELSEWHERE_TEXT, exited_unix_micros=unix_micros)
    reason, exit_code, number = _ended_how(status)
    return _exited(
        key,
        reason=reason,
        exit_code=exit_code,
        signal=number,
        error_message=status.error_message,
        stderr_tail=status.stderr.encode()[-STDERR_TAIL_BYTES:],
        exited_unix_micros=unix_micros,
    )


def cancelled(key: stream_pb2.AttemptKey, *, unix_micros: int) -> stream_pb2.SessionResponse:
    """By our Cancel. It took the entry with it, so what the process returned is not known: LOST has no exit code to show."""
    return _exited(key, reason=stream_pb2.EXIT_REASON_LOST, error_message=CANCELLED_TEXT, exited_unix_micros=unix_micros)


def lost(key: stream_pb2.AttemptKey, *, unix_micros: int) -> stream_pb2.SessionResponse:
    return _exited(key, reason=stream_pb2.EXIT_REASON_LOST, error_message=LOST_TEXT, exited_unix_micros=unix_micros)


def not_started(key: stream_pb2.AttemptKey, text: str, *, unix_micros: int) -> stream_pb2.SessionResponse:
    return _exited(key, reason=stream_pb2.EXIT_REASON_NOT_STARTED, error_message=text, exited_unix_micros=unix_micros)


def request_of(execute: stream_pb2.Execute) -> runtime_pb2.ExecuteRequest:
    """Without a timeout: runtimed keeps the time, from the attempt's own marker."""
    return runtime_pb2.ExecuteRequest(
        id=execute.key.run_uid,
        args=execute.args,
        env=execute.env,
        working_dir=execute.working_dir,
        entrypoint=execute.entrypoint,
        handler=execute.handler,
    )


def _ended_how(status: runtime_pb2.StatusResponse) -> tuple[stream_pb2.ExitReason, int, int]:
    """Reason, exit code, signal. Without a code that a process could have left, the text and the code say what there is to say."""
    code = status.exit_code
    if status.state == runtime_pb2.EXECUTION_STATE_SUCCEEDED:
        return stream_pb2.EXIT_REASON_EXITED, 0, 0
    number = _signal_of(code, status.error_message)
    if number:
        return stream_pb2.EXIT_REASON_EXITED, 128 + number, number
    if code > 0:
        return stream_pb2.EXIT_REASON_EXITED, code, 0
    return stream_pb2.EXIT_REASON_NOT_STARTED, code, 0


def _signal_of(code: int, text: str) -> int:
    """Go's servers name it in the text (`signal: killed`), Python's have its negative number for a code. 0: none."""
    if text.startswith(_SIGNAL_PREFIX):
        return _SIGNALS_BY_TEXT.get(text.removeprefix(_SIGNAL_PREFIX).removesuffix(" (core dumped)"), 0)
    return -code if code < 0 and not text and -code in signal.valid_signals() else 0


def _output(key: stream_pb2.AttemptKey, stream: stream_pb2.OutputStream, *, offset: int, data: bytes) -> stream_pb2.SessionResponse:
    return stream_pb2.SessionResponse(output=stream_pb2.Output(key=key, stream=stream, offset=offset, data=data))


def _exited(key: stream_pb2.AttemptKey, **fields: object) -> stream_pb2.SessionResponse:
    return stream_pb2.SessionResponse(exited=stream_pb2.Exited(key=key, **fields))  # type: ignore[arg-type]

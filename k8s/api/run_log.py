"""Lines that runtimed prints to its stdout for the output of Runs, and that krt reads back: one JSON object a line.

An output line has the keys run_uid, run_name, namespace, runtime, pod, stream, message, in this order (other programs depend
on run_uid, stream and message). An end line says that an attempt has no more output: runtimed prints it after the last
output line of the attempt, when it asks for the status write that ends the attempt. A partial line shows what there is of an
output line that is not complete yet: the output line itself, with all of its text, comes later. Neither has `run_uid`, so
readers that filter by it never notice them. Not for runtimed's own log lines: those go to stderr.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

ENDED_KEY = "ended_run_uid"
PARTIAL_KEY = "partial_run_uid"
_encode = msgspec.json.Encoder().encode
_encode_lines = msgspec.json.Encoder().encode_lines


@dataclass(frozen=True, slots=True)
class OutputLine:
    """One line of a Run's output, without its line feed."""

    run_uid: str
    stream: str
    """`stdout` or `stderr`."""
    message: str


@dataclass(frozen=True, slots=True)
class PartialLine:
    """More of an output line that is not complete yet."""

    run_uid: str
    stream: str
    at: int
    """How many characters of the line came before. 0 where its beginning is shown, or shown again."""
    text: str


@dataclass(frozen=True, slots=True)
class EndLine:
    """All output of one attempt has been printed before this line."""

    run_uid: str
    attempt: int
    """As in status.attempt once terminal: 1 for the first attempt, then 2, 3, ..."""


def format_beginning(*, run_uid: str, run_name: str, namespace: str, runtime: str, pod: str, stream: Literal["stdout", "stderr"]) -> str:
    """What all output lines of one stream of an attempt have in common: all but the message."""
    line = {"run_uid": run_uid, "run_name": run_name, "namespace": namespace, "runtime": runtime, "pod": pod, "stream": stream}
    return _encode(line).decode().removesuffix("}") + ',"message":'


def complete_lines(beginning: str, messages: Sequence[str]) -> str:
    """A line for each of them (there is at least one), with line feeds between. Each is longer than its message by no more than the keys.

    Encoded in one call: one for each line took most of the time that a flood takes. A line feed is only behind an encoded message,
    never in one.
    """
    encoded = _encode_lines(messages).decode()[:-1]
    return beginning + encoded.replace("\n", "}\n" + beginning) + "}"


def format_output_line(
    message: str, *, run_uid: str, run_name: str, namespace: str, runtime: str, pod: str, stream: Literal["stdout", "stderr"]
) -> str:
    """One line on its own."""
    beginning = format_beginning(run_uid=run_uid, run_name=run_name, namespace=namespace, runtime=runtime, pod=pod, stream=stream)
    return complete_lines(beginning, [message])


def format_end_line(*, run_uid: str, attempt: int) -> str:
    """The end line of `attempt` (0 and 1 are both the first), without its line feed."""
    return _encode({ENDED_KEY: run_uid, "attempt": max(1, attempt)}).decode()


def format_partial_line(*, run_uid: str, stream: str, at: int, text: str) -> str:
    """Without its line feed."""
    return _encode({PARTIAL_KEY: run_uid, "stream": stream, "at": at, "text": text}).decode()


def parse_line(text: str | bytes) -> OutputLine | PartialLine | EndLine | None:
    """What a line of the runtimed container's log says about a Run; None for every other line."""
    try:
        line = json.loads(text)
    except ValueError:
        return None
    match line:
        case {"run_uid": str(uid), "stream": str(stream), "message": str(message)}:
            return OutputLine(uid, stream, message)
        case {"partial_run_uid": str(uid), "stream": str(stream), "at": int(at), "text": str(part)}:
            return PartialLine(uid, stream, at, part)
        case {"ended_run_uid": str(uid), "attempt": int(attempt)}:
            return EndLine(uid, attempt)
    return None

"""From the end of an execution to a reason and a message (interface.md 2.1 and 6.8). Pure text, no state."""

from __future__ import annotations

import signal
from typing import Final

from k8s.api.durations import format_duration, parse_duration
from k8s.api.phases import Reason
from k8s.api.run import Run
from runtimed.core.facts import Exit, ExitReason

MAX_MESSAGE_BYTES: Final = 1024
"""status.message may hold 4096 characters; other programs were promised 1024 bytes from runtimed."""

_PREPARE_PREFIXES = ("mkdir:", "git clone:", "git checkout:", "write inline:")
_DISK_FULL: Final = "; the disk of its workspace is full: No space left on device"
_NOTHING_TO_RUN = "no args or script provided"
_TIMEOUT = ("timeout", -1)
"""Exactly these: how a unary server says that it kept the time itself."""
EXECUTE_FAILED_PREFIX: Final = "runtime Execute: "
"""Begins the message of what a unary server did not take (reason RuntimeExecute)."""


def classify_exit(exit_: Exit) -> tuple[str, str]:
    """Reason and message of an execution that did not succeed."""
    match exit_.reason:
        case ExitReason.LOST:
            return Reason.EXECUTION_LOST, cut_message(exit_.error_message or "the process tree died with its supervisor")
        case ExitReason.CANCELLED:
            # By us it is judged before; so somebody else did, over the unary service.
            return Reason.EXECUTION_LOST, "the execution was cancelled at the Runtime Server by somebody else"
        case ExitReason.NOT_STARTED:
            return _classify_not_started(exit_)
        case ExitReason.EXITED if _is_preparation(exit_.error_message):
            return Reason.PREPARE_SOURCE, cut_message(exit_.error_message)
        case ExitReason.EXITED:
            return Reason.RUNTIME_ERROR, failure_message(exit_)


def _classify_not_started(exit_: Exit) -> tuple[str, str]:
    text = exit_.error_message
    if text.startswith(EXECUTE_FAILED_PREFIX):
        return Reason.RUNTIME_EXECUTE, cut_message(text)
    if (text, exit_.exit_code) == _TIMEOUT:
        return Reason.TIMEOUT, text
    if not text:  # of a unary server: it failed without an exit code
        return Reason.RUNTIME_ERROR, failure_message(exit_)
    return Reason.PREPARE_SOURCE if _is_preparation(text) else Reason.RUNTIME_ERROR, cut_message(text)


def _is_preparation(text: str) -> bool:
    return text == _NOTHING_TO_RUN or text.startswith(_PREPARE_PREFIXES)


def failure_message(exit_: Exit) -> str:
    """What the end says of itself; and that the disk is full, which programs seldom say and servers never."""
    disk = _DISK_FULL if exit_.is_disk_full else ""
    return cut_message(_own_message(exit_), room_bytes=MAX_MESSAGE_BYTES - len(disk)) + disk


def _own_message(exit_: Exit) -> str:
    """A signal by number and name, else the server's error, else the end of standard error, else a fixed text."""
    killed = f"killed by {_signal_name(exit_.signal)}" if exit_.signal else ""
    if exit_.error_message and not killed:
        return exit_.error_message
    tail = exit_.stderr_tail.strip()
    if tail:
        return _tail_message(f"{killed}; runtime stderr: " if killed else "runtime stderr: ", tail)
    return killed or "runtime execution failed"


def cut_message(text: str, *, room_bytes: int = MAX_MESSAGE_BYTES) -> str:
    """At most so many bytes of valid UTF-8; `...` tells that it was longer."""
    clean = text.encode("utf-8", "replace")
    if len(clean) <= room_bytes:
        return clean.decode("utf-8", "replace")
    return clean[: room_bytes - 3].decode("utf-8", "ignore") + "..."


def _tail_message(prefix: str, tail: str) -> str:
    room = MAX_MESSAGE_BYTES - len(prefix.encode())
    data = tail.encode("utf-8", "replace")
    if len(data) <= room:
        return prefix + data.decode("utf-8", "replace")
    marker = "... "
    return prefix + marker + data[len(data) - room + len(marker) :].decode("utf-8", "ignore")


def _signal_name(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"


def timeout_seconds(run: Run) -> float | None:
    """How long each attempt may take; None without a limit. Raises ValueError for what is not a duration."""
    if not run.spec.timeout:
        return None
    seconds = parse_duration(run.spec.timeout).total_seconds()
    return seconds if seconds > 0 else None


def timeout_message(run: Run) -> str:
    """`timeout after 1m30s`."""
    return f"timeout after {format_duration(parse_duration(run.spec.timeout or '0'))}"

"""How an attempt ended, in words: from a wait status to exit code, signal and text. Pure."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from enum import Enum, auto

TIMEOUT = "timeout"
"""Exactly this: runtimed classifies by it."""

CANCELLED = "cancelled"


class ExitReason(Enum):
    EXITED = auto()
    CANCELLED = auto()
    NOT_STARTED = auto()
    LOST = auto()


@dataclass(frozen=True, slots=True)
class Exit:
    reason: ExitReason
    exit_code: int
    """0..255; 128+N for signal N."""
    signal: int
    error_message: str
    micros: int
    """Unix time."""
    cpu_seconds: float = 0.0
    peak_rss_bytes: int = 0

    @property
    def is_success(self) -> bool:
        return self.reason is ExitReason.EXITED and self.exit_code == 0


def not_started(message: str, *, micros: int) -> Exit:
    return Exit(ExitReason.NOT_STARTED, exit_code=0, signal=0, error_message=message, micros=micros)


def lost(message: str, *, micros: int) -> Exit:
    return Exit(ExitReason.LOST, exit_code=0, signal=0, error_message=message, micros=micros)


def describe_status(status: int) -> tuple[int, int, str]:
    """Exit code, signal and text of a wait status. Never says why a signal came: only whoever sent it knows."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        core = " (core dumped)" if os.WCOREDUMP(status) else ""
        return 128 + number, number, f"signal: {_signal_text(number)}{core}"
    code = os.WEXITSTATUS(status)
    return code, 0, f"exit status {code}" if code else ""


def _signal_text(number: int) -> str:
    text = signal.strsignal(number) or f"signal {number}"
    return text.lower()

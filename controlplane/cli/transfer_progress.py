"""How far a long transfer is, on stderr: a line that is written over on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Final, TextIO

SILENT_SECONDS: Final = 1.0
"""What is over sooner needs no progress."""
INTERVAL_SECONDS: Final = 0.2
BAR_WIDTH: Final = 24
_UNITS: Final = ("B", "kB", "MB", "GB", "TB")


class TransferProgress:
    """`begins_at`: what an earlier try had brought."""

    def __init__(
        self, *, total_bytes: int, begins_at: int = 0, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._total, self._first = total_bytes, begins_at
        self._stream = stream or sys.stderr
        self._clock = clock
        self._began = clock()
        self._next = self._began + SILENT_SECONDS
        self._is_shown = False

    def show(self, done_bytes: int) -> None:
        """Called as often as anybody likes."""
        now = self._clock()
        if now < self._next or not self._stream.isatty():
            return
        self._next = now + INTERVAL_SECONDS
        self._is_shown = True
        rate = (done_bytes - self._first) / (now - self._began)
        share = done_bytes / self._total if self._total else 1.0
        bar = "#" * int(share * BAR_WIDTH)
        text = f"[{bar:<{BAR_WIDTH}}] {share:4.0%}  {human_bytes(done_bytes)} of {human_bytes(self._total)}, {human_bytes(rate)}/s"
        self._stream.write(f"\r{text:<79}")
        self._stream.flush()

    def end(self) -> None:
        """Leaves the line empty for what comes next."""
        if self._is_shown:
            self._stream.write("\r" + " " * 79 + "\r")
            self._stream.flush()


def human_bytes(count: float) -> str:
    """Decimal units, three digits at the most: 1.2 MB."""
    for unit in _UNITS[:-1]:
        if count < 1000:
            return f"{count:.0f} {unit}" if count >= 100 or unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} {_UNITS[-1]}"

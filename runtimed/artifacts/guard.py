"""One upload as seen from outside its thread: how far it has come, and that it shall end. No I/O."""

from __future__ import annotations

import threading
from collections.abc import Callable

from runtimed.artifacts.errors import UploadStopped


class Guard:
    """Every chunk goes past here, so a stopped upload ends within one."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._stopped = threading.Event()
        self._furthest = 0
        self.last_progress = clock()
        """Monotonic. When the store took more than it ever had: repeating what was lost is no progress."""

    def begin(self) -> None:
        """It has its turn: patience counts from here."""
        self.last_progress = self._clock()

    def stop(self) -> None:
        self._stopped.set()

    @property
    def is_stopped(self) -> bool:
        return self._stopped.is_set()

    def check(self) -> None:
        """Raises UploadStopped."""
        if self._stopped.is_set():
            raise UploadStopped

    def note(self, taken_bytes: int) -> None:
        """The store has `taken_bytes` of the whole upload. Raises UploadStopped."""
        self.check()
        if taken_bytes > self._furthest:
            self._furthest = taken_bytes
            self.last_progress = self._clock()

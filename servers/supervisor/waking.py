"""Makes SIGCHLD a readable file descriptor, so that one loop waits for everything and nothing polls."""

from __future__ import annotations

import os
import signal


class ChildSignal:
    """Readable after a child changed. Register `fileno()` for reading and call `clear()` before reaping."""

    def __init__(self) -> None:
        self._read_fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # STRICTLY BEFORE the handler: from here on a signal is never lost between a look and the wait.
        signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _note)

    def fileno(self) -> int:
        return self._read_fd

    def fds(self) -> tuple[int, int]:
        return self._read_fd, self._write_fd

    def clear(self) -> None:
        try:
            while len(os.read(self._read_fd, 4096)) == 4096:
                pass
        except BlockingIOError:
            return


def _note(number: int, frame: object) -> None:
    """The wakeup descriptor does the work; Python writes to it only for signals that have a handler."""

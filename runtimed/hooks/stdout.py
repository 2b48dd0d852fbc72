"""Our standard output without ever waiting for whoever reads it: a log reader that is stuck must not stop the Runs.

What the pipe does not take at once is kept, up to a limit; above it whole lines are dropped and counted.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from collections import deque
from typing import Final

logger = logging.getLogger(__name__)

BUFFERS_A_WRITE: Final = 16
"""More than a pipe takes, where the buffers are those of a flood."""
MAX_PENDING_BYTES: Final = 16 << 20
"""Enough for what a busy Pod prints while its node's log is slow."""


class LineWriter:
    """Writes lines to a file descriptor, in order. Use `open` on the event loop, `close` at the end."""

    def __init__(self, fd: int = 1, *, max_pending_bytes: int = MAX_PENDING_BYTES) -> None:
        self._given_fd = fd
        self._fd = fd
        self._max_pending_bytes = max_pending_bytes
        self._pending: deque[memoryview] = deque()
        self._pending_bytes = 0
        self._is_waiting = False
        self.dropped_lines_total = 0

    def open(self) -> None:
        """A description of our own, so that O_NONBLOCK is not forced on those who share the pipe."""
        try:
            self._fd = os.open(f"/proc/self/fd/{self._given_fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_APPEND | os.O_CLOEXEC)
        except OSError:
            # A socket, or /proc is not there: then we write as it is, which may wait.
            self._fd = self._given_fd

    def is_free(self) -> bool:
        """Whether all that was written has been taken."""
        return not self._pending

    def has_room(self) -> bool:
        """For output. Half of the room is kept for ends, and for who writes little."""
        return self._pending_bytes <= self._max_pending_bytes // 2

    def write_output(self, lines: str) -> bool:
        """What may be left out when nobody reads. Whether it is kept."""
        if not self.has_room():
            self._drop(lines.count("\n") + 1)
            return False
        self.write(lines)
        return True

    def write(self, line: str) -> None:
        """One line, or several with line feeds between them; the last line feed is added. Invalid surrogates are replaced."""
        data = line.encode("utf-8", "replace") + b"\n"
        if self._pending_bytes + len(data) > self._max_pending_bytes:
            self._drop(data.count(b"\n"))
            return
        self._pending.append(memoryview(data))
        self._pending_bytes += len(data)
        if not self._is_waiting:
            self._flush()

    def _drop(self, count: int) -> None:
        if not self.dropped_lines_total:
            logger.warning("standard output is not read fast enough: output of Runs is dropped from the log")
        self.dropped_lines_total += count

    def _flush(self) -> None:
        while self._pending:
            try:
                written = os.writev(self._fd, list(itertools.islice(self._pending, BUFFERS_A_WRITE)))
            except BlockingIOError:
                self._wait_for_room()
                return
            except OSError as error:
                self._give_up(error)
                return
            self._take_off(written)
        if self._is_waiting:
            self._is_waiting = False
            asyncio.get_running_loop().remove_writer(self._fd)

    def _take_off(self, written: int) -> None:
        self._pending_bytes -= written
        while written:
            first = self._pending.popleft()
            if written < len(first):
                self._pending.appendleft(first[written:])
            written -= min(written, len(first))

    def _wait_for_room(self) -> None:
        if not self._is_waiting:
            self._is_waiting = True
            asyncio.get_running_loop().add_writer(self._fd, self._flush)

    def _give_up(self, error: OSError) -> None:
        """The reader is gone: nobody will ever read these."""
        logger.warning("standard output cannot be written", extra={"error": error.strerror})
        self.dropped_lines_total += len(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        if self._is_waiting:
            self._is_waiting = False
            asyncio.get_running_loop().remove_writer(self._fd)

    def close(self) -> None:
        """Writes what the pipe takes now."""
        if self._pending and not self._is_waiting:
            self._flush()
        if self._is_waiting:
            asyncio.get_running_loop().remove_writer(self._fd)
            self._is_waiting = False
        if self._fd != self._given_fd:
            os.close(self._fd)
            self._fd = self._given_fd

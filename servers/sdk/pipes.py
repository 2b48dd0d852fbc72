"""Reads the output of attempts as it comes, always: a pipe that nobody reads would stop the workload.

Reading does not depend on anybody taking the output: what is beyond the limit is counted and dropped by RetainedOutput.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Callable

from servers.sdk.limits import FLOOD_BYTES, FLOOD_PORTION_BYTES, FLOOD_REST_SECONDS, READ_BYTES
from servers.sdk.retained import RetainedOutput

# One buffer for all pipes: reads are synchronous, and what is kept is copied out before the next.
_scratch = memoryview(bytearray(READ_BYTES))


class PipeReader:
    """Owns the read end of one pipe. `on_data` is called when there is more to be had from `into`.

    A flood is read in portions with a rest after each: drained as fast as it comes it would take both processors, its own and ours,
    from all other Runs.
    """

    def __init__(self, fd: int, *, into: RetainedOutput, on_data: Callable[[], None]) -> None:
        self._fd = fd
        self._into = into
        self._on_data = on_data
        self._loop = asyncio.get_running_loop()
        self._portion_bytes = 0
        """Of a flood, since the last rest."""
        # Of this end alone. A process that survives SIGKILL for a while may hold the other one when the attempt is over.
        os.set_blocking(fd, False)
        self._loop.add_reader(fd, self._read)

    def finish(self) -> None:
        """Takes what is in the pipe now and closes it, without waiting for whoever may still hold the other end."""
        if self._fd < 0:
            return
        # A writer that survived could go on for ever: no more than what the pipe held when the attempt ended.
        room = fcntl.fcntl(self._fd, fcntl.F_GETPIPE_SZ) + READ_BYTES
        while room > 0 and (count := self._read()) > 0:
            room -= count
        self.close()

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> int:
        try:
            count = os.readv(self._fd, [_scratch])
        except BlockingIOError:
            return 0
        except OSError:
            count = 0
        if count == 0:
            self.close()
            return 0
        self._into.write(_scratch[:count])
        self._on_data()
        if self._into.total_bytes > FLOOD_BYTES:
            self._slow_down(count)
        return count

    def _slow_down(self, count: int) -> None:
        self._portion_bytes += count
        if self._portion_bytes >= FLOOD_PORTION_BYTES:
            self._portion_bytes = 0
            self._loop.remove_reader(self._fd)
            self._loop.call_later(FLOOD_REST_SECONDS, self._go_on)

    def _go_on(self) -> None:
        if self._fd >= 0:
            self._loop.add_reader(self._fd, self._read)

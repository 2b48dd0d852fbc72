"""One process tree from its main process to its last descendant: reaped, stopped when asked, ended when its main process ends.

For the process directly above the main process, which must be a subreaper: then no child left means no descendant left.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable

from servers.supervisor import process_tree, wire
from servers.supervisor.spec import parse_grace
from servers.supervisor.waking import ChildSignal
from servers.supervisor.wire import RECORD_BYTES, Message

_RESCAN_SECONDS = 0.05
"""While killing only: /proc may hide a process during a scan, and then no signal would ever tell. Not how ends are noticed."""

_STUCK_SECONDS = 5.0
"""A process in uninterruptible sleep survives SIGKILL. After this long the end of the main process is reported all the same."""


class Tree:
    """`tend` until nothing of it is left. Orders come in on `control`; when that closes, everything is killed."""

    def __init__(self, main_pid: int, *, control: socket.socket, child_signal: ChildSignal, report: Callable[[Message], None]) -> None:
        self._main_pid = main_pid
        self._control = control
        self._child_signal = child_signal
        self._report = report
        self._main_status: int | None = None
        self._ended_micros = 0
        self._is_stopped = False
        self._is_reported = False
        self.is_abandoned = False
        self._kill_at: float | None = None
        self._killing_since: float | None = None
        self._cpu_seconds = 0.0
        self._peak_rss_kib = 0

    def tend(self) -> None:
        poll = select.poll()
        poll.register(self._child_signal, select.POLLIN)
        poll.register(self._control, select.POLLIN)
        while self._reap():
            if self._should_kill():
                self._kill_all()
            for fd, _ in poll.poll(self._patience_millis()):
                if fd == self._child_signal.fileno():
                    self._child_signal.clear()
                elif not self._take_order():
                    poll.unregister(self._control)
        self._report_end(survivors=0)

    def _reap(self) -> bool:
        """False once nothing is left: every descendant hangs below this subreaper."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            self._cpu_seconds += usage.ru_utime + usage.ru_stime
            self._peak_rss_kib = max(self._peak_rss_kib, usage.ru_maxrss)
            if pid == self._main_pid:
                self._main_status = status
                self._ended_micros = time.time_ns() // 1000

    def _should_kill(self) -> bool:
        if self.is_abandoned:
            return True
        if self._kill_at is not None:
            # Also when main is gone already: the others were asked to stop at the same time and get the same grace.
            return time.monotonic() >= self._kill_at
        return self._main_status is not None

    def _kill_all(self) -> None:
        now = time.monotonic()
        self._killing_since = self._killing_since or now
        survivors = process_tree.descendants_of([os.getpid()])
        process_tree.kill(survivors)
        if now - self._killing_since >= _STUCK_SECONDS and self._main_status is not None:
            self._report_end(survivors=len(survivors))

    def _patience_millis(self) -> int | None:
        if self._killing_since is not None:
            return int(_RESCAN_SECONDS * 1000)
        if self._kill_at is not None:
            return max(0, int((self._kill_at - time.monotonic()) * 1000) + 1)
        return None

    def _take_order(self) -> bool:
        """The only order is to stop. False: there will be no more of them."""
        try:
            order = self._control.recv(RECORD_BYTES)
        except OSError:
            order = b""
        if not order:
            self.is_abandoned = True
            return False
        kill_at = time.monotonic() + parse_grace(wire.decode(order))
        self._kill_at = kill_at if self._kill_at is None else min(self._kill_at, kill_at)
        if not self._is_stopped and self._main_status is None:
            self._is_stopped = True
            process_tree.terminate(process_tree.descendants_of([os.getpid()]))
        return True

    def _report_end(self, *, survivors: int) -> None:
        if self._is_reported or self.is_abandoned:
            return
        self._is_reported = True
        self._report(
            {
                "op": "ended",
                "status": self._main_status,
                "stopped": self._is_stopped,
                "lost": False,
                "cpu_seconds": round(self._cpu_seconds, 6),
                "peak_rss_bytes": self._peak_rss_kib * 1024,
                "survivors": survivors,
                "micros": self._ended_micros,
            }
        )

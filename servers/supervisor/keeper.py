"""The keeper: one tiny process above each attempt, a subreaper, so that nothing that the attempt starts can get away.

It starts the main process, reaps everything below, notices the end of the main process, ends the rest of the tree, and reports.
It is a fork of the supervisor without exec and shares its memory. Its control socket is its leash: when the supervisor
closes it, by intent or by dying, the tree is killed.
"""

from __future__ import annotations

import gc
import itertools
import os
import select
import signal
import socket
import sys
import time
from typing import NoReturn

from servers.supervisor import linux, process_tree, wire
from servers.supervisor.child import exec_main
from servers.supervisor.spec import StartSpec, parse_grace
from servers.supervisor.waking import ChildSignal
from servers.supervisor.wire import RECORD_BYTES

_RESCAN_SECONDS = 0.05
"""While killing only: /proc may hide a process during a scan, and then no signal would ever tell. Not how ends are noticed."""

_STUCK_SECONDS = 5.0
"""A process in uninterruptible sleep survives SIGKILL. After this long the end of the main process is reported all the same."""


def keep(spec: StartSpec, *, control: socket.socket, stdio: tuple[int, int, int]) -> NoReturn:
    """The whole life of a keeper. Call it in a fresh fork; it never returns."""
    try:
        gc.disable()
        _close_all_but({0, 1, 2, control.fileno(), *stdio})
        linux.name_process(b"krt-keeper")
        linux.become_subreaper()
        child_signal = ChildSignal()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        main_pid, failure = _start_main(spec, stdio=stdio)
        if failure:
            _kill_everything()
            control.send(wire.encode_payload({"op": "refused", "id": spec.ticket, "message": failure}))
        else:
            control.send(wire.encode_payload({"op": "started", "id": spec.ticket, "pid": main_pid, "micros": _now_micros()}))
            _Keeper(spec.ticket, main_pid=main_pid, control=control, child_signal=child_signal).run()
    except OSError:
        # Only the control socket fails here: the supervisor died, and nobody is listening any more.
        _kill_everything()
    except BaseException:
        sys.excepthook(*sys.exc_info())
        _kill_everything()
        os._exit(1)
    finally:
        os._exit(0)


def _start_main(spec: StartSpec, *, stdio: tuple[int, int, int]) -> tuple[int, str]:
    """The PID and what went wrong, "" if exec succeeded."""
    keeper_pid = os.getpid()
    try:
        report_read, report_write = os.pipe()
        pid = os.fork()
    except OSError as error:
        return 0, f"cannot start the process: {os.strerror(error.errno or 0)}"
    if pid == 0:
        exec_main(spec, keeper_pid=keeper_pid, stdio=stdio, report_fd=report_write)
    for fd in (report_write, *stdio):
        os.close(fd)
    failure = os.read(report_read, 4096).decode(errors="replace")
    os.close(report_read)
    return pid, failure


class _Keeper:
    def __init__(self, ticket: int, *, main_pid: int, control: socket.socket, child_signal: ChildSignal) -> None:
        self._ticket = ticket
        self._main_pid = main_pid
        self._control = control
        self._child_signal = child_signal
        self._main_status: int | None = None
        self._ended_micros = 0
        self._is_stopped = False
        self._is_abandoned = False
        self._is_reported = False
        self._kill_at: float | None = None
        self._killing_since: float | None = None
        self._cpu_seconds = 0.0
        self._peak_rss_kib = 0

    def run(self) -> None:
        poll = select.poll()
        poll.register(self._child_signal, select.POLLIN)
        poll.register(self._control, select.POLLIN)
        while self._reap():
            if self._should_kill():
                self._kill_tree()
            for fd, _ in poll.poll(self._patience_millis()):
                if fd == self._child_signal.fileno():
                    self._child_signal.clear()
                elif not self._take_order():
                    poll.unregister(self._control)
        self._report(survivors=0)

    def _reap(self) -> bool:
        """False once nothing is left: every descendant hangs below this subreaper, so no child means no descendant."""
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
                self._ended_micros = _now_micros()

    def _should_kill(self) -> bool:
        if self._is_abandoned:
            return True
        if self._kill_at is not None:
            # Also when main is gone already: the others were asked to stop at the same time and get the same grace.
            return time.monotonic() >= self._kill_at
        return self._main_status is not None

    def _kill_tree(self) -> None:
        now = time.monotonic()
        self._killing_since = self._killing_since or now
        survivors = process_tree.descendants_of([os.getpid()])
        process_tree.kill(survivors)
        if now - self._killing_since >= _STUCK_SECONDS and self._main_status is not None:
            self._report(survivors=len(survivors))

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
            self._is_abandoned = True
            return False
        kill_at = time.monotonic() + parse_grace(wire.decode(order))
        self._kill_at = kill_at if self._kill_at is None else min(self._kill_at, kill_at)
        if not self._is_stopped and self._main_status is None:
            self._is_stopped = True
            process_tree.terminate(process_tree.descendants_of([os.getpid()]))
        return True

    def _report(self, *, survivors: int) -> None:
        if self._is_reported or self._is_abandoned:
            return
        self._is_reported = True
        report = {
            "op": "ended",
            "id": self._ticket,
            "status": self._main_status,
            "stopped": self._is_stopped,
            "lost": False,
            "cpu_seconds": round(self._cpu_seconds, 6),
            "peak_rss_bytes": self._peak_rss_kib * 1024,
            "survivors": survivors,
            "micros": self._ended_micros,
        }
        self._control.send(wire.encode_payload(report))


def _kill_everything() -> None:
    """Until nothing is left, whatever it takes."""
    while True:
        process_tree.kill(process_tree.descendants_of([os.getpid()]))
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _close_all_but(kept: set[int]) -> None:
    """Other attempts' control sockets and pipes, the server's socket, the epoll: a copy here would keep them open."""
    ends = [*sorted(kept), os.sysconf("SC_OPEN_MAX")]
    for before, fd in itertools.pairwise(ends):
        if before + 1 < fd:  # os.closerange(0, 0) closes everything: it ends at -1, which the kernel takes for the largest number.
            os.closerange(before + 1, fd)


def _now_micros() -> int:
    return time.time_ns() // 1000

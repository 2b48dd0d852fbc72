"""The keeper: one tiny process above each attempt, a subreaper, so that nothing that the attempt starts can get away.

It starts the main process, or holds one ready that will become it, reaps everything below, notices the end of the main process,
ends the rest of the tree, and reports; then it may hold the next. It is a fork without exec and shares its parent's memory.
Its control socket is its leash: when the supervisor closes it, by intent or by dying, the tree is killed and the keeper ends.

To the supervisor: `started` (pid, micros) with the read ends of stdout and stderr; `held` (pid, keeper, offset) with those, the
write end of the order pipe, the report socket and, for a `bash -c`, its memory; `refused` (message, for_good); `ended` (see tree),
`unused` if what was held never had its order. From it: `stop` (grace_seconds) and, after `ended`, `hold` (form).
The report socket goes on to the Runtime Server, which hears the `ended` of what was held from here, not by way of the supervisor.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

from servers.supervisor import linux, process_tree, wire
from servers.supervisor.child import UMASK, Stdio, exec_main
from servers.supervisor.held import CannotHold, Waiting
from servers.supervisor.spec import StartSpec
from servers.supervisor.tree import Tree
from servers.supervisor.waking import ChildSignal
from servers.supervisor.wire import RECORD_BYTES, Message

SpawnHeld = Callable[[str, Stdio, int], Waiting]
"""Given a form, what shall be its standard streams, and the read end of the order pipe, starts a child that waits for the end of
that pipe. Raises OSError, CannotHold, or BecameChild in a child that is a fork of this process."""


class BecameChild(BaseException):
    """Raised in a held child to unwind the keeper's stack, which is not its business any more."""


def keep(
    control: socket.socket, *, spawn_held: SpawnHeld | None, first: StartSpec | str, open_fds: frozenset[int] = frozenset()
) -> NoReturn:
    """The whole life of a keeper, in a fresh fork; it never returns. `first` is what to run, or the form of what to hold.

    `open_fds` stay open besides the standard ones. Raises BecameChild in a held child that is a fork of this process.
    """
    try:
        gc.disable()
        close_all_but({0, 1, 2, control.fileno()} | open_fds)
        linux.name_process(b"krt-keeper")
        linux.become_subreaper()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        os.umask(UMASK)
        # No file can be here that a child without orders could take for its script.
        os.chdir("/proc")
        Keeper(control, spawn_held=spawn_held).run(first)
    except BecameChild:
        # Its number may be another file's by the time the object is collected.
        control.detach()
        raise
    except OSError:
        # Only the control socket fails here: the supervisor died, and nobody is listening any more.
        _kill_everything()
    except BaseException:
        sys.excepthook(*sys.exc_info())
        _kill_everything()
        os._exit(1)
    os._exit(0)


class Keeper:
    def __init__(self, control: socket.socket, *, spawn_held: SpawnHeld | None) -> None:
        self._control = control
        self._spawn_held = spawn_held
        self._child_signal = ChildSignal()
        self._stdin = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._order_fd = -1
        """A second read end of the order pipe of what is held: it shows whether the order was read."""
        self._server: socket.socket | None = None
        """Our end of its report socket."""

    def run(self, first: StartSpec | str) -> None:
        """One tree after the other until the supervisor hangs up."""
        job: StartSpec | str | None = first
        while job is not None:
            pid = self._hold(job) if isinstance(job, str) else self._start(job)
            tree = Tree(pid, control=self._control, child_signal=self._child_signal, report=self._report)
            if pid:
                tree.tend()
            job = None if tree.is_abandoned else self._next_form()

    def _next_form(self) -> str | None:
        """Waits for the order to hold the next child. A `stop` that comes now was meant for the tree that has ended."""
        while order := self._control.recv(RECORD_BYTES):
            message = wire.decode(order)
            if message.get("op") == "hold":
                return str(message["form"])
        return None

    # A child that waits

    def _hold(self, form: str) -> int:
        """The PID, 0 if there is none: the supervisor was told why."""
        assert self._spawn_held is not None
        try:
            with contextlib.ExitStack() as stack:
                order = _Pipe()
                stack.callback(order.close_write)
                self._order_fd = order.read
                stdout, stderr = _pipe(stack), _pipe(stack)
                child = self._spawn_held(form, (self._stdin, stdout.write, stderr.write), order.read)
                # STRICTLY AFTER the child was forked, which must not have it.
                self._server, servers_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                stack.callback(servers_end.close)
                fds = [stdout.read, stderr.read, order.write, servers_end.fileno()]
                if child.memory_fd is not None:
                    stack.callback(_close, child.memory_fd)
                    fds.append(child.memory_fd)
                self._say({"op": "held", "pid": child.pid, "keeper": os.getpid(), "offset": child.memory_offset}, fds=fds)
                return child.pid
        except CannotHold as error:
            refusal: Message = {"op": "refused", "message": str(error), "for_good": True}
        except OSError as error:
            refusal = {"op": "refused", "message": f"cannot hold a process: {os.strerror(error.errno or 0)}"}
        self._forget_held()
        self._say(refusal)
        return 0

    def _report(self, ended: Message) -> None:
        if self._server:
            ended["unused"] = not _is_at_end(self._order_fd)
            with contextlib.suppress(OSError):  # the server is gone, and so will we be
                self._server.send(wire.encode_payload(ended))
        self._forget_held()
        self._say(ended)

    def _forget_held(self) -> None:
        if self._order_fd >= 0:
            os.close(self._order_fd)
            self._order_fd = -1
        if self._server:
            self._server.close()
            self._server = None

    # A fresh process

    def _start(self, spec: StartSpec) -> int:
        """The PID, 0 if there is none: the supervisor was told why."""
        try:
            with contextlib.ExitStack() as stack:
                stdout, stderr, report = (_pipe(stack) for _ in range(3))
                pid = _fork_main(spec, stdio=(self._stdin, stdout.write, stderr.write), report_fd=report.write)
                report.close_write()
                if failure := os.read(report.read, 4096).decode(errors="replace"):
                    os.waitpid(pid, 0)
                    self._say({"op": "refused", "message": failure})
                    return 0
                self._say({"op": "started", "pid": pid, "micros": time.time_ns() // 1000}, fds=[stdout.read, stderr.read])
                return pid
        except OSError as error:
            self._say({"op": "refused", "message": f"cannot start the process: {os.strerror(error.errno or 0)}"})
            return 0

    def _say(self, message: Message, *, fds: Sequence[int] = ()) -> None:
        payload = wire.encode_payload(message)
        if fds:
            socket.send_fds(self._control, [payload], list(fds))
        else:
            self._control.send(payload)


def _is_at_end(order_fd: int) -> bool:
    """Whether all of the order was written and read: a child that ended before that has not begun with what it was ordered."""
    poll = select.poll()
    poll.register(order_fd, select.POLLIN)
    return [events for _, events in poll.poll(0)] == [select.POLLHUP]


class _Pipe:
    def __init__(self) -> None:
        self.read, self.write = os.pipe()

    def close_write(self) -> None:
        """At most once. A child that unwinds has closed what it does not need by itself."""
        fd, self.write = self.write, -1
        _close(fd)

    def close(self) -> None:
        self.close_write()
        _close(self.read)


def _close(fd: int) -> None:
    with contextlib.suppress(OSError):
        os.close(fd)


def _pipe(stack: contextlib.ExitStack) -> _Pipe:
    pipe = _Pipe()
    stack.callback(pipe.close)
    return pipe


def _fork_main(spec: StartSpec, *, stdio: Stdio, report_fd: int) -> int:
    keeper_pid = os.getpid()
    pid = os.fork()
    if pid == 0:
        exec_main(spec, keeper_pid=keeper_pid, stdio=stdio, report_fd=report_fd)
    return pid


def _kill_everything() -> None:
    """Until nothing is left, whatever it takes."""
    while True:
        process_tree.kill(process_tree.descendants_of([os.getpid()]))
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def close_all_but(kept: set[int]) -> None:
    """Other attempts' control sockets and pipes, the server's socket, the epoll: a copy here would keep them open."""
    ends = [*sorted(kept), os.sysconf("SC_OPEN_MAX")]
    for before, fd in itertools.pairwise(ends):
        if before + 1 < fd:  # os.closerange(0, 0) closes everything: it ends at -1, which the kernel takes for the largest number.
            os.closerange(before + 1, fd)

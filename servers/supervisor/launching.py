"""How a child is obtained: today a keeper is forked and starts a plain process. A warm pool will hand out a waiting one here.

Everything else only needs what `Launched` promises: a keeper's PID, its control socket, and where the output comes out.
"""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass

from servers.supervisor.channel import OutputFds
from servers.supervisor.keeper import keep
from servers.supervisor.spec import StartSpec


@dataclass(frozen=True, slots=True)
class Launched:
    keeper_pid: int
    control: socket.socket
    """Datagrams in order: the keeper's `started` or `refused`, then `ended`; to it `stop`. Closing it kills the tree."""
    output: OutputFds
    """Non-blocking read ends; whoever takes them closes them."""


def launch(spec: StartSpec) -> Launched:
    """Raises OSError when this process can open or fork no more; nothing is left behind then."""
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
        control, keepers_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.callback(control.close)
        theirs.callback(keepers_control.close)
        stdin = _own(theirs, os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        stdout_read, stdout_write = _pipe(ours, theirs)
        stderr_read, stderr_write = _pipe(ours, theirs)
        pid = os.fork()
        if pid == 0:
            keep(spec, control=keepers_control, stdio=(stdin, stdout_write, stderr_write))
        for fd in (stdout_read, stderr_read, control.fileno()):
            os.set_blocking(fd, False)
        ours.pop_all()
    return Launched(keeper_pid=pid, control=control, output=(stdout_read, stderr_read))


def _pipe(ours: contextlib.ExitStack, theirs: contextlib.ExitStack) -> tuple[int, int]:
    read_end, write_end = os.pipe()
    return _own(ours, read_end), _own(theirs, write_end)


def _own(stack: contextlib.ExitStack, fd: int) -> int:
    stack.callback(os.close, fd)
    return fd

"""Where keepers come from: forks of the supervisor, or, where children are forks of a prepared Python, of its zygote.

Both hand out the supervisor's end of a new keeper's control socket: datagrams in order, see keeper. Closing it ends the keeper.
"""

from __future__ import annotations

import contextlib
import os
import socket
from functools import partial

from servers.supervisor import held_bash
from servers.supervisor.child import Stdio
from servers.supervisor.held import Waiting
from servers.supervisor.keeper import SpawnHeld, keep
from servers.supervisor.spec import HoldSpec, StartSpec


def launch(*, first: StartSpec | None = None, hold: HoldSpec | None = None, form: str = "") -> tuple[int, socket.socket]:
    """A keeper that runs `first`, or holds `form`: its PID and its control socket.

    Raises OSError when this process can open or fork no more; nothing is left then.
    """
    with contextlib.ExitStack() as stack:
        control, keepers_control = make_control(stack)
        with keepers_control:
            pid = os.fork()
            if pid == 0:
                keep(keepers_control, spawn_held=spawner(hold), first=first or form)
        stack.pop_all()
    return pid, control


def make_control(stack: contextlib.ExitStack) -> tuple[socket.socket, socket.socket]:
    """Our end, non-blocking, closed with the stack; and the keeper's."""
    control, keepers_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stack.callback(control.close)
    control.setblocking(False)
    return control, keepers_control


def spawner(hold: HoldSpec | None) -> SpawnHeld | None:
    """How a keeper that is a fork of the supervisor holds children."""
    return partial(_spawn_bash, hold) if hold else None


def _spawn_bash(hold: HoldSpec, form: str, stdio: Stdio, order_fd: int) -> Waiting:
    return held_bash.spawn(hold, form=form, stdio=stdio, order_fd=order_fd)

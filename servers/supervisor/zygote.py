"""The zygote: a Python that has started and imported what is to be preloaded, stopped before its script, and forked from then on.

It is started as `python script` with `hold/` in front of its path, whose sitecustomize calls `run`. Each request on its channel
brings the control socket of a new keeper. The keeper is forked twice, so that it becomes a child of the supervisor like all
others, and forks the held children from itself.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial

from servers.supervisor import linux, wire
from servers.supervisor.channel import receive_fds
from servers.supervisor.child import Stdio
from servers.supervisor.freezing import freeze
from servers.supervisor.held import CannotHold, Waiting
from servers.supervisor.held_python import FORK, wait_and_become
from servers.supervisor.keeper import BecameChild, keep
from servers.supervisor.main_script import MainScript


def run(channel_fd: int, *, failure: str, open_fds: frozenset[int], leave_no_trace: Callable[[], None]) -> None:
    """Returns in held children only, each of which is to run its script. `failure`: why preloading went wrong."""
    channel = socket.socket(fileno=channel_fd)
    channel.set_inheritable(False)
    collects_garbage = gc.isenabled()
    try:
        _serve(channel, failure=failure, open_fds=open_fds, leave_no_trace=leave_no_trace)
    except BecameChild:
        channel.detach()
        if collects_garbage:
            gc.enable()
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)


def _serve(channel: socket.socket, *, failure: str, open_fds: frozenset[int], leave_no_trace: Callable[[], None]) -> None:
    linux.name_process(b"krt-zygote")
    try:
        main_script = MainScript.find()
    except CannotHold as error:
        failure = failure or f"this Python cannot be kept warm: {error}"
    if failure:
        channel.send(wire.encode_payload({"op": "failed", "message": failure[:1024]}))
        os._exit(1)
    freeze()
    # What is used here is bound already; to forget it now is nothing that each child has to do.
    leave_no_trace()
    channel.send(wire.encode_payload({"op": "ready"}))
    while control := _next_control(channel):
        _fork_keeper(control, main_script=main_script, open_fds=open_fds)
        control.close()
    os._exit(0)


def _next_control(channel: socket.socket) -> socket.socket | None:
    """None when the supervisor is gone."""
    _, fds, _ = receive_fds(channel, size=16, limit=1)
    return socket.socket(fileno=fds[0]) if fds else None


def _fork_keeper(control: socket.socket, *, main_script: MainScript, open_fds: frozenset[int]) -> None:
    try:
        between = os.fork()
    except OSError:
        return  # The control socket closes, and that tells.
    if between:
        os.waitpid(between, 0)
        return
    try:
        if os.fork():
            os._exit(0)
    except OSError:
        os._exit(1)
    keep(control, spawn_held=partial(_spawn, main_script, open_fds), first=FORK, open_fds=open_fds)


def _spawn(main_script: MainScript, open_fds: frozenset[int], form: str, stdio: Stdio, order_fd: int) -> Waiting:
    keeper_pid = os.getpid()
    pid = os.fork()
    if pid == 0:
        linux.die_with_parent(signal.SIGKILL)
        if os.getppid() != keeper_pid:
            os._exit(1)  # The keeper died before the line above took effect.
        wait_and_become(main_script, stdio=stdio, order_fd=order_fd, open_fds=open_fds)
    return Waiting(pid)

"""The supervisor's side of its zygote: starts it, has it fork keepers, and starts another when it is gone."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

from servers.supervisor import wire
from servers.supervisor.child import encoded
from servers.supervisor.launching import make_control
from servers.supervisor.spec import HoldSpec
from servers.supervisor.wire import RECORD_BYTES

_HOOK = str(Path(__file__).with_name("hold"))

SCRIPT = "script"
"""A placeholder: a held child is told which file it is to run."""


class ZygoteLink:
    def __init__(self, hold: HoldSpec) -> None:
        self._hold = hold
        self.channel: socket.socket | None = None
        self.pid = 0
        self.is_ready = False
        self.failure = ""
        """Why it cannot be had, in its own words."""

    @property
    def is_started(self) -> bool:
        return self.channel is not None

    def start(self) -> socket.socket:
        """Returns what to listen on. Raises OSError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with contextlib.ExitStack() as stack:
            stack.callback(ours.close)
            with theirs:
                self.pid = self._spawn(theirs.fileno())
            stack.pop_all()
        self.channel, self.is_ready, self.failure = ours, False, ""
        return ours

    def receive(self) -> bool:
        """After the channel became readable. False: the zygote is gone."""
        assert self.channel is not None
        try:
            payload = self.channel.recv(RECORD_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            payload = b""
        if not payload:
            return False
        message = wire.decode(payload)
        self.is_ready = message.get("op") == "ready"
        self.failure = "" if self.is_ready else str(message.get("message"))
        return True

    def launch(self) -> socket.socket:
        """The control socket of a new keeper. Raises OSError."""
        assert self.channel is not None
        with contextlib.ExitStack() as stack:
            control, keepers_control = make_control(stack)
            with keepers_control:
                socket.send_fds(self.channel, [b"keeper"], [keepers_control.fileno()])
            stack.pop_all()
        return control

    def close(self) -> None:
        """It ends when its channel closes."""
        self.is_ready = False
        if self.channel:
            self.channel.close()
            self.channel = None

    def _spawn(self, channel_fd: int) -> int:
        log_fd = os.dup(2)
        try:
            os.set_inheritable(log_fd, True)
            os.set_inheritable(channel_fd, True)
            own = {
                "PYTHONPATH": _HOOK,
                "KRT_CHANNEL_FD": str(channel_fd),
                "KRT_LOG_FD": str(log_fd),
                "KRT_PRELOAD": ",".join(self._hold.preload),
            }
            argv, env = encoded([self._hold.executable, SCRIPT], env={**self._hold.env, **own})
            every_signal = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
            with _dead_pipe() as stream:
                # SIGINT is ignored here; it must not be there, nor in what is forked from it.
                return os.posix_spawn(
                    self._hold.executable,
                    argv,
                    env,
                    file_actions=[(os.POSIX_SPAWN_DUP2, stream, 1), (os.POSIX_SPAWN_DUP2, stream, 2)],
                    setsid=True,
                    setsigmask=(),
                    setsigdef=every_signal,
                )
        finally:
            os.close(log_fd)


@contextlib.contextmanager
def _dead_pipe() -> Iterator[int]:
    """What sys.stdout and sys.stderr are made on: a stream knows all its life whether it was made on a pipe, as those of a Run are."""
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    try:
        yield write_fd
    finally:
        os.close(write_fd)

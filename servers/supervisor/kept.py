"""What the supervisor knows of one keeper: what it holds ready, or which attempt is under it."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from dataclasses import dataclass

from servers.supervisor import wire
from servers.supervisor.channel import OutputFds, close_fds
from servers.supervisor.wire import RECORD_BYTES, Message

_KEEPER_PATIENCE_SECONDS = 5.0
"""Beyond the grace: a keeper that has not answered by then was stopped or hangs, and is killed with its tree."""


@dataclass(frozen=True, slots=True)
class Held:
    """A child that waits for its order."""

    pid: int
    output: OutputFds
    order_fd: int

    def close(self) -> None:
        close_fds(self.output)
        os.close(self.order_fd)


@dataclass(slots=True, eq=False)
class Kept:
    control: socket.socket
    pid: int = 0
    """0 for a keeper forked by the zygote until it has said its own."""
    can_hold: bool = False
    ticket: int | None = None
    """The attempt under it, from its start to the end of the last process."""
    held: Held | None = None
    held_since: float = 0.0
    is_stopped: bool = False
    stop_by: float | None = None

    @property
    def is_connected(self) -> bool:
        return self.control.fileno() >= 0

    def receive(self) -> tuple[Message, list[int]] | None:
        """The next message with its descriptors, None while there is none. The message is {} at the end of the stream."""
        try:
            payload, fds, _, _ = socket.recv_fds(self.control, RECORD_BYTES, 3)
        except BlockingIOError:
            return None
        except OSError:
            return {}, []
        return (wire.decode(payload) if payload else {}), fds

    def hold_again(self) -> None:
        """Only after its `ended`. Raises OSError when it is dead."""
        self.control.send(wire.encode_payload({"op": "hold"}))

    def let_go(self, order: bytes) -> Held | None:
        """The held child, which is running now; None if it did not get the order, and never will."""
        held, self.held = self.held, None
        assert held is not None
        try:
            # A pipe that was given few pages (the user has many) would take a part of it, or block us.
            if len(order) > fcntl.fcntl(held.order_fd, fcntl.F_GETPIPE_SZ):
                raise OSError
            os.write(held.order_fd, order)
        except OSError:
            held.close()
            return None
        os.close(held.order_fd)
        return held

    def stop(self, *, grace_seconds: float) -> None:
        self.is_stopped = True
        stop_by = time.monotonic() + grace_seconds + _KEEPER_PATIENCE_SECONDS
        self.stop_by = stop_by if self.stop_by is None else min(self.stop_by, stop_by)
        try:
            self.control.send(wire.encode_payload({"op": "stop", "grace_seconds": grace_seconds}))
        except OSError:
            return  # It is dead or does not read: whoever reaps or loses patience will deal with it.

    def finish(self) -> None:
        """The attempt under it is over."""
        self.ticket, self.is_stopped, self.stop_by = None, False, None

    def drop_held(self) -> None:
        if self.held:
            self.held.close()
            self.held = None

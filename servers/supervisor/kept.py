"""What the supervisor knows of one keeper: what it holds ready, or which attempt is under it."""

from __future__ import annotations

import socket
import time

from servers.supervisor import wire
from servers.supervisor.channel import FDS_LIMIT, receive_fds
from servers.supervisor.wire import RECORD_BYTES, Message

_KEEPER_PATIENCE_SECONDS = 5.0
"""Beyond the grace: a keeper that has not answered by then was stopped or hangs, and is killed with its tree."""


class Kept:
    def __init__(self, control: socket.socket, *, pid: int, form: str = "") -> None:
        self.control = control
        self.pid = pid
        """0 for a keeper forked by the zygote until it has said its own."""
        self.form = form
        """What it holds, or is to hold next; "" for one that only runs what it was launched for."""
        self.ticket: int | None = None
        """Of the attempt under it, from its start, or from when the server has told of it, to the end of the last process."""
        self.hold = 0
        """The number under which what it holds was lent to the server; 0 if nothing is, or not yet."""
        self.is_stopped = False
        self.stop_by: float | None = None

    @property
    def is_connected(self) -> bool:
        return self.control.fileno() >= 0

    def receive(self) -> tuple[Message, list[int]] | None:
        """The next message with its descriptors, None while there is none. The message is {} at the end of the stream."""
        try:
            payload, fds, _ = receive_fds(self.control, size=RECORD_BYTES, limit=FDS_LIMIT)
        except BlockingIOError:
            return None
        except OSError:
            return {}, []
        return (wire.decode(payload) if payload else {}), fds

    def hold_again(self, form: str) -> bool:
        """Only after its `ended`. False if it is dead."""
        self.form = form
        try:
            self.control.send(wire.encode_payload({"op": "hold", "form": form}))
        except OSError:
            return False
        return True

    def lose_patience(self, *, grace_seconds: float = 0) -> None:
        """It is expected to end, with what is under it, after the grace."""
        stop_by = time.monotonic() + grace_seconds + _KEEPER_PATIENCE_SECONDS
        self.stop_by = stop_by if self.stop_by is None else min(self.stop_by, stop_by)

    def stop(self, *, grace_seconds: float) -> None:
        self.is_stopped = True
        self.lose_patience(grace_seconds=grace_seconds)
        try:
            self.control.send(wire.encode_payload({"op": "stop", "grace_seconds": grace_seconds}))
        except OSError:
            return  # It is dead or does not read: whoever reaps or loses patience will deal with it.

    def finish(self) -> None:
        """The attempt under it is over."""
        self.ticket, self.hold, self.is_stopped, self.stop_by = None, 0, False, None

    def close(self) -> None:
        """The keeper ends, with what is under it."""
        self.control.close()

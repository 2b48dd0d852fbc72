"""A child that is held ready, as its keeper and as the Runtime Server have it, and what lets it go."""

from __future__ import annotations

import fcntl
import os
from typing import NamedTuple

from servers.supervisor.channel import OutputFds, close_fds


class CannotHold(Exception):
    """Not here, and not later either: this kernel or this interpreter does not let us. The text says why."""


class Order(NamedTuple):
    """What makes a held child run an attempt."""

    payload: bytes
    command: bytes = b""
    """Of a `bash -c`: what is to be put over its placeholder."""


class Waiting(NamedTuple):
    """A child that waits for its order, as its keeper has it."""

    pid: int
    memory_fd: int | None = None
    """Of a `bash -c`: where its command is to be put."""
    memory_offset: int = 0


class Held(NamedTuple):
    """The same, as the server has it: lent by the supervisor, and let go without asking."""

    pid: int
    output: OutputFds
    order_fd: int
    memory_fd: int | None = None
    memory_offset: int = 0

    def take(self, order: Order) -> bool:
        """Whether it runs now. If not, it never will; it must be closed."""
        try:
            # A pipe that was given few pages (the user has many) would take a part of it, or block us.
            if len(order.payload) > fcntl.fcntl(self.order_fd, fcntl.F_GETPIPE_SZ):
                return False
            if self.memory_fd is not None and os.pwrite(self.memory_fd, order.command, self.memory_offset) != len(order.command):
                return False
            os.write(self.order_fd, order.payload)
        except OSError:
            return False
        self._close_order()
        return True

    def close(self) -> None:
        """It finds the end of its pipe without an order, and ends."""
        close_fds(self.output)
        self._close_order()

    def _close_order(self) -> None:
        os.close(self.order_fd)
        if self.memory_fd is not None:
            os.close(self.memory_fd)

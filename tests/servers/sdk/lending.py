"""Children that are lent, over real pipes; nobody is behind them."""

from __future__ import annotations

import os
import socket

from servers.sdk.shelf import Lent, Shelf
from servers.supervisor.channel import Fds
from servers.supervisor.held import Order
from servers.supervisor.wire import Message

ENV = {"PATH": "/usr/bin:/bin"}
ORDER = Order(b"echo on\n")


class Keepers:
    """The other ends of what is lent, by hold."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self._order_ends: dict[int, int] = {}
        self.reports: dict[int, socket.socket] = {}
        self._fds: list[int] = []

    def take(self, form: str = "script") -> Lent | None:
        lent = self.shelf.take(form, ORDER)
        if lent:
            self._fds += lent.held.output
            self.reports[-lent.hold] = lent.report
        return lent

    def lend(self, hold: int, *, form: str = "script") -> None:
        self.shelf.put(*self.make(hold, form=form))

    def make(self, hold: int, *, form: str = "script") -> tuple[Message, Fds]:
        (stdout, out), (stderr, err) = os.pipe(), os.pipe()
        self._fds += [out, err]
        self._order_ends[hold], order = os.pipe()
        self.reports[hold], report = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        message = {"op": "lent", "hold": hold, "form": form, "pid": 1, "offset": 0}
        return message, (stdout, stderr, order, report.detach())

    def order_of(self, hold: int) -> bytes:
        return os.read(self._order_ends[hold], 100)

    def die(self, hold: int) -> None:
        os.close(self._order_ends.pop(hold))

    def close(self) -> None:
        self.shelf.clear()
        for fd in [*self._fds, *self._order_ends.values()]:
            os.close(fd)
        for report in self.reports.values():
            report.close()

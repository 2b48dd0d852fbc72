"""The children that the supervisor lent to this server: to let one go is a write into its pipe, and its keeper reports its end here.

So the way of a short Run does not lead through the supervisor, which is told afterwards. No event loop here: see supervisor_link.
"""

from __future__ import annotations

import socket
from collections import deque
from typing import Final, NamedTuple

from servers.supervisor import held_bash, held_python, wire
from servers.supervisor.channel import Fds
from servers.supervisor.held import Held, Order
from servers.supervisor.spec import HoldSpec, StartSpec
from servers.supervisor.wire import RECORD_BYTES, Message

ORDER_LIMIT_BYTES: Final = 60 * 1024
"""What a pipe takes in one write, 64 KiB, with some room."""


class Lent(NamedTuple):
    """One that waits, or, once it was taken, runs."""

    hold: int
    """The supervisor's number of it."""
    held: Held
    report: socket.socket
    """What its keeper says of its end."""

    def read_report(self) -> Message | None:
        """What the keeper said; {} if it is gone and has said nothing, None while neither is so."""
        try:
            payload = self.report.recv(RECORD_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            payload = b""
        return wire.decode(payload) if payload else {}

    def close(self) -> None:
        """It finds the end of its pipe without an order, and ends."""
        self.held.close()
        self.report.close()


class Shelf:
    def __init__(self, hold: HoldSpec) -> None:
        self._hold = hold
        self._ready: dict[str, deque[Lent]] = {}

    def put(self, message: Message, fds: Fds) -> None:
        """What came with a `lent`."""
        stdout, stderr, order_fd, report, *memory = fds
        held = Held(message["pid"], (stdout, stderr), order_fd, memory[0] if memory else None, message["offset"])
        keeper = socket.socket(fileno=report)
        keeper.setblocking(False)
        self._ready.setdefault(message["form"], deque()).append(Lent(message["hold"], held, keeper))

    def choose(self, spec: StartSpec) -> tuple[str, Order] | None:
        """The form that can run it and its order; None if it needs a fresh process."""
        choose = held_python.choose if self._hold.kind == "python" else held_bash.choose
        choice = choose(spec, hold=self._hold)
        return None if choice is None or len(choice[1].payload) > ORDER_LIMIT_BYTES else choice

    def take(self, form: str, order: Order) -> Lent | None:
        """One that runs it from now on; None if none is ready."""
        ready = self._ready.get(form)
        while ready:
            # The oldest: the youngest may still be starting.
            lent = ready.popleft()
            if lent.held.take(order):
                return lent
            # Its keeper finds that it has ended, and says so to the supervisor.
            lent.close()
        return None

    def remove(self, hold: int) -> bool:
        """False if it was taken, or is not known any more."""
        for ready in self._ready.values():
            for lent in ready:
                if lent.hold == hold:
                    ready.remove(lent)
                    lent.close()
                    return True
        return False

    def clear(self) -> None:
        """The supervisor is gone, and with it all of them."""
        for ready in self._ready.values():
            for lent in ready:
                lent.close()
        self._ready.clear()

"""What becomes of the children that the supervisor lends: they are let go from here, and their keepers report their end here.

The supervisor is told afterwards, and of a short Run not at all: it hears from the keeper as well. Numbers (`hold`) name what was lent, so
no message that is late can be taken for one about the keeper's next child.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Final, NamedTuple, Protocol

from servers.sdk.shelf import Lent, Shelf
from servers.supervisor.channel import Fds, OutputFds
from servers.supervisor.held import Order
from servers.supervisor.spec import StartSpec
from servers.supervisor.wire import Message

UNTOLD_SECONDS: Final = 0.002
"""A Run that takes longer is told of to the supervisor."""


class Owner(Protocol):
    """The link to the supervisor, as this module needs it."""

    def send(self, message: Message) -> None: ...
    def start_fresh(self, spec: StartSpec) -> None: ...


class Events(Protocol):
    def on_started(self, message: Message, *, output: OutputFds | None) -> None: ...
    def on_ended(self, message: Message) -> None: ...


class _Taken(NamedTuple):
    """A child that runs an attempt."""

    lent: Lent
    spec: StartSpec


class Borrowed:
    def __init__(self, shelf: Shelf, *, owner: Owner, events: Events) -> None:
        self._shelf = shelf
        self._owner = owner
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._taken: dict[int, _Taken] = {}
        self._untold: dict[int, asyncio.TimerHandle] = {}
        """Those among them of which the supervisor was not told."""
        self._stopped: set[int] = set()
        """Tickets of those among them that were asked to stop."""

    # Letting go

    def choose(self, spec: StartSpec) -> tuple[str, Order] | None:
        """The form that can run it and its order; None if it needs a fresh process."""
        return self._shelf.choose(spec)

    def start(self, spec: StartSpec, *, form: str, order: Order) -> bool:
        """False if none was ready."""
        # STRICTLY BEFORE the order is written: on another processor the child may have ended before that line is done.
        started_micros = time.time_ns() // 1000
        lent = self._shelf.take(form, order)
        if lent is None:
            return False
        # The child may have been woken on this processor, where it would wait until all that follows is done.
        os.sched_yield()
        self._taken[lent.hold] = _Taken(lent, spec)
        self._untold[lent.hold] = self._loop.call_later(UNTOLD_SECONDS, self._tell_taken, lent.hold)
        self._loop.add_reader(lent.report.fileno(), self._hear_report, lent.hold)
        started = {"op": "started", "id": spec.ticket, "pid": lent.held.pid, "micros": started_micros, "warm": True}
        self._events.on_started(started, output=lent.held.output)
        return True

    def _tell_taken(self, hold: int) -> None:
        if timer := self._untold.pop(hold, None):
            timer.cancel()
            self._owner.send({"op": "took", "id": self._taken[hold].spec.ticket, "hold": hold})

    def note_stopped(self, ticket: int) -> None:
        """STRICTLY BEFORE the supervisor is told to stop it: of one that it was not told of it would find nothing."""
        for hold, taken in self._taken.items():
            if taken.spec.ticket == ticket:
                self._stopped.add(ticket)
                self._tell_taken(hold)

    # What the supervisor says

    def take_in(self, message: Message, *, fds: Fds | None) -> None:
        """It lends a child."""
        if fds:
            self._shelf.put(message, fds)
        else:
            # Too many files are open here.
            self._owner.send({"op": "returned", "hold": message["hold"]})

    def give_back(self, hold: int) -> None:
        """It wants one back. Of one that was taken it hears nothing more."""
        if self._shelf.remove(hold):
            self._owner.send({"op": "returned", "hold": hold})

    def drop(self, hold: int) -> None:
        """One has ended by itself. If it was taken all the same, its keeper says that it had not begun."""
        self._shelf.remove(hold)

    def note_lost(self, message: Message) -> None:
        """A keeper was killed, and nothing of what was below it is left."""
        hold = message["hold"]
        taken = self._taken.get(hold)
        if taken is None:
            self._shelf.remove(hold)
            return
        # It may have said how the attempt ended and been killed after that.
        report = taken.lent.read_report() if taken.lent.report.fileno() >= 0 else None
        self._hang_up(taken)
        self._forget_taken(hold)
        self._note_ended(report or message, spec=taken.spec)

    def clear(self) -> None:
        """The supervisor is gone. Who has reported its end has ended; of the others the owner will say that they are lost."""
        self._shelf.clear()
        for hold in list(self._taken):
            self._hear_report(hold)
        for hold, taken in list(self._taken.items()):
            self._hang_up(taken)
            self._forget_taken(hold)
        self._stopped.clear()

    # What keepers say

    def _hear_report(self, hold: int) -> None:
        taken = self._taken[hold]
        report = taken.lent.read_report()
        if report is None:
            return
        self._hang_up(taken)
        if report:
            self._forget_taken(hold)
            self._note_ended(report, spec=taken.spec)
        # Else the keeper is dead: the supervisor tells when nothing of what was below it is left.

    def _note_ended(self, report: Message, *, spec: StartSpec) -> None:
        is_stopped = spec.ticket in self._stopped
        self._stopped.discard(spec.ticket)
        is_unused = bool(report.get("unused"))
        if is_unused and not is_stopped:
            # What was held for it ended before it had its order: nothing has begun.
            self._owner.start_fresh(spec)
            return
        # Its keeper may not have come to read the stop.
        stopped = report["stopped"] or (is_stopped and (is_unused or report["lost"]))
        self._events.on_ended({**report, "id": spec.ticket, "stopped": stopped})

    def _hang_up(self, taken: _Taken) -> None:
        if taken.lent.report.fileno() >= 0:
            self._loop.remove_reader(taken.lent.report.fileno())
            taken.lent.report.close()

    def _forget_taken(self, hold: int) -> None:
        del self._taken[hold]
        if timer := self._untold.pop(hold, None):
            timer.cancel()

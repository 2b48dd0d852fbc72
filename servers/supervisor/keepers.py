"""All keepers: what they say, which of them runs which attempt, and what is told to the server of both.

What a keeper holds ready is lent to the server under a number, `hold`; a keeper that was killed is reported when what was under it is gone.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

from servers.supervisor.channel import Fds, close_fds
from servers.supervisor.kept import Kept
from servers.supervisor.orphans import RESCAN_SECONDS, Orphans
from servers.supervisor.spec import HoldSpec
from servers.supervisor.warm import Readable, Warm
from servers.supervisor.wire import Message


class Loop(Protocol):
    """The supervisor's, as this module needs it."""

    def listen(self, readable: Readable, *, call: Callable[[], None]) -> None: ...
    def unlisten(self, readable: Readable) -> None: ...
    def say(self, message: Message, *, fds: Fds | None = None) -> None: ...


class Keepers:
    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._all: set[Kept] = set()
        self._by_ticket: dict[int, Kept] = {}
        self._lent: dict[int, Kept] = {}
        """By the number of what they hold."""
        self._last_hold = 0
        self._orphans = Orphans()
        self.warm: Warm | None = None
        """Once something is to be held."""

    def hold(self, hold: HoldSpec) -> None:
        self.warm = Warm(hold, loop=self._loop, keepers=self)

    def patience_seconds(self) -> float | None:
        """Until there is something to do that no event brings."""
        now = time.monotonic()
        deadlines = [kept.stop_by - now for kept in self._by_ticket.values() if kept.stop_by is not None]
        if self._orphans.are_awaited:
            deadlines.append(RESCAN_SECONDS)
        if self.warm and (seconds := self.warm.patience_seconds()) is not None:
            deadlines.append(seconds)
        return max(0.0, min(deadlines)) if deadlines else None

    def close(self) -> None:
        """They kill their trees and end."""
        if self.warm:
            self.warm.close()
        for kept in self._all:
            kept.close()

    # What the server has done with them

    def has(self, ticket: int) -> bool:
        return ticket in self._by_ticket

    def assign(self, kept: Kept, *, ticket: int) -> None:
        """An attempt is under it from now on."""
        kept.ticket = ticket
        self._by_ticket[ticket] = kept

    def note_taken(self, hold: int, *, ticket: int) -> None:
        # Unknown: it has ended, or died, already, and whoever took it was told.
        if (kept := self._lent.get(hold)) and kept.ticket is None:
            self.assign(kept, ticket=ticket)
            if self.warm:
                self.warm.note_taken(kept)

    def take_back(self, hold: int) -> None:
        """The server has it no more, and will not let it go."""
        if self.warm and (kept := self._lent.get(hold)) and kept.ticket is None and kept.is_connected:
            self.warm.note_returned(kept)
            self._forget_lent(kept)
            self.dismiss(kept)

    def stop(self, ticket: int, *, grace_seconds: float) -> None:
        # Unknown: its `ended` is on the way to the server.
        if kept := self._by_ticket.get(ticket):
            kept.stop(grace_seconds=grace_seconds)

    # What they are told

    def adopt(self, kept: Kept) -> None:
        """One that was just launched."""
        self._all.add(kept)
        self._loop.listen(kept.control, call=partial(self._hear, kept))

    def recall(self, kept: Kept) -> None:
        """What it holds is to be let go without an order; unless the server has given it one meanwhile."""
        self._loop.say({"op": "recall", "hold": kept.hold})

    def dismiss(self, kept: Kept) -> None:
        """It ends, with what it holds."""
        self._loop.unlisten(kept.control)
        kept.close()
        if kept.pid == 0:
            # Of the zygote's, and never heard of: nobody will be told of its end by number.
            self._all.remove(kept)
        if self.warm:
            self.warm.note_gone(kept)

    # What they say

    def _hear(self, kept: Kept) -> None:
        while kept.is_connected and (received := kept.receive()):
            message, fds = received
            match message.get("op"):
                case "held":
                    self._note_held(kept, message=message, fds=fds)
                case "started":
                    self._note_started(kept, message=message, fds=fds)
                case "refused" if kept.ticket is None:
                    self._note_not_held(kept, message=message)
                case "ended" if kept.hold:
                    self._note_lent_ended(kept, message=message)
                case "refused" | "ended" if kept.ticket is not None:
                    self._note_fresh_ended(kept, message=message)
                case _:
                    self._hang_up(kept)

    def _note_held(self, kept: Kept, *, message: Message, fds: list[int]) -> None:
        assert self.warm is not None
        kept.pid = message["keeper"]
        if len(fds) < 4:
            self._drop(kept, fds=fds)
            return
        self._last_hold += 1
        kept.hold = self._last_hold
        self._lent[kept.hold] = kept
        lent = {"op": "lent", "hold": kept.hold, "form": kept.form, "pid": message["pid"], "offset": message["offset"]}
        self._loop.say(lent, fds=tuple(fds))
        self.warm.note_held(kept)

    def _note_started(self, kept: Kept, *, message: Message, fds: list[int]) -> None:
        if len(fds) < 2:
            self._drop(kept, fds=fds)
        else:
            self._loop.say({**message, "id": kept.ticket, "warm": False}, fds=(fds[0], fds[1]))

    def _drop(self, kept: Kept, *, fds: list[int]) -> None:
        """This process has too many files open to take all descriptors: what is under the keeper is of no use."""
        close_fds(fds)
        self._hang_up(kept)

    def _note_not_held(self, kept: Kept, *, message: Message) -> None:
        """It could not be had."""
        assert self.warm is not None
        self.warm.note_failed(kept, message=message.get("message", ""), for_good=message.get("for_good", False))
        self.dismiss(kept)

    def _note_fresh_ended(self, kept: Kept, *, message: Message) -> None:
        """Its tree is gone, or never was."""
        self._loop.say({**message, "id": kept.ticket})
        self._forget_attempt(kept)
        self.dismiss(kept)

    def _note_lent_ended(self, kept: Kept, *, message: Message) -> None:
        """It told the server first. STRICTLY AFTER its tree is gone it may hold the next child."""
        assert self.warm is not None
        hold, is_known = kept.hold, kept.ticket is not None
        self._forget_lent(kept)
        if message.get("unused"):
            self._loop.say({"op": "gone", "hold": hold})
            self.warm.note_failed(kept, message="", for_good=False)
            self.dismiss(kept)
            return
        if not is_known:
            # Faster than what the server told of it.
            self.warm.note_taken(kept)
        if message.get("survivors") or not self.warm.keeps(kept):
            self.dismiss(kept)

    def _forget_lent(self, kept: Kept) -> None:
        del self._lent[kept.hold]
        self._forget_attempt(kept)

    def _forget_attempt(self, kept: Kept) -> None:
        """It is over."""
        if kept.ticket is not None:
            del self._by_ticket[kept.ticket]
        kept.finish()

    # Those that are gone, or shall be

    def _hang_up(self, kept: Kept) -> None:
        """On one that is dead or about to be, or of no use. What was under it is told of when its end is known: see bury."""
        if kept.ticket is None and self.warm:
            self.warm.note_failed(kept, message="", for_good=False)
        kept.lose_patience()
        self.dismiss(kept)

    def kill_stuck(self) -> None:
        now = time.monotonic()
        for kept in self._by_ticket.values():
            if kept.stop_by is not None and now >= kept.stop_by:
                kept.stop_by = None
                os.kill(kept.pid, signal.SIGKILL)

    def bury(self, pid: int) -> None:
        """A child of ours has ended."""
        for kept in [kept for kept in self._all if kept.pid == pid]:
            if kept.is_connected:
                # STRICTLY BEFORE it counts as lost: its last words may still be in the socket.
                self._hear(kept)
            self._all.remove(kept)
            if kept.ticket is not None or kept.hold:
                # What was lent may have been let go without our knowing.
                lost = {"op": "ended", "id": kept.ticket, "hold": kept.hold, "lost": True, "stopped": kept.is_stopped}
                self._orphans.report_after_them(lost)
                self._lent.pop(kept.hold, None)
                self._forget_attempt(kept)

    def finish_lost(self) -> None:
        """Ends what dead keepers left, and reports them when nothing of it is there any more."""
        if self._orphans.are_awaited:
            known = {kept.pid for kept in self._all} | ({self.warm.zygote_pid} if self.warm else set())
            for message in self._orphans.finish(known=known):
                self._loop.say(message)

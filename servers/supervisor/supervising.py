"""The supervisor's loop: orders from the Runtime Server go to keepers, what keepers say goes to the server.

Children that are held ready are lent to the server, which lets them go by itself and hears their end from their keepers: the way of a
short Run does not lead through here. This process forks, and it looks after what is left when a keeper is killed: then the keeper's tree
becomes its children (it is a subreaper too), is killed, and only after that is the attempt reported as lost.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from functools import partial

from servers.supervisor import process_tree, wire
from servers.supervisor.channel import Channel, Fds, close_fds
from servers.supervisor.kept import Kept
from servers.supervisor.launching import launch
from servers.supervisor.spec import (
    HoldSpec,
    StartSpec,
    hold_of,
    parse_grace,
    parse_hold,
    parse_missed,
    parse_slots,
    parse_start,
    ticket_of,
)
from servers.supervisor.waking import ChildSignal
from servers.supervisor.warm import Readable, Warm
from servers.supervisor.wire import BadMessage, FrameTooLarge, Message

_UNSENT_LIMIT_BYTES = 1024 * 1024
"""The server does not read: no more orders are taken from it until it does."""

_RESCAN_SECONDS = 0.05
"""While orphans are being killed only; see tree."""

_LAST_PATIENCE_SECONDS = 1.0
"""For keepers to end their trees when the server is gone."""


class Supervisor:
    def __init__(self, server: socket.socket) -> None:
        self._server = Channel(server, takes_fds=False)
        self._child_signal = ChildSignal()
        self._selector = selectors.DefaultSelector()
        self.listen(self._child_signal, call=self._child_signal.clear)
        self._server_events = 0
        self._keepers: set[Kept] = set()
        self._by_ticket: dict[int, Kept] = {}
        self._lent: dict[int, Kept] = {}
        """By the number of what they hold."""
        self._last_hold = 0
        self._lost: list[Message] = []
        self._warm: Warm | None = None

    def run(self) -> None:
        """Until the server is gone; then until nothing of any attempt is left."""
        while not self._server.is_closed:
            self._watch_server()
            for key, _ in self._selector.select(self._patience_seconds()):
                key.data()
            self._reap()
            self._kill_stuck_keepers()
            self._finish_lost()
            if self._warm:
                self._warm.grow()
        self._end_everything()

    def listen(self, readable: Readable, *, call: Callable[[], None]) -> None:
        self._selector.register(readable, selectors.EVENT_READ, call)

    def unlisten(self, readable: Readable) -> None:
        self._selector.unregister(readable)

    def say(self, message: Message, *, fds: Fds | None = None) -> None:
        """To the server."""
        self._server.send(message, fds=fds)

    def _serve_server(self) -> None:
        self._server.flush()
        if self._server.unsent_bytes < _UNSENT_LIMIT_BYTES:
            self._take_orders()

    def _watch_server(self) -> None:
        wanted = selectors.EVENT_READ if self._server.unsent_bytes < _UNSENT_LIMIT_BYTES else 0
        wanted |= selectors.EVENT_WRITE if self._server.unsent_bytes else 0
        if wanted == self._server_events:
            return
        if self._server_events:
            self._selector.modify(self._server, wanted, self._serve_server)
        else:
            self._selector.register(self._server, wanted, self._serve_server)
        self._server_events = wanted

    def _patience_seconds(self) -> float | None:
        deadlines = [kept.stop_by - time.monotonic() for kept in self._by_ticket.values() if kept.stop_by is not None]
        if self._lost:
            deadlines.append(_RESCAN_SECONDS)
        if self._warm and (seconds := self._warm.patience_seconds()) is not None:
            deadlines.append(seconds)
        return max(0.0, min(deadlines)) if deadlines else None

    # Orders of the server

    def _take_orders(self) -> None:
        try:
            payloads = self._server.receive()
        except FrameTooLarge:
            self._server.close()
            return
        for payload in payloads:
            self._take_order(payload)

    def _take_order(self, payload: bytes) -> None:
        message: Message = {}
        try:
            message = wire.decode(payload)
            match message.get("op"):
                case "start":
                    self._start(parse_start(message), missed=parse_missed(message))
                case "took":
                    self._note_taken(hold_of(message), ticket=ticket_of(message))
                case "returned":
                    self._take_back(hold_of(message))
                case "stop":
                    self._stop(ticket_of(message), grace_seconds=parse_grace(message))
                case "hold":
                    self._hold(parse_hold(message))
                case "slots":
                    self._resize(parse_slots(message))
                case _:
                    raise BadMessage("op: must be start, took, returned, stop, hold or slots")
        except BadMessage as error:
            self.say({"op": "refused", "id": message.get("id"), "message": str(error)})

    def _start(self, spec: StartSpec, *, missed: str) -> None:
        if spec.ticket in self._by_ticket:
            raise BadMessage("id: is running already")
        if missed and self._warm:
            self._warm.note_missed(missed)
        try:
            pid, control = launch(first=spec)
        except OSError as error:
            text = f"cannot start the process: {os.strerror(error.errno or 0)}"
            self.say({"op": "refused", "id": spec.ticket, "message": text})
            return
        kept = Kept(control, pid=pid)
        self.adopt(kept)
        self._assign(kept, ticket=spec.ticket)

    def _assign(self, kept: Kept, *, ticket: int) -> None:
        kept.ticket = ticket
        self._by_ticket[ticket] = kept

    def _note_taken(self, hold: int, *, ticket: int) -> None:
        # Unknown: it has ended, or died, already, and whoever took it was told.
        if (kept := self._lent.get(hold)) and kept.ticket is None:
            self._assign(kept, ticket=ticket)
            if self._warm:
                self._warm.note_taken(kept)

    def _take_back(self, hold: int) -> None:
        """The server has it no more, and will not let it go."""
        if self._warm and (kept := self._lent.get(hold)) and kept.ticket is None and kept.is_connected:
            self._warm.note_returned(kept)
            self._forget_lent(kept)
            self.dismiss(kept)

    def _stop(self, ticket: int, *, grace_seconds: float) -> None:
        # Unknown: its `ended` is on the way to the server.
        if kept := self._by_ticket.get(ticket):
            kept.stop(grace_seconds=grace_seconds)

    def _hold(self, hold: HoldSpec) -> None:
        if self._warm:
            raise BadMessage("hold: was said already")
        self._warm = Warm(hold, owner=self)

    def _resize(self, slots: int) -> None:
        if self._warm is None:
            raise BadMessage("slots: nothing is held; send hold first")
        self._warm.resize(slots)

    # What keepers say

    def adopt(self, kept: Kept) -> None:
        """A keeper that was just launched."""
        self._keepers.add(kept)
        self.listen(kept.control, call=partial(self._hear, kept))

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
        assert self._warm is not None
        kept.pid = message["keeper"]
        if len(fds) < 4:
            self._drop(kept, fds=fds)
            return
        self._last_hold += 1
        kept.hold = self._last_hold
        self._lent[kept.hold] = kept
        lent = {"op": "lent", "hold": kept.hold, "form": kept.form, "pid": message["pid"], "offset": message["offset"]}
        self.say(lent, fds=tuple(fds))
        self._warm.note_held(kept)

    def _note_started(self, kept: Kept, *, message: Message, fds: list[int]) -> None:
        if len(fds) < 2:
            self._drop(kept, fds=fds)
        else:
            self.say({**message, "id": kept.ticket, "warm": False}, fds=(fds[0], fds[1]))

    def _drop(self, kept: Kept, *, fds: list[int]) -> None:
        """This process has too many files open to take all descriptors: what is under the keeper is of no use."""
        close_fds(fds)
        self._hang_up(kept)

    def _note_not_held(self, kept: Kept, *, message: Message) -> None:
        """It could not be had."""
        assert self._warm is not None
        self._warm.note_failed(kept, message=message.get("message", ""), for_good=message.get("for_good", False))
        self.dismiss(kept)

    def _note_fresh_ended(self, kept: Kept, *, message: Message) -> None:
        """Its tree is gone, or never was."""
        self.say({**message, "id": kept.ticket})
        self._forget_attempt(kept)
        self.dismiss(kept)

    def _note_lent_ended(self, kept: Kept, *, message: Message) -> None:
        """Its keeper told the server first. STRICTLY AFTER its tree is gone the keeper may hold the next child."""
        assert self._warm is not None
        hold, is_known = kept.hold, kept.ticket is not None
        self._forget_lent(kept)
        if message.get("unused"):
            self.say({"op": "gone", "hold": hold})
            self._warm.note_failed(kept, message="", for_good=False)
            self.dismiss(kept)
            return
        if not is_known:
            # Faster than what the server told of it.
            self._warm.note_taken(kept)
        if message.get("survivors") or not self._warm.keeps(kept):
            self.dismiss(kept)

    def _forget_lent(self, kept: Kept) -> None:
        del self._lent[kept.hold]
        self._forget_attempt(kept)

    def _forget_attempt(self, kept: Kept) -> None:
        """It is over."""
        if kept.ticket is not None:
            del self._by_ticket[kept.ticket]
        kept.finish()

    def recall(self, kept: Kept) -> None:
        """What it holds is to be let go without an order; unless the server has given it one meanwhile."""
        self.say({"op": "recall", "hold": kept.hold})

    def dismiss(self, kept: Kept) -> None:
        """It ends, with what it holds."""
        self.unlisten(kept.control)
        kept.close()
        if kept.pid == 0:
            # Of the zygote's, and never heard of: nobody will be told of its end by number.
            self._keepers.remove(kept)
        if self._warm:
            self._warm.note_gone(kept)

    # Keepers that are gone

    def _hang_up(self, kept: Kept) -> None:
        """On one that is dead or about to be, or of no use. What was under it is told of when its end is known: see _bury."""
        if kept.ticket is None and self._warm:
            self._warm.note_failed(kept, message="", for_good=False)
        kept.lose_patience()
        self.dismiss(kept)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if os.WIFSTOPPED(status):
                # User code has our user id and can stop its keeper, which would keep it alive for ever.
                os.kill(pid, signal.SIGCONT)
            else:
                self._bury(pid)

    def _bury(self, pid: int) -> None:
        for kept in [kept for kept in self._keepers if kept.pid == pid]:
            if kept.is_connected:
                # STRICTLY BEFORE it counts as lost: its last words may still be in the socket.
                self._hear(kept)
            self._keepers.remove(kept)
            if kept.ticket is not None or kept.hold:
                # STRICTLY AFTER its end: only now is what was below it below us. What was lent may have been let go without our knowing.
                self._lost.append({"op": "ended", "id": kept.ticket, "hold": kept.hold, "lost": True, "stopped": kept.is_stopped})
                self._lent.pop(kept.hold, None)
                self._forget_attempt(kept)

    def _kill_stuck_keepers(self) -> None:
        now = time.monotonic()
        for kept in self._by_ticket.values():
            if kept.stop_by is not None and now >= kept.stop_by:
                kept.stop_by = None
                os.kill(kept.pid, signal.SIGKILL)

    def _finish_lost(self) -> None:
        """Kills what dead keepers left to us. All of it must be gone before any of them is reported: whose is whose is unknown."""
        if not self._lost:
            return
        if orphans := self._orphans():
            process_tree.kill(orphans)
            return
        for message in self._lost:
            self.say({**message, "micros": _now_micros()})
        self._lost.clear()

    def _orphans(self) -> list[int]:
        known = {kept.pid for kept in self._keepers} | ({self._warm.zygote_pid} if self._warm else set())
        adopted = [pid for pid in process_tree.children_of(os.getpid()) if pid not in known]
        return adopted + process_tree.descendants_of(adopted)

    # The end

    def _end_everything(self) -> None:
        """Closing their control sockets makes keepers kill their trees; whoever does not manage is killed from here."""
        self._server.close()
        if self._warm:
            self._warm.close()
        for kept in self._keepers:
            kept.close()
        give_up_at = time.monotonic() + _LAST_PATIENCE_SECONDS
        waiter = selectors.DefaultSelector()
        waiter.register(self._child_signal, selectors.EVENT_READ)
        while self._has_children():
            if time.monotonic() >= give_up_at:
                process_tree.kill(process_tree.descendants_of([os.getpid()]))
            waiter.select(_RESCAN_SECONDS)
            self._child_signal.clear()

    @staticmethod
    def _has_children() -> bool:
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True


def _now_micros() -> int:
    return time.time_ns() // 1000

"""The supervisor's loop: orders from the Runtime Server go to keepers, what keepers say goes to the server.

Children that are held ready are lent to the server, which lets them go by itself and hears their end from their keepers: the way of a
short Run does not lead through here. This process forks, and it looks after what is left when a keeper is killed: see orphans.
"""

from __future__ import annotations

import os
import selectors
import socket
from collections.abc import Callable

from servers.supervisor import orphans, wire
from servers.supervisor.channel import Channel, Fds
from servers.supervisor.keepers import Keepers
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
from servers.supervisor.warm import Readable
from servers.supervisor.wire import BadMessage, FrameTooLarge, Message

_UNSENT_LIMIT_BYTES = 1024 * 1024
"""The server does not read: no more orders are taken from it until it does."""


class Supervisor:
    def __init__(self, server: socket.socket) -> None:
        self._server = Channel(server, takes_fds=False)
        self._child_signal = ChildSignal()
        self._selector = selectors.DefaultSelector()
        self.listen(self._child_signal, call=self._bury_the_dead)
        self._server_events = 0
        self._keepers = Keepers(self)

    def run(self) -> None:
        """Until the server is gone; then until nothing of any attempt is left."""
        while not self._server.is_closed:
            self._watch_server()
            for key, _ in self._selector.select(self._keepers.patience_seconds()):
                key.data()
            self._keepers.kill_stuck()
            self._keepers.finish_lost()
            if warm := self._keepers.warm:
                warm.grow()
        self._server.close()
        self._keepers.close()
        orphans.wait_for_the_end(self._child_signal)

    def _bury_the_dead(self) -> None:
        """Only after a signal: the kernel looks at each of a hundred children to say that none has ended."""
        self._child_signal.clear()
        for pid in orphans.reap():
            self._keepers.bury(pid)

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
                    self._keepers.note_taken(hold_of(message), ticket=ticket_of(message))
                case "returned":
                    self._keepers.take_back(hold_of(message))
                case "stop":
                    self._keepers.stop(ticket_of(message), grace_seconds=parse_grace(message))
                case "hold":
                    self._hold(parse_hold(message))
                case "slots":
                    self._resize(parse_slots(message))
                case _:
                    raise BadMessage("op: must be start, took, returned, stop, hold or slots")
        except BadMessage as error:
            self.say({"op": "refused", "id": message.get("id"), "message": str(error)})

    def _start(self, spec: StartSpec, *, missed: str) -> None:
        if self._keepers.has(spec.ticket):
            raise BadMessage("id: is running already")
        if missed and self._keepers.warm:
            self._keepers.warm.note_missed(missed)
        try:
            pid, control = launch(first=spec)
        except OSError as error:
            text = f"cannot start the process: {os.strerror(error.errno or 0)}"
            self.say({"op": "refused", "id": spec.ticket, "message": text})
            return
        kept = Kept(control, pid=pid)
        self._keepers.adopt(kept)
        self._keepers.assign(kept, ticket=spec.ticket)

    def _hold(self, hold: HoldSpec) -> None:
        if self._keepers.warm:
            raise BadMessage("hold: was said already")
        self._keepers.hold(hold)

    def _resize(self, slots: int) -> None:
        if self._keepers.warm is None:
            raise BadMessage("slots: nothing is held; send hold first")
        self._keepers.warm.resize(slots)

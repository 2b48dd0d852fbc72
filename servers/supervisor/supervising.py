"""The supervisor's loop: orders from the Runtime Server go to keepers, what keepers say goes to the server.

It forks, and it looks after what is left when a keeper is killed: then the keeper's tree becomes this process's children
(a subreaper too), is killed, and only after that is the attempt reported as lost.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import time
from dataclasses import dataclass
from functools import partial

from servers.supervisor import process_tree, wire
from servers.supervisor.channel import Channel, OutputFds, close_fds
from servers.supervisor.launching import launch
from servers.supervisor.spec import parse_grace, parse_start, ticket_of
from servers.supervisor.waking import ChildSignal
from servers.supervisor.wire import RECORD_BYTES, BadMessage, FrameTooLarge, Message

_UNSENT_LIMIT_BYTES = 1024 * 1024
"""The server does not read: no more orders are taken from it until it does."""

_RESCAN_SECONDS = 0.05
"""While orphans are being killed only; see keeper."""

_KEEPER_PATIENCE_SECONDS = 5.0
"""Beyond the grace: a keeper that has not answered by then was stopped or hangs, and is killed with its tree."""

_LAST_PATIENCE_SECONDS = 1.0
"""For keepers to end their trees when the server is gone."""


@dataclass(slots=True)
class _Kept:
    ticket: int
    keeper_pid: int
    control: socket.socket
    output: OutputFds | None
    is_over: bool = False
    """It said `refused` or `ended`, or the supervisor said so in its place."""
    is_stopped: bool = False
    stop_by: float | None = None


class Supervisor:
    def __init__(self, server: socket.socket) -> None:
        self._server = Channel(server, takes_fds=False)
        self._child_signal = ChildSignal()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._child_signal, selectors.EVENT_READ, self._child_signal.clear)
        self._server_events = 0
        self._by_ticket: dict[int, _Kept] = {}
        self._by_pid: dict[int, _Kept] = {}
        self._lost: list[_Kept] = []

    def run(self) -> None:
        """Until the server is gone; then until nothing of any attempt is left."""
        while not self._server.is_closed:
            self._watch_server()
            for key, _ in self._selector.select(self._patience_seconds()):
                key.data()
            self._reap()
            self._kill_stuck_keepers()
            self._finish_lost()
        self._end_everything()

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
        if self._lost:
            return _RESCAN_SECONDS
        deadlines = [kept.stop_by for kept in self._by_ticket.values() if kept.stop_by is not None]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

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
            if message.get("op") == "start":
                self._start(message)
            elif message.get("op") == "stop":
                self._stop(message)
            else:
                raise BadMessage("op: must be start or stop")
        except BadMessage as error:
            self._server.send({"op": "refused", "id": message.get("id"), "message": str(error)})

    def _start(self, message: Message) -> None:
        spec = parse_start(message)
        if spec.ticket in self._by_ticket:
            raise BadMessage("id: is running already")
        try:
            launched = launch(spec)
        except OSError as error:
            text = f"cannot start the process: {os.strerror(error.errno or 0)}"
            self._server.send({"op": "refused", "id": spec.ticket, "message": text})
            return
        kept = _Kept(spec.ticket, keeper_pid=launched.keeper_pid, control=launched.control, output=launched.output)
        self._by_ticket[kept.ticket] = self._by_pid[kept.keeper_pid] = kept
        self._selector.register(kept.control, selectors.EVENT_READ, partial(self._listen, kept))

    def _stop(self, message: Message) -> None:
        grace_seconds = parse_grace(message)
        kept = self._by_ticket.get(ticket_of(message))
        if kept is None or kept.is_over:
            return  # Its `ended` is on the way to the server.
        kept.is_stopped = True
        stop_by = time.monotonic() + grace_seconds + _KEEPER_PATIENCE_SECONDS
        kept.stop_by = stop_by if kept.stop_by is None else min(kept.stop_by, stop_by)
        try:
            kept.control.send(wire.encode_payload({"op": "stop", "grace_seconds": grace_seconds}))
        except OSError:
            return  # It is dead or does not read: _reap or _kill_stuck_keepers will deal with it.

    # What keepers say

    def _listen(self, kept: _Kept) -> None:
        while kept.control.fileno() >= 0:
            try:
                payload = kept.control.recv(RECORD_BYTES)
            except BlockingIOError:
                return
            except OSError:
                payload = b""
            if payload:
                self._pass_on(kept, message=wire.decode(payload))
            else:
                # Dead or about to be: _reap hears of it and knows whether it had said all.
                self._hang_up(kept)

    def _pass_on(self, kept: _Kept, *, message: Message) -> None:
        output = None
        if message["op"] == "started":
            output, kept.output = kept.output, None
        else:
            kept.is_over = True
        self._server.send(message, fds=output)

    # Keepers that are gone

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
            elif kept := self._by_pid.pop(pid, None):
                self._bury(kept)

    def _bury(self, kept: _Kept) -> None:
        # STRICTLY FIRST: its last words may still be in the socket.
        self._listen(kept)
        if not kept.is_over:
            self._lost.append(kept)
        del self._by_ticket[kept.ticket]
        close_fds(kept.output)
        self._hang_up(kept)

    def _hang_up(self, kept: _Kept) -> None:
        if kept.control.fileno() >= 0:
            self._selector.unregister(kept.control)
            kept.control.close()

    def _kill_stuck_keepers(self) -> None:
        now = time.monotonic()
        for kept in self._by_ticket.values():
            if kept.stop_by is not None and now >= kept.stop_by:
                kept.stop_by = None
                os.kill(kept.keeper_pid, signal.SIGKILL)

    def _finish_lost(self) -> None:
        """Kills what dead keepers left to us. All of it must be gone before any of them is reported: whose is whose is unknown."""
        if not self._lost:
            return
        if orphans := self._orphans():
            process_tree.kill(orphans)
            return
        for kept in self._lost:
            micros = time.time_ns() // 1000
            self._server.send({"op": "ended", "id": kept.ticket, "lost": True, "stopped": kept.is_stopped, "micros": micros})
        self._lost.clear()

    def _orphans(self) -> list[int]:
        adopted = [pid for pid in process_tree.children_of(os.getpid()) if pid not in self._by_pid]
        return adopted + process_tree.descendants_of(adopted)

    # The end

    def _end_everything(self) -> None:
        """Closing their control sockets makes keepers kill their trees; whoever does not manage is killed from here."""
        self._server.close()
        for kept in self._by_ticket.values():
            kept.control.close()
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

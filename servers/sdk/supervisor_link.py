"""The server's side of its supervisor: starts the process, speaks to it without blocking, and replaces it when it dies.

The server is a subreaper like the supervisor and the keepers: when the supervisor is killed, what it leaves behind becomes
the server's children, and only when all of that is gone are the executions called lost and a new supervisor started.
So this class takes over SIGCHLD and waiting for children of the whole process: it belongs into a server's own process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Protocol

from servers.sdk.borrowed import Borrowed
from servers.sdk.shelf import Shelf
from servers.sdk.warmth import Warmth
from servers.supervisor import linux, process_tree, wire
from servers.supervisor.channel import Channel, OutputFds
from servers.supervisor.spec import StartSpec
from servers.supervisor.wire import BadMessage, FrameTooLarge, Message

_log = logging.getLogger(__name__)

# The code that the supervisor runs: only this package's parent is on its path behind the standard library, no site-packages.
_BOOTSTRAP = "import sys; sys.path.append(sys.argv[1]); from servers.supervisor.__main__ import main; main(int(sys.argv[2]))"
_PACKAGE_PARENT = str(Path(__file__).resolve().parents[2])

_ORPHAN_PATIENCE_SECONDS = 1.0
"""For keepers to end their trees after the supervisor died, before they are killed with them."""

_RESCAN_SECONDS = 0.05
"""While orphans are being ended only; their ends are noticed by SIGCHLD."""

_RESTART_SECONDS = 1.0
"""Between two starts at least: a supervisor that cannot live must not become a busy loop."""


class SupervisorEvents(Protocol):
    """Who is told. Called from the event loop; must not block."""

    def on_started(self, message: Message, *, output: OutputFds | None) -> None: ...
    def on_refused(self, message: Message) -> None: ...
    def on_ended(self, message: Message) -> None: ...
    def on_supervisor_lost(self) -> None:
        """All that was handed over is gone, processes included."""


class SupervisorLink:
    def __init__(self, events: SupervisorEvents, *, warmth: Warmth | None) -> None:
        self._events = events
        self._warmth = warmth
        self._loop = asyncio.get_running_loop()
        self._channel: Channel | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._queue: list[Message] = []
        self._writes = False
        self._borrowed = Borrowed(Shelf(warmth.spec), owner=self, events=events) if warmth else None
        self._child_changed = asyncio.Event()
        self._recovery: asyncio.Task[None] | None = None
        self._died_at = float("-inf")
        self._is_closing = False

    @property
    def is_up(self) -> bool:
        return self._channel is not None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def open(self) -> None:
        linux.become_subreaper()
        self._loop.add_signal_handler(signal.SIGCHLD, self._note_child)
        self._spawn()

    def send(self, message: Message) -> None:
        """Kept until the next supervisor is up if there is none now."""
        if self._channel is None:
            self._queue.append(message)
            return
        self._channel.send(message)
        self._watch_writable()

    def start(self, spec: StartSpec) -> None:
        """Its events follow; the first may come before this returns."""
        missed = ""
        if self._borrowed and (choice := self._borrowed.choose(spec)):
            missed, order = choice
            if self._borrowed.start(spec, form=missed, order=order):
                return
        self.start_fresh(spec, missed=missed)

    def start_fresh(self, spec: StartSpec, *, missed: str = "") -> None:
        """`missed`: the form of which none was ready."""
        order: Message = {"op": "start", "id": spec.ticket, **spec._asdict(), "missed": missed}
        del order["ticket"]
        self.send(order)

    def stop(self, ticket: int, *, grace_seconds: float) -> None:
        if self._borrowed:
            self._borrowed.note_stopped(ticket)
        self.send({"op": "stop", "id": ticket, "grace_seconds": grace_seconds})

    def resize(self, slots: int) -> None:
        """For how many Runs at a time children are to be held ready."""
        if self._warmth:
            self._warmth.resize(slots)
            if self._channel:
                self.send(self._warmth.slots_order())

    async def close(self) -> None:
        """Ends everything that runs and the supervisor; returns when all of it is gone."""
        self._is_closing = True
        if self._recovery:
            self._recovery.cancel()
            await asyncio.wait([self._recovery])
        self._disconnect()
        await self._end_children(kill_supervisor=False)
        self._loop.remove_signal_handler(signal.SIGCHLD)

    def _spawn(self) -> None:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-I", "-S", "-c", _BOOTSTRAP, _PACKAGE_PARENT, str(theirs.fileno())]
        with theirs:
            # Its environment is empty: nothing to be found in /proc/<pid>/environ, nothing that could leak into a Run.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={"LC_CTYPE": "C.UTF-8"},
                start_new_session=True,
            )
        self._channel = Channel(ours, takes_fds=True)
        self._loop.add_reader(ours.fileno(), self._receive)
        queue, self._queue = self._queue, []
        for message in [*(self._warmth.orders() if self._warmth else ()), *queue]:
            self.send(message)
        _log.info("supervisor started", extra={"pid": self._process.pid})

    def _receive(self) -> None:
        assert self._channel is not None
        try:
            for payload in self._channel.receive():
                self._dispatch(wire.decode(payload))
        except (FrameTooLarge, BadMessage):
            _log.exception("supervisor makes no sense")
            self._lose()
            return
        if self._channel.is_closed:
            self._lose()

    def _dispatch(self, message: Message) -> None:
        assert self._channel is not None
        match message.get("op"):
            case "started":
                fds = self._channel.take_fds()
                self._events.on_started(message, output=(fds[0], fds[1]) if fds else None)
            case "ended" if message.get("hold") and self._borrowed:
                self._borrowed.note_lost(message)
            case "ended":
                self._events.on_ended(message)
            case "lent" if self._borrowed:
                self._borrowed.take_in(message, fds=self._channel.take_fds())
            case "recall" if self._borrowed:
                self._borrowed.give_back(message["hold"])
            case "gone" if self._borrowed:
                self._borrowed.drop(message["hold"])
            case "refused":
                self._events.on_refused(message)
            case "ready" if self._warmth:
                self._warmth.on_ready()
            case "failed" if self._warmth:
                self._warmth.on_failed(message["message"])

    def _watch_writable(self) -> None:
        assert self._channel is not None
        if self._channel.unsent_bytes and not self._writes:
            self._loop.add_writer(self._channel.fileno(), self._flush)
            self._writes = True

    def _flush(self) -> None:
        assert self._channel is not None
        self._channel.flush()
        if not self._channel.unsent_bytes:
            self._loop.remove_writer(self._channel.fileno())
            self._writes = False

    def _disconnect(self) -> None:
        if self._channel is None:
            return
        self._loop.remove_reader(self._channel.fileno())
        if self._writes:
            self._loop.remove_writer(self._channel.fileno())
            self._writes = False
        self._channel.close()
        self._channel = None
        if self._borrowed:
            self._borrowed.clear()

    # The supervisor died

    def _lose(self) -> None:
        _log.error("supervisor died", extra={"pid": self.pid})
        self._disconnect()
        if not self._is_closing:
            self._recovery = asyncio.create_task(self._recover(), name="supervisor recovery")

    async def _recover(self) -> None:
        previous, self._died_at = self._died_at, time.monotonic()
        await self._end_children(kill_supervisor=True)
        # Who asked for a start meanwhile hears "lost" as well: it must not happen after that.
        self._queue.clear()
        # STRICTLY AFTER all processes are gone: whoever hears "lost" may start the next attempt at once.
        self._events.on_supervisor_lost()
        if self._died_at - previous < _RESTART_SECONDS:
            await asyncio.sleep(_RESTART_SECONDS)
        self._spawn()

    async def _end_children(self, *, kill_supervisor: bool) -> None:
        """Keepers whose supervisor is gone end their trees by themselves; those who do not manage are killed."""
        if kill_supervisor and self._process and self._process.returncode is None:
            os.kill(self._process.pid, signal.SIGKILL)
        give_up_at = time.monotonic() + _ORPHAN_PATIENCE_SECONDS * (1 if kill_supervisor else 2)
        while self._has_children():
            if time.monotonic() >= give_up_at:
                process_tree.kill(process_tree.descendants_of([os.getpid()]))
            self._child_changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._child_changed.wait(), _RESCAN_SECONDS)

    def _note_child(self) -> None:
        # As process 1 of a container the server is also given what others leave behind: nothing must stay a zombie.
        self._has_children()
        self._child_changed.set()

    def _has_children(self) -> bool:
        """Reaps whatever has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if os.WIFSTOPPED(status):
                # User code has our user id and can stop the supervisor, and with it every other Run.
                os.kill(pid, signal.SIGCONT)
            elif self._process and pid == self._process.pid:
                self._process.returncode = os.waitstatus_to_exitcode(status)

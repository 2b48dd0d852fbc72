"""Keeps one program running: starts it, waits until it says or shows that it is ready, starts it again when it ends.

It knows nothing of what the programs are: `daemon` does.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from controlplane.local.processes import Child, start_child
from controlplane.local.records import CONTAINER_ID, Records
from controlplane.local.state import ComponentStatus

MAX_LOG_BYTES = 32 << 20
"""Of one component; one older file of this size is kept beside it."""
FIRST_DELAY_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 10.0
FORGIVEN_AFTER_SECONDS = 30.0
"""A component that ran this long starts with a clean slate."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Program:
    """What to run. `command` is asked anew before each start, for programs that must keep what they chose the first time.

    With `announces` it prints a JSON line when it is ready; otherwise `is_ready` is asked until it says so.
    """

    name: str
    command: Callable[[], Sequence[str]]
    environment: Mapping[str, str]
    stop_seconds: float
    announces: bool = False
    is_ready: Callable[[], Awaitable[bool]] | None = None


@dataclass(slots=True)
class Supervised:
    """A program that is kept running. `announcement` is the line of its current start."""

    program: Program
    records: Records
    log_path: Path
    directory: Path
    on_change: Callable[[], None]
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once it has been ready for the first time."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set at every change; whoever waits for one clears it."""
    announcement: dict[str, Any] = field(default_factory=dict)
    restarts: int = 0
    early_ends: int = 0
    """Ends before it was ever ready: more than a few mean that it cannot start at all."""
    state: str = "Starting"
    since: datetime | None = None
    _child: Child | None = None
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                code = await self._run_once()
            except OSError as error:
                _log.exception("component cannot be executed", extra={"component": self.program.name, "error": str(error)})
                code = 127
            if self._stopping.is_set():
                break
            failures = 0 if time.monotonic() - started >= FORGIVEN_AFTER_SECONDS else failures
            delay = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2 ** min(failures, 16))
            failures += 1
            self._count_end(code, delay_seconds=delay)
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._stopping.wait()
        self._show("Stopped")

    async def stop(self) -> None:
        """SIGTERM, the time it needs, SIGKILL; returns when nothing of it is left."""
        self._stopping.set()
        if self._child:
            await self._child.stop(grace_seconds=self.program.stop_seconds)

    @property
    def status(self) -> ComponentStatus:
        pid = self._child.pid if self._child else None
        return ComponentStatus(name=self.program.name, state=self.state, pid=pid, since=self.since, restarts=self.restarts)

    def log_tail(self, *, lines: int = 15) -> str:
        """The end of its log, for messages."""
        with suppress(OSError):
            return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])
        return ""

    async def _run_once(self) -> int:
        child, announcements = self._start()
        watching = asyncio.create_task(self._until_ready(announcements), name=f"readiness of {self.program.name}")
        try:
            return await child.wait()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            self.records.remove(child.identity)
            self._child = None

    def _start(self) -> tuple[Child, int | None]:
        """The process, and the descriptor on which it announces itself."""
        bound_log(self.log_path)
        name = f"component-{self.program.name}-{os.getpid()}-{self.restarts}"
        receive, send = os.pipe() if self.program.announces else (None, None)
        with self.log_path.open("ab") as log:
            try:
                child = start_child(
                    self.program.command(),
                    environment={**self.program.environment, CONTAINER_ID: name},
                    directory=self.directory,
                    stdout=log if send is None else send,
                    stderr=log,
                )
            finally:
                if send is not None:
                    os.close(send)
        self._child = child
        self.since = datetime.now(UTC)
        self.records.add(child.identity, container_id=name)
        self._show("Starting")
        return child, receive

    async def _until_ready(self, announcements: int | None) -> None:
        if announcements is not None:
            await self._read_announcements(announcements)
            return
        delay = 0.02
        while self.program.is_ready and not await self.program.is_ready():
            await asyncio.sleep(delay)
            delay = min(0.5, delay * 1.5)
        self._on_ready()

    async def _read_announcements(self, fd: int) -> None:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb"))
        try:
            # All lines are read, so that a program that prints more never blocks; only the first means something.
            async for line in reader:
                if not self.ready.is_set() or self.state != "Running":
                    with suppress(ValueError):
                        self.announcement = json.loads(line)
                        self._on_ready()
        finally:
            transport.close()

    def _on_ready(self) -> None:
        self.ready.set()
        self._show("Running")
        _log.info("component is ready", extra={"component": self.program.name})

    def _count_end(self, code: int, *, delay_seconds: float) -> None:
        self.restarts += 1
        self.early_ends += not self.ready.is_set()
        _log.warning(
            "component ended and is started again",
            extra={"component": self.program.name, "code": code, "restarts": self.restarts, "delay_seconds": delay_seconds},
        )
        self._show("Restarting")

    def _show(self, state: str) -> None:
        self.state = state
        self.changed.set()
        self.on_change()


def bound_log(path: Path) -> None:
    """Keep the log's size: what is in it moves aside by copying, because its writer appends to the open file."""
    with suppress(FileNotFoundError):
        if path.stat().st_size > MAX_LOG_BYTES:
            shutil.copyfile(path, path.with_suffix(path.suffix + ".1"))
            os.truncate(path, 0)

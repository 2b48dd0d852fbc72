"""What all actors of a runtimed share: each of them once a process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from runtimed.core.facts import Instant
from runtimed.hooks import run_events
from runtimed.hooks.artifacts import ArtifactKeeper
from runtimed.hooks.metrics import Metrics
from runtimed.hooks.state_dir import StateDir
from runtimed.hooks.stdout import LineWriter
from runtimed.hooks.workspace import Workspaces
from runtimed.settings import PodIdentity
from runtimed.shell.preparing import Preparing
from runtimed.shell.session import Session
from runtimed.shell.slots import Slots
from runtimed.shell.writes import StatusWriter


@dataclass(frozen=True, slots=True)
class Services:
    pod: PodIdentity
    clock: Callable[[], Instant]
    state_dir: StateDir
    workspaces: Workspaces
    preparing: Preparing
    slots: Slots
    writer: StatusWriter
    session: Session
    lines: LineWriter
    """Our log."""
    max_log_bytes: int
    metrics: Metrics
    recorder: run_events.Recorder
    artifacts: ArtifactKeeper | None
    """None where the Runtime has no store."""
    start: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]
    """Runs a coroutine in the background, named; its crash ends the process."""
    fail: Callable[[BaseException], None]
    """Our bug: ends the process, whose successor re-attaches."""

"""Background tasks that are named, whose death is logged, and that never vanish. Like TaskGroup, with an order of stopping."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from types import TracebackType
from typing import Any

logger = logging.getLogger(__name__)

STOP_SECONDS = 5.0
"""How long a cancelled task may take to clean up before the others are not kept waiting for it."""


class TaskCrashed(Exception):
    """A critical task died of an error; it is the cause of this one."""


class Tasks:
    """`async with Tasks() as tasks: tasks.start(work(), name="work")`.

    On leaving, what still runs is cancelled and awaited, the last started first. When a critical task crashes, the body is
    cancelled and leaving raises TaskCrashed, which ends the process with exit code 1.
    """

    def __init__(self, *, stop_seconds: float = STOP_SECONDS) -> None:
        self._running: dict[asyncio.Task[Any], bool] = {}
        self._stop_seconds = stop_seconds
        self._owner: asyncio.Task[Any] | None = None
        self._crash: BaseException | None = None
        self._is_owner_cancelled = False
        self._is_closed = False

    async def __aenter__(self) -> Tasks:
        self._owner = asyncio.current_task()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._is_closed = True
        if self._is_owner_cancelled and self._owner is not None:
            # The cancellation was ours: take it back, or what awaits here would be cancelled again.
            self._owner.uncancel()
        await self.stop()
        if self._crash is not None:
            raise TaskCrashed(f"a critical task died of {type(self._crash).__name__}") from self._crash

    def start(self, work: Coroutine[Any, Any, Any], *, name: str, critical: bool = True) -> asyncio.Task[Any]:
        """Runs `work` in the background. The crash of a critical task stops everything; that of another is logged only."""
        if self._is_closed:
            work.close()
            raise RuntimeError(f"task {name} is started after the end")
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running[task] = critical
        task.add_done_callback(self._end)
        return task

    async def stop(self) -> None:
        """Cancels what runs, the last started first, each awaited before the next: users before what they use."""
        for task in reversed(list(self._running)):
            task.cancel()
            await asyncio.wait({task}, timeout=self._stop_seconds)
            if not task.done():
                logger.error("task does not stop", extra={"task": task.get_name(), "seconds": self._stop_seconds})

    def __len__(self) -> int:
        return len(self._running)

    def _end(self, task: asyncio.Task[Any]) -> None:
        is_critical = self._running.pop(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            return
        logger.error("task died", extra={"task": task.get_name(), "critical": is_critical}, exc_info=error)
        if is_critical and self._crash is None:
            self._crash = error
            self._cancel_owner()

    def _cancel_owner(self) -> None:
        if self._owner is not None and not self._owner.done() and not self._is_closed:
            self._is_owner_cancelled = True
            self._owner.cancel()

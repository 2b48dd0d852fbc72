"""The client's eyes: one watch on a connection of its own, which notes on one monotonic clock when each Run ended."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType

from k8s.api.run import Run
from k8s.client import RUNS, ApiClient, Changed, Listed, list_and_watch


class Observer:
    """Follows the Runs under one label selector. `async with`; its watch stands when the block begins."""

    def __init__(self, client: ApiClient, *, namespace: str, label_selector: str) -> None:
        self._client = client
        self._namespace = namespace
        self._label_selector = label_selector
        self._terminal: dict[str, asyncio.Future[tuple[float, Run]]] = {}
        self._standing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def expect(self, name: str) -> asyncio.Future[tuple[float, Run]]:
        """Call BEFORE the create. Resolves to (monotonic seconds at which the watch showed the end, the Run)."""
        return self._terminal.setdefault(name, asyncio.get_running_loop().create_future())

    async def __aenter__(self) -> Observer:
        self._task = asyncio.create_task(self._follow(), name="bench observer")
        await self._standing.wait()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self) -> None:
        events = list_and_watch(self._client, RUNS, namespace=self._namespace, label_selector=self._label_selector)
        async for event in events:
            now = time.monotonic()
            if isinstance(event, Listed):
                for run in event.items:
                    self._note(run, now=now)
                self._standing.set()
            elif isinstance(event, Changed):
                self._note(event.object, now=now)

    def _note(self, run: Run, *, now: float) -> None:
        future = self._terminal.get(run.metadata.name)
        if run.is_terminal and future is not None and not future.done():
            future.set_result((now, run))

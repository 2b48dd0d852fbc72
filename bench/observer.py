"""The client's eyes: one watch on a connection of its own, which notes on one monotonic clock what it showed of each object."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Generic, TypeVar

from k8s.client import ApiClient, Changed, Listed, Resource, identify, list_and_watch

T = TypeVar("T")


@dataclass(slots=True)
class Sight(Generic[T]):
    """What was seen of one object."""

    assigned: float | None = None
    """Monotonic seconds at which its Pod was shown first."""
    ended: asyncio.Future[tuple[float, T]] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """Monotonic seconds at which its end was shown, and the object."""


class Observer(Generic[T]):
    """Follows the objects under one label selector. `async with`; its watch stands when the block begins."""

    def __init__(
        self,
        client: ApiClient,
        resource: Resource[T],
        *,
        namespace: str,
        label_selector: str,
        has_ended: Callable[[T], bool],
        is_assigned: Callable[[T], bool] = lambda _: False,
    ) -> None:
        self._events = list_and_watch(client, resource, namespace=namespace, label_selector=label_selector)
        self._has_ended = has_ended
        self._is_assigned = is_assigned
        self._sights: dict[str, Sight[T]] = {}
        self._standing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def expect(self, name: str) -> Sight[T]:
        """Call BEFORE the create."""
        return self._sights.setdefault(name, Sight())

    def give_up(self, name: str) -> None:
        """Nobody waits for it any more."""
        self._sights.pop(name, None)

    async def __aenter__(self) -> Observer[T]:
        self._task = asyncio.create_task(self._follow(), name="bench observer")
        await self._standing.wait()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._events.aclose()

    async def _follow(self) -> None:
        async for event in self._events:
            now = time.monotonic()
            if isinstance(event, Listed):
                for item in event.items:
                    self._note(item, now=now)
                self._standing.set()
            elif isinstance(event, Changed):
                self._note(event.object, now=now)

    def _note(self, item: T, *, now: float) -> None:
        name = identify(item).name
        sight = self._sights.get(name)
        if sight is None:
            return
        if sight.assigned is None and self._is_assigned(item):
            sight.assigned = now
        if self._has_ended(item):
            del self._sights[name]
            sight.ended.set_result((now, item))

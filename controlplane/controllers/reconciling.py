"""The shell that every reconciler runs in: level-triggered, de-duplicated, one key never twice at a time, failures backed off.

A reconciler takes a key, reads caches, and does what is missing. Events are only wake-ups. It knows nothing of kinds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Any, Generic, TypeVar

from controlplane.controllers.key_queue import KeyQueue
from k8s.api.errors import KrtError
from k8s.client import (
    REAL_PACE,
    ApiClient,
    ApiError,
    Backoff,
    Cache,
    Change,
    Deleted,
    Listed,
    Notice,
    Pace,
    Resource,
    list_and_watch,
    message_of,
)
from k8s.manager import Tasks

logger = logging.getLogger(__name__)
T = TypeVar("T")

Reconcile = Callable[[str], Awaitable[float | None]]
"""Looks after one key. Returns in how many seconds it wants another look, None for not before something changes."""

WORKERS = 4
"""Keys looked after at a time: enough that one slow answer does not stop the others, too few to flood an API server."""
RESYNC_SECONDS = 600.0
"""Every key is looked at again after so long whatever happened: a net under the watches, not the mechanism."""
FIRST_RETRY_SECONDS = 0.1
LAST_RETRY_SECONDS = 60.0


class Reconciler:
    """Runs `reconcile` for the keys that were added, with `keys()` naming all of them for the resync."""

    def __init__(self, name: str, reconcile: Reconcile, *, keys: Callable[[], Iterable[str]], pace: Pace = REAL_PACE) -> None:
        self._name = name
        self._reconcile = reconcile
        self._keys = keys
        self._pace = pace
        self._queue = KeyQueue()
        self._timers: dict[str, tuple[float, asyncio.TimerHandle]] = {}
        self._failures: dict[str, Backoff] = {}
        self._is_added = asyncio.Event()

    def add(self, key: str) -> None:
        """It has changed, or may have."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer[1].cancel()
        self._queue.add(key)
        self._is_added.set()

    def add_after(self, key: str, *, seconds: float) -> None:
        """Not before `seconds` have passed, unless something else wants it earlier."""
        due_at = self._pace.clock() + seconds
        timer = self._timers.get(key)
        if timer is not None and timer[0] <= due_at:
            return
        if timer is not None:
            timer[1].cancel()
        self._timers[key] = due_at, asyncio.get_running_loop().call_later(max(0.0, seconds), self.add, key)

    async def run(self) -> None:
        """Until cancelled. Start it when the caches are complete: before that, absence means nothing."""
        try:
            async with Tasks() as tasks:
                for number in range(WORKERS):
                    tasks.start(self._work(), name=f"{self._name} {number}")
                while True:
                    for key in list(self._keys()):
                        self.add(key)
                    await self._pace.sleep(RESYNC_SECONDS)
        finally:
            for _, handle in self._timers.values():
                handle.cancel()
            self._timers.clear()

    async def _work(self) -> None:
        while True:
            key = self._queue.take()
            if key is None:
                self._is_added.clear()
                await self._is_added.wait()
                continue
            try:
                await self._look_after(key)
            finally:
                self._queue.done(key)
                self._is_added.set()

    async def _look_after(self, key: str) -> None:
        try:
            again_in_seconds = await self._reconcile(key)
        except Exception as error:  # the task boundary: whatever it is, the other keys go on
            self._back_off(key, error)
            return
        self._failures.pop(key, None)
        if again_in_seconds is not None:
            self.add_after(key, seconds=again_in_seconds)

    def _back_off(self, key: str, error: Exception) -> None:
        backoff = self._failures.setdefault(key, Backoff(first_seconds=FIRST_RETRY_SECONDS, max_seconds=LAST_RETRY_SECONDS))
        asked_seconds = error.retry_after_seconds if isinstance(error, ApiError) else None
        delay = max(backoff.next_delay(self._pace.chance()), asked_seconds or 0.0)
        if backoff.is_worth_a_line:
            trace = None if isinstance(error, KrtError) else error
            logger.warning("reconcile failed", extra={"controller": self._name, "key": key} | message_of(error), exc_info=trace)
        self.add_after(key, seconds=delay)


class Informer(Generic[T]):
    """Keeps a cache of a kind and tells what changes in it. `is_complete` is set with the first list."""

    def __init__(
        self,
        client: ApiClient,
        resource: Resource[T],
        *,
        told: Callable[[Change[T]], None] | None = None,
        keeps: Callable[[T], bool] = lambda _: True,
        label_selector: str = "",
        field_selector: str = "",
    ) -> None:
        """What `keeps` does not hold for is as good as gone: neither remembered nor told of."""
        self.cache: Cache[T] = Cache()
        self.is_complete = asyncio.Event()
        self._told = [told] if told is not None else []
        self._keeps = keeps
        self._client = client
        self._resource = resource
        self._label_selector = label_selector
        self._field_selector = field_selector
        self.name = f"follow {resource.plural}"

    def tell(self, told: Callable[[Change[T]], None]) -> None:
        """One more who is told. Before `run`: whoever comes later does not hear of what is there."""
        self._told.append(told)

    def take(self, seen: T) -> None:
        """The answer of a write or a GET."""
        self._tell_of(self.cache.take(seen))

    def drop(self, uid: str) -> None:
        """A GET said NotFound."""
        self._tell_of(self.cache.drop(uid))

    async def run(self) -> None:
        """Until cancelled."""
        watch = list_and_watch(self._client, self._resource, label_selector=self._label_selector, field_selector=self._field_selector)
        async with aclosing(watch) as notices:
            async for notice in notices:
                self._take_in(self._selected(notice))

    def _take_in(self, notice: Notice[T]) -> None:
        for change in self.cache.feed(notice):
            self._tell_of(change)
        if self.cache.is_synced:
            self.is_complete.set()

    def _tell_of(self, change: Change[T] | None) -> None:
        if change is not None:
            for told in self._told:
                told(change)

    def _selected(self, notice: Notice[T]) -> Notice[T]:
        if isinstance(notice, Listed):
            return Listed([item for item in notice.items if self._keeps(item)], notice.resource_version)
        return notice if isinstance(notice, Deleted) or self._keeps(notice.object) else Deleted(notice.object)


async def run_together(reconciler: Reconciler, informers: Sequence[Informer[Any]], *, shared: Sequence[Informer[Any]] = ()) -> None:
    """The informers, and the reconciler as soon as all of them are complete. Until cancelled. Those `shared` are run by others."""
    async with Tasks() as tasks:
        for informer in informers:
            tasks.start(informer.run(), name=informer.name)
        for informer in (*informers, *shared):
            await informer.is_complete.wait()
        await reconciler.run()

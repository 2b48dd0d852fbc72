"""A watch of all Runs and Pods that a test can wait on. It lives through every fault that it is not told to be part of."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing, suppress
from typing import Any

from k8s.api.pod import Pod
from k8s.api.run import Run
from k8s.client import LEASES, PODS, RUNS, ApiClient, Cache, JsonObject, Resource, list_and_watch
from tests.fault.checkers import TERMINAL

GLANCE_SECONDS = 0.05
"""How often to look at what has no event: processes and files of others."""


class Watching:
    """`start` and `stop` inside one event loop."""

    def __init__(self, client: ApiClient, *, namespace: str) -> None:
        self._client, self._namespace = client, namespace
        self._runs: Cache[Run] = Cache()
        self._pods: Cache[Pod] = Cache()
        self._leases: Cache[JsonObject] = Cache()
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._seen: set[str] = set()
        self.ended: set[str] = set()
        """UIDs of Runs that were seen in a terminal phase."""

    def start(self) -> None:
        followed: list[tuple[Resource[Any], Cache[Any]]] = [(RUNS, self._runs), (PODS, self._pods), (LEASES, self._leases)]
        self._tasks = [asyncio.create_task(self._follow(resource, cache)) for resource, cache in followed]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    @property
    def runs(self) -> dict[str, Run]:
        """By UID, as last seen."""
        return {run.uid: run for run in self._runs}

    @property
    def pods(self) -> dict[str, Pod]:
        return {pod.uid: pod for pod in self._pods}

    def lease(self, name: str) -> JsonObject:
        """As last seen; without a holder when there is none."""
        return next((one for one in self._leases if one["metadata"]["name"] == name), {"spec": {}})

    def holder(self, lease: str) -> str:
        """Who holds it; empty for nobody."""
        return self.lease(lease)["spec"].get("holderIdentity") or ""

    def has_seen(self, uid: str) -> bool:
        """At any time, if it is gone now."""
        return uid in self._seen

    async def until(self, condition: Callable[[], bool], *, seconds: float, what: str | Callable[[], str]) -> None:
        """Looked at on every change, and now and then."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                told = what if isinstance(what, str) else what()
                raise AssertionError(f"not within {seconds:g} s: {told}; {self.summary()}")
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(GLANCE_SECONDS):
                    await self._changed.wait()

    def summary(self) -> str:
        phases: dict[str, int] = {}
        for run in self._runs:
            phases[run.phase] = phases.get(run.phase, 0) + 1
        return f"Runs by phase: {phases}"

    async def _follow(self, resource: Resource[Any], cache: Cache[Any]) -> None:
        async with aclosing(list_and_watch(self._client, resource, namespace=self._namespace)) as notices:
            async for notice in notices:
                for change in cache.feed(notice):
                    if resource is RUNS and change.new is not None:
                        self._note(change.new)
                self._changed.set()

    def _note(self, run: Run) -> None:
        self._seen.add(run.uid)
        if run.phase in TERMINAL:
            self.ended.add(run.uid)

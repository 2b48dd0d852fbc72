"""The Runs that Pods hold, without those on Pods that are trusted: the API server leaves these out, by the names of their Pods.

It pays for a watch at every write of every Run that the watch shows, and everybody waits for that write. Of a Run whose Pod is well
this one shows nothing, so a Run that starts and ends in milliseconds wakes nobody here. Who is trusted changes seldom, and each change
is a list anew.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import aclosing
from typing import Final

from controlplane.controllers.reconciling import Informer
from k8s.api.phases import NOT_PENDING_SELECTOR, NOT_TERMINAL_SELECTOR
from k8s.api.run import Run
from k8s.client import RUNS, ApiClient, Cache, Change, Listed, Notice, Wider, list_and_watch

MAX_LEFT_OUT: Final = 100
"""A selector is part of the URL. Where more Pods are trusted nothing is left out, or each Pod that comes or goes would list many Runs."""
RELIST_SECONDS: Final = 1.0
"""Between two lists at least: many Pods that come or go together are one change."""


class DoubtfulRuns(Informer[Run]):
    """`leave_out` the trusted. What is `left_out` changes with the next list, and `listed` is told of that."""

    def __init__(self, client: ApiClient, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(client, RUNS, keeps=lambda run: run.is_active)
        self._clock = clock
        self._wanted: frozenset[str] = frozenset()
        self._is_other_wanted = asyncio.Event()
        self._listed_at = float("-inf")
        self._when_listed: list[Callable[[], None]] = []
        self.left_out: frozenset[str] | None = None
        """Names of Pods whose Runs are not shown; None while nothing is: a list is on its way."""

    def tell_of_lists(self, listed: Callable[[], None]) -> None:
        """After each first list of a selection. Before `run`."""
        self._when_listed.append(listed)

    def leave_out(self, pod_names: Iterable[str]) -> None:
        """From the next list on, which is soon if that is a change."""
        names = frozenset(pod_names)
        wanted = names if len(names) <= MAX_LEFT_OUT else frozenset()
        if wanted != self._wanted:
            self._wanted = wanted
            self._is_other_wanted.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._is_other_wanted.clear()
            following = asyncio.create_task(self._follow(self._wanted), name=self.name)
            turning = asyncio.create_task(self._until_other_is_wanted(), name=f"{self.name}, another selection")
            try:
                await asyncio.wait({following, turning}, return_when=asyncio.FIRST_COMPLETED)
                if following.done():
                    following.result()
            finally:
                following.cancel()
                turning.cancel()
                await asyncio.wait({following, turning})

    async def _until_other_is_wanted(self) -> None:
        await self._is_other_wanted.wait()
        await asyncio.sleep(max(0.0, self._listed_at + RELIST_SECONDS - self._clock()))

    async def _follow(self, left_out: frozenset[str]) -> None:
        self.left_out, is_first = None, True
        self._listed_at = self._clock()
        others = "".join(f",status.assignedPod!={name}" for name in sorted(left_out))
        wider: Wider[Run] = Wider(NOT_PENDING_SELECTOR + others, keeps=lambda run: not run.is_terminal)
        selector = f"{NOT_PENDING_SELECTOR},{NOT_TERMINAL_SELECTOR}{others}"
        async with aclosing(list_and_watch(self._client, RUNS, field_selector=selector, wider=wider)) as notices:
            async for notice in notices:
                if is_first and isinstance(notice, Listed):
                    self._begin_anew(self._selected(notice), left_out)
                    is_first = False
                else:
                    self._take_in(self._selected(notice))

    def _begin_anew(self, listed: Notice[Run], left_out: frozenset[str]) -> None:
        """With another cache: in the old one what left the selection counts as deleted, and would not be let in as it was."""
        before, self.cache = self.cache, Cache()
        for change in self.cache.feed(listed):
            assert change.new is not None
            self._tell_of(Change(old=before.get(change.new.uid), new=change.new))
        for run in before:
            if run.uid not in self.cache:
                self._tell_of(Change(old=run, new=None))
        self.left_out = left_out
        self.is_complete.set()
        for listed_now in self._when_listed:
            listed_now()

"""Which Pods are trusted with what they hold: it is not watched, until a Pod goes, ends, drains or falls silent.

A Pod is trusted only on what was seen: while its name is left out, a Run that was bound to an earlier Pod of that name is not shown.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from controlplane.controllers.doubtful_runs import DoubtfulRuns
from controlplane.controllers.pod_troubles import RuntimePod
from controlplane.controllers.reconciling import RESYNC_SECONDS, Informer

NEVER: Final = float("inf")


class Trust:
    """`weigh` a Pod when something was heard of it, `forget` one that is gone; the rest it does by itself."""

    def __init__(
        self,
        runs: DoubtfulRuns,
        *,
        pods: Informer[RuntimePod],
        deserves: Callable[[RuntimePod], bool],
        seconds_left: Callable[[RuntimePod], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`deserves`: by what is shown of Runs, too. `seconds_left`: for how long it does if nothing more is heard of it."""
        self._runs = runs
        self._pods = pods
        self._deserves = deserves
        self._seconds_left = seconds_left
        self._clock = clock
        self._trusted: dict[str, str] = {}
        """UID -> name."""
        self._namesakes: dict[str, set[str]] = {}
        """Name -> UIDs of the Pods that are there."""
        self._armed_for = NEVER
        self._is_due_earlier = asyncio.Event()
        runs.tell_of_lists(self._weigh_all)

    async def run(self) -> None:
        """Until cancelled. A Pod that falls silent is heard of no more: what notices is a timer."""
        doubt_all_at = self._clock() + RESYNC_SECONDS
        while True:
            self._is_due_earlier.clear()
            self._weigh_all()
            if self._clock() >= doubt_all_at:
                # A net, as every resync: whatever should be shown and is not is in the next list.
                doubt_all_at = self._clock() + RESYNC_SECONDS
                self._trusted.clear()
                self._tell()
            self._armed_for = min(doubt_all_at, self._earliest_end())
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._armed_for - self._clock())):
                    await self._is_due_earlier.wait()

    def weigh(self, pod: RuntimePod) -> None:
        """Whether it is trusted from now on."""
        if self._weigh(pod):
            self._tell()

    def _weigh(self, pod: RuntimePod) -> bool:
        """Whether that changes what is to be told."""
        namesakes = self._namesakes.setdefault(pod.metadata.name, set())
        is_new, is_trusted = pod.uid not in namesakes, pod.uid in self._trusted
        namesakes.add(pod.uid)
        if is_trusted and not self._deserves(pod):
            self._withdraw(pod.metadata.name)
            return True
        if not is_trusted and self._is_shown(pod) and self._deserves(pod):
            self._trusted[pod.uid] = pod.metadata.name
        if pod.uid in self._trusted and self._clock() + self._seconds_left(pod) < self._armed_for:
            self._is_due_earlier.set()
        return is_new or is_trusted != (pod.uid in self._trusted)

    def _is_shown(self, pod: RuntimePod) -> bool:
        """Whether all that is bound to a Pod of that name, in whatever namespace, is shown now."""
        return self._runs.left_out is not None and pod.metadata.name not in self._runs.left_out

    def weigh_namesakes(self, name: str) -> None:
        """What spoke against Pods of that name may be gone."""
        for uid in list(self._namesakes.get(name, ())):
            if (pod := self._pods.cache.get(uid)) is not None:
                self.weigh(pod)

    def forget(self, pod: RuntimePod) -> None:
        """It is gone: what it holds is shown from now on."""
        name = pod.metadata.name
        self._namesakes[name].discard(pod.uid)
        if not self._namesakes[name]:
            del self._namesakes[name]
        self._withdraw(name)
        self._tell()

    def _withdraw(self, name: str) -> None:
        for uid in [uid for uid, trusted in self._trusted.items() if trusted == name]:
            del self._trusted[uid]

    def _tell(self) -> None:
        """A name that two Pods have, in two namespaces, is never left out: a selector knows names only."""
        self._runs.leave_out(name for name in self._trusted.values() if len(self._namesakes[name]) == 1)

    def _weigh_all(self) -> None:
        for pod in self._pods.cache:
            self._weigh(pod)
        self._tell()

    def _earliest_end(self) -> float:
        now = self._clock()
        trusted = [pod for uid in self._trusted if (pod := self._pods.cache.get(uid)) is not None]
        return min((now + self._seconds_left(pod) for pod in trusted), default=NEVER)

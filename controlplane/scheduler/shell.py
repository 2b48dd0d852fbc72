"""Feeds the core what the watches tell and performs what it decides, many writes at a time. It decides nothing itself."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Callable
from contextlib import aclosing, suppress
from datetime import UTC, datetime, timedelta
from typing import assert_never

from controlplane.scheduler.core import SchedulerCore
from controlplane.scheduler.metrics import SchedulerMetrics
from controlplane.scheduler.model import Announce, Bind, Cancel, Decision, Event, Listed, PodGone, PodSeen, Refuse, RunGone, RunSeen, Ticked
from controlplane.scheduler.model import Settled as WriteSettled
from controlplane.scheduler.view import KEPT_RUNS, KeptRun
from k8s.api import names, transitions
from k8s.api.phases import NOT_TERMINAL_SELECTOR
from k8s.api.pod import Pod
from k8s.api.run import Run
from k8s.client import PODS, ApiClient, ApiError, Backoff, Cache, Conflict, NotFound, Wider, conditional_status, list_and_watch, message_of
from k8s.manager import Tasks

logger = logging.getLogger(__name__)

FIELD_MANAGER = "kruntimes-scheduler"
LANDING_SECONDS = 0.3
"""At the end of a term: an API server that is well has answered by then, and with one that is not no standby could do better."""


class SchedulerShell:
    """One term of leadership: made anew for each, so that nothing of an older one is believed."""

    def __init__(
        self,
        client: ApiClient,
        *,
        metrics: SchedulerMetrics,
        core: SchedulerCore | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._metrics = metrics
        self._core = core or SchedulerCore(recorder=metrics)
        self._clock = clock
        self._wall = wall
        self._runs: Cache[KeptRun] = Cache()
        self._pods: Cache[Pod] = Cache()
        self._tasks = Tasks()
        self._armed_for: float | None = None
        self._is_due_earlier = asyncio.Event()
        self._is_over = False
        self._in_flight = 0
        self._write_ended = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        gc.unfreeze()
        async with self._tasks as tasks:
            tasks.start(self._follow_pods(), name="follow pods")
            tasks.start(self._follow_runs(), name="follow runs")
            tasks.start(self._keep_time(), name="keep time")
            try:
                await asyncio.Event().wait()
            finally:
                # STRICTLY BEFORE the tasks are cancelled, one after the other: those that still run must neither decide nor write.
                self._is_over = True
                await self._let_writes_land()

    async def _let_writes_land(self) -> None:
        """What is on its way, so that the Lease can be given back; one that is given up instead may land at any time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LANDING_SECONDS):
                while self._in_flight:
                    self._write_ended.clear()
                    await self._write_ended.wait()

    # ---- what is seen

    async def _follow_runs(self) -> None:
        # All of them: that a Run is over must not cost the API server a copy of it at the moment at which everybody waits for that.
        everything: Wider[KeptRun] = Wider("", keeps=lambda run: not run.is_terminal)
        watching = list_and_watch(self._client, KEPT_RUNS, field_selector=NOT_TERMINAL_SELECTOR, wider=everything)
        async with aclosing(watching) as notices:
            async for notice in notices:
                was_synced = self._runs.is_synced
                for change in self._runs.feed(notice):
                    gone = change.old.uid if change.old is not None else ""
                    self._step(RunSeen(change.new) if change.new is not None else RunGone(gone))
                self._begin_when_both_are_listed(was_synced)

    async def _follow_pods(self) -> None:
        async with aclosing(list_and_watch(self._client, PODS, label_selector=names.RUNTIME_LABEL)) as notices:
            async for notice in notices:
                was_synced = self._pods.is_synced
                for change in self._pods.feed(notice):
                    gone = change.old.uid if change.old is not None else ""
                    self._step(PodSeen(change.new) if change.new is not None else PodGone(gone))
                self._begin_when_both_are_listed(was_synced)

    def _begin_when_both_are_listed(self, was_synced: bool) -> None:
        """Without all Runs it is unknown what is taken: nothing is bound before."""
        if not was_synced and self._runs.is_synced and self._pods.is_synced:
            logger.info("scheduling begins", extra={"runs": len(self._runs), "pods": len(self._pods)})
            self._step(Listed())
            # What 10,000 Runs are made of stays for long: looking through it for cycles again and again would cost 50 ms each time.
            gc.freeze()

    async def _keep_time(self) -> None:
        while True:
            self._armed_for = self._core.next_deadline()
            self._is_due_earlier.clear()
            delay = None if self._armed_for is None else max(0.0, self._armed_for - self._clock())
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._is_due_earlier.wait()
            self._step(Ticked())

    def _step(self, event: Event) -> None:
        if self._is_over:
            return
        for decision in self._core.handle(event, now=self._clock(), wall=self._wall()):
            self._tasks.start(self._perform(decision), name="write status")
        deadline = self._core.next_deadline()
        if deadline is not None and (self._armed_for is None or deadline < self._armed_for):
            self._is_due_earlier.set()

    # ---- what is done

    async def _perform(self, decision: Decision) -> None:
        """One conditional write, and what is true after it. Never the same write twice: the core decides again."""
        if self._is_over:
            return  # decided while we led, and not sent
        run = decision.run
        began_at = self._clock()
        has_landed = False
        try:
            self._runs.take(await self._write(decision))
            has_landed = True
        except ApiError as error:
            self._note_failure(decision, error)
            # STRICTLY BEFORE the core decides again: a busy API server says when to come back.
            await asyncio.sleep(error.retry_after_seconds or 0.0)
            await self._read_again(run)
        if has_landed and isinstance(decision, Bind):
            self._note_bind(decision, seconds=self._clock() - began_at)
        self._step(WriteSettled(run.uid, run=self._runs.get(run.uid), has_landed=has_landed))

    async def _write(self, decision: Decision) -> KeptRun:
        run = decision.run
        patch = conditional_status(self._change(decision), resource_version=run.metadata.resource_version)
        self._in_flight += 1
        try:
            return await self._client.patch(
                KEPT_RUNS, run.metadata.name, patch, namespace=run.metadata.namespace, subresource="status", field_manager=FIELD_MANAGER
            )
        finally:
            self._in_flight -= 1
            self._write_ended.set()

    def _change(self, decision: Decision) -> transitions.StatusChange:
        now = self._wall()
        match decision:
            case Bind(run, pod_name, pod_uid, observed):
                return transitions.bind(run, pod_name=pod_name, pod_uid=pod_uid, observed=observed, now=now)
            case Announce(run, message):
                return transitions.waiting(run, message=message)
            case Cancel(run):
                return transitions.cancelled_before_bind(run, now=now)
            case Refuse(run, reason, message):
                return transitions.refused(run, reason=reason, message=message, now=now)
            case _:
                assert_never(decision)

    async def _read_again(self, run: Run) -> None:
        """Until the API server says what is true: the write may have happened."""
        backoff = Backoff()
        while True:
            try:
                seen = await self._client.get(KEPT_RUNS, run.metadata.name, namespace=run.metadata.namespace)
            except NotFound:
                self._runs.drop(run.uid)
                return
            except ApiError as error:
                delay = backoff.next_delay(self._chance())
                if backoff.is_worth_a_line:
                    logger.warning("run cannot be read again", extra={"run": run.key, "uid": run.uid} | message_of(error))
                await asyncio.sleep(delay)
                continue
            if seen.uid != run.uid:
                self._runs.drop(run.uid)
            else:
                self._runs.take(seen)
            return

    def _note_failure(self, decision: Decision, error: ApiError) -> None:
        run = decision.run
        fields = {"run": run.key, "uid": run.uid, "attempt": run.attempt_number, "decision": type(decision).__name__}
        if isinstance(error, (Conflict, NotFound)):
            logger.debug("status write met a newer run", extra=fields | message_of(error))
            if isinstance(decision, Bind):
                self._metrics.bind_conflicted()
        else:
            logger.warning("status write failed", extra=fields | message_of(error))

    def _note_bind(self, decision: Bind, *, seconds: float) -> None:
        waited = self._wall() - created_at(decision.run, observed=decision.observed)
        self._metrics.bound(decision.run.spec.runtime, sync_seconds=seconds, queue_seconds=waited.total_seconds())
        logger.debug("run is bound", extra={"run": decision.run.key, "uid": decision.run.uid, "pod": decision.pod_name})

    def _chance(self) -> float:
        return self._core.jitter()


def created_at(run: Run, *, observed: datetime) -> datetime:
    """Creation times are whole seconds, cut off: a Run that was seen within that second was created when it was seen, or just before."""
    created = run.metadata.creation_timestamp
    return observed if created is None else max(created, min(observed, created + timedelta(seconds=1)))

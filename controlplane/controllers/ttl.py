"""Deletes finished Runs when their `ttlSecondsAfterFinished` has passed since their completion. Keys are UIDs.

The field may change after the Run has finished, so each look computes the time anew, and the deletion is conditional on what was
looked at.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from controlplane.controllers.reconciling import Informer, Reconciler, run_together
from k8s.api.phases import TERMINAL_SELECTOR
from k8s.api.run import Run
from k8s.client import REAL_PACE, RUNS, ApiClient, ApiError, Backoff, BadRequest, Change, Conflict, NotFound, Pace

logger = logging.getLogger(__name__)

WITH_TTL_SELECTOR = f"{TERMINAL_SELECTOR},spec.ttlSecondsAfterFinished!="


class ExpiringRuns(Informer[Run]):
    """Finished Runs that have a time to live. What has none is left out by the API server: see doubtful_runs."""

    def __init__(self, client: ApiClient, *, pace: Pace = REAL_PACE) -> None:
        super().__init__(client, RUNS, keeps=has_expiry)
        self._pace = pace

    async def run(self) -> None:
        """Until cancelled."""
        self._field_selector = await self._find_selector()
        await super().run()

    async def _find_selector(self) -> str:
        """A CRD of an earlier version does not let itself be selected by the time to live: then all that is over is watched."""
        backoff = Backoff()
        while True:
            try:
                await self._client.request("GET", RUNS.path(), query={"limit": "1", "fieldSelector": WITH_TTL_SELECTOR})
            except BadRequest:
                logger.warning("the CRD of Runs is of an earlier version, and each Run is dearer: apply the CRDs of this one")
                return TERMINAL_SELECTOR
            except ApiError:
                # Whoever watches Pods at the same time has a line about it.
                await self._pace.sleep(backoff.next_delay(self._pace.chance()))
            else:
                return WITH_TTL_SELECTOR


class FinishedRunCollector:
    """Deletes what has outlived its time."""

    def __init__(self, client: ApiClient, *, runs: ExpiringRuns, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Whoever made `runs` runs it."""
        self._client = client
        self._now = now
        self._runs = runs
        runs.tell(self._run_changed)
        self._reconciler = Reconciler("ttl", self.reconcile, keys=lambda: [run.uid for run in self._runs.cache])

    async def run(self) -> None:
        """Until cancelled."""
        await run_together(self._reconciler, [], shared=[self._runs])

    def _run_changed(self, change: Change[Run]) -> None:
        if change.new is not None and has_expiry(change.new):
            self._reconciler.add(change.new.uid)

    async def reconcile(self, key: str) -> float | None:
        run = self._runs.cache.get(key)
        expiry = expiry_of(run) if run is not None else None
        if run is None or expiry is None:
            return None
        remaining = (expiry - self._now()).total_seconds()
        if remaining > 0:
            return remaining
        await self._delete(run)
        return None

    async def _delete(self, run: Run) -> None:
        try:
            await self._client.delete(
                RUNS,
                run.metadata.name,
                namespace=run.metadata.namespace,
                uid=run.uid,
                resource_version=run.metadata.resource_version,
                propagation_policy="Background",
            )
        except NotFound:
            return
        except Conflict:
            return  # it has changed: that is an event, and wakes us again
        logger.info("finished run is deleted", extra={"run": run.key, "uid": run.uid})


def has_expiry(run: Run) -> bool:
    """Whether it is to be deleted by us, now or later."""
    return expiry_of(run) is not None


def expiry_of(run: Run) -> datetime | None:
    """When it is to be deleted; None for never (no time to live, not finished, or deleted already)."""
    ttl_seconds = run.spec.ttl_seconds_after_finished
    if not ttl_seconds or run.status.completion_time is None or not run.is_terminal or run.metadata.deletion_timestamp is not None:
        return None
    try:
        return run.status.completion_time + timedelta(seconds=ttl_seconds)
    except OverflowError:
        return None  # longer than there are dates

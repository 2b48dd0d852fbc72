"""What the maintainer does for each Run that is being deleted: its artifacts first, then the finalizer. Event-driven.

It never gives up: a store that does not come back is the cleanup controller's to judge, which sees more than one store.
"""

from __future__ import annotations

import asyncio
import logging

from k8s.api.artifact_store import store_hash as hash_of
from k8s.api.errors import KrtError
from k8s.api.names import ARTIFACT_CLEANUP_FINALIZER, ARTIFACTS_LABEL
from k8s.api.run import Run
from k8s.client import RUNS, ApiClient, Backoff, Cache, NotFound, list_and_watch, message_of, without_finalizer
from k8s.manager import Tasks
from runtimed.artifacts.stores import ArtifactStore

logger = logging.getLogger(__name__)

AT_A_TIME = 4
FIRST_PAUSE_SECONDS = 0.2
MAX_PAUSE_SECONDS = 30.0


class Maintainer:
    """Of one store in one namespace."""

    def __init__(self, client: ApiClient, *, namespace: str, store_hash: str, store: ArtifactStore, tasks: Tasks) -> None:
        self._client, self._namespace = client, namespace
        self._store_hash, self._store = store_hash, store
        self._tasks = tasks
        self._runs: Cache[Run] = Cache()
        self._turns = asyncio.Semaphore(AT_A_TIME)
        self._under_way: set[str] = set()

    async def run(self) -> None:
        """Until cancelled."""
        watching = list_and_watch(self._client, RUNS, namespace=self._namespace, label_selector=f"{ARTIFACTS_LABEL}=true")
        async for notice in watching:
            for change in self._runs.feed(notice):
                if change.new is not None:
                    self._look_at(change.new)

    def _look_at(self, run: Run) -> None:
        if run.uid not in self._under_way and self._is_due(run):
            self._under_way.add(run.uid)
            self._tasks.start(self._clean_up(run.uid), name=f"artifacts of {run.uid}")

    def _is_due(self, run: Run) -> bool:
        store = run.status.artifact_store
        is_deleted = run.metadata.deletion_timestamp is not None and ARTIFACT_CLEANUP_FINALIZER in run.metadata.finalizers
        # A Run that has not ended may still be storing: its runtimed sees the deletion too, and ends it first.
        return is_deleted and not run.is_active and store is not None and hash_of(store) == self._store_hash

    async def _clean_up(self, uid: str) -> None:
        backoff = Backoff(first_seconds=FIRST_PAUSE_SECONDS, max_seconds=MAX_PAUSE_SECONDS)
        try:
            while (run := self._runs.get(uid)) is not None and self._is_due(run):
                try:
                    async with self._turns:
                        await asyncio.to_thread(self._store.delete_run, namespace=run.metadata.namespace, run_uid=uid)
                    await self._release(run)
                    return
                except KrtError as error:
                    logger.warning("artifacts are not removed yet", extra={"run": run.key, "uid": uid} | message_of(error))
                await asyncio.sleep(backoff.next_delay(0.5))
        finally:
            self._under_way.discard(uid)

    async def _release(self, run: Run) -> None:
        """STRICTLY AFTER the artifacts are gone: with the finalizer goes the last that is known of them."""
        try:
            patch = without_finalizer(ARTIFACT_CLEANUP_FINALIZER, run=run)
            await self._client.patch(RUNS, run.metadata.name, patch, namespace=run.metadata.namespace)
        except NotFound:
            pass
        logger.info("artifacts are removed", extra={"run": run.key, "uid": run.uid})

"""Sees to it that artifacts go with their Runs: a maintainer for every store that a deleted Run waits for, and an end to the waiting.

Keys are `namespace/store hash`. The controllers hold no credentials of stores: a maintainer, in the Run's own namespace, removes the
artifacts and then the finalizer. Where that does not come about the finalizer is taken off here, and what is left in the store is
told of: no namespace waits for ever for a store that is gone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from controlplane.controllers.maintainer_objects import LABELS, MaintainerSettings, deployment_name, maintainer_objects
from controlplane.controllers.reconciling import Informer, Reconciler, run_together
from k8s.api.artifact_store import snapshot_of, store_hash, store_of
from k8s.api.names import ARTIFACT_CLEANUP_FINALIZER, ARTIFACTS_LABEL
from k8s.api.run import Run
from k8s.client import (
    DEPLOYMENTS,
    ROLE_BINDINGS,
    ROLES,
    RUNS,
    RUNTIMES,
    SERVICE_ACCOUNTS,
    ApiClient,
    ApiError,
    Change,
    EventRecorder,
    Forbidden,
    JsonObject,
    NotFound,
    Resource,
    apply_patch,
    conditional_status,
    without_finalizer,
)

logger = logging.getLogger(__name__)

COMPONENT: Final = "artifact-cleanup"
FIELD_MANAGER: Final = "kruntimes-artifact-cleanup"
GIVE_UP_SECONDS: Final = 3600.0
"""How long a deleted Run waits for its store: long enough for somebody to see the events and repair it."""
NAMESPACE_GIVE_UP_SECONDS: Final = 15.0
"""The same where no maintainer can be started, because the namespace itself is being deleted."""
LINGER_SECONDS: Final = 60.0
"""How long a maintainer stays when nothing waits for it: deletions come in groups, and starting one takes seconds."""
_KINDS: Final[dict[str, Resource[JsonObject]]] = {
    resource.kind: resource for resource in (SERVICE_ACCOUNTS, ROLES, ROLE_BINDINGS, DEPLOYMENTS)
}
_UNKNOWN = "unknown"
"""In place of the hash of a Run that does not say where its artifacts are."""


class ArtifactCleanup:
    """`give_up_seconds` is for tests."""

    def __init__(
        self,
        client: ApiClient,
        *,
        settings: MaintainerSettings,
        events: EventRecorder,
        give_up_seconds: float = GIVE_UP_SECONDS,
        linger_seconds: float = LINGER_SECONDS,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client, self._settings, self._events = client, settings, events
        self._give_up_seconds, self._linger_seconds, self._now = give_up_seconds, linger_seconds, now
        self._runs = Informer(client, RUNS, told=self._run_changed, keeps=_has_artifacts, label_selector=f"{ARTIFACTS_LABEL}=true")
        selector = ",".join(f"{key}={value}" for key, value in LABELS.items())
        self._deployments = Informer(client, DEPLOYMENTS, told=self._deployment_changed, label_selector=selector)
        self._reconciler = Reconciler("artifact cleanup", self.reconcile, keys=self._keys)
        self._idle_since: dict[str, datetime] = {}

    async def run(self) -> None:
        """Until cancelled."""
        await run_together(self._reconciler, [self._runs, self._deployments])

    async def reconcile(self, key: str) -> float | None:
        waiting = [run for run in self._runs.cache if _key_of(run) == key and run.metadata.deletion_timestamp is not None]
        if not waiting:
            return await self._let_go(key)
        self._idle_since.pop(key, None)
        # First, so that nothing that fails below can put it off.
        still = await self._give_up_after(waiting, seconds=self._give_up_seconds)
        if not still:
            return None
        can_start = await (self._name_stores(still) if key.endswith(_UNKNOWN) else self._ensure(key, still[0]))
        patience = self._give_up_seconds
        if not can_start:
            patience = min(patience, NAMESPACE_GIVE_UP_SECONDS)
            still = await self._give_up_after(still, seconds=patience)
        return min((max(0.1, patience - self._waited_seconds(run)) for run in still), default=None)

    async def _give_up_after(self, waiting: list[Run], *, seconds: float) -> list[Run]:
        """Those that may wait on."""
        for run in waiting:
            if self._waited_seconds(run) >= seconds:
                await self._give_up(run)
        return [run for run in waiting if self._waited_seconds(run) < seconds]

    # ---- wake-ups

    def _run_changed(self, change: Change[Run]) -> None:
        for run in (change.old, change.new):
            if run is not None:
                self._reconciler.add(_key_of(run))

    def _deployment_changed(self, change: Change[JsonObject]) -> None:
        changed = change.new or change.old or {}
        self._reconciler.add(_key_of_deployment(changed))

    def _keys(self) -> Iterable[str]:
        yield from {_key_of(run) for run in self._runs.cache}
        yield from (_key_of_deployment(deployment) for deployment in self._deployments.cache)

    # ---- what is done

    async def _ensure(self, key: str, run: Run) -> bool:
        """A maintainer is there, or is made. False where none can be: nothing may be made in a namespace that goes."""
        namespace, _, hash_ = key.partition("/")
        if self._deployments.cache.by_name(namespace, deployment_name(hash_)) is not None:
            return True
        if not self._settings.image:
            logger.warning("no maintainer can be started: --runtime-maintainer-image is empty", extra={"run": run.key})
            return True
        store = store_of(run.status.artifact_store or {})
        try:
            for desired in maintainer_objects(store, namespace=namespace, store_hash=hash_, settings=self._settings):
                await self._apply(desired)
        except Forbidden as error:
            if "because it is being terminated" not in str(error):
                raise
            return False
        message = f"maintainer {deployment_name(hash_)} removes its artifacts"
        self._events.record(run, type="Normal", reason="RuntimeMaintainerEnsured", message=message)
        return True

    async def _apply(self, desired: JsonObject) -> None:
        resource, metadata = _KINDS[desired["kind"]], desired["metadata"]
        try:
            answer = await self._client.patch(
                resource, metadata["name"], apply_patch(desired), namespace=metadata["namespace"], field_manager=FIELD_MANAGER, force=True
            )
        except NotFound:
            if resource is DEPLOYMENTS:
                raise
            return  # a server that does not offer it authorizes otherwise
        if resource is DEPLOYMENTS:
            self._deployments.cache.take(answer)

    async def _name_stores(self, waiting: Iterable[Run]) -> bool:
        """Of Runs that do not say where their artifacts are: their Runtime knows, if it is still there. False if one is not."""
        is_known = True
        for run in waiting:
            try:
                runtime = await self._client.get(RUNTIMES, run.spec.runtime, namespace=run.metadata.namespace)
            except NotFound:
                is_known = False
                continue
            if runtime.spec.artifact_store is None:
                is_known = False
                continue
            change = {"artifactStore": snapshot_of(runtime.spec.artifact_store)}
            patch = conditional_status(change, resource_version=run.metadata.resource_version)
            await self._client.patch(RUNS, run.metadata.name, patch, namespace=run.metadata.namespace, subresource="status")
        return is_known

    async def _let_go(self, key: str) -> float | None:
        """Nothing waits for this maintainer: it goes, after a while."""
        namespace, _, hash_ = key.partition("/")
        deployment = self._deployments.cache.by_name(namespace, deployment_name(hash_))
        if deployment is None:
            self._idle_since.pop(key, None)
            return None
        idle_seconds = (self._now() - self._idle_since.setdefault(key, self._now())).total_seconds()
        if idle_seconds < self._linger_seconds:
            return self._linger_seconds - idle_seconds
        metadata: dict[str, Any] = deployment["metadata"]
        with suppress(NotFound):
            await self._client.delete(
                DEPLOYMENTS, metadata["name"], namespace=namespace, uid=metadata["uid"], propagation_policy="Background"
            )
        self._idle_since.pop(key, None)
        logger.info("maintainer is removed: nothing waits for it", extra={"namespace": namespace, "object": metadata["name"]})
        return None

    def _waited_seconds(self, run: Run) -> float:
        assert run.metadata.deletion_timestamp is not None
        return (self._now() - run.metadata.deletion_timestamp).total_seconds()

    async def _give_up(self, run: Run) -> None:
        logger.error("artifacts are given up: they stay in their store", extra={"run": run.key, "uid": run.uid})
        message = "its store did not answer in time, or no maintainer could be started; its artifacts are left in the store"
        self._events.record(run, type="Warning", reason="ArtifactCleanupGivenUp", message=message)
        try:
            patch = without_finalizer(ARTIFACT_CLEANUP_FINALIZER, run=run)
            await self._client.patch(RUNS, run.metadata.name, patch, namespace=run.metadata.namespace, field_manager=FIELD_MANAGER)
        except NotFound:
            return
        except ApiError as error:
            if error.status not in {409, 422}:
                raise  # otherwise it has changed: that is an event, and wakes us again


def _has_artifacts(run: Run) -> bool:
    return ARTIFACT_CLEANUP_FINALIZER in run.metadata.finalizers


def _key_of(run: Run) -> str:
    store = run.status.artifact_store
    return f"{run.metadata.namespace}/{store_hash(store) if store is not None else _UNKNOWN}"


def _key_of_deployment(deployment: JsonObject) -> str:
    metadata = deployment["metadata"]
    return f"{metadata['namespace']}/{metadata['name'].removeprefix(deployment_name(''))}"

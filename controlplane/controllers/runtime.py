"""The Runtime reconciler: brings about what `runtime_objects` wants, in order, and says how far it is.

Deployments and NetworkPolicies go with their Runtime by garbage collection; `access_removal` takes away what Runtimes share.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from controlplane.controllers.applying import FIELD_MANAGER, Applier
from controlplane.controllers.pod_troubles import RuntimePod, trouble_of, worst_trouble
from controlplane.controllers.reconciling import Reconciler
from controlplane.controllers.runtime_access import account_of
from controlplane.controllers.runtime_objects import InvalidRuntime, RuntimeSettings, deployment_name, desired_objects, named_runtime
from controlplane.controllers.runtime_refusals import stall_of
from controlplane.controllers.runtime_status import Stall, desired_status, progress_of
from controlplane.controllers.runtime_watches import OWNED, SHARED, RuntimeWatches
from k8s.api import names
from k8s.api.meta import KubernetesObject
from k8s.api.runtime import Runtime
from k8s.client import DEPLOYMENTS, RUNTIMES, ApiClient, ApiError, Change, JsonObject, NotFound, conditional_status

logger = logging.getLogger(__name__)

STALLED_RETRY_SECONDS = 60.0
"""What the API server refused is tried again now and then: a quota may have been raised, a policy been changed."""


class RuntimeController:
    """Keys are the UIDs of Runtimes."""

    def __init__(
        self,
        client: ApiClient,
        *,
        watches: RuntimeWatches,
        settings: RuntimeSettings,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._watches = watches
        self._settings = settings
        self._now = now
        self._applier = Applier(client, watches=watches)
        self._runtimes = watches.runtimes.cache
        self._reconciler = Reconciler("runtime", self.reconcile, keys=lambda: [runtime.uid for runtime in self._runtimes])
        watches.runtimes.tell(self._runtime_changed)
        watches.accounts.tell(self._account_changed)
        watches.pods.tell(self._pod_changed)
        for resource in OWNED:
            watches.objects[resource.kind].tell(self._owned_changed)
        for resource in SHARED:
            watches.objects[resource.kind].tell(self._shared_changed)

    async def run(self) -> None:
        """Until cancelled."""
        await self._watches.are_complete()
        await self._reconciler.run()

    async def reconcile(self, key: str) -> float | None:
        runtime = self._runtimes.get(key)
        if runtime is None or runtime.metadata.deletion_timestamp is not None:
            return None
        stall = await self._bring_about(runtime)
        await self._write_status(runtime, stall)
        return STALLED_RETRY_SECONDS if stall is not None else None

    # ---- wake-ups

    def _runtime_changed(self, change: Change[Runtime]) -> None:
        if change.new is not None:
            self._reconciler.add(change.new.uid)
        elif change.old is not None:
            metadata = change.old.metadata
            self._applier.forget(namespace=metadata.namespace, name=deployment_name(metadata.name))

    def _owned_changed(self, change: Change[JsonObject]) -> None:
        # By its name: somebody may have taken its owner away.
        metadata = (change.new or change.old or {})["metadata"]
        runtime = self._runtimes.by_name(metadata.get("namespace", ""), named_runtime(metadata["name"]))
        if runtime is not None:
            self._reconciler.add(runtime.uid)

    def _shared_changed(self, change: Change[JsonObject]) -> None:
        namespace = (change.new or change.old or {})["metadata"].get("namespace", "")
        for runtime in self._runtimes:
            if runtime.metadata.namespace == namespace:
                self._reconciler.add(runtime.uid)

    def _account_changed(self, change: Change[KubernetesObject]) -> None:
        changed = change.new or change.old
        for runtime in self._runtimes:
            account = account_of(runtime, default=self._settings.service_account_name)
            if changed is not None and changed.key == f"{runtime.metadata.namespace}/{account}":
                self._reconciler.add(runtime.uid)

    def _pod_changed(self, change: Change[RuntimePod]) -> None:
        # Its heartbeats are changes too; that it got ready is told by its Deployment.
        old, new = (trouble_of(pod) if pod is not None else "" for pod in (change.old, change.new))
        pod = change.new or change.old
        if old != new and pod is not None:
            runtime = self._runtimes.by_name(pod.metadata.namespace, pod.metadata.labels.get(names.RUNTIME_LABEL, ""))
            if runtime is not None:
                self._reconciler.add(runtime.uid)

    # ---- what is done

    async def _bring_about(self, runtime: Runtime) -> Stall | None:
        """Everything in order, and nothing after what is refused: a Pod must not start without its isolation.

        A refusal is the Runtime's to tell; anything else is raised and retried.
        """
        try:
            objects = desired_objects(runtime, self._settings)
        except InvalidRuntime as error:
            return Stall(error.reason, str(error))
        for desired in objects:
            try:
                await self._applier.ensure(desired)
            except ApiError as error:
                stall = stall_of(error, desired=desired)
                if stall is None:
                    raise
                logger.warning("runtime is stalled", extra={"runtime": runtime.key, "uid": runtime.uid, "reason": stall.reason})
                return stall
        return None

    async def _write_status(self, runtime: Runtime, stall: Stall | None) -> None:
        deployments = self._watches.objects[DEPLOYMENTS.kind].cache
        deployment = deployments.by_name(runtime.metadata.namespace, deployment_name(runtime.metadata.name))
        if deployment is not None and not _is_owned_by(runtime, deployment):
            deployment = None
        progress = progress_of(runtime, deployment, stall=stall, trouble=worst_trouble(self._pods_of(runtime)))
        change = desired_status(runtime, progress, now=self._now())
        if change is None:
            return
        patch = conditional_status(change, resource_version=runtime.metadata.resource_version)
        name, namespace = runtime.metadata.name, runtime.metadata.namespace
        try:
            answer = await self._client.patch(RUNTIMES, name, patch, namespace=namespace, subresource="status", field_manager=FIELD_MANAGER)
        except NotFound:
            return  # deleted meanwhile
        except ApiError as error:
            if error.is_answered and error.status == 409:
                return  # the change that we met is an event that wakes us again
            raise
        self._runtimes.take(answer)

    def _pods_of(self, runtime: Runtime) -> Iterator[RuntimePod]:
        namespace, name = runtime.metadata.namespace, runtime.metadata.name
        for pod in self._watches.pods.cache:
            if pod.metadata.namespace == namespace and pod.metadata.labels.get(names.RUNTIME_LABEL) == name:
                yield pod


def _is_owned_by(runtime: Runtime, owned: Mapping[str, Any]) -> bool:
    return any(owner.get("uid") == runtime.uid for owner in owned["metadata"].get("ownerReferences") or [])

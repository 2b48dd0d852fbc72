"""The Runtime reconciler: brings about what `runtime_objects` wants, by server-side apply, and says how far it is.

An object is applied when it is missing, when what we want of it has changed, or when the watch shows that somebody else changed
it; never because the API server filled fields in. Deployments and NetworkPolicies go with their Runtime by garbage collection.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from controlplane.controllers.reconciling import Informer, Reconciler, run_together
from controlplane.controllers.runtime_objects import InvalidRuntime, RuntimeSettings, deployment_name, desired_objects
from controlplane.controllers.runtime_status import Stall, desired_status, progress_of
from k8s.api import names
from k8s.api.runtime import Runtime
from k8s.client import (
    DEPLOYMENTS,
    NETWORK_POLICIES,
    ROLE_BINDINGS,
    ROLES,
    RUNTIMES,
    SERVICE_ACCOUNTS,
    ApiClient,
    ApiError,
    BadRequest,
    Change,
    Forbidden,
    Invalid,
    JsonObject,
    NotFound,
    Resource,
    apply_patch,
    conditional_status,
)

logger = logging.getLogger(__name__)

FIELD_MANAGER = "kruntimes-controller"
STALLED_RETRY_SECONDS = 60.0
"""What the API server refused is tried again now and then: a quota may have been raised, a policy been changed."""
RUNTIMED_SELECTOR = "app.kubernetes.io/name=kruntimes,app.kubernetes.io/component=runtimed"
_KINDS: dict[str, Resource[JsonObject]] = {
    resource.kind: resource for resource in (SERVICE_ACCOUNTS, ROLES, ROLE_BINDINGS, NETWORK_POLICIES, DEPLOYMENTS)
}


@dataclass(frozen=True, slots=True)
class Applied:
    """What we wrote last, and what the API server made of it."""

    digest: str
    uid: str
    generation: int | None


class RuntimeController:
    """Keys are the UIDs of Runtimes."""

    def __init__(self, client: ApiClient, *, settings: RuntimeSettings, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._client = client
        self._settings = settings
        self._now = now
        self._applied: dict[tuple[str, str, str], Applied] = {}
        self._runtimes = Informer(client, RUNTIMES, told=self._runtime_changed)
        self._reconciler = Reconciler("runtime", self.reconcile, keys=lambda: [runtime.uid for runtime in self._runtimes.cache])
        self._live: dict[str, Informer[JsonObject]] = {
            kind: Informer(
                client,
                resource,
                told=self._owned_changed if resource in (DEPLOYMENTS, NETWORK_POLICIES) else self._shared_changed,
                label_selector=names.RUNTIME_LABEL if resource in (DEPLOYMENTS, NETWORK_POLICIES) else RUNTIMED_SELECTOR,
            )
            for kind, resource in _KINDS.items()
        }

    async def run(self) -> None:
        """Until cancelled."""
        await run_together(self._reconciler, [self._runtimes, *self._live.values()])

    async def reconcile(self, key: str) -> float | None:
        runtime = self._runtimes.cache.get(key)
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
            for kind in (DEPLOYMENTS.kind, NETWORK_POLICIES.kind):
                self._applied.pop((kind, change.old.metadata.namespace, deployment_name(change.old.metadata.name)), None)

    def _owned_changed(self, change: Change[JsonObject]) -> None:
        changed = change.new or change.old or {}
        for owner in changed["metadata"].get("ownerReferences") or []:
            if owner.get("kind") == "Runtime" and owner.get("controller"):
                self._reconciler.add(owner["uid"])

    def _shared_changed(self, change: Change[JsonObject]) -> None:
        changed = change.new or change.old or {}
        for runtime in self._runtimes.cache:
            if runtime.metadata.namespace == changed["metadata"].get("namespace"):
                self._reconciler.add(runtime.uid)

    # ---- what is done

    async def _bring_about(self, runtime: Runtime) -> Stall | None:
        """Applies what is to be applied, in order. A refusal is the Runtime's to tell; anything else is raised and retried."""
        try:
            for desired in desired_objects(runtime, self._settings):
                await self._ensure(desired)
        except InvalidRuntime as error:
            return Stall(error.reason, str(error))
        except (Invalid, BadRequest, Forbidden) as error:
            logger.warning("runtime is stalled", extra={"runtime": runtime.key, "uid": runtime.uid, "reason": error.reason})
            return Stall("InvalidTemplate" if isinstance(error, (Invalid, BadRequest)) else error.reason, str(error))
        return None

    async def _ensure(self, desired: JsonObject) -> None:
        resource = _KINDS[desired["kind"]]
        namespace, name = desired["metadata"]["namespace"], desired["metadata"]["name"]
        key = (resource.kind, namespace, name)
        digest = hashlib.sha256(msgspec.json.encode(desired, order="deterministic")).hexdigest()
        live = self._live[resource.kind].cache.by_name(namespace, name)
        if not needs_apply(desired, digest=digest, live=live, applied=self._applied.get(key)):
            return
        try:
            answer = await self._client.patch(
                resource, name, apply_patch(desired), namespace=namespace, field_manager=FIELD_MANAGER, force=True
            )
        except NotFound as error:
            if resource is DEPLOYMENTS:
                raise
            # Only Deployments are indispensable: a server that does not offer the others isolates and authorizes otherwise.
            logger.debug("kind is not offered", extra={"kind": resource.kind, "namespace": namespace, "error": str(error)})
            return
        self._live[resource.kind].cache.take(answer)
        metadata = answer["metadata"]
        self._applied[key] = Applied(digest, metadata.get("uid", ""), metadata.get("generation"))
        logger.info("object is applied", extra={"kind": resource.kind, "namespace": namespace, "object": name})

    async def _write_status(self, runtime: Runtime, stall: Stall | None) -> None:
        deployment = self._live[DEPLOYMENTS.kind].cache.by_name(runtime.metadata.namespace, deployment_name(runtime.metadata.name))
        if deployment is not None and not _is_owned_by(runtime, deployment):
            deployment = None
        change = desired_status(runtime, progress_of(runtime, deployment, stall=stall), now=self._now())
        if change is None:
            return
        patch = conditional_status(change, resource_version=runtime.metadata.resource_version)
        try:
            answer = await self._client.patch(
                RUNTIMES,
                runtime.metadata.name,
                patch,
                namespace=runtime.metadata.namespace,
                subresource="status",
                field_manager=FIELD_MANAGER,
            )
        except NotFound:
            return  # deleted meanwhile
        except ApiError as error:
            if error.is_answered and error.status == 409:
                return  # the change that we met is an event that wakes us again
            raise
        self._runtimes.cache.take(answer)


def needs_apply(desired: Mapping[str, Any], *, digest: str, live: Mapping[str, Any] | None, applied: Applied | None) -> bool:
    """Whether to write. `generation` tells a changed spec from a changed status; kinds without one are compared by content.

    Not by content where there is a generation: the API server rewrites what we send (`1000m` becomes `1`) and we would fight it.
    """
    if live is None or applied is None or applied.digest != digest:
        return True
    metadata = live["metadata"]
    if applied.uid != metadata.get("uid"):
        return True
    if applied.generation is None:
        # Items of a list lack `apiVersion` and `kind`: their absence is no difference.
        return not _contains(live, {key: value for key, value in desired.items() if key not in ("apiVersion", "kind")})
    return (metadata.get("generation") or 0) > applied.generation or not _contains(metadata, desired["metadata"])


def _contains(live: Any, desired: Any) -> bool:
    """Everything desired is there; what else is there is others'."""
    if isinstance(desired, Mapping):
        return isinstance(live, Mapping) and all(key in live and _contains(live[key], value) for key, value in desired.items())
    return bool(live == desired)


def _is_owned_by(runtime: Runtime, owned: Mapping[str, Any]) -> bool:
    return any(owner.get("uid") == runtime.uid for owner in owned["metadata"].get("ownerReferences") or [])

"""Brings single objects into the shape we want: created, or applied on the server's side under our name. It knows no Runtime.

An object is written when it is missing or when it is not as we want it; never because the API server filled fields in, and never
for what others have added to it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from controlplane.controllers import runtime_access
from controlplane.controllers.runtime_watches import ACCOUNTS, OWNED, SHARED, RuntimeWatches
from k8s.client import DEPLOYMENTS, AlreadyExists, ApiClient, JsonObject, Resource, apply_patch

logger = logging.getLogger(__name__)

FIELD_MANAGER = "kruntimes-controller"
_KINDS: dict[str, Resource[JsonObject]] = {resource.kind: resource for resource in (*OWNED, *SHARED)}
_TYPE_FIELDS = ("apiVersion", "kind")


@dataclass(frozen=True, slots=True)
class Applied:
    """What we wrote last, and what the API server made of it."""

    digest: str
    uid: str
    generation: int


class Applier:
    """`ensure` one object after another; raises ApiError. What was written is in the watches' caches when it returns."""

    def __init__(self, client: ApiClient, *, watches: RuntimeWatches) -> None:
        self._client = client
        self._watches = watches
        self._applied: dict[tuple[str, str], Applied] = {}
        """Of Deployments, by namespace and name."""

    async def ensure(self, desired: JsonObject) -> None:
        if desired["kind"] == ACCOUNTS.kind:
            await self._ensure_account(desired)
        elif desired["kind"] == DEPLOYMENTS.kind:
            await self._ensure_deployment(desired)
        else:
            live = self._live(desired)
            if live is None or not contains(live, without_type(desired)):
                await self._apply(desired)

    def forget(self, *, namespace: str, name: str) -> None:
        """The Deployment is not ours to look after any more."""
        self._applied.pop((namespace, name), None)

    async def _ensure_account(self, desired: JsonObject) -> None:
        """One that is there is somebody else's unless it says that it is ours."""
        namespace, name = desired["metadata"]["namespace"], desired["metadata"]["name"]
        live = self._watches.accounts.cache.by_name(namespace, name)
        if live is None:
            try:
                # Not by apply: only a POST proves that it was not there before, and so is ours to delete one day.
                answer = await self._client.create(ACCOUNTS, desired, namespace=namespace, field_manager=FIELD_MANAGER)
            except AlreadyExists:
                return
            self._watches.accounts.cache.take(answer)
            logger.info("object is created", extra={"kind": ACCOUNTS.kind, "namespace": namespace, "object": name})
        elif runtime_access.is_ours(live) and not runtime_access.is_in_shape(live):
            patch = apply_patch(desired)
            answer = await self._client.patch(ACCOUNTS, name, patch, namespace=namespace, field_manager=FIELD_MANAGER, force=True)
            self._watches.accounts.cache.take(answer)

    async def _ensure_deployment(self, desired: JsonObject) -> None:
        key = desired["metadata"]["namespace"], desired["metadata"]["name"]
        digest = hashlib.sha256(msgspec.json.encode(desired, order="deterministic")).hexdigest()
        if not deployment_needs_apply(desired, digest=digest, live=self._live(desired), applied=self._applied.get(key)):
            return
        metadata = (await self._apply(desired))["metadata"]
        self._applied[key] = Applied(digest, metadata["uid"], metadata.get("generation") or 0)

    async def _apply(self, desired: JsonObject) -> JsonObject:
        kind, namespace, name = desired["kind"], desired["metadata"]["namespace"], desired["metadata"]["name"]
        patch = apply_patch(desired)
        answer = await self._client.patch(_KINDS[kind], name, patch, namespace=namespace, field_manager=FIELD_MANAGER, force=True)
        self._watches.objects[kind].cache.take(answer)
        logger.info("object is applied", extra={"kind": kind, "namespace": namespace, "object": name})
        return answer

    def _live(self, desired: JsonObject) -> JsonObject | None:
        return self._watches.objects[desired["kind"]].cache.by_name(desired["metadata"]["namespace"], desired["metadata"]["name"])


def deployment_needs_apply(desired: JsonObject, *, digest: str, live: JsonObject | None, applied: Applied | None) -> bool:
    """`generation` tells a changed spec from a changed status.

    Not by content: the API server rewrites what we send (`1000m` becomes `1`), and we would fight it.
    """
    if live is None or applied is None or applied.digest != digest or applied.uid != live["metadata"].get("uid"):
        return True
    return (live["metadata"].get("generation") or 0) > applied.generation or not contains(live["metadata"], desired["metadata"])


def contains(live: Any, desired: Any) -> bool:
    """Everything desired is there; what else is there is others'. An empty list is as good as none."""
    if not isinstance(desired, Mapping):
        return bool(live == desired) or (desired == [] and live is None)
    if not isinstance(live, Mapping):
        return live is None and not desired
    return all(_has(live.get(key), value, key=key) for key, value in desired.items())


def without_type(desired: JsonObject) -> JsonObject:
    """Items of a list lack `apiVersion` and `kind`: their absence is no difference."""
    return {key: value for key, value in desired.items() if key not in _TYPE_FIELDS}


def _has(live: Any, desired: Any, *, key: str) -> bool:
    if key == "ownerReferences":  # others may own it too
        return all(owner in (live or []) for owner in desired)
    return contains(live, desired)

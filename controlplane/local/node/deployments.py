"""The Deployment controller of the node: performs what `rollout` decides, one Deployment at a time."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from controlplane.local.node.host import NODE_PODS
from controlplane.local.node.rollout import is_going, plan_rollout
from k8s.client import DEPLOYMENTS, ApiClient, ApiError, Cache, NotFound, merge_patch

Json = dict[str, Any]
RETRY_SECONDS = 1.0
"""After a refused or unanswered write. The next try decides anew on what is known then."""
_NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_log = logging.getLogger(__name__)


class DeploymentController:
    """Told of changes by `touch`; `run` works them off. `on_created` puts a new Pod into the cache before the next decision."""

    def __init__(
        self, client: ApiClient, *, deployments: Cache[Json], pods: Cache[Json], node_name: str, on_created: Callable[[Json], None]
    ) -> None:
        self._client = client
        self._deployments = deployments
        self._pods = pods
        self._node_name = node_name
        self._on_created = on_created
        self._dirty: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._random = random.Random()  # noqa: S311 - names, not secrets
        self.is_paused = True
        """Before the first lists are complete, and while the node stops."""

    def touch(self, uid: str) -> None:
        """The Deployment with this UID, or one of its Pods, has changed."""
        if uid:  # Pods without a Deployment are nobody's business here
            self._dirty[uid] = None
            self._wake.set()

    def resume(self) -> None:
        self.is_paused = False
        self._wake.set()

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._dirty and not self.is_paused:
                uid = next(iter(self._dirty))
                del self._dirty[uid]
                await self._reconcile_safely(uid)

    async def _reconcile_safely(self, uid: str) -> None:
        try:
            await self._reconcile(uid)
        except ApiError as error:
            _log.warning("Deployment cannot be brought about yet", extra={"uid": uid, "reason": error.reason, "error": str(error)})
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self.touch, uid)

    async def _reconcile(self, uid: str) -> None:
        pods = [pod for pod in self._pods if owner_uid(pod) == uid]
        deployment = self._deployments.get(uid)
        if deployment is None or "deletionTimestamp" in deployment["metadata"]:
            await self._delete(pod for pod in pods if "deletionTimestamp" not in pod["metadata"])
            return
        rollout = plan_rollout(deployment, pods=pods, node_name=self._node_name, random_suffix=self._random_suffix, now=datetime.now(UTC))
        for body in rollout.create:
            self._on_created(await self._client.create(NODE_PODS, body, namespace=body["metadata"]["namespace"]))
        finished = (pod for pod in pods if is_going(pod) and "deletionTimestamp" not in pod["metadata"])
        await self._delete([*rollout.delete, *finished])
        await self._write_status(deployment, rollout.status)
        if rollout.create:
            self.touch(uid)

    async def _delete(self, pods: Iterable[Json]) -> None:
        for pod in pods:
            metadata = pod["metadata"]
            try:
                await self._client.delete(NODE_PODS, metadata["name"], namespace=metadata["namespace"], uid=metadata["uid"])
            except NotFound:
                continue

    async def _write_status(self, deployment: Json, status: Json) -> None:
        if deployment.get("status") == status:
            return
        metadata = deployment["metadata"]
        patch = merge_patch({"metadata": {"uid": metadata["uid"]}, "status": status})
        try:
            answer = await self._client.patch(DEPLOYMENTS, metadata["name"], patch, namespace=metadata["namespace"], subresource="status")
        except NotFound:
            return
        self._deployments.take(answer)
        if answer["metadata"].get("generation") != metadata.get("generation"):
            # Somebody changed the spec before our write: the cache has it now, so its watch event will be old news.
            self.touch(metadata["uid"])

    def _random_suffix(self) -> str:
        return "".join(self._random.choices(_NAME_ALPHABET, k=5))


def owner_uid(pod: Json) -> str:
    """UID of the Deployment that controls the Pod, or empty."""
    for owner in pod["metadata"].get("ownerReferences") or []:
        if owner.get("controller") and owner.get("kind") == "Deployment":
            return str(owner["uid"])
    return ""

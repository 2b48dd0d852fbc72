"""The node: sees Pods come and go, runs them, and stands in the API as a Node object.

A start is like a machine's boot: what an earlier node process started is ended first, and its Pod objects are deleted, not
believed. Deployments then get new Pods, with new UIDs, so nothing is taken for what it was before.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from controlplane.local.node.deployments import DeploymentController, owner_uid
from controlplane.local.node.host import NODE_PODS, Host
from controlplane.local.node.logfile import LogFile
from controlplane.local.node.logserver import LogServer, NoLogsError
from controlplane.local.node.nodeobject import register_node, report_stopping
from controlplane.local.node.pod import LocalPod
from controlplane.local.node.rollout import FINISHED_PHASES
from k8s.client import DEPLOYMENTS, ApiError, Cache, Change, Listed, NotFound, list_and_watch
from k8s.manager import Tasks

Json = dict[str, Any]
SHUTDOWN_GRACE_SECONDS = 10
"""For Pods when the node stops, if their own grace period is longer: whoever types `krt local down` waits for it."""
_log = logging.getLogger(__name__)


class LocalNode:
    """`run` until told to stop; everything it started is gone when it returns."""

    def __init__(self, host: Host, *, tasks: Tasks, socket_path: Path) -> None:
        self._host = host
        self._tasks = tasks
        self._deployments: Cache[Json] = Cache()
        self._pod_cache: Cache[Json] = Cache()
        self._controller = DeploymentController(
            host.client,
            deployments=self._deployments,
            pods=self._pod_cache,
            node_name=host.node_name,
            on_created=self._on_created,
        )
        self._pods: dict[str, LocalPod] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._grace: dict[str, float] = {}
        self._logs = LogServer(self, socket_path=socket_path, now=host.now)
        self._is_booted = False
        self._booted = asyncio.Event()

    async def run(self, stopping: asyncio.Event, *, on_ready: asyncio.Event) -> None:
        await self._clean_up()
        await self._logs.start()
        try:
            self._start(self._controller.run(), name="deployments")
            self._start(self._watch_deployments(), name="watch deployments")
            self._start(self._watch_pods(), name="watch pods")
            await self._until_booted(stopping)
            if not stopping.is_set():
                await register_node(self._host.client, name=self._host.node_name, now=self._host.now())
                self._controller.resume()
                on_ready.set()
            await stopping.wait()
            await self._shut_down()
        finally:
            await self._logs.stop()

    def find_log(self, *, namespace: str, pod: str, container: str, previous: bool) -> LogFile:
        """For the log server. Raises NoLogsError."""
        for local in self._pods.values():
            if (local.namespace, local.name) == (namespace, pod):
                return local.find_log(container, previous=previous)
        raise NoLogsError(f'pod "{pod}" in namespace "{namespace}" has not been started on this node', status=404)

    def find_port(self, *, namespace: str, pod: str, port: int) -> int | None:
        """For the log server."""
        for local in self._pods.values():
            if (local.namespace, local.name) == (namespace, pod):
                return local.find_port(port)
        return None

    async def _clean_up(self) -> None:
        killed = self._host.records.kill_leftovers()
        if killed:
            _log.warning("ended processes that an earlier node left behind", extra={"processes": killed})
        root = self._host.root
        for leftover in filter(None, (root / "pods", root / "trash", self._host.memory_root)):
            await asyncio.to_thread(shutil.rmtree, leftover, ignore_errors=True)

    async def _until_booted(self, stopping: asyncio.Event) -> None:
        waits = {asyncio.ensure_future(event.wait()) for event in (self._booted, stopping)}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _watch_deployments(self) -> None:
        async for event in list_and_watch(self._host.client, DEPLOYMENTS):
            for change in self._deployments.feed(event):
                deployment = change.new or change.old
                assert deployment is not None
                self._controller.touch(deployment["metadata"]["uid"])
            self._check_booted()

    async def _watch_pods(self) -> None:
        async for event in list_and_watch(self._host.client, NODE_PODS):
            changes = self._pod_cache.feed(event)
            if isinstance(event, Listed) and not self._is_booted:
                await self._forget_earlier_pods(event.items)
                self._is_booted = True
                changes = [Change(old=None, new=pod) for pod in self._pod_cache]
            for change in changes:
                self._on_pod(change)
            self._check_booted()

    def _check_booted(self) -> None:
        if self._is_booted and self._deployments.is_synced and not self._booted.is_set():
            for pod in self._pod_cache:
                self._controller.touch(owner_uid(pod))
            self._booted.set()

    async def _forget_earlier_pods(self, pods: list[Json]) -> None:
        for pod in pods:
            status = pod.get("status") or {}
            is_kept = status.get("phase") in FINISHED_PHASES and not owner_uid(pod)
            if self._is_mine(pod) and status.get("startTime") and not is_kept:
                await self._forget(pod)

    async def _forget(self, pod: Json) -> None:
        """Nothing of it runs: delete the object, however long the API server takes to answer."""
        metadata = pod["metadata"]
        while True:
            try:
                await self._host.client.delete(
                    NODE_PODS, metadata["name"], namespace=metadata["namespace"], uid=metadata["uid"], grace_period_seconds=0
                )
            except NotFound:
                pass
            except ApiError as error:
                _log.warning("Pod of an earlier boot cannot be deleted", extra={"pod": metadata["name"], "error": str(error)})
                if error.retryable:
                    await asyncio.sleep(1.0)
                    continue
            self._pod_cache.drop(metadata["uid"])
            return

    def _on_created(self, pod: Json) -> None:
        """The answer of our own create: whichever of it and the watch event comes first starts the Pod, the other is old news."""
        if change := self._pod_cache.take(pod):
            self._on_pod(change)

    def _on_pod(self, change: Change[Json]) -> None:
        pod = change.new or change.old
        assert pod is not None
        uid = pod["metadata"]["uid"]
        if owner := owner_uid(pod):
            self._controller.touch(owner)
        if change.new is None:
            self._grace.pop(uid, None)
            if local := self._pods.get(uid):
                local.vanish()
        elif "deletionTimestamp" in pod["metadata"]:
            self._on_deletion(pod)
        elif uid not in self._pods and self._is_mine(pod) and (pod.get("status") or {}).get("phase") not in FINISHED_PHASES:
            self._run_pod(pod)

    def _on_deletion(self, pod: Json) -> None:
        uid = pod["metadata"]["uid"]
        grace_seconds = pod["metadata"].get("deletionGracePeriodSeconds")
        grace_seconds = SHUTDOWN_GRACE_SECONDS if grace_seconds is None else grace_seconds
        if uid in self._grace and self._grace[uid] <= grace_seconds:
            return  # known already: heartbeats of a Pod that is going are changes too
        self._grace[uid] = grace_seconds
        if local := self._pods.get(uid):
            local.stop(grace_seconds=grace_seconds)
        elif self._is_mine(pod):
            self._start(self._forget(pod), name=f"forget {pod['metadata']['name']}")

    def _is_mine(self, pod: Json) -> bool:
        return pod["spec"].get("nodeName") in (None, "", self._host.node_name)

    def _run_pod(self, pod: Json) -> None:
        if self._controller.is_paused and self._booted.is_set():
            return  # the node is stopping
        uid = pod["metadata"]["uid"]
        local = LocalPod(pod, host=self._host)
        self._pods[uid] = local
        self._running[uid] = self._start(self._live(local), name=f"pod {local.name}")

    async def _live(self, local: LocalPod) -> None:
        await local.run()
        del self._pods[local.uid]
        del self._running[local.uid]

    async def _shut_down(self) -> None:
        """Pods first, while the rest of the system still runs: runtimed can then hand back what it holds."""
        self._controller.is_paused = True
        await report_stopping(self._host.client, name=self._host.node_name, now=self._host.now())
        await asyncio.gather(*(self._evict(local) for local in list(self._pods.values())))
        running = set(self._running.values())
        if running:
            await asyncio.wait(running, timeout=SHUTDOWN_GRACE_SECONDS + 5)
        self._host.records.kill_leftovers()

    async def _evict(self, local: LocalPod) -> None:
        # The object is told STRICTLY BEFORE the processes: on SIGTERM runtimed asks whether its Pod is being deleted.
        try:
            await self._host.client.delete(
                NODE_PODS, local.name, namespace=local.namespace, uid=local.uid, grace_period_seconds=SHUTDOWN_GRACE_SECONDS
            )
        except ApiError as error:
            _log.warning("Pod cannot be deleted before it is stopped", extra={"pod": local.name, "error": str(error)})
        local.stop(grace_seconds=SHUTDOWN_GRACE_SECONDS)

    def _start(self, coroutine: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        return self._tasks.start(coroutine, name=name)

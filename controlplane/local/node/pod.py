"""One Pod on this node, from first sight until its object is deleted and nothing of it is left on the machine."""

from __future__ import annotations

import asyncio
import logging
import shutil
from contextlib import suppress
from dataclasses import replace
from typing import Any

from controlplane.local.node.container import DEFAULT_GRACE_SECONDS, Container
from controlplane.local.node.host import NODE_PODS, Host
from controlplane.local.node.logfile import LogFile
from controlplane.local.node.logserver import NoLogsError
from controlplane.local.node.plan import PodFolders, PodPorts
from controlplane.local.node.podstatus import pod_status
from controlplane.local.ports import is_free
from k8s.api import names
from k8s.client import ApiError, Conflict, Invalid, NotFound, strategic_patch

Json = dict[str, Any]
WRITE_RETRY_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0)
"""Between attempts to tell the API server; the last one repeats. Containers run on meanwhile."""
VANISHED_GRACE_SECONDS = 2.0
"""For the processes of a Pod whose object is gone already (deleted by force): enough to stop what they started."""
_log = logging.getLogger(__name__)


class LocalPod:
    """`run` is its life; `stop` and `vanish` are how the node tells it what became of its object."""

    def __init__(self, pod: Json, *, host: Host) -> None:
        metadata = pod["metadata"]
        self.namespace: str = metadata["namespace"]
        self.name: str = metadata["name"]
        self.uid: str = metadata["uid"]
        self.ports = PodPorts(runtime=host.ports.take(), status=host.ports.take(), health=host.ports.take())
        self._pod = {**pod, "apiVersion": "v1", "kind": "Pod"}  # items of a list lack both
        self._host = host
        self._start_time = host.now()
        self._changed = asyncio.Event()
        self._going = asyncio.Event()
        self._is_object_gone = False
        policy = pod["spec"].get("restartPolicy", "Always")
        self._containers = [self._container(manifest, restart_policy=policy) for manifest in pod["spec"]["containers"]]
        init_policy = "Never" if policy == "Never" else "OnFailure"
        self._inits = [self._container(manifest, restart_policy=init_policy) for manifest in pod["spec"].get("initContainers") or []]

    async def run(self) -> None:
        folders = self._host.folders(self.uid, namespace=self.namespace)
        writer = asyncio.create_task(self._write_status(), name=f"status of {self.name}")
        try:
            if await self._make(folders) and await self._has_initialized():
                async with asyncio.TaskGroup() as group:
                    for container in self._containers:
                        group.create_task(container.run(), name=f"container {self.name}/{container.state.name}")
            self._changed.set()
            await self._going.wait()
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
        trash = self._host.throw_away(folders)
        await self._delete_object()
        for port in (self.ports.runtime, self.ports.status, self.ports.health):
            self._host.ports.release(port)
        # Workspaces may hold many files: never in the event loop, and nobody waits for it.
        for leftover in filter(None, (trash, folders.memory)):
            await asyncio.to_thread(shutil.rmtree, leftover, ignore_errors=True)
        if folders.memory is not None:
            with suppress(OSError):  # others are in it, or it never was
                folders.memory.parent.rmdir()

    def stop(self, *, grace_seconds: float | None) -> None:
        """Its object was told to go. None is the Pod's own grace period."""
        if grace_seconds is None:
            own = self._pod["spec"].get("terminationGracePeriodSeconds")
            grace_seconds = DEFAULT_GRACE_SECONDS if own is None else own
        self._going.set()
        for container in (*self._inits, *self._containers):
            container.stop(grace_seconds=grace_seconds)

    def vanish(self) -> None:
        """Its object is gone."""
        self._is_object_gone = True
        self.stop(grace_seconds=VANISHED_GRACE_SECONDS)

    def renew_ports_of(self, container: str) -> None:
        """Called before a container starts: a port that somebody else took meanwhile is exchanged."""
        if container == names.RUNTIMED_CONTAINER:
            self.ports = replace(self.ports, status=self._usable(self.ports.status), health=self._usable(self.ports.health))
        elif container == names.RUNTIME_CONTAINER and (port := self._usable(self.ports.runtime)) != self.ports.runtime:
            self.ports = replace(self.ports, runtime=port)
            for other in self._containers:
                if other.state.name != container:
                    other.restart(grace_seconds=VANISHED_GRACE_SECONDS)  # it was told the old port

    def find_port(self, port: int) -> int | None:
        """Where on this machine the servers of this Pod listen that would listen on `port` in a cluster."""
        runtime: Json = next((c for c in self._pod["spec"]["containers"] if c["name"] == names.RUNTIME_CONTAINER), {})
        declared = {entry.get("containerPort") for entry in runtime.get("ports") or []}
        known = {names.RUNTIMED_STATUS_PORT: self.ports.status, names.RUNTIMED_HEALTH_PORT: self.ports.health}
        return known.get(port) or (self.ports.runtime if port in declared else None)

    def find_log(self, container: str, *, previous: bool) -> LogFile:
        """Raises NoLogsError, worded as a kubelet does."""
        found = next((one for one in (*self._inits, *self._containers) if one.state.name == container), None)
        if found is None:
            raise NoLogsError(f"container {container} is not valid for pod {self.name}", status=404)
        log = found.previous_log if previous else found.log
        if log is None and previous:
            raise NoLogsError(f'previous terminated container "{container}" in pod "{self.name}" not found', status=404)
        if log is None:
            why = found.state.waiting_reason
            raise NoLogsError(f'container "{container}" in pod "{self.name}" is waiting to start: {why}', status=400)
        return log

    def _container(self, manifest: Json, *, restart_policy: str) -> Container:
        return Container(self._pod, manifest, host=self._host, keeper=self, on_change=self._changed.set, restart_policy=restart_policy)

    async def _make(self, folders: PodFolders) -> bool:
        """The Pod's folders, tried again while the disk is full. False when it was told to go meanwhile."""
        while not self._going.is_set():
            try:
                for folder in (folders.workspace, folders.state, *(folders.of(volume) for volume in self._volumes())):
                    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                return True
            except OSError as error:
                _log.warning("folders of the Pod cannot be made", extra={"pod": self.name, "error": str(error)})
                message = f"its folders cannot be made: {error}"
                self._host.events.record(self._pod, type="Warning", reason="CreatePodFolders", message=message)
            with suppress(TimeoutError):
                async with asyncio.timeout(WRITE_RETRY_SECONDS[-1]):
                    await self._going.wait()
        return False

    async def _has_initialized(self) -> bool:
        """Init containers, one after the other; each must succeed."""
        for init in self._inits:
            await init.run()
            if not init.state.has_succeeded:
                return False
        return True

    def _usable(self, port: int) -> int:
        if is_free(port):
            return port
        _log.warning("port was taken by another program", extra={"pod": self.name, "port": port})
        fresh = self._host.ports.take()
        self._host.ports.release(port)
        return fresh

    def _volumes(self) -> list[Json]:
        """Those whose names, which nobody has validated, are names of folders."""
        volumes = self._pod["spec"].get("volumes") or []
        claims = [(volume.get("persistentVolumeClaim") or {}).get("claimName", "-") for volume in volumes]
        return [volume for volume, claim in zip(volumes, claims, strict=True) if _is_plain(volume["name"]) and _is_plain(claim)]

    async def _write_status(self) -> None:
        """Level-based: whatever happened meanwhile, the next write says how it is now. One write at a time."""
        sent: Json = {}
        failures = 0
        while True:
            await self._changed.wait()
            self._changed.clear()
            status = pod_status(
                [container.state for container in self._containers],
                init_states=[init.state for init in self._inits],
                old=sent,
                start_time=self._start_time,
                now=self._host.now(),
            )
            if status == sent:
                continue
            if await self._send(status):
                sent, failures = status, 0
            else:
                await asyncio.sleep(WRITE_RETRY_SECONDS[min(failures, len(WRITE_RETRY_SECONDS) - 1)])
                failures += 1
                self._changed.set()

    async def _send(self, status: Json) -> bool:
        # The UID makes a Pod of the same name that came after this one refuse it.
        patch = strategic_patch({"metadata": {"uid": self.uid}, "status": status})
        try:
            await self._host.client.patch(NODE_PODS, self.name, patch, namespace=self.namespace, subresource="status")
        except (NotFound, Conflict):
            self.vanish()
        except ApiError as error:
            _log.warning("status of the Pod cannot be written", extra={"pod": self.name, "error": str(error)})
            return isinstance(error, Invalid)  # the same again would be refused again
        return True

    async def _delete_object(self) -> None:
        """The last step of a deletion, as a kubelet does it: everything has ended."""
        failures = 0
        while not self._is_object_gone:
            try:
                await self._host.client.delete(NODE_PODS, self.name, namespace=self.namespace, uid=self.uid, grace_period_seconds=0)
                return
            except (NotFound, Conflict):
                return
            except ApiError as error:
                _log.warning("Pod cannot be deleted", extra={"pod": self.name, "error": str(error)})
            await asyncio.sleep(WRITE_RETRY_SECONDS[min(failures, len(WRITE_RETRY_SECONDS) - 1)])
            failures += 1


def _is_plain(name: str) -> bool:
    return "/" not in name and name not in {"", ".", ".."}

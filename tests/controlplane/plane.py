"""A control plane of real processes beside an API server, and Pods that a test plays: for tests of scheduler and controllers.

Tests wait for what the API server shows, by a watch and with a deadline; they never sleep.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import msgspec

from k8s.api import names
from k8s.api.run import Run
from k8s.api.timestamps import format_timestamp, from_unix_micros
from k8s.client import (
    NAMESPACES,
    PODS,
    RUNS,
    RUNTIMES,
    ApiClient,
    Changed,
    Deleted,
    Listed,
    Resource,
    list_and_watch,
    merge_patch,
    strategic_patch,
)
from tests.cluster.processes import Child
from tests.cluster.server import ApiServer

REPO = Path(__file__).parents[2]
DEADLINE_SECONDS = 15.0
T = TypeVar("T")
_numbers = count(1)


class Component:
    """One of our processes, with its log at hand when a test fails."""

    def __init__(self, module: str, *arguments: str, server: ApiServer, user: str, environ: dict[str, str] | None = None) -> None:
        listen = ["--metrics-bind-address=127.0.0.1:0", "--health-probe-bind-address=127.0.0.1:0"]
        self._tail: str | None = None
        command = [sys.executable, "-m", module, f"--kubeconfig={server.kubeconfig_of(user)}", *listen, *arguments]
        self._folder = tempfile.TemporaryDirectory(prefix="kruntimes-plane-")
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPO), str(REPO / "proto")]), **(environ or {})}
        self._child = Child(command, log=Path(self._folder.name) / "log", env=env)

    def stop(self, *, kill: bool = False) -> str:
        """Ends it by pid; returns the end of its log. Safe to repeat."""
        if self._tail is None:
            self._child.stop(kill=kill)
            self._tail = self._child.log_tail()
            self._folder.cleanup()
        return self._tail


@contextmanager
def scheduler(server: ApiServer, *arguments: str, environ: dict[str, str] | None = None) -> Iterator[Component]:
    component = Component("controlplane.scheduler", *arguments, server=server, user="kruntimes-scheduler", environ=environ)
    try:
        yield component
    finally:
        print(component.stop())


@contextmanager
def controllers(server: ApiServer, *arguments: str) -> Iterator[Component]:
    component = Component("controlplane.controllers", *arguments, server=server, user="kruntimes-controller")
    try:
        yield component
    finally:
        print(component.stop())


class World:
    """A namespace of its own, and the hands of everybody who is not there: user, kubelet, runtimed."""

    def __init__(self, client: ApiClient) -> None:
        self.client = client
        self.namespace = f"plane-{os.getpid()}-{next(_numbers)}"
        self._beats = count(1_700_000_000)

    async def begin(self) -> None:
        await self.client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}})

    async def create_runtime(self, name: str, **spec: Any) -> None:
        template = {"spec": {"containers": [{"name": "runtime", "image": "bash-runtime"}]}}
        body = {
            "apiVersion": names.API_VERSION,
            "kind": "Runtime",
            "metadata": {"name": name},
            "spec": {"template": template, **spec},
        }
        await self.client.create(RUNTIMES, body, namespace=self.namespace)

    async def create_run(self, name: str, *, runtime: str = "bash", labels: dict[str, str] | None = None, **spec: Any) -> Run:
        body = {
            "apiVersion": names.API_VERSION,
            "kind": "Run",
            "metadata": {"name": name, "labels": labels or {}},
            "spec": {"runtime": runtime, "mode": {"task": {"args": ["true"]}}, **spec},
        }
        return await self.client.create(RUNS, body, namespace=self.namespace)

    async def create_pod(self, name: str, *, runtime: str = "bash", runs: int = 1) -> None:
        """Running, ready, and with a first heartbeat."""
        metadata = {
            "name": name,
            "labels": {names.RUNTIME_LABEL: runtime},
            "annotations": {f"{names.CAPACITY_ANNOTATION_PREFIX}runs": str(runs)},
        }
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [{"name": "runtime", "image": "x"}]}}
        await self.client.create(PODS, body, namespace=self.namespace)
        await self.beat(name)

    async def beat(self, name: str, *, ready: str = "True") -> None:
        conditions = [
            {"type": "Ready", "status": ready},
            {"type": names.RUNTIMED_READY_CONDITION, "status": "True", "reason": "Heartbeat", "lastProbeTime": self._next_probe()},
        ]
        patch = strategic_patch({"status": {"phase": "Running", "conditions": conditions}})
        await self.client.patch(PODS, name, patch, namespace=self.namespace, subresource="status")

    async def drain(self, name: str) -> None:
        """As runtimed says it last of a Pod that goes."""
        conditions = [{"type": names.DRAINED_CONDITION, "status": "True", "reason": "NothingHeld"}]
        patch = strategic_patch({"status": {"conditions": conditions}})
        await self.client.patch(PODS, name, patch, namespace=self.namespace, subresource="status")

    def _next_probe(self) -> str:
        # Whole seconds: that is what metav1.Time keeps.
        return format_timestamp(from_unix_micros(next(self._beats) * 1_000_000)).replace(".000000", "")

    async def set_status(self, name: str, **status: Any) -> None:
        await self.client.patch(RUNS, name, merge_patch({"status": status}), namespace=self.namespace, subresource="status")

    async def delete_pod(self, name: str) -> None:
        await self.client.delete(PODS, name, namespace=self.namespace, grace_period_seconds=0)

    async def run_that(self, name: str, is_so: Callable[[Run], bool]) -> Run:
        """The Run as soon as it is so."""
        return await self.object_that(RUNS, name, is_so)

    async def object_that(self, resource: Resource[T], name: str, is_so: Callable[[T], bool]) -> T:
        last: list[T] = []
        watch = list_and_watch(self.client, resource, namespace=self.namespace, field_selector=f"metadata.name={name}")
        try:
            async with asyncio.timeout(DEADLINE_SECONDS), aclosing(watch) as notices:
                async for notice in notices:
                    seen = notice.items if isinstance(notice, Listed) else [notice.object] if isinstance(notice, Changed) else []
                    last = seen or last
                    for each in seen:
                        if is_so(each):
                            return each
        except TimeoutError:
            raise AssertionError(f"{resource.plural}/{name} never became so; last seen: {last}") from None
        raise AssertionError("a watch ended")

    async def is_gone(self, resource: Resource[Any], name: str, *, seconds: float = DEADLINE_SECONDS) -> None:
        """Returns when there is no such object."""
        watch = list_and_watch(self.client, resource, namespace=self.namespace, field_selector=f"metadata.name={name}")
        async with asyncio.timeout(seconds), aclosing(watch) as notices:
            async for notice in notices:
                if isinstance(notice, Deleted) or (isinstance(notice, Listed) and not notice.items):
                    return


class HeldBack:
    """The next status write of one component stays on its way until `release`: somebody else may be quicker.

    Uses failpoints, so on the embedded API server only.
    """

    def __init__(self, client: ApiClient, *, user_agent: str) -> None:
        self._client = client
        self._user_agent = user_agent
        self._write = ""
        self._read = ""

    async def __aenter__(self) -> HeldBack:
        of_runs = {"resources": ["runs.kruntimes.io"], "user_agent": self._user_agent}
        action = {"kind": "delay", "when": "before", "until_released": True}
        self._write = await self._arm({**of_runs, "verbs": ["patch"], "subresources": ["status"]}, action, count=1)
        self._read = await self._arm({**of_runs, "verbs": ["get"]}, {"kind": "delay", "when": "before", "seconds": 0.0})
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._client.request("DELETE", "/failpoints")

    async def arrived(self) -> None:
        await self._wait_for_hit(self._write)

    async def release(self) -> None:
        await self._client.request("DELETE", f"/failpoints/{self._write}")

    async def read_again(self) -> None:
        """The sender met a newer object and looks at it. Raises ApiError when it does not within some seconds."""
        await self._wait_for_hit(self._read)

    async def _arm(self, match: dict[str, Any], action: dict[str, Any], **more: Any) -> str:
        order = msgspec.json.encode({"match": match, "action": action, **more})
        return str(msgspec.json.decode(await self._client.request("POST", "/failpoints", body=order))["id"])

    async def _wait_for_hit(self, failpoint: str) -> None:
        await self._client.request("GET", f"/failpoints/{failpoint}", query={"hits": "1"}, timeout_seconds=8.0)

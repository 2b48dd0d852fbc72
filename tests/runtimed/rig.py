"""One Runtime Pod for real: embedded API server, a Runtime Server and runtimed as processes. The test plays scheduler.

Use `async with rig.client()` for the API; every process is a child that ends with the test.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import uuid
from collections.abc import Callable
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import psutil

from k8s.api import transitions
from k8s.api.pod import Pod
from k8s.api.run import Run
from k8s.client import PODS, RUNS, ApiClient, Credentials, Resource, conditional_status, list_and_watch, load_credentials, merge_patch
from k8s.client.notices import Changed, Listed
from tests.cluster.processes import Child, free_ports
from tests.cluster.server import ApiServer

REPO = Path(__file__).parents[2]
T = TypeVar("T")
NAMESPACE = "default"
PATIENCE_SECONDS = 20.0

_SERVERS = {
    "bash": ["-c", "from servers.bash import main; main()"],
    # Without the stream: one that replaces a known id, one that refuses it, one that misbehaves when told to.
    "unary-bash": ["-m", "tests.servers.unary_only", "bash"],
    "sh": [str(REPO / "examples" / "custom-server" / "server.py")],
    "moody": ["-m", "tests.servers.moody"],
}
"""What is started, by Runtime."""


class Rig:
    """A Pod of one Runtime, with everything in it."""

    def __init__(self, api: ApiServer, *, server: str = "bash", workers: int = 4) -> None:
        self.api, self.server_name, self.workers = api, server, workers
        self.folder = Path(tempfile.mkdtemp(prefix="kruntimes-rig-"))
        self.pod_name = f"runtime-{server}-{uuid.uuid4().hex[:8]}"
        self.pod_uid = ""
        self.workspace = self.folder / "workspace"
        self.state_dir = self.folder / "state"
        self.workspace.mkdir()
        self.port = 0
        self.status_port, self.metrics_port, self.health_port = free_ports(3)
        self.server: Child | None = None
        self.runtimed: Child | None = None
        self._generation = 0
        self.runtimed_flags: tuple[str, ...] = ()
        self.runtimed_program: tuple[str, ...] = ("-m", "runtimed")
        self.environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(REPO), str(REPO / "proto")])}

    # -- processes ----------------------------------------------------------------------------------------------------

    def start_server(self) -> None:
        """On the same port each time: a Pod's server restarts in place."""
        command = [sys.executable, *_SERVERS[self.server_name], f"--port={self.port}", f"--work-dir={self.workspace}"]
        self.server = Child([*command, "--host=127.0.0.1"], log=self.folder / "server.log", env=self.environment, capture_stdout=True)
        line = self.server.first_line()
        assert line, self.server.log_tail()
        self.port = json.loads(line)["port"]

    def start_runtimed(self) -> None:
        self._generation += 1
        command = [
            sys.executable,
            *self.runtimed_program,
            f"--runtime-endpoint=127.0.0.1:{self.port}",
            f"--runtime-name={self.server_name}",
            f"--workers={self.workers}",
            f"--status-addr=:{self.status_port}",
            f"--metrics-bind-address=127.0.0.1:{self.metrics_port}",
            f"--health-probe-bind-address=127.0.0.1:{self.health_port}",
            f"--workspace={self.workspace}",
            f"--state-dir={self.state_dir}",
            f"--kubeconfig={self.api.kubeconfig_of('kruntimes-runtimed')}",
            *self.runtimed_flags,
        ]
        environment = self.environment | {"HOSTNAME": self.pod_name, "POD_NAMESPACE": NAMESPACE, "POD_UID": self.pod_uid}
        self.runtimed = Child(command, log=self.folder / "runtimed.log", env=environment)

    def kill_runtimed(self) -> None:
        assert self.runtimed is not None
        self.runtimed.stop(kill=True)

    def kill_server(self) -> None:
        assert self.server is not None
        self.server.stop(kill=True)

    def terminate_runtimed(self) -> None:
        assert self.runtimed is not None
        os.kill(self.runtimed.pid, signal.SIGTERM)

    def stop(self) -> None:
        for child in (self.runtimed, self.server):
            if child is not None:
                child.stop(kill=True)
        self._kill_what_is_left()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _kill_what_is_left(self) -> None:
        """User code of a killed server that has no supervisor, and so nobody who takes it along: it names our folder, which is unique."""
        for process in psutil.process_iter(["cmdline"]):
            if any(str(self.folder) in word for word in process.info["cmdline"] or ()):
                with suppress(psutil.NoSuchProcess):
                    process.kill()

    def __enter__(self) -> Rig:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            sys.stderr.write(self.log_text()[-6000:])
        self.stop()

    # -- what it left -------------------------------------------------------------------------------------------------

    def log_text(self) -> str:
        path = self.folder / "runtimed.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def log_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log_text().splitlines() if line.startswith("{")]

    def output_of(self, run: Run) -> list[tuple[str, str]]:
        """(stream, message) as logged."""
        return [(line["stream"], line["message"]) for line in self.log_lines() if line.get("run_uid") == run.uid]

    def left_of(self, run: Run) -> list[str]:
        """Files of a Run on disk."""
        kept = [path.name for path in self.state_dir.iterdir() if path.name.startswith(run.uid)]
        return kept + [path.name for path in self.workspace.iterdir() if path.name == run.uid]


class Cluster:
    """The API as a test sees it: creates, binds, waits by watch."""

    def __init__(self, client: ApiClient, rig: Rig) -> None:
        self.client, self.rig = client, rig

    @classmethod
    async def open(cls, rig: Rig) -> Cluster:
        credentials: Credentials = await load_credentials(kubeconfig=str(rig.api.kubeconfig))
        return cls(await ApiClient.connect(credentials, user_agent="test"), rig)

    async def create_pod(self) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self.rig.pod_name, "namespace": NAMESPACE, "labels": {"runtime": self.rig.server_name}},
            # On a node: otherwise its deletion would not wait for anybody.
            "spec": {"nodeName": "rig", "containers": [{"name": "runtime", "image": "bash-runtime"}], "terminationGracePeriodSeconds": 30},
        }
        self.rig.pod_uid = (await self.client.create(PODS, body, namespace=NAMESPACE)).uid

    async def create(self, name: str, *, annotations: dict[str, str] | None = None, **spec: Any) -> Run:
        """A Run whose spec is the default one with `spec` over it."""
        body = {
            "apiVersion": "kruntimes.io/v1alpha1",
            "kind": "Run",
            "metadata": {"name": f"{name}-{uuid.uuid4().hex[:6]}", "namespace": NAMESPACE, "annotations": annotations or {}},
            "spec": {"runtime": self.rig.server_name, "mode": {"task": {}}, **spec},
        }
        return await self.client.create(RUNS, body, namespace=NAMESPACE)

    async def script(self, text: str, **spec: Any) -> Run:
        """Creates and binds an inline script."""
        return await self.bind(await self.create("run", source={"inline": text}, **spec))

    async def bind(self, run: Run) -> Run:
        now = _now()
        change = transitions.bind(run, pod_name=self.rig.pod_name, pod_uid=self.rig.pod_uid, observed=now, now=now)
        return await self.write(run, change)

    async def write(self, run: Run, change: dict[str, Any]) -> Run:
        patch = conditional_status(change, resource_version=run.metadata.resource_version)
        return await self.client.patch(RUNS, run.metadata.name, patch, namespace=NAMESPACE, subresource="status")

    async def cancel(self, run: Run) -> None:
        await self.client.patch(RUNS, run.metadata.name, merge_patch({"spec": {"cancelRequested": True}}), namespace=NAMESPACE)

    async def get(self, run: Run) -> Run:
        return await self.client.get(RUNS, run.metadata.name, namespace=NAMESPACE)

    async def wait(self, run: Run, until: Callable[[Run], bool] = lambda run: run.is_terminal) -> Run:
        """The first version that satisfies `until`."""
        return await self._watch(RUNS, run.metadata.name, until)

    async def wait_for_pod(self, until: Callable[[Pod], bool]) -> Pod:
        """The first version of our Pod that satisfies `until`."""
        return await self._watch(PODS, self.rig.pod_name, until)

    async def _watch(self, resource: Resource[T], name: str, until: Callable[[T], bool]) -> T:
        watching = list_and_watch(self.client, resource, namespace=NAMESPACE, field_selector=f"metadata.name={name}")
        last: T | None = None
        try:
            async with asyncio.timeout(PATIENCE_SECONDS), aclosing(watching) as notices:
                async for notice in notices:
                    seen = notice.items if isinstance(notice, Listed) else [notice.object] if isinstance(notice, Changed) else []
                    for last in seen:
                        if until(last):
                            return last
        except TimeoutError:
            raise AssertionError(f"waited for {name} in vain; last seen: {last}\nruntimed's log:\n{self.rig.log_text()[-6000:]}") from None
        raise AssertionError("the watch ended")

    async def fail_writes(self, run: Run, *, count: int = 1, skip: int = 0, **action: Any) -> None:
        """A failpoint on status patches of that Run by runtimed."""
        assert self.rig.api.name == "embedded", "failpoints are the embedded API server's"
        match = {"verbs": ["patch"], "resources": ["runs.kruntimes.io"], "name": run.metadata.name, "user_agent": "runtimed*"}
        body = {"match": match, "action": action, "count": count, "skip": skip}
        await self.client.request("POST", "/failpoints", body=json.dumps(body).encode())

    async def delete_pod(self) -> None:
        """Its deletion begins, and ends only with the grace period: nobody plays kubelet here."""
        await self.client.delete(PODS, self.rig.pod_name, namespace=NAMESPACE)

    async def wait_until(self, condition: Callable[[], bool], *, seconds: float = PATIENCE_SECONDS) -> None:
        """For what has no event to wait for: files and logs of other processes."""
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.02)


def _now() -> datetime:
    return datetime.now(UTC)


def is_alive(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

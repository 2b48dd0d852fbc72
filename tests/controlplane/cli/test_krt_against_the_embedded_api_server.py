"""krt against a real process of the embedded API server; the test plays scheduler, runtimed and the node that serves logs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from k8s.api.run_log import format_end_line, format_output_line
from k8s.api.timestamps import format_timestamp
from k8s.client import PODS, RUNS, ApiClient, Deleted, list_and_watch, load_credentials, merge_patch
from tests.controlplane.cli.conftest import KrtStarter, environment_for

pytestmark = pytest.mark.slow

POD = "runtime-bash-x"


@dataclass
class Cluster:
    """The server as its components see it."""

    client: ApiClient
    log: list[str] = field(default_factory=list)
    grown: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def next_run(self) -> Any:
        """A Run that waits to be scheduled, as the scheduler learns of it."""
        async with contextlib.aclosing(list_and_watch(self.client, RUNS, namespace="default")) as notices:
            async for notice in notices:
                for run in getattr(notice, "items", None) or [getattr(notice, "object", None)]:
                    if run is not None and not isinstance(notice, Deleted) and run.phase == "Pending":
                        return run

    async def set_status(self, name: str, **status: Any) -> None:
        await self.client.patch(RUNS, name, merge_patch({"status": status}), namespace="default", subresource="status")

    async def print_lines(self, *lines: str) -> None:
        async with self.grown:
            self.log += [f"{format_timestamp(datetime.now(UTC))} {line}\n" for line in lines]
            self.grown.notify_all()

    async def container_logs(self, request: web.Request) -> web.StreamResponse:
        """The node's endpoint; it follows."""
        response = web.StreamResponse()
        await response.prepare(request)
        sent = 0
        while True:
            for line in self.log[sent:]:
                text = line if request.query.get("timestamps") == "true" else line.partition(" ")[2]
                await response.write(text.encode())
                sent += 1
            if request.query.get("follow") != "true":
                return response
            async with self.grown:
                while len(self.log) <= sent:
                    await self.grown.wait()


@contextlib.asynccontextmanager
async def started_server(folder: Path, *, node_socket: Path) -> AsyncIterator[Path]:
    """The kubeconfig of a running server."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "controlplane.local.apiserver", "--data-dir", str(folder), "--node-socket", str(node_socket),
        env=environment_for(None), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert b"url" in await asyncio.wait_for(process.stdout.readline(), 20)
        yield folder / "kubeconfig"
    finally:
        process.terminate()
        await asyncio.wait_for(process.communicate(), 20)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with started_server(tmp_path / "data", node_socket=tmp_path / "node.sock") as kubeconfig:
        credentials = await load_credentials(kubeconfig=str(kubeconfig))
        async with await ApiClient.connect(credentials, user_agent="test") as client:
            cluster = Cluster(client)
            app = web.Application()
            app.router.add_get("/containerLogs/{namespace}/{pod}/runtimed", cluster.container_logs)
            runner = web.AppRunner(app, shutdown_timeout=0.01)
            await runner.setup()
            await web.UnixSite(runner, str(tmp_path / "node.sock")).start()
            spec = {"containers": [{"name": "runtime", "image": "bash-runtime"}, {"name": "runtimed", "image": "runtimed"}]}
            await client.create(PODS, {"metadata": {"name": POD}, "spec": spec}, namespace="default")
            yield cluster
            await runner.cleanup()


@pytest.fixture
async def krt(cluster: Cluster, tmp_path: Path) -> AsyncIterator[KrtStarter]:
    starter = KrtStarter(environment_for(tmp_path / "data" / "kubeconfig"), tmp_path)
    yield starter
    await starter.end_all()


async def test_a_run_from_its_creation_to_its_exit_code(cluster: Cluster, krt: KrtStarter) -> None:
    waiting = await krt.start("run", "--env", "A=1", "--wait", "--", "echo", "hi there")
    run = await asyncio.wait_for(cluster.next_run(), 20)
    name = run.metadata.name
    await cluster.set_status(name, phase="Scheduled", assignedPod=POD, assignedPodUID="p1", attempt=0)
    line = {"run_uid": run.uid, "run_name": name, "namespace": "default", "runtime": "bash", "pod": POD}
    await cluster.print_lines("noise", format_output_line("hi there", stream="stdout", **line))
    assert await waiting.stdout_line() == "hi there"
    await cluster.print_lines(format_output_line("oh", stream="stderr", **line), format_end_line(run_uid=run.uid, attempt=0))
    now = format_timestamp(datetime.now(UTC))
    await cluster.set_status(name, phase="Failed", attempt=1, exitCode=42, startTime=now, completionTime=now, message="exit status 42")
    assert await waiting.end() == 42
    assert waiting.stdout == "hi there\n"
    assert "oh" in waiting.stderr.splitlines()

    assert (await krt("wait", name))[0] == 42
    assert await krt("logs", name) == (0, "hi there\n", "oh\n")
    assert await krt("logs", "-f", name) == (0, "hi there\n", "oh\n")
    as_the_server_has_it = json.loads(await cluster.client.request("GET", RUNS.path(namespace="default", name=name)))
    assert json.loads((await krt("get", name, "-o", "json"))[1]) == as_the_server_has_it
    assert yaml.safe_load((await krt("get", name, "-o", "yaml"))[1]) == as_the_server_has_it
    assert (await krt("list", "--phase", "Failed", "-o", "jsonpath={.items[*].status.exitCode}"))[1] == "42\n"
    assert (await krt("list", "--phase", "Pending", "-o", "name"))[1] == ""
    assert (await krt("delete", name))[:2] == (0, f"Run {name} deleted\n")
    assert "was deleted" not in (await krt("get", name))[2]


async def test_cancel_of_a_waiting_run_ends_it_with_130(cluster: Cluster, krt: KrtStarter) -> None:
    waiting = await krt.start("run", "--name", "slow", "--wait", "--", "sleep", "60")
    await asyncio.wait_for(cluster.next_run(), 20)
    assert (await krt("cancel", "rn/slow"))[:2] == (0, "Cancellation requested for run slow\n")
    run = await cluster.client.get(RUNS, "slow", namespace="default")
    assert run.spec.cancel_requested
    assert run.spec.mode.task is not None
    assert run.spec.mode.task.args == ["sleep 60"]
    await cluster.set_status(
        "slow", phase="Cancelled", attempt=0, message="cancelled by user", completionTime=format_timestamp(datetime.now(UTC))
    )
    assert await waiting.end() == 130
    assert "Run slow was cancelled: cancelled by user" in waiting.stderr


REFUSED = [
    (("run", "--entrypoint", "../etc/passwd", "--repo-url", "https://example.com/r.git"), 2, "entrypoint"),
    (("run", "-r", "not a name", "--", "x"), 2, "spec.runtime"),
    (("run", "--handler", "a.b", "-r", "x" * 64), 2, "spec.runtime"),
    (("get", "gone"), 125, 'Run "gone" not found in namespace default'),
    (("run", "-n", "nowhere", "--", "x"), 125, 'namespace "nowhere" does not exist'),
    (("list", "--field-selector", "spec.bogus=1"), 125, "spec.bogus"),
    (("list", "-l", "a in b"), 125, "check --selector and --field-selector"),
    (("list", "--token", "wrong"), 125, "does not accept your credentials"),
]


async def test_refusals_of_the_server_are_explained(cluster: Cluster, krt: KrtStarter) -> None:
    for arguments, code, words in REFUSED:
        ended, stdout, stderr = await krt(*arguments)
        assert words in stderr
        assert (ended, stdout) == (code, "")

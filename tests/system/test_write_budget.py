"""What a Run costs the API server, counted there: three writes, and nothing else that grows with the number of Runs."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import pytest

from k8s.api.run import Run
from k8s.client import RUNS, RUNTIMES, ApiClient, Changed, Listed, list_and_watch, load_credentials
from tests.cluster.embedded import EmbeddedApiServer
from tests.cluster.fixtures import need_binaries
from tests.cluster.real import RealApiServer
from tests.cluster.server import ApiServer
from tests.cluster.system import System
from tests.system.conftest import running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

RUN_COUNT = 100
MOST_WRITES_A_RUN = 3.05
NAMESPACE = "default"
PODS = 2
HEARTBEAT_SECONDS = 5
_SAMPLE = re.compile(r"^apiserver_request_total\{(?P<labels>[^}]*)\} (?P<value>\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


def writes_seen_by(server: ApiServer) -> Counter[str]:
    """Writes so far, by resource and subresource as in `runs/status`, refused ones included."""
    return _audited(server) if isinstance(server, EmbeddedApiServer) else _measured(server)


def _audited(server: EmbeddedApiServer) -> Counter[str]:
    lines = map(json.loads, (server.folder / "audit.jsonl").read_text().splitlines())
    return Counter("/".join(filter(None, (line["resource"].partition(".")[0], line["subresource"]))) for line in lines)


def _measured(server: ApiServer) -> Counter[str]:
    request = urllib.request.Request(f"{server.url}/metrics", headers=server.admin.headers)
    with urllib.request.urlopen(request, context=server.admin.tls(), timeout=10) as answer:
        text = answer.read().decode()
    counted: Counter[str] = Counter()
    for sample in _SAMPLE.finditer(text):
        labels = dict(_LABEL.findall(sample["labels"]))
        if labels["verb"] in {"POST", "PUT", "PATCH", "APPLY", "DELETE"}:
            counted["/".join(filter(None, (labels["resource"], labels["subresource"])))] += int(float(sample["value"]))
    return counted


@dataclass
class Stage:
    """A server with everything of ours around it and a warm Bash Runtime of two Pods."""

    server: ApiServer

    async def run_all(self, *, parallel: int) -> list[Run]:
        """RUN_COUNT no-op Runs, `parallel` at a time, each awaited by one watch of them all."""
        credentials = await load_credentials(kubeconfig=str(self.server.kubeconfig))
        async with await ApiClient.connect(credentials, user_agent="test") as client:
            load = _Load(client, label=secrets.token_hex(4))
            return await load.run_all(parallel=parallel)


class _Load:
    def __init__(self, client: ApiClient, *, label: str) -> None:
        self._client, self._label = client, label
        self._ends: dict[str, asyncio.Future[Run]] = {}

    async def run_all(self, *, parallel: int) -> list[Run]:
        watching = asyncio.create_task(self._watch())
        numbers = iter(range(RUN_COUNT))

        async def creator() -> list[Run]:
            return [await self._run(number) for number in numbers]

        try:
            batches = await asyncio.gather(*(creator() for _ in range(parallel)))
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        return [run for batch in batches for run in batch]

    async def _run(self, number: int) -> Run:
        name = f"budget-{self._label}-{number}"
        ended = self._ends[name] = asyncio.get_running_loop().create_future()
        body = {
            "apiVersion": "kruntimes.io/v1alpha1",
            "kind": "Run",
            "metadata": {"name": name, "labels": {"budget": self._label}},
            "spec": {"runtime": "budget", "mode": {"task": {}}, "source": {"inline": "exit 0"}},
        }
        await self._client.create(RUNS, body, namespace=NAMESPACE)
        return await asyncio.wait_for(ended, 30)

    async def _watch(self) -> None:
        async with aclosing(list_and_watch(self._client, RUNS, namespace=NAMESPACE, label_selector=f"budget={self._label}")) as notices:
            async for notice in notices:
                for run in notice.items if isinstance(notice, Listed) else [notice.object]:
                    end = self._ends.get(run.metadata.name)
                    if run.is_terminal and end is not None and not end.done():
                        end.set_result(run)


def runtime_manifest() -> dict[str, Any]:
    container = {"name": "runtime", "image": "kruntimes-bash-runtime:test"}
    spec = {"replicas": PODS, "capacity": {"resources": {"runs": 64}}, "template": {"spec": {"containers": [container]}}}
    return {"apiVersion": "kruntimes.io/v1alpha1", "kind": "Runtime", "metadata": {"name": "budget"}, "spec": spec}


async def make_ready(server: ApiServer) -> None:
    credentials = await load_credentials(kubeconfig=str(server.kubeconfig))
    async with await ApiClient.connect(credentials, user_agent="test") as client:
        await client.create(RUNTIMES, runtime_manifest(), namespace=NAMESPACE)
        async with asyncio.timeout(40), aclosing(list_and_watch(client, RUNTIMES, namespace=NAMESPACE)) as notices:
            async for notice in notices:
                if isinstance(notice, Changed) and notice.object.status.ready_replicas == PODS:
                    return


@pytest.fixture(scope="module", params=["embedded", pytest.param("real", marks=pytest.mark.kube)])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    if request.param == "real":
        need_binaries()
    chosen: ApiServer = RealApiServer() if request.param == "real" else EmbeddedApiServer(arguments=("--audit",))
    with running(chosen) as server, System(server):
        server.bind_runtimed(NAMESPACE)
        asyncio.run(make_ready(server))
        yield Stage(server)


@pytest.mark.parametrize("parallel", [1, 25])
def test_a_short_run_costs_three_writes_and_the_rest_grows_with_time_only(stage: Stage, parallel: int) -> None:
    before, began = writes_seen_by(stage.server), time.monotonic()
    runs = asyncio.run(stage.run_all(parallel=parallel))
    seconds = time.monotonic() - began
    writes = writes_seen_by(stage.server) - before
    assert [run.phase for run in runs] == ["Succeeded"] * RUN_COUNT
    of_runs = writes.pop("runs") + writes.pop("runs/status")
    assert of_runs / RUN_COUNT <= MOST_WRITES_A_RUN, writes
    # No Event for a Run that succeeds at once. What is left are heartbeats, of Pods and of those beside us: one a beat, not one a Run.
    assert set(writes) <= {"pods/status", "deployments/status", "nodes/status", "leases"}, writes
    beats = PODS * (seconds / HEARTBEAT_SECONDS + 1)
    assert all(count <= beats for count in writes.values()), (writes, seconds)

"""The floor probe's real processes, on both API servers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager

import psutil
import pytest

from bench.floor import schema
from bench.floor.probe import floor_running
from bench.loads import RunLoad, run_load
from bench.meters.writes import WriteMeter, writes_to
from bench.scenarios import Burst
from bench.stages import NAMESPACE, Stage, connected, serving
from bench.subjects import BASH, FLOOR, FLOOR_RUNS
from k8s.client import CRDS, RUNS, ApiClient, NotFound
from tests.cluster.embedded import EmbeddedApiServer
from tests.cluster.fixtures import need_binaries
from tests.cluster.processes import ServerFailed
from tests.cluster.real import RealApiServer

pytestmark = pytest.mark.slow
RUN_COUNT = 20


@pytest.fixture(scope="module", params=[pytest.param("kube", marks=pytest.mark.kube), "embedded"])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """An API server without anything of kruntimes around it."""
    with ExitStack() as stack:
        if request.param == "kube":
            need_binaries()
            real = RealApiServer()
            stack.enter_context(serving(real))
            yield Stage("kube", real.kubeconfig)
        else:
            yield stack.enter_context(_embedded())


@pytest.fixture(scope="module")
def embedded() -> Iterator[Stage]:
    """Failpoints are its alone."""
    with _embedded() as stage:
        yield stage


@contextmanager
def _embedded() -> Iterator[Stage]:
    server = EmbeddedApiServer(arguments=("--audit",))
    with serving(server):
        yield Stage("embedded", server.kubeconfig, audit=server.folder / "audit.jsonl")


@asynccontextmanager
async def probe(stage: Stage) -> AsyncIterator[tuple[ApiClient, RunLoad, WriteMeter]]:
    async with (
        connected(stage) as client,
        floor_running(client, kubeconfig=stage.kubeconfig, namespace=NAMESPACE),
        run_load(client, FLOOR, namespace=NAMESPACE) as load,
    ):
        yield client, load, stage.write_meter(client)


async def test_it_writes_the_status_of_a_run_exactly_twice(stage: Stage) -> None:
    async with probe(stage) as (_, load, meter):
        before = await meter.read()
        samples = await Burst(RUN_COUNT).run(load)
        written = (await meter.read()) - before
    assert not any(sample.is_failure for sample in samples)
    assert writes_to(written, FLOOR_RUNS) == 3 * RUN_COUNT
    assert written["PATCH runs.floor.kruntimes.io/status"] == 2 * RUN_COUNT


async def test_ready_to_start_lies_between_what_the_client_saw(stage: Stage) -> None:
    async with probe(stage) as (_, load, _):
        sample = await load.measure()
    assert sample.assigned_ms is not None
    assert sample.started_ms is not None
    assert 0 < sample.started_ms < sample.terminal_ms
    assert 0 < sample.assigned_ms < sample.terminal_ms
    assert sample.steps_ms == {}  # it keeps no ledger


async def test_it_never_touches_a_run_of_ours(stage: Stage) -> None:
    manifest = {
        "apiVersion": RUNS.api_version,
        "kind": "Run",
        "metadata": {"generateName": "ours-"},
        "spec": {"runtime": FLOOR.runtime, "mode": {"task": {}}, "source": {"inline": BASH.source}},
    }
    async with probe(stage) as (client, load, _):
        ours = await client.create(RUNS, manifest, namespace=NAMESPACE)
        await Burst(RUN_COUNT).run(load)
        after = await client.get(RUNS, ours.metadata.name, namespace=NAMESPACE)
    assert after == ours


async def test_nothing_of_it_is_left(stage: Stage) -> None:
    async with connected(stage) as client:
        async with floor_running(client, kubeconfig=stage.kubeconfig, namespace=NAMESPACE) as pids:
            assert set(pids) == {"floor-scheduler", "floor-runtimed"}
        assert not any(psutil.pid_exists(pid) for pid in pids.values())
        with pytest.raises(NotFound):
            await client.get(CRDS, schema.NAME)


async def test_a_part_of_it_that_ends_ends_the_benchmark_at_once(stage: Stage) -> None:
    async with connected(stage) as client:
        running = floor_running(client, kubeconfig=stage.kubeconfig, namespace=NAMESPACE)
        pids = await running.__aenter__()
        os.kill(pids["floor-runtimed"], signal.SIGKILL)
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await asyncio.Event().wait()
        with pytest.raises(ServerFailed, match="ended with -9"):
            await running.__aexit__(asyncio.CancelledError, cancelled.value, None)


async def test_it_goes_on_when_the_api_server_ends_its_watches(embedded: Stage) -> None:
    body = json.dumps({"match": {"verbs": ["watch"], "user_agent": "Python/*"}}).encode()
    async with probe(embedded) as (client, load, _):
        for _ in range(3):
            cut = json.loads(await client.request("POST", "/failpoints/cut", body=body))
            assert cut["cut"] == 2
            samples = await Burst(RUN_COUNT).run(load)
            assert not any(sample.is_failure for sample in samples)

"""Rows 20 to 25 and 55: Pods that are cut off, deleted, replaced; clocks that jump, disks that sync slowly, loops that stand still."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from k8s.api import names
from k8s.api.names import SCHEDULER_LEASE
from k8s.api.timestamps import parse_timestamp
from k8s.client import PODS, ApiClient, load_credentials
from tests.cluster.embedded import EmbeddedApiServer
from tests.cluster.processes import Child
from tests.fault import figures
from tests.fault.history import Made
from tests.fault.platform import LEADING, LEASE_SECONDS, NAMESPACE, Platform
from tests.fault.processes import is_alive, metric
from tests.fault.proxy import Proxy
from tests.fault.row import RETRYING, Row
from tests.fault.watching import Watching
from tests.fault.workload import Gate
from tests.runtimed.rig import REPO, Cluster, Rig

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(150)]

LOAD = 200
SHIMS = Path(__file__).parent / "shims"
FENCED = "kruntimes_runtimed_fenced_writes_total"
STATUS_WRITES = "kruntimes_runtimed_status_writes_total"
JUMPING = "tests.fault.shims.jumping_clock"
SILENT_SECONDS = 17.0
"""Longer than the 15 s after which the scheduler binds nothing more to a silent Pod, as 30 s are with all defaults."""


@asynccontextmanager
async def partitioned_platform() -> AsyncIterator[tuple[Platform, Proxy]]:
    """One whose runtimeds reach the API server through a proxy."""
    async with Proxy() as proxy:
        platform = Platform(stale_seconds=SILENT_SECONDS, runtimed_port=proxy.port)
        try:
            platform.start()
            proxy.target_port = int(platform.api.url.rpartition(":")[2])
            yield platform, proxy
        finally:
            platform.stop()


async def test_row_20_a_node_is_cut_off_and_comes_back() -> None:
    """Its Runs go elsewhere or fail; what it finishes meanwhile is refused, and what it still runs is killed when it hears of it."""
    async with partitioned_platform() as (platform, proxy), Row.of(platform, "20") as row:
        retried, gate = await row.in_flight(40, retryPolicy=RETRYING)
        single, other_gate = await row.in_flight(40)
        pod_uid = next(run.status.assigned_pod_uid for each in single if (run := row.run_of(each)))
        victim = platform.containers("runtimed")[pod_uid]
        mine = [each for each in (*retried, *single) if (run := row.run_of(each)) and run.status.assigned_pod_uid == pod_uid]
        lost = [each for each in mine if each in single]
        # A write that the cut leaves unanswered is followed by a read, and no suppressed watch keeps that in the dark.
        await row.until(lambda: metric(victim, STATUS_WRITES) >= len(mine), seconds=20, what="every `Running` is answered")
        silent_at = time.monotonic()
        proxy.cut_off(victim)
        await row.until(
            lambda: all(moved_away(row, each, pod_uid) for each in mine), seconds=SILENT_SECONDS + 15, what="all were taken away"
        )
        row.note("all its Runs taken away", time.monotonic() - silent_at, unit="s", at_most=SILENT_SECONDS + 8)
        gate.open()  # the second attempts end elsewhere, the first ones on the Pod that is cut off
        assert {run.phase for run in await row.over(*retried)} == {"Succeeded"}
        # One Run's take-away is kept from it even after the partition: its late result must be refused by the fence alone.
        late, others = lost[0], {each.uid for each in lost[1:]}
        await row.fail({"verbs": ["watch"], "user_agent": "runtimed*", "name": late.name}, {"kind": "suppress"})
        proxy.heal()
        await row.until(lambda: not others & set(platform.user_processes().values()), seconds=20, what="what it hears of it kills")
        assert row.pids(late), "it was to be kept in the dark"
        other_gate.open()
        await row.until(lambda: metric(victim, FENCED) >= 1, seconds=20, what="a late write is refused and counted")
        figures.note("20", "late writes refused and counted", metric(victim, FENCED), unit="", bound=">= 1")
        assert {run.phase for run in await row.over(*lost)} == {"Failed"}


def moved_away(row: Row, made: Made, pod_uid: str) -> bool:
    run = row.run_of(made)
    return run is not None and (run.is_terminal or run.status.assigned_pod_uid != pod_uid)


async def test_row_22_a_pod_is_drained(platform: Platform) -> None:
    """What can end within the grace does; what has not started is handed back with its attempt; the rest is tried elsewhere."""
    async with Row.of(platform, "22") as row:
        quick, quick_gate = await row.in_flight(LOAD // 2)
        stubborn, gate = await row.in_flight(LOAD // 2, retryPolicy=RETRYING)
        victim = row.watching.pods[row.watching.runs[stubborn[0].uid].status.assigned_pod_uid]
        held = [each for each in stubborn if row.watching.runs[each.uid].status.assigned_pod_uid == victim.uid]
        await row.client.delete(PODS, victim.metadata.name, namespace=NAMESPACE)
        quick_gate.open()
        assert {run.phase for run in await row.over(*quick, seconds=10)} == {"Succeeded"}
        await row.until(lambda: victim.uid not in row.watching.pods, seconds=30, what="the Pod is gone")
        gone_at = time.monotonic()
        await row.until(lambda: all(moved_away(row, each, victim.uid) for each in held), seconds=30, what="no Run is on it")
        row.note("last Run moved after the Pod is gone", time.monotonic() - gone_at, unit="s", at_most=30)
        gate.open()
        assert {run.phase for run in await row.over(*stubborn)} == {"Succeeded"}


async def test_row_23_a_pod_is_replaced_by_one_of_the_same_name(platform: Platform) -> None:
    """The new one starts nothing of the old one's; the old one's Runs are tried again or have failed."""
    async with Row.of(platform, "23") as row:
        template = next(pod for pod in row.watching.pods.values() if pod.metadata.labels.get(names.RUNTIME_LABEL) == "bash")
        manifest = await read_pod(row, template.metadata.name)
        await create_pod(row, manifest, name="fixed", runtime="fixed")
        await row.until(lambda: is_fit(row, "fixed"), seconds=30, what="the Pod is ready")
        old = uid_of(row, "fixed")
        single, gate = await row.in_flight(10, runtime="fixed")
        retried = await row.burst(10, gate.wait, runtime="fixed", retryPolicy=RETRYING)
        await row.until(lambda: row.started_count(retried) == 10, seconds=30, what="all have started")
        pids = [start.pid for start in row.history().starts]
        await row.client.delete(PODS, "fixed", namespace=NAMESPACE, grace_period_seconds=0)
        await create_pod(row, manifest, name="fixed", runtime="fixed")
        assert {run.phase for run in await row.over(*single)} == {"Failed"}
        await row.until(lambda: not any(map(is_alive, pids)), seconds=10, what="nothing of the old Pod lives on")
        gate.open()
        runs = await row.over(*retried, seconds=60)
        assert {(run.phase, run.status.attempt) for run in runs} == {("Succeeded", 2)}
        assert old not in {run.status.assigned_pod_uid for run in runs}
        await row.client.delete(PODS, "fixed", namespace=NAMESPACE)
        await row.until(lambda: not uid_of(row, "fixed"), seconds=30, what="the Pod is gone")


async def read_pod(row: Row, name: str) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(await row.client.request("GET", f"/api/v1/namespaces/{NAMESPACE}/pods/{name}"))
    return found


async def create_pod(row: Row, template: dict[str, Any], *, name: str, runtime: str) -> None:
    metadata = {
        "name": name,
        "labels": {**template["metadata"]["labels"], names.RUNTIME_LABEL: runtime, "pod-template-hash": "none", "app": name},
        "annotations": template["metadata"]["annotations"],
    }
    await row.client.create(PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}, namespace=NAMESPACE)


def uid_of(row: Row, name: str) -> str:
    return next((pod.uid for pod in row.watching.pods.values() if pod.metadata.name == name), "")


def is_fit(row: Row, name: str) -> bool:
    pod = row.watching.pods.get(uid_of(row, name))
    return pod is not None and pod.heartbeat is not None and pod.heartbeat.status == "True" and pod.condition("Ready") is not None


# -- rows 24, 25 and 55: components with a shim in their interpreter --------------------------------------------------------


def shimmed(environment: dict[str, str], **shim: str) -> dict[str, str]:
    return environment | shim | {"PYTHONPATH": os.pathsep.join([str(SHIMS), environment["PYTHONPATH"]])}


@pytest.fixture
def api() -> Iterator[EmbeddedApiServer]:
    with EmbeddedApiServer() as server:
        yield server


@asynccontextmanager
async def shimmed_pod(
    api: EmbeddedApiServer, *, program: tuple[str, ...] = ("-m", "runtimed"), **shim: str
) -> AsyncIterator[tuple[Rig, Cluster]]:
    """One Pod whose runtimed has the shim; its Runs are bound by hand."""
    with Rig(api) as rig:
        rig.start_server()
        rig.environment = shimmed(rig.environment, **shim)
        rig.runtimed_program = program
        cluster = await Cluster.open(rig)
        async with cluster.client:
            await cluster.create_pod()
            rig.start_runtimed()
            yield rig, cluster


def move_clock(offset: Path, seconds: int) -> None:
    """At once: whoever reads the time meanwhile finds the old offset or the new one, never an empty file."""
    fresh = offset.with_suffix(".new")
    fresh.write_text(str(seconds))
    fresh.replace(offset)


@pytest.mark.parametrize("jump_seconds", [3600, -3600])
async def test_row_24_the_wall_clock_jumps(api: EmbeddedApiServer, tmp_path: Path, jump_seconds: int) -> None:
    """Timeouts and back-offs last as long as they should: to a process the monotonic clock is the only one that measures."""
    offset = tmp_path / "offset"
    move_clock(offset, 0)
    async with shimmed_pod(api, program=("-m", JUMPING, "runtimed"), KRT_SHIM_CLOCK=str(offset)) as (_, cluster):
        noted = tmp_path / "noted"
        run = await cluster.script(
            f"echo $EPOCHREALTIME >> {noted}; sleep 600", timeout="2s", retryPolicy={"maxAttempts": 2, "backoff": "1s"}
        )
        await cluster.wait(run, lambda run: run.phase == "Running")
        move_clock(offset, jump_seconds)
        run = await cluster.wait(run)
        ended_at = time.time()
        starts = [float(line) for line in noted.read_text().split()]
        assert (run.phase, len(starts)) == ("Timeout", 2)
        assert abs((run.status.completion_time.timestamp() - ended_at) - jump_seconds) < 60, "the shim does not work"  # type: ignore[union-attr]
        # Two timeouts of 2 s and a back-off of 1 s.
        # A timeout counts from the marker, which is made a moment before the start.
        assert 2.9 <= starts[1] - starts[0] < 4.5
        assert 1.9 <= ended_at - starts[1] < 3.5
        figures.note("24", f"error of a 2 s timeout at a jump of {jump_seconds} s", abs(ended_at - starts[1] - 2), unit="s", bound="<= 1.5")


@pytest.mark.parametrize("jump_seconds", [3600, -3600])
async def test_row_24_a_leader_keeps_its_lease_when_the_clock_jumps(api: EmbeddedApiServer, tmp_path: Path, jump_seconds: int) -> None:
    """And no standby takes it: both measure by what they saw and when, not by what the other wrote."""
    offset = tmp_path / "offset"
    move_clock(offset, 0)
    environment = os.environ | {"KRT_SHIM_CLOCK": str(offset), "PYTHONPATH": os.pathsep.join([str(REPO), str(REPO / "proto")])}
    flags = ["--metrics-bind-address=0", "--health-probe-bind-address=0", f"--kubeconfig={api.kubeconfig}", *LEADING]
    command = [sys.executable, "-m", JUMPING, "controlplane.scheduler", *flags]
    leader = Child(command, log=tmp_path / "leader.log", env=environment)
    credentials = await load_credentials(kubeconfig=str(api.kubeconfig))
    async with await ApiClient.connect(credentials, user_agent="fault-test") as client:
        watching = Watching(client, namespace=NAMESPACE)
        watching.start()
        try:
            await watching.until(lambda: f"_{leader.pid}_" in watching.holder(SCHEDULER_LEASE), seconds=20, what="it leads")
            standby = Child([sys.executable, "-m", "controlplane.scheduler", *flags], log=tmp_path / "standby.log", env=environment)
            before = watching.lease(SCHEDULER_LEASE)["spec"]
            move_clock(offset, jump_seconds)
            await asyncio.sleep(2 * LEASE_SECONDS)
            after = watching.lease(SCHEDULER_LEASE)["spec"]
        finally:
            await watching.stop()
            leader.stop()
            standby.stop()
    assert after["holderIdentity"] == before["holderIdentity"]
    assert after["leaseTransitions"] == before["leaseTransitions"]
    jumped = (parse_timestamp(after["renewTime"]) - parse_timestamp(before["renewTime"])).total_seconds()
    assert abs(jumped - jump_seconds) < 60, "the clock was not moved"


async def test_row_25_every_fsync_takes_two_seconds(api: EmbeddedApiServer, tmp_path: Path) -> None:
    """runtimed syncs once a boot of the node, before anything else; no Run waits for the disk, and the loop never stands still."""
    log = tmp_path / "syncs"
    async with shimmed_pod(api, KRT_SHIM_FSYNC="2", KRT_SHIM_FSYNC_LOG=str(log)) as (rig, cluster):
        await cluster.wait(await cluster.script("true"))
        syncs = log.read_text()
        assert syncs, "the shim does not work"
        lags: list[float] = []
        asking = asyncio.create_task(ask_health(rig.health_port, lags))
        runs = [await cluster.script("sleep 0.05") for _ in range(20)]
        for run in runs:
            assert (await cluster.wait(run)).phase == "Succeeded"
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        assert log.read_text() == syncs, "a Run waited for the disk"
        figures.note("25", "longest answer of /healthz under load", max(lags), unit="s", bound="<= 0.25")
        assert max(lags) < 0.25


async def ask_health(port: int, lags: list[float]) -> None:
    """An answer can come no sooner than the loop turns."""
    while True:
        began_at = time.monotonic()
        assert await health_code(port) == 200
        lags.append(time.monotonic() - began_at)
        await asyncio.sleep(0.02)


async def test_row_55_a_loop_that_stands_still_is_found_out(api: EmbeddedApiServer, tmp_path: Path) -> None:
    """From inside at once, with the place; from outside by the liveness probe, also when it is over. Its successor re-attaches."""
    async with shimmed_pod(api, KRT_SHIM_BLOCK="10") as (rig, cluster):
        gate = Gate(tmp_path)
        run = await cluster.script(f"{gate.wait}; exit 7")
        await cluster.wait(run, lambda run: run.phase == "Running")
        assert rig.runtimed is not None
        blocked_at = time.monotonic()
        os.kill(rig.runtimed.pid, signal.SIGUSR2)
        await cluster.wait_until(lambda: "event loop is blocked" in rig.log_text(), seconds=9)
        figures.note("55", "the log says where", time.monotonic() - blocked_at, unit="s", bound="<= 9")
        assert "sitecustomize" in rig.log_text()
        assert await health_code(rig.health_port) == 500
        seconds = time.monotonic() - blocked_at
        figures.note("55", "the liveness probe fails", seconds, unit="s", bound="<= 15")
        assert seconds < 15
        rig.kill_runtimed()  # as the kubelet does
        rig.start_runtimed()
        gate.open()
        run = await cluster.wait(run)
        assert (run.phase, run.status.exit_code, run.status.attempt) == ("Failed", 7, 1)
        gate.close()


async def health_code(port: int) -> int:
    """Waits for an answer; a loop that stands still gives none."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    try:
        return int((await reader.read()).split()[1])
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

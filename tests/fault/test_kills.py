"""Rows 1 to 6: every process of ours is killed, for real, by pid, while 200 Runs are in flight."""

from __future__ import annotations

import time

import pytest

from k8s.api.names import CONTROLLER_LEASE, SCHEDULER_LEASE
from k8s.api.phases import Reason
from k8s.api.run import Run
from k8s.client import PODS
from tests.fault.platform import LEASE_SECONDS, NAMESPACE, Platform
from tests.fault.processes import is_alive, kill
from tests.fault.row import RETRYING, Row

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(120)]

LOAD = 200


def reason_of(run: Run) -> str:
    return next(condition.reason for condition in run.status.conditions if condition.type == "Completed")


async def test_row_01_kill_9_of_the_leading_scheduler(platform: Platform) -> None:
    """A standby takes over within a lease; what was bound stays where it is. After a clean exit it is there at once."""
    async with Row.of(platform, "01") as row:
        made, gate = await row.in_flight(LOAD)
        killed_at = time.monotonic()
        platform.system.stop_one(await row.leader(SCHEDULER_LEASE), kill=True)
        row.note("binds resume after kill -9", await row.bound(await row.create()) - killed_at, unit="s", at_most=LEASE_SECONDS + 2)
        platform.heal()
        stopped_at = time.monotonic()
        platform.system.stop_one(await row.leader(SCHEDULER_LEASE))
        row.note("binds resume after a clean exit", await row.bound(await row.create()) - stopped_at, unit="s", at_most=2)
        gate.open()
        await row.over(*made)
        assert {row.binds(each) for each in made[:20]} == {1}


async def test_row_02_kill_9_of_the_controllers(platform: Platform) -> None:
    """They come back and reap what a Pod that went meanwhile held; no Runtime gets a second Deployment or a surplus Pod."""
    async with Row.of(platform, "02") as row:
        made, gate = await row.in_flight(LOAD, retryPolicy=RETRYING)
        platform.system.stop_one(await row.leader(CONTROLLER_LEASE), kill=True)
        pods = set(platform.containers("runtimed"))
        victim = row.watching.pods[row.run_of(made[0]).status.assigned_pod_uid]  # type: ignore[union-attr]
        await row.client.delete(PODS, victim.metadata.name, namespace=NAMESPACE, grace_period_seconds=0)
        platform.heal()
        gate.open()
        runs = await row.over(*made, seconds=60)
        assert {run.phase for run in runs} == {"Succeeded"}
        await row.until(lambda: len(platform.containers("runtimed")) == platform.size.pods, seconds=20, what="one Pod was replaced")
        assert len(set(platform.containers("runtimed")) - pods) == 1


async def test_row_03_kill_9_of_runtimed_while_its_runs_live(platform: Platform) -> None:
    """Its successor re-attaches: the same attempt, its exit code, no second start."""
    async with Row.of(platform, "03") as row:
        made, gate = await row.in_flight(LOAD, then="exit 7")
        for pid in platform.containers("runtimed").values():
            kill(pid)
        gate.open()
        runs = await row.over(*made)
        assert {(run.status.attempt, run.status.exit_code) for run in runs} == {(1, 7)}
        assert len(row.history().starts) == LOAD


async def test_row_04_kill_9_of_a_runtime_server(platform: Platform) -> None:
    """The attempt is lost and used up; another follows where the policy has one; nothing of the first lives on."""
    async with Row.of(platform, "04") as row:
        single, gate = await row.in_flight(LOAD // 2)
        retried = await row.burst(LOAD // 2, gate.wait, retryPolicy=RETRYING)
        await row.until(lambda: row.started_count(retried) == len(retried), seconds=60, what="all have started")
        lost = [start.pid for start in row.history().starts]
        killed_at = time.monotonic()
        for pid in platform.containers("runtime").values():
            kill(pid)
        await row.until(lambda: not any(map(is_alive, lost)), seconds=10, what="no orphan lives on")
        row.note("last orphan gone", time.monotonic() - killed_at, unit="s", at_most=5)
        gate.open()
        assert {(run.phase, reason_of(run)) for run in await row.over(*single)} == {("Failed", Reason.EXECUTION_LOST)}
        assert {(run.phase, run.status.attempt) for run in await row.over(*retried, seconds=60)} == {("Succeeded", 2)}


async def test_row_05_kill_9_of_a_supervisor(platform: Platform) -> None:
    """All that it started dies with it, and the server starts another supervisor."""
    async with Row.of(platform, "05") as row:
        made, gate = await row.in_flight(LOAD, retryPolicy=RETRYING)
        lost = [start.pid for start in row.history().starts]
        killed_at = time.monotonic()
        for pid in platform.supervisors().values():
            kill(pid)
        await row.until(lambda: not any(map(is_alive, lost)), seconds=10, what="no child lives on")
        row.note("last child gone", time.monotonic() - killed_at, unit="s", at_most=2)
        gate.open()
        assert {(run.phase, run.status.attempt) for run in await row.over(*made, seconds=60)} == {("Succeeded", 2)}


async def test_row_06_kill_9_of_the_workload(platform: Platform) -> None:
    """Failed with 137, and the message says which signal; nothing says that memory ran out."""
    async with Row.of(platform, "06") as row:
        made, gate = await row.in_flight(LOAD)
        [start] = row.starts(made[0])
        kill(start.pid)
        [run] = await row.over(made[0])
        assert (run.phase, run.status.exit_code, reason_of(run)) == ("Failed", 137, Reason.RUNTIME_ERROR)
        assert "signal 9 (SIGKILL)" in run.status.message
        assert "memory" not in run.status.message
        gate.open()
        assert {run.phase for run in await row.over(*made[1:])} == {"Succeeded"}

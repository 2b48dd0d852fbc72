"""Rows 49 and 50: cancels and deletions at every moment. One outcome each, and nothing left."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from contextlib import aclosing

import pytest

from k8s.api.names import API_VERSION
from k8s.client import NAMESPACES, RUNS, RUNTIMES, Deleted, Listed, list_and_watch
from tests.fault.history import Made
from tests.fault.platform import NAMESPACE, Platform, runtime_manifest
from tests.fault.row import RETRYING, Row

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(120)]

RACES = 150
WORK_SECONDS = 0.1
DOOMED = "doomed"


async def test_row_49_a_cancel_races_with_everything(platform: Platform) -> None:
    """Before the bind, during the claim and the start, with the completion, and twice. Cancelled only if it did not complete first.

    The interleavings of runtimed and the scheduler are enumerated in `tests/runtimed/core` and `tests/controlplane/scheduler`;
    this is the real thing, at moments drawn from a seed.
    """
    chance = random.Random(49)
    async with Row.of(platform, "49") as row:
        room = asyncio.Semaphore(25)

        async def race(delay_seconds: float, *, is_twice: bool) -> Made:
            async with room:
                made = await row.create(f"sleep {WORK_SECONDS}")
                await asyncio.sleep(delay_seconds)
                await row.cancel(made)
                if is_twice:
                    await row.cancel(made)
                return made

        plans = [(chance.uniform(0, 0.6), chance.random() < 0.3) for _ in range(RACES)]
        made = await asyncio.gather(*(race(delay, is_twice=twice) for delay, twice in plans))
        outcomes = Counter(run.phase for run in await row.over(*made))
        assert set(outcomes) <= {"Succeeded", "Cancelled"}
        assert min(outcomes["Succeeded"], outcomes["Cancelled"]) >= RACES / 20, f"no races: {outcomes}"
        finished = {end.run_uid for end in row.history().ends}
        # What was cancelled before its bind never started; what Succeeded did all of its work.
        assert all(each.uid in finished for each in made if row.watching.runs[each.uid].phase == "Succeeded")


async def test_row_50_a_run_is_deleted_while_it_runs(platform: Platform) -> None:
    async with Row.of(platform, "50") as row:
        made, _ = await row.in_flight(100, retryPolicy=RETRYING)
        deleted_at = time.monotonic()
        await asyncio.gather(*(row.delete(each) for each in made))
        await row.until(lambda: not platform.user_processes(), seconds=30, what="their processes are gone")
        row.note("last process gone after 100 deletions", time.monotonic() - deleted_at, unit="s", at_most=30)
        left = {run.uid for run in (await row.client.list(RUNS, namespace=NAMESPACE)).items}
        assert not left & {each.uid for each in made}


async def test_row_50_a_runtime_is_deleted_while_its_runs_run(platform: Platform) -> None:
    """Its Pods drain and go; its Runs end as those of Pods that go do; a new Runtime of the name starts afresh."""
    async with Row.of(platform, "50") as row:
        retried, gate = await row.in_flight(20, retryPolicy=RETRYING)
        single, other_gate = await row.in_flight(20)
        pods = set(platform.containers("runtimed"))
        deleted_at = time.monotonic()
        await row.client.delete(RUNTIMES, "bash", namespace=NAMESPACE)
        await row.until(lambda: not _pods_of(row, "bash"), seconds=40, what="its Pods are gone")
        row.note("Pods gone after the Runtime", time.monotonic() - deleted_at, unit="s", at_most=30)
        assert {run.phase for run in await row.over(*single)} == {"Failed"}
        gate.open()
        other_gate.open()
        await row.make_runtimes()
        assert {run.phase for run in await row.over(*retried, seconds=60)} == {"Succeeded"}
        assert not pods & set(_pods_of(row, "bash"))


def _pods_of(row: Row, runtime: str) -> list[str]:
    return [pod.uid for pod in row.watching.pods.values() if pod.metadata.labels.get("runtime") == runtime]


async def test_row_50_a_namespace_goes_with_everything_in_it(platform: Platform) -> None:
    """No finalizer of ours holds it."""
    async with Row.of(platform, "50") as row:
        await row.client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": DOOMED}})
        await row.client.create(RUNTIMES, runtime_manifest("bash", pods=1, slots=16), namespace=DOOMED)
        spec = {"runtime": "bash", "mode": {"task": {}}, "source": {"inline": "sleep 1000"}}
        for number in range(10):
            body = {"apiVersion": API_VERSION, "kind": "Run", "metadata": {"name": f"doomed-{number}"}, "spec": spec}
            await row.client.create(RUNS, body, namespace=DOOMED)
        await row.until(lambda: len(set(platform.user_processes().values())) == 10, seconds=40, what="all run")
        deleted_at = time.monotonic()
        await row.client.delete(NAMESPACES, DOOMED)
        watching = list_and_watch(row.client, NAMESPACES, field_selector=f"metadata.name={DOOMED}")
        async with asyncio.timeout(40), aclosing(watching) as notices:
            async for notice in notices:
                if isinstance(notice, Deleted) or (isinstance(notice, Listed) and not notice.items):
                    break
        row.note("namespace gone", time.monotonic() - deleted_at, unit="s", at_most=30)
        assert platform.user_processes() == {}

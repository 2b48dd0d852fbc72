"""Rows 53 and 54: many Runs, and many Runs for the same Pod."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import msgspec
import pytest

from k8s.api.names import API_VERSION
from k8s.client import RUNS, ApiClient
from tests.fault import figures
from tests.fault.history import Made
from tests.fault.leaks import RSS_MIB
from tests.fault.platform import NAMESPACE, Platform, Size
from tests.fault.processes import usage_of
from tests.fault.row import Row

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(300)]

PENDING, FINISHED = 2_000, 5_000
"""10,000 and 50,000 in the table: two cores that also run everything else take minutes to make those. The same code, less of it."""
PROBES = 300
"""So that a p99 is not one unlucky Run."""


async def percentile_of_new_runs(row: Row) -> float:
    """p99, in seconds, from the create of a Run to the landing of its bind."""
    seconds = []
    for _ in range(PROBES):
        began_at = time.monotonic()
        seconds.append(await row.bound(await row.create()) - began_at)
    return sorted(seconds)[int(PROBES * 0.99) - 1]


async def test_row_53_everything_restarts_among_thousands_of_runs() -> None:
    """A new Run overtakes the start-up list, and memory stays within its budget."""
    platform = Platform(size=Size(bash_pods=2, bash_slots=64, python_pods=0))
    try:
        platform.start()
        async with Row.of(platform, "53", rest_seconds=120) as row:
            idle = await percentile_of_new_runs(row)
            await fill(row.client, FINISHED, runtime="nobody", phase="Succeeded")
            await fill(row.client, PENDING, runtime="nobody", phase="")
            # Each is told once that it waits; the burst of those writes is not what this row measures.
            await row.until(lambda: waiting(row) == PENDING, seconds=90, what="all were told that they wait")
            for name in platform.system.names[:-1]:
                platform.system.stop_one(name, kill=True)
            restarted_at = time.monotonic()
            platform.heal()
            made = await row.create()
            await row.bound(made, seconds=60)
            row.note("first bind after a restart of everything", row.written_at(made, "Scheduled") - restarted_at, unit="s", at_most=15)  # type: ignore[operator]
            crowded = await percentile_of_new_runs(row)
            figures.note("53", "p99 of create to bind, idle", idle * 1000, unit="ms", bound="")
            row.note("p99 of create to bind among thousands, against idle", crowded / max(idle, 0.02), unit="x", at_most=2)
            for role, pids in platform.roles().items():
                kind = role.partition("-")[0]
                row.note(f"memory of {role}", max(usage_of(pid).rss_bytes for pid in pids) / (1 << 20), unit="MiB", at_most=RSS_MIB[kind])
    finally:
        platform.stop()


def waiting(row: Row) -> int:
    return sum(run.phase == "Pending" and bool(run.status.message) for run in row.watching.runs.values())


async def fill(client: ApiClient, count: int, *, runtime: str, phase: str) -> None:
    """Runs that nobody serves; written as they would lie there."""
    room = asyncio.Semaphore(25)

    async def one(number: int) -> None:
        async with room:
            name = f"filler-{phase.lower() or 'pending'}-{number}"
            spec = {"runtime": runtime, "mode": {"task": {"args": ["true"]}}}
            await client.create(
                RUNS, {"apiVersion": API_VERSION, "kind": "Run", "metadata": {"name": name}, "spec": spec}, namespace=NAMESPACE
            )
            if phase:
                ended = msgspec.json.encode({"status": {"phase": phase, "attempt": 1}})
                path = RUNS.path(namespace=NAMESPACE, name=name, subresource="status")
                await client.request("PATCH", path, body=ended, content_type="application/merge-patch+json")

    await asyncio.gather(*(one(number) for number in range(count)))


async def test_row_54_a_thousand_runs_for_one_pod(platform: Platform) -> None:
    """Slots are never given twice, and nobody starves: they are bound in the order of their creation."""
    async with Row.of(platform, "54", rest_seconds=120) as row:
        count = platform.size.python_slots * 12
        made = await row.burst(count, "import time; time.sleep(0.05)", runtime="python")
        await row.over(*made, seconds=120)
        assert most_at_once(row) <= platform.size.python_slots
        created = {write.uid: number for number, write in enumerate(w for w in row.history().writes if w.verb == "create")}
        bound = [write.uid for write in row.history().writes if write.is_status_of_run and write.phase == "Scheduled" and write.has_landed]
        overtaken = max(created[uid] - place for place, uid in enumerate(bound))
        row.note("places that a Run was overtaken by", abs(overtaken), unit="", at_most=platform.size.python_slots * 2)


def most_at_once(row: Row) -> int:
    """User processes of one Pod at a time, as they noted themselves."""
    marks = [(start.at, 1) for start in row.history().starts] + [(end.at, -1) for end in row.history().ends]
    running = most = 0
    for _, change in sorted(marks):
        running += change
        most = max(most, running)
    return most


async def test_row_54_a_herd_at_the_full_hour(platform: Platform) -> None:
    async with Row.of(platform, "54") as row:
        made: list[Made] = await row.burst(300)
        runs = await row.over(*made, seconds=60)
        assert {run.phase for run in runs} == {"Succeeded"}
        seats = Counter(run.status.assigned_pod for run in runs)
        assert min(seats.values()) > 300 / platform.size.bash_pods / 2, seats

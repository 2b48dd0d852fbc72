"""Rows 8 to 17: the API server is away, hangs, forgets, lies, refuses; what runs goes on, and nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from k8s.api.names import SCHEDULER_LEASE
from k8s.client.transport import FIRST_PAGE_SIZE
from tests.fault import processes
from tests.fault.history import Made
from tests.fault.platform import LEASE_SECONDS, STALE_SECONDS, Platform
from tests.fault.row import OURS, RETRYING, Row

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(120)]

LOAD = 200
OUTAGE_SECONDS = STALE_SECONDS + 2
"""60 s in the table: longer than any lease and than the silence after which a Pod loses its Runs."""
STORM_SECONDS = 6.0
STORM_LOAD = FIRST_PAGE_SIZE - 10
"""Every list has one page: what is counted is requests."""
RETRY_AFTER_SECONDS = 2
STATUS_WRITES: dict[str, Any] = {"verbs": ["patch"], "resources": ["runs.kruntimes.io"], "subresources": ["status"]}
LINES: dict[str, Any] = {"verbs": ["watch"]}


async def all_succeed(row: Row, made: list[Made], *, seconds: float = 60) -> None:
    assert {run.phase for run in await row.over(*made, seconds=seconds)} == {"Succeeded"}


def rss_mib(platform: Platform, role: str) -> float:
    return max(processes.usage_of(pid).rss_bytes for pid in platform.roles()[role]) / (1 << 20)


async def test_row_08_the_api_server_is_down_while_runs_run_and_end(platform: Platform) -> None:
    async with Row.of(platform, "08") as row:
        made, gate = await row.in_flight(LOAD)
        before = rss_mib(platform, "runtimed")
        platform.api.stop()
        await asyncio.sleep(OUTAGE_SECONDS / 2)
        assert len(set(platform.user_processes().values())) == LOAD, "what runs must go on"
        gate.open()
        await row.until(lambda: not platform.user_processes(), seconds=20, what="all have ended while nobody could be told")
        await asyncio.sleep(OUTAGE_SECONDS / 2)
        growth = rss_mib(platform, "runtimed") - before
        platform.api.start()
        returned_at = time.monotonic()
        await all_succeed(row, made)
        row.note("last result written after the return", max(map(row.ended_at, made)) - returned_at, unit="s", at_most=5)
        row.note("growth of runtimed meanwhile", growth, unit="MiB", at_most=32)
        assert len(row.history().starts) == LOAD


async def test_row_09_leaders_stop_writing_when_they_cannot_renew(platform: Platform) -> None:
    """Judged by the API server's own log: no status write lands more than a lease after its writer's last renewal."""
    async with Row.of(platform, "09") as row:
        made, gate = await row.in_flight(LOAD, retryPolicy=RETRYING)
        leader = await row.leader(SCHEDULER_LEASE)
        platform.api.stop()
        stopped_at = time.monotonic()
        await row.until(lambda: "leadership is lost" in row.said.by(leader), seconds=LEASE_SECONDS + 5, what="the leader steps down")
        row.note("leader steps down", time.monotonic() - stopped_at, unit="s", at_most=LEASE_SECONDS)
        await asyncio.sleep(max(0.0, stopped_at + OUTAGE_SECONDS - time.monotonic()))
        platform.api.start()
        gate.open()
        await all_succeed(row, [*made, await row.create()])


async def test_row_09_a_leader_steps_down_with_hundreds_of_writes_in_flight(platform: Platform) -> None:
    """What was decided and not sent is never sent; the process lives and leads again."""
    async with Row.of(platform, "09") as row:
        leader = await row.leader(SCHEDULER_LEASE)
        pid = platform.system.processes[leader]
        mine = {"user_agent": f"krt-scheduler*_{pid})"}
        await row.fail({**STATUS_WRITES, **mine}, {"kind": "delay", "until_released": True})
        made = await row.burst(LOAD)
        await row.fail({"resources": ["leases.coordination.k8s.io"], **mine}, {"kind": "answer", "code": 500})
        await row.until(lambda: "leadership is lost" in row.said.by(leader), seconds=20, what="the leader steps down")
        await row.relent()
        await all_succeed(row, made)
        assert processes.is_alive(pid)
        assert row.said.errors() == []


async def test_row_10_the_api_server_accepts_and_never_answers(platform: Platform) -> None:
    async with Row.of(platform, "10") as row:
        leader = await row.leader(SCHEDULER_LEASE)
        pid = platform.system.processes[leader]
        hung_at = time.monotonic()
        await row.fail({"user_agent": f"krt-scheduler*_{pid})"}, {"kind": "hang"})
        await row.until(lambda: "leadership is lost" in row.said.by(leader), seconds=10, what="the leader steps down")
        row.note("leader steps down", time.monotonic() - hung_at, unit="s", at_most=LEASE_SECONDS)
        bound_at = await row.bound(await row.create())
        row.note("another binds", bound_at - hung_at, unit="s", at_most=LEASE_SECONDS + 2)
        made, gate = await row.in_flight(1)
        await row.fail({**STATUS_WRITES, "name": made[0].name, "user_agent": "runtimed*"}, {"kind": "hang"}, count=1)
        gate.open()
        ended_at = time.monotonic()
        await all_succeed(row, made)
        row.note("a request that hangs is given up", row.ended_at(made[0]) - ended_at, unit="s", at_most=11)


async def test_row_11_watches_are_dropped_every_100_ms(platform: Platform) -> None:
    async with Row.of(platform, "11") as row:
        async with row.again_and_again(row.cut_watches, pause_seconds=0.1):
            await all_succeed(row, await row.burst(LOAD))
        assert len(row.history().starts) == LOAD


async def test_row_12_watches_end_inside_a_line(platform: Platform) -> None:
    """Half a line is a disconnect: no half object is applied, and nobody complains of what cannot be parsed."""
    async with Row.of(platform, "12") as row:
        armed = [await row.fail({**LINES, "user_agent": who}, {"kind": "truncate"}, probability=0.1, seed=12) for who in OURS]
        await all_succeed(row, await row.burst(LOAD))
        assert sum([await row.hits(each) for each in armed]) > 20
        assert len(row.history().starts) == LOAD
        assert row.said.errors() == []


async def test_row_13_history_is_gone_again_and_again(platform: Platform) -> None:
    """Everybody lists anew, but nobody more than once a second: a 410 storm must not become a list storm."""
    async with Row.of(platform, "13") as row:
        lists = {"verbs": ["list"], "resources": ["runs.kruntimes.io"]}
        pid = platform.system.processes[await row.leader(SCHEDULER_LEASE)]
        scheduler = await row.fail({**lists, "user_agent": f"krt-scheduler*_{pid})"}, {"kind": "delay"})
        runtimed = await row.fail({**lists, "user_agent": "runtimed*"}, {"kind": "delay"})
        await row.storm_of_410()
        began_at = time.monotonic()
        made = await row.burst(STORM_LOAD)
        await asyncio.sleep(max(0.0, began_at + STORM_SECONDS - time.monotonic()))
        seconds = time.monotonic() - began_at
        scheduler_lists, runtimed_lists = await row.hits(scheduler), await row.hits(runtimed)
        await row.relent()
        await all_succeed(row, made)
        assert scheduler_lists >= 2, "the storm never came"
        row.note("lists of Runs by the scheduler", (scheduler_lists - 1) / seconds, unit="/s", at_most=1)
        row.note("lists of Runs by each runtimed", (runtimed_lists / platform.size.pods - 1) / seconds, unit="/s", at_most=1)
        assert len(row.history().starts) == STORM_LOAD


async def test_row_14_events_come_twice_late_and_from_an_old_replica(platform: Platform) -> None:
    """And a scheduler that starts on an old list, which nothing but its resourceVersions keeps from doing harm."""
    async with Row.of(platform, "14") as row:
        for who in OURS[:3]:
            for seed, kind in enumerate(("duplicate", "reorder")):
                await row.fail({**LINES, "resources": ["runs.kruntimes.io"], "user_agent": who}, {"kind": kind}, probability=0.3, seed=seed)
        for who in ("krt-scheduler*", "krt-controller*"):
            await row.fail({"verbs": ["list"], "user_agent": who}, {"kind": "stale", "writes": 50})
        made = await row.burst(LOAD // 2)
        for name in ("scheduler", "scheduler-2", "controllers"):
            platform.system.stop_one(name, kill=True)
        platform.heal()
        made += await row.burst(LOAD // 2)
        # An event that was held back goes out with the next one: something must follow the last.
        await row.relent()
        await row.cut_watches()
        await all_succeed(row, made)
        assert len(row.history().starts) == LOAD


async def test_row_15_events_are_never_seen(platform: Platform) -> None:
    """Nothing but a new list can repair that; it must do so wholly."""
    async with Row.of(platform, "15") as row:
        for who in OURS[:3]:
            await row.fail({**LINES, "resources": ["runs.kruntimes.io"], "user_agent": who}, {"kind": "suppress"}, probability=0.3, seed=15)
        made = await row.burst(LOAD)
        await asyncio.sleep(2)
        stuck = sum(not row.is_over(each) for each in made)
        assert stuck > LOAD / 10, "the suppressed events did no harm: this row tests nothing"
        began_at = time.monotonic()
        await row.make_all_list_anew()
        await all_succeed(row, made)
        row.note("all converged after the next list", time.monotonic() - began_at, unit="s", at_most=10)


async def test_row_16_half_of_all_writes_meet_a_conflict(platform: Platform) -> None:
    async with Row.of(platform, "16") as row:
        conflict = {"kind": "answer", "code": 409, "reason": "Conflict"}
        armed = [
            await row.fail({**STATUS_WRITES, "user_agent": who}, conflict, probability=0.5, seed=16)
            for who in ("krt-scheduler*", "krt-controller*", "runtimed*")
        ]
        made = await row.burst(LOAD)
        await all_succeed(row, made)
        refused = sum([await row.hits(each) for each in armed])
        landed = sum(write.is_status_of_run for write in row.history().writes)
        row.note("mean retries a write", refused / landed, unit="", at_most=3)
        await row.relent()
        [held], gate = await row.in_flight(1)
        armed = [await row.fail({**STATUS_WRITES, "name": held.name, "user_agent": "runtimed*"}, conflict)]
        gate.open()
        await asyncio.sleep(3)
        row.note("writes of one key that always conflicts", await row.hits(armed[0]) / 3, unit="/s", at_most=20)


@pytest.mark.parametrize("code", [429, 500, 503])
async def test_row_17_the_api_server_is_overloaded_or_fails(platform: Platform, code: int) -> None:
    async with Row.of(platform, "17") as row:
        answer = {"kind": "answer", "code": code, "reason": "TooManyRequests" if code == 429 else "InternalError"}
        for who in OURS:
            await row.fail({"user_agent": who}, answer, probability=0.3, seed=17)
        await all_succeed(row, await row.burst(LOAD // 2, retryPolicy=RETRYING))


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize(("who", "phase"), [("krt-scheduler*", "Scheduled"), ("runtimed*", "Succeeded")])
async def test_row_17_nobody_comes_back_before_retry_after(platform: Platform, code: int, who: str, phase: str) -> None:
    async with Row.of(platform, "17") as row:
        name = f"row-17-{code}-{phase.lower()}"
        answer = {"kind": "answer", "code": code, "reason": "Busy", "retry_after_seconds": RETRY_AFTER_SECONDS}
        armed = await row.fail({**STATUS_WRITES, "name": name, "user_agent": who}, answer, count=1)
        made = await row.create(name=name)
        await row.client.request("GET", f"/failpoints/{armed}", query={"hits": "1"}, timeout_seconds=20)
        told_at = await row.last_hit_at(armed)
        await all_succeed(row, [made])
        [landed] = [write.monotonic for write in row.history().writes if write.phase == phase and write.is_status_of_run][:1]
        assert landed - told_at >= RETRY_AFTER_SECONDS
        await row.delete(made)


async def test_row_17_requests_time_out(platform: Platform) -> None:
    async with Row.of(platform, "17") as row:
        for who in OURS[:3]:
            await row.fail({**STATUS_WRITES, "user_agent": who}, {"kind": "hang"}, count=5)
        await all_succeed(row, await row.burst(20))

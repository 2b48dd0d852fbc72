"""Row 7: a crash between any two API writes. The points are found by looking at clean lives, so that none can be forgotten.

Each point is one Run: its k-th status write is held at the API server, its writer is killed with SIGKILL, and the write is then
thrown away (`before`), lands all the same (`late`), or had landed unanswered (`after`). All Runs are held at their points at the
same time, so that one kill serves them all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from k8s.api.names import CONTROLLER_LEASE, SCHEDULER_LEASE
from k8s.client import RUNS, merge_patch
from tests.fault import figures
from tests.fault.checkers import TESTER
from tests.fault.history import Made, Write
from tests.fault.platform import NAMESPACE, Platform
from tests.fault.processes import kill
from tests.fault.row import RETRYING, Row

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(180)]

WRITERS = "[kr]*"
"""krt-scheduler, krt-controller, runtimed: not the hand that plays the lost Pod."""
VARIANTS = ("before", "late", "after")


async def leave_alone(row: Row, made: Made, reached: asyncio.Event) -> None:
    """Nobody does anything to it."""


async def cancel_once_shown(row: Row, made: Made, reached: asyncio.Event) -> None:
    await until_shown(row, made, reached)
    await row.cancel(made)


async def delete_once_shown(row: Row, made: Made, reached: asyncio.Event) -> None:
    await until_shown(row, made, reached)
    await row.delete(made)


async def until_shown(row: Row, made: Made, reached: asyncio.Event) -> None:
    """It runs, and `Running` has landed or is what is held: a harm that comes earlier would overtake that write."""
    await row.until(
        lambda: bool(row.starts(made)) and (reached.is_set() or row.written_at(made, "Running") is not None), seconds=60, what="it is shown"
    )


async def pretend_its_pod_is_gone(row: Row, made: Made, reached: asyncio.Event) -> None:
    """Bound to a Pod that never was, before the scheduler may try again (`hold_off_the_scheduler`): the reaper takes it away.

    Each to one of its own, for the Runs of one lost Pod are taken away one after the other, and here each waits at its point.
    """
    gone = f"gone-{made.uid}"
    bound = merge_patch({"status": {"phase": "Running", "assignedPod": gone, "assignedPodUID": gone, "attempt": 0}})
    await row.client.patch(RUNS, made.name, bound, namespace=NAMESPACE, subresource="status")


async def hold_off_the_scheduler(row: Row, name: str) -> None:
    """Its first try is refused for a while, and never reaches the failpoints that come after this one."""
    match = {"verbs": ["patch"], "resources": ["runs.kruntimes.io"], "name": name, "user_agent": "krt-scheduler*"}
    await row.fail(match, {"kind": "answer", "code": 429, "retry_after_seconds": 3}, count=1)


@dataclass(frozen=True, slots=True)
class Life:
    """One way for a Run to live, and how it must end, whatever crashes."""

    body: str
    phases: frozenset[str]
    then: Callable[[Row, Made, asyncio.Event], Awaitable[None]] = leave_alone
    first: Callable[[Row, str], Awaitable[None]] | None = None
    """Done before it is created."""
    spec: dict[str, Any] = field(default_factory=dict)


LIVES = {
    "succeeds": Life("sleep 0.5", frozenset({"Succeeded"})),
    "fails once": Life(
        '[ "${a%.marker}" != 0 ] || { sleep 0.5; exit 1; }; sleep 0.5', frozenset({"Succeeded"}), spec={"retryPolicy": RETRYING}
    ),
    "times out": Life("sleep 600", frozenset({"Timeout"}), spec={"timeout": "1s"}),
    "is cancelled": Life("sleep 600", frozenset({"Cancelled"}), cancel_once_shown),
    "is deleted": Life("sleep 600", frozenset(), delete_once_shown),
    "loses its pod": Life(
        "sleep 0.5", frozenset({"Succeeded"}), pretend_its_pod_is_gone, hold_off_the_scheduler, {"retryPolicy": RETRYING}
    ),
}


@dataclass(frozen=True, slots=True)
class Point:
    """Where a writer dies."""

    life: str
    write: int
    what: str
    variant: str

    def __str__(self) -> str:
        return f"{self.life}: write {self.write + 1} ({self.what}), {self.variant}"


def status_writes(row: Row, made: Made) -> list[Write]:
    return [
        write
        for write in row.platform.history().writes
        if write.name == made.name and write.is_status_of_run and write.user_agent != TESTER
    ]


async def find_points(row: Row) -> list[Point]:
    """By one clean life of each kind."""
    found = await asyncio.gather(*(find_points_of(row, name) for name in LIVES))
    return [point for points in found for point in points]


async def find_points_of(row: Row, life: str) -> list[Point]:
    name = f"row-07-{life.replace(' ', '-')}"
    first = LIVES[life].first
    if first is not None:
        await first(row, name)
    made = await live(row, LIVES[life], name=name, reached=asyncio.Event())
    await row.until(lambda: row.is_done(made), seconds=30, what=f"a Run that {life} is over")
    writes = status_writes(row, made)
    assert writes, life
    return [Point(life, number, describe(write), variant) for number, write in enumerate(writes) for variant in VARIANTS]


def describe(write: Write) -> str:
    return f"{write.user_agent.split(' ')[0]} writes {write.phase}"


async def hold(row: Row, point: Point) -> tuple[str, str]:
    """Arms the point for a Run that is not yet made: its name, and the failpoint that holds it."""
    name = f"row-07-{point.life.replace(' ', '-')}-{point.write}-{point.variant}"
    match = {"verbs": ["patch"], "resources": ["runs.kruntimes.io"], "subresources": ["status"], "name": name}
    held = {"kind": "delay", "until_released": True, "when": "after" if point.variant == "after" else "before"}
    first = LIVES[point.life].first
    if first is not None:
        await first(row, name)
    order = {"skip": point.write, "count": 1}
    armed = await row.fail({**match, "user_agent": WRITERS}, held, **order)
    if point.variant == "before":
        await row.fail({**match, "user_agent": WRITERS}, {"kind": "drop"}, **order)
    return name, armed


async def live(row: Row, life: Life, *, name: str, reached: asyncio.Event) -> Made:
    made = await row.create(life.body, name=name, **life.spec)
    await life.then(row, made, reached)
    return made


async def test_row_07_a_crash_before_and_after_every_write(platform: Platform) -> None:
    async with Row.of(platform, "07") as row:
        points = await find_points(row)
        held = {point: await hold(row, point) for point in points}
        reached = {point: asyncio.Event() for point in points}
        lives = [asyncio.create_task(live(row, LIVES[point.life], name=name, reached=reached[point])) for point, (name, _) in held.items()]
        await asyncio.gather(*(until_hit(row, point, armed, reached[point]) for point, (_, armed) in held.items()))
        platform.system.stop_one(await row.leader(SCHEDULER_LEASE), kill=True)
        platform.system.stop_one(await row.leader(CONTROLLER_LEASE), kill=True)
        for pid in platform.containers("runtimed").values():
            kill(pid)
        for _, armed in held.values():
            await row.client.request("DELETE", f"/failpoints/{armed}")
        platform.heal()
        made = dict(zip(points, await asyncio.gather(*lives), strict=True))
        await row.until(lambda: all(map(row.is_done, made.values())), seconds=60, what="all are over")
        wrong = [
            f"{point}: {run.phase}"
            for point, each in made.items()
            if (run := row.run_of(each)) and run.phase not in LIVES[point.life].phases
        ]
        assert not wrong, "\n".join(wrong)
        figures.note("07", "crash points, all converged", len(points), unit="", bound=">= 40")
        assert len(points) >= 40
        for point in points:
            figures.note("07-points", str(point), 1, unit="", bound="converged")


async def until_hit(row: Row, point: Point, armed: str, reached: asyncio.Event) -> None:
    try:
        await row.client.request("GET", f"/failpoints/{armed}", query={"hits": "1"}, timeout_seconds=40.0)
    except Exception as error:
        raise AssertionError(f"never reached: {point}") from error
    reached.set()

"""What the fault table does not number: timeouts to the tenth of a second, cancels to the half, and neighbours that do not notice."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import pytest

from tests.fault.history import Made
from tests.fault.neighbours import Control, control_load, p99
from tests.fault.platform import Platform
from tests.fault.row import Row

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(120)]

GRACE_SECONDS = 2.0
DEAF = (
    "trap '' TERM; (setsid bash -c 'trap \"\" TERM HUP; exec >/dev/null 2>&1; while :; do sleep 100; done' & ); while :; do sleep 100; done"
)
CONTROLS = 500


async def test_a_timeout_ends_an_attempt_between_1_and_1_1_seconds_after_its_start_also_on_retry(platform: Platform) -> None:
    """The start is the marker, which is made a moment before the first instruction; the end is that of the main process."""
    async with Row.of(platform, "timeouts") as row:
        made = await row.create("exec sleep 600", timeout="1s", retryPolicy={"maxAttempts": 3, "backoff": "100ms"})
        lasted = [await watch_attempt(row, made, number) for number in range(3)]
        [run] = await row.over(made)
        assert (run.phase, run.status.attempt) == ("Timeout", 3)
        for number, seconds in enumerate(lasted):
            row.note(f"attempt {number + 1} with a timeout of 1 s lasts", seconds, unit="s", at_most=1.1)
            assert seconds >= 1.0


async def watch_attempt(row: Row, made: Made, number: int) -> float:
    """From the marker of the attempt that is the `number`th to start, to the end of its main process, told by the kernel."""
    await row.until(lambda: len(row.starts(made)) > number, seconds=20, what="it has started")
    start = row.starts(made)[number]
    marker = row.platform.markers_of(start.pod_uid) / f"{made.uid}@{start.attempts[0]}.marker"
    made_at = marker.stat().st_mtime - (time.time() - time.monotonic())
    return await end_of(start.pid) - made_at


async def end_of(pid: int) -> float:
    """On the monotonic clock."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[float] = loop.create_future()
    fd = os.pidfd_open(pid)
    loop.add_reader(fd, _settle, ended)
    try:
        return await ended
    finally:
        loop.remove_reader(fd)
        os.close(fd)


def _settle(ended: asyncio.Future[float]) -> None:
    if not ended.done():
        ended.set_result(time.monotonic())


async def test_a_cancelled_run_that_is_deaf_is_gone_in_its_grace_and_half_a_second_with_its_daemon(platform: Platform) -> None:
    async with Row.of(platform, "cancel") as row:
        made = await row.create(DEAF)
        await row.until(lambda: len(row.pids(made)) >= 4, seconds=20, what="it and its daemon run")
        cancelled_at = time.monotonic()
        await row.cancel(made)
        await row.until(lambda: not row.pids(made), seconds=10, what="all of it is gone")
        row.note("deaf Run and its daemon gone after the cancel", time.monotonic() - cancelled_at, unit="s", at_most=GRACE_SECONDS + 0.5)
        assert (await row.over(made))[0].phase == "Cancelled"


async def test_a_failing_run_does_not_move_its_neighbours(platform: Platform) -> None:
    """A control load, interleaved with the same load beside Runs that fail, time out and die by signals; p99 of create to start."""
    async with Row.of(platform, "neighbours") as row:
        alone: list[Control] = []
        beside: list[Control] = []
        for _ in range(10):
            alone += await control_load(row, CONTROLS // 10)
            failing = asyncio.create_task(fail_again_and_again(row))
            beside += await control_load(row, CONTROLS // 10)
            failing.cancel()
        ratio = p99(each.to_start for each in beside) / p99(each.to_start for each in alone)
        row.note("p99 of create to start beside failing Runs, against alone", ratio, unit="x", at_most=2)


FAILING: tuple[tuple[str, dict[str, Any]], ...] = (
    ("exit 1", {}),
    ("kill -9 $$", {}),
    ("sleep 10", {"timeout": "200ms"}),
    ("echo nonsense >> $KRUNTIME_OUTPUTS", {}),
)


async def fail_again_and_again(row: Row) -> None:
    """One failing Run at a time."""
    while True:
        for body, spec in FAILING:
            await row.over(await row.create(body, **spec))

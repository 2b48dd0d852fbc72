"""Background tasks: none vanishes, none outlives its scope, and they stop in the order that is safe."""

from __future__ import annotations

import asyncio

import pytest

from k8s.manager import TaskCrashed, Tasks


async def forever() -> None:
    await asyncio.Event().wait()


async def fail() -> None:
    raise ZeroDivisionError("by design")


async def test_what_still_runs_at_the_end_is_cancelled_the_last_first() -> None:
    ended = []

    async def work(name: str) -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(0)
            ended.append(name)

    async with Tasks() as tasks:
        for name in ("first", "second", "third"):
            tasks.start(work(name), name=name)
        await asyncio.sleep(0)
    assert ended == ["third", "second", "first"]


async def test_the_crash_of_a_critical_task_ends_the_body(caplog: pytest.LogCaptureFixture) -> None:
    is_cleaned_up = False

    async def body() -> None:
        nonlocal is_cleaned_up
        async with Tasks() as tasks:
            tasks.start(fail(), name="watch runs")
            try:
                await forever()
            finally:
                await asyncio.sleep(0)
                is_cleaned_up = True

    with pytest.raises(TaskCrashed) as caught:
        await body()
    assert is_cleaned_up
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert caplog.records[0].__dict__["task"] == "watch runs"
    current = asyncio.current_task()
    assert current is not None
    assert current.cancelling() == 0


async def test_the_crash_of_any_other_task_is_logged_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    async with Tasks() as tasks:
        task = tasks.start(fail(), name="run hello", critical=False)
        await asyncio.wait({task})
        assert len(tasks) == 0
    assert caplog.records[0].message == "task died"


async def test_a_task_that_ends_well_is_forgotten() -> None:
    async with Tasks() as tasks:
        await tasks.start(asyncio.sleep(0), name="short")
        assert len(tasks) == 0


async def test_a_crash_while_stopping_is_told_too() -> None:
    async def fail_late() -> None:
        try:
            await forever()
        finally:
            raise ZeroDivisionError

    async def body() -> None:
        async with Tasks() as tasks:
            tasks.start(fail_late(), name="late")
            await asyncio.sleep(0)

    with pytest.raises(TaskCrashed):
        await body()


async def test_a_task_that_does_not_stop_keeps_the_others_only_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    may_end = asyncio.Event()

    async def stubborn() -> None:
        while not may_end.is_set():
            try:
                await may_end.wait()
            except asyncio.CancelledError:
                continue

    async with Tasks(stop_seconds=0.01) as tasks:
        other = tasks.start(forever(), name="other")
        task = tasks.start(stubborn(), name="stubborn")
        await asyncio.sleep(0)
    assert other.cancelled()
    assert caplog.records[0].__dict__["task"] == "stubborn"
    may_end.set()
    await task


async def test_nothing_starts_after_the_end() -> None:
    async with Tasks() as tasks:
        pass
    with pytest.raises(RuntimeError, match="after the end"):
        tasks.start(forever(), name="too late")


async def test_an_error_of_the_body_wins() -> None:
    async def body() -> None:
        async with Tasks() as tasks:
            tasks.start(forever(), name="other")
            raise KeyError

    with pytest.raises(KeyError):
        await body()


async def test_a_cancellation_from_outside_goes_through() -> None:
    async def body() -> None:
        async with Tasks() as tasks:
            tasks.start(forever(), name="other")
            await forever()

    task = asyncio.create_task(body())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

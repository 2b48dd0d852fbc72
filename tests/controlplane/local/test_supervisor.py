"""Keeping a real program running."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from controlplane.local.processes import identify
from controlplane.local.records import Records
from controlplane.local.supervisor import MAX_LOG_BYTES, Program, Supervised, bound_log

Supervise = Callable[..., Supervised]


@pytest.fixture
async def supervise(tmp_path: Path) -> AsyncIterator[Supervise]:
    running: list[tuple[Supervised, asyncio.Task[None]]] = []

    def supervise(script: str, *, stop_seconds: float = 5, **options: Any) -> Supervised:
        program = Program("it", lambda: ["bash", "-c", script], environment=dict(os.environ), stop_seconds=stop_seconds, **options)
        one = Supervised(
            program, records=Records(tmp_path / "records"), log_path=tmp_path / "it.log", directory=tmp_path, on_change=lambda: None
        )
        running.append((one, asyncio.create_task(one.run())))
        return one

    yield supervise
    for one, task in running:
        await one.stop()
        await task
    assert not list((tmp_path / "records").iterdir())


async def until(one: Supervised, condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            one.changed.clear()
            await one.changed.wait()


async def test_it_is_ready_when_it_says_so(supervise: Supervise) -> None:
    one = supervise("""echo '{"url": "http://here"}'; exec sleep 1000""", announces=True)
    await until(one, one.ready.is_set)
    assert one.announcement == {"url": "http://here"}
    assert one.status.state == "Running"
    assert one.status.pid


async def test_it_is_ready_when_its_check_passes(supervise: Supervise) -> None:
    answers = iter([False, False, True])

    async def is_ready() -> bool:
        return next(answers)

    one = supervise("exec sleep 1000", is_ready=is_ready)
    await until(one, one.ready.is_set)


async def test_it_is_started_again_when_killed_and_announces_itself_anew(supervise: Supervise) -> None:
    one = supervise("""echo "{\\"pid\\": $$}"; exec sleep 1000""", announces=True)
    await until(one, one.ready.is_set)
    first = one.announcement["pid"]
    os.kill(first, signal.SIGKILL)
    await until(one, lambda: one.announcement["pid"] != first and one.state == "Running")
    assert one.restarts == 1
    assert one.early_ends == 0
    assert identify(one.announcement["pid"])


async def test_ends_before_it_was_ever_ready_are_counted(supervise: Supervise) -> None:
    one = supervise("echo 'it is broken' >&2; exit 3", announces=True)
    await until(one, lambda: one.early_ends >= 2)
    assert "it is broken" in one.log_tail()


@pytest.mark.slow
async def test_a_program_that_prints_more_than_its_announcement_is_not_blocked(supervise: Supervise, tmp_path: Path) -> None:
    one = supervise("""echo '{"url": 1}'; head -c 1000000 /dev/zero | tr '\\0' '\\n'; echo '{"url": 2}'; exit 0""", announces=True)
    await until(one, lambda: one.restarts >= 1)
    assert one.announcement == {"url": 1}


async def test_stopping_leaves_nothing(supervise: Supervise) -> None:
    one = supervise("""trap '' TERM; sleep 1000 & echo '{"pid": '$!'}'; wait; wait; exit 0""", announces=True, stop_seconds=0.05)
    await until(one, one.ready.is_set)
    await one.stop()
    assert identify(one.announcement["pid"]) is None


def test_a_log_is_bounded_while_it_is_written_to(tmp_path: Path) -> None:
    path = tmp_path / "it.log"
    with path.open("ab") as log:
        log.truncate(MAX_LOG_BYTES + 1)
        bound_log(path)
        log.write(b"next\n")
    assert path.read_bytes() == b"next\n"
    assert (tmp_path / "it.log.1").stat().st_size == MAX_LOG_BYTES + 1

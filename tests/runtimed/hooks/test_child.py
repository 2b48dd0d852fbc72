"""Helper programs: bounded, and gone with whoever waits for them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runtimed.hooks.child import TRUNCATED, Ended, run_child
from tests.controlplane.local.waiting import gone
from tests.fault.processes import is_alive

pytestmark = pytest.mark.slow
REPO = Path(__file__).parents[3]


async def run(script: str, *, folder: Path, seconds: float = 20, **limits: Any) -> Ended:
    defaults = {"max_output_bytes": 1000, "max_file_bytes": 1 << 20}
    return await run_child(["bash", "-c", script], environment=os.environ, directory=str(folder), seconds=seconds, **(defaults | limits))


async def test_exit_code_and_both_streams_are_told(tmp_path: Path) -> None:
    assert await run("echo out; echo err >&2; exit 3", folder=tmp_path) == Ended(3, "out\nerr\n")


async def test_a_program_that_is_not_there_is_told_by_its_exit_code(tmp_path: Path) -> None:
    command = ["no-such-program"]
    ended = await run_child(command, environment=os.environ, directory=str(tmp_path), seconds=20, max_output_bytes=100, max_file_bytes=1)
    assert ended == Ended(127, "no-such-program: No such file or directory\n")


async def test_a_flood_is_read_to_its_end_and_cut(tmp_path: Path) -> None:
    ended = await run("head -c 3000000 /dev/zero | tr '\\0' x; exit 0", folder=tmp_path)
    assert ended == Ended(0, "x" * 1000 + TRUNCATED)


async def test_a_file_over_the_limit_cannot_be_written(tmp_path: Path) -> None:
    ended = await run("head -c 3000000 /dev/zero > big", folder=tmp_path)
    assert ended.exit_code != 0
    assert (tmp_path / "big").stat().st_size == 1 << 20


async def test_what_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError):
        await run("sleep 100 & echo $! > child; echo $$ > leader; trap '' TERM; wait", folder=tmp_path, seconds=1)
    leader, child = (int((tmp_path / name).read_text()) for name in ("leader", "child"))
    assert not is_alive(leader)
    # Nobody's child any more: it has been killed, and dies when a busy kernel gets to it.
    await gone(child)


async def test_a_cancelled_one_is_killed_before_the_cancel_is_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ready")
    task = asyncio.create_task(run("echo $$ > ready; sleep 100", folder=tmp_path))
    pid = int(await asyncio.to_thread((tmp_path / "ready").read_text))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not is_alive(pid)


async def test_it_dies_with_whoever_started_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ready")
    program = (
        "import asyncio, os; from runtimed.hooks.child import run_child\n"
        f"asyncio.run(run_child(['bash', '-c', 'echo $$ > ready; exec sleep 100'], environment=os.environ, directory={str(tmp_path)!r},"
        " seconds=100, max_output_bytes=1, max_file_bytes=1000))"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=REPO)  # noqa: ASYNC220 - the test is about it
    pid = int(await asyncio.to_thread((tmp_path / "ready").read_text))
    fd = os.pidfd_open(pid)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(fd, ended.set)
    parent.kill()
    parent.wait()
    await asyncio.wait_for(ended.wait(), 10)
    asyncio.get_running_loop().remove_reader(fd)
    os.close(fd)

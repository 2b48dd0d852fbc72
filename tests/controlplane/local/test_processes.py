"""Starting, watching and ending real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from controlplane.local.processes import Child, Identity, boot_id, identify, is_alive, kill_session, read_stat, send_signal, start_child
from controlplane.local.records import CONTAINER_ID, Records
from tests.controlplane.local.waiting import gone

Start = Callable[..., Child]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    children: list[Child] = []

    def start(script: str, *, environment: dict[str, str] | None = None) -> Child:
        with (tmp_path / "out").open("ab") as out:
            child = start_child(
                ["bash", "-c", script],
                environment={"PATH": os.environ["PATH"], **(environment or {})},
                directory=tmp_path,
                stdout=out,
                stderr=out,
            )
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()
        await child.wait()


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """A FIFO in the working directory: what a script writes there tells that it has come so far."""
    path = tmp_path / "told"
    os.mkfifo(path)
    return path


async def line(told: Path) -> str:
    return (await asyncio.to_thread(told.read_text)).strip()


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", -9), ("kill -TERM $$", -15)])
async def test_the_way_it_ended_is_known(start: Start, script: str, code: int) -> None:
    assert await start(script).wait() == code


async def test_many_may_wait(start: Start) -> None:
    child = start("exit 3")
    assert await asyncio.gather(child.wait(), child.wait()) == [3, 3]  # type: ignore[comparison-overlap]
    assert await child.wait() == 3


async def test_its_environment_is_what_it_was_given(start: Start, tmp_path: Path) -> None:
    await start("env > seen", environment={"MINE": "1"}).wait()
    names = {line.split("=")[0] for line in (tmp_path / "seen").read_text().splitlines()}
    assert names - {"PWD", "SHLVL", "_"} == {"PATH", "MINE"}


async def test_what_it_leaves_in_its_session_ends_with_it(start: Start, told: Path) -> None:
    child = start("set -m; sleep 1000 & echo $! > told; exit 0")
    await gone(int(await line(told)))
    assert await child.wait() == 0


async def test_stopping_asks_first(start: Start, told: Path) -> None:
    child = start("trap 'exit 5' TERM; echo ready > told; while :; do sleep 0.01; done")
    await line(told)
    assert await child.stop(grace_seconds=10) == 5


async def test_who_does_not_listen_is_killed_after_the_grace_period(start: Start, told: Path) -> None:
    child = start("trap '' TERM; echo ready > told; while :; do sleep 0.01; done")
    await line(told)
    assert await child.stop(grace_seconds=0.05) == -signal.SIGKILL


async def test_a_stopped_process_is_killed_too(start: Start, told: Path) -> None:
    child = start("trap 'exit 5' TERM; echo ready > told; while :; do sleep 0.01; done")
    await line(told)
    child.signal(signal.SIGSTOP)
    assert await child.stop(grace_seconds=0.05) == -signal.SIGKILL


async def test_a_program_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        start_child(["/no/such/program"], environment={}, directory=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_a_pid_with_another_start_time_is_another_process() -> None:
    mine = identify(os.getpid())
    assert mine is not None
    assert is_alive(mine)
    stranger = Identity(mine.pid, mine.started + 1, mine.boot_id)
    assert not is_alive(stranger)
    assert not send_signal(stranger, signal.SIGKILL)
    assert not is_alive(Identity(mine.pid, mine.started, "another boot"))


def test_the_kernels_line_is_read_whatever_the_programs_name(tmp_path: Path) -> None:
    program = tmp_path / "a ) S 1 (b"
    program.symlink_to("/bin/sleep")
    process = subprocess.Popen([program, "1000"], start_new_session=True)
    try:
        stat = read_stat(process.pid)
        assert stat is not None
        assert stat.session == process.pid
    finally:
        process.kill()
        process.wait()


async def test_children_die_with_a_parent_that_is_killed(told: Path) -> None:
    program = f"""
import asyncio, os, subprocess
from controlplane.local.processes import start_child
async def main():
    child = start_child(["sleep", "1000"], environment={{"PATH": os.environ["PATH"]}}, directory="/", stdout=-3, stderr=-3)
    open({str(told)!r}, "w").write(f"{{child.pid}}\\n")
    await child.wait()
asyncio.run(main())
"""
    parent = subprocess.Popen(  # noqa: ASYNC220 - it is to be killed, not awaited
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    try:
        pid = int(await line(told))
        assert identify(pid)
    finally:
        parent.kill()
        parent.wait()
    await gone(pid)


Leave = Callable[[str], Awaitable[tuple[Identity, int]]]


@pytest.fixture
async def leave_behind(tmp_path: Path, told: Path) -> AsyncIterator[Leave]:
    """A session whose leader has ended and left a process, as after the death of a node."""
    left: list[int] = []

    async def leave(container_id: str) -> tuple[Identity, int]:
        script = "sleep 1000 & echo $! > told; read _"
        leader = subprocess.Popen(  # noqa: ASYNC220 - no loop is to know of it
            ["bash", "-c", script],
            env={**os.environ, CONTAINER_ID: container_id},
            cwd=tmp_path,
            start_new_session=True,
            stdin=subprocess.PIPE,
        )
        pid = int(await line(told))
        left.append(pid)
        stat = read_stat(leader.pid)
        assert stat is not None
        assert leader.stdin is not None
        leader.stdin.close()
        leader.wait()
        return Identity(leader.pid, stat.started, boot_id()), pid

    yield leave
    for pid in left:
        if stat := read_stat(pid):
            send_signal(Identity(pid, stat.started, boot_id()), signal.SIGKILL)


async def test_a_recorded_session_is_ended_by_whoever_comes_next(tmp_path: Path, leave_behind: Leave) -> None:
    identity, pid = await leave_behind("pod-a-0")
    Records(tmp_path / "records").add(identity, container_id="pod-a-0")
    assert Records(tmp_path / "records").kill_leftovers() == 1
    await gone(pid)
    assert Records(tmp_path / "records").kill_leftovers() == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda identity: (identity, "another-container"),
        lambda identity: (Identity(identity.pid, identity.started, "another boot"), "pod-a-0"),
        lambda identity: (Identity(os.getpid(), 1, identity.boot_id), "pod-a-0"),
    ],
)
async def test_nothing_foreign_is_ended(tmp_path: Path, leave_behind: Leave, change: Callable[[Identity], tuple[Identity, str]]) -> None:
    identity, pid = await leave_behind("pod-a-0")
    recorded, container_id = change(identity)
    Records(tmp_path / "records").add(recorded, container_id=container_id)
    assert Records(tmp_path / "records").kill_leftovers() == 0
    assert identify(pid)


def test_a_damaged_record_is_dropped(tmp_path: Path) -> None:
    records = Records(tmp_path)
    (tmp_path / "1-1.json").write_text('{"pid": 1, "sta')
    assert records.kill_leftovers() == 0
    assert not list(tmp_path.iterdir())


def test_an_empty_session_is_no_error() -> None:
    assert kill_session(2**22 + 1) == 0

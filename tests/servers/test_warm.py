"""Children that are held ready: how many, and that no fault of them loses a Run, doubles it or leaves anything behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest
from krtpb.executor.v1 import stream_pb2

from servers.supervisor import process_tree
from tests.servers.processes import ServerProcess, is_alive, name_of, running_server, wait_until, wait_until_gone
from tests.servers.sessions import Session, new_uid, open_session

pytestmark = pytest.mark.slow

# By default, for two Runs at a time: of each of the two forms (a script, a command) as many.
BASH_HELD = 4
PYTHON_HELD = 2


async def run_warm(session: Session, server: ServerProcess, *args: str) -> bytes:
    """The output of one that ran in a held child, sooner or later."""
    async with asyncio.timeout(20):
        while True:
            run_uid = new_uid()
            heard = await session.run(*args, run_uid=run_uid)
            assert heard.outcome.reason == stream_pb2.EXIT_REASON_EXITED, heard.outcome
            if server.was_warm(run_uid):
                return heard.stdout


def kill(pids: list[int]) -> None:
    """Returns once they are dead: until then a child may still read the order that it gets meanwhile."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert wait_until_gone(pids, seconds=5) == []


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


# How many


async def test_as_many_are_held_as_runtimed_says_it_has_slots(own_server: ServerProcess, own_python_server: ServerProcess) -> None:
    own_server.until_held(BASH_HELD)
    own_python_server.until_held(PYTHON_HELD)
    async with open_session(own_server.port, slots=10), open_session(own_python_server.port, slots=10):
        own_server.until_held(14)
        own_python_server.until_held(10)
    async with open_session(own_server.port, slots=1), open_session(own_python_server.port, slots=1):
        own_server.until_held(2)
        own_python_server.until_held(1)
    async with open_session(own_server.port):
        own_server.until_held(2)


async def test_none_is_held_where_the_server_is_told_so(tmp_path: Path) -> None:
    with running_server("bash", work_dir=tmp_path, flags=("-v", "--warm", "0")) as server:
        async with open_session(server.port, slots=10) as session:
            run_uid = new_uid()
            assert (await session.run("echo on", run_uid=run_uid)).stdout == b"on\n"
            assert not server.was_warm(run_uid)
            assert server.held_pids() == []


async def test_each_child_runs_one_run_and_is_replaced_after_it(own_session: Session, own_server: ServerProcess) -> None:
    seen: set[int] = set()
    for _ in range(10):
        held = set(own_server.until_held(BASH_HELD))
        heard = await own_session.run("echo $$")
        assert heard.pid in held - seen
        assert int(heard.stdout) == heard.pid
        seen.add(heard.pid)


async def test_a_held_child_is_started_before_what_it_does_and_ended_after_it(own_session: Session, own_server: ServerProcess) -> None:
    for _ in range(50):
        own_server.until_held(BASH_HELD)
        heard = await own_session.run("echo ${EPOCHREALTIME/[^0-9]/}")
        assert heard.started_unix_micros < int(heard.stdout) < heard.outcome.exited_unix_micros


async def test_while_runs_fill_the_slots_no_more_are_held_than_the_rest(own_server: ServerProcess) -> None:
    async with open_session(own_server.port, slots=4) as session:
        own_server.until_held(8)
        run_uids = [await session.execute("echo ready; exec sleep 1000") for _ in range(4)]
        for run_uid in run_uids:
            await session.until_printed(run_uid, b"ready")
            assert own_server.was_warm(run_uid)
        own_server.until_held(4)
        for run_uid in run_uids:
            await session.forget(run_uid)
        own_server.until_held(8)


async def test_what_is_held_follows_what_is_run(own_server: ServerProcess) -> None:
    """Two scripts and two commands at first. Three commands at a time: one finds none ready, the first time only."""
    async with open_session(own_server.port, slots=2) as session:
        for expected in ([True, True, False], [True, True, True]):
            own_server.until_held(BASH_HELD)
            run_uids = [await session.execute("echo ready; exec sleep 1000") for _ in range(3)]
            for run_uid in run_uids:
                await session.until_printed(run_uid, b"ready")
            assert [own_server.was_warm(run_uid) for run_uid in run_uids] == expected
            for run_uid in run_uids:
                await session.forget(run_uid)


# Faults


async def test_a_child_killed_while_it_is_held_costs_nothing_but_its_replacement(own_session: Session, own_server: ServerProcess) -> None:
    held = own_server.until_held(BASH_HELD)
    kill(held)
    # At once, and most likely before the supervisor knows.
    heard = await own_session.run("echo on")
    assert (heard.stdout, heard.outcome.exit_code) == (b"on\n", 0)
    assert not set(own_server.until_held(BASH_HELD)) & set(held)
    assert await run_warm(own_session, own_server, "echo warm") == b"warm\n"


async def test_a_held_python_that_is_killed_costs_nothing_but_its_replacement(own_python_server: ServerProcess) -> None:
    async with open_session(own_python_server.port) as session:
        held = own_python_server.until_held(PYTHON_HELD)
        kill(held)
        assert (await session.run("-c", "print('on')")).stdout == b"on\n"
        assert not set(own_python_server.until_held(PYTHON_HELD)) & set(held)
        assert await run_warm(session, own_python_server, "-c", "print('warm')") == b"warm\n"


async def test_a_killed_keeper_takes_the_child_along_that_it_holds(own_session: Session, own_server: ServerProcess) -> None:
    held = own_server.until_held(BASH_HELD)
    running = await own_session.execute("echo ready; exec sleep 1000")
    await own_session.until_printed(running, b"ready")
    kill([process_tree.parent_of(pid) or 0 for pid in own_server.until_held(BASH_HELD - 1)])
    assert wait_until_gone([pid for pid in held if pid != own_session.heard(running).pid], seconds=2) == []
    assert (await own_session.run("echo on")).stdout == b"on\n"
    own_server.until_held(BASH_HELD - 1)
    # Nobody else was harmed.
    assert is_alive(own_session.heard(running).pid)
    await own_session.forget(running)
    own_server.until_held(BASH_HELD)


async def test_a_killed_zygote_is_replaced_and_what_it_forked_goes_on(own_python_server: ServerProcess) -> None:
    server = own_python_server
    async with open_session(server.port) as session:
        held = server.until_held(PYTHON_HELD)
        running = await session.execute("-c", "print('ready'); import signal; signal.pause()")
        await session.until_printed(running, b"ready")
        zygote = server.pid_of("krt-zygote")
        os.kill(zygote, signal.SIGKILL)
        assert await run_warm(session, server, "-c", "print('on')") == b"on\n"
        assert is_alive(session.heard(running).pid)
        assert session.heard(running).pid in held
        await session.forget(running)
        # Those that the first one forked.
        kill([process_tree.parent_of(pid) or 0 for pid in server.until_held(PYTHON_HELD)])
        assert wait_until(lambda: "krt-zygote" in map(name_of, server.all_pids()), seconds=5)
        server.until_held(PYTHON_HELD)
        assert server.pid_of("krt-zygote") != zygote
        assert await run_warm(session, server, "-c", "print('warm')") == b"warm\n"


@pytest.mark.parametrize("kind", ["bash", "python"])
async def test_a_killed_supervisor_takes_all_that_is_held_along_and_the_next_holds_again(tmp_path: Path, kind: str) -> None:
    count = BASH_HELD if kind == "bash" else PYTHON_HELD
    with running_server(kind, work_dir=tmp_path, flags=("-v",)) as server:
        server.until_held(count)
        before = server.all_pids()[1:]
        server.kill_supervisor()
        assert wait_until_gone(before, seconds=3) == []
        async with open_session(server.port) as session:
            assert wait_until(lambda: len(process_tree.children_of(server.pid)) == 1, seconds=5)
            server.until_held(count)
            args = ("echo warm",) if kind == "bash" else ("-c", "print('warm')")
            assert await run_warm(session, server, *args) == b"warm\n"


@pytest.mark.parametrize("kind", ["bash", "python"])
async def test_a_killed_server_leaves_nothing_that_is_held(tmp_path: Path, kind: str) -> None:
    with running_server(kind, work_dir=tmp_path) as server:
        server.until_held(BASH_HELD if kind == "bash" else PYTHON_HELD)
        everything = server.all_pids()
        server.process.kill()
        server.process.wait()
        assert wait_until_gone(everything, seconds=2) == []


@pytest.mark.parametrize("kind", ["bash", "python"])
async def test_a_server_that_is_asked_to_end_ends_all_that_is_held(tmp_path: Path, kind: str) -> None:
    with running_server(kind, work_dir=tmp_path) as server:
        server.until_held(BASH_HELD if kind == "bash" else PYTHON_HELD)
        everything = server.all_pids()
        server.process.terminate()
        assert server.process.wait(timeout=5) == 0
        assert [pid for pid in everything if is_alive(pid)] == []


async def test_runs_whose_children_are_killed_all_the_time_are_each_executed_once_at_most(
    own_session: Session, own_server: ServerProcess
) -> None:
    """A kill may meet a child that has begun: then that Run was killed. None is lost in silence, and none runs twice."""
    log = own_server.work_dir / "executed"
    run_uids: list[str] = []
    for _ in range(40):
        run_uids.append(await own_session.execute(f"echo $RUN >> {log}", env={"RUN": str(len(run_uids))}))
        for pid in own_server.held_pids()[:2]:
            with contextlib.suppress(ProcessLookupError):  # it has ended since we looked
                os.kill(pid, signal.SIGKILL)
    outcomes = [(await own_session.until_exited(run_uid)).outcome for run_uid in run_uids]
    executed = [int(line) for line in log.read_text().split()]
    assert len(executed) == len(set(executed))
    assert {number for number, outcome in enumerate(outcomes) if outcome.exit_code == 0} <= set(executed)
    assert {(outcome.reason, outcome.exit_code) for outcome in outcomes} <= {
        (stream_pb2.EXIT_REASON_EXITED, 0),
        (stream_pb2.EXIT_REASON_EXITED, 137),
    }
    own_server.until_held(BASH_HELD)


async def test_a_cancel_that_meets_the_start_ends_the_run_and_its_child_only(own_session: Session, own_server: ServerProcess) -> None:
    for _ in range(20):
        run_uid = await own_session.execute("echo started; exec sleep 1000")
        await own_session.cancel(run_uid)
        outcome = (await own_session.until_exited(run_uid)).outcome
        assert (outcome.reason, outcome.exit_code) == (stream_pb2.EXIT_REASON_CANCELLED, 143)
        await own_session.forget(run_uid)
    assert own_server.run_pids() == []
    own_server.until_held(BASH_HELD)


@pytest.mark.parametrize("kind", ["bash", "python"])
async def test_many_runs_leave_no_file_open_and_no_process_behind(tmp_path: Path, kind: str) -> None:
    count, args = (BASH_HELD, ("echo x",)) if kind == "bash" else (PYTHON_HELD, ("-c", "print('x')"))
    with running_server(kind, work_dir=tmp_path) as server:
        async with open_session(server.port) as session:
            await session.run(*args)
            server.until_held(count)
            before = files_of_its_own(server, count=count)
            for _ in range(4):
                # More at a time than are held: some are warm, some are not.
                run_uids = [await session.execute(*args) for _ in range(20)]
                for run_uid in run_uids:
                    assert (await session.until_exited(run_uid)).stdout == b"x\n"
                    await session.forget(run_uid)
                kill(server.until_held(count)[:1])

            def nothing_is_left() -> bool:
                return files_of_its_own(server, count=count) == before and holds_what_it_must(server, kind=kind, count=count)

            assert wait_until(nothing_is_left, seconds=10)


def files_of_its_own(server: ServerProcess, *, count: int) -> int:
    """Of the server, less what belongs to the children on its shelf: three pipes, a socket of the keeper, and maybe its memory."""
    commands = sum(1 for pid in server.held_pids() if is_command(pid))
    return open_files(server.pid) - 4 * count - commands


def holds_what_it_must(server: ServerProcess, *, kind: str, count: int) -> bool:
    """Server and supervisor, a keeper above each child, a zygote; a control socket of each keeper."""
    zygotes = 1 if kind == "python" else 0
    own_files = len(["stdin", "stdout", "stderr", "wakeup", "wakeup", "epoll", "server"])
    return (len(server.all_pids()), open_files(server.supervisor_pid)) == (2 + 2 * count + zygotes, own_files + count + zygotes)


def is_command(pid: int) -> bool:
    return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"bash\0-c\0")

"""The end of a Run is the end of its whole tree, whatever it did to get away, and whoever of ours is killed meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest
from krtpb.executor.v1 import runtime_pb2, runtime_pb2_grpc, stream_pb2

from servers.supervisor import process_tree
from tests.servers.conftest import channel_to
from tests.servers.processes import ServerProcess, is_alive, wait_until, wait_until_gone
from tests.servers.sessions import Session, open_session

GRACE_MILLIS = 300
GRACE_SECONDS = GRACE_MILLIS / 1000
LATE_SECONDS = 0.5

# A daemon as it should be: double fork, a session of its own, no stdio; it ignores what it can.
DAEMON = (
    "(setsid bash -c 'trap \"\" TERM HUP; exec >/dev/null 2>&1; echo $BASHPID > daemon.pid; sleep 1000' & ) ;"
    " until [ -s daemon.pid ]; do :; done"
)
STUBBORN = "trap '' TERM"


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(f"{STUBBORN}; echo ready; while :; do sleep 100; done", id="ignores SIGTERM"),
        pytest.param(f"{STUBBORN}; sleep 1000 & kill -STOP $!; echo ready; wait", id="has a stopped child"),
        pytest.param(f"{STUBBORN}; (echo ready; kill -STOP $BASHPID); sleep 100", id="is stopped"),
        pytest.param(f"{DAEMON}; {STUBBORN}; echo ready; sleep 1000", id="double-forked daemon"),
        pytest.param(f"{STUBBORN}; for i in $(seq 30); do (setsid sleep 1000 &); done; echo ready; sleep 1000", id="thirty sessions"),
    ],
)
@pytest.mark.slow
async def test_cancel_ends_everything_within_the_grace(session: Session, bash_server: ServerProcess, script: str) -> None:
    run_uid = await session.execute(script)
    await session.until_printed(run_uid, b"ready")
    tree = bash_server.run_pids()
    assert tree
    cancelled_at = time.monotonic()
    await session.cancel(run_uid, grace_millis=GRACE_MILLIS)
    heard = await session.until_exited(run_uid)
    assert time.monotonic() - cancelled_at < GRACE_SECONDS + LATE_SECONDS
    assert not any(map(is_alive, tree))
    assert heard.outcome.reason == stream_pb2.EXIT_REASON_CANCELLED
    assert (heard.outcome.exit_code, heard.outcome.error_message) == (137, "cancelled")
    assert bash_server.run_pids() == []
    await session.forget(run_uid)


def _keeper_of(pid: int) -> int:
    return process_tree.parent_of(pid) or 0


async def test_cancel_of_one_that_obeys_does_not_wait_for_the_grace(session: Session) -> None:
    run_uid = await session.execute("echo ready; exec sleep 1000")
    await session.until_printed(run_uid, b"ready")
    cancelled_at = time.monotonic()
    await session.cancel(run_uid)
    outcome = (await session.until_exited(run_uid)).outcome
    assert time.monotonic() - cancelled_at < 1
    assert (outcome.exit_code, outcome.signal) == (143, signal.SIGTERM)
    await session.forget(run_uid)


async def test_a_stopped_process_can_still_act_on_sigterm(session: Session) -> None:
    run_uid = await session.execute("trap 'echo bye; exit 6' TERM; echo ready; kill -STOP $$; while :; do :; done")
    heard = await session.until_printed(run_uid, b"ready")
    assert wait_until(lambda: _state(heard.pid) == "T", seconds=2)
    await session.cancel(run_uid)
    await session.until_exited(run_uid)
    assert (heard.stdout, heard.outcome.exit_code) == (b"ready\nbye\n", 6)
    await session.forget(run_uid)


def _state(pid: int) -> str:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(f"{DAEMON}; cat daemon.pid", id="daemon"),
        pytest.param("sleep 1000 & echo $!", id="background child"),
        pytest.param("sleep 1000 & echo $!; kill -STOP $!", id="stopped child"),
    ],
)
async def test_the_end_of_the_main_process_ends_the_rest(session: Session, script: str) -> None:
    heard = await session.run(script)
    assert heard.outcome.exit_code == 0
    assert not is_alive(int(heard.stdout))


@pytest.mark.slow
async def test_a_fork_bomb_ends_at_cancel(session: Session, bash_server: ServerProcess) -> None:
    bomb = "ulimit -u 2000; echo ready; n=0; boom() { [ $1 -gt 7 ] && exec sleep 1000; boom $(($1+1)) & boom $(($1+1)) & wait; }; boom 0"
    run_uid = await session.execute(bomb)
    await session.until_printed(run_uid, b"ready")
    assert wait_until(lambda: len(bash_server.run_pids()) > 60, seconds=10)
    await session.cancel(run_uid, grace_millis=1)
    await session.until_exited(run_uid)
    assert bash_server.run_pids() == []
    await session.forget(run_uid)


@pytest.mark.slow
async def test_orphans_are_reaped_while_the_run_goes_on(session: Session, bash_server: ServerProcess) -> None:
    run_uid = await session.execute("for i in {1..300}; do ( (:) & ); done; wait; echo ready; exec sleep 1000")
    heard = await session.until_printed(run_uid, b"ready")
    keeper = _keeper_of(heard.pid)
    assert wait_until(lambda: process_tree.children_of(keeper) == [heard.pid], seconds=2)
    await session.forget(run_uid)


async def test_a_killed_keeper_takes_its_tree_along_and_the_attempt_is_lost(own_session: Session, own_server: ServerProcess) -> None:
    run_uid = await own_session.execute(f"{DAEMON}; echo ready; sleep 1000")
    other = await own_session.execute("echo ready; sleep 1000")
    heard = await own_session.until_printed(run_uid, b"ready")
    await own_session.until_printed(other, b"ready")
    keeper = _keeper_of(heard.pid)
    tree = process_tree.descendants_of([keeper])
    os.kill(keeper, signal.SIGKILL)
    await own_session.until_exited(run_uid)
    assert heard.outcome.reason == stream_pb2.EXIT_REASON_LOST
    assert not any(map(is_alive, tree))
    # Nobody else was harmed.
    assert is_alive(own_session.heard(other).pid)
    assert (await own_session.run("echo on")).stdout == b"on\n"


async def test_a_run_that_stops_its_keeper_ends_all_the_same(session: Session) -> None:
    async with asyncio.timeout(2):
        outcome = (await session.run("kill -STOP $PPID; sleep 1000 & exit 3")).outcome
    assert (outcome.reason, outcome.exit_code) == (stream_pb2.EXIT_REASON_EXITED, 3)


async def test_a_run_that_stops_the_supervisor_holds_nobody_up(own_session: Session, own_server: ServerProcess) -> None:
    async with asyncio.timeout(2):
        assert (await own_session.run(f"kill -STOP {own_server.supervisor_pid}; exit 3")).outcome.exit_code == 3
        assert (await own_session.run("echo on")).stdout == b"on\n"


async def test_a_killed_supervisor_is_replaced_and_what_it_ran_is_gone_and_lost(own_server: ServerProcess) -> None:
    async with open_session(own_server.port) as session:
        run_uid = await session.execute(f"{STUBBORN}; {DAEMON}; echo ready; sleep 1000")
        ended = await session.execute("exit 3")
        await session.until_printed(run_uid, b"ready")
        await session.until_exited(ended)
        supervisor = own_server.supervisor_pid
        tree = own_server.run_pids()
        assert len(tree) >= 2
        os.kill(supervisor, signal.SIGKILL)
        heard = await session.until_exited(run_uid)
        assert heard.outcome.reason == stream_pb2.EXIT_REASON_LOST
        # Already at the moment of the message: the next attempt may start at once.
        assert not any(map(is_alive, tree))
        assert (await session.run("echo on")).stdout == b"on\n"
        assert own_server.supervisor_pid != supervisor
        assert session.heard(ended).outcome.exit_code == 3
        boot_id = session.welcome.boot_id
        async with channel_to(own_server) as channel:
            stub = runtime_pb2_grpc.RuntimeStub(channel)
            assert (await stub.Health(runtime_pb2.HealthRequest())).healthy
    async with open_session(own_server.port) as session:
        assert session.welcome.boot_id == boot_id


async def test_an_attempt_sent_to_a_dying_supervisor_is_lost_or_runs_and_the_next_one_runs(
    own_session: Session, own_server: ServerProcess
) -> None:
    own_server.kill_supervisor()
    heard = await own_session.run("echo ran")
    if heard.outcome.reason == stream_pb2.EXIT_REASON_LOST:
        # The server lets a lent child go by itself, so the child may have printed before its keeper, hung up by the death, killed it.
        assert bytes(heard.stdout) in (b"", b"ran\n")
    else:
        assert (heard.outcome.exit_code, bytes(heard.stdout)) == (0, b"ran\n")
    assert (await own_session.run("echo on")).stdout == b"on\n"


@pytest.mark.slow
async def test_a_killed_server_leaves_nothing_behind(own_session: Session, own_server: ServerProcess) -> None:
    for script in (f"{DAEMON}; {STUBBORN}; echo ready; sleep 1000", f"{STUBBORN}; sleep 1000 & kill -STOP $!; echo ready; wait"):
        run_uid = await own_session.execute(script)
        await own_session.until_printed(run_uid, b"ready")
    tree = [own_server.supervisor_pid, *own_server.run_pids()]
    assert len(tree) >= 5
    own_server.process.kill()
    assert wait_until_gone(tree, seconds=2) == []


@pytest.mark.slow
async def test_server_and_supervisor_killed_together_leave_nothing_behind(own_session: Session, own_server: ServerProcess) -> None:
    run_uid = await own_session.execute(f"{DAEMON}; {STUBBORN}; echo ready; sleep 1000")
    await own_session.until_printed(run_uid, b"ready")
    tree = [own_server.supervisor_pid, *own_server.run_pids()]
    own_server.process.send_signal(signal.SIGSTOP)
    own_server.kill_supervisor()
    own_server.process.kill()
    assert wait_until_gone(tree, seconds=2) == []

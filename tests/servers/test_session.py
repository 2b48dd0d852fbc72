"""The stream: what one attempt is told, in which order, and what a session may and may not do. Real processes over real gRPC."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from krtpb.executor.v1 import stream_pb2, stream_pb2_grpc

from tests.servers.conftest import channel_to
from tests.servers.processes import ServerProcess
from tests.servers.sessions import Session, join, key, new_uid, open_session


@pytest.fixture
async def session(bash_server: ServerProcess, carrier: dict[str, Any]) -> AsyncIterator[Session]:
    """Whatever carries it, a session is the same."""
    async with open_session(bash_server.port, **carrier) as opened:
        assert (opened.line is not None) is carrier["takes_line"]
        yield opened


async def test_an_attempt_is_accepted_started_heard_and_ended_in_this_order(session: Session) -> None:
    heard = await session.run("echo out; echo err >&2")
    assert heard.events[:2] == ["accepted", "started"]
    assert heard.events[-2:] == ["exited", "forgotten"]
    assert set(heard.events[2:-2]) == {"output"}
    assert (heard.accepted, heard.stdout, heard.stderr) == ([False], b"out\n", b"err\n")


async def test_the_end_tells_resource_use_and_sizes(session: Session) -> None:
    outcome = (await session.run("for i in {1..20000}; do :; done; echo 1234; printf oops >&2")).outcome
    assert (outcome.stdout_bytes, outcome.stderr_bytes, outcome.stderr_tail) == (5, 4, b"oops")
    assert 0.001 < outcome.cpu_seconds < 5
    assert 1_000_000 < outcome.peak_rss_bytes < 200_000_000


@pytest.mark.parametrize("code", [0, 1, 3, 42, 126, 127, 128, 137, 255])
async def test_an_exit_code_is_told_as_it_is(session: Session, code: int) -> None:
    outcome = (await session.run(f"exit {code}")).outcome
    assert outcome.reason == stream_pb2.EXIT_REASON_EXITED
    assert (outcome.exit_code, outcome.signal) == (code, 0)
    assert outcome.error_message == (f"exit status {code}" if code else "")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (signal.SIGKILL, "signal: killed"),
        (signal.SIGTERM, "signal: terminated"),
        (signal.SIGHUP, "signal: hangup"),
        (signal.SIGINT, "signal: interrupt"),
        (signal.SIGPIPE, "signal: broken pipe"),
    ],
)
async def test_a_signal_is_128_and_its_number_and_named(session: Session, number: signal.Signals, text: str) -> None:
    outcome = (await session.run(f"kill -{number.value} $$")).outcome
    assert outcome.reason == stream_pb2.EXIT_REASON_EXITED
    assert (outcome.exit_code, outcome.signal, outcome.error_message) == (128 + number, number, text)


async def test_a_killed_workload_is_not_said_to_be_out_of_memory(session: Session) -> None:
    outcome = (await session.run("kill -9 $$")).outcome
    assert outcome.exit_code == 137
    assert "memory" not in outcome.error_message.lower()


async def test_an_attempt_is_executed_once_however_often_it_is_sent(session: Session) -> None:
    run_uid = await session.execute("echo once; read -t 0.05 <> <(:) || true")
    for _ in range(3):
        await session.execute("echo again", run_uid=run_uid)
    heard = await session.until_exited(run_uid)
    await session.execute("echo again", run_uid=run_uid)
    await session.until(lambda: len(heard.accepted) == 5)
    assert heard.accepted == [False, True, True, True, True]
    assert heard.stdout == b"once\n"
    await session.forget(run_uid)


async def test_attempts_of_a_run_are_kept_apart(session: Session) -> None:
    run_uid = new_uid()
    for attempt in (0, 2, 3):
        await session.execute(f"echo {attempt}", run_uid=run_uid, attempt=attempt)
    for attempt in (0, 2, 3):
        heard = await session.until_exited(run_uid, attempt=attempt)
        assert heard.stdout == f"{attempt}\n".encode()
        await session.forget(run_uid, attempt=attempt)


async def test_after_forget_the_key_is_new_again(session: Session) -> None:
    run_uid = new_uid()
    first = await session.run("echo 1", run_uid=run_uid)
    second = await session.run("echo 2", run_uid=run_uid)
    assert (first.accepted, second.accepted, second.stdout) == ([False], [False], b"2\n")


async def test_unknown_keys_are_forgotten(session: Session) -> None:
    cancelled, attached = new_uid(), new_uid()
    await session.cancel(cancelled)
    await session.attach(attached)
    await session.until(lambda: session.heard(cancelled).is_forgotten and session.heard(attached).is_forgotten)
    await session.forget(new_uid())


async def test_forget_kills_what_still_runs_and_answers_when_it_is_gone(session: Session, bash_server: ServerProcess) -> None:
    run_uid = await session.execute("trap '' TERM; echo ready; while :; do sleep 100; done")
    await session.until_printed(run_uid, b"ready")
    await session.forget(run_uid)
    assert bash_server.run_pids() == []
    assert session.heard(run_uid).exited is None


@pytest.mark.slow
async def test_fifty_at_once_all_end_with_their_own_output(session: Session) -> None:
    run_uids = [await session.execute(f"echo {number}; exit {number}") for number in range(50)]
    for number, run_uid in enumerate(run_uids):
        heard = await session.until_exited(run_uid)
        assert (heard.stdout, heard.outcome.exit_code) == (f"{number}\n".encode(), number)
    for run_uid in run_uids:
        await session.forget(run_uid)


async def test_output_comes_while_the_attempt_runs(session: Session) -> None:
    run_uid = await session.execute("trap 'echo last; exit 0' TERM; echo first; while :; do sleep 100 & wait; done")
    heard = await session.until_printed(run_uid, b"first\n")
    assert heard.exited is None
    await session.cancel(run_uid)
    await session.until_exited(run_uid)
    assert heard.stdout == b"first\nlast\n"
    assert (heard.outcome.reason, heard.outcome.exit_code) == (stream_pb2.EXIT_REASON_CANCELLED, 0)
    await session.forget(run_uid)


async def test_attach_sends_from_the_offsets_on_and_then_the_end(session: Session) -> None:
    run_uid = await session.execute("printf 0123456789; printf abcdef >&2")
    heard = await session.until_exited(run_uid)
    heard.events.clear()
    heard.stdout = heard.stderr = b""
    heard.exited = None
    await session.attach(run_uid, stdout_offset=4, stderr_offset=6)
    await session.until_exited(run_uid)
    assert heard.events == ["output", "exited"]
    assert heard.stdout == b"\0\0\0\x00456789"
    await session.forget(run_uid)


async def test_a_new_session_is_told_what_is_held_and_its_end(own_server: ServerProcess, carrier: dict[str, Any]) -> None:
    async with open_session(own_server.port, **carrier) as first:
        running = await first.execute("trap 'echo late; exit 7' TERM; echo ready; while :; do sleep 100 & wait; done")
        ended = await first.execute("exit 5")
        await first.until_printed(running, b"ready\n")
        await first.until_exited(ended)
        boot_id = first.welcome.boot_id
    async with open_session(own_server.port, **carrier) as second:
        assert second.welcome.boot_id == boot_id
        held = {entry.key.run_uid: entry for entry in second.welcome.held}
        assert set(held) == {running, ended}
        assert held[ended].exited.exit_code == 5
        assert not held[running].HasField("exited")
        assert held[running].started_unix_micros > 0
        await second.cancel(running)
        heard = await second.until_exited(running)
        # Not attached: its end is told, its output is not.
        assert heard.events == ["exited"]
        await second.attach(running, stdout_offset=6)
        await second.until(lambda: b"late" in heard.stdout)


async def test_two_boots_have_different_ids(own_server: ServerProcess, session: Session) -> None:
    async with open_session(own_server.port) as other:
        assert other.welcome.boot_id != session.welcome.boot_id


async def test_a_newer_session_ends_the_older_one(own_server: ServerProcess, carrier: dict[str, Any]) -> None:
    async with open_session(own_server.port, **carrier) as first, open_session(own_server.port, **carrier) as second:
        assert await first.until_closed() == grpc.StatusCode.ABORTED
        assert (await second.run("echo works")).stdout == b"works\n"


@pytest.mark.slow
async def test_frames_of_an_older_session_are_dropped_after_a_new_hello(own_server: ServerProcess, carrier: dict[str, Any]) -> None:
    """What Welcome does not list never starts, in whatever order the frames of two connections reach the server."""
    for _ in range(20):
        async with open_session(own_server.port, name="older", **carrier) as older:
            flood = asyncio.create_task(_execute_many(older))
            async with open_session(own_server.port, name="newer") as newer:
                held = {entry.key.run_uid for entry in newer.welcome.held}
                await flood
                # INTERNAL is what grpc.aio makes of it when a write of ours met the end.
                assert await older.until_closed() in {grpc.StatusCode.ABORTED, grpc.StatusCode.INTERNAL}
                await newer.run("echo the server has read everything by now")
                async with open_session(own_server.port, name="newest") as newest:
                    assert {entry.key.run_uid for entry in newest.welcome.held} == held
                    for run_uid in held:
                        await newest.forget(run_uid)


async def _execute_many(session: Session) -> None:
    with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):
        for _ in range(30):
            await session.execute("exit 0")


async def test_a_frame_that_waits_in_the_socket_during_a_new_hello_does_not_start_anything_later(
    own_server: ServerProcess, carrier: dict[str, Any]
) -> None:
    async with open_session(own_server.port, name="older", **carrier) as older, channel_to(own_server) as channel:
        own_server.process.send_signal(signal.SIGSTOP)
        run_uid = await older.execute("echo started")
        joining = asyncio.create_task(join(channel, name="newer"))
        await asyncio.sleep(0)
        own_server.process.send_signal(signal.SIGCONT)
        newer = await joining
        is_held = run_uid in {entry.key.run_uid for entry in newer.welcome.held}
        await newer.run("echo later")
        await newer.attach(run_uid)
        heard = newer.heard(run_uid)
        await newer.until(lambda: heard.is_forgotten or heard.exited is not None)
        assert heard.is_forgotten is not is_held


@pytest.mark.parametrize(
    "first",
    [
        stream_pb2.SessionRequest(),
        stream_pb2.SessionRequest(execute=stream_pb2.Execute(key=key("u"), args=["exit 0"])),
    ],
)
async def test_a_session_must_begin_with_hello(bash_server: ServerProcess, first: stream_pb2.SessionRequest) -> None:
    async with channel_to(bash_server) as channel:
        call = stream_pb2_grpc.RuntimeStreamStub(channel).Session()
        await call.write(first)
        assert await call.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert "hello" in await call.details()


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (stream_pb2.SessionRequest(hello=stream_pb2.Hello()), "hello"),
        (stream_pb2.SessionRequest(execute=stream_pb2.Execute()), "execute.key.run_uid"),
        (stream_pb2.SessionRequest(cancel=stream_pb2.Cancel(key=key("u", attempt=-1))), "cancel.key.attempt"),
        (stream_pb2.SessionRequest(attach=stream_pb2.Attach(key=key("u"), stdout_offset=-1)), "offset"),
    ],
)
async def test_a_frame_that_breaks_the_protocol_ends_the_session_and_names_the_field(
    own_server: ServerProcess, frame: stream_pb2.SessionRequest, text: str, carrier: dict[str, Any]
) -> None:
    async with open_session(own_server.port, **carrier) as broken:
        await broken.write(frame)
        assert await broken.until_closed() == grpc.StatusCode.INVALID_ARGUMENT
        assert text in await broken.call.details()
    async with open_session(own_server.port) as next_one:
        assert (await next_one.run("echo lives")).stdout == b"lives\n"


async def test_a_session_that_breaks_the_protocol_before_its_welcome_is_written_is_ended_too(bash_server: ServerProcess) -> None:
    """The two race, so often enough for each to win; `test_session_fence` looks at what keeps it right."""
    async with channel_to(bash_server) as channel:
        for _ in range(200):
            call = stream_pb2_grpc.RuntimeStreamStub(channel).Session(timeout=5)
            with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):
                await call.write(stream_pb2.SessionRequest(hello=stream_pb2.Hello(session="hasty")))
                await call.write(stream_pb2.SessionRequest(hello=stream_pb2.Hello(session="again")))
                await call.done_writing()
                while await call.read() is not grpc.aio.EOF:
                    pass
            assert await call.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_a_frame_of_a_newer_protocol_is_ignored(session: Session) -> None:
    await session.write(stream_pb2.SessionRequest())
    assert (await session.run("echo on")).stdout == b"on\n"

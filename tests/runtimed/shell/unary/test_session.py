"""Sessions with a unary server: what is held across them, what belongs to nobody, and what a lost connection may not change."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc
import pytest
from krtpb.executor.v1 import runtime_pb2, stream_pb2

from runtimed.shell import frames
from runtimed.shell.session import NotConnected
from tests.runtimed.shell.unary.scripted import DEADLINE_SECONDS, SUCCEEDED, Heard, ScriptedServer, connected, execute, failing, never

LOST = stream_pb2.EXIT_REASON_LOST


async def restart(server: ScriptedServer, heard: Heard) -> Any:
    """Breaks the connection; gives what the next Welcome names."""
    await server.stop()
    assert await heard.next() == "lost"
    await server.start()
    return await heard.next()


async def test_what_nobody_asked_for_is_named_and_let_go_of_without_its_output(server: ScriptedServer) -> None:
    server.set("stray", stdout="not ours to print")
    async with connected(server.port) as (session, heard):
        assert await heard.next() == {"stray": [-1]}
        session.send(frames.forget("stray", -1))
        await heard.events("exited", "forgotten")
        assert server.held == {}


async def test_an_execution_goes_on_through_a_lost_connection(server: ScriptedServer) -> None:
    async with connected(server.port) as (session, heard):
        await heard.next()
        session.send(execute("a"))
        await heard.events("accepted", "started")
        server.set("a", stdout="one\n")
        await heard.output()
        assert await restart(server, heard) == {"a": [0]}
        server.set("a", stdout="one\ntwo\n", state=SUCCEEDED)
        session.send(frames.attach("a", 0, stdout_offset=4, stderr_offset=0))
        assert await heard.output() == (4, b"two\n")
        await heard.event("exited")
        assert server.calls.count("Execute a") == 1


async def test_an_end_that_was_told_before_is_told_again_on_request(server: ScriptedServer) -> None:
    async with connected(server.port) as (session, heard):
        await heard.next()
        session.send(execute("a"))
        await heard.events("accepted", "started")
        server.set("a", state=SUCCEEDED)
        await heard.event("exited")
        assert await restart(server, heard) == {"a": [0]}
        session.send(frames.attach("a", 0, stdout_offset=0, stderr_offset=0))
        await heard.event("exited")
        session.send(frames.forget("a", 0))
        await heard.event("forgotten")


async def test_a_server_that_starts_anew_has_lost_what_it_executed(server: ScriptedServer) -> None:
    async with connected(server.port) as (session, heard):
        await heard.next()
        session.send(execute("a"))
        await heard.events("accepted", "started")
        await server.stop()
        server.held.clear()
        await heard.next()
        await server.start()
        assert await heard.next() == {"a": [0]}
        session.send(frames.attach("a", 0, stdout_offset=0, stderr_offset=0))
        assert (await heard.event("exited")).reason == LOST
        assert server.calls.count("Execute a") == 1


@pytest.mark.slow
async def test_an_execute_cut_off_with_its_connection_is_not_sent_again(server: ScriptedServer) -> None:
    server.behaviours["Execute"] = never
    async with connected(server.port, execute_seconds=DEADLINE_SECONDS) as (session, heard):
        await heard.next()
        session.send(execute("a"))
        await server.until_called("Execute a")
        sent = time.monotonic()
        assert await restart(server, heard) == {"a": [0]}
        session.send(frames.attach("a", 0, stdout_offset=0, stderr_offset=0))
        assert (await heard.event("exited")).reason == LOST
        assert time.monotonic() - sent >= DEADLINE_SECONDS * 0.9
        assert server.calls.count("Execute a") == 1


async def test_what_was_never_sent_is_not_named_as_held(server: ScriptedServer) -> None:
    """It may be sent in the next session: nothing but the clearing before it has reached the server."""
    server.behaviours["Cancel"] = never
    async with connected(server.port) as (session, heard):
        await heard.next()
        session.send(execute("a", attempt=2))
        await server.until_called("Cancel a")
        assert await restart(server, heard) == {}
        del server.behaviours["Cancel"]
        session.send(execute("a", attempt=2))
        await heard.events("accepted", "started")
        assert server.calls.count("Execute a") == 1


@pytest.mark.slow
async def test_an_execute_of_another_attempt_waits_out_the_doubt_about_the_one_before(server: ScriptedServer) -> None:
    server.behaviours["Execute"] = failing(grpc.StatusCode.UNAVAILABLE)
    async with connected(server.port, execute_seconds=DEADLINE_SECONDS) as (session, heard):
        await heard.next()
        sent = time.monotonic()
        session.send(execute("a"))
        await server.until_called("Status a")
        del server.behaviours["Execute"]
        session.send(execute("a", attempt=2))
        assert (await heard.event("accepted")).key.attempt == 2
        assert time.monotonic() - sent >= DEADLINE_SECONDS


async def test_a_known_attempt_is_not_executed_twice(server: ScriptedServer) -> None:
    async with connected(server.port) as (session, heard):
        await heard.next()
        session.send(execute("a"))
        await heard.events("accepted", "started")
        session.send(execute("a"))
        assert (await heard.event("accepted")).duplicate
        assert server.calls.count("Execute a") == 1


@pytest.mark.parametrize("frame", [frames.cancel("x", 0), frames.forget("x", 0), frames.attach("x", 0, stdout_offset=0, stderr_offset=0)])
async def test_of_an_unknown_attempt_the_answer_is_forgotten(server: ScriptedServer, frame: stream_pb2.SessionRequest) -> None:
    async with connected(server.port) as (session, heard):
        await heard.next()
        session.send(frame)
        await heard.event("forgotten")


async def test_what_a_dead_runtimed_meant_to_execute_is_held_under_its_attempt(server: ScriptedServer) -> None:
    server.set("a", state=SUCCEEDED, stdout="done")
    async with connected(server.port) as (session, heard):
        session.remember("a", 2, has_arrived=False)
        assert await heard.next() == {"a": [2]}
        session.send(frames.attach("a", 2, stdout_offset=0, stderr_offset=0))
        assert await heard.output() == (0, b"done")
        await heard.event("exited")


async def test_of_two_attempts_that_a_dead_runtimed_left_the_later_holds_the_id(server: ScriptedServer) -> None:
    async with connected(server.port) as (session, heard):
        for attempt in (10, 2):
            session.remember("a", attempt, has_arrived=False)
        assert await heard.next() == {"a": [10]}


@pytest.mark.slow
@pytest.mark.parametrize("has_arrived", [False, True])
async def test_the_last_execute_of_a_dead_runtimed_is_waited_for_unless_it_has_arrived(server: ScriptedServer, has_arrived: bool) -> None:
    async with connected(server.port, execute_seconds=DEADLINE_SECONDS) as (session, heard):
        remembered = time.monotonic()
        session.remember("a", 0, has_arrived=has_arrived)
        await heard.next()
        session.send(frames.attach("a", 0, stdout_offset=0, stderr_offset=0))
        assert (await heard.event("exited")).reason == LOST
        assert (time.monotonic() - remembered < DEADLINE_SECONDS) is has_arrived


async def test_a_list_that_is_too_large_does_not_keep_the_session_from_standing(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.set("mine", stdout="x" * 5000)
    server.set("stray", stdout="x" * 5000)
    async with connected(server.port, options={"grpc.max_receive_message_length": 8000}) as (session, heard):
        session.remember("mine", 0, has_arrived=True)
        assert await heard.next() == {"mine": [0]}
        session.send(frames.attach("mine", 0, stdout_offset=0, stderr_offset=0))
        await heard.output()
    assert "List is larger than a message may be" in caplog.text


async def test_a_list_of_more_output_than_grpc_takes_by_default_is_read(server: ScriptedServer) -> None:
    for number in range(4):
        server.set(f"run-{number}", stdout="x" * (1 << 20), stderr="x" * (1 << 20))
    async with connected(server.port) as (_, heard):
        assert sorted(await heard.next()) == ["run-0", "run-1", "run-2", "run-3"]


async def test_an_unnamed_entry_of_a_list_is_ignored(server: ScriptedServer) -> None:
    server.set("")
    async with connected(server.port) as (_, heard):
        assert await heard.next() == {}


async def test_a_lost_connection_is_noticed_without_anything_held(server: ScriptedServer) -> None:
    async with connected(server.port) as (session, heard):
        await heard.next()
        await server.stop()
        assert await heard.next() == "lost"
        assert not session.is_standing
        session.send(execute("a"))  # dropped
        await server.start()
        assert await heard.next() == {}
        assert server.calls == ["List", "List"]


async def test_readiness_is_what_the_server_says_of_its_health(server: ScriptedServer) -> None:
    async def ill(request: Any, context: Any) -> Any:
        return runtime_pb2.HealthResponse(healthy=False, message="out of chairs")

    async with connected(server.port) as (session, heard):
        with pytest.raises(NotConnected, match="no session"):
            await session.check()
        await heard.next()
        await session.check()
        server.behaviours["Health"] = ill
        with pytest.raises(NotConnected, match="out of chairs"):
            await session.check()
        server.behaviours["Health"] = failing(grpc.StatusCode.INTERNAL)
        with pytest.raises(NotConnected, match="INTERNAL"):
            await session.check()


async def test_a_server_is_asked_for_the_stream_first_each_time(server: ScriptedServer, caplog: pytest.LogCaptureFixture) -> None:
    async with connected(server.port) as (_, heard):
        await heard.next()
        await restart(server, heard)
    text = "the Runtime Server does not offer executor.v1.RuntimeStream"
    assert [record.message for record in caplog.records].count(f"{text}: it is asked for Status, 5 to 500 ms apart") == 1


@pytest.mark.slow
async def test_many_at_once_all_end(server: ScriptedServer) -> None:
    uids = [f"run-{number}" for number in range(200)]
    async with connected(server.port) as (session, heard):
        await heard.next()
        for uid in uids:
            session.send(execute(uid))
        async with asyncio.timeout(20):
            for uid in uids:
                await server.until_called(f"Status {uid}")
                server.set(uid, state=SUCCEEDED)
            ended: set[str] = set()
            while len(ended) < len(uids):
                response = await heard.next()
                if response.WhichOneof("event") == "exited":
                    ended.add(response.exited.key.run_uid)
                    session.send(frames.forget(response.exited.key.run_uid, 0))
            while server.held:
                await heard.event("forgotten")

"""One id at a unary server: what it is asked and told, in which order, and when what cannot be known is judged."""

from __future__ import annotations

import time
from typing import Any

import grpc
import pytest
from krtpb.executor.v1 import runtime_pb2, stream_pb2

from runtimed.shell import frames
from tests.runtimed.shell.unary.scripted import (
    DEADLINE_SECONDS,
    FAILED,
    SUCCEEDED,
    ScriptedServer,
    connected,
    execute,
    failing,
    never,
)

NOT_STARTED, LOST, EXITED = stream_pb2.EXIT_REASON_NOT_STARTED, stream_pb2.EXIT_REASON_LOST, stream_pb2.EXIT_REASON_EXITED


async def test_it_is_told_as_the_stream_would_tell_it(server: ScriptedServer) -> None:
    async with connected(server.port) as (session, heard):
        assert await heard.next() == {}
        session.send(execute("a"))
        await heard.events("accepted", "started")
        server.set("a", stdout="one\n")
        assert await heard.output() == (0, b"one\n")
        server.set("a", state=SUCCEEDED, stdout="one\ntwo", stderr="oops")
        assert [await heard.output(), await heard.output()] == [(4, b"two"), (0, b"oops")]
        assert (await heard.event("exited")).reason == EXITED
        session.send(frames.forget("a", 0))
        assert (await heard.event("forgotten")).key.run_uid == "a"
        assert server.held == {}


async def test_half_a_character_waits_for_its_other_half(server: ScriptedServer) -> None:
    async with connected(server.port) as (session, heard):
        await heard.next()
        session.send(execute("a"))
        await heard.events("accepted", "started")
        server.set("a", stdout="a\ufffd")
        assert await heard.output() == (0, b"a")
        server.set("a", stdout="a€\ufffd")
        assert await heard.output() == (1, "€".encode())
        server.set("a", stdout="a€\ufffd", state=SUCCEEDED)
        assert await heard.output() == (4, "\ufffd".encode())


async def test_a_refused_execute_is_cleared_away_before_it_is_told(server: ScriptedServer) -> None:
    server.behaviours["Execute"] = failing(grpc.StatusCode.INTERNAL, "no room")
    async with connected(server.port) as (session, heard):
        await heard.next()
        session.send(execute("a"))
        exited = await heard.event("exited")
        assert (exited.reason, exited.error_message) == (NOT_STARTED, "runtime Execute: INTERNAL: no room")
        assert server.calls == ["List", "Execute a", "Cancel a", "Status a", "Forget a"]


async def test_what_is_held_under_the_id_of_a_refused_execute_is_not_taken_for_its_own(server: ScriptedServer) -> None:
    """Even though it has succeeded: it is another attempt's, or nobody's."""
    async with connected(server.port) as (session, heard):
        await heard.next()
        server.set("a", state=SUCCEEDED, stdout="of another")
        session.send(execute("a"))
        exited = await heard.event("exited")
        assert (exited.reason, exited.error_message) == (NOT_STARTED, "runtime Execute: ALREADY_EXISTS: the id is known")
        assert server.held == {}


@pytest.mark.slow
async def test_a_lost_answer_is_found_by_status_and_execute_is_not_sent_again(server: ScriptedServer) -> None:
    async def begin_and_hang(request: Any, context: Any) -> Any:
        server.set(request.id)
        await never(request, context)

    server.behaviours["Execute"] = begin_and_hang
    async with connected(server.port, execute_seconds=DEADLINE_SECONDS) as (session, heard):
        await heard.next()
        session.send(execute("a"))
        await heard.events("accepted", "started")
        server.set("a", state=SUCCEEDED)
        assert (await heard.event("exited")).reason == EXITED
        assert server.calls.count("Execute a") == 1


async def test_not_found_means_nothing_until_the_deadline_of_execute_is_over(server: ScriptedServer) -> None:
    """Rule 27: it may still arrive, and here it does."""
    server.behaviours["Execute"] = failing(grpc.StatusCode.UNAVAILABLE)
    async with connected(server.port) as (session, heard):
        await heard.next()
        session.send(execute("a"))
        await server.until_called("Status a", times=3)
        assert "Cancel a" not in server.calls
        server.set("a", state=FAILED, exit_code=3, error_message="exit status 3")
        await heard.events("accepted", "started")
        assert (await heard.event("exited")).exit_code == 3
        assert server.calls.count("Execute a") == 1


@pytest.mark.slow
async def test_what_never_arrived_has_failed_after_the_deadline_cancel_and_forget(server: ScriptedServer) -> None:
    server.behaviours["Execute"] = never
    async with connected(server.port, execute_seconds=DEADLINE_SECONDS) as (session, heard):
        await heard.next()
        began = time.monotonic()
        session.send(execute("a"))
        exited = await heard.event("exited")
        assert time.monotonic() - began >= DEADLINE_SECONDS
        assert exited.reason == NOT_STARTED
        assert exited.error_message.startswith("runtime Execute: DEADLINE_EXCEEDED")
        assert server.calls[-4:] == ["Status a", "Cancel a", "Status a", "Forget a"]
        assert server.calls.count("Execute a") == 1


async def test_a_cancel_waits_for_an_execute_that_may_still_arrive(server: ScriptedServer) -> None:
    """Otherwise it would start after the Cancel, with nobody to stop it."""
    server.behaviours["Execute"] = failing(grpc.StatusCode.UNAVAILABLE)
    async with connected(server.port) as (session, heard):
        await heard.next()
        session.send(execute("a"))
        await server.until_called("Status a")
        session.send(frames.cancel("a", 0))
        await server.until_called("Cancel a", times=2)
        server.set("a")  # arrives
        exited = await heard.event("exited")
        assert (exited.reason, server.held) == (LOST, {})


async def test_what_the_server_no_longer_knows_is_lost_after_cancel_and_forget(server: ScriptedServer) -> None:
    async with connected(server.port) as (session, heard):
        await heard.next()
        session.send(execute("a"))
        await heard.events("accepted", "started")
        del server.held["a"]
        exited = await heard.event("exited")
        assert (exited.reason, exited.error_message) == (LOST, "the Runtime Server does not know the execution any more")
        assert server.calls[-3:] == ["Cancel a", "Status a", "Forget a"]


async def test_status_is_asked_again_after_any_other_failure(server: ScriptedServer) -> None:
    server.behaviours["Status"] = failing(grpc.StatusCode.UNAVAILABLE)
    async with connected(server.port) as (session, heard):
        await heard.next()
        session.send(execute("a"))
        await heard.events("accepted", "started")
        await server.until_called("Status a", times=3)
        del server.behaviours["Status"]
        server.set("a", state=SUCCEEDED)
        await heard.event("exited")
        assert session.is_standing


@pytest.mark.parametrize("keeps_entry", [False, True])
async def test_a_cancelled_execution_ends_with_its_output_and_without_an_exit_code(server: ScriptedServer, keeps_entry: bool) -> None:
    async def keep(request: Any, context: Any) -> Any:
        server.set(request.id, state=FAILED, exit_code=-1, error_message="cancelled", stdout="before\n")
        return runtime_pb2.CancelResponse()

    if keeps_entry:
        server.behaviours["Cancel"] = keep
    async with connected(server.port) as (session, heard):
        await heard.next()
        session.send(execute("a"))
        await heard.events("accepted", "started")
        server.set("a", stdout="before\n")
        session.send(frames.cancel("a", 0))
        assert await heard.output() == (0, b"before\n")
        assert (await heard.event("exited")).reason == LOST
        session.send(frames.forget("a", 0))
        await heard.event("forgotten")
        assert server.held == {}


async def test_cancel_is_repeated_until_it_has_helped(server: ScriptedServer) -> None:
    server.behaviours["Cancel"] = failing(grpc.StatusCode.INTERNAL)
    async with connected(server.port) as (session, heard):
        await heard.next()
        session.send(execute("a"))
        await heard.events("accepted", "started")
        session.send(frames.cancel("a", 0))
        await server.until_called("Cancel a", times=3)
        assert heard.told.empty()
        del server.behaviours["Cancel"]
        await heard.event("exited")


async def test_forget_of_what_runs_kills_it_first(server: ScriptedServer) -> None:
    async with connected(server.port) as (session, heard):
        await heard.next()
        session.send(execute("a"))
        await heard.events("accepted", "started")
        session.send(frames.forget("a", 0))
        await heard.events("exited", "forgotten")
        assert server.calls.index("Cancel a") < server.calls.index("Forget a")


async def test_an_end_is_told_although_the_server_does_not_forget_it_at_once(server: ScriptedServer) -> None:
    server.behaviours["Forget"] = failing(grpc.StatusCode.FAILED_PRECONDITION)
    async with connected(server.port) as (session, heard):
        await heard.next()
        session.send(execute("a"))
        await heard.events("accepted", "started")
        server.set("a", state=SUCCEEDED)
        await heard.event("exited")
        session.send(frames.forget("a", 0))
        await server.until_called("Forget a", times=2)
        assert heard.told.empty()
        server.behaviours["Forget"] = failing(grpc.StatusCode.UNIMPLEMENTED)
        await heard.event("forgotten")


async def test_before_the_execute_of_a_retry_come_cancel_and_forget(server: ScriptedServer) -> None:
    """Rule 27. What a server that keeps entries has of the earlier attempt would be taken for this one's."""
    async with connected(server.port) as (session, heard):
        await heard.next()
        server.set("a", state=FAILED, stdout="of the first attempt", exit_code=1)
        session.send(execute("a", attempt=2))
        await heard.events("accepted", "started")
        assert server.calls == ["List", "Cancel a", "Status a", "Forget a", "Execute a"]

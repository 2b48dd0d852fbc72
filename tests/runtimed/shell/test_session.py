"""The session client against a real gRPC server that a test scripts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from krtpb.executor.v1 import stream_pb2, stream_pb2_grpc
from krtpb.line import HOST, Line

from runtimed.shell import frames
from runtimed.shell.carriers import MAX_QUEUED_FRAMES, MAX_UNSENT_BYTES
from runtimed.shell.session import CHANNEL_OPTIONS, Session
from tests.cluster.processes import free_ports

Script = Callable[[Any, Any], Awaitable[None]]


class Servicer(stream_pb2_grpc.RuntimeStreamServicer):
    def __init__(self, script: Script) -> None:
        self._script = script

    async def Session(self, requests: Any, context: Any) -> None:  # noqa: N802 - gRPC's name
        await self._script(requests, context)


class Heard:
    """A Listener that remembers, and can be waited for."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[object] = asyncio.Queue()

    def on_welcome(self, boot_id: str, held: frames.HeldRuns) -> None:
        self.told.put_nowait((boot_id, sorted(held)))

    def on_lost(self) -> None:
        self.told.put_nowait("lost")

    def on_response(self, response: stream_pb2.SessionResponse) -> None:
        self.told.put_nowait(response.WhichOneof("event"))

    async def next(self) -> object:
        async with asyncio.timeout(10):
            return await self.told.get()


@asynccontextmanager
async def serving(script: Script | None, port: int) -> AsyncIterator[None]:
    server = grpc.aio.server()
    if script is not None:
        stream_pb2_grpc.add_RuntimeStreamServicer_to_server(Servicer(script), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(grace=None)


@asynccontextmanager
async def connected(port: int, *, slots: int = 0) -> AsyncIterator[tuple[Session, Heard]]:
    heard = Heard()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=CHANNEL_OPTIONS) as channel:
        session = Session(channel, listener=heard, slots=slots)
        task = asyncio.create_task(session.run())
        try:
            yield session, heard
        finally:
            task.cancel()
            await asyncio.wait({task})


def welcome(boot_id: str, *uids: str) -> stream_pb2.SessionResponse:
    held = [stream_pb2.Held(key=stream_pb2.AttemptKey(run_uid=uid)) for uid in uids]
    return stream_pb2.SessionResponse(welcome=stream_pb2.Welcome(boot_id=boot_id, held=held))


async def echo(requests: Any, context: Any) -> None:
    """Welcomes, then answers each Forget, and ends the session at a Cancel."""
    async for request in requests:
        match request.WhichOneof("event"):
            case "hello":
                await context.write(welcome("boot-1", "a", "b"))
            case "forget":
                await context.write(stream_pb2.SessionResponse(forgotten=stream_pb2.Forgotten(key=request.forget.key)))
            case "cancel":
                return


@pytest.fixture
def port() -> int:
    return free_ports(1)[0]


async def test_hello_comes_first_and_frames_go_both_ways(port: int) -> None:
    async with serving(echo, port), connected(port) as (session, heard):
        assert await heard.next() == ("boot-1", ["a", "b"])
        assert session.is_standing
        session.send(frames.forget("a", 0))
        assert await heard.next() == "forgotten"


async def test_hello_says_how_many_runs_there_will_be_at_a_time(port: int) -> None:
    hellos: asyncio.Queue[stream_pb2.Hello] = asyncio.Queue()

    async def take_hello(requests: Any, context: Any) -> None:
        async for request in requests:
            hellos.put_nowait(request.hello)
            return

    async with serving(take_hello, port), connected(port, slots=64):
        async with asyncio.timeout(10):
            assert (await hellos.get()).slots == 64


async def test_a_session_that_ends_is_told_and_a_new_one_begins(port: int) -> None:
    async with serving(echo, port), connected(port) as (session, heard):
        await heard.next()
        session.send(frames.cancel("a", 0))
        assert await heard.next() == "lost"
        assert await heard.next() == ("boot-1", ["a", "b"])


async def test_to_a_server_that_takes_batches_what_waits_goes_in_one_message_and_its_batches_are_heard(port: int) -> None:
    sizes: list[int] = []

    async def batching(requests: Any, context: Any) -> None:
        async for request in requests:
            if request.HasField("hello"):
                assert request.hello.takes_batches
                await context.write(stream_pb2.SessionResponse(welcome=stream_pb2.Welcome(boot_id="boot-1", takes_batches=True)))
            else:
                sizes.append(len(request.batch.requests))
                told = [stream_pb2.SessionResponse(forgotten=stream_pb2.Forgotten(key=one.forget.key)) for one in request.batch.requests]
                await context.write(stream_pb2.SessionResponse(batch=stream_pb2.ResponseBatch(responses=told)))

    async with serving(batching, port), connected(port) as (session, heard):
        await heard.next()
        for number in range(10):
            session.send(frames.forget("a", number))
        assert [await heard.next() for _ in range(10)] == ["forgotten"] * 10
    assert sizes == [10]


class LineServer:
    """Offers a line as a Runtime Server does, and answers each Forget on it. With `port` it offers that instead of its own."""

    def __init__(self, *, port: int = 0) -> None:
        self.port = port
        self.hellos: list[stream_pb2.Hello] = []
        self.lines: asyncio.Queue[Line] = asyncio.Queue()
        self.taken: asyncio.Queue[Line] = asyncio.Queue()

    async def script(self, requests: Any, context: Any) -> None:
        hello = (await anext(aiter(requests))).hello
        self.hellos.append(hello)
        if not hello.takes_line:
            await context.write(welcome("by stream"))
            await asyncio.Event().wait()
        server = await asyncio.get_running_loop().create_server(self._take, HOST, 0)
        try:
            # Within: the session may be over while its Welcome is written.
            offer = stream_pb2.Line(port=self.port or server.sockets[0].getsockname()[1], token=b"secret")
            await context.write(stream_pb2.SessionResponse(welcome=stream_pb2.Welcome(boot_id="by line", line=offer)))
            await (await self.lines.get()).closed
        finally:
            server.close()

    def _take(self) -> Line:
        def introduce(token: bytes) -> None:
            assert token == b"secret"
            line.on_frame = answer
            self.lines.put_nowait(line)
            self.taken.put_nowait(line)

        def answer(payload: bytes) -> None:
            request = stream_pb2.SessionRequest.FromString(payload)
            if request.HasField("cancel"):
                line.send(b"\xff\xff")
            else:
                line.send(stream_pb2.SessionResponse(forgotten=stream_pb2.Forgotten(key=request.forget.key)).SerializeToString())

        line = Line(introduce, limit_bytes=1 << 20)
        line.go_on()
        return line


async def test_a_session_goes_on_by_the_line_that_is_offered_and_begins_anew_when_that_ends(port: int) -> None:
    server = LineServer()
    async with serving(server.script, port), connected(port) as (session, heard):
        for _ in range(2):
            assert await heard.next() == ("by line", [])
            session.send(frames.forget("a", 0))
            assert await heard.next() == "forgotten"
            session.send(frames.cancel("a", 0))  # answered by what is no message
            assert await heard.next() == "lost"


async def test_a_server_that_takes_no_frames_from_the_stream_is_given_up_for_a_new_session(port: int) -> None:
    async def deaf(requests: Any, context: Any) -> None:
        await anext(aiter(requests))
        await context.write(welcome("deaf"))
        await asyncio.Event().wait()

    async with serving(deaf, port), connected(port) as (session, heard):
        assert await heard.next() == ("deaf", [])
        for _ in range(MAX_QUEUED_FRAMES + 1):
            session.send(frames.forget("a", 0))
        assert await heard.next() == "lost"
        assert await heard.next() == ("deaf", [])


async def test_a_server_that_takes_no_frames_from_the_line_is_given_up_for_a_new_session(port: int) -> None:
    server = LineServer()
    async with serving(server.script, port), connected(port) as (session, heard):
        assert await heard.next() == ("by line", [])
        line = await server.taken.get()
        line.hold()
        frame = frames.forget("a" * (1 << 20), 0)
        for _ in range(MAX_UNSENT_BYTES >> 19):
            session.send(frame)
        assert await heard.next() == "lost"
        line.abort()
        assert await heard.next() == ("by line", [])


async def test_where_the_line_cannot_be_reached_sessions_go_on_by_the_stream(port: int, caplog: pytest.LogCaptureFixture) -> None:
    server = LineServer(port=free_ports(1)[0])
    async with serving(server.script, port), connected(port) as (session, heard):
        assert await heard.next() == ("by stream", [])
        assert session.is_standing
    assert [hello.takes_line for hello in server.hellos] == [True, False]
    assert "the Runtime Server's line cannot be reached" in caplog.text


async def test_it_waits_for_a_server_that_is_not_there_yet(port: int) -> None:
    async with connected(port) as (session, heard):
        session.send(frames.forget("a", 0))  # dropped: no session stands
        async with serving(echo, port):
            assert await heard.next() == ("boot-1", ["a", "b"])
        assert await heard.next() == "lost"
        assert not session.is_standing
        async with serving(echo, port):
            assert await heard.next() == ("boot-1", ["a", "b"])
            assert heard.told.empty()


async def test_a_server_without_the_stream_never_stands_and_is_named(port: int, caplog: pytest.LogCaptureFixture) -> None:
    refused = asyncio.Event()

    class Handler(grpc.aio.ServerInterceptor):
        async def intercept_service(self, continuation: Any, details: Any) -> Any:
            refused.set()
            return await continuation(details)

    server = grpc.aio.server(interceptors=[Handler()])
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        async with connected(port) as (session, heard):
            for _ in range(2):
                refused.clear()
                async with asyncio.timeout(10):
                    await refused.wait()
            assert not session.is_standing
            assert heard.told.empty()
    finally:
        await server.stop(grace=None)
    assert "the Runtime Server does not offer executor.v1.RuntimeStream" in caplog.text


async def test_a_server_that_breaks_the_protocol_is_asked_again(port: int, caplog: pytest.LogCaptureFixture) -> None:
    attempts = 0

    async def confused(requests: Any, context: Any) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            return
        if attempts == 2:
            await context.write(stream_pb2.SessionResponse(forgotten=stream_pb2.Forgotten()))
            return
        await echo(requests, context)

    async with serving(confused, port), connected(port) as (_, heard):
        assert await heard.next() == ("boot-1", ["a", "b"])
    assert "the Runtime Server breaks the protocol" in caplog.text

"""Sessions that go on by a line: who may come, and what ends one. What is told on it is in test_session."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import grpc
import pytest
from krtpb.executor.v1 import stream_pb2, stream_pb2_grpc

from servers.sdk.limits import MESSAGE_BYTES
from servers.sdk.lines import Lines
from tests.servers.conftest import channel_to
from tests.servers.processes import ServerProcess, rss_bytes
from tests.servers.sessions import DEADLINE_SECONDS, connect, key, open_session


async def offered(
    channel: grpc.aio.Channel,
) -> tuple[Any, stream_pb2.Line]:
    """A session that stands, and the line that it offers and nobody has taken yet."""
    call = stream_pb2_grpc.RuntimeStreamStub(channel).Session()
    await call.write(stream_pb2.SessionRequest(hello=stream_pb2.Hello(takes_line=True)))
    welcome = await call.read()
    return call, welcome.welcome.line


async def test_only_who_asks_for_a_line_is_offered_one(own_server: ServerProcess) -> None:
    async with open_session(own_server.port) as session:
        assert not session.welcome.HasField("line")


async def test_whoever_comes_without_the_token_is_hung_up_on_and_the_session_waits_for_the_right_one(own_server: ServerProcess) -> None:
    async with channel_to(own_server) as channel:
        call, offer = await offered(channel)
        for token in (b"", b"x" * len(offer.token), offer.token[:-1]):
            stranger = await connect(offer, token=token)
            stranger.go_on()
            async with asyncio.timeout(DEADLINE_SECONDS):
                await stranger.closed
        line = await connect(offer)
        answers: asyncio.Queue[bytes] = asyncio.Queue()
        line.on_frame = answers.put_nowait
        line.go_on()
        line.send(stream_pb2.SessionRequest(forget=stream_pb2.Forget(key=key("u"))).SerializeToString())
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert stream_pb2.SessionResponse.FromString(await answers.get()).forgotten.key.run_uid == "u"
        line.close()
        call.cancel()


async def test_a_token_is_good_for_one_line(own_server: ServerProcess) -> None:
    async with channel_to(own_server) as channel:
        call, offer = await offered(channel)
        line, second = await connect(offer), await connect(offer)
        line.go_on()
        second.go_on()
        async with asyncio.timeout(DEADLINE_SECONDS):
            await asyncio.wait({line.closed, second.closed}, return_when=asyncio.FIRST_COMPLETED)
        assert line.closed.done() is not second.closed.done()
        line.close()
        second.close()
        call.cancel()


async def test_a_frame_on_the_stream_of_such_a_session_ends_it(own_server: ServerProcess) -> None:
    async with open_session(own_server.port, takes_line=True) as session:
        await session.call.write(stream_pb2.SessionRequest(forget=stream_pb2.Forget(key=key("u"))))
        assert await session.until_closed() == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "data", [struct.pack("!I", MESSAGE_BYTES + 1), struct.pack("!I", 4) + b"\xff\xff\xff\xff"], ids=["too long", "not a message"]
)
async def test_what_is_no_frame_ends_the_session_and_not_the_server(own_server: ServerProcess, data: bytes) -> None:
    async with channel_to(own_server) as channel:
        call, offer = await offered(channel)
        reader, writer = await asyncio.open_connection("127.0.0.1", offer.port)
        writer.write(struct.pack("!I", len(offer.token)) + offer.token + data)
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert await reader.read() == b""
            assert await call.code() == grpc.StatusCode.INVALID_ARGUMENT
        writer.close()
    async with open_session(own_server.port, takes_line=True) as next_one:
        assert (await next_one.run("echo lives")).stdout == b"lives\n"


async def test_a_line_that_ends_is_the_end_of_its_session(own_server: ServerProcess) -> None:
    async with open_session(own_server.port, takes_line=True) as session:
        assert session.line is not None
        session.line.close()
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert await session.call.code() == grpc.StatusCode.OK


async def test_a_client_that_does_not_read_delays_no_workload_and_costs_no_memory(own_server: ServerProcess) -> None:
    async with open_session(own_server.port, takes_line=True) as session:
        assert session.line is not None
        session.line.hold()
        for _ in range(8):
            await session.execute("head -c 1000000 /dev/zero; touch done-$$")
        before = rss_bytes(own_server.pid)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while len(list(own_server.work_dir.glob("*/done-*"))) < 8:  # noqa: ASYNC110 - files of other processes
                await asyncio.sleep(0.02)
        # Each keeps its first MiB, as the contract says; nothing is queued beside that.
        assert rss_bytes(own_server.pid) - before < 24 << 20
        session.line.go_on()


async def test_nobody_is_waited_for_after_its_session_is_over() -> None:
    lines = Lines()
    token = lines.expect(lambda line: None)
    lines.forget(token)
    lines.forget(token)
    assert lines.port == 0

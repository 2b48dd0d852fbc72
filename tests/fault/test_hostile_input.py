"""Rows 47 and 48: objects and frames that nobody should send. Everything is answered; nothing breaks."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from pathlib import Path

import grpc
import psutil
import pytest
from krtpb.executor.v1 import runtime_pb2, stream_pb2

from tests.fault import figures
from tests.fault.fuzz import run_cases
from tests.servers.processes import ServerProcess, running_server

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(180)]

CASES = 10_000
UNARY = [method.name for method in runtime_pb2.DESCRIPTOR.services_by_name["Runtime"].methods]
SERVICE = "executor.v1.Runtime"
NO_MESSAGE = "no message"
"""gRPC's own answer to bytes that it cannot decode: UNKNOWN, as for a crash of ours, but with its own words."""
ANSWERED = {
    "OK",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "UNIMPLEMENTED",
    "FAILED_PRECONDITION",
    "RESOURCE_EXHAUSTED",
    NO_MESSAGE,
}
ENDED = {*ANSWERED, "INTERNAL: Internal error from Core"}
"""Of a stream: also what our side says when it writes to one that has ended."""


def test_row_47_hostile_objects_are_answered() -> None:
    answers = run_cases(CASES, seed=47)
    assert answers["accepted"] > CASES / 50, answers
    assert answers["refused with 422"] > CASES / 10, answers
    figures.note("47", "hostile objects, uncaught 0", CASES, unit="", bound=f">= {CASES}")


def garbage(chance: random.Random) -> bytes:
    """Random bytes, or a message that is half right."""
    kind = chance.random()
    if kind < 0.4:
        return chance.randbytes(chance.choice((0, 1, 10, 1000, 100_000)))
    message = runtime_pb2.ExecuteRequest(
        id=chance.choice(("", "x", "../x", "\0", "u" * 10_000)),
        args=chance.choice(([], ["exit 0"], ["\0"], ["x"] * 1000)),
        env={chance.choice(("", "A", "A=B", "\0")): "x"},
        timeout_seconds=chance.choice((0, -1, 2**31 - 1)),
        working_dir=chance.choice(("", "/", "/nowhere", "../..")),
        entrypoint=chance.choice(("", "/etc/passwd", "../x")),
    ).SerializeToString()
    spoiled = bytearray(message)
    for _ in range(chance.randrange(4)):
        spoiled[chance.randrange(len(spoiled))] = chance.randrange(256)
    return bytes(spoiled)


def frame(chance: random.Random) -> bytes:
    key = stream_pb2.AttemptKey(run_uid=chance.choice(("", "x", "u" * 5000)), attempt=chance.choice((0, -1, 2**31 - 1)))
    frames = (
        stream_pb2.SessionRequest(hello=stream_pb2.Hello(session="again")),
        stream_pb2.SessionRequest(execute=stream_pb2.Execute(key=key, args=["exit 0"], working_dir=chance.choice(("", "/nowhere", "\0")))),
        stream_pb2.SessionRequest(cancel=stream_pb2.Cancel(key=key, grace_millis=chance.choice((0, -1, 2**31 - 1)))),
        stream_pb2.SessionRequest(forget=stream_pb2.Forget(key=key)),
        stream_pb2.SessionRequest(attach=stream_pb2.Attach(key=key, stdout_offset=chance.choice((0, -1, 2**62)))),
        stream_pb2.SessionRequest(),
    )
    return bytes(chance.choice(frames).SerializeToString()) if chance.random() < 0.7 else garbage(chance)


async def call(channel: grpc.aio.Channel, method: str, body: bytes) -> str:
    try:
        await channel.unary_unary(f"/{SERVICE}/{method}")(body, timeout=10)
    except grpc.aio.AioRpcError as error:
        return verdict(error.code(), error.details())
    return "OK"


def verdict(code: grpc.StatusCode, details: str | None) -> str:
    return NO_MESSAGE if "DecodeError" in (details or "") else f"{code.name}: {details}"


async def talk(channel: grpc.aio.Channel, frames: list[bytes]) -> str:
    stream = channel.stream_stream("/executor.v1.RuntimeStream/Session")(timeout=2)
    try:
        await stream.write(stream_pb2.SessionRequest(hello=stream_pb2.Hello(session="fuzz")).SerializeToString())
        for body in frames:
            await stream.write(body)
        await stream.done_writing()
        async for _ in stream:
            pass
        return "OK"
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        return verdict(await stream.code(), await stream.details())


def send_raw(port: int, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        sock.sendall(data)


async def still_works(server: ServerProcess) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        request = runtime_pb2.ExecuteRequest(id=f"probe-{os.urandom(4).hex()}", args=["exit 0"]).SerializeToString()
        assert await call(channel, "Execute", request) == "OK"


@pytest.mark.parametrize("name", ["bash", "python"])
async def test_row_48_whatever_comes_over_the_wire_the_server_lives(tmp_path: Path, name: str) -> None:
    """Every method, the stream, and bytes that are no HTTP/2 at all."""
    chance = random.Random(48)
    with running_server(name, work_dir=tmp_path) as server:
        process = psutil.Process(server.pid)
        await still_works(server)
        before = process.memory_info().rss
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            for method in UNARY:
                for _ in range(100):
                    answer = await call(channel, method, garbage(chance))
                    assert answer.partition(":")[0] in ANSWERED, answer
            for _ in range(200):
                answer = await talk(channel, [frame(chance) for _ in range(chance.randrange(1, 6))])
                assert answer in ENDED or answer.partition(":")[0] in ENDED, answer
        for _ in range(100):
            await asyncio.to_thread(send_raw, server.port, chance.randbytes(chance.choice((1, 24, 5000))))
        await still_works(server)
        growth = (process.memory_info().rss - before) / (1 << 20)
        figures.note("48", f"growth of the {name} server after 1,300 bad requests", growth, unit="MiB", bound="<= 48")
        assert growth < 48

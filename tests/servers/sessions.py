"""A small runtimed: one session stream, what came in by attempt, and waiting for what one test needs, always with a deadline."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from krtpb.executor.v1 import stream_pb2, stream_pb2_grpc
from krtpb.line import HOST, Line

DEADLINE_SECONDS = 20.0


@dataclass(slots=True)
class Heard:
    """Everything that was said of one attempt."""

    events: list[str] = field(default_factory=list)
    accepted: list[bool] = field(default_factory=list)
    pid: int = 0
    started_unix_micros: int = 0
    stdout: bytes = b""
    stderr: bytes = b""
    truncated: set[int] = field(default_factory=set)
    exited: stream_pb2.Exited | None = None
    is_forgotten: bool = False

    @property
    def outcome(self) -> stream_pb2.Exited:
        assert self.exited is not None, self.events
        return self.exited


class Session:
    def __init__(self, call: Any, *, welcome: stream_pb2.Welcome, line: Line | None = None) -> None:
        self.call = call
        self.welcome = welcome
        self.line = line
        self._from_line: asyncio.Queue[bytes] = asyncio.Queue()
        if line:
            line.on_frame = self._from_line.put_nowait
            line.go_on()
        self._heard: dict[tuple[str, int], Heard] = {}
        self.is_reading = True
        self.batches = 0

    def heard(self, run_uid: str, *, attempt: int = 0) -> Heard:
        return self._heard.setdefault((run_uid, attempt), Heard())

    async def send(self, **event: Any) -> None:
        await self.write(stream_pb2.SessionRequest(**event))

    async def write(self, frame: stream_pb2.SessionRequest) -> None:
        if self.line:
            self.line.send(frame.SerializeToString())
        else:
            await self.call.write(frame)

    async def execute(self, *args: str, run_uid: str = "", attempt: int = 0, **fields: Any) -> str:
        run_uid = run_uid or new_uid()
        await self.send(execute=stream_pb2.Execute(key=key(run_uid, attempt=attempt), args=args, **fields))
        return run_uid

    async def run(self, *args: str, **fields: Any) -> Heard:
        """Executes, waits for the end, forgets."""
        run_uid = await self.execute(*args, **fields)
        heard = await self.until_exited(run_uid)
        await self.forget(run_uid)
        del self._heard[run_uid, 0]
        return heard

    async def cancel(self, run_uid: str, *, attempt: int = 0, grace_millis: int = 0) -> None:
        await self.send(cancel=stream_pb2.Cancel(key=key(run_uid, attempt=attempt), grace_millis=grace_millis))

    async def forget(self, run_uid: str, *, attempt: int = 0) -> None:
        await self.send(forget=stream_pb2.Forget(key=key(run_uid, attempt=attempt)))
        await self.until(lambda: self.heard(run_uid, attempt=attempt).is_forgotten)

    async def attach(self, run_uid: str, *, stdout_offset: int = 0, stderr_offset: int = 0) -> None:
        attach = stream_pb2.Attach(key=key(run_uid), stdout_offset=stdout_offset, stderr_offset=stderr_offset)
        await self.send(attach=attach)

    async def until_exited(self, run_uid: str, *, attempt: int = 0) -> Heard:
        heard = self.heard(run_uid, attempt=attempt)
        await self.until(lambda: heard.exited is not None)
        return heard

    async def until_printed(self, run_uid: str, text: bytes) -> Heard:
        heard = self.heard(run_uid)
        await self.until(lambda: text in heard.stdout)
        return heard

    async def until(self, is_true: Callable[[], bool], *, seconds: float = DEADLINE_SECONDS) -> None:
        async with asyncio.timeout(seconds):
            while not is_true():
                self._take(await self._read())

    async def until_closed(self) -> grpc.StatusCode:
        async with asyncio.timeout(DEADLINE_SECONDS):
            with contextlib.suppress(grpc.aio.AioRpcError):
                while (response := await self.call.read()) is not grpc.aio.EOF:
                    self._take(response)
            code: grpc.StatusCode = await self.call.code()
            return code

    async def _read(self) -> stream_pb2.SessionResponse:
        if self.line:
            heard: stream_pb2.SessionResponse = stream_pb2.SessionResponse.FromString(await self._from_line.get())
            return heard
        response: stream_pb2.SessionResponse = await self.call.read()
        assert response is not grpc.aio.EOF, "the session ended"
        return response

    def _take(self, response: stream_pb2.SessionResponse) -> None:
        if response.HasField("batch"):
            self.batches += 1
            for one in response.batch.responses:
                self._take(one)
            return
        kind = response.WhichOneof("event")
        event = getattr(response, str(kind))
        heard = self.heard(event.key.run_uid, attempt=event.key.attempt)
        heard.events.append(str(kind))
        match kind:
            case "accepted":
                heard.accepted.append(event.duplicate)
            case "started":
                heard.pid, heard.started_unix_micros = event.pid, event.started_unix_micros
            case "output":
                _take_output(heard, event)
            case "exited":
                heard.exited = event
            case "forgotten":
                heard.is_forgotten = True


def _take_output(heard: Heard, output: stream_pb2.Output) -> None:
    if output.stream == stream_pb2.OUTPUT_STREAM_STDOUT:
        heard.stdout = heard.stdout.ljust(output.offset, b"\0")[: output.offset] + output.data
    else:
        heard.stderr = heard.stderr.ljust(output.offset, b"\0")[: output.offset] + output.data
    if output.truncated:
        heard.truncated.add(output.stream)


@asynccontextmanager
async def open_session(port: int, *, options: tuple[tuple[str, int], ...] = (), **hello: Any) -> AsyncIterator[Session]:
    """`hello`: as for `join`."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1), *options]) as channel:
        session = await join(channel, **hello)
        yield session
        if session.line:
            session.line.close()


async def join(channel: grpc.aio.Channel, *, name: str = "test", **hello: Any) -> Session:
    """`hello`: further fields of Hello. By a line where `takes_line` is one of them."""
    call = stream_pb2_grpc.RuntimeStreamStub(channel).Session()
    async with asyncio.timeout(DEADLINE_SECONDS):
        await call.write(stream_pb2.SessionRequest(hello=stream_pb2.Hello(session=name, **hello)))
        response = await call.read()
        assert response is not grpc.aio.EOF, await call.code()
        assert response.WhichOneof("event") == "welcome"
        line = await connect(response.welcome.line) if response.welcome.HasField("line") else None
    return Session(call, welcome=response.welcome, line=line)


async def connect(offer: stream_pb2.Line, *, token: bytes | None = None) -> Line:
    """`token`: instead of the one that was offered."""

    def drop(payload: bytes) -> None:
        raise AssertionError("a line starts held")

    line = Line(drop, limit_bytes=1 << 24)
    await asyncio.get_running_loop().create_connection(lambda: line, HOST, offer.port)
    line.send(offer.token if token is None else token)
    return line


def key(run_uid: str, *, attempt: int = 0) -> stream_pb2.AttemptKey:
    return stream_pb2.AttemptKey(run_uid=run_uid, attempt=attempt)


def new_uid() -> str:
    return f"{uuid.uuid4()}"

"""What carries the frames of a session that has begun: the gRPC stream itself, or the line that the server offered in its place.

A line takes a quarter of the time: gRPC passes each message through four threads. Either is chosen before the first frame, so that
none overtakes another. Not here: how a session begins, and the unary protocol.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any, Final, Protocol

import grpc
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from krtpb.executor.v1 import stream_pb2
from krtpb.line import HOST, Line

from runtimed.shell import batches
from runtimed.shell.listener import Listener

logger = logging.getLogger(__name__)

MAX_QUEUED_FRAMES: Final = 4096
"""A Run sends about four. More means that the server does not read: a new session begins from what it holds."""
MAX_UNSENT_BYTES: Final = 16 << 20
"""The same for a line."""
MESSAGE_BYTES: Final = 16 << 20
"""What a server may send at once."""
CONNECT_SECONDS: Final = 5.0
END_SECONDS: Final = 1.0
"""After the line ended, for the stream to end as well and say why."""


class ProtocolError(Exception):
    """The Runtime Server does not speak the protocol."""


class NoLine(Exception):
    """The server offered a line and cannot be reached there. The text says why."""


class Carrier(Protocol):
    """One session from its Welcome on."""

    def send(self, frame: stream_pb2.SessionRequest) -> None:
        """In order; dropped once the session is of no use."""
        ...

    async def listen(self) -> None:
        """Tells the listener what comes until the session ends. Raises AioRpcError for how, ProtocolError."""
        ...

    async def close(self) -> None: ...


class StreamCarrier:
    """The gRPC stream."""

    def __init__(self, call: Any, *, listener: Listener, takes_batches: bool) -> None:
        self._call, self._listener, self._takes_batches = call, listener, takes_batches
        self._outgoing: asyncio.Queue[stream_pb2.SessionRequest] = asyncio.Queue(MAX_QUEUED_FRAMES)
        self._is_given_up = False
        self._writer = asyncio.create_task(self._write(), name="session writer")

    def send(self, frame: stream_pb2.SessionRequest) -> None:
        if self._is_given_up:
            return
        try:
            self._outgoing.put_nowait(frame)
        except asyncio.QueueFull:
            logger.error("the Runtime Server does not take frames; the session starts anew")
            self._is_given_up = True
            self._call.cancel()

    async def listen(self) -> None:
        while not self._is_given_up:
            try:
                response = await self._call.read()
            except asyncio.CancelledError:
                if self._is_given_up and not _is_being_cancelled():
                    return  # it is the call that was cancelled, by `send`
                raise
            if response is grpc.aio.EOF:
                await raise_status(self._call)
                return
            for event in batches.spread(response):
                self._listener.on_response(event)

    async def close(self) -> None:
        self._writer.cancel()
        with suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
            await self._writer

    async def _write(self) -> None:
        try:
            while True:
                frame = await self._outgoing.get()
                await self._call.write(batches.gather(frame, queued=self._outgoing) if self._takes_batches else frame)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return  # The reader sees the end too, and it is the one that tells.


class LineCarrier:
    """A line. The stream goes on beside it in silence: its end is the session's, and says why."""

    def __init__(self, call: Any, *, line: Line, listener: Listener) -> None:
        self._call, self._line, self._listener = call, line, listener
        line.on_frame = self._hear

    @classmethod
    async def connect(cls, call: Any, *, offer: stream_pb2.Line, listener: Listener) -> LineCarrier:
        """Raises NoLine."""
        line = Line(_hear_nothing, limit_bytes=MESSAGE_BYTES)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await asyncio.get_running_loop().create_connection(lambda: line, HOST, offer.port)
        except OSError as error:
            raise NoLine(f"{HOST}:{offer.port}: {error.strerror or type(error).__name__}") from error
        line.send(offer.token)
        return cls(call, line=line, listener=listener)

    def send(self, frame: stream_pb2.SessionRequest) -> None:
        self._line.send(frame.SerializeToString())
        if self._line.unsent_bytes > MAX_UNSENT_BYTES:
            logger.error("the Runtime Server does not take frames; the session starts anew")
            self._line.abort()

    async def listen(self) -> None:
        self._line.go_on()
        ended = asyncio.ensure_future(self._call.read())
        ended.add_done_callback(lambda _: ended.cancelled() or ended.exception())  # where the line's own end is what counts
        try:
            await asyncio.wait({self._line.closed, ended}, return_when=asyncio.FIRST_COMPLETED)
            if self._line.closed.done():
                self._line.closed.result()
            async with asyncio.timeout(END_SECONDS):
                await self._tell_end(await ended)
        except TimeoutError:
            return
        finally:
            ended.cancel()

    async def close(self) -> None:
        self._line.close()

    def _hear(self, payload: bytes) -> None:
        try:
            response = stream_pb2.SessionResponse.FromString(payload)
        except DecodeError as error:
            raise ProtocolError("a frame of the line is no SessionResponse") from error
        for event in batches.spread(response):
            self._listener.on_response(event)

    async def _tell_end(self, response: Any) -> None:
        if response is not grpc.aio.EOF:
            raise ProtocolError("the session goes on by its line, but the stream still says something")
        await raise_status(self._call)


async def raise_status(call: Any) -> None:
    """How a call ended, as an AioRpcError; nothing where it ended well."""
    code = await call.code()
    if code is not grpc.StatusCode.OK:
        raise grpc.aio.AioRpcError(code, await call.initial_metadata(), await call.trailing_metadata(), details=await call.details())


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _hear_nothing(payload: bytes) -> None:
    raise AssertionError("a line starts held")

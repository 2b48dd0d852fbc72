"""One session of stream.proto as a check holds it: frames out, and what comes in until it is what was waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import grpc
from krtpb.executor.v1 import stream_pb2, stream_pb2_grpc

from controlplane.cli.conformance.judgement import NotApplicable

GREETINGS: Final = 20
NOT_OFFERED: Final = NotApplicable("the server has no stream: runtimed asks it for Status instead")


class Stream:
    """Nothing is said yet, not even Hello; `open` does that."""

    def __init__(self, channel: grpc.aio.Channel, *, patience_seconds: float) -> None:
        self._stub = stream_pb2_grpc.RuntimeStreamStub(channel)
        self._call = self._stub.Session()
        self._patience_seconds = patience_seconds
        self._reader: asyncio.Task[None] | None = None
        self._news: asyncio.Queue[stream_pb2.SessionResponse | None] = asyncio.Queue()
        self._is_over = False
        self.heard: list[stream_pb2.SessionResponse] = []
        """Everything, in order."""
        self.welcome = stream_pb2.Welcome()

    async def open(self) -> None:
        """From Hello to the first response. Raises NotApplicable."""
        try:
            await self._greet()
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                raise NOT_OFFERED from error
            raise
        first = await self.read()
        if first is None and await self._call.code() is grpc.StatusCode.UNIMPLEMENTED:
            raise NOT_OFFERED
        if first is not None and first.WhichOneof("event") == "welcome":
            self.welcome = first.welcome

    async def _greet(self) -> None:
        """A write that fails because the call is ended already loses what it was ended with (grpc/grpc#36066): so again."""
        for greetings_left in reversed(range(GREETINGS)):
            try:
                return await self.send(hello=stream_pb2.Hello(session="conformance"))
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.INTERNAL or not greetings_left:
                    raise
                self._call = self._stub.Session()

    async def send(self, **event: Any) -> None:
        await self._call.write(stream_pb2.SessionRequest(**event))

    async def read(self) -> stream_pb2.SessionResponse | None:
        """The next; None when the session is over, well or not. Raises TimeoutError."""
        if self._is_over:
            return None
        if self._reader is None:
            self._reader = asyncio.create_task(self._read_all(), name="conformance reader")
        async with asyncio.timeout(self._patience_seconds):
            response = await self._news.get()
        if response is None:
            self._is_over = True
        else:
            self.heard.append(response)
        return response

    async def _read_all(self) -> None:
        """A task of its own, for a `read` that is given up would take the whole call with it."""
        try:
            while (response := await self._call.read()) is not grpc.aio.EOF:
                self._news.put_nowait(response)
        except grpc.aio.AioRpcError:
            pass  # an end like any other; the call knows its code
        finally:
            self._news.put_nowait(None)

    async def until(self, kind: str, *, key: stream_pb2.AttemptKey, is_true: Callable[[Any], bool] = lambda _: True) -> Any:
        """The event of that kind for that attempt, heard already or to come; None if it does not come."""
        position = 0
        while position < len(self.heard) or await self._hears_more():
            response = self.heard[position]
            position += 1
            if response.WhichOneof("event") == kind and _key(response) == key and is_true(getattr(response, kind)):
                return getattr(response, kind)
        return None

    async def _hears_more(self) -> bool:
        try:
            return await self.read() is not None
        except TimeoutError:
            return False

    async def is_ended(self) -> bool:
        """Whether the server ends the session, within our patience."""
        while await self._hears_more():
            pass
        return self._is_over

    async def close(self) -> None:
        self._call.cancel()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])

    # -- what was heard of one attempt --------------------------------------------------------------------------------

    def kinds(self, key: stream_pb2.AttemptKey) -> list[str]:
        """In order, repetitions of one kind as one."""
        kinds = [str(response.WhichOneof("event")) for response in self.heard if _key(response) == key]
        return [kind for number, kind in enumerate(kinds) if number == 0 or kinds[number - 1] != kind]

    def output(self, key: stream_pb2.AttemptKey, stream: stream_pb2.OutputStream) -> list[stream_pb2.Output]:
        outputs = [response.output for response in self.heard if response.WhichOneof("event") == "output"]
        return [output for output in outputs if output.key == key and output.stream == stream]


def _key(response: stream_pb2.SessionResponse) -> stream_pb2.AttemptKey | None:
    kind = response.WhichOneof("event")
    return None if kind in (None, "welcome") else getattr(response, kind).key

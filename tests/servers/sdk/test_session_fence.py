"""The fence itself, frame by frame: what an older session had read but not acted on when a newer Hello came is dropped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from krtpb.executor.v1 import stream_pb2

from servers.sdk.command import CannotRun, Command, Request
from servers.sdk.registry import Registry
from servers.sdk.session import SessionService


class Aborted(Exception):
    """As gRPC's own: `abort` raises."""


class Frames(AsyncIterator[stream_pb2.SessionRequest]):
    """What a client sends, as the server's request iterator."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[stream_pb2.SessionRequest] = asyncio.Queue()

    def send(self, frame: stream_pb2.SessionRequest) -> None:
        self._queue.put_nowait(frame)

    async def __anext__(self) -> stream_pb2.SessionRequest:
        return await self._queue.get()


class Context:
    """The server's side of one call."""

    def __init__(self) -> None:
        self.is_welcomed = asyncio.Event()
        self.has_sent_header = False

    async def send_initial_metadata(self, metadata: object) -> None:
        self.has_sent_header = True

    async def write(self, message: stream_pb2.SessionResponse) -> None:
        # A write that brings the header and is cancelled under way keeps gRPC from ever sending a status.
        assert self.has_sent_header
        if message.WhichOneof("event") == "welcome":
            self.is_welcomed.set()

    async def abort(self, code: object, details: str) -> None:
        raise Aborted(details)


def hello() -> stream_pb2.SessionRequest:
    return stream_pb2.SessionRequest(hello=stream_pb2.Hello(session="s"))


def nothing_can_be_run(request: Request, *, working_dir: str) -> Command:
    raise CannotRun("nothing")


async def test_a_frame_read_before_a_newer_hello_and_not_acted_on_is_dropped(tmp_path: object) -> None:
    service = SessionService(boot_id="boot")
    registry = Registry(choose_command=nothing_can_be_run, work_dir=str(tmp_path), observer=service)
    service.serve(registry)
    older, newer = Frames(), Frames()
    context = Context()
    older_call = asyncio.create_task(service.Session(older, context))
    older.send(hello())
    await context.is_welcomed.wait()
    newer_context = Context()
    newer_call = asyncio.create_task(service.Session(newer, newer_context))
    await asyncio.sleep(0)
    # Both wake in the same pass of the loop, the newer session first: it takes over, then the older one has a frame in its hands.
    newer.send(hello())
    older.send(stream_pb2.SessionRequest(execute=stream_pb2.Execute(key=stream_pb2.AttemptKey(run_uid="u"))))
    await newer_context.is_welcomed.wait()
    await asyncio.wait([older_call])
    assert isinstance(older_call.exception(), Aborted)
    assert len(registry) == 0
    newer_call.cancel()
    await asyncio.wait([newer_call])

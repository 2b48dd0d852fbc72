"""The stream service: one session at a time holds, fenced as stream.proto says.

The fence stands on one thing: a frame is acted on synchronously, behind a look at which session holds. A new Hello changes
that first, so whatever of an older session has not been acted on never will be, and only then is Welcome written.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from krtpb.executor.v1 import stream_pb2, stream_pb2_grpc
from krtpb.line import FrameTooLarge, Line

from servers.sdk import batches, messages
from servers.sdk.execution import AttemptId, Execution
from servers.sdk.limits import CANCEL_GRACE_SECONDS, COMPANY_SECONDS, PENDING_REPLIES_LIMIT
from servers.sdk.lines import Lines
from servers.sdk.outbox import Outbox
from servers.sdk.registry import Registry

_log = logging.getLogger(__name__)

Context: TypeAlias = grpc.aio.ServicerContext


class Refused(Exception):
    """A frame breaks the protocol; the session ends with INVALID_ARGUMENT and this text."""


class _Session:
    def __init__(self, name: str, *, takes_batches: bool, log_bytes: int) -> None:
        self.name = name
        self.takes_batches = takes_batches
        self.outbox = Outbox(log_bytes=log_bytes)
        self.is_over = asyncio.Event()
        self.status = (grpc.StatusCode.OK, "")
        """With which it ends once it is over."""
        self.has_room = asyncio.Event()
        self.has_room.set()
        self.line: asyncio.Future[Line] | None = None
        """Of a session that goes on by one, when it is there."""

    def end(self, code: grpc.StatusCode, why: str) -> None:
        self.status = (code, why)
        self.is_over.set()

    def post(self, fact: stream_pb2.SessionResponse) -> None:
        self.outbox.post(fact)
        self._bound_facts()

    def post_in_company(self, fact: stream_pb2.SessionResponse) -> None:
        """For what nobody waits for: sent with the next message, alone only if there is none for a moment."""
        if not self.outbox.fact_count:
            asyncio.get_running_loop().call_later(COMPANY_SECONDS, self.outbox.send_what_waits)
        self.outbox.post_in_company(fact)
        self._bound_facts()

    def _bound_facts(self) -> None:
        if self.outbox.fact_count >= PENDING_REPLIES_LIMIT:
            self.has_room.clear()
            self.outbox.wake.set()

    def note_sent(self) -> None:
        """More frames are taken once fewer answers wait for a client that does not read."""
        if self.has_room.is_set() or self.outbox.fact_count >= PENDING_REPLIES_LIMIT:
            return
        self.has_room.set()
        if self.line and self.line.done():
            self.line.result().go_on()

    def next_message(self) -> stream_pb2.SessionResponse | None:
        """What is due now, in one message where the client takes that."""
        first = self.outbox.next()
        return batches.gather(first, following=self.outbox.next) if first is not None and self.takes_batches else first


class SessionService(stream_pb2_grpc.RuntimeStreamServicer):
    """Also the registry's Observer: what happens to executions is told to the session that holds now."""

    def __init__(self, *, boot_id: str, lines: Lines | None = None) -> None:
        """Without `lines` every session stays on its stream."""
        self._boot_id = boot_id
        self._lines = lines
        self._registry: Registry | None = None
        self._holder: _Session | None = None
        self._left = asyncio.Event()
        self._left.set()

    async def until_left(self) -> None:
        """No session holds."""
        await self._left.wait()

    async def end(self) -> None:
        """The server stops. Cut off by gRPC, a session now and then ends with an error of gRPC's own in the log."""
        if self._holder:
            self._holder.end(grpc.StatusCode.UNAVAILABLE, "the Runtime Server stops")
            await self._left.wait()

    def serve(self, registry: Registry) -> None:
        self._registry = registry

    # The registry's Observer

    def on_started(self, execution: Execution) -> None:
        # A short Run is over before that is out, and its end goes in the same message.
        if self._holder:
            self._holder.post_in_company(messages.started_event(execution))

    def on_output(self, execution: Execution) -> None:
        if self._holder:
            self._holder.outbox.touch(execution)

    def on_ended(self, execution: Execution) -> None:
        if self._holder:
            self._holder.outbox.touch(execution)

    def on_forgotten(self, attempt: AttemptId) -> None:
        if self._holder:
            self._holder.outbox.drop(attempt)
            self._holder.post(messages.forgotten_event(attempt))

    # The RPC

    async def Session(self, requests: AsyncIterator[stream_pb2.SessionRequest], context: Context) -> None:  # noqa: N802  gRPC's name
        # STRICTLY BEFORE the first message: when the write of that is cancelled under way, gRPC takes its header for unsent, and the
        # status that ends the call, with the header once more, never leaves. The client would wait for ever.
        await context.send_initial_metadata(())
        session = await self._open(requests, context)
        tasks = [
            asyncio.create_task(self._take_frames(session, requests), name="session reader"),
            asyncio.create_task(_deliver(session, context), name="session writer"),
            asyncio.create_task(_wait(session.is_over), name="session fence"),
        ]
        if session.line:
            tasks.append(asyncio.create_task(_follow(session.line), name="session line"))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if self._holder is session:
                self._holder = None
                self._left.set()
            await _cancel(tasks)
        await _close(session, tasks, context)

    async def _open(self, requests: AsyncIterator[stream_pb2.SessionRequest], context: Context) -> _Session:
        async for request in requests:
            if request.WhichOneof("event") != "hello":
                break
            return self._take_over(request.hello)
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first request of a session must be hello")
        raise AssertionError("abort raises")

    def _take_over(self, hello: stream_pb2.Hello) -> _Session:
        registry = self._registry
        assert registry is not None
        session = _Session(hello.session, takes_batches=hello.takes_batches, log_bytes=max(0, hello.log_bytes))
        if self._holder:
            self._holder.end(grpc.StatusCode.ABORTED, "a newer session took over")
        # From this assignment on no frame of an older session is acted on. Welcome comes STRICTLY AFTER.
        self._holder = session
        self._left.clear()
        held = list(registry)
        for execution in held:
            session.outbox.hold(execution)
        line = self._offer_line(session, self._lines) if hello.takes_line and self._lines else None
        session.post(messages.welcome_event(self._boot_id, held=held, line=line))
        if hello.slots > 0:
            registry.supervisor.resize(hello.slots)
        _log.info("session opened", extra={"session": session.name[:64], "held": len(held)})
        return session

    def _offer_line(self, session: _Session, lines: Lines) -> stream_pb2.Line:
        arrival = session.line = asyncio.get_running_loop().create_future()

        def take(line: Line) -> None:
            if arrival.cancelled():
                line.close()
                return
            arrival.set_result(line)
            line.on_frame = lambda payload: self._take_payload(session, payload, line=line)
            line.go_on()

        token = lines.expect(take)
        arrival.add_done_callback(lambda _: lines.forget(token))
        return stream_pb2.Line(port=lines.port, token=token)

    def _take_payload(self, session: _Session, payload: bytes, *, line: Line) -> None:
        try:
            request = stream_pb2.SessionRequest.FromString(payload)
        except DecodeError as error:
            raise Refused("a frame is no SessionRequest") from error
        for frame in batches.spread(request):
            if self._holder is not session:
                line.close()
                return
            self._act(frame, session)
        if not session.has_room.is_set():
            line.hold()

    async def _take_frames(self, session: _Session, requests: AsyncIterator[stream_pb2.SessionRequest]) -> None:
        try:
            async for request in requests:
                if session.line:
                    raise Refused("this session goes on by its line: no frame is taken from the stream")
                for frame in batches.spread(request):
                    if self._holder is not session:
                        return
                    self._act(frame, session)
                    await session.has_room.wait()
        except DecodeError as error:
            raise Refused("a frame is no SessionRequest") from error

    def _act(self, request: stream_pb2.SessionRequest, session: _Session) -> None:
        """Synchronous on purpose: between the fence's look and the end of the act nothing else runs."""
        match request.WhichOneof("event"):
            case "execute":
                self._execute(request.execute, session)
            case "cancel":
                self._cancel(request.cancel, session)
            case "forget":
                self._forget(request.forget, session)
            case "attach":
                self._attach(request.attach, session)
            case "hello":
                raise Refused("hello: only the first request of a session is one")
            case _:
                # Of a newer client: what it means cannot matter to a server that does not know it.
                _log.warning("unknown frame ignored", extra={"session": session.name[:64]})

    def _execute(self, execute: stream_pb2.Execute, session: _Session) -> None:
        attempt = _attempt(execute.key, frame="execute")
        assert self._registry is not None
        if self._registry.get(attempt):
            session.post(messages.accepted_event(attempt, duplicate=True))
            return
        # In a message of its own it would wake its reader at the very moment at which the process is to start; so would Started.
        session.post_in_company(messages.accepted_event(attempt, duplicate=False))
        session.outbox.follow(self._registry.execute(attempt, messages.request_of_stream(execute)))

    def _cancel(self, cancel: stream_pb2.Cancel, session: _Session) -> None:
        if execution := self._find(cancel.key, session=session, frame="cancel"):
            grace_seconds = cancel.grace_millis / 1000 if cancel.grace_millis > 0 else CANCEL_GRACE_SECONDS
            assert self._registry is not None
            self._registry.stop(execution, grace_seconds=grace_seconds)
            # One that is over already: its Exited was sent, or is due.

    def _forget(self, forget: stream_pb2.Forget, session: _Session) -> None:
        if execution := self._find(forget.key, session=session, frame="forget"):
            assert self._registry is not None
            self._registry.forget(execution)

    def _attach(self, attach: stream_pb2.Attach, session: _Session) -> None:
        if attach.stdout_offset < 0 or attach.stderr_offset < 0:
            raise Refused("attach: an offset must not be negative")
        if execution := self._find(attach.key, session=session, frame="attach"):
            session.outbox.follow(execution, stdout_offset=attach.stdout_offset, stderr_offset=attach.stderr_offset)

    def _find(self, key: stream_pb2.AttemptKey, *, session: _Session, frame: str) -> Execution | None:
        assert self._registry is not None
        attempt = _attempt(key, frame=frame)
        execution = self._registry.get(attempt)
        if execution is None:
            session.post(messages.forgotten_event(attempt))
        return execution


def _attempt(key: stream_pb2.AttemptKey, *, frame: str) -> AttemptId:
    if not key.run_uid:
        raise Refused(f"{frame}.key.run_uid: must not be empty")
    if key.attempt < 0:
        raise Refused(f"{frame}.key.attempt: must not be negative")
    return messages.attempt_of(key)


async def _deliver(session: _Session, context: Context) -> None:
    """Writes what is due, at the pace of the reader: each write waits for flow control. The first is Welcome, always on the stream."""
    write = context.write
    while True:
        session.outbox.wake.clear()
        while (message := session.next_message()) is not None:
            await write(message)
            session.note_sent()
            if session.line and write == context.write:
                write = _writer_to(await session.line)
        await session.outbox.wake.wait()


def _writer_to(line: Line) -> Callable[[stream_pb2.SessionResponse], Awaitable[None]]:
    async def write(message: stream_pb2.SessionResponse) -> None:
        line.send(message.SerializeToString())
        await line.drained()

    return write


async def _follow(arrival: asyncio.Future[Line]) -> None:
    """Until the line ends. Raises what a frame was refused for."""
    line = await arrival
    try:
        await asyncio.shield(line.closed)
    finally:
        line.close()


async def _close(session: _Session, tasks: list[asyncio.Task[None]], context: Context) -> None:
    if session.is_over.is_set():
        await context.abort(*session.status)
    error = next((error for task in tasks if task.done() and not task.cancelled() and (error := task.exception())), None)
    if isinstance(error, (Refused, FrameTooLarge)):
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
    if error:
        _log.error("session failed", exc_info=error, extra={"session": session.name[:64]})
        await context.abort(grpc.StatusCode.INTERNAL, "this is a bug of the Runtime Server; its log has more")
    _log.info("session closed", extra={"session": session.name[:64]})


async def _cancel(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks, return_exceptions=True)


async def _wait(event: asyncio.Event) -> None:
    await event.wait()

"""A unary Runtime Server whose every answer a test decides, and a listener that remembers what it was told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from krtpb.executor.v1 import runtime_pb2, runtime_pb2_grpc, stream_pb2

from runtimed.shell import frames
from runtimed.shell.session import CHANNEL_OPTIONS, Session
from runtimed.shell.unary.calls import EXECUTE_SECONDS

RUNNING = runtime_pb2.EXECUTION_STATE_RUNNING
SUCCEEDED = runtime_pb2.EXECUTION_STATE_SUCCEEDED
FAILED = runtime_pb2.EXECUTION_STATE_FAILED
DEADLINE_SECONDS = 0.3
"""Of Execute, in tests that wait it out."""

Behaviour = Callable[[Any, Any], Awaitable[Any]]


class ScriptedServer(runtime_pb2_grpc.RuntimeServicer):
    """Keeps executions as a good server does; `behaviours` replace a method. `calls` has every request in order."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.held: dict[str, runtime_pb2.StatusResponse] = {}
        self.calls: list[str] = []
        self.asked = asyncio.Condition()
        self.behaviours: dict[str, Behaviour] = {}
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        runtime_pb2_grpc.add_RuntimeServicer_to_server(self, self._server)
        self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def stop(self) -> None:
        """All connections break; what is held stays."""
        assert self._server is not None
        await self._server.stop(grace=None)

    async def until_called(self, call: str, *, times: int = 1) -> None:
        async with asyncio.timeout(10), self.asked:
            await self.asked.wait_for(lambda: self.calls.count(call) >= times)

    def set(self, run_uid: str, **fields: Any) -> None:
        """What Status says of it from now on."""
        self.held[run_uid] = runtime_pb2.StatusResponse(id=run_uid, **{"state": RUNNING, **fields})

    async def Execute(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await self._answer("Execute", request, context, self._execute)

    async def Status(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await self._answer("Status", request, context, self._status)

    async def List(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await self._answer("List", request, context, self._list)

    async def Cancel(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await self._answer("Cancel", request, context, self._cancel)

    async def Forget(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await self._answer("Forget", request, context, self._forget)

    async def Health(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await self._answer("Health", request, context, self._health)

    async def _answer(self, method: str, request: Any, context: Any, default: Behaviour) -> Any:
        async with self.asked:
            self.calls.append(f"{method} {request.id}" if hasattr(request, "id") else method)
            self.asked.notify_all()
        return await self.behaviours.get(method, default)(request, context)

    async def _execute(self, request: Any, context: Any) -> Any:
        if request.id in self.held:
            await context.abort(grpc.StatusCode.ALREADY_EXISTS, "the id is known")
        self.set(request.id)
        return runtime_pb2.ExecuteResponse(id=request.id)

    async def _status(self, request: Any, context: Any) -> Any:
        return await self._find(request, context)

    async def _list(self, request: Any, context: Any) -> Any:
        return runtime_pb2.ListResponse(entries=self.held.values())

    async def _cancel(self, request: Any, context: Any) -> Any:
        await self._find(request, context)
        del self.held[request.id]
        return runtime_pb2.CancelResponse()

    async def _forget(self, request: Any, context: Any) -> Any:
        if (await self._find(request, context)).state == RUNNING:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "it runs")
        del self.held[request.id]
        return runtime_pb2.ForgetResponse()

    async def _health(self, request: Any, context: Any) -> Any:
        return runtime_pb2.HealthResponse(healthy=True)

    async def _find(self, request: Any, context: Any) -> runtime_pb2.StatusResponse:
        if request.id not in self.held:
            await context.abort(grpc.StatusCode.NOT_FOUND, "not known")
        return self.held[request.id]


class Heard:
    """A Listener that remembers, and can be waited for."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[Any] = asyncio.Queue()

    def on_welcome(self, boot_id: str, held: frames.HeldRuns) -> None:
        self.told.put_nowait({uid: list(attempts) for uid, attempts in held.items()})

    def on_lost(self) -> None:
        self.told.put_nowait("lost")

    def on_response(self, response: stream_pb2.SessionResponse) -> None:
        self.told.put_nowait(response)

    async def next(self) -> Any:
        async with asyncio.timeout(10):
            return await self.told.get()

    async def event(self, kind: str) -> Any:
        """The next of all, which must be this one."""
        response = await self.next()
        assert isinstance(response, stream_pb2.SessionResponse), response
        assert response.WhichOneof("event") == kind, response
        return getattr(response, kind)

    async def events(self, *kinds: str) -> None:
        for kind in kinds:
            await self.event(kind)

    async def output(self) -> tuple[int, bytes]:
        """Offset and data of the next, which must be output."""
        output = await self.event("output")
        return output.offset, output.data


@asynccontextmanager
async def connected(
    port: int, *, execute_seconds: float = EXECUTE_SECONDS, options: dict[str, int] | None = None
) -> AsyncIterator[tuple[Session, Heard]]:
    heard = Heard()
    channel_options = list((dict(CHANNEL_OPTIONS) | (options or {})).items())
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=channel_options) as channel:
        session = Session(channel, listener=heard, execute_seconds=execute_seconds)
        task = asyncio.create_task(session.run())
        try:
            yield session, heard
        finally:
            task.cancel()
            await asyncio.wait({task})


def execute(run_uid: str, *, attempt: int = 0) -> stream_pb2.SessionRequest:
    return stream_pb2.SessionRequest(execute=stream_pb2.Execute(key=key(run_uid, attempt=attempt), args=["true"], working_dir="/tmp"))


def key(run_uid: str, *, attempt: int = 0) -> stream_pb2.AttemptKey:
    return stream_pb2.AttemptKey(run_uid=run_uid, attempt=attempt)


async def never(request: Any, context: Any) -> Any:
    """Takes the request and answers nobody."""
    await asyncio.Event().wait()


def failing(code: grpc.StatusCode, details: str = "no") -> Behaviour:
    async def fail(request: Any, context: Any) -> Any:
        await context.abort(code, details)

    return fail

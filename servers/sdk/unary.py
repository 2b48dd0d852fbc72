"""The unary service `executor.v1.Runtime`, as old runtimeds and old CLIs speak it, over the same registry as the stream.

An id is a Run UID and means the latest attempt that is held of it, whoever started it. What Execute starts here is attempt 0.
An execution that was lost with its supervisor does not exist here: NOT_FOUND is how this protocol says "lost".
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, NoReturn, TypeAlias
from weakref import WeakValueDictionary

import grpc
from krtpb.executor.v1 import runtime_pb2, runtime_pb2_grpc

from servers.sdk import exits, messages
from servers.sdk.execution import AttemptId, Execution
from servers.sdk.exits import ExitReason
from servers.sdk.limits import CANCEL_GRACE_SECONDS
from servers.sdk.registry import Registry

Context: TypeAlias = grpc.aio.ServicerContext


class UnaryService(runtime_pb2_grpc.RuntimeServicer):
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        # One a Run UID while somebody uses it: replacing waits for the old process, and must not hold up other Runs.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._background: set[asyncio.Task[None]] = set()

    async def Execute(self, request: runtime_pb2.ExecuteRequest, context: Context) -> runtime_pb2.ExecuteResponse:  # noqa: N802
        if not request.id:
            await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, "id: must not be empty")
        await self._finish(self._replace(request))
        return runtime_pb2.ExecuteResponse(id=request.id)

    async def Status(self, request: runtime_pb2.StatusRequest, context: Context) -> runtime_pb2.StatusResponse:  # noqa: N802
        return messages.status_response(await self._find(request.id, context))

    async def List(self, request: runtime_pb2.ListRequest, context: Context) -> runtime_pb2.ListResponse:  # noqa: N802
        run_uids = dict.fromkeys(execution.id.run_uid for execution in self._registry)
        latest = [self._registry.latest(run_uid) for run_uid in run_uids]
        return messages.list_response([execution for execution in latest if execution and not _is_lost(execution)])

    async def Cancel(self, request: runtime_pb2.CancelRequest, context: Context) -> runtime_pb2.CancelResponse:  # noqa: N802
        await self._find(request.id, context)
        await self._finish(self._remove(request.id))
        return runtime_pb2.CancelResponse()

    async def Forget(self, request: runtime_pb2.ForgetRequest, context: Context) -> runtime_pb2.ForgetResponse:  # noqa: N802
        execution = await self._find(request.id, context)
        if not execution.is_over:
            await _abort(context, grpc.StatusCode.FAILED_PRECONDITION, f"execution {request.id} is still running: cancel it first")
        for attempt in self._registry.attempts_of(request.id):
            self._registry.forget(attempt)
        return runtime_pb2.ForgetResponse()

    async def Health(self, request: runtime_pb2.HealthRequest, context: Context) -> runtime_pb2.HealthResponse:  # noqa: N802
        is_up = self._registry.supervisor.is_up
        return runtime_pb2.HealthResponse(healthy=is_up, message="" if is_up else "the supervisor is being restarted")

    async def _find(self, run_uid: str, context: Context) -> Execution:
        execution = self._registry.latest(run_uid)
        if execution is None or _is_lost(execution):
            await _abort(context, grpc.StatusCode.NOT_FOUND, f"execution {run_uid[:64]} is not known")
        return execution

    async def _finish(self, work: Coroutine[Any, Any, None]) -> None:
        """Goes on when the caller hangs up: a half-done replacement would be a process that nobody asked for."""
        task = asyncio.create_task(work, name="unary work")
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        await asyncio.shield(task)

    async def _replace(self, request: runtime_pb2.ExecuteRequest) -> None:
        """The same id again is how an old runtimed retries: the old one is cancelled and waited for, then replaced."""
        async with self._locks.setdefault(request.id, asyncio.Lock()):
            await self._end_all(request.id)
            execution = self._registry.execute(AttemptId(request.id, attempt=0), messages.request_of_unary(request))
        if request.timeout_seconds > 0 and not execution.is_over:
            self._start_timer(execution, timeout_seconds=request.timeout_seconds)

    async def _remove(self, run_uid: str) -> None:
        async with self._locks.setdefault(run_uid, asyncio.Lock()):
            await self._end_all(run_uid)

    async def _end_all(self, run_uid: str) -> None:
        held = self._registry.attempts_of(run_uid)
        for execution in held:
            self._registry.stop(execution, grace_seconds=CANCEL_GRACE_SECONDS)
        for execution in held:
            await execution.ended.wait()
        for execution in held:
            # The stream may have forgotten it meanwhile, or even started it anew.
            if self._registry.get(execution.id) is execution:
                self._registry.forget(execution)

    def _start_timer(self, execution: Execution, *, timeout_seconds: float) -> None:
        task = asyncio.create_task(self._time_out(execution, timeout_seconds=timeout_seconds), name="unary timeout")
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _time_out(self, execution: Execution, *, timeout_seconds: float) -> None:
        try:
            await asyncio.wait_for(execution.ended.wait(), timeout_seconds)
        except TimeoutError:
            self._registry.stop(execution, grace_seconds=CANCEL_GRACE_SECONDS, reason=exits.TIMEOUT)


def _is_lost(execution: Execution) -> bool:
    return execution.exit is not None and execution.exit.reason is ExitReason.LOST


async def _abort(context: Context, code: grpc.StatusCode, text: str) -> NoReturn:
    await context.abort(code, text)
    raise AssertionError("abort raises")

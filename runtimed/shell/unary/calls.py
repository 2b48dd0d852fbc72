"""The RPCs of `executor.v1.Runtime`, each with its deadline, and what their failures mean to us. Nothing is retried here."""

from __future__ import annotations

from typing import Final

import grpc
from krtpb.executor.v1 import runtime_pb2, runtime_pb2_grpc

# Part of the contract (interface.md 2.1).
EXECUTE_SECONDS: Final = 10.0
STATUS_SECONDS: Final = 5.0
LIST_SECONDS: Final = 5.0
CANCEL_SECONDS: Final = 5.0
FORGET_SECONDS: Final = 5.0
HEALTH_SECONDS: Final = 2.0

_UNANSWERED: Final = frozenset({grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE})
"""Of Execute: the request may have arrived, or may still arrive."""
_FORGOTTEN: Final = frozenset({grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNIMPLEMENTED})


class Unanswered(Exception):
    """It failed, and may have happened."""


class Refused(Exception):
    """The server said no; the text says why."""


class Calls:
    """`execute_seconds` is the contract's, but for tests."""

    def __init__(self, channel: grpc.aio.Channel, *, execute_seconds: float = EXECUTE_SECONDS) -> None:
        self._stub = runtime_pb2_grpc.RuntimeStub(channel)
        self.execute_seconds = execute_seconds

    async def execute(self, request: runtime_pb2.ExecuteRequest) -> None:
        """Raises Refused or Unanswered."""
        try:
            await self._stub.Execute(request, timeout=self.execute_seconds)
        except grpc.aio.AioRpcError as error:
            kind = Unanswered if error.code() in _UNANSWERED else Refused
            raise kind(_describe(error)) from error

    async def status(self, run_uid: str) -> runtime_pb2.StatusResponse | None:
        """None: it knows no such execution. Raises Unanswered."""
        try:
            answer: runtime_pb2.StatusResponse = await self._stub.Status(runtime_pb2.StatusRequest(id=run_uid), timeout=STATUS_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return None
            raise Unanswered(_describe(error)) from error
        return answer

    async def cancel(self, run_uid: str) -> None:
        """Whatever it answers: Status tells whether it helped."""
        try:
            await self._stub.Cancel(runtime_pb2.CancelRequest(id=run_uid), timeout=CANCEL_SECONDS)
        except grpc.aio.AioRpcError:
            return

    async def forget(self, run_uid: str) -> bool:
        """Whether there is nothing to forget any more, or never will be."""
        try:
            await self._stub.Forget(runtime_pb2.ForgetRequest(id=run_uid), timeout=FORGET_SECONDS)
        except grpc.aio.AioRpcError as error:
            return error.code() in _FORGOTTEN
        return True

    async def list_run_uids(self) -> list[str]:
        """Everything that the server retains. Waits for it to listen; raises AioRpcError."""
        answer = await self._stub.List(runtime_pb2.ListRequest(), timeout=LIST_SECONDS, wait_for_ready=True)
        return [entry.id for entry in answer.entries if entry.id]

    async def health(self) -> runtime_pb2.HealthResponse:
        """Raises AioRpcError."""
        answer: runtime_pb2.HealthResponse = await self._stub.Health(runtime_pb2.HealthRequest(), timeout=HEALTH_SECONDS)
        return answer


def _describe(error: grpc.aio.AioRpcError) -> str:
    return f"{error.code().name}: {(error.details() or 'no details')[:256]}"

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

_UNANSWERED: Final = frozenset({grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED})
"""The request may have arrived, or may still arrive. UNAVAILABLE is another matter: it ends the session."""
_FORGOTTEN: Final = frozenset({grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNIMPLEMENTED})


class ConnectionLost(Exception):
    """Nothing is known of the server until it has been asked for what it holds."""


class Unanswered(Exception):
    """It failed, and may have happened. `code` is gRPC's."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Refused(Exception):
    """The server said no; the text says why."""


class Calls:
    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = runtime_pb2_grpc.RuntimeStub(channel)

    async def execute(self, request: runtime_pb2.ExecuteRequest) -> None:
        """Raises Refused, Unanswered or ConnectionLost."""
        try:
            await self._stub.Execute(request, timeout=EXECUTE_SECONDS)
        except grpc.aio.AioRpcError as error:
            code = _code_of(error)
            if code in _UNANSWERED:
                raise Unanswered(code.name) from error
            raise Refused(f"{code.name}: {(error.details() or '')[:256]}") from error

    async def status(self, run_uid: str) -> runtime_pb2.StatusResponse | None:
        """None: it knows no such execution. Raises Unanswered or ConnectionLost."""
        try:
            answer: runtime_pb2.StatusResponse = await self._stub.Status(runtime_pb2.StatusRequest(id=run_uid), timeout=STATUS_SECONDS)
        except grpc.aio.AioRpcError as error:
            code = _code_of(error)
            if code is grpc.StatusCode.NOT_FOUND:
                return None
            raise Unanswered(code.name) from error
        return answer

    async def cancel(self, run_uid: str) -> None:
        """Whatever it answers: Status tells whether it helped. Raises ConnectionLost."""
        try:
            await self._stub.Cancel(runtime_pb2.CancelRequest(id=run_uid), timeout=CANCEL_SECONDS)
        except grpc.aio.AioRpcError as error:
            _code_of(error)

    async def forget(self, run_uid: str) -> bool:
        """Whether there is nothing to forget any more, or never will be. Raises ConnectionLost."""
        try:
            await self._stub.Forget(runtime_pb2.ForgetRequest(id=run_uid), timeout=FORGET_SECONDS)
        except grpc.aio.AioRpcError as error:
            return _code_of(error) in _FORGOTTEN
        return True

    async def list_run_uids(self) -> list[str]:
        """Everything that the server retains. Waits for it to listen; raises AioRpcError."""
        answer = await self._stub.List(runtime_pb2.ListRequest(), timeout=LIST_SECONDS, wait_for_ready=True)
        return [entry.id for entry in answer.entries]

    async def health(self) -> runtime_pb2.HealthResponse:
        """Raises AioRpcError."""
        answer: runtime_pb2.HealthResponse = await self._stub.Health(runtime_pb2.HealthRequest(), timeout=HEALTH_SECONDS)
        return answer


def _code_of(error: grpc.aio.AioRpcError) -> grpc.StatusCode:
    """Raises ConnectionLost for the one code that says so."""
    code: grpc.StatusCode = error.code()
    if code is grpc.StatusCode.UNAVAILABLE:
        raise ConnectionLost from error
    return code

"""gRPC for old clients that read a Run's state and output through a port-forward: Status, passed on to the Runtime Server.

Loopback only unless told otherwise: there is no authentication on this port, and a port-forward dials localhost in the Pod.
"""

from __future__ import annotations

import logging
from typing import Any

import grpc
from krtpb.artifact.v1 import artifact_pb2_grpc
from krtpb.executor.v1 import runtime_pb2, runtime_pb2_grpc

from k8s.manager import parse_bind_address

logger = logging.getLogger(__name__)

STATUS_SECONDS = 5.0
LOOPBACK = "127.0.0.1"


class StatusProxy(runtime_pb2_grpc.RuntimeServicer):
    """`executor.v1.Runtime`, of which only Status is there."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = runtime_pb2_grpc.RuntimeStub(channel)

    async def Status(self, request: runtime_pb2.StatusRequest, context: Any) -> runtime_pb2.StatusResponse:  # noqa: N802 - gRPC's name
        try:
            return await self._stub.Status(request, timeout=STATUS_SECONDS)  # type: ignore[no-any-return]
        except grpc.aio.AioRpcError as error:
            await context.abort(error.code(), error.details() or "")
            raise AssertionError("abort raises") from error

    async def Execute(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        await _refuse(context)

    async def List(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        await _refuse(context)

    async def Cancel(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        await _refuse(context)

    async def Forget(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        await _refuse(context)

    async def Health(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        await _refuse(context)


async def _refuse(context: Any) -> None:
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "only Status is served here; runtimed alone executes and cancels")


async def serve_status(
    address: str, *, channel: grpc.aio.Channel, artifacts: artifact_pb2_grpc.ArtifactServiceServicer
) -> grpc.aio.Server | None:
    """Listens on `address`; a failure to is logged only, for no Run depends on it."""
    bind = parse_bind_address(address, field="--status-addr")
    if bind is None:
        return None
    server = grpc.aio.server()
    runtime_pb2_grpc.add_RuntimeServicer_to_server(StatusProxy(channel), server)
    artifact_pb2_grpc.add_ArtifactServiceServicer_to_server(artifacts, server)
    host = bind.host or LOOPBACK
    target = f"[{host}]:{bind.port}" if ":" in host else f"{host}:{bind.port}"
    try:
        port = server.add_insecure_port(target)
    except RuntimeError as error:
        logger.error(
            "--status-addr cannot be listened on; old clients will not see output", extra={"address": target, "error": str(error)[:256]}
        )
        return None
    await server.start()
    logger.info("status is served", extra={"address": f"{host}:{port}"})
    return server

"""RPCs are answered to loopback peers only: runtimed lives in the same Pod. The port itself stays open for TCP probes.

This is not authentication: everything in the Pod, user code included, reaches loopback.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

import grpc

_DENIED = "this Runtime Server answers loopback peers only"


def is_loopback_peer(peer: str) -> bool:
    """Of gRPC's `context.peer()`: "ipv4:127.0.0.1:5", "ipv6:%5B::1%5D:5", "unix:…". What cannot be understood is not."""
    family, _, address = unquote(peer).partition(":")
    if family in {"unix", "unix-abstract"}:
        return True
    if family not in {"ipv4", "ipv6"}:
        return False
    host = address.rpartition(":")[0].strip("[]")
    try:
        return _is_loopback(ipaddress.ip_address(host))
    except ValueError:
        return False


def _is_loopback(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback


class LoopbackOnly(grpc.aio.ServerInterceptor):
    """In front of every method of every service, known or not."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler | None:
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        if handler.unary_unary:
            return _rebuild(grpc.unary_unary_rpc_method_handler, handler, behaviour=handler.unary_unary)
        if handler.stream_stream:
            return _rebuild(grpc.stream_stream_rpc_method_handler, handler, behaviour=handler.stream_stream)
        raise AssertionError("no service of ours streams in one direction only")


def _rebuild(make: Callable[..., grpc.RpcMethodHandler], handler: Any, *, behaviour: Any) -> grpc.RpcMethodHandler:
    return make(_guard(behaviour), request_deserializer=handler.request_deserializer, response_serializer=handler.response_serializer)


def _guard(behaviour: Any) -> Any:
    @functools.wraps(behaviour)
    async def guarded(request: Any, context: grpc.aio.ServicerContext) -> Any:
        if not is_loopback_peer(context.peer()):
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, _DENIED)
        return await behaviour(request, context)

    return guarded

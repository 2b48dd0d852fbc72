"""Port-forward to a Pod of the local node: the WebSocket form (v4.channel.k8s.io), one port a connection."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aiohttp import WSMsgType, web

from controlplane.local.apiserver.logs import LogProxy
from controlplane.local.apiserver.requests import Options
from controlplane.local.apiserver.statuses import Refused, bad_request, not_acceptable
from controlplane.local.apiserver.store import Stored

PROTOCOL = "v4.channel.k8s.io"
DATA, ERROR = 0, 1
READ_BYTES = 1 << 16
MAX_FRAME_BYTES = 16 << 20


async def serve_port_forward(request: web.BaseRequest, *, pod: Stored, options: Options, node: LogProxy) -> web.StreamResponse:
    """Until one of both sides ends it. Raises Refused."""
    text = options.query.get("ports", "")
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise bad_request("ports: this API server forwards exactly one port at a time; name it as in ?ports=8080")
    socket = web.WebSocketResponse(protocols=(PROTOCOL,), max_msg_size=MAX_FRAME_BYTES)
    if not socket.can_prepare(request).ok:
        raise Refused(f"port-forward needs a WebSocket of protocol {PROTOCOL}; this API server has no SPDY", code=400, reason="BadRequest")
    port = await node.find_port(pod, port=int(text))
    # As a kubelet does, through a real API server.
    if "*/*" not in request.headers.get("Accept", "*/*"):
        raise not_acceptable(("*/*",))
    await socket.prepare(request)
    preface = int(text).to_bytes(2, "little")
    for channel in (DATA, ERROR):
        await socket.send_bytes(bytes([channel]) + preface)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError as error:
        await socket.send_bytes(bytes([ERROR]) + f"port {text} of the Pod: {error.strerror}".encode())
    else:
        await _join(socket, reader, writer)
    await socket.close()
    return socket


async def _join(socket: web.WebSocketResponse, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    ways = [asyncio.ensure_future(_from_pod(reader, socket)), asyncio.ensure_future(_to_pod(socket, writer))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        writer.transport.abort()


async def _from_pod(reader: asyncio.StreamReader, socket: web.WebSocketResponse) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(READ_BYTES):
            await socket.send_bytes(bytes([DATA]) + data)


async def _to_pod(socket: web.WebSocketResponse, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        async for message in socket:
            if message.type is WSMsgType.BINARY and message.data[:1] == bytes([DATA]):
                writer.write(message.data[1:])
                await writer.drain()

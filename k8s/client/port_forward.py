"""A connection to a port of a Pod, over the API server: the WebSocket form of port-forward (v4.channel.k8s.io). Bytes only."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import aiohttp

from k8s.client.errors import Unreachable
from k8s.client.resources import PODS

if TYPE_CHECKING:
    from k8s.client.transport import ApiClient

PROTOCOL: Final = "v4.channel.k8s.io"
DATA: Final = 0
ERROR: Final = 1
PREFACE_BYTES: Final = 2
"""Each channel begins with the number of its port."""
MAX_FRAME_BYTES: Final = 16 << 20


class Forwarding:
    """An open one. `read` until it gives nothing; `write` whatever the other side is to have."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, *, what: str) -> None:
        self._socket = socket
        self._what = what
        self._begun: set[int] = set()

    async def read(self) -> bytes:
        """The next bytes, empty at the end. Raises Unreachable with what the node says."""
        while True:
            message = await self._socket.receive()
            if message.type in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING}:
                return b""
            if message.type is aiohttp.WSMsgType.ERROR:
                raise Unreachable(f"{self._what}: the connection broke")
            if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
                continue
            data = self._payload(message.data)
            if data:
                return data

    def _payload(self, frame: bytes) -> bytes:
        channel, data = frame[0], frame[1:]
        if channel not in self._begun:
            self._begun.add(channel)
            data = data[PREFACE_BYTES:]
        if channel == ERROR and data:
            raise Unreachable(f"{self._what}: {data.decode('utf-8', 'replace')[:256]}")
        return data if channel == DATA else b""

    async def write(self, data: bytes) -> None:
        try:
            await self._socket.send_bytes(bytes([DATA]) + data)
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(f"{self._what}: the connection broke") from error


@asynccontextmanager
async def forward_port(client: ApiClient, pod: str, *, namespace: str, port: int) -> AsyncIterator[Forwarding]:
    """Raises the ApiError of a refusal."""
    path = PODS.path(namespace=namespace, name=pod, subresource="portforward")
    what = f"port-forward to {pod}:{port}"
    socket = await client.open_websocket(path, query={"ports": str(port)}, protocol=PROTOCOL, max_bytes=MAX_FRAME_BYTES, what=what)
    try:
        yield Forwarding(socket, what=what)
    finally:
        await socket.close()

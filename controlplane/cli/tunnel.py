"""A way into a Pod: a socket on this machine that only this user can open, and behind it a port-forward by the API server."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from k8s.api.errors import KrtError

if TYPE_CHECKING:
    from controlplane.cli.connection import Session
    from k8s.client import Forwarding

READ_BYTES = 1 << 16


class Tunnel:
    """`address` for gRPC; `failure` is what the API server said last, which gRPC does not know."""

    def __init__(self, session: Session, *, pod: str, port: int, path: Path) -> None:
        self._session, self._pod, self._port, self._path = session, pod, port, path
        self._open: set[asyncio.Task[None]] = set()
        self.failure = ""

    @property
    def address(self) -> str:
        return f"unix:{self._path}"

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from k8s.client import forward_port

        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            async with forward_port(self._session.client, self._pod, namespace=self._session.namespace, port=self._port) as forwarding:
                await self._join(reader, writer, forwarding)
        except KrtError as error:
            self.failure = str(error)
        except asyncio.CancelledError:
            pass  # the tunnel is closed
        finally:
            self._open.discard(task)
            writer.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, forwarding: Forwarding) -> None:
        ways = [asyncio.ensure_future(_send(reader, forwarding)), asyncio.ensure_future(_receive(forwarding, writer))]
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in done:
                way.result()
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def close(self) -> None:
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)


@asynccontextmanager
async def tunnel_to(session: Session, *, pod: str, port: int) -> AsyncIterator[Tunnel]:
    """Nothing is forwarded before the first connection."""
    with tempfile.TemporaryDirectory(prefix="krt-") as folder:  # mode 0700
        path = Path(folder) / "tunnel"
        tunnel = Tunnel(session, pod=pod, port=port, path=path)
        server = await asyncio.start_unix_server(tunnel.accept, path=str(path))
        try:
            yield tunnel
        finally:
            server.close()
            await tunnel.close()


async def _send(reader: asyncio.StreamReader, forwarding: Forwarding) -> None:
    while data := await reader.read(READ_BYTES):
        await forwarding.write(data)


async def _receive(forwarding: Forwarding, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await forwarding.read():
            writer.write(data)
            await writer.drain()

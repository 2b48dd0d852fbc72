"""A TCP proxy in front of an API server that can cut off single processes: the network partition of one machine."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import psutil


class Proxy:
    """`async with Proxy()`, then set `target_port`. Whoever is cut off has its connections broken and gets no new ones until `heal`."""

    def __init__(self) -> None:
        self.target_port = 0
        self._server: asyncio.Server | None = None
        self._cut: set[int] = set()
        self._open: dict[asyncio.Task[None], int] = {}
        self.port = 0

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def cut_off(self, pid: int) -> None:
        self._cut.add(pid)
        for task, owner in self._open.items():
            if owner == pid:
                task.cancel()

    def heal(self) -> None:
        self._cut.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pid = _owner_of(writer.get_extra_info("peername")[1], server_port=self.port)
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = pid
        try:
            if pid not in self._cut:
                await self._join(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            del self._open[task]
            writer.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", self.target_port)
        both = [asyncio.create_task(_copy(reader, upstream)), asyncio.create_task(_copy(upstream_reader, writer))]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for copying in both:
                copying.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            upstream.transport.abort()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(1 << 16):
            target.write(data)
            await target.drain()


def _owner_of(port: int, *, server_port: int) -> int:
    """The process whose connection to us comes from `port`."""
    for connection in psutil.net_connections(kind="tcp"):
        ours, theirs = connection.laddr, connection.raddr
        if ours and theirs and ours.port == port and theirs.port == server_port:
            return int(connection.pid or 0)
    return 0

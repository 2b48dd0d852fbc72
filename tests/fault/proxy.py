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
        """And the ports that they come from."""
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
        ports = self._ports_of(pid)
        for task, port in self._open.items():
            if port in ports:
                task.cancel()

    def heal(self) -> None:
        self._cut.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = writer.get_extra_info("peername")[1]
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = port
        try:
            if not any(port in self._ports_of(pid) for pid in self._cut):
                await self._join(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            del self._open[task]
            writer.transport.abort()

    def _ports_of(self, pid: int) -> set[int]:
        """From which that process is connected to us. Nobody else is looked at: that would take longer than a connection lasts."""
        connections = psutil.Process(pid).net_connections(kind="tcp")
        return {each.laddr.port for each in connections if each.raddr and each.raddr.port == self.port}

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

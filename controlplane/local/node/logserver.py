"""The node's HTTP endpoint on its unix socket: container logs, as a kubelet serves them to the API server, and where ports are.

Errors are plain text: the API server passes them on as the message of its own answer.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import Protocol

from aiohttp import web

from controlplane.local.node.logfile import LogFile
from controlplane.local.node.logreader import LogOptions, read_log
from k8s.api.errors import UsageError

STUCK_AFTER_SECONDS = 60.0
"""A follower that takes nothing for so long is cut off: it holds a file of the log open."""


class NoLogsError(Exception):
    """There are none, or not yet: `status` and the text say why."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class Logs(Protocol):
    """Who knows the containers."""

    def find_log(self, *, namespace: str, pod: str, container: str, previous: bool) -> LogFile:
        """Raises NoLogsError."""
        ...

    def find_port(self, *, namespace: str, pod: str, port: int) -> int | None:
        """Where on this machine a port of a Pod is; None if there is no such port."""
        ...


class LogServer:
    """Listens from `start` to `stop`."""

    def __init__(self, logs: Logs, *, socket_path: Path, now: Callable[[], datetime]) -> None:
        self._logs = logs
        self._socket_path = socket_path
        self._now = now
        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._serve)
        app.router.add_get("/ports/{namespace}/{pod}/{port:[0-9]{1,5}}", self._serve_port)
        # Followers are cut off at once when the node stops: their containers are gone then.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.0, handler_cancellation=True)

    async def start(self) -> None:
        await self._runner.setup()
        self._socket_path.parent.mkdir(parents=True, exist_ok=True)
        self._socket_path.unlink(missing_ok=True)  # left by a node that was killed; the daemon runs one at a time
        await web.UnixSite(self._runner, str(self._socket_path)).start()
        os.chmod(self._socket_path, 0o600)

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _serve_port(self, request: web.Request) -> web.Response:
        where = request.match_info
        port = self._logs.find_port(namespace=where["namespace"], pod=where["pod"], port=int(where["port"]))
        if port is None:
            text = f"nothing of the Pod {where['pod']} listens on port {where['port']} on this node"
            return web.Response(status=404, text=text)
        return web.Response(text=str(port))

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        where = request.match_info
        try:
            options = LogOptions.from_query(dict(request.query), now=self._now())
            log = self._logs.find_log(
                namespace=where["namespace"], pod=where["pod"], container=where["container"], previous=options.previous
            )
        except UsageError as error:
            return web.Response(status=400, text=str(error))
        except NoLogsError as error:
            return web.Response(status=error.status, text=str(error))
        return await _send(request, log=log, options=options)


async def _send(request: web.Request, *, log: LogFile, options: LogOptions) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    try:
        async with aclosing(read_log(log, options=options)) as blocks:
            async for block in blocks:
                async with asyncio.timeout(STUCK_AFTER_SECONDS):
                    await response.write(block)
        await response.write_eof()
    except (TimeoutError, ConnectionError):
        if request.transport:
            request.transport.abort()  # the reader is stuck or gone; a clean end would tell it that this was all
    return response

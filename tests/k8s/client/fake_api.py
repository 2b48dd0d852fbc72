"""A scripted API server on a real socket: the test decides each answer, each watch event, and when a connection is cut.

It is no API server: it stores nothing. `fake_store` stores, and the real ones are in the contract suite.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from aiohttp import web

DEADLINE_SECONDS = 5.0
JSON = "application/json"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Watch:
    """One open watch, seen from the server."""

    def __init__(self, request: web.Request, response: web.StreamResponse) -> None:
        self.query = dict(request.query)
        self.is_over = asyncio.Event()
        self._request = request
        self._response = response

    async def send(self, kind: str, object_: dict[str, Any]) -> None:
        """One event."""
        await self.send_raw(json.dumps({"type": kind, "object": object_}).encode() + b"\n")

    async def send_raw(self, data: bytes) -> None:
        await self._response.write(data)

    def end(self) -> None:
        """As the server does at its timeoutSeconds."""
        self.is_over.set()

    def cut(self) -> None:
        """As a dying server or network does."""
        assert self._request.transport is not None
        self._request.transport.abort()
        self.is_over.set()


class FakeApi:
    """`async with FakeApi() as api`. Answers come from the script, one a request; watches are handed to the test."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.url = ""
        self._tls = tls
        self.seen: list[Seen] = []
        self.connections: set[Any] = set()
        self._script: deque[Handler] = deque()
        self._watches: asyncio.Queue[Watch] = asyncio.Queue()
        self._open: list[Watch] = []
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> FakeApi:
        app = web.Application(client_max_size=1 << 24)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for watch in self._open:
            watch.end()
        assert self._runner is not None
        await self._runner.cleanup()

    def answer(self, body: Any = None, *, status: int = 200, headers: dict[str, str] | None = None) -> None:
        """The next request gets this; bytes go as they are, everything else as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()

        async def handle(request: web.Request) -> web.StreamResponse:
            return web.Response(body=data, status=status, headers={"Content-Type": JSON, **(headers or {})})

        self._script.append(handle)

    def answer_by(self, handler: Handler) -> None:
        """The next request is handled by `handler`."""
        self._script.append(handler)

    def answer_list(self, *items: dict[str, Any], version: int = 1, more: str = "") -> None:
        """The next request gets a list."""
        self.answer({"kind": "List", "metadata": {"resourceVersion": str(version), "continue": more}, "items": list(items)})

    def refuse(self, status: int, *, reason: str = "", message: str = "no", headers: dict[str, str] | None = None, **details: Any) -> None:
        """The next request gets a Status."""
        self.answer(status_body(status, reason=reason, message=message, **details), status=status, headers=headers)

    def cut_next(self) -> None:
        """The next request's connection is cut without an answer."""

        async def handle(request: web.Request) -> web.StreamResponse:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()

        self._script.append(handle)

    def hang_next(self) -> asyncio.Event:
        """The next request is never answered; set the event to let go of it."""
        is_over = asyncio.Event()

        async def handle(request: web.Request) -> web.StreamResponse:
            await is_over.wait()
            return web.Response(status=500)

        self._script.append(handle)
        return is_over

    async def next_watch(self) -> Watch:
        """The next watch that a client opens."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self._watches.get()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.seen.append(Seen(request.method, request.path, dict(request.query), dict(request.headers), body))
        self.connections.add(request.transport)
        if self._script:
            return await self._script.popleft()(request)
        if request.query.get("watch") == "true":
            return await self._watch(request)
        return web.Response(status=501, text="nothing scripted")

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": JSON})
        await response.prepare(request)
        watch = Watch(request, response)
        self._open.append(watch)
        self._watches.put_nowait(watch)
        await watch.is_over.wait()
        return response


def status_body(status: int, *, reason: str = "", message: str = "no", **details: Any) -> dict[str, Any]:
    """metav1.Status."""
    return {"kind": "Status", "status": "Failure", "code": status, "reason": reason, "message": message, "details": details}


def run_body(name: str, *, uid: str = "", version: int = 1, phase: str = "Pending", **spec: Any) -> dict[str, Any]:
    """A Run as the API server sends it."""
    return {
        "apiVersion": "kruntimes.io/v1alpha1",
        "kind": "Run",
        "metadata": {"name": name, "namespace": "default", "uid": uid or f"uid-{name}", "resourceVersion": str(version)},
        "spec": {"runtime": "bash", **spec},
        "status": {"phase": phase},
    }

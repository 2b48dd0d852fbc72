"""Between us and a real S3 server: passes requests on, and spoils those that the rules say, in the ways a store goes wrong."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from yarl import URL

SLOWLY = "slow"
UNAVAILABLE = "503"
CUT_REQUEST = "cut in the middle"
LOST_ANSWER = "answer lost"
WRONG_ETAG = "wrong ETag"
EXPIRED = "credentials expired"
HANGING = "hangs"
_SLOW_SECONDS = 0.15
_EXPIRED_BODY = "<?xml version='1.0'?><Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"
_BUSY_BODY = "<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"


@dataclass(slots=True)
class Rule:
    """Spoils requests that `matches` holds for; `count` of them, None for all."""

    fault: str
    matches: Callable[[web.Request], bool] = lambda request: True
    count: int | None = None

    def applies(self, request: web.Request) -> bool:
        if self.count == 0 or not self.matches(request):
            return False
        if self.count is not None:
            self.count -= 1
        return True


@dataclass(slots=True)
class S3Faults:
    """`port` once it runs."""

    target: str
    rules: list[Rule] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    """Method and kind of every request, in order."""
    port: int = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, request: web.Request, session: aiohttp.ClientSession) -> web.StreamResponse:
        self.seen.append(f"{request.method} {kind_of(request)}")
        fault = next((rule.fault for rule in self.rules if rule.applies(request)), "")
        if fault == HANGING:
            await asyncio.Event().wait()
        if fault == UNAVAILABLE:
            await request.content.read()
            return web.Response(status=503, text=_BUSY_BODY, content_type="application/xml")
        if fault == EXPIRED:
            await request.content.read()
            return web.Response(status=400, text=_EXPIRED_BODY, content_type="application/xml")
        if fault == CUT_REQUEST:
            await request.content.read(1 << 16)
            return self._cut(request)
        if fault == SLOWLY:
            await asyncio.sleep(_SLOW_SECONDS)
        answer = await self._pass_on(request, session)
        if fault == WRONG_ETAG and "ETag" in answer.headers:
            answer.headers["ETag"] = f'"{os.urandom(16).hex()}"'
        return self._cut(request) if fault == LOST_ANSWER else answer

    def _cut(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def _pass_on(self, request: web.Request, session: aiohttp.ClientSession) -> web.Response:
        url = URL(self.target + request.raw_path, encoded=True)
        headers = {name: value for name, value in request.headers.items() if name not in {"Transfer-Encoding", "Expect"}}
        async with session.request(request.method, url, data=io.BytesIO(await request.content.read()), headers=headers) as answer:
            body = await answer.read()
            kept = {name: value for name, value in answer.headers.items() if name not in {"Transfer-Encoding", "Connection"}}
            if request.method != "HEAD":
                kept.pop("Content-Length", None)
            return web.Response(status=answer.status, body=body, headers=kept)


def kind_of(request: web.Request) -> str:
    """`part`, `upload` (its begin or end), or `object`."""
    return "part" if "partNumber" in request.query else "upload" if {"uploads", "uploadId"} & set(request.query) else "object"


def is_kind(kind: str, method: str = "") -> Callable[[web.Request], bool]:
    return lambda request: kind_of(request) == kind and method in {"", request.method}


@asynccontextmanager
async def faulty(target: str) -> AsyncIterator[S3Faults]:
    """Runs in the test's own loop: what uses it must be in a thread or another process."""
    faults = S3Faults(target)
    timeout = aiohttp.ClientTimeout(total=30)
    unasked = {"User-Agent", "Accept-Encoding"}
    async with aiohttp.ClientSession(auto_decompress=False, timeout=timeout, skip_auto_headers=unasked) as session:
        server = web.Server(lambda request: faults.handle(request, session))  # type: ignore[arg-type]
        runner = web.ServerRunner(server, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        faults.port = runner.addresses[0][1]
        try:
            yield faults
        finally:
            await runner.cleanup()

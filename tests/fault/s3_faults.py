"""Between us and a real S3 server: passes requests on, and spoils those that the rules say, in the ways a store goes wrong."""

from __future__ import annotations

import asyncio
import io
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from queue import Queue

import aiohttp
from aiohttp import web
from yarl import URL

SLOWLY = "slow"
UNAVAILABLE = "503"
CUT_REQUEST = "cut in the middle"
CUT_ANSWER = "answer cut in the middle"
LOST_ANSWER = "answer lost"
WRONG_ETAG = "wrong ETag"
EXPIRED = "credentials expired"
HANGING = "hangs"
_SLOW_SECONDS = 0.15
WAIT_SECONDS = 20.0
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
    spoilt: int = 0
    port: int = 0
    _told: threading.Condition = field(default_factory=threading.Condition)

    def wait_until_spoilt(self, total: int) -> None:
        """Blocks, so not in the proxy's own loop."""
        with self._told:
            assert self._told.wait_for(lambda: self.spoilt >= total, WAIT_SECONDS), f"{self.spoilt} of {total}; seen: {self.seen}"

    def _note_spoilt(self) -> None:
        with self._told:
            self.spoilt += 1
            self._told.notify_all()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, request: web.Request, session: aiohttp.ClientSession) -> web.StreamResponse:
        self.seen.append(f"{request.method} {kind_of(request)}")
        fault = next((rule.fault for rule in self.rules if rule.applies(request)), "")
        if fault:
            self._note_spoilt()
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
        if fault == CUT_ANSWER:
            return await self._send_half(request, answer)
        return self._cut(request) if fault == LOST_ANSWER else answer

    async def _send_half(self, request: web.Request, answer: web.Response) -> web.Response:
        assert isinstance(answer.body, bytes)
        half = web.StreamResponse(status=answer.status, headers=answer.headers)
        half.content_length = len(answer.body)
        await half.prepare(request)
        await half.write(answer.body[: len(answer.body) // 2])
        return self._cut(request)

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


@contextmanager
def faulty_beside(target: str) -> Iterator[S3Faults]:
    """The same in a loop of its own, for a test that has none."""
    started: Queue[tuple[S3Faults, Callable[[], object]]] = Queue()

    async def serve() -> None:
        ending, loop = asyncio.Event(), asyncio.get_running_loop()
        async with faulty(target) as faults:
            started.put((faults, lambda: loop.call_soon_threadsafe(ending.set)))
            await ending.wait()

    with ThreadPoolExecutor(1) as pool:
        serving = pool.submit(asyncio.run, serve())
        faults, end = started.get(timeout=WAIT_SECONDS)
        try:
            yield faults
        finally:
            end()
            serving.result()


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

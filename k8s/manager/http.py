"""The endpoints for kubelet and Prometheus: /healthz, /readyz, /metrics. Served on the process's own loop, on purpose."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from k8s.api.errors import UsageError
from k8s.client.errors import cut
from k8s.manager.settings import BindAddress, parse_bind_address
from k8s.manager.watchdog import LoopWatchdog

logger = logging.getLogger(__name__)

Check = Callable[[], Awaitable[None]]
"""Returns when all is well, raises otherwise."""

CHECK_SECONDS = 5.0
"""A check that takes longer has failed; kubelet's own timeout is often shorter still."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where it listens in the end; None where it does not."""

    health: int | None
    metrics: int | None


class StatusServer:
    """`async with StatusServer(...) as server`. `checks` are what /readyz asks, by name."""

    def __init__(
        self,
        *,
        health_bind: str,
        metrics_bind: str,
        checks: Mapping[str, Check],
        registry: CollectorRegistry,
        watchdog: LoopWatchdog | None = None,
    ) -> None:
        self._health = parse_bind_address(health_bind, field="--health-probe-bind-address")
        self._metrics = parse_bind_address(metrics_bind, field="--metrics-bind-address")
        self._checks = checks
        self._registry = registry
        self._watchdog = watchdog or LoopWatchdog()
        self._runners: list[web.AppRunner] = []
        self.ports = Ports(None, None)

    async def __aenter__(self) -> StatusServer:
        self._watchdog.start()
        try:
            self.ports = await self._listen()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._stop()

    async def _listen(self) -> Ports:
        health = [web.get("/healthz", self._healthz), web.get("/readyz", self._readyz)]
        metrics = [web.get("/metrics", self._serve_metrics)]
        if self._health is not None and self._health == self._metrics and self._health.port:
            port = await self._serve([*health, *metrics], self._health, field="--health-probe-bind-address")
            return Ports(port, port)
        return Ports(
            await self._serve(health, self._health, field="--health-probe-bind-address"),
            await self._serve(metrics, self._metrics, field="--metrics-bind-address"),
        )

    async def _serve(self, routes: list[web.RouteDef], address: BindAddress | None, *, field: str) -> int | None:
        if address is None:
            return None
        app = web.Application()
        app.add_routes(routes)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        self._runners.append(runner)
        await runner.setup()
        try:
            await web.TCPSite(runner, address.host or None, address.port).start()
        except OSError as error:
            place = f"{address.host}:{address.port}"
            raise UsageError(
                f"{field}: cannot listen on {place}: {os.strerror(error.errno or 0).lower()}; pass another address, or 0 to listen nowhere"
            ) from error
        return int(runner.addresses[0][1])

    async def _stop(self) -> None:
        self._watchdog.stop()
        while self._runners:
            await self._runners.pop().cleanup()

    async def _healthz(self, request: web.Request) -> web.Response:
        problem = self._watchdog.problem()
        return web.Response(text=problem or "ok", status=500 if problem else 200)

    async def _readyz(self, request: web.Request) -> web.Response:
        results = await asyncio.gather(*(self._ask(name, check) for name, check in self._checks.items()))
        problems = [result for result in results if result]
        return web.Response(text="\n".join(problems) or "ok", status=500 if problems else 200)

    async def _ask(self, name: str, check: Check) -> str | None:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await check()
        except Exception as error:  # whatever a check raises means: not ready
            logger.warning("readiness check failed", extra={"check": name, "error": cut(str(error)) or type(error).__name__})
            return f"{name}: {cut(str(error)) or type(error).__name__}"
        return None

    async def _serve_metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})

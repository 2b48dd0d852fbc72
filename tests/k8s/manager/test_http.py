"""The endpoints over real sockets, and what they say when something is wrong."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter

from k8s.api.errors import UsageError
from k8s.manager import Check, LoopWatchdog, StatusServer


@asynccontextmanager
async def serving(checks: Mapping[str, Check] | None = None, watchdog: LoopWatchdog | None = None) -> AsyncIterator[StatusServer]:
    registry = CollectorRegistry()
    Counter("runs", "Runs.", registry=registry).inc(3)
    async with StatusServer(
        health_bind="127.0.0.1:0", metrics_bind="127.0.0.1:0", checks=checks or {}, registry=registry, watchdog=watchdog
    ) as server:
        yield server


async def get(port: int | None, path: str, **headers: str) -> tuple[int, str, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}", headers=headers) as response:
        return response.status, await response.text(), response.headers["Content-Type"]


async def test_a_healthy_process_says_so() -> None:
    async with serving() as server:
        assert (await get(server.ports.health, "/healthz"))[:2] == (200, "ok")
        assert (await get(server.ports.health, "/readyz"))[:2] == (200, "ok")
        assert (await get(server.ports.health, "/metrics"))[0] == 404


async def test_metrics_come_from_the_registry_in_the_format_asked_for() -> None:
    async with serving() as server:
        status, text, kind = await get(server.ports.metrics, "/metrics")
        assert status == 200
        assert "runs_total 3.0" in text
        assert kind.startswith("text/plain")
        _, text, kind = await get(server.ports.metrics, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
        assert kind.startswith("application/openmetrics-text")
        assert text.endswith("# EOF\n")


async def test_a_failed_check_is_named_and_the_process_stays_alive() -> None:
    async def good() -> None: ...

    async def bad() -> None:
        raise ConnectionError("no API server")

    async with serving({"good": good, "kubernetes-api": bad}) as server:
        assert (await get(server.ports.health, "/readyz"))[:2] == (500, "kubernetes-api: no API server")
        assert (await get(server.ports.health, "/healthz"))[0] == 200


@pytest.mark.slow
async def test_a_loop_that_stood_still_is_unhealthy_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    watchdog = LoopWatchdog(blocked_seconds=0.1, beat_seconds=0.02, remembered_seconds=60)
    async with serving(watchdog=watchdog) as server:
        await asyncio.sleep(0)
        time.sleep(0.3)  # noqa: ASYNC251  the bug that is to be found
        status, text, _ = await get(server.ports.health, "/healthz")
        assert (status, text[:26]) == (500, "the event loop was blocked")
    assert "time.sleep(0.3)" in caplog.records[0].__dict__["stack"]
    assert len(caplog.records) == 1


def test_a_blocked_loop_is_judged_by_its_beats() -> None:
    now = 0.0
    watchdog = LoopWatchdog(clock=lambda: now)
    now = 5.4
    assert watchdog.problem() is None
    now = 20.0
    assert watchdog.problem() == "the event loop was blocked for 19.5 s"
    for second in range(21, 49):
        now = float(second)
        watchdog.beat(now)
        assert watchdog.problem() == "the event loop was blocked for 19.5 s"
    now = 50.0
    assert watchdog.problem() is None


async def test_a_port_in_use_is_told_with_its_flag() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UsageError, match=rf"--metrics-bind-address: cannot listen on {address}: address already in use; pass another"):
            async with StatusServer(health_bind="127.0.0.1:0", metrics_bind=address, checks={}, registry=CollectorRegistry()):
                pass


async def test_nothing_listens_where_it_is_switched_off() -> None:
    async with StatusServer(health_bind="0", metrics_bind="0", checks={}, registry=CollectorRegistry()) as server:
        assert (server.ports.health, server.ports.metrics) == (None, None)


async def test_one_address_for_both_is_one_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    async with StatusServer(health_bind=address, metrics_bind=address, checks={}, registry=CollectorRegistry()) as server:
        assert (await get(server.ports.health, "/metrics"))[0] == 200
        assert server.ports.health == server.ports.metrics

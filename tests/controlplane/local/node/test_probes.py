"""What probes ask, and what their answers mean."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from controlplane.local.node.plan import PodPorts, UnrunnableError
from controlplane.local.node.probes import Probe, Verdict, ask, judge, read_probe, readiness_interval

PORTS = PodPorts(runtime=20001, status=20002, health=20003)


def read(manifest: dict[str, Any], *, container: str = "runtime") -> Probe | None:
    ports = [{"name": "grpc", "containerPort": 9091}, {"name": "health", "containerPort": 9094}]
    return read_probe({"name": container, "ports": ports, "readinessProbe": manifest}, "readinessProbe", ports=PORTS)


def answers(probe: Probe, text: str) -> list[bool | None]:
    verdict, seen = Verdict(), []
    for letter in text:
        verdict = judge(verdict, is_success=letter == "+", probe=probe)
        seen.append(verdict.is_passing)
    return seen


def test_one_success_passes_and_three_failures_in_a_row_fail() -> None:
    assert answers(Probe(port=1), "+--+---") == [True, True, True, True, True, True, False]


def test_thresholds_are_the_manifests() -> None:
    assert answers(Probe(port=1, success_threshold=2, failure_threshold=1), "-++-") == [False, False, True, False]


def test_questions_come_quickly_until_the_first_yes() -> None:
    probe = Probe(port=1, period_seconds=5)
    intervals = [readiness_interval(Verdict(), probe=probe, asked=asked) for asked in (0, 1, 2, 7, 8, 1000)]
    assert intervals == [0.02, 0.04, 0.08, 2.56, 5, 5]
    assert readiness_interval(Verdict(ever_passed=True), probe=probe, asked=0) == 5


@pytest.mark.parametrize(
    ("container", "port", "given"),
    [
        ("runtime", 9091, 20001),
        ("runtime", "grpc", 20001),
        ("runtimed", 9094, 20003),
        ("runtimed", "health", 20003),
        ("runtimed", 9093, 20002),
    ],
)
def test_a_probe_is_aimed_at_the_port_that_the_node_gave(container: str, port: int | str, given: int) -> None:
    probe = read({"tcpSocket": {"port": port}}, container=container)
    assert probe is not None
    assert probe.port == given


def test_a_manifest_without_a_probe_has_none() -> None:
    assert read({}) is None


def test_an_unknown_kind_of_probe_says_so() -> None:
    with pytest.raises(UnrunnableError, match="readinessProbe of container runtime"):
        read({"exec": {"command": ["true"]}})


@pytest.fixture
async def server_port() -> Any:
    async def handle(request: web.Request) -> web.Response:
        if request.path == "/hangs":
            await asyncio.Event().wait()
        return web.Response(status=int(request.path.removeprefix("/")))

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


@pytest.mark.parametrize(("path", "is_success"), [("/200", True), ("302", True), ("/404", False), ("/503", False), ("/hangs", False)])
async def test_http_answers_from_200_to_399_are_yes(server_port: int, path: str, is_success: bool) -> None:
    async with aiohttp.ClientSession() as session:
        assert await ask(Probe(port=server_port, path=path, timeout_seconds=0.2), session=session) is is_success


async def test_a_connection_is_yes_and_a_refused_one_no(server_port: int, unused_tcp_port: int) -> None:
    async with aiohttp.ClientSession() as session:
        assert await ask(Probe(port=server_port), session=session)
        assert not await ask(Probe(port=unused_tcp_port), session=session)

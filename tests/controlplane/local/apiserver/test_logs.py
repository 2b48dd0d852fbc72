"""Logs pass through from the node's socket; the node here is a small real HTTP server on a unix socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.cluster.embedded import EmbeddedApiServer
from tests.contract.http import DEADLINE_SECONDS, PODS, Api, Json
from tests.contract.objects import pod


class Node:
    """Answers what a test tells it to, and holds a followed log open until the test ends it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.lines: asyncio.Queue[bytes] = asyncio.Queue()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        if "follow" not in request.query:
            return web.Response(text="one\ntwo\n")
        response = web.StreamResponse()
        await response.prepare(request)
        while line := await self.lines.get():
            await response.write(line)
        return response


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    made = Node()
    application = web.Application()
    application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", made.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "node.sock")).start()
    yield made
    await runner.cleanup()


@pytest.fixture
async def api(node: Node, tmp_path: Path) -> AsyncIterator[Api]:
    arguments = ("--node-socket", str(tmp_path / "node.sock"))
    with EmbeddedApiServer(folder=tmp_path / "data", arguments=arguments) as server:
        async with aiohttp.ClientSession() as session:
            yield Api(session, access=server.admin)


def two_containers(name: str) -> Json:
    manifest = pod(name)
    manifest["spec"]["containers"].append({"name": "runtimed", "image": "runtimed"})
    return manifest


@pytest.mark.slow
async def test_a_log_is_passed_through_with_its_options(api: Api, node: Node) -> None:
    await api.create(PODS, pod())

    answer = await api.request("GET", api.path(PODS, "one", subresource="log"), tailLines=5, timestamps=True)

    assert (answer.status, answer.body) == (200, "one\ntwo\n")
    assert node.asked == ["/containerLogs/default/one/runtime?tailLines=5&timestamps=true"]


@pytest.mark.slow
async def test_a_followed_log_streams_line_by_line(api: Api, node: Node) -> None:
    await api.create(PODS, pod())
    url = api.access.url + api.path(PODS, "one", subresource="log")
    async with (
        aiohttp.ClientSession() as session,
        asyncio.timeout(DEADLINE_SECONDS),
        session.get(url, params={"follow": "true"}, headers=api.access.headers) as response,
    ):
        for line in (b"first\n", b"second\n"):
            await node.lines.put(line)
            assert await response.content.readline() == line
        await node.lines.put(b"")
        assert await response.content.readline() == b""


@pytest.mark.slow
async def test_of_two_containers_one_must_be_named(api: Api, node: Node) -> None:
    await api.create(PODS, two_containers("two"))
    path = api.path(PODS, "two", subresource="log")

    (await api.request("GET", path)).refused(400, "BadRequest", mentions="choose one of: [runtime runtimed]")
    (await api.request("GET", path, container="none")).refused(400, "BadRequest", mentions="not valid for pod two")
    assert (await api.request("GET", path, container="runtimed")).status == 200
    assert node.asked == ["/containerLogs/default/two/runtimed"]


@pytest.mark.slow
async def test_a_missing_pod_and_a_missing_node_are_told_apart(api: Api, node: Node, tmp_path: Path) -> None:
    (await api.request("GET", api.path(PODS, "none", subresource="log"))).refused(404, "NotFound")
    await api.create(PODS, pod())
    (tmp_path / "node.sock").unlink()

    (await api.request("GET", api.path(PODS, "one", subresource="log"))).refused(503, "ServiceUnavailable", mentions="the node")

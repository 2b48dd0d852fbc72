"""Container logs over the node's socket."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from controlplane.local.node.logfile import LogFile
from controlplane.local.node.logserver import LogServer, NoLogsError

NOW = datetime(2026, 8, 9, 10, 0, 0, tzinfo=UTC)


class OnePod:
    """Knows one container."""

    def __init__(self, log: LogFile) -> None:
        self._log = log

    def find_log(self, *, namespace: str, pod: str, container: str, previous: bool) -> LogFile:
        if (namespace, pod, container) != ("team", "web-1", "runtime"):
            raise NoLogsError(f"container {container} is not known", status=404)
        if previous:
            raise NoLogsError("no previous container", status=404)
        return self._log

    def find_port(self, *, namespace: str, pod: str, port: int) -> int | None:
        return 20002 if (namespace, pod, port) == ("default", "web-1", 9093) else None


@pytest.fixture
async def log(tmp_path: Path) -> LogFile:
    return LogFile(tmp_path / "0.log", now=lambda: NOW)


@pytest.fixture
async def session(log: LogFile) -> AsyncIterator[aiohttp.ClientSession]:
    with tempfile.TemporaryDirectory(prefix="krt-") as folder:  # pytest's own folders are too deep for a unix socket
        path = Path(folder) / "node.sock"
        server = LogServer(OnePod(log), socket_path=path, now=lambda: NOW)
        await server.start()
        assert path.stat().st_mode & 0o077 == 0
        async with aiohttp.ClientSession("http://node", connector=aiohttp.UnixConnector(str(path))) as session:
            yield session
        await server.stop()


async def get(session: aiohttp.ClientSession, *, container: str = "runtime", **query: Any) -> tuple[int, str]:
    async with session.get(f"/containerLogs/team/web-1/{container}", params=query) as answer:
        return answer.status, await answer.text()


async def test_logs_are_plain_text(session: aiohttp.ClientSession, log: LogFile) -> None:
    log.write("stdout", b"one\ntwo\n")
    assert await get(session) == (200, "one\ntwo\n")
    assert await get(session, tailLines="1", timestamps="true") == (200, "2026-08-09T10:00:00.000000Z two\n")


async def test_what_is_not_there_says_so(session: aiohttp.ClientSession) -> None:
    assert await get(session, container="other") == (404, "container other is not known")
    assert (await get(session, previous="true"))[0] == 404
    status, text = await get(session, tailLines="many")
    assert status == 400
    assert "tailLines" in text


async def test_following_streams_until_the_container_ends(session: aiohttp.ClientSession, log: LogFile) -> None:
    async with session.get("/containerLogs/team/web-1/runtime", params={"follow": "true"}) as answer:
        log.write("stdout", b"first\n")
        assert await answer.content.readline() == b"first\n"
        log.write("stdout", b"second\n")
        assert await answer.content.readline() == b"second\n"
        log.close()
        assert await answer.content.read() == b""


async def test_a_follower_that_leaves_is_forgotten(session: aiohttp.ClientSession, log: LogFile) -> None:
    async with session.get("/containerLogs/team/web-1/runtime", params={"follow": "true"}) as answer:
        log.write("stdout", b"first\n")
        await answer.content.readline()
        answer.close()
    async with asyncio.timeout(5):
        while log._waiting:
            log.write("stdout", b"more\n")
            await asyncio.sleep(0)


async def test_where_a_port_of_a_pod_is_on_this_machine(session: aiohttp.ClientSession) -> None:
    async with session.get("/ports/default/web-1/9093") as answer:
        assert (answer.status, await answer.text()) == (200, "20002")
    async with session.get("/ports/default/web-1/80") as answer:
        assert (answer.status, await answer.text()) == (404, "nothing of the Pod web-1 listens on port 80 on this node")

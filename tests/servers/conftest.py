"""Servers shared by the tests of one session, and the gate that fails a test which leaves a process behind."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from servers.supervisor import process_tree
from tests.servers.processes import ServerProcess, adopt_orphans, describe, is_alive, is_ours, reap_adopted, running_server, wait_until
from tests.servers.sessions import Session, open_session

CANARY = "canary-do-not-leak"
SERVER_ENV = {"CONTAINER_SECRET": CANARY, "LC_TIME": "C.UTF-8", "TZ": "Europe/Zurich", "HOME": "/nonexistent-home", "HOSTNAME": "pod-1"}


@pytest.fixture(scope="session")
def bash_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with running_server("bash", work_dir=tmp_path_factory.mktemp("bash"), env=SERVER_ENV, flags=("-v",)) as server:
        yield server


@pytest.fixture(scope="session")
def python_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with running_server("python", work_dir=tmp_path_factory.mktemp("python"), env=SERVER_ENV, flags=("-v",)) as server:
        yield server


@pytest.fixture(scope="session")
def preloaded_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    flags = ("-v", "--preload", "numpy,msgspec,yaml")
    with running_server("python", work_dir=tmp_path_factory.mktemp("preloaded"), env=SERVER_ENV, flags=flags) as server:
        yield server


@pytest.fixture(scope="session")
def cold_bash_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with running_server("bash", work_dir=tmp_path_factory.mktemp("cold"), env=SERVER_ENV, flags=("-v", "--warm", "0")) as server:
        yield server


@pytest.fixture(scope="session")
def cold_python_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with running_server("python", work_dir=tmp_path_factory.mktemp("cold"), env=SERVER_ENV, flags=("-v", "--warm", "0")) as server:
        yield server


@pytest.fixture
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """For tests that hurt it."""
    with running_server("bash", work_dir=tmp_path_factory.mktemp("own"), flags=("-v",)) as server:
        yield server


@pytest.fixture
def own_python_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with running_server("python", work_dir=tmp_path_factory.mktemp("own"), flags=("-v",)) as server:
        yield server


@pytest.fixture(params=["stream", "line"])
def carrier(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What a session goes on by, as a field of its Hello."""
    return {"takes_line": request.param == "line"}


@pytest.fixture
async def session(bash_server: ServerProcess) -> AsyncIterator[Session]:
    async with open_session(bash_server.port) as opened:
        yield opened


@pytest.fixture
async def python_session(python_server: ServerProcess) -> AsyncIterator[Session]:
    async with open_session(python_server.port) as opened:
        yield opened


@pytest.fixture
async def own_session(own_server: ServerProcess) -> AsyncIterator[Session]:
    async with open_session(own_server.port) as opened:
        yield opened


@asynccontextmanager
async def channel_to(server: ServerProcess) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield channel


SHARED_SERVERS = {"bash_server", "python_server", "preloaded_server", "cold_bash_server", "cold_python_server"}
"""Fixtures of those that run until the session ends."""

shared_servers: set[int] = set()


@pytest.fixture(autouse=True)
def no_process_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Orphans cannot hide: this process adopts them while the test runs."""
    # Set up first what outlives the test, so that it is not taken for a leak.
    for shared in SHARED_SERVERS & set(request.fixturenames):
        shared_servers.add(request.getfixturevalue(shared).pid)
    adopt_orphans(enabled=True)
    before = set(process_tree.descendants_of([os.getpid()]))
    known_children = set(process_tree.children_of(os.getpid()))
    yield
    adopt_orphans(enabled=False)
    leaked = _wait_for_leaks(before, known_children=known_children)
    described = [describe(pid) for pid in leaked]
    process_tree.kill(leaked)
    wait_until(lambda: not any(map(is_alive, leaked)), seconds=2)
    reap_adopted(known_children)
    assert not leaked, f"processes outlived the test: {described}"


def _wait_for_leaks(before: set[int], *, known_children: set[int]) -> list[int]:
    def leaks() -> list[int]:
        reap_adopted(known_children)
        new = [pid for pid in process_tree.descendants_of([os.getpid()]) if pid not in before and is_alive(pid)]
        # A shared server holds a new child ready after each Run.
        theirs = set(process_tree.descendants_of(shared_servers))
        return [pid for pid in new if not (pid in theirs and is_ours(pid))]

    # A look sees half of what a server does meanwhile: what counts is whether one look finds nothing.
    return [] if wait_until(lambda: not leaks(), seconds=2) else leaks()

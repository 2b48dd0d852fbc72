"""Fixtures of the folders beside: each test on the embedded API server and, marked `kube`, on a real one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from k8s.client import ApiClient, load_credentials
from tests.cluster.binaries import BinariesMissing, binaries_are_required, binaries_folder
from tests.cluster.embedded import EmbeddedApiServer
from tests.cluster.real import RealApiServer
from tests.cluster.server import ApiServer
from tests.controlplane.plane import World


@pytest.fixture(scope="session")
def real_server() -> Iterator[RealApiServer]:
    try:
        binaries_folder()
    except BinariesMissing as error:
        if binaries_are_required():
            pytest.fail(str(error))
        pytest.skip(str(error))
    with RealApiServer() as server:
        yield server


@pytest.fixture(scope="session")
def embedded_server() -> Iterator[EmbeddedApiServer]:
    with EmbeddedApiServer() as server:
        yield server


@pytest.fixture(params=[pytest.param("real", marks=pytest.mark.kube), "embedded"])
def server(request: pytest.FixtureRequest) -> ApiServer:
    chosen: ApiServer = request.getfixturevalue(f"{request.param}_server")
    return chosen


@pytest.fixture
async def world(server: ApiServer) -> AsyncIterator[World]:
    credentials = await load_credentials(kubeconfig=str(server.kubeconfig))
    async with await ApiClient.connect(credentials, user_agent="test") as client:
        world = World(client)
        await world.begin()
        yield world

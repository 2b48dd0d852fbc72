"""Fixtures of the integration tests: one embedded API server a module, one real one for all, one Pod a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.cluster.embedded import EmbeddedApiServer
from tests.cluster.fixtures import bucket, need_binaries, object_store
from tests.cluster.real import RealApiServer
from tests.cluster.server import ApiServer
from tests.runtimed.rig import NAMESPACE, Cluster, Rig

__all__ = ["bucket", "object_store"]


@pytest.fixture(scope="module")
def embedded_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedApiServer]:
    with EmbeddedApiServer(folder=tmp_path_factory.mktemp("apiserver")) as server:
        yield server


@pytest.fixture(scope="session")
def real_api() -> Iterator[RealApiServer]:
    """One for all modules: it takes five seconds to start, and every Pod and Run has a name of its own."""
    need_binaries()
    with RealApiServer() as server:
        server.bind_runtimed(NAMESPACE)
        yield server


@pytest.fixture(scope="module", params=["embedded", pytest.param("real", marks=pytest.mark.kube)])
def api(request: pytest.FixtureRequest) -> ApiServer:
    """Both, one after the other; runtimed has its own identity and no more rights than its chart gives."""
    chosen: ApiServer = request.getfixturevalue(f"{request.param}_api")
    return chosen


@pytest.fixture(scope="module")
def server_name() -> str:
    """Which Runtime Server; a module may ask for others by parametrizing this name."""
    return "bash"


@pytest.fixture
def rig(api: ApiServer, server_name: str) -> Iterator[Rig]:
    with Rig(api, server=server_name) as rig:
        rig.start_server()
        yield rig


@pytest.fixture(scope="module")
def shared_rig(api: ApiServer, server_name: str) -> Iterator[Rig]:
    """A Pod for the tests of a module that leave its processes alone."""

    async def create_pod(rig: Rig) -> None:
        cluster = await Cluster.open(rig)
        async with cluster.client:
            await cluster.create_pod()

    with Rig(api, server=server_name) as rig:
        rig.start_server()
        asyncio.run(create_pod(rig))
        rig.start_runtimed()
        yield rig


@pytest.fixture
async def shared(shared_rig: Rig) -> AsyncIterator[Cluster]:
    cluster = await Cluster.open(shared_rig)
    async with cluster.client:
        yield cluster


@pytest.fixture
async def cluster(rig: Rig) -> AsyncIterator[Cluster]:
    """With the Pod there and runtimed started."""
    cluster = await Cluster.open(rig)
    try:
        await cluster.create_pod()
        rig.start_runtimed()
        yield cluster
    finally:
        await cluster.client.close()

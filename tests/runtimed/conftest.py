"""Fixtures of the integration tests: one embedded API server a module, one Pod a test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.cluster.embedded import EmbeddedApiServer
from tests.runtimed.rig import Cluster, Rig


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedApiServer]:
    with EmbeddedApiServer(folder=tmp_path_factory.mktemp("apiserver")) as server:
        yield server


@pytest.fixture
def rig(api: EmbeddedApiServer) -> Iterator[Rig]:
    with Rig(api) as rig:
        rig.start_server()
        yield rig


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

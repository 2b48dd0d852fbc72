"""The embedded API server two ways: its pure parts in this process, and the whole as a process of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.cluster.embedded import EmbeddedApiServer
from tests.contract.http import Api
from tests.controlplane.local.apiserver.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A store with the packaged CRDs, without HTTP."""
    with World(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedApiServer]:
    """One server for the tests of a module; they leave no failpoints behind."""
    with EmbeddedApiServer(folder=tmp_path_factory.mktemp("apiserver"), arguments=("--audit",)) as server:
        yield server


@pytest.fixture
async def api(process: EmbeddedApiServer) -> AsyncIterator[Api]:
    async with aiohttp.ClientSession() as session:
        api = Api(session, access=process.admin)
        yield api
        await api.request("DELETE", "/failpoints")
        for resource in ("/apis/kruntimes.io/v1alpha1/namespaces/{namespace}/runs", "/api/v1/namespaces/{namespace}/configmaps"):
            await api.delete(resource)

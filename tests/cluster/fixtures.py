"""pytest fixtures around the servers: import what you need into a conftest. The real server only under the marker `kube`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.binaries import BinariesMissing, binaries_are_required, binaries_folder
from tests.cluster.embedded import EmbeddedApiServer
from tests.cluster.object_store import ObjectStore
from tests.cluster.real import RealApiServer
from tests.cluster.server import ApiServer


def need_binaries(*flags: str) -> Path:
    """Their folder. Skips without the real programs, but fails in CI: a skipped suite would look green."""
    try:
        return binaries_folder(*flags)
    except BinariesMissing as error:
        if binaries_are_required():
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def real_server() -> Iterator[RealApiServer]:
    need_binaries()
    with RealApiServer() as server:
        yield server


@pytest.fixture(scope="session")
def embedded_server() -> Iterator[EmbeddedApiServer]:
    with EmbeddedApiServer() as server:
        yield server


@pytest.fixture(params=[pytest.param("real", marks=pytest.mark.kube), "embedded"])
def server(request: pytest.FixtureRequest) -> ApiServer:
    """Both, one after the other."""
    chosen: ApiServer = request.getfixturevalue(f"{request.param}_server")
    return chosen


@pytest.fixture(scope="module")
def object_store() -> Iterator[ObjectStore]:
    """A real S3 server. Its credentials are in the environment, where a Secret would put them."""
    with ObjectStore() as store, pytest.MonkeyPatch.context() as patch:
        for name, value in store.environment.items():
            patch.setenv(name, value)
        yield store


@pytest.fixture
def bucket(object_store: ObjectStore) -> str:
    return object_store.make_bucket()

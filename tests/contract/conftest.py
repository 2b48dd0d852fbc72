"""Each case runs on both servers; the real one under the marker `kube`. A case works in a namespace of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from itertools import count
from pathlib import Path

import aiohttp
import pytest

from tests.cluster.fixtures import embedded_server, need_binaries, real_server, server
from tests.cluster.kubectl import Kubectl
from tests.cluster.server import ApiServer
from tests.contract.http import NAMESPACES, Api
from tests.contract.objects import run

__all__ = ["api", "embedded_server", "real_server", "server"]

_numbers = count(1)


@pytest.fixture
async def api(server: ApiServer) -> AsyncIterator[Api]:
    """The administrator, in a fresh namespace."""
    async with aiohttp.ClientSession() as session:
        api = Api(session, access=server.admin, namespace=f"case-{next(_numbers)}")
        await api.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": api.namespace}})
        yield api


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """One folder a server, so that discovery is asked for once."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
        return made[name]

    return folder


@pytest.fixture
def kubectl(server: ApiServer, folders: Callable[[str], Path]) -> Kubectl:
    need_binaries()
    return Kubectl(server, folder=folders(server.name))


@pytest.fixture
def one(kubectl: Kubectl) -> Kubectl:
    """With a Run that is running."""
    kubectl.send("POST", kubectl.runs_path, run())
    kubectl.send("PATCH", f"{kubectl.runs_path}/one/status", {"status": {"phase": "Running", "assignedPod": "pod-1"}})
    return kubectl

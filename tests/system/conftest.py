"""The whole system of real processes on each API server: the real kubectl in front, user code at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.embedded import EmbeddedApiServer
from tests.cluster.fixtures import need_binaries
from tests.cluster.kubectl import Kubectl
from tests.cluster.real import RealApiServer
from tests.cluster.server import ApiServer
from tests.cluster.system import System

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module", params=["real", "embedded"])
def kubectl(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    """kubectl in a namespace with the example Runtimes ready, on one server after the other."""
    need_binaries()
    server: ApiServer
    with RealApiServer() if request.param == "real" else EmbeddedApiServer() as server, System(server) as system:
        kubectl = Kubectl(server, folder=tmp_path_factory.mktemp("kubectl"))
        server.bind_runtimed(kubectl.namespace)
        kubectl.ok("apply", "-f", str(EXAMPLES / "runtimes"))
        waited = kubectl.run("wait", "--for=condition=Ready", "runtime", "--all", "--timeout=25s")
        if waited.returncode:
            pytest.fail(f"{waited.stderr}\n" + "\n".join(f"--- {name}\n{log}" for name, log in system.logs().items()))
        yield kubectl

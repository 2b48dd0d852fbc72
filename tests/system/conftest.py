"""The whole system of real processes on each API server: the real kubectl in front, user code at the end."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.embedded import EmbeddedApiServer
from tests.cluster.fixtures import need_binaries
from tests.cluster.kubectl import Kubectl
from tests.cluster.real import RealApiServer
from tests.cluster.server import ApiServer
from tests.cluster.system import System
from tests.system.stage import Stage, staged

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module", params=["real", "embedded"])
def kubectl(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    """kubectl in a namespace with the example Runtimes ready, on one server after the other."""
    need_binaries()
    with tempfile.TemporaryDirectory(prefix="krt-") as folder:  # short, for a unix socket lies in it
        socket = Path(folder) / "node.sock"
        chosen: ApiServer = RealApiServer() if request.param == "real" else EmbeddedApiServer(arguments=("--node-socket", str(socket)))
        with running(chosen) as server, System(server, node_socket=socket) as system:
            kubectl = Kubectl(server, folder=tmp_path_factory.mktemp("kubectl"))
            server.bind_runtimed(kubectl.namespace)
            kubectl.ok("apply", "-f", str(EXAMPLES / "runtimes"))
            waited = kubectl.run("wait", "--for=condition=Ready", "runtime", "--all", "--timeout=25s")
            if waited.returncode:
                pytest.fail(f"{waited.stderr}\n" + "\n".join(f"--- {name}\n{log}" for name, log in system.logs().items()))
            yield kubectl


@pytest.fixture(scope="module", params=["embedded", pytest.param("real", marks=pytest.mark.kube)])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """On one server after the other, the embedded one with its audit on; needs nothing but Python there."""
    if request.param == "real":
        need_binaries()
    chosen: ApiServer = RealApiServer() if request.param == "real" else EmbeddedApiServer(arguments=("--audit",))
    with running(chosen) as server, staged(server) as stage:
        yield stage


@contextmanager
def running(server: ApiServer) -> Iterator[ApiServer]:
    server.start()
    try:
        yield server
    finally:
        server.stop()

"""The embedded server's harness: what it starts it ends, and what it restarts comes back."""

from __future__ import annotations

import psutil
import pytest

from tests.cluster.embedded import EmbeddedApiServer
from tests.cluster.processes import ServerFailed

pytestmark = pytest.mark.slow


def test_a_stopped_server_leaves_nothing() -> None:
    server = EmbeddedApiServer()
    server.start()
    (pid,) = server.processes.values()

    server.stop()
    server.stop()

    assert not server.folder.exists()
    assert not psutil.pid_exists(pid)


def test_a_restart_keeps_the_address_and_the_token() -> None:
    with EmbeddedApiServer() as server:
        before = server.admin
        server.restart(kill=True)

        assert server.admin == before


def test_a_server_that_cannot_start_says_why_and_leaves_nothing() -> None:
    server = EmbeddedApiServer(arguments=("--no-such-flag",))

    with pytest.raises(ServerFailed, match="no-such-flag"):
        server.start()

    assert not server.folder.exists()

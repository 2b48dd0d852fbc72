"""One scripted server a test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.cluster.processes import free_ports
from tests.runtimed.shell.unary.scripted import ScriptedServer


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    server = ScriptedServer(free_ports(1)[0])
    await server.start()
    yield server
    await server.stop()

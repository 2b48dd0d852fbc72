"""Fixtures of the folders beside: each test on the embedded API server and, marked `kube`, on a real one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from k8s.client import ApiClient, load_credentials
from tests.cluster.fixtures import embedded_server, real_server, server
from tests.cluster.server import ApiServer
from tests.controlplane.plane import World

__all__ = ["embedded_server", "real_server", "server", "world"]


@pytest.fixture
async def world(server: ApiServer) -> AsyncIterator[World]:
    credentials = await load_credentials(kubeconfig=str(server.kubeconfig))
    async with await ApiClient.connect(credentials, user_agent="test") as client:
        world = World(client)
        await world.begin()
        yield world

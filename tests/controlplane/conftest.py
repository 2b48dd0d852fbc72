"""Fixtures of the folders below, of which those for scheduler and controllers run on both API servers."""

from tests.cluster.fixtures import object_store
from tests.controlplane.servers import embedded_server, real_server, server, world

__all__ = ["embedded_server", "object_store", "real_server", "server", "world"]

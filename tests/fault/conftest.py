"""One platform for many rows; a row that broke it leaves the next one a new one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.fixtures import bucket, embedded_server, object_store
from tests.controlplane.servers import world
from tests.fault.platform import Platform
from tests.runtimed.artifacts.fixtures import filesystem, pool, staging, store_root, workspace

__all__ = ["bucket", "embedded_server", "filesystem", "object_store", "pool", "staging", "store_root", "workspace", "world"]


class _Shared:
    """The platform of this test session, if any row has asked for it."""

    def __init__(self) -> None:
        self.current: Platform | None = None

    def get(self) -> Platform:
        if self.current is not None and self.current.is_broken:
            self.stop()
        if self.current is None:
            self.current = Platform()
            try:
                self.current.start()
            except BaseException:
                self.stop()
                raise
        return self.current

    def stop(self) -> None:
        if self.current is not None:
            self.current.stop()
            self.current = None


@pytest.fixture(scope="session")
def _shared() -> Iterator[_Shared]:
    shared = _Shared()
    yield shared
    shared.stop()


@pytest.fixture
def platform(_shared: _Shared) -> Platform:
    return _shared.get()

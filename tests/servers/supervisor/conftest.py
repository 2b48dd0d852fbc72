"""A supervisor for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.supervisor.harness import Harness, running_supervisor


@pytest.fixture
def supervisor() -> Iterator[Harness]:
    with running_supervisor() as harness:
        yield harness

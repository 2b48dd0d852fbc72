"""What tests of artifacts stand on: a Run's workspace, and a volume for what it leaves. Import what you need into a conftest."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runtimed.artifacts.filesystem import FilesystemStore
from runtimed.artifacts.layout import Owner

UID = "0d5e7b1c-0000-4000-8000-000000000001"
OWNER = Owner("team-a", UID, "sum-1", "bash", 0)
NOW = datetime(2026, 8, 9, 10, tzinfo=UTC)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A workspace root with the folder of one Run in it."""
    (tmp_path / "workspace" / UID / "artifacts").mkdir(parents=True)
    return tmp_path / "workspace"


@pytest.fixture
def staging(workspace: Path) -> Path:
    return workspace / UID / "artifacts"


@pytest.fixture
def store_root(tmp_path: Path) -> Path:
    root = tmp_path / "store"
    root.mkdir()
    return root


@pytest.fixture
def filesystem(store_root: Path) -> FilesystemStore:
    return FilesystemStore(str(store_root), volume_claim="artifacts-pvc")


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Of uploads. More threads than there are turns, as in runtimed: some may hang in a store."""
    with ThreadPoolExecutor(16) as pool:
        yield pool

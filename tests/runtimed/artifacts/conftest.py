from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runtimed.artifacts.filesystem import FilesystemStore
from runtimed.artifacts.layout import Owner
from runtimed.artifacts.s3 import S3ArtifactStore
from runtimed.artifacts.stores import ArtifactStore
from tests.cluster.object_store import ObjectStore

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


@pytest.fixture(scope="module")
def object_store() -> Iterator[ObjectStore]:
    with ObjectStore() as store, pytest.MonkeyPatch.context() as patch:
        for name, value in store.environment.items():
            patch.setenv(name, value)
        yield store


@pytest.fixture
def bucket(object_store: ObjectStore) -> str:
    return object_store.make_bucket()


@pytest.fixture
def s3(object_store: ObjectStore, bucket: str) -> S3ArtifactStore:
    return S3ArtifactStore(object_store.spec(bucket, prefix="some/prefix/", upload_part_size=5 << 20))


@pytest.fixture(params=["filesystem", pytest.param("s3", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest) -> ArtifactStore:
    """Each of them: what is claimed of one holds for the other."""
    chosen: ArtifactStore = request.getfixturevalue(request.param)
    return chosen


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture
def clock() -> object:
    return time.monotonic

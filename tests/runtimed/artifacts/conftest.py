from __future__ import annotations

import pytest

from runtimed.artifacts.s3 import S3ArtifactStore
from runtimed.artifacts.stores import ArtifactStore
from tests.cluster.object_store import ObjectStore
from tests.runtimed.artifacts.fixtures import filesystem, pool, staging, store_root, workspace

__all__ = ["filesystem", "pool", "staging", "store_root", "workspace"]


@pytest.fixture
def s3(object_store: ObjectStore, bucket: str) -> S3ArtifactStore:
    return S3ArtifactStore(object_store.spec(bucket, prefix="some/prefix/", upload_part_size=5 << 20))


@pytest.fixture(params=["filesystem", pytest.param("s3", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest) -> ArtifactStore:
    """Each of them: what is claimed of one holds for the other."""
    chosen: ArtifactStore = request.getfixturevalue(request.param)
    return chosen

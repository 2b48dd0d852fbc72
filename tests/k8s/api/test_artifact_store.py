from __future__ import annotations

import pytest

from k8s.api.artifact_store import snapshot_of, store_hash, store_of
from k8s.api.runtime import ArtifactStore, FilesystemStore, S3Store


def test_the_hash_of_the_worked_example() -> None:
    assert store_hash({"driver": "filesystem", "filesystem": {"volumeClaimName": "artifacts-pvc"}}) == "ac10cd3105aad03a"


def test_what_the_api_server_fills_in_changes_no_hash() -> None:
    ours = snapshot_of(ArtifactStore(driver="s3", s3=S3Store(bucket="b", prefix="p", upload_part_size=5 << 20)))
    assert ours == {"driver": "s3", "s3": {"bucket": "b", "prefix": "p", "uploadPartSize": 5 << 20}}
    filled = {"s3": {**dict(reversed(list(ours["s3"].items()))), "forcePathStyle": False}, "driver": "s3"}
    assert store_hash(filled) == store_hash(ours)


def test_a_snapshot_becomes_a_store_again() -> None:
    store = ArtifactStore(driver="filesystem", filesystem=FilesystemStore(volume_claim_name="pvc"))
    assert store_of(snapshot_of(store)) == store
    with pytest.raises(ValueError, match="without its object"):
        store_of({"driver": "s3", "filesystem": {"volumeClaimName": "x"}})

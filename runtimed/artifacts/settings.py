"""Which store a process works with, from its flags: checked at start, opened late."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from k8s.api.artifact_store import FILESYSTEM, S3, snapshot_of
from k8s.api.errors import UsageError
from k8s.api.runtime import ArtifactStore as StoreSpec
from k8s.api.runtime import FilesystemStore as FilesystemSpec
from k8s.api.runtime import S3Store as S3Spec
from runtimed.artifacts.stores import ArtifactStore


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """One store."""

    spec: StoreSpec
    root: str = ""
    """Where the volume of a filesystem store is mounted."""

    @property
    def snapshot(self) -> Mapping[str, Any]:
        """For `status.artifactStore`."""
        return snapshot_of(self.spec)


def filesystem_store(*, root: str, volume_claim: str, flags: tuple[str, str]) -> StoreSettings:
    """`flags` are how the two are named on the command line. Raises UsageError."""
    if not root or not Path(root).is_absolute():
        raise UsageError(f"{flags[0]}: a filesystem store needs the absolute path of its volume")
    if not volume_claim:
        raise UsageError(f"{flags[1]}: a filesystem store needs the name of its PersistentVolumeClaim")
    return StoreSettings(StoreSpec(driver=FILESYSTEM, filesystem=FilesystemSpec(volume_claim_name=volume_claim)), root)


def s3_store(spec: S3Spec, *, bucket_flag: str) -> StoreSettings:
    """Raises UsageError."""
    from runtimed.artifacts.s3_client import check_endpoint

    if not spec.bucket:
        raise UsageError(f"{bucket_flag}: an s3 store needs the name of its bucket")
    check_endpoint(spec.endpoint)
    return StoreSettings(StoreSpec(driver=S3, s3=spec))


def open_store(settings: StoreSettings) -> ArtifactStore:
    """Touches nothing yet: the store may be away when a process starts."""
    if settings.spec.s3 is not None:
        from runtimed.artifacts.s3 import S3ArtifactStore

        return S3ArtifactStore(settings.spec.s3)
    from runtimed.artifacts.filesystem import FilesystemStore

    assert settings.spec.filesystem is not None
    return FilesystemStore(settings.root, volume_claim=settings.spec.filesystem.volume_claim_name)

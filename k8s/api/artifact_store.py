"""The snapshot of an artifact store in `status.artifactStore`, and the hash that names the store's maintainer.

A Run keeps the store that it wrote to: its Runtime may be changed or deleted before the Run is. Pure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import msgspec

from k8s.api.runtime import ArtifactStore

FILESYSTEM = "filesystem"
S3 = "s3"
HASH_LENGTH = 16
_FILESYSTEM_KEYS = ("volumeClaimName",)
_S3_KEYS = ("bucket", "prefix", "region", "endpoint", "forcePathStyle", "credentialsSecretName", "uploadPartSize", "uploadConcurrency")


def snapshot_of(store: ArtifactStore) -> dict[str, Any]:
    """As it goes into the status: known keys in a fixed order, empty ones left out."""
    return _in_order(msgspec.to_builtins(store))


def store_of(snapshot: Mapping[str, Any]) -> ArtifactStore:
    """The typed view. Raises ValueError for what no schema of ours admits."""
    try:
        store = msgspec.convert(snapshot, ArtifactStore)
    except msgspec.ValidationError as error:
        raise ValueError(f"status.artifactStore: {error}") from error
    if {FILESYSTEM: store.filesystem, S3: store.s3}.get(store.driver) is None:
        raise ValueError(f"status.artifactStore: driver {store.driver[:32]!r} without its object")
    return store


def store_hash(snapshot: Mapping[str, Any]) -> str:
    """The same for equal stores, in every implementation: of the compact JSON in fixed order, escaped as Go's encoder does."""
    text = json.dumps(_in_order(snapshot), separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]


def _in_order(snapshot: Mapping[str, Any]) -> dict[str, Any]:
    ordered: dict[str, Any] = {"driver": snapshot["driver"]}
    for name, keys in ((FILESYSTEM, _FILESYSTEM_KEYS), (S3, _S3_KEYS)):
        part = snapshot.get(name)
        if part is not None:
            ordered[name] = {key: part[key] for key in keys if part.get(key)}
    return ordered

"""The artifact flags of runtimed (interface.md 6.1), and ours: names, defaults, and what they mean together."""

from __future__ import annotations

from typing import Any, Final

import click

from k8s.api.artifact_store import FILESYSTEM, S3
from k8s.api.errors import UsageError
from k8s.api.runtime import S3Store
from runtimed.artifacts.job import Limits
from runtimed.artifacts.settings import StoreSettings, filesystem_store, s3_store

DEFAULT_PATIENCE_SECONDS: Final = 120.0
"""Longer than a store takes to restart or to fail over, short enough for a Run that waits at its end."""

_OPTIONS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("--artifact-store-driver", {"default": "", "help": "filesystem or s3; empty for no artifacts."}),
    ("--artifact-store-root", {"default": "", "help": "Filesystem: where the volume is mounted."}),
    ("--artifact-volume-claim", {"default": "", "help": "Filesystem: its PersistentVolumeClaim."}),
    ("--artifact-s3-bucket", {"default": "", "help": "S3: the bucket."}),
    ("--artifact-s3-prefix", {"default": "", "help": "S3: what every key begins with."}),
    ("--artifact-s3-region", {"default": "", "help": "S3: region; else that of the SDK."}),
    ("--artifact-s3-endpoint", {"default": "", "help": "S3: address of another maker's store, with its scheme."}),
    ("--artifact-s3-force-path-style", {"type": bool, "default": False, "help": "S3: the bucket in the path, not in the host."}),
    ("--artifact-s3-credentials-secret-name", {"default": "", "help": "S3: only noted in the Run; the environment has the credentials."}),
    ("--artifact-s3-upload-part-size", {"type": int, "default": 0, "help": "S3: bytes of a part; 0 for 8 MiB."}),
    ("--artifact-s3-upload-concurrency", {"type": int, "default": 0, "help": "S3: parts at a time; 0 for 3."}),
    ("--max-artifact-bytes", {"type": int, "default": Limits().per_artifact, "help": "The most that one artifact may have."}),
    ("--max-artifacts-bytes", {"type": int, "default": Limits().per_run, "help": "The most that those of one Run may have together."}),
    (
        "--artifact-store-patience",
        {"type": float, "default": DEFAULT_PATIENCE_SECONDS, "help": "Seconds without progress until an upload is given up."},
    ),
)


def artifact_options(command: Any) -> Any:
    """Adds them to a command."""
    for flag, attributes in reversed(_OPTIONS):
        command = click.option(flag, **attributes)(command)
    return command


def take_store(parameters: dict[str, Any]) -> StoreSettings | None:
    """None for no store. Raises UsageError. Takes the flags that it reads out of `parameters`."""
    driver = parameters.pop("artifact_store_driver")
    root, claim = parameters.pop("artifact_store_root"), parameters.pop("artifact_volume_claim")
    part_size = parameters.pop("artifact_s3_upload_part_size")
    s3 = S3Store(
        bucket=parameters.pop("artifact_s3_bucket"),
        prefix=parameters.pop("artifact_s3_prefix") or None,
        region=parameters.pop("artifact_s3_region") or None,
        endpoint=parameters.pop("artifact_s3_endpoint") or None,
        force_path_style=parameters.pop("artifact_s3_force_path_style"),
        credentials_secret_name=parameters.pop("artifact_s3_credentials_secret_name") or None,
        upload_part_size=part_size or None,
        upload_concurrency=parameters.pop("artifact_s3_upload_concurrency") or None,
    )
    if not driver and not root and not claim:
        return None
    if driver in {"", FILESYSTEM}:
        return filesystem_store(root=root, volume_claim=claim, flags=("--artifact-store-root", "--artifact-volume-claim"))
    if driver == S3:
        return s3_store(s3, bucket_flag="--artifact-s3-bucket")
    raise UsageError(f"--artifact-store-driver: {driver[:64]!r} is neither {FILESYSTEM} nor {S3}")


def take_limits(parameters: dict[str, Any]) -> Limits:
    return Limits(per_artifact=parameters.pop("max_artifact_bytes"), per_run=parameters.pop("max_artifacts_bytes"))

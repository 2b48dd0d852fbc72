"""The Runtime: a pool of warm Pods. Field by field what `crds/runtime.yaml` admits (a test holds the two together)."""

from __future__ import annotations

from typing import Any

from msgspec import field

from k8s.api import names
from k8s.api.meta import Condition, KubernetesObject, View


class Capacity(View, frozen=True, kw_only=True):
    resources: dict[str, str | int] = field(default_factory=dict)


class FilesystemStore(View, frozen=True, kw_only=True):
    volume_claim_name: str = ""


class S3Store(View, frozen=True, kw_only=True):
    bucket: str = ""
    prefix: str | None = None
    region: str | None = None
    endpoint: str | None = None
    force_path_style: bool = False
    credentials_secret_name: str | None = None
    upload_part_size: int | None = None
    upload_concurrency: int | None = None


class ArtifactStore(View, frozen=True, kw_only=True):
    driver: str
    filesystem: FilesystemStore | None = None
    s3: S3Store | None = None


class RuntimeSpec(View, frozen=True, kw_only=True):
    template: dict[str, Any] = field(default_factory=dict)
    """A PodTemplateSpec, kept as it came: the API server validates it when the Deployment is written."""
    port: int = names.DEFAULT_RUNTIME_PORT
    replicas: int = 1
    daemon_image: str | None = None
    capacity: Capacity | None = None
    artifact_store: ArtifactStore | None = None
    workspace: dict[str, Any] | None = None
    """A VolumeSource, kept as it came; emptyDir when absent."""


class RuntimeStatus(View, frozen=True, kw_only=True):
    ready_replicas: int = 0
    observed_generation: int | None = None
    conditions: list[Condition] = field(default_factory=list)


class Runtime(KubernetesObject, frozen=True, kw_only=True):
    """A pool of warm Pods of one kind."""

    spec: RuntimeSpec = field(default_factory=RuntimeSpec)
    status: RuntimeStatus = field(default_factory=RuntimeStatus)

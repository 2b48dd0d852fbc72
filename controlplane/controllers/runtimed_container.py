"""The container `runtimed` of a Runtime Pod: its flags, probes, mounts, and the token that it alone gets. Pure."""

from __future__ import annotations

import copy
from typing import Any

from k8s.api import names
from k8s.api.grants import Grants, read_grants
from k8s.api.quantities import parse_quantity
from k8s.api.runtime import ArtifactStore, Runtime

Json = dict[str, Any]

STATE_VOLUME = "runtimed-state"
STATE_PATH = "/var/run/kruntimes/state"
"""Start markers and result records: an emptyDir of its own, because user code can write to the workspace."""
MEMORY_VOLUME = "runtimed-memory"
MEMORY_PATH = "/var/run/kruntimes/memory"
"""Their files, on a tmpfs: on a busy disk making one takes as long as a Run. That there was a boot before is noted on disk."""
MEMORY_SIZE = "64Mi"
"""A Run has about 16 KiB there, with its outputs at their limit 80."""
MEMORY_REQUEST = "128Mi"
TOKEN_VOLUME = "runtimed-token"  # noqa: S105 - a volume's name
TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a folder
ARTIFACT_ROOT = "/var/lib/kruntimes/artifacts"
TOKEN_SECONDS = 3607
"""What the API server gives Pods by itself; the kubelet renews it in time."""


def runtimed_container(runtime: Runtime, *, image: str, workers: int | None, memory_limit: str, security: Json) -> Json:
    """No CPU limit: throttling costs a burst tens of milliseconds."""
    store = runtime.spec.artifact_store
    container: Json = {
        "name": names.RUNTIMED_CONTAINER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": [*_flags(runtime, workers=workers), *(artifact_flags(store) if store is not None else [])],
        "ports": [{"name": "health", "containerPort": names.RUNTIMED_HEALTH_PORT, "protocol": "TCP"}],
        "livenessProbe": _probe("/healthz", initial_delay_seconds=5, period_seconds=10),
        "readinessProbe": _probe("/readyz", initial_delay_seconds=1, period_seconds=5),
        "env": [
            _field("HOSTNAME", "metadata.name"),
            _field("POD_NAMESPACE", "metadata.namespace"),
            _field("POD_UID", "metadata.uid"),
        ],
        "volumeMounts": [
            {"name": "workspace", "mountPath": "/workspace"},
            {"name": STATE_VOLUME, "mountPath": STATE_PATH},
            {"name": MEMORY_VOLUME, "mountPath": MEMORY_PATH},
            {"name": TOKEN_VOLUME, "mountPath": TOKEN_PATH, "readOnly": True},
        ],
        "securityContext": copy.deepcopy(security),
        "resources": {"requests": {"cpu": "100m", "memory": _memory_request(memory_limit)}, "limits": {"memory": memory_limit}},
    }
    if store is not None and store.filesystem is not None:
        container["volumeMounts"].append({"name": "artifact-store", "mountPath": ARTIFACT_ROOT})
    if store is not None and store.s3 is not None and store.s3.credentials_secret_name:
        container["envFrom"] = [{"secretRef": {"name": store.s3.credentials_secret_name}}]
    return container


def token_volume() -> Json:
    """What the API server would mount into every container unasked, for one of them."""
    sources: list[Json] = [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]
    return {"name": TOKEN_VOLUME, "projected": {"defaultMode": 0o644, "sources": sources}}


def state_volumes() -> list[Json]:
    """Both live as long as the Pod; the one in memory not across a boot of the node, which runtimed knows from the other."""
    memory = {"medium": "Memory", "sizeLimit": MEMORY_SIZE}
    return [{"name": STATE_VOLUME, "emptyDir": {}}, {"name": MEMORY_VOLUME, "emptyDir": memory}]


def artifact_flags(store: ArtifactStore) -> list[str]:
    """How runtimed reaches the store; of the optional ones those that are set."""
    if store.filesystem is not None:
        claim = store.filesystem.volume_claim_name
        return ["--artifact-store-driver=filesystem", f"--artifact-store-root={ARTIFACT_ROOT}", f"--artifact-volume-claim={claim}"]
    if store.s3 is None:
        raise ValueError("spec.artifactStore.s3: the driver is s3, so it must say which bucket")
    optional = {
        "--artifact-s3-prefix": store.s3.prefix,
        "--artifact-s3-region": store.s3.region,
        "--artifact-s3-endpoint": store.s3.endpoint,
        "--artifact-s3-force-path-style": "true" if store.s3.force_path_style else None,
        "--artifact-s3-upload-part-size": store.s3.upload_part_size,
        "--artifact-s3-upload-concurrency": store.s3.upload_concurrency,
        "--artifact-s3-credentials-secret-name": store.s3.credentials_secret_name,
    }
    flags = ["--artifact-store-driver=s3", f"--artifact-s3-bucket={store.s3.bucket}"]
    return flags + [f"{flag}={value}" for flag, value in optional.items() if value]


def _flags(runtime: Runtime, *, workers: int | None) -> list[str]:
    flags = [
        f"--runtime-endpoint=127.0.0.1:{runtime.spec.port}",
        f"--status-addr=:{names.RUNTIMED_STATUS_PORT}",
        f"--runtime-name={runtime.metadata.name}",
        f"--memory-dir={MEMORY_PATH}",
    ]
    return [*flags, *([] if workers is None else [f"--workers={workers}"]), *_grant_flags(read_grants(runtime))]


def _grant_flags(grants: Grants) -> list[str]:
    """runtimed cannot read its Runtime: it is told what the Runtime offers."""
    flags = {
        "--env-secrets": ",".join(grants.env_secrets),
        "--env-config-maps": ",".join(grants.env_config_maps),
        "--git-credentials-secret": grants.git_credentials,
    }
    return [f"{flag}={value}" for flag, value in flags.items() if value]


def _memory_request(limit: str) -> str:
    return MEMORY_REQUEST if parse_quantity(MEMORY_REQUEST) <= parse_quantity(limit) else limit


def _probe(path: str, *, initial_delay_seconds: int, period_seconds: int) -> Json:
    return {
        "httpGet": {"path": path, "port": names.RUNTIMED_HEALTH_PORT},
        "initialDelaySeconds": initial_delay_seconds,
        "periodSeconds": period_seconds,
    }


def _field(name: str, path: str) -> Json:
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}

"""What a maintainer is made of: one Deployment a store and namespace, and the ServiceAccount, Role and RoleBinding they share. Pure."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from controlplane.controllers.runtime_pod import DEFAULT_SECURITY, NOBODY
from controlplane.controllers.runtimed_container import ARTIFACT_ROOT
from k8s.api import names
from k8s.api.runtime import ArtifactStore

Json = dict[str, Any]

ACCOUNT = "kruntimes-runtime-maintainer"
HASH_LABEL = f"{names.GROUP}/artifact-store-hash"
LABELS = {"app.kubernetes.io/name": "kruntimes", "app.kubernetes.io/component": "runtime-maintainer"}
COMMAND = "/runtime-maintainer"
VOLUME = "artifact-store"
MEMORY_LIMIT = "256Mi"
ROLE_RULES = [{"apiGroups": [names.GROUP], "resources": ["runs"], "verbs": ["get", "list", "watch", "patch"]}]
"""Less than the interface allows: it writes nothing but the finalizer."""


@dataclass(frozen=True, slots=True)
class MaintainerSettings:
    """`image` empty: no maintainer can be started, and Runs with artifacts wait until they are given up."""

    image: str = ""
    pull_secrets: tuple[str, ...] = ()


def deployment_name(store_hash: str) -> str:
    return f"runtime-maintainer-{store_hash}"


def maintainer_objects(store: ArtifactStore, *, namespace: str, store_hash: str, settings: MaintainerSettings) -> list[Json]:
    """In the order in which they are needed."""
    rbac = "rbac.authorization.k8s.io"
    role = {"apiGroup": rbac, "kind": "Role", "name": ACCOUNT}
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}
    return [
        _object("v1", "ServiceAccount", ACCOUNT, namespace=namespace, store_hash="rbac"),
        {**_object(f"{rbac}/v1", "Role", ACCOUNT, namespace=namespace, store_hash="rbac"), "rules": ROLE_RULES},
        {
            **_object(f"{rbac}/v1", "RoleBinding", ACCOUNT, namespace=namespace, store_hash="rbac"),
            "roleRef": role,
            "subjects": [subject],
        },
        _deployment(store, namespace=namespace, store_hash=store_hash, settings=settings),
    ]


def _object(api_version: str, kind: str, name: str, *, namespace: str, store_hash: str) -> Json:
    labels = {**LABELS, HASH_LABEL: store_hash}
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace, "labels": labels}}


def _deployment(store: ArtifactStore, *, namespace: str, store_hash: str, settings: MaintainerSettings) -> Json:
    deployment = _object("apps/v1", "Deployment", deployment_name(store_hash), namespace=namespace, store_hash=store_hash)
    labels = deployment["metadata"]["labels"]
    container = _container(store, namespace=namespace, store_hash=store_hash, settings=settings)
    pod: Json = {"serviceAccountName": ACCOUNT, "containers": [container]}
    if settings.pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in settings.pull_secrets]
    if store.filesystem is not None:
        pod["securityContext"] = {"fsGroup": NOBODY, "fsGroupChangePolicy": "OnRootMismatch"}
        pod["volumes"] = [{"name": VOLUME, "persistentVolumeClaim": {"claimName": store.filesystem.volume_claim_name}}]
    template = {"metadata": {"labels": dict(labels)}, "spec": pod}
    # Recreate: two of them would only get in each other's way, and many volumes can be mounted once.
    spec = {"replicas": 1, "selector": {"matchLabels": dict(labels)}, "strategy": {"type": "Recreate"}, "template": template}
    return {**deployment, "spec": spec}


def _container(store: ArtifactStore, *, namespace: str, store_hash: str, settings: MaintainerSettings) -> Json:
    container: Json = {
        "name": "cleaner",
        "image": settings.image,
        "imagePullPolicy": "IfNotPresent",
        "command": [COMMAND],
        "args": [f"--run-namespace={namespace}", f"--store-hash={store_hash}", f"--driver={store.driver}", *_store_flags(store)],
        "securityContext": copy.deepcopy(DEFAULT_SECURITY),
        "resources": {"requests": {"cpu": "25m", "memory": "64Mi"}, "limits": {"memory": MEMORY_LIMIT}},
    }
    if store.filesystem is not None:
        container["volumeMounts"] = [{"name": VOLUME, "mountPath": ARTIFACT_ROOT}]
    if store.s3 is not None and store.s3.credentials_secret_name:
        container["envFrom"] = [{"secretRef": {"name": store.s3.credentials_secret_name}}]
    return container


def _store_flags(store: ArtifactStore) -> list[str]:
    if store.filesystem is not None:
        return [f"--filesystem-root={ARTIFACT_ROOT}", f"--filesystem-volume-claim={store.filesystem.volume_claim_name}"]
    assert store.s3 is not None
    optional = {
        "--s3-prefix": store.s3.prefix,
        "--s3-region": store.s3.region,
        "--s3-endpoint": store.s3.endpoint,
        "--s3-force-path-style": "true" if store.s3.force_path_style else None,
    }
    return [f"--s3-bucket={store.s3.bucket}", *(f"{flag}={value}" for flag, value in optional.items() if value)]

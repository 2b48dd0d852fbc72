"""What a Runtime means: the objects that are to exist for it, as a pure function. Nobody is asked and nothing is written here.

Each object holds exactly the fields we own; the API server fills in the rest, and server-side apply keeps the two apart. So
nothing here is ever compared with a live object as a whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from controlplane.controllers.runtime_pod import pod_template
from k8s.api import names
from k8s.api.errors import KrtError
from k8s.api.runtime import Runtime

Json = dict[str, Any]

ROLE = "kruntimes-runtimed"
SERVICE_ACCOUNT = "kruntimes-runtimed"
DAEMON_IMAGE = "kruntimes-runtimed:latest"
RUNTIMED_LABELS = {"app.kubernetes.io/name": "kruntimes", "app.kubernetes.io/component": "runtimed", "app": "kruntimes-runtimed"}
"""On the objects that all Runtimes of a namespace share."""
ROLE_RULES: list[Json] = [
    {"apiGroups": [names.GROUP], "resources": ["runs"], "verbs": ["get", "list", "watch", "update", "patch"]},
    {"apiGroups": [names.GROUP], "resources": ["runs/status"], "verbs": ["get", "update", "patch"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["pods/status"], "verbs": ["get", "patch"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
]
_LONGEST_LABEL = 63
_HASH_LENGTH = 10


class InvalidRuntime(KrtError):
    """The Runtime can't be brought about as it is written. `field` names where."""

    reason = "InvalidRuntime"

    def __init__(self, *, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


@dataclass(frozen=True, slots=True)
class RuntimeSettings:
    """What the operator chooses for all Runtimes."""

    default_daemon_image: str = DAEMON_IMAGE
    """Image of runtimed where the Runtime names none."""
    service_account_name: str = SERVICE_ACCOUNT
    """ServiceAccount of the Pods where the Runtime's template names none."""
    runtimed_memory_limit: str = "256Mi"


def desired_objects(runtime: Runtime, settings: RuntimeSettings) -> list[Json]:
    """In the order in which they are to be made: a Pod must find its rights, and its isolation, when it starts.

    Raises InvalidRuntime.
    """
    if len(runtime.metadata.name) > _LONGEST_LABEL:
        raise InvalidRuntime(
            field="metadata.name", message=f"has more than {_LONGEST_LABEL} characters and cannot be a label; choose a shorter name"
        )
    account = runtime.spec.template.get("spec", {}).get("serviceAccountName") or settings.service_account_name
    namespace = runtime.metadata.namespace
    return [
        _service_account(account, namespace=namespace),
        _role(namespace),
        _role_binding(account, namespace=namespace),
        _network_policy(runtime),
        _deployment(runtime, settings, account=account),
    ]


def selector_labels(runtime_name: str) -> dict[str, str]:
    """The two labels by which a Runtime's Pods are found."""
    return {names.RUNTIME_LABEL: runtime_name, names.APP_LABEL: shorten(f"kruntimes-{runtime_name}", hashed=runtime_name)}


def deployment_name(runtime_name: str) -> str:
    """Other programs depend on it."""
    return f"runtime-{runtime_name}"


def shorten(text: str, *, hashed: str) -> str:
    """`text`, or where it has more than 63 characters its beginning and ten hexadecimal digits of the SHA-256 of `hashed`."""
    if len(text) <= _LONGEST_LABEL:
        return text
    digest = hashlib.sha256(hashed.encode()).hexdigest()[:_HASH_LENGTH]
    return f"{text[: _LONGEST_LABEL - _HASH_LENGTH - 1].rstrip('-._')}-{digest}"


def _service_account(account: str, *, namespace: str) -> Json:
    return _object("v1", "ServiceAccount", name=account, namespace=namespace, labels=RUNTIMED_LABELS)


def _role(namespace: str) -> Json:
    role = _object("rbac.authorization.k8s.io/v1", "Role", name=ROLE, namespace=namespace, labels=RUNTIMED_LABELS)
    return {**role, "rules": ROLE_RULES}


def _role_binding(account: str, *, namespace: str) -> Json:
    name = shorten(f"{ROLE}-{account}", hashed=account)
    binding = _object("rbac.authorization.k8s.io/v1", "RoleBinding", name=name, namespace=namespace, labels=RUNTIMED_LABELS)
    return {
        **binding,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ROLE},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    }


def _network_policy(runtime: Runtime) -> Json:
    """Nobody may connect to the Pods; they may connect to anybody."""
    policy = _owned(runtime, "networking.k8s.io/v1", "NetworkPolicy")
    labels = selector_labels(runtime.metadata.name)
    return {**policy, "spec": {"podSelector": {"matchLabels": labels}, "policyTypes": ["Ingress"]}}


def _deployment(runtime: Runtime, settings: RuntimeSettings, *, account: str) -> Json:
    labels = selector_labels(runtime.metadata.name)
    image = runtime.spec.daemon_image or settings.default_daemon_image
    try:
        template = pod_template(
            runtime, labels=labels, service_account=account, runtimed_image=image, runtimed_memory_limit=settings.runtimed_memory_limit
        )
    except ValueError as error:
        field, _, message = str(error).partition(": ")
        raise InvalidRuntime(field=field, message=message) from error
    spec = {"replicas": max(1, runtime.spec.replicas), "selector": {"matchLabels": labels}, "template": template}
    return {**_owned(runtime, "apps/v1", "Deployment"), "spec": spec}


def _owned(runtime: Runtime, api_version: str, kind: str) -> Json:
    """An object that goes with its Runtime."""
    name, labels = deployment_name(runtime.metadata.name), selector_labels(runtime.metadata.name)
    owned = _object(api_version, kind, name=name, namespace=runtime.metadata.namespace, labels=labels)
    owned["metadata"]["ownerReferences"] = [
        {
            "apiVersion": names.API_VERSION,
            "kind": "Runtime",
            "name": runtime.metadata.name,
            "uid": runtime.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    return owned


def _object(api_version: str, kind: str, *, name: str, namespace: str, labels: Mapping[str, str]) -> Json:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace, "labels": dict(labels)}}

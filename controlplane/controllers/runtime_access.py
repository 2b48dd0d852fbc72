"""Who runtimed is to the API server and what it may do there: ServiceAccount, Role and RoleBinding, shared by the Runtimes of a
namespace. Pure.

The rights of a draining Pod must outlive its Runtime, for it still reports what its Runs came to: so they are needed as long as a
Runtime, a Deployment or a Pod names the account.

A ServiceAccount that is there already belongs to somebody else: it is bound, but never written and never deleted. Those that we
make carry an annotation; whoever takes it off takes the account over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from k8s.api import names
from k8s.api.meta import KubernetesObject
from k8s.api.runtime import Runtime

Json = dict[str, Any]

ROLE = "kruntimes-runtimed"
SERVICE_ACCOUNT = "kruntimes-runtimed"
LABELS = {"app.kubernetes.io/name": "kruntimes", "app.kubernetes.io/component": "runtimed", "app": "kruntimes-runtimed"}
SELECTOR = "app.kubernetes.io/name=kruntimes,app.kubernetes.io/component=runtimed"
CREATED_BY = f"{names.GROUP}/created-by"
CREATOR = "kruntimes-controller"
ROLE_RULES: list[Json] = [
    {"apiGroups": [names.GROUP], "resources": ["runs"], "verbs": ["get", "list", "watch", "update", "patch"]},
    {"apiGroups": [names.GROUP], "resources": ["runs/status"], "verbs": ["get", "update", "patch"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["pods/status"], "verbs": ["get", "patch"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
]
_RBAC_GROUP = "rbac.authorization.k8s.io"
_LONGEST_LABEL = 63
_HASH_LENGTH = 10


def account_of(runtime: Runtime, *, default: str) -> str:
    """The ServiceAccount of a Runtime's Pods. `serviceAccount` is the name that Kubernetes gave the field before."""
    spec = runtime.spec.template.get("spec") or {}
    return spec.get("serviceAccountName") or spec.get("serviceAccount") or default


def access_objects(account: str, *, namespace: str) -> list[Json]:
    """In the order in which they are to be made: a binding is refused before its Role is there."""
    return [_service_account(account, namespace=namespace), _role(namespace), _role_binding(account, namespace=namespace)]


def is_ours(account: KubernetesObject) -> bool:
    """We have made it, and nobody has taken it over."""
    return account.metadata.annotations.get(CREATED_BY) == CREATOR


def is_in_shape(account: KubernetesObject) -> bool:
    """Of one that is ours."""
    return account.metadata.labels.items() >= LABELS.items()


def binding_name(account: str) -> str:
    return shorten(f"{ROLE}-{account}", hashed=account)


def bound_accounts(binding: Mapping[str, Any]) -> set[str]:
    """ServiceAccounts that a RoleBinding of ours names."""
    return {subject.get("name", "") for subject in binding.get("subjects") or [] if subject.get("kind") == "ServiceAccount"}


def shorten(text: str, *, hashed: str) -> str:
    """`text`, or where it has more than 63 characters its beginning and ten hexadecimal digits of the SHA-256 of `hashed`."""
    if len(text) <= _LONGEST_LABEL:
        return text
    digest = hashlib.sha256(hashed.encode()).hexdigest()[:_HASH_LENGTH]
    return f"{text[: _LONGEST_LABEL - _HASH_LENGTH - 1].rstrip('-._')}-{digest}"


def _service_account(account: str, *, namespace: str) -> Json:
    made = make_object("v1", "ServiceAccount", name=account, namespace=namespace, labels=LABELS)
    made["metadata"]["annotations"] = {CREATED_BY: CREATOR}
    return made


def _role(namespace: str) -> Json:
    role = make_object(f"{_RBAC_GROUP}/v1", "Role", name=ROLE, namespace=namespace, labels=LABELS)
    return {**role, "rules": ROLE_RULES}


def _role_binding(account: str, *, namespace: str) -> Json:
    binding = make_object(f"{_RBAC_GROUP}/v1", "RoleBinding", name=binding_name(account), namespace=namespace, labels=LABELS)
    return {
        **binding,
        "roleRef": {"apiGroup": _RBAC_GROUP, "kind": "Role", "name": ROLE},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    }


def make_object(api_version: str, kind: str, *, name: str, namespace: str, labels: Mapping[str, str]) -> Json:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace, "labels": dict(labels)}}

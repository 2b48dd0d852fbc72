"""What single built-in kinds ask for beyond metadata: defaults that other components rely on, and exceptions to the verbs.

A table of small functions; a kind that is not in it has nothing special. This is not validation of built-in kinds: local mode
takes them as they come.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from controlplane.local.apiserver import crds
from controlplane.local.apiserver.metadata import now_text

Document = dict[str, Any]

UNCONDITIONAL_UPDATE_FORBIDDEN = frozenset({"leases.coordination.k8s.io", crds.RESOURCE})
"""Built-in kinds whose PUT must carry a resourceVersion, as that of every custom resource."""

CREATED_ON_UPDATE = frozenset(
    {"leases.coordination.k8s.io", "events", "roles.rbac.authorization.k8s.io", "rolebindings.rbac.authorization.k8s.io"}
)
"""Kinds that a PUT creates when they do not exist."""

NAMED_BY_LABEL = frozenset({"namespaces"})

RETURNED_WHEN_DELETED = frozenset({"pods", "namespaces", "serviceaccounts"})
"""Kinds whose deletion is answered with the object; the others answer Status Success."""

CRD_CLEANUP = "customresourcecleanup.apiextensions.k8s.io"

POD_GRACE_SECONDS = 30
_LONGEST_GRACE_SECONDS = 2**31
"""Beyond it the instant of the deletion is no date."""


def _prepare_namespace(document: Document) -> None:
    document["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = document["metadata"]["name"]
    document["spec"] = {"finalizers": ["kubernetes"]}
    document["status"] = {"phase": "Active"}


def _prepare_pod(document: Document) -> None:
    spec = document.setdefault("spec", {})
    for name, value in (("restartPolicy", "Always"), ("terminationGracePeriodSeconds", POD_GRACE_SECONDS), ("dnsPolicy", "ClusterFirst")):
        spec.setdefault(name, value)
    document["status"] = {"phase": "Pending", "qosClass": "BestEffort"}


def _prepare_replicated(document: Document) -> None:
    spec = document.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    if document["kind"] == "Deployment":
        rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}
        spec.setdefault("strategy", rolling)
        spec.setdefault("revisionHistoryLimit", 10)
        spec.setdefault("progressDeadlineSeconds", 600)
    document["status"] = {}


def _prepare_secret(document: Document) -> None:
    texts = document.pop("stringData", None) or {}
    if texts:
        document.setdefault("data", {}).update({key: base64.b64encode(value.encode()).decode() for key, value in texts.items()})
    document.setdefault("type", "Opaque")


def _prepare_crd(document: Document) -> None:
    names = document.get("spec", {}).get("names", {})
    if isinstance(names, dict) and isinstance(names.get("kind"), str):
        names.setdefault("singular", names["kind"].lower())
        names.setdefault("listKind", names["kind"] + "List")
    document["status"] = crds.established(document, now=now_text())
    finalizers = document["metadata"].setdefault("finalizers", [])
    if CRD_CLEANUP not in finalizers:
        finalizers.append(CRD_CLEANUP)


_ON_CREATE: dict[str, Callable[[Document], None]] = {
    "namespaces": _prepare_namespace,
    "pods": _prepare_pod,
    "deployments.apps": _prepare_replicated,
    "replicasets.apps": _prepare_replicated,
    "secrets": _prepare_secret,
    crds.RESOURCE: _prepare_crd,
}


def prepare_create(resource: str, *, document: Document) -> None:
    prepare = _ON_CREATE.get(resource)
    if prepare is not None:
        prepare(document)


def prepare_update(resource: str, *, document: Document, old: Document) -> None:
    if resource in ("deployments.apps", "replicasets.apps"):
        document.setdefault("spec", {}).setdefault("replicas", 1)
    elif resource == "secrets":
        _prepare_secret(document)
    elif resource == "namespaces":
        # Only /finalize may change it, and that is the collector's way out.
        document["spec"] = old.get("spec", {})
        document.setdefault("metadata", {}).setdefault("labels", {})["kubernetes.io/metadata.name"] = document["metadata"]["name"]


def grace_seconds(resource: str, *, document: Document, asked: int | None) -> int:
    """How long the object stays after its deletion was asked for; only Pods stay, and only where a node must stop them."""
    if resource != "pods":
        return 0
    spec, status = document.get("spec", {}), document.get("status", {})
    if not spec.get("nodeName") or status.get("phase") in ("Succeeded", "Failed"):
        return 0
    period = asked if asked is not None else spec.get("terminationGracePeriodSeconds", POD_GRACE_SECONDS)
    # A negative period means at once, but in an orderly way, as in Kubernetes.
    return min(int(period), _LONGEST_GRACE_SECONDS) if period >= 0 else 1

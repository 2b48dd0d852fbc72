"""The built-in kinds that a Runtime's life needs, loosely typed: names, scope, selectable fields, printer columns.

Columns whose path is a call, as `ready()`, are worked out in `cells`.
"""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.local.apiserver.definitions import Column, Definition

AGE = Column("Age", "date", ".metadata.creationTimestamp")


def _columns(*columns: tuple[str, str] | tuple[str, str, int]) -> tuple[Column, ...]:
    """(name, path) or (name, path, priority)."""
    return tuple(Column(column[0], "string", column[1], priority=column[2] if len(column) > 2 else 0) for column in columns)


def _fields(*names: str) -> Mapping[str, tuple[str, ...]]:
    return {name: tuple(name.split(".")) for name in names}


_STATUS = frozenset({"status"})

BUILTINS: tuple[Definition, ...] = (
    Definition("", "v1", "namespaces", "namespace", "Namespace", False, short_names=("ns",), subresources=_STATUS,
               selectable=_fields("status.phase"), columns=(*_columns(("Status", ".status.phase")), AGE)),
    Definition("", "v1", "nodes", "node", "Node", False, short_names=("no",), subresources=_STATUS,
               selectable=_fields("spec.unschedulable"),
               columns=(*_columns(("Status", "node_status()")), AGE, *_columns(("Version", ".status.nodeInfo.kubeletVersion")))),
    Definition("", "v1", "pods", "pod", "Pod", True, short_names=("po",), categories=("all",),
        subresources=frozenset({"status", "log", "portforward"}),
               counts_generation=True,
               selectable=_fields("spec.nodeName", "status.phase", "spec.restartPolicy", "spec.serviceAccountName", "status.podIP"),
               columns=(*_columns(("Ready", "ready_containers()"), ("Status", "pod_status()"), ("Restarts", "restarts()")), AGE,
                        *_columns(("IP", ".status.podIP", 1), ("Node", ".spec.nodeName", 1)))),
    Definition("", "v1", "configmaps", "configmap", "ConfigMap", True, short_names=("cm",),
               columns=(*_columns(("Data", "data_size()")), AGE)),
    Definition("", "v1", "secrets", "secret", "Secret", True, selectable=_fields("type"),
               columns=(*_columns(("Type", ".type"), ("Data", "data_size()")), AGE)),
    Definition("", "v1", "serviceaccounts", "serviceaccount", "ServiceAccount", True, short_names=("sa",), columns=(AGE,)),
    Definition("", "v1", "events", "event", "Event", True, short_names=("ev",),
               selectable=_fields("involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
                                  "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath",
                                  "reason", "reportingComponent", "source", "type"),
               columns=(Column("Last Seen", "date", "last_seen()"),
                        *_columns(("Type", ".type"), ("Reason", ".reason"), ("Object", "involved()"), ("Message", ".message")))),
    Definition("apps", "v1", "deployments", "deployment", "Deployment", True, short_names=("deploy",), categories=("all",),
               subresources=frozenset({"status", "scale"}), counts_generation=True,
               columns=(*_columns(("Ready", "ready_replicas()")), Column("Up-to-date", "integer", "count(.status.updatedReplicas)"),
                        Column("Available", "integer", "count(.status.availableReplicas)"), AGE)),
    Definition("apps", "v1", "replicasets", "replicaset", "ReplicaSet", True, short_names=("rs",), categories=("all",),
               subresources=frozenset({"status", "scale"}), counts_generation=True,
               columns=(Column("Desired", "integer", "count(.spec.replicas)"), Column("Current", "integer", "count(.status.replicas)"),
                        Column("Ready", "integer", "count(.status.readyReplicas)"), AGE)),
    Definition("apps", "v1", "controllerrevisions", "controllerrevision", "ControllerRevision", True,
               columns=(*_columns(("Controller", ".metadata.ownerReferences[0].name"), ("Revision", ".revision")), AGE)),
    Definition("coordination.k8s.io", "v1", "leases", "lease", "Lease", True, columns=(*_columns(("Holder", ".spec.holderIdentity")), AGE)),
    Definition("rbac.authorization.k8s.io", "v1", "roles", "role", "Role", True,
               columns=(Column("Created At", "string", ".metadata.creationTimestamp"),)),
    Definition("rbac.authorization.k8s.io", "v1", "rolebindings", "rolebinding", "RoleBinding", True,
               columns=(*_columns(("Role", "role_ref()")), AGE)),
    Definition("networking.k8s.io", "v1", "networkpolicies", "networkpolicy", "NetworkPolicy", True, short_names=("netpol",),
               list_kind="NetworkPolicyList", counts_generation=True, columns=(*_columns(("Pod-Selector", "pod_selector()")), AGE)),
    Definition("apiextensions.k8s.io", "v1", "customresourcedefinitions", "customresourcedefinition", "CustomResourceDefinition", False,
               short_names=("crd", "crds"), categories=("api-extensions",), subresources=_STATUS, counts_generation=True,
               columns=(Column("Created At", "string", ".metadata.creationTimestamp"),)),
)  # fmt: skip

"""Which kinds exist for us: their group, path and type. Not a discovery client: nothing here asks a server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from k8s.api import names
from k8s.api.errors import UsageError
from k8s.api.meta import KubernetesObject
from k8s.api.pod import Pod
from k8s.api.run import Run
from k8s.api.runtime import Runtime

T = TypeVar("T")
JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Resource(Generic[T]):
    """A kind as the API server serves it, and the Python type its objects are decoded to."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    type: type[T]

    @property
    def api_version(self) -> str:
        """`apps/v1`, or `v1` for the core group: the `apiVersion` of an object."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, *, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The URL path, escaped. Without `namespace` it spans all of them. Raises UsageError on a name that is no path segment."""
        parts = [f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"]
        if namespace and self.namespaced:
            parts += ["namespaces", _segment(namespace, field="namespace")]
        elif name is not None and self.namespaced:
            raise UsageError(f"{self.plural}/{name[:64]}: a namespace is needed to name one object; pass namespace=")
        parts.append(self.plural)
        if name is not None:
            parts.append(_segment(name, field="name"))
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


def _segment(text: str, *, field: str) -> str:
    # Names come from users: `..` or a slash would address another object than the one that is named.
    if not text or text in {".", ".."} or "/" in text or "%" in text:
        raise UsageError(f"{field} {text[:64]!r} is not a name of a Kubernetes object; use lower case letters, digits, '-' and '.'")
    return quote(text, safe="-._~")


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells objects and their versions apart, whatever type they are decoded to."""

    uid: str
    resource_version: int
    namespace: str
    name: str


def identify(object_: object) -> Identity:
    """The identity of a typed view or of a plain dict. A resourceVersion that is no number counts as 0."""
    if isinstance(object_, KubernetesObject):
        meta = object_.metadata
        return Identity(meta.uid, version_number(meta.resource_version), meta.namespace, meta.name)
    if isinstance(object_, dict):
        metadata = object_.get("metadata") or {}
        version = version_number(metadata.get("resourceVersion", ""))
        return Identity(metadata.get("uid", ""), version, metadata.get("namespace", ""), metadata.get("name", ""))
    raise TypeError(f"{type(object_).__name__} is not a Kubernetes object")


def version_of(object_: object) -> str:
    """Its resourceVersion, as it came; empty if it has none."""
    if isinstance(object_, KubernetesObject):
        return object_.metadata.resource_version
    metadata = object_.get("metadata") if isinstance(object_, dict) else None
    return str(metadata.get("resourceVersion") or "") if isinstance(metadata, dict) else ""


def version_number(resource_version: str) -> int:
    """resourceVersions of one kind compare as integers (Kubernetes promises it since 1.35; etcd and ours always did)."""
    return int(resource_version) if resource_version.isdecimal() else 0


RUNS = Resource(names.GROUP, names.VERSION, "runs", "Run", namespaced=True, type=Run)
RUNTIMES = Resource(names.GROUP, names.VERSION, "runtimes", "Runtime", namespaced=True, type=Runtime)
PODS = Resource("", "v1", "pods", "Pod", namespaced=True, type=Pod)


def _plain(group: str, version: str, plural: str, kind: str, *, namespaced: bool = True) -> Resource[JsonObject]:
    return Resource(group, version, plural, kind, namespaced=namespaced, type=dict[str, Any])


DEPLOYMENTS = _plain("apps", "v1", "deployments", "Deployment")
REPLICASETS = _plain("apps", "v1", "replicasets", "ReplicaSet")
NODES = _plain("", "v1", "nodes", "Node", namespaced=False)
NAMESPACES = _plain("", "v1", "namespaces", "Namespace", namespaced=False)
EVENTS = _plain("", "v1", "events", "Event")
SECRETS = _plain("", "v1", "secrets", "Secret")
CONFIG_MAPS = _plain("", "v1", "configmaps", "ConfigMap")
SERVICE_ACCOUNTS = _plain("", "v1", "serviceaccounts", "ServiceAccount")
LEASES = _plain("coordination.k8s.io", "v1", "leases", "Lease")
ROLES = _plain("rbac.authorization.k8s.io", "v1", "roles", "Role")
ROLE_BINDINGS = _plain("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
NETWORK_POLICIES = _plain("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
CRDS = _plain("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False)

TYPED: tuple[Resource[Any], ...] = (RUNS, RUNTIMES, PODS)


def reference(object_: object) -> JsonObject:
    """A core/v1 ObjectReference. Items of a list lack `kind`: it is then taken from their type."""
    identity = identify(object_)
    known = next((resource for resource in TYPED if isinstance(object_, resource.type)), None)
    if isinstance(object_, KubernetesObject):
        api_version, kind, version = object_.api_version, object_.kind, object_.metadata.resource_version
    else:
        assert isinstance(object_, dict)
        api_version, kind = object_.get("apiVersion", ""), object_.get("kind", "")
        version = object_.get("metadata", {}).get("resourceVersion", "")
    return {
        "apiVersion": api_version or (known.api_version if known else ""),
        "kind": kind or (known.kind if known else ""),
        "namespace": identity.namespace,
        "name": identity.name,
        "uid": identity.uid,
        "resourceVersion": version,
    }

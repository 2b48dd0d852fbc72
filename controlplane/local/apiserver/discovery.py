"""What the server says of itself: /version, /api, /apis and below, in the plain and in the aggregated form."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from controlplane.local.apiserver.definitions import VERBS, Definition, Registry

Document = dict[str, Any]

MINOR = 36
"""The Kubernetes minor version whose behaviour the contract suite compares with."""

VERSION: Document = {
    "major": "1",
    "minor": str(MINOR),
    "gitVersion": f"v1.{MINOR}.0+kruntimes.local",
    "gitCommit": "",
    "gitTreeState": "",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}

_SUBRESOURCE_VERBS = {
    "status": ("get", "patch", "update"),
    "scale": ("get", "patch", "update"),
    "log": ("get",),
    "portforward": ("create", "get"),
}
_SUBRESOURCE_KINDS = {"scale": ("autoscaling", "v1", "Scale")}


def api_versions(*, address: str) -> Document:
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def api_groups(registry: Registry) -> Document:
    groups = [_group(name, versions=versions) for name, versions in registry.group_versions().items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def _group(name: str, *, versions: list[str]) -> Document:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def api_group(registry: Registry, *, group: str) -> Document | None:
    versions = registry.group_versions().get(group)
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(group, versions=versions)} if versions else None


def api_resources(registry: Registry, *, group: str, version: str) -> Document | None:
    """APIResourceList of one group and version; None when it is not served."""
    served = [definition for definition in registry if definition.group == group and definition.version == version]
    if not served:
        return None
    listed = [entry for definition in served for entry in _resources(definition)]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": served[0].group_version, "resources": listed}


def _resources(definition: Definition) -> Iterable[Document]:
    entry: Document = {
        "name": definition.plural,
        "singularName": definition.singular,
        "namespaced": definition.namespaced,
        "kind": definition.kind,
        "verbs": list(VERBS),
    }
    if definition.short_names:
        entry["shortNames"] = list(definition.short_names)
    if definition.categories:
        entry["categories"] = list(definition.categories)
    yield entry
    for name in sorted(definition.subresources):
        group, version, kind = _SUBRESOURCE_KINDS.get(name, ("", "", definition.kind))
        below: Document = {"name": f"{definition.plural}/{name}", "singularName": "", "namespaced": definition.namespaced, "kind": kind}
        if group:
            below |= {"group": group, "version": version}
        yield below | {"verbs": list(_SUBRESOURCE_VERBS[name])}


# --- aggregated: everything in one answer


def aggregated(registry: Registry, *, is_core: bool) -> Document:
    """APIGroupDiscoveryList of the core group (/api) or of all others (/apis)."""
    groups = [
        {
            "metadata": {"name": group} if group else {},
            "versions": [_version(registry, group=group, version=version) for version in versions],
        }
        for group, versions in registry.group_versions().items()
        if (group == "") == is_core
    ]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": groups}


def _version(registry: Registry, *, group: str, version: str) -> Document:
    served = [definition for definition in registry if definition.group == group and definition.version == version]
    return {"version": version, "resources": [_aggregated_resource(definition) for definition in served], "freshness": "Current"}


def _aggregated_resource(definition: Definition) -> Document:
    entry: Document = {
        "resource": definition.plural,
        "responseKind": {"group": definition.group, "version": definition.version, "kind": definition.kind},
        "scope": "Namespaced" if definition.namespaced else "Cluster",
        "singularResource": definition.singular,
        "verbs": list(VERBS),
    }
    if definition.short_names:
        entry["shortNames"] = list(definition.short_names)
    if definition.categories:
        entry["categories"] = list(definition.categories)
    if definition.subresources:
        entry["subresources"] = [_aggregated_subresource(definition, name=name) for name in sorted(definition.subresources)]
    return entry


def _aggregated_subresource(definition: Definition, *, name: str) -> Document:
    group, version, kind = _SUBRESOURCE_KINDS.get(name, (definition.group, definition.version, definition.kind))
    return {
        "subresource": name,
        "responseKind": {"group": group, "version": version, "kind": kind},
        "verbs": list(_SUBRESOURCE_VERBS[name]),
    }

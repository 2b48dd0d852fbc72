"""Puts the pieces together: database, store, kinds, initial objects, CRDs from files. No HTTP."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from controlplane.local.apiserver import crds
from controlplane.local.apiserver.builtins import BUILTINS
from controlplane.local.apiserver.database import Database
from controlplane.local.apiserver.definitions import Definition, Registry
from controlplane.local.apiserver.paths import scalar_text
from controlplane.local.apiserver.requests import Options, Target
from controlplane.local.apiserver.statuses import Refused
from controlplane.local.apiserver.store import Event, Store
from controlplane.local.apiserver.verbs import Verbs
from k8s.api.errors import UsageError

_NAMESPACES = ("default", "kube-system")
_USER_AGENT = "kruntimes-local"


class Indexes:
    """Selectable fields of objects, by what the registry says of their kind."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def __call__(self, resource: str, document: Mapping[str, Any]) -> dict[str, str]:
        meta = document["metadata"]
        fields = {"metadata.name": meta.get("name", ""), "metadata.namespace": meta.get("namespace", "")}
        definition = self._registry.named(resource)
        if definition is not None:
            for name, keys in definition.selectable.items():
                fields[name] = scalar_text(document, keys=keys)
        return fields


def open_store(database: Database, *, registry: Registry, history_limit: int) -> Store:
    """The store with everything that the file holds; the kinds of its CRDs are registered."""
    store = Store(database, indexer=Indexes(registry), history_limit=history_limit)
    store.load(crds.RESOURCE)
    for stored in store.collection(crds.RESOURCE).scan(namespace=""):
        registry.add(crds.definition_of(stored.decode()))
    for resource in database.resources():
        if resource != crds.RESOURCE:
            store.load(resource)
    store.load_history()
    store.on_event.append(lambda event: _follow_crds(event, registry=registry, store=store))
    return store


def _follow_crds(event: Event, *, registry: Registry, store: Store) -> None:
    """Serves what a CRD says from the very write on."""
    if event.resource != crds.RESOURCE:
        return
    if event.type == "DELETED":
        registry.remove(event.stored.key[1])
        return
    definition = crds.definition_of(event.stored.decode())
    known = registry.named(definition.resource)
    if known == definition:
        return
    registry.add(definition)
    if known is None or known.selectable != definition.selectable:
        store.load(definition.resource)


def new_registry() -> Registry:
    return Registry(BUILTINS)


def create_initial_objects(verbs: Verbs) -> None:
    for name in _NAMESPACES:
        document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        _create_or_keep(verbs, resource="namespaces", document=document)


def _create_or_keep(verbs: Verbs, *, resource: str, document: Mapping[str, Any]) -> None:
    target = _target(verbs, resource=resource, name=document["metadata"]["name"])
    if verbs.store.get(resource, key=target.key) is None:
        body = msgspec.json.encode(document)
        verbs.create(target, body=body, content_type="application/json", options=Options({}, _USER_AGENT))


def _target(verbs: Verbs, *, resource: str, name: str) -> Target:
    definition: Definition | None = verbs.registry.named(resource)
    if definition is None:
        raise KeyError(resource)
    return Target(definition, "", name, "")


def load_crds(folder: Path, *, verbs: Verbs) -> None:
    """Creates the folder's CRDs, and brings older ones of an earlier start up to date."""
    files = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])
    if not files:
        raise UsageError(f"--crds {folder}: there are no YAML files in it")
    for path in files:
        for document in _read(path):
            if document.get("kind") == "CustomResourceDefinition":
                _create_or_update(document, path=path, verbs=verbs)


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        documents = list(yaml.safe_load_all(path.read_text()))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"--crds: {path}: {error}") from error
    # Through JSON, so that aliases become copies and dates texts.
    return [json.loads(json.dumps(document, default=str)) for document in documents if isinstance(document, dict)]


def _create_or_update(document: dict[str, Any], *, path: Path, verbs: Verbs) -> None:
    try:
        target = _target(verbs, resource=crds.RESOURCE, name=document["metadata"]["name"])
        if verbs.store.get(crds.RESOURCE, key=target.key) is None:
            _create_or_keep(verbs, resource=crds.RESOURCE, document=document)
        else:
            body = msgspec.json.encode([{"op": "replace", "path": "/spec", "value": _with_default_names(document["spec"])}])
            verbs.patch(target, body=body, content_type="application/json-patch+json", options=Options({}, _USER_AGENT))
    except Refused as refused:
        raise UsageError(f"--crds: {path}: {refused.message}") from refused
    except KeyError as error:
        raise UsageError(f"--crds: {path}: {error} is missing") from error


def _with_default_names(spec: dict[str, Any]) -> dict[str, Any]:
    names = spec["names"]
    return spec | {"names": {"singular": names["kind"].lower(), "listKind": names["kind"] + "List"} | names}

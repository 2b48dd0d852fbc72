"""Server-side apply, the part that local mode offers: force=true, and one applier per object.

What the applier sent is kept in metadata.managedFields, as Kubernetes does; the next apply removes what it no longer names.
Two appliers of one object, and conflicts between appliers and updaters, are Kubernetes' to solve: they are refused with 501.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controlplane.local.apiserver import metadata, strategic
from controlplane.local.apiserver.schema import Node
from controlplane.local.apiserver.statuses import not_implemented

Document = dict[str, Any]

_NOT_APPLIED = frozenset({"apiVersion", "kind"})
_NOT_APPLIED_META = frozenset(
    {"name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink"}
)


def check_applier(current: Document | None, *, manager: str, is_forced: bool) -> None:
    if not is_forced:
        raise not_implemented(
            "local mode offers server-side apply with force=true only (kubectl apply --server-side --force-conflicts); "
            "or use client-side apply (kubectl apply)"
        )
    others = [entry["manager"] for entry in _applied_entries(current) if entry.get("manager") != manager]
    if others:
        raise not_implemented(
            f'local mode offers server-side apply by one field manager per object, and this object is applied by "{others[0]}"; '
            f"apply with --field-manager={others[0]} or use client-side apply (kubectl apply)"
        )


def _applied_entries(current: Document | None) -> list[Mapping[str, Any]]:
    entries = (current or {}).get("metadata", {}).get("managedFields") or []
    return [entry for entry in entries if entry.get("operation") == "Apply"]


def apply(current: Document | None, *, configuration: Document, manager: str, schema: Node | None) -> Document:
    """The object that results: `configuration` on top, and without what the applier named before and no longer names."""
    document = current if current is not None else {}
    applied = dict(configuration)
    for entry in _applied_entries(current):
        _remove_unnamed(document, fields=entry.get("fieldsV1") or {}, configuration=applied)
    merged = _merge(document, configuration=applied, node=schema)
    entry = {
        "manager": manager,
        "operation": "Apply",
        "apiVersion": configuration["apiVersion"],
        "time": metadata.now_text(),
        "fieldsType": "FieldsV1",
        "fieldsV1": fields_of(configuration),
    }
    if current is not None and _is_same(_applied_entries(current), entry=entry):
        return merged
    merged["metadata"]["managedFields"] = [entry]
    return merged


def _is_same(entries: list[Mapping[str, Any]], *, entry: Mapping[str, Any]) -> bool:
    """An apply that changes nothing writes nothing, so that its time stays too."""
    return len(entries) == 1 and all(entries[0].get(key) == value for key, value in entry.items() if key != "time")


def fields_of(configuration: Mapping[str, Any]) -> Document:
    """The fields that a configuration names, in Kubernetes' FieldsV1 notation. Lists count as one field."""
    fields = _fields({key: value for key, value in configuration.items() if key not in _NOT_APPLIED and key != "metadata"})
    meta = {key: value for key, value in configuration.get("metadata", {}).items() if key not in _NOT_APPLIED_META}
    return {"f:metadata": _fields(meta), **fields} if meta else fields


def _fields(value: Mapping[str, Any]) -> Document:
    return {f"f:{key}": _fields(below) if isinstance(below, dict) else {} for key, below in value.items()}


def _remove_unnamed(document: Document, *, fields: Mapping[str, Any], configuration: Mapping[str, Any]) -> None:
    for field, below in fields.items():
        name = field.removeprefix("f:")
        if name not in document:
            continue
        if name not in configuration:
            _remove_owned(document, name=name, below=below)
        elif isinstance(document[name], dict) and isinstance(configuration[name], dict):
            _remove_unnamed(document[name], fields=below, configuration=configuration[name])


def _remove_owned(document: Document, *, name: str, below: Mapping[str, Any]) -> None:
    """An object that others have added to keeps what is theirs."""
    value = document[name]
    if below and isinstance(value, dict):
        _remove_unnamed(value, fields=below, configuration={})
        if value:
            return
    del document[name]


def _merge(document: Document, *, configuration: Document, node: Node | None) -> Document:
    if node is None:
        return strategic.merge(document, patch=configuration)
    for key, value in configuration.items():
        below = node.properties.get(key, node.values)
        document[key] = _merge_value(document.get(key), value=value, node=below)
    return document


def _merge_value(current: Any, *, value: Any, node: Node | None) -> Any:
    if isinstance(value, dict):
        return _merge(current if isinstance(current, dict) else {}, configuration=value, node=node or Node())
    if isinstance(value, list) and node is not None and node.list_type == "map" and isinstance(current, list):
        return _merge_items(current, items=value, node=node)
    return value


def _merge_items(current: list[Any], *, items: list[Any], node: Node) -> list[Any]:
    def identity(item: Any) -> list[Any]:
        return [item.get(key) for key in node.list_keys] if isinstance(item, dict) else [item]

    merged = list(current)
    for item in items:
        known = next((index for index, other in enumerate(merged) if identity(other) == identity(item)), None)
        if known is None:
            merged.append(item)
        else:
            merged[known] = _merge_value(merged[known], value=item, node=node.items)
    return merged

"""Strategic merge patch for built-in kinds: lists merged by the keys that Kubernetes' types declare, and the $-directives.

The types themselves are not here, so keys are known by field name; where the same name means two things in Kubernetes (`ports`)
the items decide. Lists not listed are replaced whole, as Kubernetes does with lists without a merge key.
"""

from __future__ import annotations

from typing import Any

from controlplane.local.apiserver.statuses import bad_request

_MERGE_KEYS: dict[str, tuple[str, ...]] = {
    "conditions": ("type",),
    "addresses": ("type",),
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "volumes": ("name",),
    "env": ("name",),
    "imagePullSecrets": ("name",),
    "secrets": ("name",),
    "resourceClaims": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "hostAliases": ("ip",),
    "podIPs": ("ip",),
    "topologySpreadConstraints": ("topologyKey",),
    "ownerReferences": ("uid",),
    "ports": ("containerPort", "port"),
}

_MERGED_PRIMITIVES = frozenset({"finalizers"})

_ORDER = "$setElementOrder/"
_DELETED = "$deleteFromPrimitiveList/"


def merge(document: Any, *, patch: dict[str, Any]) -> dict[str, Any]:
    """`document` may be changed; the result is it or replaces it."""
    directive = patch.get("$patch")
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != "$patch"}
    if directive == "delete":
        return {}
    merged: dict[str, Any] = document if isinstance(document, dict) else {}
    _retain_keys(merged, kept=patch.get("$retainKeys"))
    for key, value in patch.items():
        if not key.startswith("$"):
            _merge_member(merged, key=key, value=value)
    _apply_list_directives(merged, patch=patch)
    return merged


def _retain_keys(merged: dict[str, Any], *, kept: Any) -> None:
    if isinstance(kept, list):
        for key in [key for key in merged if key not in kept]:
            del merged[key]


def _merge_member(merged: dict[str, Any], *, key: str, value: Any) -> None:
    if value is None:
        merged.pop(key, None)
    elif isinstance(value, dict):
        merged[key] = merge(merged.get(key), patch=value)
    elif isinstance(value, list):
        merged[key] = _merge_list(merged.get(key), patch=value, name=key)
    else:
        merged[key] = value


def _apply_list_directives(merged: dict[str, Any], *, patch: dict[str, Any]) -> None:
    for key, value in patch.items():
        if key.startswith(_DELETED):
            name = key.removeprefix(_DELETED)
            merged[name] = [item for item in merged.get(name) or [] if item not in value]
    for key, value in patch.items():
        if key.startswith(_ORDER):
            name = key.removeprefix(_ORDER)
            if merged.get(name):
                merged[name] = _ordered(merged[name], order=value, name=name)


def _merge_list(current: Any, *, patch: list[Any], name: str) -> list[Any]:
    existing: list[Any] = list(current) if isinstance(current, list) else []
    if name in _MERGED_PRIMITIVES:
        return existing + [item for item in patch if item not in existing]
    key = _merge_key(name, items=[*patch, *existing])
    if key is None or any(isinstance(item, dict) and item.get("$patch") == "replace" for item in patch):
        return [item for item in patch if not (isinstance(item, dict) and "$patch" in item)]
    for item in patch:
        _merge_item(existing, item=item, key=key, name=name)
    return existing


def _merge_key(name: str, *, items: list[Any]) -> str | None:
    if not all(isinstance(item, dict) for item in items):
        return None
    for key in _MERGE_KEYS.get(name, ()):
        if any(key in item for item in items):
            return key
    return None


def _merge_item(existing: list[Any], *, item: dict[str, Any], key: str, name: str) -> None:
    if key not in item:
        raise bad_request(f"map: {item} does not contain declared merge key: {key} (in {name})")
    for index, candidate in enumerate(existing):
        if candidate.get(key) == item[key]:
            if item.get("$patch") == "delete":
                del existing[index]
            else:
                existing[index] = merge(candidate, patch=item)
            return
    if item.get("$patch") != "delete":
        existing.append(merge({}, patch=item))


def _ordered(items: list[Any], *, order: list[Any], name: str) -> list[Any]:
    """Listed ones in that order; those that the patch does not know keep their place behind them."""
    key = _merge_key(name, items=[item for item in items if isinstance(item, dict)])
    places = {_place(entry, key=key): index for index, entry in enumerate(order)}
    return sorted(items, key=lambda item: places.get(_place(item, key=key), len(places)))


def _place(item: Any, *, key: str | None) -> str:
    return repr(item.get(key)) if isinstance(item, dict) and key is not None else repr(item)

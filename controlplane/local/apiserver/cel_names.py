"""How CEL rules name fields: it cannot say one called `a-b`, so Kubernetes escapes it; a reserved word it can say either way."""

from __future__ import annotations

from typing import Any

from controlplane.local.apiserver.schema import Node, escape_name, is_reserved


def renamed(value: Any, *, node: Node) -> Any:
    """The value with its declared properties under the names that CEL can say. Parts without any such name are not copied."""
    if not node.has_escaped_names:
        return value
    if isinstance(value, dict):
        return _renamed_object(value, node=node)
    if isinstance(value, list) and node.items is not None:
        return [renamed(item, node=node.items) for item in value]
    return value


def _renamed_object(value: dict[str, Any], *, node: Node) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for key, below in value.items():
        declared = node.properties.get(key)
        known = renamed(below, node=declared or node.values or _PLAIN)
        if declared is None or is_reserved(key):
            named[key] = known
        if declared is not None:
            named[escape_name(key)] = known
    return named


_PLAIN = Node()

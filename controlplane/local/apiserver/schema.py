"""A CRD's structural schema, compiled: pruning of unknown fields and defaulting, and the door to validation.

What the rules mean is Kubernetes' (apiextensions): defaults fill in only where the object around them exists, null of a field
that is not nullable is taken for absent, unknown fields are dropped and reported. Validation is in `validation` and `rules`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from controlplane.local.apiserver.statuses import bad_request

UNSET: Any = object()


@dataclass(slots=True)
class Node:
    """One level of a schema."""

    type: str = ""
    properties: dict[str, Node] = field(default_factory=dict)
    values: Node | None = None
    """The schema of additionalProperties."""
    items: Node | None = None
    is_preserving: bool = False
    is_nullable: bool = False
    is_embedded: bool = False
    default: Any = UNSET
    list_type: str = "atomic"
    list_keys: tuple[str, ...] = ()
    has_escaped_names: bool = False
    """Whether a property here or below has a name that CEL cannot say as it is."""
    source: Mapping[str, Any] = field(default_factory=dict)
    """The schema as written."""

    def children(self) -> Iterator[tuple[str, Node]]:
        """Each schema below with how a path names it."""
        yield from self.properties.items()
        if self.values is not None:
            yield "*", self.values
        if self.items is not None:
            yield "[]", self.items


@dataclass(frozen=True, slots=True)
class Schema:
    """What a CRD version says of its objects."""

    root: Node
    source: Mapping[str, Any]
    """The openAPIV3Schema as written, for OpenAPI documents."""


def compile_schema(source: Mapping[str, Any]) -> Schema:
    return Schema(root=_compile(source), source=source)


def _compile(source: Mapping[str, Any]) -> Node:
    values = source.get("additionalProperties")
    items = source.get("items")
    node = Node(
        type=source.get("type", ""),
        properties={name: _compile(below) for name, below in source.get("properties", {}).items()},
        values=_compile(values) if isinstance(values, dict) else Node(is_preserving=True) if values is True else None,
        items=_compile(items) if isinstance(items, dict) else None,
        is_preserving=bool(source.get("x-kubernetes-preserve-unknown-fields")),
        is_nullable=bool(source.get("nullable")),
        is_embedded=bool(source.get("x-kubernetes-embedded-resource")),
        default=source.get("default", UNSET),
        list_type=source.get("x-kubernetes-list-type", "atomic"),
        list_keys=tuple(source.get("x-kubernetes-list-map-keys", ())),
        source=source,
    )
    node.has_escaped_names = any(escape_name(name) != name or below.has_escaped_names for name, below in node.children())
    return node


_RESERVED = frozenset(
    (
        *("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let"),
        *("loop", "package", "namespace", "return", "var", "void", "while"),
    )
)


def is_reserved(name: str) -> bool:
    """Whether it is a word of CEL."""
    return name in _RESERVED


def escape_name(name: str) -> str:
    """The name of a field in CEL, as Kubernetes escapes it."""
    if name in _RESERVED:
        return f"__{name}__"
    return name.replace("__", "__underscores__").replace(".", "__dot__").replace("-", "__dash__").replace("/", "__slash__")


_TYPE_META = ("apiVersion", "kind", "metadata")


def prune(document: dict[str, Any], *, schema: Schema) -> list[str]:
    """Drops unknown fields in place and returns their paths, sorted."""
    unknown: list[str] = []
    meta = {key: document.pop(key) for key in _TYPE_META if key in document}
    _prune(document, node=schema.root, path="", unknown=unknown)
    rest = dict(document)
    document.clear()
    document.update(meta)
    document.update(rest)
    return sorted(unknown)


def _prune(value: Any, *, node: Node, path: str, unknown: list[str]) -> None:
    if isinstance(value, dict):
        _prune_object(value, node=node, path=path, unknown=unknown)
    elif isinstance(value, list) and node.items is not None:
        for index, item in enumerate(value):
            _prune(item, node=node.items, path=f"{path}[{index}]", unknown=unknown)


def _prune_object(value: dict[str, Any], *, node: Node, path: str, unknown: list[str]) -> None:
    for key in list(value):
        below = node.properties.get(key, node.values)
        where = f"{path}.{key}" if path else key
        if below is not None:
            _prune(value[key], node=below, path=where, unknown=unknown)
        elif not node.is_preserving and not (node.is_embedded and key in _TYPE_META):
            del value[key]
            unknown.append(where)


def fill_in_defaults(document: dict[str, Any], *, schema: Schema) -> None:
    """Defaults in place; also turns 3.0 into 3 where an integer belongs, and integers of more than 64 bits into floats, as Go's
    JSON does."""
    _default_object(document, node=schema.root)


def _default(value: Any, *, node: Node) -> Any:
    if isinstance(value, dict):
        _default_object(value, node=node)
    elif isinstance(value, list) and node.items is not None:
        value[:] = [_default(_known(item, node=node.items), node=node.items) for item in value]
    elif isinstance(value, float) and node.type == "integer" and value.is_integer() and abs(value) < 2**63:
        return int(value)
    elif isinstance(value, int) and abs(value) >= 2**63:
        return _as_float(value)
    return value


def _as_float(number: int) -> float:
    """As Go's JSON reads an integer of more than 64 bits."""
    try:
        return float(number)
    except OverflowError as error:
        raise bad_request(f"json: cannot unmarshal number {str(number)[:32]}... into Go value of type float64") from error


def _known(item: Any, *, node: Node) -> Any:
    """A null item that may not be null takes the default, if there is one."""
    if item is None and not node.is_nullable and node.default is not UNSET:
        return copy.deepcopy(node.default)
    return item


def _default_object(value: dict[str, Any], *, node: Node) -> None:
    for key, below in node.properties.items():
        present = value.get(key, UNSET)
        if present is None and not below.is_nullable:
            del value[key]
            present = UNSET
        if present is UNSET and below.default is not UNSET:
            present = value[key] = copy.deepcopy(below.default)
        if present is not UNSET:
            value[key] = _default(present, node=below)
    if node.values is not None:
        for key in [key for key in value if key not in node.properties]:
            value[key] = _default(_known(value[key], node=node.values), node=node.values)

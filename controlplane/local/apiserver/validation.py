"""Validation of an object against its CRD's schema: `jsonschema-rs` judges, this module translates both ways.

OpenAPI v3 as Kubernetes means it becomes JSON Schema draft 4, whose verdicts become Kubernetes' causes, in its words.
Lists of type map and set are checked here, since JSON Schema has no word for them. CEL rules are in `rules`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jsonschema_rs

from controlplane.local.apiserver.paths import MISSING, field_path, quoted, value_at
from controlplane.local.apiserver.schema import Node
from controlplane.local.apiserver.statuses import Cause, bad_request

_COPIED = (
    "required", "minLength", "maxLength", "pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
    "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties", "allOf", "anyOf", "oneOf", "not",
)  # fmt: skip

_INTEGER_RANGES = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}


def _is_byte(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


_FORMATS = {"byte": _is_byte}

BLOCKING = frozenset({"FieldValueRequired", "FieldValueTypeInvalid", "FieldValueTooLong", "FieldValueNotSupported", "FieldValueTooMany"})
"""With one of these the real API server does not evaluate CEL rules, and says so."""


class Validator:
    """The compiled schema of one CRD version."""

    def __init__(self, root: Node) -> None:
        self._root = root
        schema = _translate(root)
        # The object's own metadata is checked as metadata of any kind is, not by the CRD.
        schema.get("properties", {}).pop("metadata", None)
        self._compiled = jsonschema_rs.Draft4Validator(
            schema, formats=_FORMATS, validate_formats=True, pattern_options=jsonschema_rs.RegexOptions()
        )

    def check(self, document: Mapping[str, Any], *, old: Mapping[str, Any] | None) -> list[Cause]:
        """All broken rules. With `old`, what was already so before is let pass (ratcheting, as in Kubernetes 1.33 and later)."""
        looked_at = document if old is None else {key: value for key, value in document.items() if old.get(key, MISSING) != value}
        causes = list(_duplicates(looked_at, node=self._root, steps=()))
        causes += self._explained_errors(looked_at)
        return [cause for steps, cause in causes if old is None or _has_changed(steps, document=document, old=old)]

    def _explained_errors(self, document: Mapping[str, Any]) -> list[Located]:
        try:
            if self._compiled.is_valid(document):
                return []
            return _first_of_each_place([_explain(error) for error in self._compiled.iter_errors(document)])
        except ValueError as error:  # the library's own limit: what has a wrong type was not pruned before
            raise bad_request("the object is nested too deeply") from error


def _has_changed(steps: Sequence[str | int], *, document: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    before = value_at(old, steps=steps)
    return before is MISSING or bool(before != value_at(document, steps=steps))


Located = tuple[tuple[str | int, ...], Cause]


# --- from structural schema to draft 4


def _translate(node: Node) -> dict[str, Any]:
    source = node.source
    schema: dict[str, Any] = {key: source[key] for key in _COPIED if key in source}
    kinds = _types(node)
    if kinds:
        schema["type"] = kinds
    if "enum" in source:
        schema["enum"] = [*source["enum"], None] if node.is_nullable else source["enum"]
    if source.get("format") in ("date-time", "byte"):
        schema["format"] = source["format"]
    if source.get("format") in _INTEGER_RANGES:
        lowest, highest = _INTEGER_RANGES[source["format"]]
        schema["minimum"] = max(lowest, source.get("minimum", lowest))
        schema["maximum"] = min(highest, source.get("maximum", highest))
    return schema | _translate_below(node)


def _types(node: Node) -> list[str]:
    declared = [node.type] if node.type else []
    kinds = ["integer", "string"] if node.source.get("x-kubernetes-int-or-string") else declared
    return [*kinds, "null"] if kinds and node.is_nullable else kinds


def _translate_below(node: Node) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    if node.properties:
        schema["properties"] = {name: _translate(below) for name, below in node.properties.items()}
    if node.values is not None:
        schema["additionalProperties"] = _translate(node.values)
    if node.items is not None:
        schema["items"] = _translate(node.items)
    return schema


# --- from verdicts to causes


_ORDER = ("type", "maxLength", "minLength", "pattern")
"""Of these the real server names the first broken one only, and after a wrong type nothing else about the value."""


def _first_of_each_place(explained: list[tuple[str, Located]]) -> list[Located]:
    causes: list[Located] = []
    places = {steps: _ORDER.index(kind) for kind, (steps, _) in sorted(explained, key=_rank, reverse=True) if kind in _ORDER}
    for kind, (steps, cause) in explained:
        best = places.get(steps)
        if best is None or kind == _ORDER[best] or (kind not in _ORDER and best != 0):
            causes.append((steps, cause))
    return causes


def _rank(explained: tuple[str, Located]) -> int:
    return _ORDER.index(explained[0]) if explained[0] in _ORDER else len(_ORDER)


def _explain(error: Any) -> tuple[str, Located]:
    """The keyword, and the cause at its place."""
    steps: tuple[str | int, ...] = tuple(error.instance_path)
    kind: str = error.kind.name
    if kind == "required":
        steps = (*steps, error.kind.property)
        return kind, (steps, Cause("FieldValueRequired", "Required value", field_path(steps)))
    elsewhere = _said_of_the_whole(error, kind=kind, path=field_path(steps))
    if elsewhere:
        return kind, (steps, Cause("FieldValueInvalid", f'Invalid value: "": {elsewhere}', field_path(())))
    reason, message = _EXPLANATIONS.get(kind, _plain)(error, field_path(steps))
    return kind, (steps, Cause(reason, message, field_path(steps)))


def _said_of_the_whole(error: Any, *, kind: str, path: str) -> str:
    """What the real server says without a field: of alternatives, and of integers that do not fit their format."""
    if kind in ("anyOf", "oneOf", "allOf"):
        return f'"{path}" must validate at least one schema ({kind})'
    if kind in ("minimum", "maximum"):
        for name, bounds in _INTEGER_RANGES.items():
            if error.kind.limit in bounds:
                return f"Checked value must be of type integer with format {name} in {path}"
    return ""


def _plain(error: Any, path: str) -> tuple[str, str]:
    return "FieldValueInvalid", f"Invalid value: {quoted(error.instance)}: {path} in body {error.message}"


def type_name(value: Any) -> str:
    """What the real API server calls the type of a value in its messages."""
    names: dict[type, str] = {
        str: "string",
        bool: "boolean",
        int: "integer",
        float: "number",
        dict: "object",
        list: "array",
        type(None): "null",
    }
    return names[type(value)]


def _wrong_type(error: Any, path: str) -> tuple[str, str]:
    wanted = ",".join(kind for kind in error.kind.types if kind != "null")
    found = type_name(error.instance)
    return "FieldValueTypeInvalid", f'Invalid value: "{found}": {path} in body must be of type {wanted}: "{found}"'


def _wrong_format(error: Any, path: str) -> tuple[str, str]:
    shown = quoted(error.instance)
    return "FieldValueTypeInvalid", f"Invalid value: {shown}: {path} in body must be of type {error.kind.format}: {shown}"


def _not_supported(error: Any, _path: str) -> tuple[str, str]:
    allowed = ", ".join(quoted(option) for option in error.kind.options if option is not None)
    return "FieldValueNotSupported", f"Unsupported value: {quoted(error.instance)}: supported values: {allowed}"


def _too_long(error: Any, _path: str) -> tuple[str, str]:
    return "FieldValueTooLong", f"Too long: may not be more than {error.kind.limit} bytes"


def _too_many(error: Any, _path: str) -> tuple[str, str]:
    return "FieldValueTooMany", f"Too many: {len(error.instance)}: must have at most {error.kind.limit} items"


def _says(text: str, *, shown: Callable[[Any], Any] = lambda value: value) -> Callable[[Any, str], tuple[str, str]]:
    """`text` may name {limit} or {pattern}."""

    def explain(error: Any, path: str) -> tuple[str, str]:
        said = text.format(**error.kind.as_dict())
        return "FieldValueInvalid", f"Invalid value: {quoted(shown(error.instance))}: {path} in body {said}"

    return explain


_EXPLANATIONS: dict[str, Callable[[Any, str], tuple[str, str]]] = {
    "type": _wrong_type,
    "format": _wrong_format,
    "enum": _not_supported,
    "maxLength": _too_long,
    "maxItems": _too_many,
    "maxProperties": _too_many,
    "pattern": _says("should match '{pattern}'"),
    "minLength": _says("should be at least {limit} chars long"),
    "minimum": _says("should be greater than or equal to {limit}"),
    "maximum": _says("should be less than or equal to {limit}"),
    "exclusiveMinimum": _says("should be greater than {limit}"),
    "exclusiveMaximum": _says("should be less than {limit}"),
    "minItems": _says("should have at least {limit} items", shown=len),
    "minProperties": _says("should have at least {limit} properties", shown=len),
}


# --- lists of type map and set


def _duplicates(value: Any, *, node: Node, steps: tuple[str | int, ...]) -> Iterator[Located]:
    if isinstance(value, dict):
        for key, below in value.items():
            child = node.properties.get(key, node.values)
            if child is not None and isinstance(below, (dict, list)):
                yield from _duplicates(below, node=child, steps=(*steps, key))
    elif isinstance(value, list) and node.items is not None:
        if node.list_type in ("map", "set"):
            yield from _duplicate_items(value, node=node, steps=steps)
        if node.items.properties or node.items.items or node.items.values:
            for index, item in enumerate(value):
                yield from _duplicates(item, node=node.items, steps=(*steps, index))


def _duplicate_items(value: list[Any], *, node: Node, steps: tuple[str | int, ...]) -> Iterator[Located]:
    seen: set[str] = set()
    for index, item in enumerate(value):
        identity = (
            {key: item[key] for key in sorted(node.list_keys) if key in item}
            if node.list_type == "map" and isinstance(item, dict)
            else item
        )
        shown = quoted(identity)
        if shown in seen:
            where = (*steps, index)
            yield where, Cause("FieldValueDuplicate", f"Duplicate value: {shown}", field_path(where))
        seen.add(shown)

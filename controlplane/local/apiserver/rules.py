"""CEL rules of a CRD (x-kubernetes-validations), compiled once and evaluated at the levels that they stand on.

`self` and `oldSelf` are as in Kubernetes: a rule that names oldSelf is evaluated on updates only, where both exist and can be told
to be the same thing (an item of an atomic list cannot). A rule on an unchanged value is not evaluated again (ratcheting).
What the CEL library cannot compile is refused when the CRD is written, not when an object is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import cel
import msgspec
from cel.stdlib import add_stdlib_to_context

from controlplane.local.apiserver.cel_names import renamed
from controlplane.local.apiserver.paths import field_path
from controlplane.local.apiserver.schema import Node
from controlplane.local.apiserver.statuses import Cause

Steps = tuple[str | int, ...]

_NATIVE = frozenset(
    (
        *("size", "contains", "startsWith", "endsWith", "matches", "has", "all", "exists", "exists_one", "map", "filter"),
        *("string", "int", "uint", "double", "bytes", "timestamp", "duration", "type", "dyn"),
        *("getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear"),
        *("getHours", "getMinutes", "getSeconds", "getMilliseconds"),
    )
)
"""What the library's own core offers; anything else needs its extensions, which cost some microseconds a context."""

_STRINGS_AND_SIZE = re.compile(r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|\bsize\s*\(""")


class UnsupportedRule(ValueError):
    """The CEL library does not know what the rule uses."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a level, ready to run."""

    text: str
    program: cel.Program
    counting: cel.Program
    """The same with a size() that counts characters: the library's counts the bytes of a string."""
    message: str
    message_program: cel.Program | None
    reason: str
    steps: Steps
    """Where below the level the cause points (fieldPath)."""
    needs_old: bool
    needs_library: bool

    @property
    def is_immutability(self) -> bool:
        """The commonest rule of all: Python compares the two values a hundred times faster than they are converted."""
        return self.text == "self == oldSelf"


@dataclass(slots=True)
class Level:
    """The rules of one schema level, and the levels below that have any."""

    rules: tuple[Rule, ...] = ()
    properties: dict[str, Level] = field(default_factory=dict)
    values: Level | None = None
    items: Level | None = None
    node: Node = field(default_factory=Node)
    renames: bool = False
    """Whether a rule names a field in the escaped form."""
    compares: bool = False
    """Whether a rule here or below looks at oldSelf for more than equality: those are due on unchanged values too."""
    passed: set[bytes] = field(default_factory=set)
    """Unchanged values, encoded, that have passed those rules: a status write would otherwise convert the same spec each time."""


def compile_rules(node: Node) -> Level | None:
    """None when neither the level nor any below has a rule."""
    rules = tuple(_compile(rule) for rule in node.source.get("x-kubernetes-validations", ()))
    level = Level(rules=rules, node=node, renames=any("__" in rule.text for rule in rules))
    for name, below in node.properties.items():
        compiled = compile_rules(below)
        if compiled is not None:
            level.properties[name] = compiled
    level.values = compile_rules(node.values) if node.values is not None else None
    level.items = compile_rules(node.items) if node.items is not None else None
    children = [child for child in (*level.properties.values(), level.values, level.items) if child is not None]
    level.compares = any(_compares(rule) for rule in rules) or any(child.compares for child in children)
    return level if rules or children else None


def _compares(rule: Rule) -> bool:
    return rule.needs_old and not rule.is_immutability


def _compile(rule: Mapping[str, Any]) -> Rule:
    text = rule["rule"].strip()
    program = _program(text)
    return Rule(
        text=text,
        program=program,
        counting=_program(_STRINGS_AND_SIZE.sub(lambda match: match.group(1) or "countCharacters(", text)),
        message=rule.get("message", "").strip() or f"failed rule: {text}",
        message_program=_program(rule["messageExpression"]) if rule.get("messageExpression") else None,
        reason=rule.get("reason", "FieldValueInvalid"),
        steps=_parse_field_path(rule.get("fieldPath", "")),
        needs_old="oldSelf" in program.variables(),
        needs_library=any(name not in _NATIVE and name.isidentifier() for name in program.functions()),
    )


def _program(text: str) -> cel.Program:
    try:
        return cel.compile(text)
    except ValueError as error:
        raise UnsupportedRule(f"{text}: {error}") from error


_FIELD_STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)|\['([^']+)'\]")


def _parse_field_path(text: str) -> Steps:
    return tuple(match.group(1) or match.group(2) for match in _FIELD_STEP.finditer(text))


# --- evaluation


@dataclass(frozen=True, slots=True)
class _Pair:
    """A value, what it was before (None when there is nothing to compare), and where."""

    value: Any
    old: Any
    steps: Steps

    @property
    def is_unchanged(self) -> bool:
        return self.value is self.old or (self.old is not None and bool(self.value == self.old))


def check_rules(level: Level, *, document: Mapping[str, Any], old: Mapping[str, Any] | None) -> list[Cause]:
    """All broken rules."""
    return list(_check(level, pair=_Pair(document, old, ())))


def _check(level: Level, *, pair: _Pair) -> Iterator[Cause]:
    is_unchanged = pair.is_unchanged
    if is_unchanged and not level.compares:
        return
    if is_unchanged:
        due = [rule for rule in level.rules if _compares(rule)]
        yield from _evaluate_unchanged(due, pair=pair, level=level)
    else:
        due = [rule for rule in level.rules if pair.old is not None or not rule.needs_old]
        if due:
            yield from _evaluate(due, pair=pair, level=level)
    for below, child in _descend(level, pair=pair):
        yield from _check(below, pair=child)


_PASSED_LIMIT = 4096
_PASSED_BYTES = 4096


def _evaluate_unchanged(rules: list[Rule], *, pair: _Pair, level: Level) -> Iterator[Cause]:
    if not rules:
        return
    encoded = msgspec.json.encode(pair.value)
    if encoded in level.passed:
        return
    causes = list(_evaluate(rules, pair=pair, level=level))
    if not causes and len(encoded) <= _PASSED_BYTES:
        if len(level.passed) >= _PASSED_LIMIT:
            level.passed.clear()
        level.passed.add(encoded)
    yield from causes


def _descend(level: Level, *, pair: _Pair) -> Iterator[tuple[Level, _Pair]]:
    value, old = pair.value, pair.old
    if isinstance(value, dict):
        before = old if isinstance(old, dict) else {}
        for key, below in value.items():
            child = level.properties.get(key, level.values if key not in level.node.properties else None)
            if child is not None and below is not None:
                yield child, _Pair(below, before.get(key), (*pair.steps, key))
    elif isinstance(value, list) and level.items is not None:
        known = _by_identity(old, node=level.node)
        for index, item in enumerate(value):
            yield level.items, _Pair(item, known.get(_identity(item, node=level.node)), (*pair.steps, index))


def _identity(item: Any, *, node: Node) -> str | None:
    if node.list_type != "map" or not isinstance(item, dict):
        return None
    return repr([item.get(key) for key in node.list_keys])


def _by_identity(old: Any, *, node: Node) -> dict[str | None, Any]:
    """Items of the old list by their keys; empty unless it is a list-map."""
    if node.list_type != "map" or not isinstance(old, list):
        return {}
    return {_identity(item, node=node): item for item in old}


def _evaluate(rules: list[Rule], *, pair: _Pair, level: Level) -> Iterator[Cause]:
    variables = {"self": pair.value} if pair.old is None else {"self": pair.value, "oldSelf": pair.old}
    if level.renames:
        variables = {name: renamed(value, node=level.node) for name, value in variables.items()}
    context: cel.Context | None = None
    is_ascii = True
    for rule in rules:
        if rule.is_immutability:
            if pair.value != pair.old:
                yield _cause(rule, pair=pair, message=rule.message)
            continue
        if context is None:
            context = cel.Context(variables)
            context.add_function("countCharacters", len)
            is_ascii = msgspec.json.encode(pair.value).isascii()
        if rule.needs_library:
            add_stdlib_to_context(context)
        yield from _run(rule, program=rule.program if is_ascii else rule.counting, context=context, pair=pair)


def _run(rule: Rule, *, program: cel.Program, context: cel.Context, pair: _Pair) -> Iterator[Cause]:
    try:
        holds = program.execute(context)
    except Exception as error:  # whatever the library raises, the rule did not say yes
        yield _cause(rule, pair=pair, message=f"{rule.message} (the rule could not be evaluated: {error})")
        return
    if holds is not True:
        yield _cause(rule, pair=pair, message=_message(rule, context=context))


def _message(rule: Rule, *, context: cel.Context) -> str:
    if rule.message_program is None:
        return rule.message
    try:
        text = rule.message_program.execute(context)
    except Exception:  # as in Kubernetes, a message that cannot be made falls back to the fixed one
        return rule.message
    return text.strip() if isinstance(text, str) and text.strip() else rule.message


_PREFIXES = {
    "FieldValueForbidden": "Forbidden: ",
    "FieldValueRequired": "Required value: ",
    "FieldValueDuplicate": "Duplicate value: ",
    "FieldValueInvalid": "Invalid value: ",
}


def _cause(rule: Rule, *, pair: _Pair, message: str) -> Cause:
    return Cause(rule.reason, _PREFIXES.get(rule.reason, "Invalid value: ") + message, field_path((*pair.steps, *rule.steps)))

"""A rule of a CRD, said as manifests: what it accepts, what it refuses, and which field the refusal names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.contract.http import Json
from tests.contract.objects import changed


@dataclass(frozen=True, slots=True)
class Rule:
    """`path` is the field that varies (dotted). `names` is the cause that a refusal must carry, by default the path itself."""

    path: str
    accepts: list[Any] = field(default_factory=list)
    refuses: list[Any] = field(default_factory=list)
    names: str | None = None
    given: dict[str, Any] = field(default_factory=dict)
    """Other fields, set first."""
    note: str = ""

    @property
    def named_field(self) -> str:
        """As the API server writes paths: list indexes in brackets."""
        named = self.path if self.names is None else self.names
        parts = (f"[{part}]" if part.isdigit() else f".{part}" for part in named.split("."))
        return "".join(parts).removeprefix(".")

    def apply(self, manifest: Json, value: Any) -> Json:
        for path, other in self.given.items():
            manifest = changed(manifest, path, other)
        return changed(manifest, self.path, value)


def accepted(rules: list[Rule]) -> list[Any]:
    """Parameters (rule, value) of each accepted value."""
    return [pytest.param(rule, value, id=_id(rule, value)) for rule in rules for value in rule.accepts]


def refused(rules: list[Rule]) -> list[Any]:
    """Parameters (rule, value) of each refused value."""
    return [pytest.param(rule, value, id=_id(rule, value)) for rule in rules for value in rule.refuses]


def _id(rule: Rule, value: Any) -> str:
    text = repr(value)
    if len(text) > 40:
        text = f"{len(value)}-{type(value).__name__}" if isinstance(value, str | list | dict) else text[:40]
    return f"{rule.path}{f'-{rule.note}' if rule.note else ''}={text}".replace("/", "|")

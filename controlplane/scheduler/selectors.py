"""Label selectors over the labels of Runs: read, checked, and matched as Kubernetes does."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from k8s.api.errors import InvalidRun
from k8s.api.run import LabelSelector

_OPERATORS = {"In": True, "NotIn": True, "Exists": False, "DoesNotExist": False}
"""Operator -> whether it takes values."""
_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


class Requirement(NamedTuple):
    """One condition on a label."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def holds(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        if self.operator == "In":
            return value in self.values
        if self.operator == "NotIn":
            return value not in self.values
        return (value is not None) is (self.operator == "Exists")


class Selector(NamedTuple):
    """A label selector, checked: all requirements must hold."""

    requirements: tuple[Requirement, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(requirement.holds(labels) for requirement in self.requirements)


def selector_of(selector: LabelSelector, *, field: str) -> Selector:
    """Raises InvalidRun naming what means nothing. `field` is where the selector stands."""
    requirements = []
    for key, value in sorted(selector.match_labels.items()):
        name = f"{field}.matchLabels[{key[:64]}]"
        _check_label(key, [value], key_field=name, values_field=name)
        requirements.append(Requirement(key, "In", frozenset({value})))
    for index, expression in enumerate(selector.match_expressions):
        name = f"{field}.matchExpressions[{index}]"
        if expression.operator not in _OPERATORS:
            raise InvalidRun(field=f"{name}.operator", message=f"is none of {', '.join(_OPERATORS)}")
        if _OPERATORS[expression.operator] is not bool(expression.values):
            demand = "needs values" if _OPERATORS[expression.operator] else "takes no values"
            raise InvalidRun(field=f"{name}.values", message=f"{expression.operator} {demand}")
        _check_label(expression.key, expression.values, key_field=f"{name}.key", values_field=f"{name}.values")
        requirements.append(Requirement(expression.key, expression.operator, frozenset(expression.values)))
    return Selector(tuple(requirements))


def _check_label(key: str, values: Sequence[str], *, key_field: str, values_field: str) -> None:
    """What can be no label would silently match nothing, or everything."""
    if not _KEY.fullmatch(key):
        raise InvalidRun(field=key_field, message="is no label key; write it as in app or example.com/app, with 63 characters at most")
    if not all(_VALUE.fullmatch(value) for value in values):
        raise InvalidRun(field=values_field, message="holds what is no label value; use letters, digits, '-', '_' and '.', 63 at most")

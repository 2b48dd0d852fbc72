"""Label and field selectors: parsing with Kubernetes' messages, and matching.

Fields are the few that a kind declares selectable; values are compared as strings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from controlplane.local.apiserver.statuses import bad_request

Values = Mapping[str, str]
Test = Callable[[Values], bool]


@dataclass(frozen=True, slots=True)
class Selector:
    """All tests must pass."""

    labels: tuple[Test, ...] = ()
    fields: tuple[Test, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not self.labels and not self.fields

    def matches(self, *, labels: Values, fields: Values) -> bool:
        return all(test(fields) for test in self.fields) and all(test(labels) for test in self.labels)


def parse_selector(*, labels: str, fields: str, selectable: Collection[str]) -> Selector:
    return Selector(labels=parse_label_selector(labels), fields=parse_field_selector(fields, selectable=selectable))


# --- fields: a=b,c==d,e!=f; commas and backslashes in values are escaped with a backslash

_FIELD_TERM = re.compile(r"^([^=!]+)(==|=|!=)(.*)$", re.DOTALL)


def parse_field_selector(text: str, *, selectable: Collection[str]) -> tuple[Test, ...]:
    return tuple(_parse_field_term(term, selectable=selectable) for term in _split_unescaped(text) if term)


def _split_unescaped(text: str) -> list[str]:
    return [part.replace("\0", "\\,") for part in text.replace("\\,", "\0").split(",")]


def _parse_field_term(term: str, *, selectable: Collection[str]) -> Test:
    match = _FIELD_TERM.match(term)
    if match is None:
        raise bad_request(f"invalid selector: '{term}'; can't understand '{term}'")
    name, operator, value = match.group(1), match.group(2), re.sub(r"\\([,=\\])", r"\1", match.group(3))
    if name not in selectable:
        raise bad_request(f"field label not supported: {name}")
    return _differs(name, value) if operator == "!=" else _equals(name, value)


def _equals(name: str, value: str) -> Test:
    return lambda values: values.get(name, "") == value


def _differs(name: str, value: str) -> Test:
    return lambda values: values.get(name, "") != value


# --- labels: a=b, a!=b, a in (b,c), a notin (b,c), a, !a, a>1, a<1

_TOKEN = re.compile(r"\s*(==|!=|=|!|\(|\)|,|<|>|[^\s=!(),<>]+)")
_KEY = re.compile(r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
_VALUE = re.compile(r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")
_OPERATORS = "in, notin, =, ==, !=, gt, lt"


def parse_label_selector(text: str) -> tuple[Test, ...]:
    tokens = _TOKEN.findall(text)
    tests: list[Test] = []
    while tokens:
        tests.append(_parse_requirement(tokens))
        if tokens and tokens.pop(0) != ",":
            raise _unparsable("found garbage, expected: ',' or 'end of string'")
        elif not tokens and text.rstrip().endswith(","):
            raise _unparsable("found '', expected: identifier after ','")
    return tuple(tests)


def _unparsable(problem: str) -> Exception:
    return bad_request(f"unable to parse requirement: {problem}")


def _parse_requirement(tokens: list[str]) -> Test:
    if tokens[0] == "!":
        tokens.pop(0)
        name = _take_key(tokens)
        return lambda values: name not in values
    name = _take_key(tokens)
    if not tokens or tokens[0] == ",":
        return lambda values: name in values
    operator = tokens.pop(0)
    if operator in ("=", "=="):
        return _has(name, values=[_take_value(tokens)])
    if operator == "!=":
        return _lacks(name, values=[_take_value(tokens)])
    if operator in ("in", "notin"):
        wanted = _take_set(tokens)
        return _has(name, values=wanted) if operator == "in" else _lacks(name, values=wanted)
    if operator in ("<", ">"):
        return _compares(name, operator=operator, value=_take_value(tokens))
    raise _unparsable(f"found '{operator}', expected: {_OPERATORS}")


def _take_key(tokens: list[str]) -> str:
    return _checked_key(tokens.pop(0) if tokens else "")


def _checked_key(token: str) -> str:
    if not _KEY.match(token):
        raise _unparsable(f"<nil>: Invalid value: \"{token}\": name part must consist of alphanumeric characters, '-', '_' or '.'")
    return token


def _take_value(tokens: list[str]) -> str:
    """An empty value is fine: `a=` asks for the empty string."""
    value = "" if not tokens or tokens[0] == "," else tokens.pop(0)
    if not _VALUE.match(value) or len(value) > 63:
        raise _unparsable(
            f'values[0][]: Invalid value: "{value}": a valid label must be an empty string or consist of alphanumeric characters'
        )
    return value


def _take_set(tokens: list[str]) -> list[str]:
    if not tokens or tokens.pop(0) != "(":
        raise _unparsable("found '', expected: '('")
    values: list[str] = []
    while tokens and tokens[0] != ")":
        if tokens[0] == ",":
            tokens.pop(0)
            continue
        values.append(_take_value(tokens))
    if not tokens:
        raise _unparsable("found '', expected: ',' or ')'")
    tokens.pop(0)
    return values


def _has(name: str, *, values: list[str]) -> Test:
    return lambda labels: labels.get(name) in values if name in labels else False


def _lacks(name: str, *, values: list[str]) -> Test:
    return lambda labels: labels.get(name) not in values if name in labels else True


def _compares(name: str, *, operator: str, value: str) -> Test:
    if not value.lstrip("-").isdigit():
        raise _unparsable(f"values[0][{name}]: Invalid value: \"{value}\": for 'Gt', 'Lt' operators, the value must be an integer")

    def test(labels: Values) -> bool:
        try:
            ours, theirs = int(labels[name]), int(value)
        except (KeyError, ValueError):
            return False
        return ours > theirs if operator == ">" else ours < theirs

    return test

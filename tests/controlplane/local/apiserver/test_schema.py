from __future__ import annotations

from typing import Any

import pytest

from controlplane.local.apiserver.rules import UnsupportedRule, check_rules, compile_rules
from controlplane.local.apiserver.schema import Schema, compile_schema, fill_in_defaults, prune
from controlplane.local.apiserver.validation import Validator

TEXT = {"type": "string"}


def schema(**spec: Any) -> Schema:
    return compile_schema({"type": "object", "properties": {"spec": {"type": "object", "properties": spec}}})


def test_unknown_fields_are_dropped_and_named() -> None:
    document: dict[str, Any] = {"spec": {"known": "a", "typo": 1, "list": [{"a": "b", "c": 1}], "open": {"x": 1}}, "extra": 1}
    items = {"type": "object", "properties": {"a": TEXT}}
    opened = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}

    unknown = prune(document, schema=schema(known=TEXT, list={"type": "array", "items": items}, open=opened))

    assert unknown == ["extra", "spec.list[0].c", "spec.typo"]
    assert document == {"spec": {"known": "a", "list": [{"a": "b"}], "open": {"x": 1}}}


def test_defaults_fill_in_only_where_the_object_around_them_exists() -> None:
    inner = {"type": "object", "properties": {"size": {"type": "integer", "default": 3}}}
    document: dict[str, Any] = {"spec": {"there": {}}}

    fill_in_defaults(document, schema=schema(there=inner, absent=inner))

    assert document == {"spec": {"there": {"size": 3}}}


def test_null_is_absence_unless_the_field_is_nullable() -> None:
    document: dict[str, Any] = {"spec": {"a": None, "b": None, "c": None}}

    fill_in_defaults(document, schema=schema(a=TEXT, b={**TEXT, "nullable": True}, c={**TEXT, "default": "x"}))

    assert document == {"spec": {"b": None, "c": "x"}}


def test_a_default_is_a_copy_of_its_own() -> None:
    compiled = schema(labels={"type": "object", "additionalProperties": TEXT, "default": {}})
    first: dict[str, Any] = {"spec": {}}
    second: dict[str, Any] = {"spec": {}}

    fill_in_defaults(first, schema=compiled)
    first["spec"]["labels"]["a"] = "b"
    fill_in_defaults(second, schema=compiled)

    assert second == {"spec": {"labels": {}}}


def verdict(compiled: Schema, spec: Any, *, old: Any = None) -> list[tuple[str, str]]:
    causes = Validator(compiled.root).check({"spec": spec}, old=None if old is None else {"spec": old})
    return [(cause.field, cause.message) for cause in causes]


def test_messages_are_those_of_kubernetes() -> None:
    compiled = schema(
        text={**TEXT, "maxLength": 3, "pattern": "^[a-z]+$"},
        number={"type": "integer", "format": "int32", "minimum": 1},
        choice={**TEXT, "enum": ["a", "b"]},
        when={**TEXT, "format": "date-time"},
        quantity={"x-kubernetes-int-or-string": True},
        list={"type": "array", "maxItems": 1, "items": TEXT},
    )

    assert verdict(compiled, {"text": "abc", "number": 1, "choice": "a", "when": "2026-08-09T10:00:01.000250Z", "quantity": "5m"}) == []
    assert verdict(compiled, {"text": "ABCD"}) == [("spec.text", "Too long: may not be more than 3 bytes")]
    assert verdict(compiled, {"text": "A"}) == [("spec.text", "Invalid value: \"A\": spec.text in body should match '^[a-z]+$'")]
    assert verdict(compiled, {"number": 0}) == [
        ("spec.number", "Invalid value: 0: spec.number in body should be greater than or equal to 1")
    ]
    assert verdict(compiled, {"number": "1"}) == [
        ("spec.number", 'Invalid value: "string": spec.number in body must be of type integer: "string"')
    ]
    assert verdict(compiled, {"number": 2**31}) == [
        ("<nil>", 'Invalid value: "": Checked value must be of type integer with format int32 in spec.number')
    ]
    assert verdict(compiled, {"choice": "c"}) == [("spec.choice", 'Unsupported value: "c": supported values: "a", "b"')]
    assert verdict(compiled, {"when": "yesterday"}) == [
        ("spec.when", 'Invalid value: "yesterday": spec.when in body must be of type date-time: "yesterday"')
    ]
    assert verdict(compiled, {"quantity": True})[0][0] == "spec.quantity"
    assert verdict(compiled, {"list": ["a", "b"]}) == [("spec.list", "Too many: 2: must have at most 1 items")]


def test_list_maps_and_sets_hold_no_duplicates() -> None:
    conditions = {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {"type": "object", "properties": {"type": TEXT}},
    }
    compiled = schema(conditions=conditions, names={"type": "array", "x-kubernetes-list-type": "set", "items": TEXT})

    assert verdict(compiled, {"conditions": [{"type": "A"}, {"type": "B"}], "names": ["a", "b"]}) == []
    assert verdict(compiled, {"conditions": [{"type": "A"}, {"type": "A"}]}) == [("spec.conditions[1]", 'Duplicate value: {"type":"A"}')]
    assert verdict(compiled, {"names": ["a", "a"]}) == [("spec.names[1]", 'Duplicate value: "a"')]


def test_what_was_already_wrong_may_stay_wrong() -> None:
    compiled = schema(text={**TEXT, "maxLength": 3}, other=TEXT)

    assert verdict(compiled, {"text": "too long", "other": "new"}, old={"text": "too long"}) == []
    assert verdict(compiled, {"text": "too long!"}, old={"text": "too long"}) != []


def ruled(*rules: Any, **properties: Any) -> Any:
    source = {"type": "object", "properties": properties, "x-kubernetes-validations": list(rules)}
    return compile_rules(compile_schema({"type": "object", "properties": {"spec": source}}).root)


def broken(level: Any, spec: Any, *, old: Any = None) -> list[tuple[str, str]]:
    causes = check_rules(level, document={"spec": spec}, old=None if old is None else {"spec": old})
    return [(cause.field, cause.message) for cause in causes]


def test_a_rule_says_its_message_at_its_field_path() -> None:
    level = ruled({"rule": "!has(self.a) || self.a != 'bad'", "message": "a is bad", "fieldPath": ".a"}, a=TEXT)

    assert broken(level, {"a": "good"}) == []
    assert broken(level, {"a": "bad"}) == [("spec.a", "Invalid value: a is bad")]


def test_a_message_expression_wins_over_the_message() -> None:
    rule = {"rule": "self.a == 'x'", "message": "no", "messageExpression": "'a is ' + self.a", "reason": "FieldValueForbidden"}

    assert broken(ruled(rule, a=TEXT), {"a": "y"}) == [("spec", "Forbidden: a is y")]


def test_a_transition_rule_needs_an_old_value() -> None:
    level = compile_rules(
        compile_schema(
            {"type": "object", "properties": {"spec": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}}}
        ).root
    )
    assert level is not None

    assert check_rules(level, document={"spec": "a"}, old=None) == []
    assert check_rules(level, document={"spec": "a"}, old={}) == []
    assert check_rules(level, document={"spec": "a"}, old={"spec": "a"}) == []
    assert check_rules(level, document={"spec": "a"}, old={"spec": "b"})[0].message == "Invalid value: failed rule: self == oldSelf"


def test_a_transition_rule_holds_on_unchanged_values_too() -> None:
    level = ruled({"rule": "self.n > oldSelf.n", "message": "n must grow"}, n={"type": "integer"})

    assert broken(level, {"n": 2}, old={"n": 1}) == []
    assert broken(level, {"n": 1}, old={"n": 1}) == [("spec", "Invalid value: n must grow")]
    assert broken(level, {"n": 1}, old={"n": 1}) == [("spec", "Invalid value: n must grow")]


def test_a_rule_on_an_unchanged_value_is_not_asked_again() -> None:
    assert broken(ruled({"rule": "false"}), {"a": 1}, old={"a": 1}) == []


def test_items_of_a_list_map_are_known_by_their_keys_and_others_are_not() -> None:
    item = {"type": "object", "properties": {"k": TEXT, "v": TEXT}, "x-kubernetes-validations": [{"rule": "self.v == oldSelf.v"}]}
    keyed = {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": item}
    old = {"l": [{"k": "a", "v": "1"}, {"k": "b", "v": "2"}]}
    moved = {"l": [{"k": "b", "v": "x"}, {"k": "a", "v": "1"}]}

    assert [field for field, _ in broken(ruled(l=keyed), moved, old=old)] == ["spec.l[0]"]
    assert broken(ruled(l={"type": "array", "items": item}), moved, old=old) == []


def test_size_counts_characters_not_bytes() -> None:
    """The library's own counts bytes of UTF-8; Kubernetes counts code points."""
    level = ruled({"rule": "size(self.a) <= 3 && self.a.size() <= 3 && 'size(' != self.a"}, a=TEXT)

    assert broken(level, {"a": "äöü"}) == []
    assert broken(level, {"a": "äöüß"}) != []


@pytest.mark.parametrize("rule", ["has(self.function)", "has(self.__function__)", "has(self.a__dash__b)"])
def test_fields_that_cel_cannot_name_have_escaped_names(rule: str) -> None:
    level = ruled({"rule": rule}, **{"function": TEXT, "a-b": TEXT})

    assert broken(level, {"function": "x", "a-b": "y"}) == []
    assert broken(level, {}) != []


def test_the_string_functions_of_kubernetes_are_there() -> None:
    assert broken(ruled({"rule": "self.a.lowerAscii() == 'x' && self.a.split(',').size() == 1"}, a=TEXT), {"a": "X"}) == []


def test_a_rule_that_cannot_be_compiled_is_refused_with_its_text() -> None:
    with pytest.raises(UnsupportedRule, match=r"self\.\?a"):
        ruled({"rule": "self.?a.hasValue()"})

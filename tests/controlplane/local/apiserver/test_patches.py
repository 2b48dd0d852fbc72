from __future__ import annotations

from typing import Any

import pytest

from controlplane.local.apiserver import apply, patches, strategic
from controlplane.local.apiserver.schema import compile_schema
from controlplane.local.apiserver.statuses import Refused


def test_a_merge_patch_removes_by_null_and_merges_objects() -> None:
    assert patches.merge({"a": {"b": 1, "c": 2}, "d": [1]}, patch={"a": {"b": None, "e": {"f": None}}, "d": [2]}) == {
        "a": {"c": 2, "e": {}},
        "d": [2],
    }


def test_a_test_against_null_passes_for_an_absent_member() -> None:
    assert patches.apply_operations({"status": {}}, operations=[{"op": "test", "path": "/status/attempt", "value": None}]) == {"status": {}}


def test_an_earlier_operation_is_seen_by_a_later_test_against_null() -> None:
    operations = [{"op": "add", "path": "/a", "value": 1}, {"op": "test", "path": "/a", "value": None}]

    with pytest.raises(Refused) as refused:
        patches.apply_operations({}, operations=operations)

    assert refused.value.code == 422


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/a", "value": 2},
        {"op": "test", "path": "/none", "value": 1},
        {"op": "remove", "path": "/none"},
        {"op": "add", "path": "/none/below", "value": 1},
        {"op": "frob", "path": "/a"},
        {"op": "add", "value": 1},
        {"op": "replace", "path": "/none/below", "value": 1},
    ],
)
def test_an_operation_that_cannot_be_done_is_unprocessable(operation: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        patches.apply_operations({"a": 1}, operations=[operation])

    assert refused.value.code == 422


def test_replace_adds_an_absent_member_as_go_does() -> None:
    assert patches.apply_operations({}, operations=[{"op": "replace", "path": "/a", "value": 1}]) == {"a": 1}


def test_conditions_are_merged_by_type() -> None:
    status = {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "True"}]}

    merged = strategic.merge(status, patch={"conditions": [{"type": "Ready", "status": "False"}, {"type": "New", "status": "True"}]})

    assert [(item["type"], item["status"]) for item in merged["conditions"]] == [("Ready", "False"), ("Other", "True"), ("New", "True")]


def test_directives_delete_replace_and_order() -> None:
    document = {"containers": [{"name": "a", "image": "1"}, {"name": "b"}, {"name": "c"}], "finalizers": ["x", "y"], "keep": 1, "drop": 2}
    patch = {
        "containers": [{"name": "b", "$patch": "delete"}, {"name": "d"}],
        "$setElementOrder/containers": [{"name": "d"}, {"name": "c"}, {"name": "a"}],
        "$deleteFromPrimitiveList/finalizers": ["x"],
        "drop": None,
    }

    merged = strategic.merge(document, patch=patch)

    assert [item["name"] for item in merged["containers"]] == ["d", "c", "a"]
    assert (merged["finalizers"], merged["keep"], "drop" in merged) == (["y"], 1, False)
    assert strategic.merge({"a": 1}, patch={"$patch": "replace", "b": 2}) == {"b": 2}
    assert strategic.merge({"s": {"type": "x", "old": 1}}, patch={"s": {"$retainKeys": ["type"], "type": "y"}}) == {"s": {"type": "y"}}


def test_lists_without_a_merge_key_are_replaced() -> None:
    assert strategic.merge({"args": ["a"], "tolerations": [{"key": "a"}]}, patch={"args": ["b"], "tolerations": []}) == {
        "args": ["b"],
        "tolerations": [],
    }


TEXT = {"type": "string"}
SCHEMA = compile_schema({"type": "object", "properties": {"spec": {"type": "object", "properties": {"a": TEXT, "b": TEXT}}}}).root


def applied(current: dict[str, Any] | None, spec: dict[str, Any], *, manager: str = "me") -> dict[str, Any]:
    configuration = {"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "x", "labels": {"l": "1"}}, "spec": spec}
    apply.check_applier(current, manager=manager, is_forced=True)
    return apply.apply(current, configuration=configuration, manager=manager, schema=SCHEMA)


def test_an_apply_removes_what_its_applier_no_longer_names_and_nothing_else() -> None:
    first = applied(None, {"a": "1", "b": "2"})
    first["spec"]["others"] = "kept"

    second = applied(first, {"a": "3"})

    assert second["spec"] == {"a": "3", "others": "kept"}


def test_an_apply_that_changes_nothing_keeps_its_time() -> None:
    first = applied(None, {"a": "1"})
    first["metadata"]["managedFields"][0]["time"] = "2020-01-01T00:00:00Z"

    assert applied(first, {"a": "1"})["metadata"]["managedFields"][0]["time"] == "2020-01-01T00:00:00Z"


def test_a_second_applier_is_told_what_works() -> None:
    with pytest.raises(Refused, match="--field-manager=me") as refused:
        applied(applied(None, {"a": "1"}), {"a": "1"}, manager="other")

    assert refused.value.code == 501


def test_an_unforced_apply_is_told_what_works() -> None:
    with pytest.raises(Refused, match="--force-conflicts") as refused:
        apply.check_applier(None, manager="me", is_forced=False)

    assert refused.value.code == 501

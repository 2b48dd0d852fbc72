"""When an object is written, and when not."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.controllers.applying import Applied, contains, deployment_needs_apply, without_type

DEPLOYMENT: dict[str, Any] = {"kind": "Deployment", "metadata": {"name": "d", "labels": {"a": "b"}}, "spec": {"cpu": "1000m"}}
LIVE: dict[str, Any] = {
    "metadata": {"name": "d", "uid": "u", "generation": 4, "labels": {"a": "b", "c": "d"}},
    "spec": {"cpu": "1", "filled": "in"},
}
APPLIED = Applied(digest="x", uid="u", generation=4)


def live(**metadata: Any) -> dict[str, Any]:
    return {**LIVE, "metadata": {**LIVE["metadata"], **metadata}}


def test_what_the_api_server_fills_in_or_rewrites_is_no_reason_to_write_a_deployment_again() -> None:
    assert not deployment_needs_apply(DEPLOYMENT, digest="x", live=LIVE, applied=APPLIED)


@pytest.mark.parametrize(
    ("digest", "found", "applied"),
    [
        ("y", LIVE, APPLIED),
        ("x", None, APPLIED),
        ("x", LIVE, None),
        ("x", live(generation=5), APPLIED),
        ("x", live(uid="v"), APPLIED),
        ("x", live(labels={}), APPLIED),
    ],
    ids=["wanted otherwise", "missing", "not known", "spec changed", "replaced", "label gone"],
)
def test_a_deployment_is_written_when(digest: str, found: dict[str, Any] | None, applied: Applied | None) -> None:
    assert deployment_needs_apply(DEPLOYMENT, digest=digest, live=found, applied=applied)


OWNERS = [{"uid": "ours"}]
ROLE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Role",
    "metadata": {"name": "r", "ownerReferences": OWNERS},
    "rules": [1],
    "ingress": [],
}


@pytest.mark.parametrize(
    ("found", "is_as_wanted"),
    [
        ({"metadata": {"name": "r", "uid": "u", "ownerReferences": OWNERS}, "rules": [1]}, True),
        ({"metadata": {"name": "r", "ownerReferences": [{"uid": "others"}, *OWNERS]}, "rules": [1], "more": 1}, True),
        ({"metadata": {"name": "r", "ownerReferences": OWNERS}, "rules": [1, 2]}, False),
        ({"metadata": {"name": "r", "ownerReferences": OWNERS}, "rules": [1], "ingress": [{}]}, False),
        ({"metadata": {"name": "r"}, "rules": [1]}, False),
        ({"metadata": {"name": "r", "ownerReferences": OWNERS}}, False),
    ],
    ids=["filled in", "others own it too", "list is longer", "list that was empty", "owner gone", "field gone"],
)
def test_other_objects_are_compared_by_what_is_ours(found: dict[str, Any], *, is_as_wanted: bool) -> None:
    assert contains(found, without_type(ROLE)) is is_as_wanted

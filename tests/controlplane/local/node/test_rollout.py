"""What a Deployment wants done about its Pods."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.local.node.rollout import TEMPLATE_HASH_LABEL, Rollout, is_ready, plan_rollout, template_hash

Json = dict[str, Any]
NOW = datetime(2026, 8, 9, 10, 0, 0, tzinfo=UTC)


def deployment(*, replicas: int = 1, command: str = "serve", status: Json | None = None) -> Json:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "runtime", "command": [command]}]}}
    metadata = {"name": "web", "namespace": "team", "uid": "deployment-uid", "generation": 3}
    return {"metadata": metadata, "spec": {"replicas": replicas, "template": template}, "status": status or {}}


def pod(name: str, *, of: Json, ready: bool = True, going: bool = False, phase: str = "Running", age: int = 0) -> Json:
    labels = {"app": "web", TEMPLATE_HASH_LABEL: template_hash(of["spec"]["template"])}
    metadata: Json = {"name": name, "labels": labels, "creationTimestamp": (NOW - timedelta(seconds=age)).isoformat()}
    if going:
        metadata["deletionTimestamp"] = NOW.isoformat()
    return {"metadata": metadata, "status": {"phase": phase, "conditions": [{"type": "Ready", "status": str(ready)}]}}


def plan(wanted: Json, *pods: Json, now: datetime = NOW) -> Rollout:
    return plan_rollout(wanted, pods=pods, node_name="local", random_suffix=lambda: "x2b4c", now=now)


def names(pods: list[Json]) -> list[str]:
    return [one["metadata"]["name"] for one in pods]


def test_a_new_deployment_gets_all_its_pods_at_once() -> None:
    assert len(plan(deployment(replicas=3)).create) == 3


def test_a_pod_belongs_to_its_deployment_and_carries_its_template() -> None:
    wanted = deployment()
    (body,) = plan(wanted).create
    assert body["metadata"]["name"] == "web-x2b4c"
    assert body["metadata"]["labels"] == {"app": "web", TEMPLATE_HASH_LABEL: template_hash(wanted["spec"]["template"])}
    (owner,) = body["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("Deployment", "deployment-uid", True)
    assert body["spec"] == {"containers": [{"name": "runtime", "command": ["serve"]}], "nodeName": "local"}


def test_what_is_as_wanted_is_left_alone() -> None:
    wanted = deployment(replicas=2)
    rollout = plan(wanted, pod("a", of=wanted), pod("b", of=wanted))
    assert not rollout.create
    assert not rollout.delete


def test_a_pod_that_goes_or_has_ended_is_replaced() -> None:
    wanted = deployment(replicas=2)
    assert len(plan(wanted, pod("a", of=wanted, going=True), pod("b", of=wanted, phase="Failed")).create) == 2


def test_scaling_down_takes_the_unready_then_the_youngest() -> None:
    wanted = deployment(replicas=1)
    pods = [pod("old", of=wanted, age=60), pod("young", of=wanted, age=1), pod("unready", of=wanted, ready=False, age=90)]
    assert names(plan(wanted, *pods).delete) == ["unready", "young"]


def test_a_changed_template_surges_by_one_before_an_old_pod_goes() -> None:
    old, new = deployment(replicas=2), deployment(replicas=2, command="serve-better")
    first = plan(new, pod("a", of=old), pod("b", of=old))
    assert (len(first.create), names(first.delete)) == (1, [])
    second = plan(new, pod("a", of=old), pod("b", of=old), pod("c", of=new, ready=False))
    assert (len(second.create), names(second.delete)) == (0, [])
    third = plan(new, pod("a", of=old, age=9), pod("b", of=old), pod("c", of=new))
    assert (len(third.create), names(third.delete)) == (0, ["b"])


def test_a_rollout_that_never_got_ready_is_replaced_by_the_next() -> None:
    good, broken, fixed = deployment(), deployment(command="broken"), deployment(command="fixed")
    rollout = plan(fixed, pod("good", of=good), pod("broken", of=broken, ready=False))
    assert names(rollout.delete) == ["broken"]


def test_the_hash_changes_with_the_template_only() -> None:
    assert template_hash({"a": 1, "b": 2}) == template_hash({"b": 2, "a": 1})
    assert template_hash({"a": 1}) != template_hash({"a": 2})


def test_status_counts_and_names_the_generation_it_saw() -> None:
    wanted = deployment(replicas=2)
    status = plan(wanted, pod("a", of=wanted), pod("b", of=wanted, ready=False)).status
    assert status["observedGeneration"] == 3
    counts = {key: status[key] for key in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas")}
    assert counts == {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 1, "availableReplicas": 1, "unavailableReplicas": 1}
    assert {one["type"]: one["status"] for one in status["conditions"]} == {"Available": "False", "Progressing": "True"}


def test_status_stays_the_same_while_nothing_changes() -> None:
    wanted = deployment()
    first = plan(wanted, pod("a", of=wanted)).status
    assert plan(deployment(status=first), pod("a", of=wanted), now=NOW + timedelta(hours=1)).status == first


def test_a_transition_time_moves_only_with_the_status() -> None:
    wanted = deployment()
    up = plan(wanted, pod("a", of=wanted)).status
    down = plan(deployment(status=up), pod("a", of=wanted, ready=False), now=NOW + timedelta(seconds=5)).status
    times = {one["type"]: one["lastTransitionTime"] for one in down["conditions"]}
    assert times == {"Available": "2026-08-09T10:00:05.000000Z", "Progressing": "2026-08-09T10:00:00.000000Z"}


@given(
    replicas=st.integers(0, 6),
    start=st.lists(st.tuples(st.sampled_from(["v1", "v2", "v3"]), st.booleans()), max_size=8),
    chance=st.randoms(use_true_random=False),
)
@settings(max_examples=200, deadline=None)
def test_every_start_converges_without_losing_readiness(replicas: int, start: list[tuple[str, bool]], chance: Any) -> None:
    """Play the node: what is created gets ready in any order, what is deleted goes. Ready Pods never fall below what was and is wanted."""
    wanted = deployment(replicas=replicas, command="v3")
    pods = {str(index): pod(str(index), of=deployment(command=version), ready=ready) for index, (version, ready) in enumerate(start)}
    floor = min(replicas, sum(is_ready(one) for one in pods.values()))
    for step in range(60):
        rollout = plan(wanted, *pods.values())
        for name in names(rollout.delete):
            del pods[name]
        for index, _ in enumerate(rollout.create):
            pods[f"new-{step}-{index}"] = pod(f"new-{step}-{index}", of=wanted, ready=False)
        assert sum(is_ready(one) for one in pods.values()) >= floor
        unready = [name for name, one in pods.items() if not is_ready(one) and name.startswith("new")]
        if unready:
            name = chance.choice(unready)
            pods[name] = pod(name, of=wanted)
        elif not rollout.create and not rollout.delete:
            break
    current = [one for one in pods.values() if one["metadata"]["labels"] == pod("x", of=wanted)["metadata"]["labels"]]
    stuck = sum(not is_ready(one) for one in current)
    if not stuck:
        assert len(pods) == len(current) == replicas


@pytest.mark.parametrize("length", [10, 57, 63])
def test_a_long_name_leaves_room_for_the_suffix(length: int) -> None:
    wanted = deployment()
    wanted["metadata"]["name"] = "w" * length
    (body,) = plan(wanted).create
    assert len(body["metadata"]["name"]) <= 63

"""What a Runtime says of itself."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controlplane.controllers.runtime_status import Progress, Stall, desired_status, progress_of
from k8s.api.runtime import Runtime, RuntimeStatus
from tests.controlplane.controllers.objects import EPOCH, make_runtime


def deployment(*, ready: int, updated: int | None = None, observed: int = 2, **status: Any) -> dict[str, Any]:
    counts = {"replicas": max(ready, 2), "readyReplicas": ready, "updatedReplicas": ready if updated is None else updated}
    return {"metadata": {"generation": 2}, "status": {"observedGeneration": observed, **counts, **status}}


def verdicts(runtime: Runtime, progress: Progress) -> dict[str, str]:
    change = desired_status(runtime, progress, now=EPOCH)
    assert change is not None
    return {condition["type"]: condition["status"] for condition in change["conditions"]}


def test_all_pods_ready_is_ready() -> None:
    runtime = make_runtime(replicas=2)
    progress = progress_of(runtime, deployment(ready=2), stall=None)
    assert verdicts(runtime, progress) == {"Ready": "True", "Reconciling": "False", "Stalled": "False"}


def test_too_few_old_or_unobserved_pods_are_reconciling() -> None:
    runtime = make_runtime(replicas=2)
    for unfinished in (None, deployment(ready=1), deployment(ready=2, updated=1), deployment(ready=2, observed=1)):
        progress = progress_of(runtime, unfinished, stall=None)
        assert verdicts(runtime, progress) == {"Ready": "False", "Reconciling": "True", "Stalled": "False"}


def test_a_refused_template_is_stalled_and_says_why() -> None:
    runtime = make_runtime()
    progress = progress_of(runtime, deployment(ready=1), stall=Stall("InvalidTemplate", "spec.template: no"))
    change = desired_status(runtime, progress, now=EPOCH)
    assert change is not None
    stalled = next(condition for condition in change["conditions"] if condition["type"] == "Stalled")
    assert (stalled["status"], stalled["reason"], stalled["message"]) == ("True", "InvalidTemplate", "spec.template: no")
    assert change["readyReplicas"] == 1


def test_what_the_deployment_gave_up_on_is_stalled() -> None:
    failed = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"}
    progress = progress_of(make_runtime(), deployment(ready=0, conditions=[failed]), stall=None)
    assert progress.stall == Stall("FailedCreate", "exceeded quota")


def test_an_unchanged_status_is_not_written_again() -> None:
    runtime = make_runtime(replicas=2)
    progress = progress_of(runtime, deployment(ready=2), stall=None)
    change = desired_status(runtime, progress, now=EPOCH)
    status = msgspec.convert(change, RuntimeStatus)
    again = msgspec.structs.replace(runtime, status=status)
    assert desired_status(again, progress, now=EPOCH) is None


def kstatus(runtime: Runtime) -> str:
    """What tools that know no Runtime make of one: kstatus' rules for custom resources, as its documentation gives them."""
    conditions = {each.type: each.status for each in runtime.status.conditions}
    if runtime.status.observed_generation != runtime.metadata.generation or conditions.get("Reconciling") == "True":
        return "InProgress"
    if conditions.get("Stalled") == "True":
        return "Failed"
    return "Current" if conditions.get("Ready") == "True" else "InProgress"


@pytest.mark.parametrize(
    ("found", "stall", "expected"),
    [
        (None, None, "InProgress"),
        (deployment(ready=1), None, "InProgress"),
        (deployment(ready=2, updated=1), None, "InProgress"),
        (deployment(ready=2), None, "Current"),
        (deployment(ready=2), Stall("InvalidTemplate", "no"), "Failed"),
    ],
)
def test_tools_that_know_no_runtime_understand_its_status(found: dict[str, Any] | None, stall: Stall | None, expected: str) -> None:
    runtime = make_runtime(replicas=2)
    change = desired_status(runtime, progress_of(runtime, found, stall=stall), now=EPOCH)
    told = msgspec.structs.replace(runtime, status=msgspec.convert(change, RuntimeStatus))
    assert kstatus(told) == expected
    changed = msgspec.structs.replace(told, metadata=msgspec.structs.replace(told.metadata, generation=4))
    assert kstatus(changed) == "InProgress"

"""What a Pod waits for, in a few words, and that a Runtime tells it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controlplane.controllers.pod_troubles import RuntimePod, trouble_of, worst_trouble
from k8s.api import names
from k8s.client import PODS, RUNTIMES, strategic_patch
from tests.cluster.server import ApiServer
from tests.controlplane.controllers.runtimes import find_condition, reconciling
from tests.controlplane.plane import World, controllers

NO_NODE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available"}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"containerStatuses": [{"name": "runtime", "state": {"waiting": {"reason": reason, "message": message}}}]}


def make_pod(name: str = "p", *, status: dict[str, Any], **metadata: Any) -> RuntimePod:
    return msgspec.convert({"metadata": {"name": name, **metadata}, "status": status}, RuntimePod)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({}, ""),
        (waiting("ContainerCreating"), ""),
        ({"containerStatuses": [{"name": "runtime", "state": {"running": {}}}]}, ""),
        ({"conditions": [NO_NODE]}, "Pod p: Unschedulable: 0/1 nodes are available"),
        (waiting("ErrImagePull", "no such image"), "Pod p, container runtime: ErrImagePull: no such image"),
        (waiting("CrashLoopBackOff", "back-off 10s"), "Pod p, container runtime: CrashLoopBackOff"),
    ],
)
def test_a_pod_says_what_it_waits_for_if_that_does_not_pass(status: dict[str, Any], expected: str) -> None:
    assert trouble_of(make_pod(status=status)) == expected


def test_a_pod_that_is_to_go_has_no_trouble() -> None:
    assert trouble_of(make_pod(status=waiting("ErrImagePull"), deletionTimestamp="2026-08-09T10:00:00Z")) == ""


def test_of_many_it_is_always_the_same() -> None:
    pods = [make_pod(name, status=waiting("ErrImagePull")) for name in ("b", "a")]
    assert worst_trouble(pods) == worst_trouble(reversed(pods)) == "Pod a, container runtime: ErrImagePull"


@pytest.mark.slow
async def test_a_runtime_tells_why_its_pods_do_not_get_ready(server: ApiServer, world: World) -> None:
    with controllers(server):
        await world.create_runtime("bash")
        await reconciling(world, "bash")
        metadata = {"name": "pod", "labels": {names.RUNTIME_LABEL: "bash"}}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [{"name": "runtime", "image": "x"}]}}
        await world.client.create(PODS, pod, namespace=world.namespace)
        for status, told in (
            (waiting("ErrImagePull", "no such image"), "; Pod pod, container runtime: ErrImagePull: no such image"),
            (waiting("ContainerCreating"), ""),
        ):
            await world.client.patch(PODS, "pod", strategic_patch({"status": status}), namespace=world.namespace, subresource="status")
            expected = f"0 of 1 Pods are ready{told}"
            for type_ in ("Ready", "Reconciling"):
                await world.object_that(
                    RUNTIMES,
                    "bash",
                    lambda runtime, type_=type_, expected=expected: _message(runtime, type_) == expected,  # type: ignore[misc]
                )


def _message(runtime: Any, type_: str) -> str:
    found = find_condition(runtime, type_)
    return found.message if found is not None else ""

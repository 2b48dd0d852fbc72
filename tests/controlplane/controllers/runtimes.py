"""What tests of the Runtime controller share: a Runtime's objects and conditions, and the hands of a Deployment controller."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from k8s.api.meta import Condition
from k8s.api.runtime import Runtime
from k8s.client import (
    DEPLOYMENTS,
    NETWORK_POLICIES,
    ROLE_BINDINGS,
    ROLES,
    RUNTIMES,
    SERVICE_ACCOUNTS,
    NotFound,
    Resource,
    merge_patch,
)
from tests.controlplane.plane import World

OBJECTS: dict[str, tuple[Resource[Any], str]] = {
    "account": (SERVICE_ACCOUNTS, "kruntimes-runtimed"),
    "role": (ROLES, "kruntimes-runtimed"),
    "binding": (ROLE_BINDINGS, "kruntimes-runtimed-kruntimes-runtimed"),
    "policy": (NETWORK_POLICIES, "runtime-bash"),
    "deployment": (DEPLOYMENTS, "runtime-bash"),
}
"""Of a Runtime `bash`, in the order in which they are made."""


def condition(runtime: Runtime, type_: str) -> str:
    found = find_condition(runtime, type_)
    return found.status if found is not None else ""


def find_condition(runtime: Runtime, type_: str) -> Condition | None:
    return next((each for each in runtime.status.conditions if each.type == type_), None)


async def reconciling(world: World, name: str) -> Runtime:
    """All its objects are there: the controller waits for Pods."""
    return await world.object_that(RUNTIMES, name, lambda runtime: condition(runtime, "Reconciling") == "True")


async def play_deployment_controller(world: World, name: str, *, ready: int) -> None:
    deployment = await world.client.get(DEPLOYMENTS, name, namespace=world.namespace)
    counts = {"replicas": ready, "updatedReplicas": ready, "readyReplicas": ready, "availableReplicas": ready}
    status = {"observedGeneration": deployment["metadata"]["generation"], **counts}
    await world.client.patch(DEPLOYMENTS, name, merge_patch({"status": status}), namespace=world.namespace, subresource="status")


async def remove(world: World, resource: Resource[Any], name: str) -> None:
    """Whether or not it is there: nobody collects garbage beside a bare API server."""
    with suppress(NotFound):
        await world.client.delete(resource, name, namespace=world.namespace, propagation_policy="Background")


async def has(world: World, resource: Resource[Any], name: str) -> bool:
    try:
        await world.client.get(resource, name, namespace=world.namespace)
    except NotFound:
        return False
    return True

"""Rights go when nobody needs them any more, and not before: a Pod that drains reports with them what its Runs came to."""

from __future__ import annotations

from typing import Any

import pytest

from k8s.api import names
from k8s.client import DEPLOYMENTS, NETWORK_POLICIES, PODS, ROLE_BINDINGS, ROLES, RUNS, RUNTIMES, SERVICE_ACCOUNTS, merge_patch
from tests.cluster.server import ApiServer
from tests.controlplane.controllers.runtimes import has, reconciling, remove
from tests.controlplane.plane import World, controllers

pytestmark = pytest.mark.slow

ACCOUNT = ROLE = "kruntimes-runtimed"
BINDING = "kruntimes-runtimed-kruntimes-runtimed"


async def delete_runtime(world: World, name: str) -> None:
    """With what garbage collection takes along, on a cluster."""
    await world.client.delete(RUNTIMES, name, namespace=world.namespace)
    await remove(world, NETWORK_POLICIES, f"runtime-{name}")
    await remove(world, DEPLOYMENTS, f"runtime-{name}")


async def create_pod(world: World, name: str, *, account: str) -> None:
    spec = {"serviceAccountName": account, "containers": [{"name": "runtime", "image": "x"}]}
    metadata = {"name": name, "labels": {names.RUNTIME_LABEL: "bash"}}
    await world.client.create(PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}, namespace=world.namespace)


async def everything_has_been_looked_at(world: World) -> None:
    """What happened elsewhere later has come to its end, so what happened before was seen."""
    elsewhere = World(world.client)
    await elsewhere.begin()
    await elsewhere.create_runtime("bash")
    await reconciling(elsewhere, "bash")
    await create_pod(elsewhere, "pod", account=ACCOUNT)
    await delete_runtime(elsewhere, "bash")
    await elsewhere.delete_pod("pod")
    await elsewhere.is_gone(ROLES, ROLE)


async def test_rights_outlive_the_last_runtime_until_its_pods_and_artifacts_are_gone(server: ApiServer, world: World) -> None:
    with controllers(server):
        await world.create_runtime("bash")
        await reconciling(world, "bash")
        await create_pod(world, "draining", account=ACCOUNT)
        await world.create_run("kept")
        kept = {"metadata": {"finalizers": [names.ARTIFACT_CLEANUP_FINALIZER]}}
        await world.client.patch(RUNS, "kept", merge_patch(kept), namespace=world.namespace)
        await delete_runtime(world, "bash")
        await everything_has_been_looked_at(world)
        assert await has(world, ROLE_BINDINGS, BINDING)
        await world.delete_pod("draining")
        await everything_has_been_looked_at(world)
        assert await has(world, ROLE_BINDINGS, BINDING)
        await world.client.patch(RUNS, "kept", merge_patch({"metadata": {"finalizers": None}}), namespace=world.namespace)
        await world.is_gone(ROLES, ROLE)
        await world.is_gone(ROLE_BINDINGS, BINDING)
        await world.is_gone(SERVICE_ACCOUNTS, ACCOUNT)


async def test_what_the_last_runtime_left_while_no_controller_ran_is_found(server: ApiServer, world: World) -> None:
    with controllers(server):
        await world.create_runtime("bash")
        await reconciling(world, "bash")
    await delete_runtime(world, "bash")
    with controllers(server):
        await world.is_gone(ROLES, ROLE)
        await world.is_gone(SERVICE_ACCOUNTS, ACCOUNT)


async def test_what_others_need_stays_with_them(server: ApiServer, world: World) -> None:
    with controllers(server):
        for name in ("bash", "other"):
            await world.create_runtime(name)
            await reconciling(world, name)
        await delete_runtime(world, "bash")
        await everything_has_been_looked_at(world)
        assert await has(world, ROLES, ROLE)
        assert await has(world, ROLE_BINDINGS, BINDING)
        assert await has(world, SERVICE_ACCOUNTS, ACCOUNT)


async def test_a_service_account_that_we_did_not_create_never_goes(server: ApiServer, world: World) -> None:
    mine: dict[str, Any] = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "mine"}}
    await world.client.create(SERVICE_ACCOUNTS, mine, namespace=world.namespace)
    with controllers(server):
        template = {"spec": {"serviceAccountName": "mine", "containers": [{"name": "runtime", "image": "x"}]}}
        await world.create_runtime("bash", template=template)
        await reconciling(world, "bash")
        await delete_runtime(world, "bash")
        # In this order: were it to go, it would be gone by then.
        await world.is_gone(ROLE_BINDINGS, "kruntimes-runtimed-mine")
        await world.is_gone(ROLES, ROLE)
        assert await has(world, SERVICE_ACCOUNTS, "mine")


async def test_an_account_used_before_loses_its_rights_with_the_last_pod_that_has_it(server: ApiServer, world: World) -> None:
    with controllers(server):
        await world.create_runtime("bash")
        await reconciling(world, "bash")
        await create_pod(world, "old", account=ACCOUNT)
        moved = {"spec": {"template": {"spec": {"serviceAccountName": "new"}}}}
        await world.client.patch(RUNTIMES, "bash", merge_patch(moved), namespace=world.namespace)
        await world.object_that(ROLE_BINDINGS, "kruntimes-runtimed-new", lambda _: True)
        await everything_has_been_looked_at(world)
        assert await has(world, ROLE_BINDINGS, BINDING)
        await world.delete_pod("old")
        await world.is_gone(ROLE_BINDINGS, BINDING)
        await world.is_gone(SERVICE_ACCOUNTS, ACCOUNT)
        assert await has(world, ROLES, ROLE)
        assert await has(world, ROLE_BINDINGS, "kruntimes-runtimed-new")


async def test_a_runtime_that_comes_back_finds_its_rights_again(server: ApiServer, world: World) -> None:
    with controllers(server):
        await world.create_runtime("bash")
        await reconciling(world, "bash")
        await delete_runtime(world, "bash")
        await world.create_runtime("bash")
        await world.object_that(DEPLOYMENTS, "runtime-bash", lambda _: True)
        await everything_has_been_looked_at(world)
        for resource, name in ((SERVICE_ACCOUNTS, ACCOUNT), (ROLES, ROLE), (ROLE_BINDINGS, BINDING)):
            await world.object_that(resource, name, lambda _: True)

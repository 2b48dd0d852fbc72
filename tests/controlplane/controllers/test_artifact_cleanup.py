"""A Run that is deleted waits for its artifacts: who comes to remove them, who goes when nothing waits, and when nobody waits longer."""

from __future__ import annotations

from typing import Any

import pytest

from k8s.api import names
from k8s.api.run import Run
from k8s.client import DEPLOYMENTS, NAMESPACES, RUNS, merge_patch
from tests.cluster.server import ApiServer
from tests.controlplane.plane import World, controllers

pytestmark = pytest.mark.slow
STORE = {"driver": "filesystem", "filesystem": {"volumeClaimName": "artifacts-pvc"}}
MAINTAINER = "runtime-maintainer-ac10cd3105aad03a"
IMAGE = "--runtime-maintainer-image=kruntimes-controller"


async def create(world: World, name: str, *, store: dict[str, Any] | None = STORE) -> Run:
    """Ended, with artifacts."""
    await world.create_run(name, labels={names.ARTIFACTS_LABEL: "true"})
    patch = merge_patch({"metadata": {"finalizers": [names.ARTIFACT_CLEANUP_FINALIZER]}})
    await world.client.patch(RUNS, name, patch, namespace=world.namespace)
    await world.set_status(name, phase="Succeeded", **({"artifactStore": store} if store else {}))
    return await world.client.get(RUNS, name, namespace=world.namespace)


async def delete(world: World, name: str) -> None:
    await world.client.delete(RUNS, name, namespace=world.namespace)


async def play_maintainer(world: World, name: str) -> None:
    await world.client.patch(RUNS, name, merge_patch({"metadata": {"finalizers": []}}), namespace=world.namespace)


async def test_a_maintainer_comes_with_the_first_deletion_and_no_sooner(server: ApiServer, world: World) -> None:
    with controllers(server, IMAGE):
        await create(world, "kept")
        await create(world, "deleted")
        await delete(world, "deleted")
        made = await world.object_that(DEPLOYMENTS, MAINTAINER, lambda _: True)
        assert made["spec"]["template"]["spec"]["containers"][0]["args"][0] == f"--run-namespace={world.namespace}"
        await play_maintainer(world, "deleted")
        await world.is_gone(RUNS, "deleted")
        kept = await world.client.get(RUNS, "kept", namespace=world.namespace)
        assert kept.metadata.finalizers == [names.ARTIFACT_CLEANUP_FINALIZER]


async def test_a_run_that_does_not_say_where_its_artifacts_are_is_told_by_its_runtime(server: ApiServer, world: World) -> None:
    with controllers(server, IMAGE):
        await world.create_runtime("bash", artifactStore=STORE)
        await create(world, "old", store=None)
        await delete(world, "old")
        told = await world.run_that("old", lambda run: run.status.artifact_store is not None)
        assert told.status.artifact_store == STORE
        await world.object_that(DEPLOYMENTS, MAINTAINER, lambda _: True)


async def test_a_store_that_does_not_answer_is_given_up_and_told_of(server: ApiServer, world: World) -> None:
    with controllers(server, IMAGE, "--artifact-give-up=1s") as component:
        await create(world, "waiting")
        await delete(world, "waiting")
        await world.is_gone(RUNS, "waiting")
        assert "artifacts are given up: they stay in their store" in component.stop()


async def test_row_50_a_namespace_with_artifacts_goes_though_no_maintainer_can_come(server: ApiServer, world: World) -> None:
    """Nothing may be made in a namespace that is being deleted; without a give-up its Runs would keep it for ever."""
    with controllers(server, IMAGE, "--artifact-give-up=2s"):
        await create(world, "last")
        await world.client.delete(NAMESPACES, world.namespace)
        if server.name == "real":  # no namespace controller there: the test deletes what it would
            await delete(world, "last")
        await world.is_gone(RUNS, "last")

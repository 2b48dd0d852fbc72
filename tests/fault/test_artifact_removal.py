"""Row 51 for the end of artifacts: the cleanup controller, a maintainer of its making and a real S3 server that fails between them.

The maintainer is started as a node would: with the arguments of the Deployment that the controller has made.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager

import pytest

from controlplane.controllers.maintainer_objects import deployment_name
from k8s.api import names
from k8s.api.artifact_store import store_hash
from k8s.api.run import Run
from k8s.client import DEPLOYMENTS, EVENTS, RUNS, Listed, list_and_watch, merge_patch
from tests.cluster.embedded import EmbeddedApiServer
from tests.cluster.object_store import SECRET_KEY, ObjectStore
from tests.controlplane.plane import Component, World, controllers
from tests.fault import s3_faults
from tests.fault.s3_faults import Rule, S3Faults, faulty

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(120)]
IMAGE = "--runtime-maintainer-image=kruntimes-controller"
PREFIX = "team"
GONE_SECONDS = 60.0


@pytest.fixture
def server(embedded_server: EmbeddedApiServer) -> EmbeddedApiServer:
    """The one that `world` is in."""
    return embedded_server


class Scene:
    """Runs with artifacts in the bucket, and the maintainer of their store."""

    def __init__(self, world: World, server: EmbeddedApiServer, store: ObjectStore, bucket: str, faults: S3Faults) -> None:
        self.world, self._server, self._store, self._bucket, self.faults = world, server, store, bucket, faults
        s3 = {"bucket": bucket, "prefix": PREFIX, "endpoint": faults.endpoint, "forcePathStyle": True}
        self._snapshot = {"driver": "s3", "s3": s3}

    async def create_run(self) -> Run:
        """Ended, with two objects and an upload that was never finished."""
        name = f"run-{uuid.uuid4().hex[:8]}"
        await self.world.create_run(name, labels={names.ARTIFACTS_LABEL: "true"})
        patch = merge_patch({"metadata": {"finalizers": [names.ARTIFACT_CLEANUP_FINALIZER]}})
        run = await self.world.client.patch(RUNS, name, patch, namespace=self.world.namespace)
        await asyncio.to_thread(self._store_something, self._folder(run))
        await self.world.set_status(name, phase="Succeeded", artifactStore=self._snapshot)
        return run

    def _folder(self, run: Run) -> str:
        return f"{PREFIX}/namespaces/{self.world.namespace}/runs/{run.uid}/"

    def _store_something(self, folder: str) -> None:
        client = self._store.client()
        for name in ("report", "site"):
            client.put_object(Bucket=self._bucket, Key=folder + name, Body=b"x")
        client.create_multipart_upload(Bucket=self._bucket, Key=f"{folder}never-finished")

    async def delete(self, run: Run) -> None:
        await self.world.client.delete(RUNS, run.metadata.name, namespace=self.world.namespace)

    async def is_gone(self, run: Run) -> None:
        """The maintainer is a process that starts, imports boto3 and may be in a pause between two tries."""
        await self.world.is_gone(RUNS, run.metadata.name, seconds=GONE_SECONDS)

    async def is_held(self, run: Run) -> bool:
        found = await self.world.client.get(RUNS, run.metadata.name, namespace=self.world.namespace)
        return found.metadata.finalizers == [names.ARTIFACT_CLEANUP_FINALIZER]

    async def left(self) -> list[str]:
        return await asyncio.to_thread(lambda: self._store.keys(self._bucket) + self._store.unfinished(self._bucket))

    async def are_spoilt(self, more: int) -> None:
        await asyncio.to_thread(self.faults.wait_until_spoilt, self.faults.spoilt + more)

    @asynccontextmanager
    async def maintained(self) -> AsyncIterator[Component]:
        """Once the controller has asked for it."""
        made = await self.world.object_that(DEPLOYMENTS, deployment_name(store_hash(self._snapshot)), lambda _: True)
        [container] = made["spec"]["template"]["spec"]["containers"]
        with maintainer(self._server, container["args"]) as component:
            yield component


@contextmanager
def maintainer(server: EmbeddedApiServer, arguments: list[str]) -> Iterator[Component]:
    component = Component("runtimed.maintainer", *arguments, server=server, user="kruntimes-runtime-maintainer")
    try:
        yield component
    finally:
        said = component.stop()
        print(said)
        assert SECRET_KEY not in said


@pytest.fixture
async def scene(world: World, server: EmbeddedApiServer, object_store: ObjectStore, bucket: str) -> AsyncIterator[Scene]:
    async with faulty(object_store.endpoint) as faults:
        yield Scene(world, server, object_store, bucket, faults)


async def test_row_51_what_is_busy_for_a_while_is_asked_again_and_nothing_stays(scene: Scene, server: EmbeddedApiServer) -> None:
    with controllers(server, IMAGE):
        kept, deleted = await scene.create_run(), await scene.create_run()
        busy = Rule(s3_faults.UNAVAILABLE, count=7)
        scene.faults.rules = [busy]
        await scene.delete(deleted)
        async with scene.maintained():
            await scene.is_gone(deleted)
            assert busy.count == 0
            assert {key.split("/")[4] for key in await scene.left()} == {kept.uid}
            await scene.delete(kept)
            await scene.is_gone(kept)
            assert await scene.left() == []


@pytest.mark.parametrize("fault", [s3_faults.UNAVAILABLE, s3_faults.LOST_ANSWER, s3_faults.EXPIRED])
async def test_row_51_a_run_waits_for_a_store_that_is_away_and_goes_when_it_is_back(
    scene: Scene, server: EmbeddedApiServer, fault: str
) -> None:
    with controllers(server, IMAGE):
        run = await scene.create_run()
        scene.faults.rules = [Rule(fault)]
        await scene.delete(run)
        async with scene.maintained():
            await scene.are_spoilt(5)
            assert await scene.is_held(run)
            scene.faults.rules = []
            await scene.is_gone(run)
            assert await scene.left() == []


async def test_row_51_a_maintainer_that_is_killed_in_the_middle_is_followed_by_another(scene: Scene, server: EmbeddedApiServer) -> None:
    with controllers(server, IMAGE):
        run = await scene.create_run()
        scene.faults.rules = [Rule(s3_faults.HANGING, lambda request: request.method == "DELETE")]
        await scene.delete(run)
        async with scene.maintained() as first:
            await scene.are_spoilt(1)
            first.stop(kill=True)
        assert await scene.is_held(run)
        scene.faults.rules = []
        async with scene.maintained():
            await scene.is_gone(run)
            assert await scene.left() == []


async def test_row_51_a_store_that_stays_away_is_given_up_and_told_of_and_the_next_run_is_not_the_worse_for_it(
    scene: Scene, server: EmbeddedApiServer
) -> None:
    with controllers(server, IMAGE, "--artifact-give-up=8s") as component:
        lost, later = await scene.create_run(), await scene.create_run()
        scene.faults.rules = [Rule(s3_faults.UNAVAILABLE)]
        await scene.delete(lost)
        async with scene.maintained():
            await scene.are_spoilt(1)
            await scene.is_gone(lost)
            await is_told(scene.world, lost, reason="ArtifactCleanupGivenUp")
            assert {key.split("/")[4] for key in await scene.left()} == {lost.uid, later.uid}
            scene.faults.rules = []
            await scene.delete(later)
            await scene.is_gone(later)
            assert later.uid not in {key.split("/")[4] for key in await scene.left()}
        assert "artifacts are given up: they stay in their store" in component.stop()


async def is_told(world: World, run: Run, *, reason: str) -> None:
    """By an event. They are recorded a moment later than what they tell."""
    async with asyncio.timeout(10), aclosing(list_and_watch(world.client, EVENTS, namespace=world.namespace)) as notices:
        async for notice in notices:
            seen = notice.items if isinstance(notice, Listed) else [notice.object]
            if any((event["reason"], event["involvedObject"]["uid"]) == (reason, run.uid) for event in seen):
                return

"""The Deployment controller's shell: what races with its own writes must not be overlooked. The real thing is in test_node."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from controlplane.local.node.deployments import DeploymentController
from k8s.client import Cache, Changed, Listed, Patch, Resource, Unreachable

Json = dict[str, Any]


class Server:
    """Answers the controller's writes from memory; `before_patch` is what somebody else does first."""

    def __init__(self) -> None:
        self.version = 10
        self.deployment: Json = {
            "metadata": {"name": "web", "namespace": "team", "uid": "d", "generation": 1, "resourceVersion": "10"},
            "spec": {"replicas": 1, "template": {"spec": {"containers": []}}},
        }
        self.created: list[Json] = []
        self.deleted: list[str] = []
        self.before_patch: list[Json] = []
        self.failures = 0
        self.written = asyncio.Event()

    def stamp(self, document: Json) -> Json:
        self.version += 1
        document["metadata"]["resourceVersion"] = str(self.version)
        return copy.deepcopy(document)

    async def create(self, _: Resource[Json], body: Json, *, namespace: str) -> Json:
        if self.failures:
            self.failures -= 1
            raise Unreachable("POST pods: no connection")
        pod = copy.deepcopy(body)
        pod["metadata"] |= {"uid": f"p{len(self.created)}", "namespace": namespace}
        self.created.append(pod)
        return self.stamp(pod)

    async def delete(self, _: Resource[Json], name: str, *, namespace: str, uid: str) -> None:
        assert namespace == "team"
        self.deleted.append(uid)

    async def patch(self, _: Resource[Json], name: str, patch: Patch, **__: Any) -> Json:
        if self.before_patch and (change := self.before_patch.pop(0)):
            self.deployment["spec"] |= change
            self.deployment["metadata"]["generation"] += 1
        self.deployment["status"] = msgspec.json.decode(patch.body)["status"]
        self.written.set()
        return self.stamp(self.deployment)


class Bench:
    def __init__(self, server: Server) -> None:
        self.server = server
        self.deployments: Cache[Json] = Cache()
        self.pods: Cache[Json] = Cache()
        self.controller = DeploymentController(
            server,  # type: ignore[arg-type]
            deployments=self.deployments,
            pods=self.pods,
            node_name="local",
            on_created=self.pods.take,  # type: ignore[arg-type]
        )
        self.deployments.feed(Listed([copy.deepcopy(server.deployment)], "10"))
        self.pods.feed(Listed([], "10"))
        self.controller.touch("d")

    async def until_created(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.server.created) < count:
                self.server.written.clear()
                await self.server.written.wait()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench(Server())
    running = asyncio.create_task(bench.controller.run())
    yield bench
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_nothing_is_done_before_everything_is_known(bench: Bench) -> None:
    for _ in range(5):
        await asyncio.sleep(0)
    assert not bench.server.created
    bench.controller.resume()
    await bench.until_created(1)


async def test_its_own_pods_count_before_the_watch_shows_them(bench: Bench) -> None:
    bench.controller.resume()
    await bench.until_created(1)
    bench.controller.touch("d")
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(bench.server.created) == 1


async def test_a_spec_changed_beside_its_own_status_write_is_not_overlooked(bench: Bench) -> None:
    bench.server.before_patch += [{}, {"replicas": 3}]  # at the last write, after which nothing else wakes the controller
    bench.controller.resume()
    await bench.until_created(3)  # the watch event of that change would be old news: the answer has put it into the cache


@pytest.mark.looptime
async def test_a_write_that_fails_is_decided_again_later(bench: Bench) -> None:
    bench.server.failures = 2
    bench.controller.resume()
    await bench.until_created(1)


async def test_pods_of_a_deployment_that_is_gone_go_too(bench: Bench) -> None:
    bench.controller.resume()
    await bench.until_created(1)
    bench.deployments.drop("d")
    bench.controller.touch("d")
    for _ in range(20):
        await asyncio.sleep(0)
    assert bench.server.deleted == ["p0"]


async def test_pods_without_a_deployment_are_nobodys_business(bench: Bench) -> None:
    bare = {"metadata": {"name": "bare", "namespace": "team", "uid": "b", "resourceVersion": "11"}, "spec": {}}
    bench.pods.feed(Changed(bare))
    bench.controller.resume()
    bench.controller.touch("")
    await bench.until_created(1)
    assert bench.server.deleted == []

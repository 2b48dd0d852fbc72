"""Nothing is written where nothing is wrong, counted by the API server: one write an object, whoever touches it afterwards."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import pytest

from k8s.client import RUNTIMES, merge_patch
from tests.cluster.embedded import EmbeddedApiServer
from tests.cluster.fixtures import need_binaries
from tests.cluster.real import RealApiServer
from tests.cluster.server import ApiServer
from tests.controlplane.controllers.runtimes import OBJECTS, condition, play_deployment_controller, reconciling
from tests.controlplane.plane import World, controllers

pytestmark = pytest.mark.slow

AUDIT_POLICY = """apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- level: Metadata
  verbs: [create, update, patch, delete]
  users: [kruntimes-controller]
- level: None
"""


@pytest.fixture(params=["embedded", pytest.param("real", marks=pytest.mark.kube)])
def server(request: pytest.FixtureRequest) -> Iterator[ApiServer]:
    """A new one, with its audit on and nothing in it."""
    if request.param == "embedded":
        with EmbeddedApiServer(arguments=("--audit",)) as embedded:
            yield embedded
    else:
        need_binaries()
        with RealApiServer(is_audited=True, audit_policy=AUDIT_POLICY) as real:
            yield real


def writes_by_controllers(server: ApiServer) -> dict[str, int]:
    """By resource, as in `runtimes/status`; refused ones included."""
    counted: Counter[str] = Counter()
    for line in map(json.loads, (server.folder / "audit.jsonl").read_text().splitlines()):
        of = line.get("objectRef") or {"resource": line["resource"].partition(".")[0], "subresource": line["subresource"]}
        if (line.get("userAgent") or line["user_agent"]).startswith("krt-controller"):
            counted["/".join(filter(None, (of["resource"], of.get("subresource"))))] += 1
    return dict(counted)


async def test_at_rest_nothing_is_written_whoever_touches_what(server: ApiServer, world: World) -> None:
    elsewhere = World(world.client)
    await elsewhere.begin()
    container = {"name": "runtime", "image": "x", "resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}}}
    with controllers(server):
        await world.create_runtime("bash", template={"spec": {"containers": [container]}})
        await reconciling(world, "bash")
        await play_deployment_controller(world, "runtime-bash", ready=1)
        await world.object_that(RUNTIMES, "bash", lambda runtime: condition(runtime, "Ready") == "True")
        # Not an annotation: of a Deployment that counts as a change of its spec, and makes its Pods unobserved.
        touched = merge_patch({"metadata": {"labels": {"touched": "yes"}}})
        for resource, name in (*OBJECTS.values(), (RUNTIMES, "bash")):
            await world.client.patch(resource, name, touched, namespace=world.namespace)
        # What is put right elsewhere comes later on each watch: when that is done, the touches have been looked at.
        await elsewhere.create_runtime("bash")
        await reconciling(elsewhere, "bash")
        for resource, name in OBJECTS.values():
            before = await elsewhere.client.get(resource, name, namespace=elsewhere.namespace)
            await elsewhere.client.delete(resource, name, namespace=elsewhere.namespace)
            uid = before["metadata"]["uid"]
            await elsewhere.object_that(resource, name, lambda seen, uid=uid: seen["metadata"]["uid"] != uid)  # type: ignore[misc]
    made, made_elsewhere, put_right = 1, 1, 1
    expected = {resource.plural: made + made_elsewhere + put_right for resource, _ in OBJECTS.values()}
    # Reconciling and Ready here, Reconciling there.
    assert writes_by_controllers(server) == expected | {"runtimes/status": 3}

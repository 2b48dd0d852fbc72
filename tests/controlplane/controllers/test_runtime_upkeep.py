"""A Runtime's objects stay as they are wanted, whoever edits or deletes them, and nothing is written where nothing is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from k8s.client import (
    DEPLOYMENTS,
    ROLE_BINDINGS,
    RUNTIMES,
    SERVICE_ACCOUNTS,
    merge_patch,
)
from tests.cluster.embedded import EmbeddedApiServer
from tests.cluster.server import ApiServer
from tests.controlplane.controllers.runtimes import OBJECTS, condition, has, reconciling
from tests.controlplane.plane import World, controllers
from tests.controlplane.scheduler.test_scheduler_under_faults import failing

pytestmark = pytest.mark.slow

MORE_RIGHTS = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
STRANGER = {"kind": "ServiceAccount", "name": "stranger", "namespace": "default"}
Edit = tuple[str, dict[str, Any], Callable[[Any], bool]]
EDITS: dict[str, Edit] = {
    "labels of the account": ("account", {"metadata": {"labels": None}}, lambda seen: "app" in seen["metadata"].get("labels", {})),
    "more rights": ("role", {"rules": [MORE_RIGHTS]}, lambda seen: MORE_RIGHTS not in seen["rules"] and len(seen["rules"]) == 5),
    "a stranger is bound": ("binding", {"subjects": [STRANGER]}, lambda seen: [each["name"] for each in seen["subjects"]] == [SA]),
    "somebody may connect": ("policy", {"spec": {"ingress": [{}]}}, lambda seen: not seen["spec"].get("ingress")),
    "its label": ("policy", {"metadata": {"labels": None}}, lambda seen: seen["metadata"].get("labels", {}).get("runtime") == "bash"),
    "its owner": ("policy", {"metadata": {"ownerReferences": None}}, lambda seen: bool(seen["metadata"].get("ownerReferences"))),
    "replicas": ("deployment", {"spec": {"replicas": 7}}, lambda seen: seen["spec"]["replicas"] == 1),
    "strategy": (
        "deployment",
        {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}},
        lambda seen: seen["spec"]["strategy"]["type"] == "RollingUpdate",
    ),
    "owner of the Pods": (
        "deployment",
        {"metadata": {"ownerReferences": None}},
        lambda seen: bool(seen["metadata"].get("ownerReferences")),
    ),
    "label of the Pods' owner": ("deployment", {"metadata": {"labels": None}}, lambda seen: bool(seen["metadata"].get("labels"))),
}
SA = "kruntimes-runtimed"


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
async def test_what_others_edit_is_put_right(server: ApiServer, world: World, edit: Edit) -> None:
    what, change, is_right = edit
    resource, name = OBJECTS[what]
    with controllers(server):
        await world.create_runtime("bash")
        await reconciling(world, "bash")
        edited = await world.client.patch(resource, name, merge_patch(change), namespace=world.namespace)
        assert not is_right(edited)
        await world.object_that(resource, name, is_right)


@pytest.mark.parametrize("what", OBJECTS)
async def test_what_others_delete_is_made_anew(server: ApiServer, world: World, what: str) -> None:
    resource, name = OBJECTS[what]
    with controllers(server):
        await world.create_runtime("bash")
        await reconciling(world, "bash")
        before = await world.client.get(resource, name, namespace=world.namespace)
        await world.client.delete(resource, name, namespace=world.namespace)
        await world.object_that(resource, name, lambda seen: seen["metadata"]["uid"] != before["metadata"]["uid"])


async def test_a_new_leader_changes_nothing(server: ApiServer, world: World) -> None:
    with controllers(server):
        await world.create_runtime("bash")
        await reconciling(world, "bash")

    async def versions() -> dict[str, str]:
        seen = {what: await world.client.get(*chosen, namespace=world.namespace) for what, chosen in OBJECTS.items()}
        return {what: each["metadata"]["resourceVersion"] for what, each in seen.items()}

    before = await versions()
    with controllers(server):
        await world.create_runtime("later")
        await reconciling(world, "later")
        assert await versions() == before


async def test_a_pod_is_isolated_before_it_can_start(server: ApiServer, world: World) -> None:
    with controllers(server):
        await world.create_runtime("bash")
        await reconciling(world, "bash")
        made = {what: await world.client.get(*chosen, namespace=world.namespace) for what, chosen in OBJECTS.items()}
        order = sorted(made, key=lambda what: int(made[what]["metadata"]["resourceVersion"]))
        assert order == ["account", "role", "binding", "policy", "deployment"]


@pytest.mark.parametrize("server", ["embedded"], indirect=True)
async def test_without_its_isolation_no_pod_is_started(server: EmbeddedApiServer, world: World) -> None:
    match = {"verbs": ["patch"], "resources": ["networkpolicies.networking.k8s.io"], "user_agent": "krt-controller*"}
    refuse = {"match": match, "action": {"kind": "answer", "code": 403, "reason": "Forbidden", "message": "no policies here"}}
    async with failing(world.client, refuse):
        with controllers(server):
            await world.create_runtime("bash")
            stalled = await world.object_that(RUNTIMES, "bash", lambda runtime: condition(runtime, "Stalled") == "True")
            told = next(each for each in stalled.status.conditions if each.type == "Stalled")
            assert told.reason == "Forbidden"
            assert told.message.startswith("NetworkPolicy runtime-bash may not be written: ")
            assert not await has(world, DEPLOYMENTS, "runtime-bash")


async def test_a_service_account_of_others_is_used_and_never_touched(server: ApiServer, world: World) -> None:
    mine = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "mine", "annotations": {"cloud/role": "reader"}}}
    account = await world.client.create(SERVICE_ACCOUNTS, mine, namespace=world.namespace)
    template = {"spec": {"serviceAccountName": "mine", "containers": [{"name": "runtime", "image": "x"}]}}
    with controllers(server):
        await world.create_runtime("bash", template=template)
        await reconciling(world, "bash")
        assert await world.client.get(SERVICE_ACCOUNTS, "mine", namespace=world.namespace) == account
        await world.client.get(ROLE_BINDINGS, "kruntimes-runtimed-mine", namespace=world.namespace)
        # Without one no Pod could start, so one that is deleted is made, and then it is ours.
        await world.client.delete(SERVICE_ACCOUNTS, "mine", namespace=world.namespace)
        made = await world.object_that(SERVICE_ACCOUNTS, "mine", lambda seen: seen["metadata"]["uid"] != account["metadata"]["uid"])
        assert made["metadata"]["annotations"] == {"kruntimes.io/created-by": "kruntimes-controller"}


async def test_what_others_add_to_the_template_of_the_deployment_stays(server: ApiServer, world: World) -> None:
    """`kubectl rollout restart` does that."""
    with controllers(server):
        await world.create_runtime("bash")
        await reconciling(world, "bash")
        restarted = {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}}
        await world.client.patch(DEPLOYMENTS, "runtime-bash", merge_patch(restarted), namespace=world.namespace)
        await world.client.patch(RUNTIMES, "bash", merge_patch({"spec": {"replicas": 2}}), namespace=world.namespace)
        changed = await world.object_that(DEPLOYMENTS, "runtime-bash", lambda seen: seen["spec"]["replicas"] == 2)
        assert changed["spec"]["template"]["metadata"]["annotations"] == {"kubectl.kubernetes.io/restartedAt": "now"}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a volume that is not there": ({"volumeMounts": [{"name": "missing", "mountPath": "/x"}]}, "containers[0].volumeMounts[0].name: "),
    "a field that is not there": ({"volumMounts": []}, 'containers[name="runtime"].volumMounts: field not declared in schema'),
    "a name twice": ({"env": [{"name": "A", "value": "x"}] * 2}, 'containers[name="runtime"].env: duplicate entries'),
    "a text for a list": ({"command": "hunter2"}, 'containers[name="runtime"].command: expected list, got something else'),
}


@pytest.mark.kube
@pytest.mark.parametrize("server", ["real"], indirect=True)
@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED.keys())
async def test_what_the_api_server_refuses_in_a_template_names_the_field_and_the_remedy(
    server: ApiServer, world: World, refused: tuple[dict[str, Any], str]
) -> None:
    more, text = refused
    with controllers(server):
        await world.create_runtime("bash", template={"spec": {"containers": [{"name": "runtime", "image": "x", **more}]}})
        stalled = await world.object_that(RUNTIMES, "bash", lambda runtime: condition(runtime, "Stalled") == "True")
        told = next(each for each in stalled.status.conditions if each.type == "Stalled")
        assert told.reason == "InvalidTemplate"
        assert told.message.startswith(f"spec.template.spec.{text}")
        assert told.message.endswith("; change it in this Runtime")
        assert b"hunter2" not in msgspec.json.encode(stalled.status)
        good = {"spec": {"template": {"spec": {"containers": [{"name": "runtime", "image": "x"}]}}}}
        await world.client.patch(RUNTIMES, "bash", merge_patch(good), namespace=world.namespace)
        await reconciling(world, "bash")

"""Patches of all four kinds."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.http import APPLY, CONFIG_MAPS, DEPLOYMENTS, JSON_PATCH, PODS, RUNS, RUNTIMES, STRATEGIC, Api, Json
from tests.contract.objects import REMOVE, WHEN, changed, config_map, deployment, pod, run, runtime

HEARTBEAT = {"type": "kruntimes.io/RuntimedReady", "status": "True", "reason": "Heartbeat", "lastProbeTime": WHEN, "message": "fresh"}


async def bound_run(api: Api) -> Json:
    await api.create(RUNS, run())
    status = {"phase": "Scheduled", "assignedPod": "p", "assignedPodUID": "u"}
    return (await api.patch(RUNS, "one", {"status": status}, subresource="status")).ok()


async def test_a_merge_patch_sets_merges_and_removes(api: Api) -> None:
    await api.create(RUNS, run(labels={"a": "1", "b": "2"}))

    labels = (await api.patch(RUNS, "one", {"metadata": {"labels": {"b": None, "c": "3"}}})).ok()["metadata"]["labels"]

    assert labels == {"a": "1", "c": "3"}


async def test_a_merge_patch_replaces_lists(api: Api) -> None:
    await api.create(PODS, pod())
    status = {"conditions": [HEARTBEAT]}

    (await api.patch(PODS, "one", {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}, subresource="status")).ok()
    written = (await api.patch(PODS, "one", {"status": status}, subresource="status")).ok()

    assert [condition["type"] for condition in written["status"]["conditions"]] == [HEARTBEAT["type"]]


async def test_a_merge_patch_with_the_current_resource_version_is_taken(api: Api) -> None:
    created = await api.create(RUNS, run())

    (await api.patch(RUNS, "one", {"metadata": {"resourceVersion": created["metadata"]["resourceVersion"], "labels": {"a": "b"}}})).ok()


@pytest.mark.parametrize("subresource", ["", "status"])
async def test_a_merge_patch_with_an_old_resource_version_is_refused(api: Api, subresource: str) -> None:
    created = await api.create(RUNS, run())
    (await api.patch(RUNS, "one", {"metadata": {"labels": {"a": "b"}}})).ok()
    patch = {"metadata": {"resourceVersion": created["metadata"]["resourceVersion"]}, "status": {"phase": "Failed"}}

    answer = await api.patch(RUNS, "one", patch | {"spec": {"cancelRequested": True}}, subresource=subresource)

    answer.refused(409, "Conflict", mentions="the object has been modified")


async def test_a_patch_of_what_is_not_there_is_not_found(api: Api) -> None:
    (await api.patch(RUNS, "none", {"metadata": {}})).refused(404, "NotFound")
    (await api.patch(RUNS, "none", [], kind=JSON_PATCH, subresource="status")).refused(404, "NotFound")


async def test_a_patch_with_another_uid_is_refused(api: Api) -> None:
    await api.create(RUNS, run())

    answer = await api.patch(RUNS, "one", {"metadata": {"uid": "11111111-1111-1111-1111-111111111111"}})

    answer.invalid(field="metadata.uid", mentions="field is immutable")


async def test_a_patch_cannot_rename(api: Api) -> None:
    await api.create(RUNS, run())

    (await api.patch(RUNS, "one", {"metadata": {"name": "two"}})).refused(400, "BadRequest", mentions="does not match")


async def test_a_json_patch_performs_its_operations_in_order(api: Api) -> None:
    await api.create(CONFIG_MAPS, config_map())
    operations = [
        {"op": "add", "path": "/data/a", "value": "1"},
        {"op": "copy", "from": "/data/a", "path": "/data/b"},
        {"op": "move", "from": "/data/a", "path": "/data/c"},
        {"op": "replace", "path": "/data/b", "value": "2"},
        {"op": "remove", "path": "/data/key"},
    ]

    assert (await api.patch(CONFIG_MAPS, "one", operations, kind=JSON_PATCH)).ok()["data"] == {"b": "2", "c": "1"}


async def test_json_pointers_are_unescaped(api: Api) -> None:
    await api.create(RUNS, run(annotations={"a/b": "1"}))
    await api.create(RUNTIMES, changed(runtime(), "spec.template.metadata.annotations", {"c~d": "2", "e": "3"}))

    slash = await api.patch(RUNS, "one", [{"op": "replace", "path": "/metadata/annotations/a~1b", "value": "3"}], kind=JSON_PATCH)
    tilde = await api.patch(RUNTIMES, "bash", [{"op": "remove", "path": "/spec/template/metadata/annotations/c~0d"}], kind=JSON_PATCH)

    assert slash.ok()["metadata"]["annotations"] == {"a/b": "3"}
    assert tilde.ok()["spec"]["template"]["metadata"]["annotations"] == {"e": "3"}


FENCE = [
    {"op": "test", "path": "/status/assignedPodUID", "value": "u"},
    {"op": "test", "path": "/status/attempt", "value": None},
    {"op": "test", "path": "/status/phase", "value": "Scheduled"},
]


async def test_a_fenced_write_lands_while_the_fence_holds(api: Api) -> None:
    bound = await bound_run(api)
    operations = [
        {"op": "test", "path": "/metadata/uid", "value": bound["metadata"]["uid"]},
        *FENCE,
        {"op": "add", "path": "/status/phase", "value": "Running"},
    ]

    assert (await api.patch(RUNS, "one", operations, kind=JSON_PATCH, subresource="status")).ok()["status"]["phase"] == "Running"


@pytest.mark.parametrize(
    "broken",
    [
        {"op": "test", "path": "/metadata/uid", "value": "another"},
        {"op": "test", "path": "/status/assignedPodUID", "value": "v"},
        {"op": "test", "path": "/status/attempt", "value": 0},
        {"op": "test", "path": "/status/phase", "value": "Running"},
        {"op": "test", "path": "/status/startTime", "value": WHEN},
        {"op": "test", "path": "/status/nothing/below", "value": None},
    ],
    ids=lambda operation: str(operation["path"]).rsplit("/", 1)[-1],
)
async def test_a_fenced_write_is_refused_when_a_test_fails(api: Api, broken: Json) -> None:
    await bound_run(api)
    operations = [broken, {"op": "add", "path": "/status/phase", "value": "Running"}]

    answer = await api.patch(RUNS, "one", operations, kind=JSON_PATCH, subresource="status")

    answer.refused(422, "Invalid")
    assert (await api.read(RUNS, "one"))["status"]["phase"] == "Scheduled"


async def test_a_null_test_fails_when_the_field_is_there(api: Api) -> None:
    await bound_run(api)
    (await api.patch(RUNS, "one", {"status": {"attempt": 2}}, subresource="status")).ok()

    (await api.patch(RUNS, "one", FENCE, kind=JSON_PATCH, subresource="status")).refused(422, "Invalid")


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/status/exitCode"},
        {"op": "add", "path": "/status/timings/started", "value": WHEN},
    ],
    ids=lambda operation: str(operation["op"]),
)
async def test_an_operation_without_its_place_is_refused(api: Api, operation: Json) -> None:
    await bound_run(api)

    (await api.patch(RUNS, "one", [operation], kind=JSON_PATCH, subresource="status")).refused(422, "Invalid")


async def test_replacing_an_absent_member_adds_it(api: Api) -> None:
    """Not RFC 6902, but what the API server's library does."""
    await bound_run(api)

    operation = {"op": "replace", "path": "/status/exitCode", "value": 1}
    written = (await api.patch(RUNS, "one", [operation], kind=JSON_PATCH, subresource="status")).ok()

    assert written["status"]["exitCode"] == 1


@pytest.mark.parametrize("body", [b"{", b'"text"', b"[1]", b'{"op": "add"}'], ids=["cut", "text", "number", "object"])
async def test_a_json_patch_that_is_none_is_a_bad_request(api: Api, body: bytes) -> None:
    await api.create(RUNS, run())

    (await api.patch(RUNS, "one", body, kind=JSON_PATCH)).refused(400, "BadRequest")


@pytest.mark.parametrize("body", [b"{", b"[]", b'"text"'], ids=["cut", "list", "text"])
async def test_a_merge_patch_that_is_no_object_is_a_bad_request(api: Api, body: bytes) -> None:
    await api.create(RUNS, run())

    (await api.patch(RUNS, "one", body)).refused(400, "BadRequest")


async def test_custom_objects_have_no_strategic_patch(api: Api) -> None:
    await api.create(RUNS, run())

    (await api.patch(RUNS, "one", {"metadata": {}}, kind=STRATEGIC)).refused(415, "UnsupportedMediaType")


async def test_an_unknown_kind_of_patch_is_refused(api: Api) -> None:
    await api.create(RUNS, run())

    (await api.patch(RUNS, "one", {}, kind="application/json")).refused(415, "UnsupportedMediaType")


async def test_a_strategic_patch_touches_the_one_condition(api: Api) -> None:
    await api.create(PODS, pod())
    ready = {"type": "Ready", "status": "True", "reason": "", "message": ""}
    (await api.patch(PODS, "one", {"status": {"conditions": [ready]}}, kind=STRATEGIC, subresource="status")).ok()

    for status in ("True", "False"):
        patch = {"status": {"conditions": [HEARTBEAT | {"status": status}]}}
        written = (await api.patch(PODS, "one", patch, kind=STRATEGIC, subresource="status")).ok()

    assert {one["type"]: one["status"] for one in written["status"]["conditions"]} == {"Ready": "True", HEARTBEAT["type"]: "False"}


async def test_a_strategic_patch_deletes_a_condition_by_type(api: Api) -> None:
    await api.create(PODS, pod())
    (
        await api.patch(
            PODS, "one", {"status": {"conditions": [HEARTBEAT, {"type": "Ready", "status": "True"}]}}, kind=STRATEGIC, subresource="status"
        )
    ).ok()

    patch = {"status": {"conditions": [{"$patch": "delete", "type": "Ready"}]}}
    written = (await api.patch(PODS, "one", patch, kind=STRATEGIC, subresource="status")).ok()

    assert [one["type"] for one in written["status"]["conditions"]] == [HEARTBEAT["type"]]


async def test_a_strategic_patch_merges_containers_by_name(api: Api) -> None:
    await api.create(DEPLOYMENTS, deployment())
    containers: list[Json] = [{"name": "runtime", "image": "bash-runtime:2"}, {"name": "runtimed", "image": "runtimed:1"}]

    written = (await api.patch(DEPLOYMENTS, "one", {"spec": {"template": {"spec": {"containers": containers}}}}, kind=STRATEGIC)).ok()

    images = {one["name"]: one["image"] for one in written["spec"]["template"]["spec"]["containers"]}
    assert images == {"runtime": "bash-runtime:2", "runtimed": "runtimed:1"}


async def test_a_strategic_patch_of_a_map_merges_it(api: Api) -> None:
    await api.create(CONFIG_MAPS, config_map())

    assert (await api.patch(CONFIG_MAPS, "one", {"data": {"key": None, "a": "b"}}, kind=STRATEGIC)).ok()["data"] == {"a": "b"}


async def test_a_strategic_patch_with_an_old_resource_version_is_refused(api: Api) -> None:
    created = await api.create(PODS, pod())
    (await api.patch(PODS, "one", {"metadata": {"labels": {"a": "b"}}})).ok()
    patch = {"metadata": {"resourceVersion": created["metadata"]["resourceVersion"]}, "status": {"message": "x"}}

    (await api.patch(PODS, "one", patch, kind=STRATEGIC, subresource="status")).refused(409, "Conflict")


APPLIER: Json = {"fieldManager": "tester", "force": True}


async def apply(api: Api, manifest: Json, **query: Any) -> Any:
    return await api.patch(CONFIG_MAPS, "one", manifest, kind=APPLY, **(APPLIER | query))


async def test_apply_creates_what_is_not_there(api: Api) -> None:
    created = (await apply(api, config_map())).ok(201)

    assert created["data"] == {"key": "value"}


async def test_apply_updates_what_is_there(api: Api) -> None:
    (await apply(api, config_map())).ok(201)

    written = (await apply(api, changed(config_map(), "data.key", "other"))).ok(200)

    assert written["data"] == {"key": "other"}


async def test_apply_removes_what_its_manager_no_longer_states(api: Api) -> None:
    (await apply(api, changed(config_map(), "data.more", "value"))).ok(201)

    assert (await apply(api, config_map())).ok()["data"] == {"key": "value"}


async def test_apply_leaves_alone_what_others_wrote(api: Api) -> None:
    (await apply(api, config_map())).ok(201)
    (await api.patch(CONFIG_MAPS, "one", {"metadata": {"labels": {"theirs": "kept"}}})).ok()

    written = (await apply(api, changed(config_map(), "data", {"new": "value"}))).ok()

    assert (written["data"], written["metadata"]["labels"]) == ({"new": "value"}, {"theirs": "kept"})


async def test_apply_reads_yaml(api: Api) -> None:
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\ndata: {key: from yaml}\n"

    answer = await api.patch(CONFIG_MAPS, "one", body, kind=APPLY, fieldManager="tester", force=True)

    assert answer.ok(201)["data"] == {"key": "from yaml"}


async def test_apply_works_on_custom_objects(api: Api) -> None:
    (await api.patch(RUNS, "one", run(), kind=APPLY, **APPLIER)).ok(201)
    written = (await api.patch(RUNS, "one", changed(run(), "spec.ttlSecondsAfterFinished", 5), kind=APPLY, **APPLIER)).ok()

    assert written["spec"]["ttlSecondsAfterFinished"] == 5


async def test_apply_needs_a_manager(api: Api) -> None:
    answer = await api.patch(CONFIG_MAPS, "one", config_map(), kind=APPLY, force=True)

    answer.refused(422, "Invalid", mentions="fieldManager")


async def test_apply_validates(api: Api) -> None:
    answer = await api.patch(RUNS, "one", changed(run(), "spec.mode", {}), kind=APPLY, fieldManager="tester", force=True)

    answer.invalid(field="spec.mode")


async def test_only_apply_takes_force(api: Api) -> None:
    await api.create(RUNS, run())

    (await api.patch(RUNS, "one", {"metadata": {"labels": {"a": "b"}}}, force=True)).refused(422, "Invalid", mentions="force")


async def test_a_patch_that_breaks_a_rule_changes_nothing(api: Api) -> None:
    created = await api.create(RUNS, run())

    (await api.patch(RUNS, "one", {"spec": {"ttlSecondsAfterFinished": -1}})).invalid(field="spec.ttlSecondsAfterFinished")

    assert await api.read(RUNS, "one") == created


async def test_a_removed_field_is_gone(api: Api) -> None:
    created = await api.create(RUNS, changed(run(), "spec.ttlSecondsAfterFinished", 5))

    written = (await api.patch(RUNS, "one", [{"op": "remove", "path": "/spec/ttlSecondsAfterFinished"}], kind=JSON_PATCH)).ok()

    assert written["spec"] == changed(created, "spec.ttlSecondsAfterFinished", REMOVE)["spec"]

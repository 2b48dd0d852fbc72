"""Deleting: finalizers, preconditions, collections, and Pods that a node must let go of."""

from __future__ import annotations

import pytest

from tests.contract.http import CONFIG_MAPS, JSON_PATCH, PODS, RUNS, Api
from tests.contract.objects import changed, config_map, pod, run

FINALIZER = "kruntimes.io/artifact-cleanup"


async def test_a_deleted_object_is_gone(api: Api) -> None:
    created = await api.create(RUNS, run())

    answer = (await api.delete(RUNS, "one")).ok()

    assert (answer["kind"], answer["status"]) == ("Status", "Success")
    assert answer["details"] == {"name": "one", "group": "kruntimes.io", "kind": "runs", "uid": created["metadata"]["uid"]}
    (await api.get(RUNS, "one")).refused(404, "NotFound")
    (await api.delete(RUNS, "one")).refused(404, "NotFound")


async def test_a_name_can_be_used_again_by_another_object(api: Api) -> None:
    first = await api.create(RUNS, run())
    (await api.delete(RUNS, "one")).ok()

    second = await api.create(RUNS, run())

    assert first["metadata"]["uid"] != second["metadata"]["uid"]


async def test_a_finalizer_holds_the_object(api: Api) -> None:
    await api.create(RUNS, run(finalizers=[FINALIZER]))

    answer = (await api.delete(RUNS, "one")).ok()

    held = await api.read(RUNS, "one")
    assert answer["metadata"]["deletionTimestamp"] == held["metadata"]["deletionTimestamp"]
    assert held["metadata"]["deletionGracePeriodSeconds"] == 0
    assert held["metadata"]["finalizers"] == [FINALIZER]
    assert held["metadata"]["generation"] == 2


async def test_deleting_twice_changes_nothing_more(api: Api) -> None:
    await api.create(RUNS, run(finalizers=[FINALIZER]))
    first = (await api.delete(RUNS, "one")).ok()

    second = (await api.delete(RUNS, "one")).ok()

    assert second["metadata"] == first["metadata"]


async def test_the_last_finalizer_lets_go(api: Api) -> None:
    await api.create(RUNS, run(finalizers=[FINALIZER, "kruntimes.io/other"]))
    (await api.delete(RUNS, "one")).ok()

    kept = (await api.patch(RUNS, "one", [{"op": "remove", "path": "/metadata/finalizers/1"}], kind=JSON_PATCH)).ok()
    (await api.patch(RUNS, "one", {"metadata": {"finalizers": []}})).ok()

    assert kept["metadata"]["finalizers"] == [FINALIZER]
    (await api.get(RUNS, "one")).refused(404, "NotFound")


async def test_an_object_can_be_written_while_it_waits(api: Api) -> None:
    await api.create(RUNS, run(finalizers=[FINALIZER]))
    (await api.delete(RUNS, "one")).ok()

    written = (await api.patch(RUNS, "one", {"status": {"phase": "Cancelled"}}, subresource="status")).ok()
    labelled = (await api.patch(RUNS, "one", {"metadata": {"labels": {"a": "b"}}})).ok()

    assert written["status"]["phase"] == "Cancelled"
    assert labelled["metadata"]["labels"] == {"a": "b"}


async def test_no_finalizer_is_added_to_what_is_being_deleted(api: Api) -> None:
    await api.create(RUNS, run(finalizers=[FINALIZER]))
    (await api.delete(RUNS, "one")).ok()

    answer = await api.patch(RUNS, "one", {"metadata": {"finalizers": [FINALIZER, "kruntimes.io/late"]}})

    answer.invalid(field="metadata.finalizers", mentions="no new finalizers can be added if the object is being deleted")


async def test_a_deletion_is_not_taken_back(api: Api) -> None:
    await api.create(RUNS, run(finalizers=[FINALIZER]))
    deleted = (await api.delete(RUNS, "one")).ok()

    written = (await api.patch(RUNS, "one", {"metadata": {"deletionTimestamp": None, "labels": {"a": "b"}}})).ok()

    assert written["metadata"]["deletionTimestamp"] == deleted["metadata"]["deletionTimestamp"]


async def test_a_deletion_timestamp_is_the_servers_to_give(api: Api) -> None:
    created = await api.create(RUNS, run(deletionTimestamp="2026-08-09T10:00:01Z"))

    assert "deletionTimestamp" not in created["metadata"]


async def test_a_finalizer_without_domain_or_name_is_refused(api: Api) -> None:
    (await api.post(RUNS, run(finalizers=["a b"]))).invalid()


async def test_removing_finalizers_of_a_living_object_does_not_delete_it(api: Api) -> None:
    await api.create(RUNS, run(finalizers=[FINALIZER]))

    written = (await api.patch(RUNS, "one", {"metadata": {"finalizers": None}})).ok()

    assert "finalizers" not in written["metadata"]
    await api.read(RUNS, "one")


async def test_a_deletion_of_another_uid_is_refused(api: Api) -> None:
    await api.create(RUNS, run())

    answer = await api.delete(RUNS, "one", {"preconditions": {"uid": "11111111-1111-1111-1111-111111111111"}})

    answer.refused(409, "Conflict", mentions="UID")
    await api.read(RUNS, "one")


async def test_a_deletion_of_an_old_version_is_refused(api: Api) -> None:
    created = await api.create(RUNS, run())
    (await api.patch(RUNS, "one", {"metadata": {"labels": {"a": "b"}}})).ok()

    answer = await api.delete(RUNS, "one", {"preconditions": {"resourceVersion": created["metadata"]["resourceVersion"]}})

    answer.refused(409, "Conflict", mentions="ResourceVersion")


async def test_a_deletion_whose_preconditions_hold_is_done(api: Api) -> None:
    created = await api.create(RUNS, run())
    conditions = {key: created["metadata"][key] for key in ("uid", "resourceVersion")}

    (await api.delete(RUNS, "one", {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": conditions})).ok()

    (await api.get(RUNS, "one")).refused(404, "NotFound")


async def test_a_collection_is_deleted_by_selection(api: Api) -> None:
    for name, label in (("a", "x"), ("b", "y"), ("c", "x")):
        await api.create(RUNS, run(name, labels={"group": label}))

    (await api.delete(RUNS, labelSelector="group=x")).ok()

    assert await api.names(RUNS) == ["b"]


async def test_a_collection_is_deleted_by_fields(api: Api) -> None:
    await api.create(RUNS, run("a"))
    await api.create(RUNS, changed(run("b"), "spec.runtime", "python"))

    (await api.delete(RUNS, fieldSelector="spec.runtime=python")).ok()

    assert await api.names(RUNS) == ["a"]


async def test_a_whole_collection_is_deleted_but_what_finalizers_hold(api: Api) -> None:
    await api.create(RUNS, run("a"))
    await api.create(RUNS, run("b", finalizers=[FINALIZER]))

    (await api.delete(RUNS)).ok()

    listing = (await api.get(RUNS)).ok()
    assert [(item["metadata"]["name"], "deletionTimestamp" in item["metadata"]) for item in listing["items"]] == [("b", True)]


async def test_a_collection_of_one_namespace_only_is_deleted(api: Api) -> None:
    here = api.namespace
    api.namespace = "default"
    await api.create(CONFIG_MAPS, config_map(f"kept-{here}"))
    api.namespace = here

    (await api.delete(CONFIG_MAPS)).ok()

    api.namespace = "default"
    await api.read(CONFIG_MAPS, f"kept-{here}")


async def test_a_pod_without_a_node_goes_at_once(api: Api) -> None:
    await api.create(PODS, pod())

    (await api.delete(PODS, "one")).ok()

    (await api.get(PODS, "one")).refused(404, "NotFound")


async def test_a_pod_on_a_node_waits_for_its_node(api: Api) -> None:
    await api.create(PODS, pod(node="node-1"))

    answer = (await api.delete(PODS, "one")).ok()

    assert answer["kind"] == "Pod"
    held = await api.read(PODS, "one")
    assert held["metadata"]["deletionGracePeriodSeconds"] == 30
    assert "deletionTimestamp" in held["metadata"]


async def test_a_pods_grace_period_can_be_chosen(api: Api) -> None:
    await api.create(PODS, pod(node="node-1"))

    (await api.delete(PODS, "one", {"gracePeriodSeconds": 5})).ok()

    assert (await api.read(PODS, "one"))["metadata"]["deletionGracePeriodSeconds"] == 5


async def test_a_node_lets_go_of_a_pod_with_a_grace_of_zero(api: Api) -> None:
    created = await api.create(PODS, pod(node="node-1"))
    (await api.delete(PODS, "one")).ok()

    (await api.delete(PODS, "one", {"gracePeriodSeconds": 0, "preconditions": {"uid": created["metadata"]["uid"]}})).ok()

    (await api.get(PODS, "one")).refused(404, "NotFound")


async def test_delete_options_may_come_as_a_query(api: Api) -> None:
    await api.create(PODS, pod(node="node-1"))

    (await api.delete(PODS, "one", gracePeriodSeconds=0)).ok()

    (await api.get(PODS, "one")).refused(404, "NotFound")


@pytest.mark.parametrize("policy", ["Background", "Orphan", "Foreground"])
async def test_a_propagation_policy_is_understood(api: Api, policy: str) -> None:
    await api.create(CONFIG_MAPS, config_map())

    (await api.delete(CONFIG_MAPS, "one", {"propagationPolicy": policy})).ok()


async def test_an_unknown_propagation_policy_is_refused(api: Api) -> None:
    await api.create(RUNS, run())

    (await api.delete(RUNS, "one", {"propagationPolicy": "Sometimes"})).refused(422, "Invalid")

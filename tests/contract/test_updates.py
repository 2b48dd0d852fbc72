"""Replacing objects: what must match, what moves, what stays."""

from __future__ import annotations

import pytest

from tests.contract.http import CONFIG_MAPS, DEPLOYMENTS, RUNS, RUNTIMES, Api
from tests.contract.objects import REMOVE, changed, config_map, deployment, run, runtime


async def test_a_stale_put_is_refused(api: Api) -> None:
    created = await api.create(RUNS, run())
    (await api.put(RUNS, changed(created, "metadata.labels", {"a": "b"}))).ok()

    answer = await api.put(RUNS, changed(created, "metadata.labels", {"a": "c"}))

    answer.refused(409, "Conflict", mentions="the object has been modified; please apply your changes to the latest version and try again")
    assert (await api.read(RUNS, "one"))["metadata"]["labels"] == {"a": "b"}


async def test_a_custom_object_is_not_replaced_without_a_resource_version(api: Api) -> None:
    created = await api.create(RUNS, run())

    answer = await api.put(RUNS, changed(created, "metadata.resourceVersion", REMOVE))

    answer.invalid(field="metadata.resourceVersion", mentions="must be specified for an update")


async def test_a_built_in_object_is_replaced_without_a_resource_version(api: Api) -> None:
    created = await api.create(CONFIG_MAPS, config_map())

    written = (await api.put(CONFIG_MAPS, changed(changed(created, "metadata.resourceVersion", REMOVE), "data.key", "other"))).ok()

    assert written["data"] == {"key": "other"}


async def test_a_put_does_not_create(api: Api) -> None:
    (await api.put(RUNS, run("none", resourceVersion="1"))).refused(404, "NotFound")


async def test_the_names_of_body_and_path_must_agree(api: Api) -> None:
    created = await api.create(RUNS, run())

    answer = await api.request("PUT", api.path(RUNS, "two"), created)

    answer.refused(400, "BadRequest", mentions="the name of the object (one) does not match the name on the URL (two)")


async def test_another_uid_is_another_object(api: Api) -> None:
    created = await api.create(RUNS, run())

    answer = await api.put(RUNS, changed(created, "metadata.uid", "11111111-1111-1111-1111-111111111111"))

    answer.refused(409, "Conflict", mentions="UID")


async def test_a_change_of_spec_raises_the_generation(api: Api) -> None:
    await api.create(RUNS, run())

    assert (await api.patch(RUNS, "one", {"spec": {"ttlSecondsAfterFinished": 5}})).ok()["metadata"]["generation"] == 2


async def test_a_change_of_metadata_does_not_raise_the_generation(api: Api) -> None:
    await api.create(RUNS, run())

    assert (await api.patch(RUNS, "one", {"metadata": {"labels": {"a": "b"}}})).ok()["metadata"]["generation"] == 1


async def test_a_change_of_status_does_not_raise_the_generation(api: Api) -> None:
    await api.create(RUNS, run())

    assert (await api.patch(RUNS, "one", {"status": {"phase": "Failed"}}, subresource="status")).ok()["metadata"]["generation"] == 1


async def test_a_deployments_generation_follows_its_spec(api: Api) -> None:
    created = await api.create(DEPLOYMENTS, deployment())
    scaled = (await api.patch(DEPLOYMENTS, "one", {"spec": {"replicas": 3}})).ok()
    reported = (await api.patch(DEPLOYMENTS, "one", {"status": {"observedGeneration": 2, "readyReplicas": 0}}, subresource="status")).ok()

    assert [thing["metadata"]["generation"] for thing in (created, scaled, reported)] == [1, 2, 2]
    assert reported["status"]["observedGeneration"] == 2


@pytest.mark.parametrize("name", ["uid", "creationTimestamp", "generation"])
async def test_identity_survives_a_put_that_leaves_it_out(api: Api, name: str) -> None:
    created = await api.create(RUNTIMES, runtime("one"))

    written = (await api.put(RUNTIMES, changed(created, f"metadata.{name}", REMOVE))).ok()

    assert written["metadata"][name] == created["metadata"][name]


async def test_a_write_that_changes_nothing_keeps_the_resource_version(api: Api) -> None:
    created = await api.create(RUNS, run())

    assert (await api.put(RUNS, created)).ok()["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]
    patched = (await api.patch(RUNS, "one", {"spec": {"runtime": "bash"}})).ok()
    assert patched["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]


async def test_a_put_replaces_the_whole_object(api: Api) -> None:
    created = await api.create(CONFIG_MAPS, config_map(labels={"a": "b"}, annotations={"c": "d"}))
    bare = changed(changed(created, "metadata.labels", REMOVE), "metadata.annotations", REMOVE)

    written = (await api.put(CONFIG_MAPS, changed(bare, "data", {"other": "value"}))).ok()

    assert written["data"] == {"other": "value"}
    assert not {"labels", "annotations"} & set(written["metadata"])


async def test_of_two_writers_one_wins(api: Api) -> None:
    created = await api.create(CONFIG_MAPS, config_map())

    answers = [await api.put(CONFIG_MAPS, changed(created, "data.key", value)) for value in ("first", "second")]

    assert [answer.status for answer in answers] == [200, 409]
    assert (await api.read(CONFIG_MAPS, "one"))["data"] == {"key": "first"}

"""Creating, reading, listing: names, identities, versions."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from tests.contract.http import CONFIG_MAPS, DEPLOYMENTS, EVENTS, LEASES, NAMESPACES, PODS, RUNS, RUNTIMES, Api, Json
from tests.contract.objects import changed, config_map, deployment, pod, run, runtime

UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def event(namespace: str) -> Json:
    regarding = {"apiVersion": "kruntimes.io/v1alpha1", "kind": "Run", "name": "one", "namespace": namespace}
    times = {"firstTimestamp": "2026-08-09T10:00:01Z", "lastTimestamp": "2026-08-09T10:00:01Z"}
    text = {"reason": "Retrying", "message": "again", "type": "Warning", "count": 1, "source": {"component": "test"}}
    return {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "one"}, "involvedObject": regarding} | times | text


def lease() -> Json:
    spec = {"holderIdentity": "me", "leaseDurationSeconds": 15, "renewTime": "2026-08-09T10:00:01.000250Z", "leaseTransitions": 0}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "one"}, "spec": spec}


KINDS = {
    "run": (RUNS, run("one")),
    "runtime": (RUNTIMES, runtime("one")),
    "pod": (PODS, pod("one")),
    "deployment": (DEPLOYMENTS, deployment("one")),
    "config-map": (CONFIG_MAPS, config_map("one")),
    "event": (EVENTS, event("{namespace}")),
    "lease": (LEASES, lease()),
}
each_kind = pytest.mark.parametrize("kind", list(KINDS))


def of(kind: str, api: Api) -> tuple[str, Json]:
    resource, manifest = KINDS[kind]
    return resource, manifest if kind != "event" else event(api.namespace)


@each_kind
async def test_a_created_object_has_an_identity(api: Api, kind: str) -> None:
    resource, manifest = of(kind, api)

    created = await api.create(resource, manifest)

    metadata = created["metadata"]
    assert (created["kind"], created["apiVersion"]) == (manifest["kind"], manifest["apiVersion"])
    assert (metadata["name"], metadata["namespace"]) == ("one", api.namespace)
    assert UID.fullmatch(metadata["uid"])
    assert int(metadata["resourceVersion"]) > 0
    age = datetime.now(UTC) - datetime.fromisoformat(metadata["creationTimestamp"])
    assert timedelta(seconds=-2) < age < timedelta(minutes=1)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", metadata["creationTimestamp"])


@each_kind
async def test_a_created_object_can_be_read_and_listed(api: Api, kind: str) -> None:
    resource, manifest = of(kind, api)
    created = await api.create(resource, manifest)

    assert await api.read(resource, "one") == created
    listing = (await api.get(resource)).ok()
    assert listing["kind"] == f"{manifest['kind']}List"
    assert [item["metadata"]["uid"] for item in listing["items"]] == [created["metadata"]["uid"]]
    assert int(listing["metadata"]["resourceVersion"]) >= int(created["metadata"]["resourceVersion"])


@each_kind
async def test_a_name_is_taken_once(api: Api, kind: str) -> None:
    resource, manifest = of(kind, api)
    await api.create(resource, manifest)

    status = (await api.post(resource, manifest)).refused(409, "AlreadyExists", mentions='"one" already exists')

    assert status["details"]["name"] == "one"


@each_kind
async def test_what_is_not_there_is_not_found(api: Api, kind: str) -> None:
    resource, _ = of(kind, api)

    status = (await api.get(resource, "none")).refused(404, "NotFound", mentions='"none" not found')

    assert status["details"]["kind"] == resource.rsplit("/", 1)[-1]


@each_kind
async def test_an_object_can_be_replaced_and_deleted(api: Api, kind: str) -> None:
    resource, manifest = of(kind, api)
    created = await api.create(resource, manifest)

    written = (await api.put(resource, changed(created, "metadata.labels", {"a": "b"}))).ok()
    (await api.delete(resource, "one", {"gracePeriodSeconds": 0})).ok()

    assert written["metadata"]["labels"] == {"a": "b"}
    assert written["metadata"]["uid"] == created["metadata"]["uid"]
    assert int(written["metadata"]["resourceVersion"]) > int(created["metadata"]["resourceVersion"])
    (await api.get(resource, "one")).refused(404, "NotFound")


async def test_a_lease_keeps_microseconds(api: Api) -> None:
    assert (await api.create(LEASES, lease()))["spec"]["renewTime"] == "2026-08-09T10:00:01.000250Z"


async def test_a_stale_lease_write_is_refused(api: Api) -> None:
    created = await api.create(LEASES, lease())
    (await api.put(LEASES, changed(created, "spec.holderIdentity", "you"))).ok()

    (await api.put(LEASES, changed(created, "spec.holderIdentity", "me"))).refused(409, "Conflict")


async def test_generate_name_makes_names(api: Api) -> None:
    manifest = run()
    manifest["metadata"] = {"generateName": "job-"}

    names = [(await api.create(RUNS, manifest))["metadata"]["name"] for _ in range(3)]

    assert len(set(names)) == 3
    assert all(re.fullmatch(r"job-[a-z0-9]{5}", name) for name in names)


async def test_a_given_name_wins_over_generate_name(api: Api) -> None:
    assert (await api.create(RUNS, run("one", generateName="job-")))["metadata"]["name"] == "one"


async def test_an_object_needs_a_name(api: Api) -> None:
    (await api.post(RUNS, changed(run(), "metadata", {}))).invalid(field="metadata.name", mentions="name or generateName is required")


@pytest.mark.parametrize("name", ["Upper", "under_score", "-dash", "dot.", "a" * 254, "with space", "slash/ed"])
async def test_a_bad_name_is_refused(api: Api, name: str) -> None:
    (await api.post(RUNS, run(name))).invalid(field="metadata.name")


@pytest.mark.parametrize("name", ["a", "a.b-c", "0", "a" * 253])
async def test_a_good_name_is_accepted(api: Api, name: str) -> None:
    assert (await api.create(RUNS, run(name)))["metadata"]["name"] == name


@pytest.mark.parametrize("labels", [{"a b": "c"}, {"a": "b c"}, {"a": "b" * 64}, {"-a": ""}, {"a/b/c": ""}])
async def test_bad_labels_are_refused(api: Api, labels: dict[str, str]) -> None:
    (await api.post(RUNS, run(labels=labels))).invalid(field="metadata.labels")


async def test_good_labels_and_annotations_are_kept(api: Api) -> None:
    metadata: Json = {"labels": {"a": "", "kruntimes.io/b": "C.d_e-f"}, "annotations": {"kruntimes.io/note": "any text: {}\n"}}

    created = await api.create(RUNS, run(**metadata))

    assert {key: created["metadata"][key] for key in metadata} == metadata


async def test_a_bad_annotation_key_is_refused(api: Api) -> None:
    (await api.post(RUNS, run(annotations={"kruntimes.io/capacity.example.com/gpu": "1"}))).invalid(field="metadata.annotations")


async def test_the_namespace_must_exist(api: Api) -> None:
    api.namespace = "nowhere"

    (await api.post(RUNS, run())).refused(404, "NotFound", mentions='namespaces "nowhere" not found')


async def test_the_namespace_of_body_and_path_must_agree(api: Api) -> None:
    (await api.post(RUNS, run(namespace="default"))).refused(400, "BadRequest", mentions="does not match")


async def test_a_new_object_has_no_resource_version(api: Api) -> None:
    answer = await api.post(RUNS, run(resourceVersion="5"))

    # The real server calls it an internal error, without a reason.
    assert answer.status == 500
    assert "resourceVersion should not be set on objects to be created" in answer.body["message"]


async def test_identity_is_the_servers_to_give(api: Api) -> None:
    stated: Json = {"uid": "11111111-1111-1111-1111-111111111111", "creationTimestamp": "2000-01-01T00:00:00Z", "generation": 7}

    metadata = (await api.create(RUNS, run(**stated)))["metadata"]

    assert all(metadata[key] != value for key, value in stated.items())
    assert metadata["generation"] == 1


async def test_a_list_of_all_namespaces_has_them_all(api: Api) -> None:
    await api.create(RUNS, run("mine-only"))

    everything = (await api.request("GET", "/apis/kruntimes.io/v1alpha1/runs")).ok()

    assert (api.namespace, "mine-only") in [(item["metadata"]["namespace"], item["metadata"]["name"]) for item in everything["items"]]


async def test_an_empty_list_is_a_list(api: Api) -> None:
    listing = (await api.get(RUNS)).ok()

    assert (listing["kind"], listing["apiVersion"], listing["items"]) == ("RunList", "kruntimes.io/v1alpha1", [])


async def test_a_list_is_ordered_by_name(api: Api) -> None:
    for name in ("b", "c", "a"):
        await api.create(RUNS, run(name))

    listing = (await api.get(RUNS)).ok()

    assert [item["metadata"]["name"] for item in listing["items"]] == ["a", "b", "c"]


async def test_a_list_from_memory_is_a_list_too(api: Api) -> None:
    created = await api.create(RUNS, run())

    listing = (await api.get(RUNS, resourceVersion=created["metadata"]["resourceVersion"])).ok()

    assert [item["metadata"]["name"] for item in listing["items"]] == ["one"]
    (await api.get(RUNS, resourceVersion="0")).ok()


async def test_a_resource_version_that_is_none_is_refused(api: Api) -> None:
    (await api.get(RUNS, resourceVersion="soon")).refused(400, "BadRequest", mentions="resourceVersion")


async def test_resource_versions_grow_over_all_kinds(api: Api) -> None:
    first = await api.create(RUNS, run())
    second = await api.create(CONFIG_MAPS, config_map())
    third = (await api.patch(RUNS, "one", {"metadata": {"labels": {"a": "b"}}})).ok()

    versions = [int(thing["metadata"]["resourceVersion"]) for thing in (first, second, third)]
    assert versions == sorted(set(versions))


async def test_a_namespace_can_be_created_and_labelled(api: Api) -> None:
    namespace = (await api.request("GET", f"{NAMESPACES}/{api.namespace}")).ok()
    answer = await api.request(
        "PATCH", f"{NAMESPACES}/{api.namespace}", {"metadata": {"labels": {"a": "b"}}}, content_type="application/merge-patch+json"
    )

    assert namespace["status"]["phase"] == "Active"
    labels = answer.ok()["metadata"]["labels"]
    assert labels["a"] == "b"
    assert labels["kubernetes.io/metadata.name"] == api.namespace


async def test_the_default_namespace_is_there(api: Api) -> None:
    (await api.request("GET", f"{NAMESPACES}/default")).ok()


async def test_the_name_field_of_an_event_selects_it(api: Api) -> None:
    await api.create(EVENTS, event(api.namespace))

    assert await api.names(EVENTS, fieldSelector="involvedObject.name=one,involvedObject.kind=Run") == ["one"]
    assert await api.names(EVENTS, fieldSelector="involvedObject.name=two") == []

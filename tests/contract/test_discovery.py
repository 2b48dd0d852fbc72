"""What kubectl and client libraries ask first: versions, groups, resources, schemas, health."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.http import Api

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
VERBS = {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}
RESOURCES = [
    ("/api/v1", "pods", "Pod", True, ["po"]),
    ("/api/v1", "configmaps", "ConfigMap", True, ["cm"]),
    ("/api/v1", "namespaces", "Namespace", False, ["ns"]),
    ("/api/v1", "events", "Event", True, ["ev"]),
    ("/apis/apps/v1", "deployments", "Deployment", True, ["deploy"]),
    ("/apis/coordination.k8s.io/v1", "leases", "Lease", True, []),
    ("/apis/kruntimes.io/v1alpha1", "runs", "Run", True, ["rn"]),
    ("/apis/kruntimes.io/v1alpha1", "runtimes", "Runtime", True, ["rt"]),
    ("/apis/apiextensions.k8s.io/v1", "customresourcedefinitions", "CustomResourceDefinition", False, ["crd", "crds"]),
]


async def get(api: Api, path: str, **headers: str) -> Any:
    return (await api.request("GET", path, headers=headers)).ok()


async def test_the_core_group_is_listed(api: Api) -> None:
    body = await get(api, "/api")

    assert body["kind"] == "APIVersions"
    assert body["versions"] == ["v1"]


async def test_our_group_is_listed(api: Api) -> None:
    body = await get(api, "/apis")

    assert body["kind"] == "APIGroupList"
    groups = {group["name"]: group for group in body["groups"]}
    assert groups["kruntimes.io"]["preferredVersion"] == {"groupVersion": "kruntimes.io/v1alpha1", "version": "v1alpha1"}
    assert {"apps", "coordination.k8s.io", "apiextensions.k8s.io"} <= set(groups)


async def test_a_group_can_be_read_alone(api: Api) -> None:
    body = await get(api, "/apis/kruntimes.io")

    assert (body["kind"], body["name"]) == ("APIGroup", "kruntimes.io")
    assert body["versions"] == [{"groupVersion": "kruntimes.io/v1alpha1", "version": "v1alpha1"}]


@pytest.mark.parametrize(("path", "plural", "kind", "namespaced", "short_names"), RESOURCES, ids=[row[1] for row in RESOURCES])
async def test_a_resource_is_described(api: Api, path: str, plural: str, kind: str, namespaced: bool, short_names: list[str]) -> None:
    body = await get(api, path)

    assert (body["kind"], body["groupVersion"]) == ("APIResourceList", path.removeprefix("/apis/").removeprefix("/api/"))
    resource = next(entry for entry in body["resources"] if entry["name"] == plural)
    assert (resource["kind"], resource["namespaced"], resource.get("shortNames", [])) == (kind, namespaced, short_names)
    assert set(resource["verbs"]) >= VERBS - ({"deletecollection"} if kind == "Namespace" else set())


@pytest.mark.parametrize("plural", ["runs", "runtimes"])
async def test_a_status_subresource_is_described(api: Api, plural: str) -> None:
    body = await get(api, "/apis/kruntimes.io/v1alpha1")

    status = next(entry for entry in body["resources"] if entry["name"] == f"{plural}/status")
    assert set(status["verbs"]) == {"get", "patch", "update"}


async def test_discovery_is_offered_in_one_answer(api: Api) -> None:
    body = await get(api, "/apis", Accept=AGGREGATED)

    # A server may answer in the old form; kubectl then asks group by group.
    assert body["kind"] in ("APIGroupDiscoveryList", "APIGroupList")


async def test_schemas_are_offered(api: Api) -> None:
    paths = (await get(api, "/openapi/v3"))["paths"]

    assert {"api/v1", "apis/apps/v1", "apis/kruntimes.io/v1alpha1"} <= set(paths)


async def test_the_schema_of_a_run_carries_its_fields(api: Api) -> None:
    paths = (await get(api, "/openapi/v3"))["paths"]
    document = await get(api, paths["apis/kruntimes.io/v1alpha1"]["serverRelativeURL"])

    run = next(
        schema
        for schema in document["components"]["schemas"].values()
        if {"group": "kruntimes.io", "version": "v1alpha1", "kind": "Run"} in schema.get("x-kubernetes-group-version-kind", [])
    )
    assert run["properties"]["spec"]["properties"]["runtime"]["maxLength"] == 63
    assert "/apis/kruntimes.io/v1alpha1/namespaces/{namespace}/runs/{name}" in document["paths"]


async def test_the_version_is_told(api: Api) -> None:
    assert {"major", "minor", "gitVersion"} <= set(await get(api, "/version"))


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/livez"])
async def test_health_is_told(api: Api, path: str) -> None:
    answer = await api.request("GET", path)

    assert (answer.status, answer.body) == (200, "ok")


async def test_our_definitions_can_be_read(api: Api) -> None:
    body = await get(api, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/runs.kruntimes.io")

    version = body["spec"]["versions"][0]
    selectable = (".status.phase", ".status.assignedPod", ".spec.runtime", ".spec.ttlSecondsAfterFinished")
    assert version["selectableFields"] == [{"jsonPath": path} for path in selectable]
    assert [column["name"] for column in version["additionalPrinterColumns"]] == ["Phase", "Assigned Pod", "Runtime", "Age"]
    assert {"type": "Established", "status": "True"}.items() <= body["status"]["conditions"][-1].items()

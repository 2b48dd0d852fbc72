"""Lists as tables: what `kubectl get` prints."""

from __future__ import annotations

from typing import Any

from tests.contract.http import CONFIG_MAPS, PODS, RUNS, RUNTIMES, Api, Json
from tests.contract.objects import changed, config_map, pod, run, runtime

TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}


async def table(api: Api, resource: str, name: str = "", **query: Any) -> Json:
    body = (await api.request("GET", api.path(resource, name), headers=TABLE, **query)).ok()
    assert (body["kind"], body["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    return body


def columns(body: Json) -> list[tuple[str, str]]:
    return [(column["name"], column["type"]) for column in body["columnDefinitions"] if column["priority"] == 0]


async def test_a_run_has_its_columns(api: Api) -> None:
    await api.create(RUNS, run())
    (await api.patch(RUNS, "one", {"status": {"phase": "Running", "assignedPod": "pod-1"}}, subresource="status")).ok()

    body = await table(api, RUNS)

    assert columns(body) == [("Name", "string"), ("Phase", "string"), ("Assigned Pod", "string"), ("Runtime", "string"), ("Age", "date")]
    (row,) = body["rows"]
    assert row["cells"][:4] == ["one", "Running", "pod-1", "bash"]
    assert row["cells"][4].endswith("s")


async def test_a_runtime_has_its_columns(api: Api) -> None:
    await api.create(RUNTIMES, changed(runtime(), "spec.replicas", 2))
    (await api.patch(RUNTIMES, "bash", {"status": {"readyReplicas": 1}}, subresource="status")).ok()

    body = await table(api, RUNTIMES)

    assert columns(body) == [("Name", "string"), ("Image", "string"), ("Replicas", "integer"), ("Ready", "integer"), ("Age", "date")]
    assert body["rows"][0]["cells"][:4] == ["bash", "bash-runtime:1", 2, 1]


async def test_a_missing_value_leaves_its_cell_empty(api: Api) -> None:
    await api.create(RUNS, run())

    assert (await table(api, RUNS))["rows"][0]["cells"][1:3] == [None, None]


async def test_one_object_is_a_table_of_one_row(api: Api) -> None:
    await api.create(RUNS, run("one"))
    await api.create(RUNS, run("two"))

    assert [row["cells"][0] for row in (await table(api, RUNS, "two"))["rows"]] == ["two"]


async def test_a_row_carries_the_metadata_of_its_object(api: Api) -> None:
    created = await api.create(RUNS, run(labels={"a": "b"}))

    (row,) = (await table(api, RUNS))["rows"]

    assert (row["object"]["kind"], row["object"]["apiVersion"]) == ("PartialObjectMetadata", "meta.k8s.io/v1")
    assert row["object"]["metadata"]["labels"] == {"a": "b"}
    assert row["object"]["metadata"]["uid"] == created["metadata"]["uid"]


async def test_a_row_may_carry_its_object_or_nothing(api: Api) -> None:
    created = await api.create(RUNS, run())

    assert (await table(api, RUNS, includeObject="Object"))["rows"][0]["object"] == created
    assert (await table(api, RUNS, includeObject="None"))["rows"][0].get("object") is None


async def test_an_empty_table_has_columns(api: Api) -> None:
    body = await table(api, RUNS)

    assert columns(body)[0] == ("Name", "string")
    assert not body["rows"]


async def test_a_table_has_pages_and_selections_as_a_list_has(api: Api) -> None:
    for name in ("a", "b", "c"):
        await api.create(RUNS, run(name))

    body = await table(api, RUNS, limit=2)
    rest = await table(api, RUNS, limit=2, **{"continue": body["metadata"]["continue"]})

    assert [[row["cells"][0] for row in one["rows"]] for one in (body, rest)] == [["a", "b"], ["c"]]
    assert [row["cells"][0] for row in (await table(api, RUNS, fieldSelector="metadata.name=b"))["rows"]] == ["b"]


async def test_built_in_kinds_have_tables(api: Api) -> None:
    await api.create(CONFIG_MAPS, config_map())
    await api.create(PODS, pod())

    maps, pods = await table(api, CONFIG_MAPS), await table(api, PODS)

    # A namespace of a whole cluster has further ConfigMaps.
    assert "one" in [row["cells"][0] for row in maps["rows"]]
    assert [name for name, _ in columns(pods)] == ["Name", "Ready", "Status", "Restarts", "Age"]
    assert pods["rows"][0]["cells"][:3] == ["one", "0/1", "Pending"]


async def test_a_table_can_be_watched(api: Api) -> None:
    start = (await api.get(RUNS)).ok()["metadata"]["resourceVersion"]
    async with api.watch(RUNS, headers=TABLE, resourceVersion=start) as watch:
        await api.create(RUNS, run())
        kind, first = await watch.next()
        (await api.patch(RUNS, "one", {"status": {"phase": "Running"}}, subresource="status")).ok()
        _, second = await watch.next()

    assert (kind, first["kind"], first["rows"][0]["cells"][0]) == ("ADDED", "Table", "one")
    assert second["rows"][0]["cells"][1] == "Running"

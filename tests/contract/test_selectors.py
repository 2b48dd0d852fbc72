"""Selecting by labels and by fields."""

from __future__ import annotations

import pytest

from tests.contract.http import CONFIG_MAPS, PODS, RUNS, RUNTIMES, Api
from tests.contract.objects import changed, config_map, pod, run

LABELLED = {"none": {}, "a1": {"a": "1"}, "a2": {"a": "2", "b": ""}, "b3": {"b": "3"}}

LABEL_SELECTORS = [
    ("a=1", ["a1"]),
    ("a==2", ["a2"]),
    ("a!=1", ["a2", "b3", "none"]),
    ("a", ["a1", "a2"]),
    ("!a", ["b3", "none"]),
    ("a in (1,2)", ["a1", "a2"]),
    ("a in (2,3)", ["a2"]),
    ("a notin (1)", ["a2", "b3", "none"]),
    ("b=", ["a2"]),
    ("a,b", ["a2"]),
    ("a=1,b", []),
    ("a notin (2),b", ["b3"]),
    ("a>1", ["a2"]),
    ("a<2", ["a1"]),
    (" a = 1 , !b ", ["a1"]),
    ("", ["a1", "a2", "b3", "none"]),
]
BAD_LABEL_SELECTORS = ["a=b c", "a in", "a in (1", "=1", "a=1,", "-a=1", "a>x"]

FIELD_SELECTORS = [
    ("metadata.name=two", ["two"]),
    ("metadata.name!=two", ["one", "three"]),
    ("metadata.name=none", []),
    ("status.phase=Running", ["two"]),
    ("status.phase==Running", ["two"]),
    ("status.phase!=Running", ["one", "three"]),
    ("status.phase=", ["one"]),
    ("status.phase!=Succeeded,status.phase!=Failed,status.phase!=Timeout,status.phase!=Cancelled", ["one", "two"]),
    ("status.assignedPod=pod-1", ["two", "three"]),
    ("status.assignedPod=pod-1,status.phase!=Succeeded", ["two"]),
    ("status.assignedPod!=pod-1", ["one"]),
    ("spec.runtime=bash", ["one", "two"]),
    ("spec.runtime!=bash", ["three"]),
    ("spec.runtime=bash,metadata.name=one", ["one"]),
]


@pytest.fixture
async def labelled(api: Api) -> Api:
    for name, labels in LABELLED.items():
        await api.create(CONFIG_MAPS, config_map(name, labels=labels))
    return api


@pytest.fixture
async def runs(api: Api) -> Api:
    await api.create(RUNS, run("one"))
    await api.create(RUNS, run("two"))
    await api.create(RUNS, changed(run("three"), "spec.runtime", "python"))
    for name, phase in (("two", "Running"), ("three", "Succeeded")):
        (await api.patch(RUNS, name, {"status": {"phase": phase, "assignedPod": "pod-1"}}, subresource="status")).ok()
    return api


@pytest.mark.parametrize(("selector", "names"), LABEL_SELECTORS, ids=[selector or "everything" for selector, _ in LABEL_SELECTORS])
async def test_a_label_selector_selects(labelled: Api, selector: str, names: list[str]) -> None:
    found = await labelled.names(CONFIG_MAPS, labelSelector=selector)

    assert [name for name in found if name in LABELLED] == names


@pytest.mark.parametrize("selector", BAD_LABEL_SELECTORS)
async def test_a_label_selector_that_is_none_is_refused(api: Api, selector: str) -> None:
    (await api.get(CONFIG_MAPS, labelSelector=selector)).refused(400, "BadRequest")


@pytest.mark.parametrize(("selector", "names"), FIELD_SELECTORS, ids=[selector for selector, _ in FIELD_SELECTORS])
async def test_a_field_selector_selects(runs: Api, selector: str, names: list[str]) -> None:
    assert await runs.names(RUNS, fieldSelector=selector) == sorted(names)


async def test_a_number_is_a_field_and_one_that_is_not_there_is_empty(runs: Api) -> None:
    await runs.create(RUNS, changed(run("expiring"), "spec.ttlSecondsAfterFinished", 60))

    assert await runs.names(RUNS, fieldSelector="spec.ttlSecondsAfterFinished!=") == ["expiring"]
    assert await runs.names(RUNS, fieldSelector="spec.ttlSecondsAfterFinished=60") == ["expiring"]
    assert await runs.names(RUNS, fieldSelector="spec.ttlSecondsAfterFinished=") == ["one", "three", "two"]


async def test_a_namespace_is_a_field(runs: Api) -> None:
    path = "/apis/kruntimes.io/v1alpha1/runs"

    listing = (await runs.request("GET", path, fieldSelector=f"metadata.namespace={runs.namespace},metadata.name=two")).ok()

    assert [item["metadata"]["name"] for item in listing["items"]] == ["two"]


@pytest.mark.parametrize("selector", ["spec.timeout=1s", "status.message=x", "metadata.labels.a=b", "nonsense=1"])
async def test_a_field_that_is_not_selectable_is_refused(api: Api, selector: str) -> None:
    (await api.get(RUNS, fieldSelector=selector)).refused(400, "BadRequest", mentions="field label not supported")


@pytest.mark.parametrize("selector", ["status.phase", "status.phase>Running"])
async def test_a_field_selector_that_is_none_is_refused(api: Api, selector: str) -> None:
    (await api.get(RUNS, fieldSelector=selector)).refused(400, "BadRequest")


async def test_a_runtime_has_no_selectable_fields_of_its_own(api: Api) -> None:
    (await api.get(RUNTIMES, fieldSelector="spec.port=9091")).refused(400, "BadRequest")


async def test_both_selectors_must_hold(runs: Api) -> None:
    (await runs.patch(RUNS, "one", {"metadata": {"labels": {"a": "b"}}})).ok()

    assert await runs.names(RUNS, fieldSelector="spec.runtime=bash", labelSelector="a=b") == ["one"]
    assert await runs.names(RUNS, fieldSelector="spec.runtime=bash", labelSelector="!a") == ["two"]


@pytest.mark.parametrize("selector", ["spec.nodeName=node-1", "status.phase=Running", "metadata.name=placed"])
async def test_pods_are_selected_by_their_fields(api: Api, selector: str) -> None:
    await api.create(PODS, pod("placed", node="node-1"))
    await api.create(PODS, pod("waiting"))
    (await api.patch(PODS, "placed", {"status": {"phase": "Running"}}, subresource="status")).ok()

    assert await api.names(PODS, fieldSelector=selector) == ["placed"]


async def test_other_kinds_have_name_and_namespace_only(api: Api) -> None:
    (await api.get(CONFIG_MAPS, fieldSelector="data.key=value")).refused(400, "BadRequest")
    assert await api.names(CONFIG_MAPS, fieldSelector="metadata.name=nothing") == []

"""Whatever is sent, the answer is an object or a Status: nothing a client sends may end in an internal error."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controlplane.local.apiserver import deletion, patches
from controlplane.local.apiserver.reading import Reader
from controlplane.local.apiserver.requests import Options
from controlplane.local.apiserver.statuses import Refused
from tests.contract.http import Json
from tests.contract.objects import config_map, deployment, pod, run, runtime
from tests.controlplane.local.apiserver.world import World

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
values = st.recursive(
    scalars, lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=5), below, max_size=3), max_leaves=8
)

MANIFESTS = {
    "runs.kruntimes.io": run,
    "runtimes.kruntimes.io": runtime,
    "configmaps": config_map,
    "pods": pod,
    "deployments.apps": deployment,
}
META = {
    "labels": {"a": "b"},
    "annotations": {"a": "b"},
    "finalizers": ["example.io/a"],
    "ownerReferences": [{"apiVersion": "v1", "kind": "A", "name": "b", "uid": "c", "controller": True}],
    "generation": 1,
    "resourceVersion": "",
    "deletionTimestamp": None,
    "managedFields": [{"manager": "a", "operation": "Apply", "fieldsV1": {"f:spec": {}}}],
}


def places(value: Any, *, steps: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield steps
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, child in below:
        yield from places(child, steps=(*steps, step))


@st.composite
def spoiled(draw: st.DrawFn) -> tuple[str, Any]:
    """A valid manifest with a value somewhere in it that does not belong there."""
    resource = draw(st.sampled_from(sorted(MANIFESTS)))
    manifest: Json = MANIFESTS[resource]()
    manifest["metadata"] |= META
    manifest = json.loads(json.dumps(manifest))
    steps = draw(st.sampled_from(list(places(manifest))))
    value = draw(values)
    if not steps:
        return resource, value
    parent: Any = manifest
    for step in steps[:-1]:
        parent = parent[step]
    parent[steps[-1]] = value
    return resource, manifest


pointers = st.sampled_from(["/spec/env/0", "/spec", "", "/metadata/labels/a", "/-", "x", "/spec/mode/task/args/-", "/none"])
operations = st.fixed_dictionaries(
    {},
    optional={
        "op": st.sampled_from(["add", "remove", "replace", "test", "move", "copy", "x"]),
        "path": pointers | values,
        "from": pointers | values,
        "value": values,
    },
)
queries = st.dictionaries(
    st.sampled_from(["limit", "continue", "resourceVersion", "resourceVersionMatch", "labelSelector", "fieldSelector"]),
    st.text(max_size=12) | st.sampled_from(["-1", "1", "a in (b", "a=b", "eyJydiI6MX0", "Exact"]),
)


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    with tempfile.TemporaryDirectory() as folder, World(Path(folder)) as world:
        for resource, manifest in MANIFESTS.items():
            world.create(resource, manifest("here"))
        yield world


many = settings(
    max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def attempt(call: Any, *arguments: Any, **keywords: Any) -> None:
    refused: Refused | None = None
    try:
        call(*arguments, **keywords)
    except Refused as error:
        refused = error
    assert refused is None or (400 <= refused.code < 600 and json.loads(refused.encode())["kind"] == "Status")


@pytest.mark.slow
@many
@given(sent=spoiled())
def test_a_create_is_answered(shared: World, sent: tuple[str, Any]) -> None:
    resource, manifest = sent
    target = shared.target(resource)

    attempt(
        shared.verbs.create, target, body=json.dumps(manifest).encode(), content_type="application/json", options=Options({"dryRun": "All"})
    )


@pytest.mark.slow
@many
@given(
    sent=spoiled(),
    kind=st.sampled_from([patches.MERGE, patches.STRATEGIC, patches.APPLY, patches.JSON]),
    subresource=st.sampled_from(["", "status"]),
)
def test_a_patch_is_answered(shared: World, sent: tuple[str, Any], kind: str, subresource: str) -> None:
    resource, manifest = sent
    target = shared.target(resource, "here", subresource=subresource)
    options = Options({"fieldManager": "me", "dryRun": "All"} | ({"force": "true"} if kind == patches.APPLY else {}))

    attempt(shared.verbs.patch, target, body=json.dumps(manifest).encode(), content_type=kind, options=options)


@pytest.mark.slow
@many
@given(sent=st.lists(operations | values, max_size=3))
def test_a_json_patch_is_answered(shared: World, sent: list[Any]) -> None:
    target = shared.target("runs.kruntimes.io", "here")

    attempt(shared.verbs.patch, target, body=json.dumps(sent).encode(), content_type=patches.JSON, options=Options({"dryRun": "All"}))


@pytest.mark.slow
@many
@given(body=st.binary(max_size=60), kind=st.sampled_from(["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"]))
def test_any_bytes_are_answered(shared: World, body: bytes, kind: str) -> None:
    target = shared.target("runs.kruntimes.io")

    attempt(shared.verbs.create, target, body=body, content_type=kind, options=Options())
    attempt(shared.verbs.create, target, body=b"k8s\x00" + body, content_type="application/vnd.kubernetes.protobuf", options=Options())
    attempt(deletion.parse_options, body, options=Options())


@pytest.mark.slow
@many
@given(query=queries)
def test_any_query_is_answered(shared: World, query: dict[str, str]) -> None:
    attempt(Reader(shared.store).list, shared.target("runs.kruntimes.io"), options=Options(query))


@pytest.mark.slow
@many
@given(given_options=values)
def test_any_delete_options_are_answered(shared: World, given_options: Any) -> None:
    body = json.dumps(
        {"preconditions": given_options, "gracePeriodSeconds": given_options, "propagationPolicy": given_options, "dryRun": ["All"]}
    )
    target = shared.target("pods", "here")

    def delete() -> None:
        shared.deletion.delete(target, wish=deletion.parse_options(body.encode(), options=Options()))

    attempt(delete)


def test_a_yaml_bomb_is_refused(shared: World) -> None:
    body = b"a: &a [1]\nb: &b [*a, *a]\nc: [*b, *b]\n"

    with pytest.raises(Refused, match="aliases"):
        shared.verbs.create(shared.target("configmaps"), body=body, content_type="application/yaml", options=Options())


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param({"kind": "Rum", "metadata": "a text"}, id="metadata of another kind is a text"),
        pytest.param({"spec": {**run()["spec"], "resources": {"requests": {"gpu": 2**64}}}}, id="an integer of more than 64 bits"),
        pytest.param({"spec": {**run()["spec"], "resources": {"requests": {"gpu": 10**400}}}}, id="an integer that is no float either"),
        pytest.param({"spec": [json.loads("[" * 300 + "]" * 300)]}, id="something deep where an object belongs"),
    ],
)
def test_what_the_fuzzer_found_is_refused(tmp_path: Path, spoil: Json) -> None:
    with World(tmp_path) as world, pytest.raises(Refused) as refused:
        world.create("runs.kruntimes.io", run() | spoil)
    assert refused.value.code in (400, 422)

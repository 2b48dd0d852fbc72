"""The CRDs and the typed views of k8s.api say the same, field by field and both ways; so do the constants beside them."""

from __future__ import annotations

import json
import re
import types
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import cel
import msgspec
import pytest
import yaml
from msgspec.structs import FieldInfo

from controlplane.controllers.ttl import WITH_TTL_SELECTOR
from k8s.api import names, phases, validation
from k8s.api.meta import View
from k8s.api.quantities import parse_quantity
from k8s.api.run import Run
from k8s.api.runtime import Runtime

CRDS = Path(__file__).parents[3] / "k8s" / "crds"
Schema = dict[str, Any]

CLIENT_SIDE_APPLY_LIMIT_BYTES = 262_144
"""kubectl keeps the manifest in an annotation; annotations may have this much in all."""


def load(name: str) -> dict[str, Any]:
    result: dict[str, Any] = yaml.safe_load((CRDS / name).read_text())
    return result


RUN, RUNTIME = load("run.yaml"), load("runtime.yaml")
both = pytest.mark.parametrize(("definition", "view"), [(RUN, Run), (RUNTIME, Runtime)], ids=["run", "runtime"])


def schema_of(definition: dict[str, Any]) -> Schema:
    (version,) = definition["spec"]["versions"]
    schema: Schema = version["schema"]["openAPIV3Schema"]
    return schema


def disagreements(annotation: Any, schema: Schema, path: str) -> Iterator[str]:
    """Where a field's Python type and its schema differ, in words."""
    kind = without_none(annotation)
    if isinstance(kind, type) and issubclass(kind, View):
        yield from view_disagreements(kind, schema, path)
    elif get_origin(kind) is list:
        if schema.get("type") != "array":
            yield f"{path}: the view has a list, the CRD {schema.get('type')}"
        else:
            yield from disagreements(get_args(kind)[0], schema["items"], f"{path}[]")
    elif kind == dict[str, Any]:
        if schema.get("type") != "object":  # kept as it came
            yield f"{path}: the view keeps an object, the CRD has {schema.get('type')}"
    elif get_origin(kind) is dict:
        if "additionalProperties" not in schema:
            yield f"{path}: the view has a map, the CRD an object with named properties"
        else:
            yield from disagreements(get_args(kind)[1], schema["additionalProperties"], f"{path}{{}}")
    elif scalar(kind) != scalar_of(schema):
        yield f"{path}: the view has {scalar(kind)}, the CRD {scalar_of(schema)}"


def view_disagreements(view: type[View], schema: Schema, path: str) -> Iterator[str]:
    properties: dict[str, Schema] = schema.get("properties", {})
    fields = {field.encode_name: field for field in msgspec.structs.fields(view)}
    hints = get_type_hints(view)
    yield from (f"{path}.{name}: only in the CRD" for name in sorted(set(properties) - set(fields)))
    yield from (f"{path}.{name}: only in the view" for name in sorted(set(fields) - set(properties)))
    for name in sorted(set(fields) & set(properties)):
        if (path, name) in {("Run", "metadata"), ("Runtime", "metadata")}:
            continue  # the API server's own schema
        yield from disagreements(hints[fields[name].name], properties[name], f"{path}.{name}")
        yield from default_disagreements(fields[name], properties[name], f"{path}.{name}", is_required=name in schema.get("required", []))


def default_disagreements(field: FieldInfo, schema: Schema, path: str, *, is_required: bool) -> Iterator[str]:
    has_default = field.default is not msgspec.NODEFAULT or field.default_factory is not msgspec.NODEFAULT
    if not has_default:
        if not is_required:
            yield f"{path}: the view cannot do without it, the CRD can: a valid object would not decode"
        return
    default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if "default" in schema:
        if default != schema["default"]:
            yield f"{path}: the view's default is {default!r}, the CRD's {schema['default']!r}"
    elif not (default is None or default in ("", 0, False, [], {}) or is_empty(default)):
        yield f"{path}: the view has the default {default!r}, the CRD none"


def is_empty(default: Any) -> bool:
    """A view of which nothing but its own (checked) defaults is set."""
    return isinstance(default, View) and default == type(default)()


def without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, types.UnionType):
        members = [member for member in get_args(annotation) if member is not type(None)]
        return members[0] if len(members) == 1 else frozenset(members)
    return annotation


def scalar(kind: Any) -> str:
    if kind == frozenset({str, int}):
        return "int-or-string"
    return {str: "string", datetime: "date-time", int: "integer", bool: "boolean"}.get(kind, repr(kind))


def scalar_of(schema: Schema) -> str:
    if schema.get("x-kubernetes-int-or-string"):
        return "int-or-string"
    return "date-time" if schema.get("format") == "date-time" else str(schema.get("type"))


def nodes(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Every schema within a schema, with its path."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if key in schema:
            yield from nodes(schema[key], path + mark)


@both
def test_every_field_of_the_crd_has_a_view_and_every_view_a_field(definition: dict[str, Any], view: type[View]) -> None:
    assert list(view_disagreements(view, schema_of(definition), view.__name__)) == []


def test_the_comparison_would_notice() -> None:
    """A test of the test: each kind of drift is found."""

    class Small(View, frozen=True, kw_only=True):
        count: int = 1
        when: datetime | None = None
        extra: str = ""
        needed: str

    schema = {
        "type": "object",
        "properties": {"count": {"type": "integer"}, "when": {"type": "string"}, "needed": {"type": "string"}, "new": {"type": "string"}},
    }

    found = list(view_disagreements(Small, schema, ""))

    assert [line.partition(":")[0] for line in found] == [".new", ".extra", ".count", ".needed", ".when"]


@both
def test_group_version_and_kind_are_those_of_our_constants(definition: dict[str, Any], view: type[View]) -> None:
    spec = definition["spec"]

    assert f"{spec['group']}/{spec['versions'][0]['name']}" == names.API_VERSION
    assert spec["names"]["kind"] == view.__name__
    assert spec["names"]["listKind"] == f"{view.__name__}List"
    assert definition["metadata"]["name"] == f"{spec['names']['plural']}.{spec['group']}"


def test_the_phases_are_those_of_our_constants() -> None:
    phase = schema_of(RUN)["properties"]["status"]["properties"]["phase"]

    assert tuple(phase["enum"]) == phases.ALL_PHASES
    assert phase["default"] == phases.PENDING


def test_what_our_watches_select_by_is_selectable() -> None:
    paths = {field["jsonPath"].removeprefix(".") for field in RUN["spec"]["versions"][0]["selectableFields"]}
    selectors = (phases.NOT_TERMINAL_SELECTOR, phases.NOT_PENDING_SELECTOR, WITH_TTL_SELECTOR)
    used = {term.partition("!=")[0] for selector in selectors for term in selector.split(",")}

    assert used | {"status.assignedPod", "spec.runtime"} == paths


def test_every_jsonpath_leads_to_a_field() -> None:
    for definition in (RUN, RUNTIME):
        version = definition["spec"]["versions"][0]
        known = {path for path, _ in nodes(schema_of(definition))} | {".metadata.creationTimestamp"}
        columns = [column["jsonPath"].replace("[0]", "[]") for column in version["additionalPrinterColumns"]]
        assert {*columns, *(field["jsonPath"] for field in version.get("selectableFields", []))} <= known


def test_limits_that_krt_checks_first_are_those_of_the_crd() -> None:
    spec = schema_of(RUN)["properties"]["spec"]["properties"]
    args = spec["mode"]["properties"]["task"]["properties"]["args"]

    assert spec["source"]["properties"]["inline"]["maxLength"] == validation.MAX_INLINE_LENGTH
    assert (args["maxItems"], args["items"]["maxLength"]) == (validation.MAX_ARGS, validation.MAX_ARG_LENGTH)
    assert spec["env"]["maxItems"] == validation.MAX_ENV


def test_the_only_topology_is_ours() -> None:
    keys = [schema["enum"] for path, schema in nodes(schema_of(RUN)) if path.endswith("topologyKey")]

    assert keys == [[names.RUNTIME_POD_TOPOLOGY]] * 4


def test_both_crds_say_the_same_of_stores_conditions_and_quantities() -> None:
    run, runtime = schema_of(RUN)["properties"], schema_of(RUNTIME)["properties"]
    store, snapshot = runtime["spec"]["properties"]["artifactStore"], run["status"]["properties"]["artifactStore"]
    requests, capacity = run["spec"]["properties"]["resources"], runtime["spec"]["properties"]["capacity"]

    assert {**store, "description": ""} == {**snapshot, "description": ""}
    assert run["status"]["properties"]["conditions"] == runtime["status"]["properties"]["conditions"]
    assert requests["properties"]["requests"]["additionalProperties"] == capacity["properties"]["resources"]["additionalProperties"]


@pytest.mark.parametrize(
    "text", ["4", "500m", "2Gi", "1e3", "1E3", ".5", "-1", "+1", "1.", "", "four", "1 Gi", "2gi", "1KI", "--1", "1ee3"]
)
def test_what_the_schema_calls_a_quantity_we_can_read(text: str) -> None:
    capacity = schema_of(RUNTIME)["properties"]["spec"]["properties"]["capacity"]
    pattern = capacity["properties"]["resources"]["additionalProperties"]["pattern"]
    try:
        parse_quantity(text)
    except ValueError:
        assert not re.search(pattern, text)
    else:
        assert re.search(pattern, text)


@both
def test_schemas_are_structural(definition: dict[str, Any], view: type[View]) -> None:
    """Every field has a type, or is an int-or-string; nothing is left to a reference."""
    for path, schema in nodes(schema_of(definition)):
        assert "type" in schema or schema.get("x-kubernetes-int-or-string"), path
        assert not {"$ref", "oneOf", "allOf", "nullable"} & set(schema), path


@both
def test_whole_numbers_say_how_large_they_may_be(definition: dict[str, Any], view: type[View]) -> None:
    """Typed clients decode into int32 or int64; the API server holds objects to it."""
    for path, schema in nodes(schema_of(definition)):
        if schema.get("type") == "integer":
            assert schema.get("format") in ("int32", "int64"), path


@both
def test_rules_need_standard_cel_only(definition: dict[str, Any], view: type[View]) -> None:
    """A CEL library without Kubernetes' extensions compiles each, and each says in words what it wants."""
    rules = [(path, rule) for path, schema in nodes(schema_of(definition)) for rule in schema.get("x-kubernetes-validations", [])]

    assert rules
    for path, rule in rules:
        cel.compile(rule["rule"])
        cel.compile(rule.get("messageExpression", "''"))
        assert rule["message"], path
        assert not {"optionalOldSelf", "reason"} & set(rule), path


@both
def test_a_definition_is_small_enough_for_kubectl_apply(definition: dict[str, Any], view: type[View]) -> None:
    assert len(json.dumps(definition)) < CLIENT_SIDE_APPLY_LIMIT_BYTES / 4

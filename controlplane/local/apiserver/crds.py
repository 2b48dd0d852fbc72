"""From a CustomResourceDefinition to a kind that is served; and what of one cannot be served here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from controlplane.local.apiserver.definitions import Column, Definition
from controlplane.local.apiserver.jsonpath import find
from controlplane.local.apiserver.rules import UnsupportedRule, compile_rules
from controlplane.local.apiserver.schema import compile_schema
from controlplane.local.apiserver.statuses import Cause
from controlplane.local.apiserver.validation import Validator

RESOURCE = "customresourcedefinitions.apiextensions.k8s.io"

_AGE = Column("Age", "date", ".metadata.creationTimestamp")
"""What the real server shows of a CRD that declares no columns."""


def problems(crd: Mapping[str, Any]) -> list[Cause]:
    """Why this CRD cannot be served; empty when it can."""
    try:
        spec = crd["spec"]
        if crd["metadata"].get("name") != f"{spec['names']['plural']}.{spec['group']}":
            return [_invalid("metadata.name", f'must be spec.names.plural+"."+spec.group, so {spec["names"]["plural"]}.{spec["group"]}')]
        if len([version for version in spec["versions"] if version.get("served")]) != 1:
            return [_invalid("spec.versions", "local mode serves exactly one version of a kind; leave served: true on one")]
        if spec.get("conversion", {}).get("strategy", "None") != "None":
            return [_invalid("spec.conversion", "local mode has no conversion webhooks; leave spec.conversion out")]
        return _problems_of_schema(crd)
    except (KeyError, TypeError, AttributeError) as error:
        return [Cause("FieldValueRequired", f"Required value: the definition is incomplete ({error})", "spec")]


def _problems_of_schema(crd: Mapping[str, Any]) -> list[Cause]:
    where = "spec.versions[0].schema.openAPIV3Schema"
    try:
        definition = definition_of(crd)
        if definition.schema is None:
            return [Cause("FieldValueRequired", "Required value: schemas are required", where)]
        Validator(definition.schema.root)
        compile_rules(definition.schema.root)
        for column in definition.columns:
            find(column.path, document={})
    except UnsupportedRule as error:
        return [_invalid(where, f"local mode cannot evaluate a rule: {error}")]
    except ValueError as error:
        return [_invalid(where, f"local mode cannot compile the schema: {error}")]
    return []


def _invalid(field: str, message: str) -> Cause:
    return Cause("FieldValueInvalid", f"Invalid value: {message}", field)


def definition_of(crd: Mapping[str, Any]) -> Definition:
    """The served version, ready to be registered."""
    spec = crd["spec"]
    names = spec["names"]
    version = next(version for version in spec["versions"] if version.get("served"))
    columns = version.get("additionalPrinterColumns")
    return Definition(
        group=spec["group"],
        version=version["name"],
        plural=names["plural"],
        singular=names.get("singular") or names["kind"].lower(),
        kind=names["kind"],
        namespaced=spec["scope"] == "Namespaced",
        list_kind=names.get("listKind") or f"{names['kind']}List",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=frozenset({"status"} if "status" in (version.get("subresources") or {}) else ()),
        selectable={path.lstrip("."): _keys(path) for path in (field["jsonPath"] for field in version.get("selectableFields") or ())},
        columns=tuple(_column(column) for column in columns) if columns else (_AGE,),
        schema=compile_schema(version["schema"]["openAPIV3Schema"]),
        counts_generation=True,
    )


def _keys(path: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[^.]+", path))


def _column(column: Mapping[str, Any]) -> Column:
    return Column(column["name"], column["type"], column["jsonPath"], column.get("description", ""), column.get("priority", 0))


def established(crd: Mapping[str, Any], *, now: str) -> dict[str, Any]:
    """The status of a CRD whose kind is served."""
    versions = crd.get("spec", {}).get("versions") or []
    conditions = (
        ("NamesAccepted", "NoConflicts", "no conflicts found"),
        ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
    )
    return {
        "conditions": [
            {"type": kind, "status": "True", "lastTransitionTime": now, "reason": reason, "message": message}
            for kind, reason, message in conditions
        ],
        "acceptedNames": crd.get("spec", {}).get("names", {}),
        "storedVersions": [version["name"] for version in versions if isinstance(version, dict) and version.get("storage")],
    }

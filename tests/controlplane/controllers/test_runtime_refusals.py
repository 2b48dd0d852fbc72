"""What an API server's refusal is told as. The texts are those of a real kube-apiserver; `test_runtime_is_stalled` asks one."""

from __future__ import annotations

import pytest

from controlplane.controllers.runtime_refusals import stall_of
from controlplane.controllers.runtime_status import Stall
from k8s.client import ApiError, Cause, Conflict, Forbidden, Invalid, ServerError, Unreachable

DEPLOYMENT = {"kind": "Deployment", "metadata": {"name": "runtime-bash"}}
UNTYPED = "PATCH /x: failed to create typed patch object (team-a/runtime-bash; apps/v1, Kind=Deployment): {} (HTTP 500)"

UNCONVERTED = (
    "PATCH /x: failed to convert new object (team-a/runtime-bash; apps/v1, Kind=Deployment) to proper version: "
    "unable to convert unstructured object to apps/v1, Kind=Deployment: {} (HTTP 500)"
)


def invalid(field: str, message: str) -> Invalid:
    return Invalid(f"PATCH /x: Deployment.apps is invalid: {field}: {message} (HTTP 422)", causes=(Cause(field, message),))


def untyped(complaint: str) -> ServerError:
    return ServerError(UNTYPED.format(complaint), status=500)


@pytest.mark.parametrize(
    ("error", "reason", "message"),
    [
        (
            invalid("spec.template.spec.containers[0].volumeMounts[0].name", 'Not found: "missing"'),
            "InvalidTemplate",
            'spec.template.spec.containers[0].volumeMounts[0].name: Not found: "missing"; change it in this Runtime',
        ),
        (
            untyped('.spec.template.spec.containers[name="runtime"].volumMounts: field not declared in schema'),
            "InvalidTemplate",
            'spec.template.spec.containers[name="runtime"].volumMounts: field not declared in schema; change it in this Runtime',
        ),
        (
            untyped("errors:\n  .spec.template.spec.a: field not declared in schema\n  .spec.template.spec.b: duplicate entries"),
            "InvalidTemplate",
            "spec.template.spec.a: field not declared in schema; spec.template.spec.b: duplicate entries; change it in this Runtime",
        ),
        (
            ServerError(UNCONVERTED.format("quantities must match"), status=500),
            "InvalidTemplate",
            "spec.template: quantities must match; change it in this Runtime",
        ),
        (
            invalid("spec.selector", "field is immutable"),
            "Refused",
            "Deployment runtime-bash: spec.selector: field is immutable; "
            "if it is not of kruntimes, rename this Runtime or delete the object",
        ),
        (
            Forbidden("PATCH /x: exceeded quota (HTTP 403)"),
            "Forbidden",
            "Deployment runtime-bash may not be written: PATCH /x: exceeded quota (HTTP 403); ask whoever administers the cluster",
        ),
    ],
)
def test_it_names_the_field_and_the_remedy(error: ApiError, reason: str, message: str) -> None:
    assert stall_of(error, desired=DEPLOYMENT) == Stall(reason, message)


def test_a_value_that_was_found_is_not_told() -> None:
    stall = stall_of(untyped(".spec.template.spec.env[0].value: expected string, got &{hunter2 is a secret}"), desired=DEPLOYMENT)
    assert stall is not None
    assert stall.message == "spec.template.spec.env[0].value: expected string, got something else; change it in this Runtime"


@pytest.mark.parametrize("error", [Unreachable("no"), ServerError("etcd is away", status=500), Conflict("changed", status=409)])
def test_what_passes_is_no_stall(error: ApiError) -> None:
    assert stall_of(error, desired=DEPLOYMENT) is None

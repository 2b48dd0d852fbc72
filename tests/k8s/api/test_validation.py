from __future__ import annotations

from typing import Any

import pytest

from k8s.api.errors import InvalidRun
from k8s.api.validation import check_env_name, check_run_manifest


def manifest(**spec: Any) -> dict[str, Any]:
    return {"spec": {"runtime": "bash", "mode": {"task": {"args": ["echo hi"]}}, **spec}}


def test_a_sound_run_passes() -> None:
    check_run_manifest(
        manifest(env=[{"name": "A", "value": "1"}], timeout="1m30s", retryPolicy={"backoff": "0s"}, source={"inline": "x" * 262_144})
    )


@pytest.mark.parametrize(
    ("broken", "field"),
    [
        (manifest(source={"inline": "x" * 300_000}), "spec.source.inline"),
        (manifest(mode={"task": {"args": "echo hi"}}), "spec.mode.task.args"),
        (manifest(mode={"task": {"args": ["a", 5]}}), "spec.mode.task.args[1]"),
        (manifest(mode={"task": {"args": ["a"] * 257}}), "spec.mode.task.args"),
        (manifest(mode={"task": {"args": ["a" * 8193]}}), "spec.mode.task.args[0]"),
        (manifest(env=[{"name": "OK"}, {"name": "KRUNTIME_OUTPUTS"}]), "spec.env[1].name"),
        (manifest(env=[{"name": "A"}] * 257), "spec.env"),
        (manifest(timeout="soon"), "spec.timeout"),
        (manifest(retryPolicy={"backoff": "5"}), "spec.retryPolicy.backoff"),
        ({}, "spec"),
    ],
)
def test_the_error_names_the_field(broken: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRun) as caught:
        check_run_manifest(broken)
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: ")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", ["", "A=B", "NUL\0", "KRUNTIME_OUTPUTS", "KRUNTIME_ARTIFACTS_DIR"])
def test_names_no_process_could_get_and_ours_are_refused(name: str) -> None:
    with pytest.raises(InvalidRun):
        check_env_name(name, field="--env")


@pytest.mark.parametrize("name", ["PATH", "KRUNTIME_MINE", "a.b-c", "LD_PRELOAD"])
def test_every_other_name_is_the_users_to_set(name: str) -> None:
    check_env_name(name, field="--env")


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"source": "true"}, "spec.source"),
        ({"source": {"inline": 1}}, "spec.source.inline"),
        ({"mode": []}, "spec.mode"),
        ({"mode": {"task": 3}}, "spec.mode.task"),
        ({"env": ["A=b"]}, "spec.env"),
        ({"timeout": float("nan")}, "spec.timeout"),
        ({"retryPolicy": {"backoff": 1}}, "spec.retryPolicy.backoff"),
    ],
)
def test_a_value_of_another_type_is_refused_and_breaks_nothing(spec: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRun) as refused:
        check_run_manifest({"spec": spec})
    assert field in str(refused.value)

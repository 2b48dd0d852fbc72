"""What of a Run may change after its creation: a cancel request, once, and the time to live. Nothing else of its spec."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.http import RUNS, Api
from tests.contract.objects import run
from tests.contract.test_run_rules import REQUIRED, TERM

FULL: dict[str, Any] = {
    "runtime": "bash",
    "source": {"inline": "echo hello"},
    "mode": {"task": {"args": ["a"]}},
    "env": [{"name": "A", "value": "b"}],
    "timeout": "90s",
    "retryPolicy": {"maxAttempts": 2, "backoff": "0s"},
    "resources": {"requests": {"runs": 1}},
    "workspace": {"name": "a"},
    "affinity": {"runAffinity": {REQUIRED: [TERM]}},
}
OTHER: dict[str, Any] = {
    "runtime": "python",
    "source": {"inline": "echo bye"},
    "mode": {"task": {"args": ["b"]}},
    "env": [{"name": "A", "value": "c"}],
    "timeout": "91s",
    "retryPolicy": {"maxAttempts": 3, "backoff": "0s"},
    "resources": {"requests": {"runs": 2}},
    "workspace": {"name": "b"},
    "affinity": {"runAntiAffinity": {REQUIRED: [TERM]}, "runAffinity": None},
}
OPTIONAL = ["source", "env", "timeout", "retryPolicy", "resources", "workspace", "affinity"]


def full_run() -> dict[str, Any]:
    return run() | {"spec": FULL}


@pytest.mark.parametrize("name", list(FULL))
async def test_a_changed_value_is_refused_at_its_field(api: Api, name: str) -> None:
    await api.create(RUNS, full_run())

    (await api.patch(RUNS, "one", {"spec": {name: OTHER[name]}})).invalid(field=f"spec.{name}", mentions=f"{name} is immutable")


@pytest.mark.parametrize("name", OPTIONAL)
async def test_an_optional_field_cannot_be_removed(api: Api, name: str) -> None:
    await api.create(RUNS, full_run())

    (await api.patch(RUNS, "one", {"spec": {name: None}})).invalid(field="spec", mentions=f"{name} is immutable")


@pytest.mark.parametrize("name", OPTIONAL)
async def test_an_optional_field_cannot_be_added(api: Api, name: str) -> None:
    manifest = full_run()
    manifest["spec"] = {key: value for key, value in FULL.items() if key != name}
    await api.create(RUNS, manifest)

    (await api.patch(RUNS, "one", {"spec": {name: FULL[name]}})).invalid(field="spec", mentions=f"{name} is immutable")


@pytest.mark.parametrize("name", ["runtime", "mode"])
async def test_a_required_field_cannot_be_removed(api: Api, name: str) -> None:
    await api.create(RUNS, full_run())

    (await api.patch(RUNS, "one", {"spec": {name: None}})).invalid(field=f"spec.{name}")


async def test_the_same_values_again_are_no_change(api: Api) -> None:
    created = await api.create(RUNS, full_run())

    written = (await api.put(RUNS, created)).ok()
    patched = (await api.patch(RUNS, "one", {"spec": FULL})).ok()

    assert written["spec"] == patched["spec"] == created["spec"]


async def test_an_empty_inline_source_is_not_the_same_as_none(api: Api) -> None:
    manifest = run() | {"spec": FULL | {"source": {}}}
    await api.create(RUNS, manifest)

    (await api.patch(RUNS, "one", {"spec": {"source": {"inline": ""}}})).invalid(field="spec.source")


async def test_the_order_of_env_is_part_of_its_value(api: Api) -> None:
    pair = [{"name": "A"}, {"name": "B"}]
    await api.create(RUNS, run() | {"spec": FULL | {"env": pair}})

    (await api.patch(RUNS, "one", {"spec": {"env": pair[::-1]}})).invalid(field="spec.env")


async def test_cancel_can_be_requested(api: Api) -> None:
    await api.create(RUNS, full_run())

    assert (await api.patch(RUNS, "one", {"spec": {"cancelRequested": True}})).ok()["spec"]["cancelRequested"] is True


@pytest.mark.parametrize("value", [False, None])
async def test_a_cancel_request_cannot_be_taken_back(api: Api, value: bool | None) -> None:
    await api.create(RUNS, full_run() | {"spec": FULL | {"cancelRequested": True}})

    answer = await api.patch(RUNS, "one", {"spec": {"cancelRequested": value}})

    answer.invalid(field="spec.cancelRequested", mentions="cannot be taken back")


async def test_an_old_client_that_writes_the_whole_object_can_cancel(api: Api) -> None:
    created = await api.create(RUNS, full_run())
    spec = {key: value for key, value in created["spec"].items() if key != "cancelRequested"}
    metadata = {key: created["metadata"][key] for key in ("name", "namespace", "resourceVersion", "uid", "creationTimestamp")}

    whole = {
        "apiVersion": created["apiVersion"],
        "kind": "Run",
        "metadata": metadata,
        "spec": spec | {"cancelRequested": True},
        "status": {"phase": ""},
    }

    # Its empty phase is the status subresource's business, and this is not it.
    answer = (await api.put(RUNS, whole)).ok()
    assert answer["spec"]["cancelRequested"] is True
    assert "status" not in answer


@pytest.mark.parametrize("value", [0, 120, None])
async def test_the_time_to_live_may_change(api: Api, value: int | None) -> None:
    await api.create(RUNS, full_run() | {"spec": FULL | {"ttlSecondsAfterFinished": 60}})

    written = (await api.patch(RUNS, "one", {"spec": {"ttlSecondsAfterFinished": value}})).ok()

    assert written["spec"].get("ttlSecondsAfterFinished") == value


async def test_the_time_to_live_may_be_added(api: Api) -> None:
    await api.create(RUNS, full_run())

    assert (await api.patch(RUNS, "one", {"spec": {"ttlSecondsAfterFinished": 60}})).ok()["spec"]["ttlSecondsAfterFinished"] == 60


async def test_a_spec_may_be_given_to_a_run_without_one(api: Api) -> None:
    manifest = run()
    del manifest["spec"]
    await api.create(RUNS, manifest)

    assert (await api.patch(RUNS, "one", {"spec": FULL})).ok()["spec"]["runtime"] == "bash"


async def test_json_patch_and_put_meet_the_same_rules(api: Api) -> None:
    created = await api.create(RUNS, full_run())
    patch = [{"op": "replace", "path": "/spec/timeout", "value": "1s"}]

    (await api.patch(RUNS, "one", patch, kind="application/json-patch+json")).invalid(field="spec.timeout")
    (await api.put(RUNS, created | {"spec": FULL | {"timeout": "1s"}})).invalid(field="spec.timeout")

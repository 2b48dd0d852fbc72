"""Spec and status are written apart: each endpoint ignores the other's half."""

from __future__ import annotations

import pytest

from tests.contract.http import DEPLOYMENTS, JSON_PATCH, PODS, RUNS, RUNTIMES, Api
from tests.contract.objects import REMOVE, changed, deployment, pod, run, runtime


async def test_a_fresh_run_has_no_status(api: Api) -> None:
    assert "status" not in await api.create(RUNS, run())


@pytest.mark.parametrize(
    "status",
    [{"phase": ""}, {"phase": "Succeeded"}, {"phase": "Nonsense", "attempt": "many"}, {}],
    ids=["empty-phase", "phase", "nonsense", "empty"],
)
async def test_a_status_is_dropped_at_creation(api: Api, status: dict[str, str]) -> None:
    assert "status" not in await api.create(RUNS, run() | {"status": status})


async def test_an_old_typed_client_can_create(api: Api) -> None:
    manifest = changed(run(), "spec.retryPolicy", {"backoff": "0s"}) | {"status": {"phase": ""}}
    manifest["metadata"]["creationTimestamp"] = None

    created = await api.create(RUNS, manifest)

    assert created["spec"]["retryPolicy"] == {"backoff": "0s"}


async def test_the_main_endpoint_ignores_the_status(api: Api) -> None:
    created = await api.create(RUNS, run())

    put = (await api.put(RUNS, changed(created, "status", {"phase": "Succeeded"}))).ok()
    patched = (await api.patch(RUNS, "one", {"status": {"phase": "Succeeded"}})).ok()

    assert "status" not in put
    assert "status" not in patched


async def test_the_main_endpoint_keeps_the_status(api: Api) -> None:
    await api.create(RUNS, run())
    reported = (await api.patch(RUNS, "one", {"status": {"phase": "Running"}}, subresource="status")).ok()

    written = (await api.put(RUNS, changed(changed(reported, "status", REMOVE), "metadata.labels", {"a": "b"}))).ok()

    assert written["status"] == {"phase": "Running"}


async def test_the_status_endpoint_ignores_spec_and_metadata(api: Api) -> None:
    created = await api.create(RUNS, run(labels={"a": "b"}))
    other = changed(changed(changed(created, "spec.runtime", "python"), "metadata.labels", {"c": "d"}), "metadata.finalizers", ["a.b/c"])

    written = (await api.put(RUNS, other | {"status": {"phase": "Running"}}, subresource="status")).ok()

    assert written["spec"] == created["spec"]
    assert written["metadata"]["labels"] == {"a": "b"}
    assert "finalizers" not in written["metadata"]
    assert written["status"] == {"phase": "Running"}


async def test_a_status_put_replaces_the_whole_status(api: Api) -> None:
    created = await api.create(RUNS, run())
    first = (await api.put(RUNS, created | {"status": {"phase": "Running", "message": "x"}}, subresource="status")).ok()

    second = (await api.put(RUNS, first | {"status": {"phase": "Succeeded"}}, subresource="status")).ok()

    assert second["status"] == {"phase": "Succeeded"}


async def test_a_status_put_without_status_removes_it(api: Api) -> None:
    created = await api.create(RUNS, run())
    first = (await api.put(RUNS, created | {"status": {"phase": "Running"}}, subresource="status")).ok()

    assert "status" not in (await api.put(RUNS, changed(first, "status", REMOVE), subresource="status")).ok()


async def test_a_stale_status_put_is_refused(api: Api) -> None:
    created = await api.create(RUNS, run())
    (await api.patch(RUNS, "one", {"status": {"phase": "Running"}}, subresource="status")).ok()

    (await api.put(RUNS, created | {"status": {"phase": "Failed"}}, subresource="status")).refused(409, "Conflict")


async def test_a_status_can_be_read_alone(api: Api) -> None:
    created = await api.create(RUNS, run())

    assert (await api.request("GET", api.path(RUNS, "one", subresource="status"))).ok() == created


async def test_status_keys_are_removed_by_null(api: Api) -> None:
    await api.create(RUNS, run())
    (await api.patch(RUNS, "one", {"status": {"phase": "Running", "message": "x", "assignedPod": "p"}}, subresource="status")).ok()

    written = (await api.patch(RUNS, "one", {"status": {"phase": "Pending", "assignedPod": None}}, subresource="status")).ok()

    assert written["status"] == {"phase": "Pending", "message": "x"}


async def test_a_json_patch_can_make_the_first_status(api: Api) -> None:
    await api.create(RUNS, run())
    operation = {"op": "add", "path": "/status", "value": {"phase": "Scheduled"}}

    written = (await api.patch(RUNS, "one", [operation], kind=JSON_PATCH, subresource="status")).ok()

    assert written["status"] == {"phase": "Scheduled"}


async def test_an_old_client_can_write_status_with_its_own_fields_only(api: Api) -> None:
    created = await api.create(RUNS, run())
    first = {"phase": "Running", "exitCode": 1, "timings": {"observed": "2026-08-09T10:00:01Z"}}
    newer = (await api.put(RUNS, created | {"status": first}, subresource="status")).ok()

    assert (await api.put(RUNS, newer | {"status": {"phase": "Running"}}, subresource="status")).ok()["status"] == {"phase": "Running"}


async def test_a_runtime_has_a_status_of_its_own(api: Api) -> None:
    created = await api.create(RUNTIMES, runtime() | {"status": {"readyReplicas": 7}})

    written = (await api.patch(RUNTIMES, "bash", {"status": {"readyReplicas": 2}, "spec": {"replicas": 9}}, subresource="status")).ok()

    assert "status" not in created
    assert (written["status"], written["spec"]["replicas"]) == ({"readyReplicas": 2}, 1)


async def test_a_pods_status_is_written_apart(api: Api) -> None:
    created = await api.create(PODS, pod() | {"status": {"phase": "Running"}})
    running = (await api.patch(PODS, "one", {"status": {"phase": "Running", "podIP": "10.0.0.1"}}, subresource="status")).ok()
    labelled = (await api.patch(PODS, "one", {"metadata": {"labels": {"a": "b"}}, "status": {"phase": "Failed"}})).ok()

    assert created["status"]["phase"] == "Pending"
    assert (running["status"]["phase"], running["status"]["podIP"]) == ("Running", "10.0.0.1")
    assert labelled["status"]["phase"] == "Running"


async def test_a_deployments_status_is_written_apart(api: Api) -> None:
    await api.create(DEPLOYMENTS, deployment())

    body = {"status": {"replicas": 2, "readyReplicas": 1, "updatedReplicas": 2, "availableReplicas": 1}, "spec": {"replicas": 9}}
    written = (await api.patch(DEPLOYMENTS, "one", body, subresource="status")).ok()

    assert written["status"]["readyReplicas"] == 1
    assert written["spec"]["replicas"] == 1


async def test_a_status_of_what_is_not_there_is_not_found(api: Api) -> None:
    (await api.patch(RUNS, "none", {"status": {"phase": "Failed"}}, subresource="status")).refused(404, "NotFound")

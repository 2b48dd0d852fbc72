"""A dry run says what would happen, and nothing happens."""

from __future__ import annotations

from tests.contract.http import APPLY, JSON_PATCH, RUNS, Api
from tests.contract.objects import changed, run


async def test_a_creation_is_tried_only(api: Api) -> None:
    created = await api.create(RUNS, run(), dryRun="All")

    assert created["metadata"]["uid"]
    assert created["spec"]["cancelRequested"] is False
    (await api.get(RUNS, "one")).refused(404, "NotFound")


async def test_a_dry_run_validates(api: Api) -> None:
    (await api.post(RUNS, changed(run(), "spec.mode", {}), dryRun="All")).invalid(field="spec.mode")


async def test_a_dry_run_knows_what_exists(api: Api) -> None:
    await api.create(RUNS, run())

    (await api.post(RUNS, run(), dryRun="All")).refused(409, "AlreadyExists")


async def test_updates_are_tried_only(api: Api) -> None:
    created = await api.create(RUNS, run())

    put = (await api.put(RUNS, changed(created, "metadata.labels", {"a": "b"}), dryRun="All")).ok()
    patched = (await api.patch(RUNS, "one", {"status": {"phase": "Failed"}}, subresource="status", dryRun="All")).ok()
    operation = [{"op": "add", "path": "/spec/cancelRequested", "value": True}]
    (await api.patch(RUNS, "one", operation, kind=JSON_PATCH, dryRun="All")).ok()

    assert put["metadata"]["labels"] == {"a": "b"}
    assert patched["status"] == {"phase": "Failed"}
    assert await api.read(RUNS, "one") == created


async def test_an_apply_is_tried_only(api: Api) -> None:
    (await api.patch(RUNS, "one", run(), kind=APPLY, fieldManager="tester", force=True, dryRun="All")).ok(201)

    (await api.get(RUNS, "one")).refused(404, "NotFound")


async def test_deletions_are_tried_only(api: Api) -> None:
    created = await api.create(RUNS, run())

    (await api.delete(RUNS, "one", {"dryRun": ["All"]})).ok()
    (await api.delete(RUNS, "one", dryRun="All")).ok()

    assert await api.read(RUNS, "one") == created

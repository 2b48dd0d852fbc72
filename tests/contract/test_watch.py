"""Watching: from a version on, through selectors, with and without what is there already."""

from __future__ import annotations

import pytest

from tests.contract.http import CONFIG_MAPS, PODS, RUNS, Api, Json
from tests.contract.objects import changed, config_map, pod, run


def version(thing: Json) -> str:
    text: str = thing["metadata"]["resourceVersion"]
    return text


async def now(api: Api, resource: str = RUNS) -> str:
    return version((await api.get(resource)).ok())


async def set_phase(api: Api, name: str, phase: str, **status: str) -> Json:
    return (await api.patch(RUNS, name, {"status": {"phase": phase, **status}}, subresource="status")).ok()


async def test_a_watch_tells_of_every_change_in_order(api: Api) -> None:
    async with api.watch(RUNS, resourceVersion=await now(api)) as watch:
        created = await api.create(RUNS, run())
        running = await set_phase(api, "one", "Running")
        (await api.delete(RUNS, "one")).ok()

        assert await watch.next() == ("ADDED", created)
        assert await watch.next() == ("MODIFIED", running)
        kind, gone = await watch.next()

    assert (kind, gone["metadata"]["uid"]) == ("DELETED", created["metadata"]["uid"])
    assert int(version(gone)) > int(version(running))
    assert gone["status"] == running["status"]


async def test_a_watch_continues_from_a_version(api: Api) -> None:
    first = await api.create(RUNS, run("first"))
    await api.create(RUNS, run("second"))
    await set_phase(api, "first", "Running")
    (await api.delete(RUNS, "second")).ok()

    async with api.watch(RUNS, resourceVersion=version(first)) as watch:
        assert await watch.next_names(3) == [("ADDED", "second"), ("MODIFIED", "first"), ("DELETED", "second")]


async def test_a_watch_from_a_version_shows_each_state_on_the_way(api: Api) -> None:
    created = await api.create(RUNS, run())
    for phase in ("Scheduled", "Running", "Succeeded"):
        await set_phase(api, "one", phase)

    async with api.watch(RUNS, resourceVersion=version(created)) as watch:
        states = [await watch.next() for _ in range(3)]

    assert [(kind, thing["status"]["phase"]) for kind, thing in states] == [
        ("MODIFIED", "Scheduled"), ("MODIFIED", "Running"), ("MODIFIED", "Succeeded"),
    ]  # fmt: skip
    versions = [int(version(thing)) for _, thing in states]
    assert versions == sorted(set(versions))


@pytest.mark.parametrize("start", ["", "0"])
async def test_a_watch_without_a_version_begins_with_what_is_there(api: Api, start: str) -> None:
    await api.create(RUNS, run("one"))
    await set_phase(api, "one", "Running")

    query: Json = {"resourceVersion": start} if start else {}
    async with api.watch(RUNS, **query) as watch:
        seen = await watch.next_names(1)
        await api.create(RUNS, run("two"))
        while seen[-1] != ("ADDED", "two"):
            seen += await watch.next_names(1)

    # From "0" on means from any state that the server has at hand: its cache may not have had the change of phase yet.
    possible = [[("ADDED", "one"), ("ADDED", "two")]]
    if start == "0":
        possible.append([("ADDED", "one"), ("MODIFIED", "one"), ("ADDED", "two")])
    assert seen in possible


async def test_a_watch_sees_its_namespace_only(api: Api) -> None:
    start, here = await now(api), api.namespace
    async with api.watch(RUNS, resourceVersion=start) as watch:
        api.namespace = "default"
        await api.create(RUNS, run(f"elsewhere-{here}"))
        api.namespace = here
        await api.create(RUNS, run("here"))

        assert await watch.next_names(1) == [("ADDED", "here")]


async def test_a_watch_of_all_namespaces_sees_them_all(api: Api) -> None:
    async with api.watch("/apis/kruntimes.io/v1alpha1/runs", resourceVersion=await now(api)) as watch:
        await api.create(RUNS, run("anywhere"))
        kind, thing = await watch.next()

    assert (kind, thing["metadata"]["name"], thing["metadata"]["namespace"]) == ("ADDED", "anywhere", api.namespace)


async def test_an_object_that_leaves_the_field_selection_is_deleted(api: Api) -> None:
    created = await api.create(RUNS, run())
    async with api.watch(RUNS, resourceVersion=version(created), fieldSelector="status.phase!=Succeeded,status.phase!=Failed") as watch:
        await set_phase(api, "one", "Running")
        finished = await set_phase(api, "one", "Succeeded")

        assert await watch.next_names(1) == [("MODIFIED", "one")]
        kind, thing = await watch.next()

    # It carries the state before it left, under the version at which it left.
    assert (kind, thing["status"]["phase"], version(thing)) == ("DELETED", "Running", version(finished))


async def test_an_object_that_enters_the_field_selection_is_added(api: Api) -> None:
    created = await api.create(RUNS, run())
    async with api.watch(RUNS, resourceVersion=version(created), fieldSelector="status.assignedPod=pod-1") as watch:
        bound = await set_phase(api, "one", "Scheduled", assignedPod="pod-1")
        assert await watch.next() == ("ADDED", bound)

        await set_phase(api, "one", "Pending", assignedPod="")
        assert await watch.next_names(1) == [("DELETED", "one")]

        await set_phase(api, "one", "Scheduled", assignedPod="pod-1")
        assert await watch.next_names(1) == [("ADDED", "one")]


async def test_changes_outside_of_the_selection_are_not_told(api: Api) -> None:
    created = await api.create(RUNS, run("other"))
    async with api.watch(RUNS, resourceVersion=version(created), fieldSelector="status.assignedPod=pod-1") as watch:
        await set_phase(api, "other", "Scheduled", assignedPod="pod-2")
        await set_phase(api, "other", "Running")
        (await api.delete(RUNS, "other")).ok()
        await api.create(RUNS, run("mine"))
        await set_phase(api, "mine", "Scheduled", assignedPod="pod-1")

        assert await watch.next_names(1) == [("ADDED", "mine")]


async def test_a_selected_object_that_is_deleted_is_deleted(api: Api) -> None:
    created = await api.create(RUNS, run())
    async with api.watch(RUNS, resourceVersion=version(created), fieldSelector="spec.runtime=bash") as watch:
        (await api.delete(RUNS, "one")).ok()

        assert await watch.next_names(1) == [("DELETED", "one")]


async def test_history_is_filtered_as_the_present_is(api: Api) -> None:
    created = await api.create(RUNS, run())
    await set_phase(api, "one", "Scheduled", assignedPod="pod-1")
    await set_phase(api, "one", "Succeeded")

    async with api.watch(RUNS, resourceVersion=version(created), fieldSelector="status.assignedPod=pod-1,status.phase!=Succeeded") as watch:
        assert await watch.next_names(2) == [("ADDED", "one"), ("DELETED", "one")]


async def test_a_watch_by_name_sees_that_one(api: Api) -> None:
    async with api.watch(RUNS, resourceVersion=await now(api), fieldSelector="metadata.name=two") as watch:
        await api.create(RUNS, run("one"))
        await api.create(RUNS, run("two"))

        assert await watch.next_names(1) == [("ADDED", "two")]


async def test_labels_move_objects_in_and_out(api: Api) -> None:
    created = await api.create(CONFIG_MAPS, config_map())
    async with api.watch(CONFIG_MAPS, resourceVersion=version(created), labelSelector="a in (b)") as watch:
        for label in ("b", "c", "b"):
            (await api.patch(CONFIG_MAPS, "one", {"metadata": {"labels": {"a": label}}})).ok()
        (await api.delete(CONFIG_MAPS, "one")).ok()

        assert [kind for kind, _ in await watch.next_names(4)] == ["ADDED", "DELETED", "ADDED", "DELETED"]


async def test_pods_can_be_watched(api: Api) -> None:
    async with api.watch(PODS, resourceVersion=await now(api, PODS)) as watch:
        created = await api.create(PODS, pod())
        (await api.patch(PODS, "one", {"status": {"phase": "Running"}}, subresource="status")).ok()

        assert await watch.next() == ("ADDED", created)
        assert await watch.next_names(1) == [("MODIFIED", "one")]


async def test_two_watchers_see_the_same(api: Api) -> None:
    start = await now(api)
    async with api.watch(RUNS, resourceVersion=start) as first, api.watch(RUNS, resourceVersion=start) as second:
        await api.create(RUNS, run())

        assert await first.next() == await second.next()


async def test_a_write_that_changes_nothing_is_not_told(api: Api) -> None:
    created = await api.create(RUNS, run())
    async with api.watch(RUNS, resourceVersion=version(created)) as watch:
        (await api.put(RUNS, created)).ok()
        await api.create(RUNS, run("two"))

        assert await watch.next_names(1) == [("ADDED", "two")]


async def test_a_dry_run_is_not_told(api: Api) -> None:
    async with api.watch(RUNS, resourceVersion=await now(api)) as watch:
        await api.create(RUNS, run("dry"), dryRun="All")
        await api.create(RUNS, run("wet"))

        assert await watch.next_names(1) == [("ADDED", "wet")]


async def test_the_initial_events_end_with_a_bookmark(api: Api) -> None:
    await api.create(RUNS, run("a"))
    last = await api.create(RUNS, run("b"))
    query: Json = {"sendInitialEvents": True, "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": True}

    async with api.watch(RUNS, **query) as watch:
        assert sorted(await watch.next_names(2)) == [("ADDED", "a"), ("ADDED", "b")]
        kind, mark = await watch.next()
        await api.create(RUNS, run("c"))
        assert await watch.next_names(1) == [("ADDED", "c")]

    assert (kind, mark["kind"], mark["apiVersion"]) == ("BOOKMARK", "Run", "kruntimes.io/v1alpha1")
    assert mark["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert int(version(mark)) >= int(version(last))


@pytest.mark.parametrize(
    "query",
    [
        {"sendInitialEvents": True},
        {"sendInitialEvents": True, "resourceVersionMatch": "Exact", "allowWatchBookmarks": True},
        {"resourceVersionMatch": "NotOlderThan"},
    ],
    ids=["no-match", "exact", "match-alone"],
)
async def test_initial_events_are_asked_for_rightly_or_refused(api: Api, query: Json) -> None:
    (await api.get(RUNS, watch=True, **query)).refused(422, "Invalid")


@pytest.mark.slow
async def test_a_bookmark_comes_before_the_end(api: Api) -> None:
    """Two seconds before the timeout, and only when the version has moved on without an event for this watcher."""
    start = await now(api)
    async with api.watch(
        RUNS, resourceVersion=start, fieldSelector="metadata.name=none", allowWatchBookmarks=True, timeoutSeconds=4
    ) as watch:
        created = await api.create(RUNS, run())
        kind, mark = await watch.next()

    assert (kind, mark["kind"]) == ("BOOKMARK", "Run")
    assert int(version(mark)) >= int(version(created))


@pytest.mark.slow
async def test_a_watch_ends_at_its_timeout(api: Api) -> None:
    async with api.watch(RUNS, resourceVersion=await now(api), timeoutSeconds=1) as watch:
        await watch.ends()


async def test_a_watch_with_a_bad_selector_is_refused(api: Api) -> None:
    (await api.get(RUNS, watch=True, fieldSelector="spec.timeout=1s")).refused(400, "BadRequest")
    (await api.get(RUNS, watch=True, labelSelector="a in")).refused(400, "BadRequest")


async def test_an_object_that_waits_for_its_finalizer_is_modified_first(api: Api) -> None:
    created = await api.create(RUNS, run(finalizers=["kruntimes.io/artifact-cleanup"]))
    async with api.watch(RUNS, resourceVersion=version(created)) as watch:
        (await api.delete(RUNS, "one")).ok()
        kind, marked = await watch.next()
        assert (kind, "deletionTimestamp" in marked["metadata"]) == ("MODIFIED", True)

        (await api.patch(RUNS, "one", {"metadata": {"finalizers": None}})).ok()
        assert await watch.next_names(1) == [("DELETED", "one")]


async def test_the_watch_of_a_changed_status_carries_the_whole_object(api: Api) -> None:
    created = await api.create(RUNS, changed(run(), "spec.source.inline", "é" * 10_000))
    async with api.watch(RUNS, resourceVersion=version(created)) as watch:
        running = await set_phase(api, "one", "Running")

        assert await watch.next() == ("MODIFIED", running)

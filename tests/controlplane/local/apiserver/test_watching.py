from __future__ import annotations

import asyncio
import json

import pytest

from controlplane.local.apiserver import watching
from controlplane.local.apiserver.selectors import parse_selector
from controlplane.local.apiserver.watching import Dropped, Hub, Watcher
from tests.contract.objects import config_map, run
from tests.controlplane.local.apiserver.world import World

RUNS = "runs.kruntimes.io"


def watcher(world: World, *, resource: str = "configmaps", labels: str = "", fields: str = "", namespace: str = "") -> Watcher:
    definition = world.definition(resource)
    selectable = ("metadata.name", *definition.selectable)
    return Watcher(definition, namespace, parse_selector(labels=labels, fields=fields, selectable=selectable), rv=0)


def told(watched: Watcher) -> list[tuple[str, str]]:
    events = [json.loads(line) for line in watched.take().splitlines()]
    return [(event["type"], event["object"]["metadata"].get("name", "")) for event in events]


def test_leaving_a_selector_is_deleted_with_the_old_object_and_the_new_version(world: World) -> None:
    hub = Hub(world.store)
    watched = watcher(world, resource=RUNS, fields="status.phase!=Succeeded")
    hub.start_at(watched, rv=world.store.rv)
    world.create(RUNS, run("one"))
    world.patch(RUNS, "one", {"status": {"phase": "Running"}}, subresource="status")
    world.patch(RUNS, "one", {"status": {"phase": "Succeeded"}}, subresource="status")

    lines = [json.loads(line) for line in watched.take().splitlines()]

    assert [(line["type"], line["object"].get("status")) for line in lines] == [
        ("ADDED", None),
        ("MODIFIED", {"phase": "Running"}),
        ("DELETED", {"phase": "Running"}),
    ]
    assert lines[-1]["object"]["metadata"]["resourceVersion"] == str(world.store.rv)
    world.delete(RUNS, "one")
    assert told(watched) == []


def test_entering_a_selector_is_added(world: World) -> None:
    hub = Hub(world.store)
    world.create("configmaps", config_map("one"))
    watched = watcher(world, labels="a=b")
    hub.start_at(watched, rv=world.store.rv)

    world.patch("configmaps", "one", {"metadata": {"labels": {"a": "b"}}})
    world.patch("configmaps", "one", {"metadata": {"labels": None}})

    assert told(watched) == [("ADDED", "one"), ("DELETED", "one")]


def test_a_watch_from_a_version_replays_and_goes_on_without_a_gap(world: World) -> None:
    hub = Hub(world.store)
    rv = world.store.rv
    world.create("configmaps", config_map("a"))
    watched = watcher(world)
    hub.start_at(watched, rv=rv)
    world.create("configmaps", config_map("b"))

    assert told(watched) == [("ADDED", "a"), ("ADDED", "b")]


def test_a_compacted_version_is_an_error_event_and_the_end(world: World) -> None:
    world.create("configmaps", config_map("a"))
    rv = world.store.rv - 1
    world.store.compact()
    watched = watcher(world)

    Hub(world.store).start_at(watched, rv=rv)

    event = json.loads(watched.take())
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
    assert watched.is_closed


def test_lines_are_encoded_once_for_all_watchers(world: World) -> None:
    hub = Hub(world.store)
    many = [watcher(world) for _ in range(3)]
    for watched in many:
        hub.start_at(watched, rv=world.store.rv)
    world.create("configmaps", config_map("a"))

    assert len({id(watched.lines[0]) for watched in many}) == 1


async def test_a_watcher_that_does_not_read_is_dropped_and_holds_up_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "QUEUE_EVENTS", 10)
    hub = Hub(world.store)
    slow, quick = watcher(world), watcher(world)
    hub.start_at(slow, rv=world.store.rv)
    hub.start_at(quick, rv=world.store.rv)
    for number in range(11):
        world.create("configmaps", config_map(f"c{number}"))
        quick.take()

    with pytest.raises(Dropped):
        await anext(hub.stream(slow, timeout_seconds=10, bookmark_seconds=0))
    assert not quick.is_dropped
    assert hub.all() == [quick]


async def test_a_bookmark_comes_only_when_it_says_something_new(world: World) -> None:
    hub = Hub(world.store)
    watched = watcher(world, labels="a=b")
    hub.start_at(watched, rv=world.store.rv)
    stream = hub.stream(watched, timeout_seconds=60, bookmark_seconds=0.01)
    world.create("configmaps", config_map("other"))

    mark = json.loads(await anext(stream))
    assert (mark["type"], mark["object"]["metadata"]["resourceVersion"]) == ("BOOKMARK", str(world.store.rv))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await anext(stream)


async def test_initial_events_end_with_a_marked_bookmark(world: World) -> None:
    world.create("configmaps", config_map("a"))
    watched = watcher(world)

    Hub(world.store).start_with_state(watched, says_when_complete=True)

    *_, mark = watched.take().splitlines()
    assert json.loads(mark)["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}

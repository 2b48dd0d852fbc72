from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from controlplane.local.apiserver.database import DiskFull
from controlplane.local.apiserver.store import Compacted, Event
from tests.contract.objects import config_map, run
from tests.controlplane.local.apiserver.world import World


def test_every_write_takes_the_next_version(world: World) -> None:
    before = world.store.rv
    versions = [int(world.create("configmaps", config_map(name))["metadata"]["resourceVersion"]) for name in ("a", "b", "c")]

    assert versions == [before + 1, before + 2, before + 3]


def test_a_restart_keeps_objects_history_and_version(tmp_path: Path) -> None:
    with World(tmp_path) as world:
        world.create("runs.kruntimes.io", run("one"))
        world.patch("runs.kruntimes.io", "one", {"status": {"phase": "Running"}}, subresource="status")
        world.create("configmaps", config_map("gone"))
        world.delete("configmaps", "gone")
        seen = describe(world.store.events_after(1))
        rv, body = world.store.rv, stored_body(world, "one")

    with World(tmp_path) as again:
        assert again.store.rv == rv
        assert stored_body(again, "one") == body
        assert describe(again.store.events_after(1)) == seen
        assert int(again.create("configmaps", config_map("new"))["metadata"]["resourceVersion"]) == rv + 1


def describe(events: list[Event]) -> list[Any]:
    return [
        (event.rv, event.type, event.resource, event.stored.key, event.stored.body, event.previous.body if event.previous else None)
        for event in events
    ]


def stored_body(world: World, name: str) -> bytes:
    found = world.find("runs.kruntimes.io", name)
    assert found is not None
    assert found.fields["spec.runtime"] == "bash"
    return found.body


def test_compaction_forgets_history_but_no_version(tmp_path: Path) -> None:
    with World(tmp_path) as world:
        world.create("configmaps", config_map("one"))
        world.store.compact()
        rv = world.store.rv
        with pytest.raises(Compacted):
            world.store.events_after(rv - 1)
        assert world.store.events_after(rv) == []

    with World(tmp_path) as again:
        assert again.store.rv == rv
        assert again.find("configmaps", "one") is not None
        with pytest.raises(Compacted):
            again.store.events_after(rv - 1)


def test_the_history_is_bounded_in_memory_and_in_the_file(tmp_path: Path) -> None:
    with World(tmp_path, history=10) as world:
        world.create("configmaps", config_map("one"))
        for number in range(600):
            world.patch("configmaps", "one", {"data": {"n": str(number)}})
        assert len(world.store.events_after(world.store.compacted)) < 300
        assert len(world.database.history()) == len(world.store.events_after(world.store.compacted))


def test_a_snapshot_shows_the_past(world: World) -> None:
    world.create("configmaps", config_map("a"))
    rv = world.store.rv
    world.create("configmaps", config_map("b"))
    world.patch("configmaps", "a", {"data": {"key": "changed"}})
    world.delete("configmaps", "a")

    past = list(world.store.snapshot("configmaps", rv=rv).scan(namespace="default"))

    assert [(stored.key[1], json.loads(stored.body)["data"]) for stored in past] == [("a", {"key": "value"})]
    assert [stored.key[1] for stored in world.store.collection("configmaps").scan(namespace="default")] == ["b"]


def test_a_failed_commit_changes_nothing(world: World) -> None:
    world.create("configmaps", config_map("one"))
    rv = world.store.rv
    world.database.close()

    with pytest.raises(Exception, match="closed"):
        world.create("configmaps", config_map("two"))

    assert (world.store.rv, world.find("configmaps", "two")) == (rv, None)


def test_a_changed_field_selection_of_a_crd_is_in_force_at_once(world: World) -> None:
    world.create("runs.kruntimes.io", run("one"))
    crd = world.find("customresourcedefinitions.apiextensions.k8s.io", "runs.kruntimes.io")
    assert crd is not None
    versions = crd.decode()["spec"]["versions"]
    versions[0]["selectableFields"].append({"jsonPath": ".spec.source.inline"})

    world.patch("customresourcedefinitions.apiextensions.k8s.io", "runs.kruntimes.io", {"spec": {"versions": versions}})

    found = world.find("runs.kruntimes.io", "one")
    assert found is not None
    assert found.fields["spec.source.inline"] == "echo hello"


def big(name: str) -> dict[str, Any]:
    """It takes pages of its own."""
    return {**config_map(name), "data": {"key": "x" * 50_000}}


def test_a_write_that_finds_the_disk_full_has_not_happened_and_the_next_one_may(world: World) -> None:
    rv = world.store.rv
    world.fill_disk()
    for _ in range(2):
        with pytest.raises(DiskFull, match="No space left on device"):
            world.create("configmaps", big("one"))
    assert (world.store.rv, world.find("configmaps", "one")) == (rv, None)
    world.free_disk()
    assert world.create("configmaps", big("one"))["metadata"]["resourceVersion"] == str(rv + 1)


def test_history_that_cannot_be_dropped_for_want_of_room_hides_no_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write has landed by then: those who watch are told, and whoever made it is not refused."""
    with World(tmp_path, history=1) as world:
        told: list[int] = []
        world.store.on_event.append(lambda event: told.append(event.rv))
        with monkeypatch.context() as patched:
            patched.setattr(world.database, "forget_history", refuse)
            for number in range(600):
                world.create("configmaps", config_map(f"map-{number}"))
        assert told == list(range(world.store.rv - 599, world.store.rv + 1))
        world.store.compact()
        assert world.create("configmaps", config_map("after"))

    with World(tmp_path, history=1) as again:
        assert again.find("configmaps", "map-599") is not None


def refuse(*, up_to: int) -> None:
    raise DiskFull

from __future__ import annotations

import pytest

from controlplane.local.apiserver.collector import Collector
from controlplane.local.apiserver.database import DiskFull
from controlplane.local.apiserver.statuses import Refused
from tests.contract.http import Json
from tests.contract.objects import config_map, deployment, pod, run
from tests.controlplane.local.apiserver.world import World


@pytest.fixture
def collector(world: World) -> Collector:
    made = Collector(world.store, registry=world.registry, audit=None)
    made.scan()
    return made


def owned_by(owner: Json, manifest: Json) -> Json:
    meta = owner["metadata"]
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": meta["name"],
        "uid": meta["uid"],
        "blockOwnerDeletion": True,
    }
    manifest["metadata"]["ownerReferences"] = [reference]
    return manifest


def test_dependents_follow_their_owner(world: World, collector: Collector) -> None:
    owner = world.create("configmaps", config_map("owner"))
    middle = world.create("configmaps", owned_by(owner, config_map("middle")))
    world.create("runs.kruntimes.io", owned_by(middle, run("leaf")))
    world.create("configmaps", config_map("stranger"))

    world.delete("configmaps", "owner")
    world.collect(collector)

    assert [world.find("configmaps", name) for name in ("middle",)] == [None]
    assert world.find("runs.kruntimes.io", "leaf") is None
    assert world.find("configmaps", "stranger") is not None


def test_an_object_of_an_owner_that_never_was_goes(world: World, collector: Collector) -> None:
    ghost = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ghost", "uid": "no-such-uid"}}
    world.create("configmaps", owned_by(ghost, config_map("orphan")))

    world.collect(collector)

    assert world.find("configmaps", "orphan") is None


def test_an_owner_of_the_same_name_is_another_owner(world: World, collector: Collector) -> None:
    owner = world.create("configmaps", config_map("owner"))
    world.create("configmaps", owned_by(owner, config_map("dependent")))
    world.delete("configmaps", "owner")
    world.create("configmaps", config_map("owner"))

    world.collect(collector)

    assert world.find("configmaps", "dependent") is None


def test_in_the_foreground_the_owner_goes_last(world: World, collector: Collector) -> None:
    owner = world.create("deployments.apps", deployment("web"))
    world.create("pods", owned_by(owner, pod("web-1", node="here")))

    world.delete("deployments.apps", "web", policy="Foreground")
    world.collect(collector)

    assert world.find("deployments.apps", "web") is not None
    waiting = world.find("pods", "web-1")
    assert waiting is not None
    assert waiting.decode()["metadata"]["deletionGracePeriodSeconds"] == 30

    world.delete("pods", "web-1", grace_seconds=0)
    world.collect(collector)
    assert world.find("pods", "web-1") is None
    assert world.find("deployments.apps", "web") is None


def test_orphans_stay_without_their_owner(world: World, collector: Collector) -> None:
    owner = world.create("configmaps", config_map("owner"))
    world.create("configmaps", owned_by(owner, config_map("dependent")))

    world.delete("configmaps", "owner", policy="Orphan")
    world.collect(collector)

    orphan = world.find("configmaps", "dependent")
    assert world.find("configmaps", "owner") is None
    assert orphan is not None
    assert "ownerReferences" not in orphan.decode()["metadata"]


def test_a_namespace_goes_when_it_is_empty(world: World, collector: Collector) -> None:
    world.create("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})
    world.create("configmaps", config_map("one"), namespace="team")
    world.create("runs.kruntimes.io", run("held", finalizers=["example.io/hold"]), namespace="team")

    world.delete("namespaces", "team")
    world.collect(collector)

    assert world.find("configmaps", "one", namespace="team") is None
    assert world.find("namespaces", "team") is not None
    with pytest.raises(Refused, match="is being terminated"):
        world.create("configmaps", config_map("late"), namespace="team")

    held = world.target("runs.kruntimes.io", "held", namespace="team")
    world.store.delete("runs.kruntimes.io", key=held.key)
    world.collect(collector)
    assert world.find("namespaces", "team") is None


def test_a_deletion_goes_on_after_a_restart(world: World) -> None:
    owner = world.create("configmaps", config_map("owner"))
    world.create("configmaps", owned_by(owner, config_map("dependent")))
    world.delete("configmaps", "owner")
    late = Collector(world.store, registry=world.registry, audit=None)

    late.scan()
    world.collect(late)

    assert world.find("configmaps", "dependent") is None


def test_a_crd_takes_its_objects_along(world: World, collector: Collector) -> None:
    world.create("runs.kruntimes.io", run("one"))

    world.delete("customresourcedefinitions.apiextensions.k8s.io", "runs.kruntimes.io")
    world.collect(collector)

    assert world.registry.named("runs.kruntimes.io") is None
    assert list(world.store.collection("runs.kruntimes.io").scan(namespace="")) == []


def test_what_a_full_disk_kept_it_from_is_done_when_there_is_room(world: World, collector: Collector) -> None:
    owner = world.create("configmaps", config_map("owner"))
    for number in range(3):
        leaf = owned_by(owner, config_map(f"leaf-{number}"))
        world.create("configmaps", leaf | {"data": {"key": "x" * 50_000}, "metadata": leaf["metadata"] | {"finalizers": ["test/x"]}})
    world.delete("configmaps", "owner")
    world.fill_disk()
    with pytest.raises(DiskFull):
        world.collect(collector)
    world.free_disk()
    world.collect(collector)
    leaves = [world.find("configmaps", f"leaf-{number}") for number in range(3)]
    assert all(leaf is not None and b'"deletionTimestamp"' in leaf.body for leaf in leaves)

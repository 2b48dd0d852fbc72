"""What becomes of children that were lent, whoever is the faster: the server, the keeper or the supervisor."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from servers.sdk.borrowed import UNTOLD_SECONDS, Borrowed
from servers.sdk.shelf import Shelf
from servers.supervisor import wire
from servers.supervisor.channel import OutputFds, close_fds
from servers.supervisor.spec import HoldSpec, StartSpec
from servers.supervisor.wire import Message
from tests.servers.sdk.lending import ENV, ORDER, Keepers

SPEC = StartSpec(7, executable="/bin/bash", argv=["bash", "script"], env=ENV, cwd="/")
ENDED = {"op": "ended", "status": 0, "stopped": False, "lost": False, "unused": False}
LOST = {"op": "ended", "id": 7, "hold": 1, "stopped": False, "lost": True}


class Link:
    """Who owns it, and whom it tells."""

    def __init__(self) -> None:
        self.said: list[Message] = []
        self.fresh: list[StartSpec] = []
        self.ended: list[Message] = []
        self.has_ended = asyncio.Event()

    def send(self, message: Message) -> None:
        self.said.append(message)

    def start_fresh(self, spec: StartSpec) -> None:
        self.fresh.append(spec)

    def on_started(self, message: Message, *, output: OutputFds | None) -> None:
        close_fds(output)

    def on_ended(self, message: Message) -> None:
        self.ended.append(message)
        self.has_ended.set()


class Scene:
    """One child was lent, under the number 1."""

    def __init__(self) -> None:
        shelf = Shelf(HoldSpec("bash", executable="/bin/bash", env=ENV, preload=[]))
        self.link = Link()
        self.borrowed = Borrowed(shelf, owner=self.link, events=self.link)
        self.keepers = Keepers(shelf)
        message, fds = self.keepers.make(1)
        self.borrowed.take_in(message, fds=fds)

    def start(self) -> None:
        assert self.borrowed.start(SPEC, form="script", order=ORDER)

    def report(self, **fields: object) -> None:
        self.keepers.reports[1].send(wire.encode_payload({**ENDED, **fields}))

    def close(self) -> None:
        self.borrowed.clear()
        self.keepers.close()


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    yield scene
    scene.close()


async def settle() -> None:
    """All that is ready has been heard."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_the_supervisor_is_told_of_a_long_run_only(scene: Scene) -> None:
    scene.start()
    await asyncio.sleep(2 * UNTOLD_SECONDS)
    assert scene.link.said == [{"op": "took", "id": 7, "hold": 1}]
    scene.report()
    await scene.link.has_ended.wait()
    assert scene.link.ended[0]["id"] == 7


async def test_of_a_short_run_it_hears_nothing(scene: Scene) -> None:
    scene.start()
    scene.report()
    await scene.link.has_ended.wait()
    await asyncio.sleep(2 * UNTOLD_SECONDS)
    assert scene.link.said == []


async def test_what_is_to_be_stopped_is_told_of_first(scene: Scene) -> None:
    scene.start()
    scene.borrowed.note_stopped(7)
    assert scene.link.said == [{"op": "took", "id": 7, "hold": 1}]
    await asyncio.sleep(2 * UNTOLD_SECONDS)
    assert len(scene.link.said) == 1


async def test_a_child_that_ended_before_its_order_is_replaced_by_a_fresh_process(scene: Scene) -> None:
    scene.start()
    scene.report(unused=True)
    await settle()
    assert scene.link.fresh == [SPEC]
    assert scene.link.ended == []


async def test_but_not_one_that_was_to_be_stopped(scene: Scene) -> None:
    scene.start()
    scene.borrowed.note_stopped(7)
    scene.report(unused=True)
    await scene.link.has_ended.wait()
    assert (scene.link.ended[0]["stopped"], scene.link.fresh) == (True, [])


@pytest.mark.parametrize(("is_stopped", "stopped"), [(True, True), (False, False)])
async def test_a_killed_keeper_is_told_by_the_supervisor(scene: Scene, is_stopped: bool, stopped: bool) -> None:
    scene.start()
    if is_stopped:
        scene.borrowed.note_stopped(7)
    scene.keepers.reports[1].close()
    await settle()
    assert scene.link.ended == []
    scene.borrowed.note_lost(LOST)
    assert [(ended["id"], ended["lost"], ended["stopped"]) for ended in scene.link.ended] == [(7, True, stopped)]


async def test_what_a_keeper_said_before_it_was_killed_counts(scene: Scene) -> None:
    scene.start()
    scene.report(status=256)
    scene.keepers.reports[1].close()
    scene.borrowed.note_lost(LOST)
    await settle()
    assert [(ended["lost"], ended["status"]) for ended in scene.link.ended] == [(False, 256)]


async def test_what_is_asked_back_is_given_back_unless_it_was_taken(scene: Scene) -> None:
    scene.start()
    scene.borrowed.give_back(1)
    assert scene.link.said == []
    message, fds = scene.keepers.make(2)
    scene.borrowed.take_in(message, fds=fds)
    scene.borrowed.give_back(2)
    assert scene.link.said == [{"op": "returned", "hold": 2}]
    assert scene.keepers.order_of(2) == b""


async def test_what_cannot_be_taken_in_is_given_back(scene: Scene) -> None:
    scene.borrowed.take_in({"op": "lent", "hold": 3}, fds=None)
    assert scene.link.said == [{"op": "returned", "hold": 3}]


async def test_when_the_supervisor_is_gone_what_was_reported_has_ended_and_the_shelf_is_empty(scene: Scene) -> None:
    scene.start()
    message, fds = scene.keepers.make(2)
    scene.borrowed.take_in(message, fds=fds)
    scene.report(status=512)
    scene.borrowed.clear()
    assert [ended["status"] for ended in scene.link.ended] == [512]
    assert os.read(scene.keepers.reports[2].fileno(), 1) == b""
    assert not scene.borrowed.start(SPEC, form="script", order=ORDER)

"""What becomes of orders that are given while a supervisor is being replaced. Whole processes: tests/servers/test_process_trees.py."""

from __future__ import annotations

import asyncio

from servers.sdk.supervisor_link import SupervisorLink
from servers.supervisor.spec import StartSpec
from servers.supervisor.wire import Message


def spec(ticket: int) -> StartSpec:
    return StartSpec(ticket, executable="/bin/bash", argv=["bash"], env={}, cwd="/")


class Told:
    """Who owns the attempts."""

    def __init__(self) -> None:
        self.is_lost = asyncio.Event()

    def on_started(self, message: Message, *, output: object) -> None: ...
    def on_refused(self, message: Message) -> None: ...
    def on_ended(self, message: Message) -> None: ...
    def on_supervisor_lost(self) -> None:
        self.is_lost.set()


class LinkWithoutProcesses(SupervisorLink):
    """The real one, but that its supervisors are lists of orders, and that the old one's processes take until `are_gone`."""

    def __init__(self, events: Told) -> None:
        super().__init__(events, warmth=None)
        self.are_gone = asyncio.Event()
        self.is_replaced = asyncio.Event()
        self.orders_of_next: list[Message] = []

    async def _end_children(self, *, kill_supervisor: bool) -> None:
        await self.are_gone.wait()

    def _spawn(self) -> None:
        self.orders_of_next += self._queue
        self.is_replaced.set()


async def test_what_is_told_lost_does_not_start_after_that() -> None:
    told = Told()
    link = LinkWithoutProcesses(told)
    link._lose()
    link.start(spec(1))
    link.are_gone.set()
    await told.is_lost.wait()
    await link.is_replaced.wait()
    assert link.orders_of_next == []


async def test_what_is_asked_for_after_the_loss_was_told_starts() -> None:
    told = Told()
    link = LinkWithoutProcesses(told)
    link._died_at = asyncio.get_running_loop().time()  # twice within a second: the next one is waited for a moment
    link._lose()
    link.are_gone.set()
    await told.is_lost.wait()
    link.start(spec(2))
    await link.is_replaced.wait()
    assert [(order["op"], order["id"]) for order in link.orders_of_next] == [("start", 2)]

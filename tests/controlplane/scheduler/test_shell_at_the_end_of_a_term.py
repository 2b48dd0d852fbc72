"""The end of a term of leadership: what still runs while the tasks are cancelled must neither decide nor write."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, cast

from prometheus_client import CollectorRegistry

from controlplane.scheduler.metrics import SchedulerMetrics
from controlplane.scheduler.model import Listed, PodSeen, RunSeen
from controlplane.scheduler.shell import LANDING_SECONDS, SchedulerShell
from k8s.client import ApiClient, NotFound
from tests.controlplane.scheduler.objects import make_pod, make_run


class SilentServer:
    """Answers no write until it is told to, and remembers what was written."""

    def __init__(self) -> None:
        self.writes: list[str] = []
        self.answers = asyncio.Event()

    async def list(self, *_: Any, **__: Any) -> None:
        await asyncio.Event().wait()

    async def patch(self, _: Any, name: str, *__: Any, **___: Any) -> None:
        self.writes.append(name)
        await self.answers.wait()
        raise NotFound("gone meanwhile")


async def begin() -> tuple[SchedulerShell, SilentServer, asyncio.Task[None]]:
    server = SilentServer()
    shell = SchedulerShell(cast("ApiClient", server), metrics=SchedulerMetrics(CollectorRegistry()))
    term = asyncio.create_task(shell.run())
    await asyncio.sleep(0)
    for event in (Listed(), PodSeen(make_pod("pod", capacity={"runs": 9}))):
        shell._step(event)
    return shell, server, term


async def test_an_event_after_the_end_leads_to_nothing() -> None:
    """One that was read while the other tasks were being cancelled: it crashed the process."""
    shell, server, term = await begin()
    term.cancel()
    with suppress(asyncio.CancelledError):
        await term
    shell._step(RunSeen(make_run("late")))
    await asyncio.sleep(0)
    assert server.writes == []


async def test_what_was_decided_before_the_end_and_not_sent_is_not_sent() -> None:
    shell, server, term = await begin()
    shell._step(RunSeen(make_run("sent")))
    await asyncio.sleep(0)
    shell._step(RunSeen(make_run("unsent")))
    shell._is_over = True
    await asyncio.sleep(0)
    assert server.writes == ["run-sent"]
    term.cancel()
    with suppress(asyncio.CancelledError):
        await term


async def test_a_term_ends_when_what_was_sent_has_been_answered() -> None:
    """Only then may the Lease be given back at once."""
    shell, server, term = await begin()
    shell._step(RunSeen(make_run("sent")))
    await asyncio.sleep(0)
    term.cancel()
    await asyncio.wait({term}, timeout=0.05)
    assert not term.done()
    server.answers.set()
    with suppress(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.shield(term), LANDING_SECONDS / 2)
    assert term.done()

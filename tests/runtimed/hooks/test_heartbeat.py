"""When a sign of life is given; against a real API server in tests/runtimed/test_faults.py."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from k8s.client import REAL_PACE, ApiClient, ServerError, Throttled
from runtimed.hooks.heartbeat import INTERVAL_SECONDS, Heartbeat
from runtimed.settings import PodIdentity

pytestmark = pytest.mark.looptime
BUSY = Throttled("busy", status=429, retry_after_seconds=3.0)


class Server:
    """Refuses the first beats with `errors`, and notes when each came."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)
        self.beats: list[float] = []

    async def patch(self, *_: Any, **__: Any) -> None:
        self.beats.append(asyncio.get_running_loop().time())
        if self._errors:
            raise self._errors.pop(0)


async def beat(server: Server, *, seconds: float) -> list[float]:
    """The pauses between the beats."""
    heartbeat = Heartbeat(
        cast("ApiClient", server),
        pod=PodIdentity(namespace="default", name="pod", uid="uid"),
        now=lambda: datetime.now(UTC),
        pace=replace(REAL_PACE, chance=lambda: 1.0),
    )
    heartbeat.set_ready(True)
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await heartbeat.beat()
    return [round(after - before, 3) for before, after in zip(server.beats, server.beats[1:], strict=False)]


async def test_while_all_is_well_it_beats_once_an_interval() -> None:
    assert await beat(Server(), seconds=16) == [INTERVAL_SECONDS] * 3


async def test_one_that_was_not_written_is_repeated_long_before_the_next_is_due() -> None:
    failures = [ServerError("no", status=500) for _ in range(5)]
    assert await beat(Server(*failures), seconds=20) == [0.5, 1.0, 2.0, 4.0, INTERVAL_SECONDS, INTERVAL_SECONDS]


async def test_it_comes_back_no_earlier_than_it_was_asked_to() -> None:
    assert await beat(Server(BUSY), seconds=9) == [3.0, INTERVAL_SECONDS]

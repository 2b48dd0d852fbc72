"""Watching one container's health, on a clock that jumps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from controlplane.local.node.health import Health
from controlplane.local.node.probes import Probe

pytestmark = pytest.mark.looptime


class Patient:
    """A container whose answers depend on the time since it started."""

    def __init__(self, answer: Callable[[float, Probe], bool]) -> None:
        self._answer = answer
        self._loop = asyncio.get_running_loop()
        self._start = self._loop.time()
        self.asked_at: list[float] = []
        self.ready: list[tuple[float, bool]] = []
        self.unhealthy: list[tuple[float, str]] = []

    @property
    def now(self) -> float:
        return round(self._loop.time() - self._start, 2)

    async def ask(self, probe: Probe) -> bool:
        self.asked_at.append(self.now)
        return self._answer(self.now, probe)

    def on_ready(self, is_ready: bool) -> None:
        if not self.ready or self.ready[-1][1] != is_ready:
            self.ready.append((self.now, is_ready))

    def health(self, **probes: Probe) -> Health:
        return Health(probes, ask=self.ask, on_ready=self.on_ready, on_unhealthy=lambda kind: self.unhealthy.append((self.now, kind)))

    async def watch(self, *, seconds: float, **probes: Probe) -> None:
        watching = asyncio.create_task(self.health(**probes).watch())
        await asyncio.sleep(seconds)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def test_a_container_without_probes_is_ready_at_once() -> None:
    patient = Patient(lambda *_: False)
    await patient.watch(seconds=1)
    assert patient.ready == [(0, True)]


async def test_readiness_is_seen_soon_although_the_period_is_long() -> None:
    patient = Patient(lambda now, _: now >= 0.3)
    await patient.watch(seconds=1, readinessProbe=Probe(port=1, period_seconds=10))
    assert patient.ready[0] == (0, False)
    assert patient.ready[1][1]
    assert patient.ready[1][0] < 0.7


async def test_readiness_comes_and_goes_with_the_period() -> None:
    patient = Patient(lambda now, _: now < 15 or now > 45)
    await patient.watch(seconds=60, readinessProbe=Probe(port=1, period_seconds=10, failure_threshold=2))
    assert patient.ready == [(0, True), (30, False), (50, True)]


async def test_liveness_waits_its_delay_and_then_kills() -> None:
    patient = Patient(lambda _, probe: probe.port == 1)
    probes = {"readinessProbe": Probe(port=1), "livenessProbe": Probe(port=2, initial_delay_seconds=5, period_seconds=10)}
    await patient.watch(seconds=60, **probes)
    assert patient.unhealthy == [(35, "livenessProbe")]


async def test_a_slow_start_is_granted_its_time_before_anything_else_is_asked() -> None:
    patient = Patient(lambda now, _: now >= 20)
    probes = {
        "startupProbe": Probe(port=1, period_seconds=10, failure_threshold=3),
        "livenessProbe": Probe(port=1, period_seconds=1, failure_threshold=1),
    }
    await patient.watch(seconds=60, **probes)
    assert patient.unhealthy == []
    assert patient.ready[0][1]
    assert 20 <= patient.ready[0][0] <= 31


async def test_a_start_that_takes_too_long_is_unhealthy() -> None:
    patient = Patient(lambda *_: False)
    await patient.watch(seconds=60, startupProbe=Probe(port=1, period_seconds=10, failure_threshold=2))
    assert [kind for _, kind in patient.unhealthy] == ["startupProbe"]
    assert patient.ready == []

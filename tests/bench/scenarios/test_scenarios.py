"""The loads, driven with a fake that ends Runs in fake time. tests/bench/test_measuring.py drives them for real."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable

import pytest

from bench.samples import Sample
from bench.scenarios import Backlog, Burst, Creators, InFlight, Poisson, Scenario, Serial, Soak
from bench.scenarios.poisson import arrivals, send_at
from tests.bench.made import sample

RUN_SECONDS = 0.002


class FakeLoad:
    """Counts how many are in flight."""

    def __init__(self) -> None:
        self.created = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.due: list[float | None] = []

    def begin(self) -> None: ...

    async def measure(self, *, due: float | None = None) -> Sample:
        return await (await self.send(due=due))

    async def send(self, *, due: float | None = None) -> Awaitable[Sample]:
        self.created += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self.due.append(due)
        await asyncio.sleep(0)
        return self._end()

    async def _end(self) -> Sample:
        await asyncio.sleep(RUN_SECONDS)
        self.in_flight -= 1
        return sample(1.0)


async def run(scenario: Scenario) -> tuple[FakeLoad, list[Sample]]:
    load = FakeLoad()
    return load, await scenario.run(load)


@pytest.mark.parametrize(
    ("scenario", "count", "most_in_flight"),
    [
        (Serial(5), 5, 1),
        (InFlight(12, parallel=3), 12, 3),
        (Burst(7), 7, 7),
        (Creators(10, creators=5), 10, 10),
        (Backlog(6, slots=2, run_seconds=0.1), 6, 6),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_scenario_has_so_many_runs_and_so_many_at_a_time(scenario: Scenario, count: int, most_in_flight: int) -> None:
    load, samples = await run(scenario)
    assert (load.created, len(samples), load.most_in_flight) == (count, count, most_in_flight)


async def test_all_of_a_burst_are_due_at_one_moment() -> None:
    load, _ = await run(Burst(5))
    assert len(set(load.due)) == 1
    assert load.due[0] is not None


async def test_an_open_loop_counts_from_when_a_run_was_due_also_when_the_client_is_late() -> None:
    load = FakeLoad()
    began = time.monotonic()
    await send_at([-5.0, -4.0, 0.001], load=load)
    assert time.monotonic() - began < 1.0  # sent at once
    assert [at - began for at in load.due if at is not None] == pytest.approx([-5.0, -4.0, 0.001], abs=0.1)


def test_arrivals_are_always_the_same_and_as_many_as_the_rate_says() -> None:
    times = arrivals(50.0, seconds=20.0)
    assert times == arrivals(50.0, seconds=20.0)
    assert times == sorted(times)
    assert times[0] > 0
    assert times[-1] < 20.0
    assert len(times) == pytest.approx(1000, rel=0.1)


def test_arrivals_are_irregular_as_users_are() -> None:
    times = arrivals(50.0, seconds=20.0)
    gaps = [after - before for before, after in itertools.pairwise(times)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert deviation == pytest.approx(mean, rel=0.15)  # what makes a Poisson process


def test_even_the_slowest_rate_sends_a_run() -> None:
    assert arrivals(0.001, seconds=1.0) == [1.0]


def test_the_ideal_of_a_backlog_is_user_code_on_every_slot_all_the_time() -> None:
    assert Backlog(500, slots=8, run_seconds=0.5).ideal_seconds == 31.25


def test_titles_name_the_figures_that_define_a_load() -> None:
    scenarios: list[Scenario] = [Serial(100), InFlight(300), Burst(25), Creators(50), Poisson(20.0, seconds=10.0), Soak(2.0)]
    assert [scenario.title for scenario in scenarios] == [
        "serial x 100",
        "25 in flight x 300",
        "burst of 25",
        "50 by 25 creators",
        "open loop, 20 Runs/s for 10 s",
        "soak, 20 Runs/s for 2 min",
    ]

"""What a benchmark measures: which scenarios, with whom, how often. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from bench.scenarios import Backlog, Burst, Creators, InFlight, Poisson, Scenario, Serial, Soak
from bench.subjects import BACKLOG_RUN_SECONDS, BACKLOG_SLOTS, BASH, BASH_JOB, EIGHT_SLOTS, FLOOR, PYTHON, PYTHON_JOB, Subject

DEFAULT_NAMES = ("serial", "in-flight", "creators", "burst", "python", "poisson", "backlog")
NAMES = (*DEFAULT_NAMES, "soak", "jobs")
NODE_NAMES = ("serial", "in-flight", "python", "jobs")
POISSON_RATES = (10.0, 20.0, 40.0, 60.0, 80.0, 100.0)
PARALLEL = 25
WARM_UP = Serial(10)
"""Before each pass: connections are open, code is loaded, the watch caches are filled."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured. Repeats of the long scenarios are fewer: they have the most Runs."""

    repeats: int = 5
    serial_runs: int = 100
    parallel_runs: int = 300
    bursts: tuple[int, ...] = (25, 100, 300)
    poisson_rates: tuple[float, ...] = POISSON_RATES
    poisson_seconds: float = 10.0
    poisson_repeats: int = 3
    backlog_runs: int = 500
    backlog_repeats: int = 3
    job_runs: int = 5
    job_repeats: int = 3
    soak_minutes: float = 5.0


QUICK = Scale(
    repeats=1,
    serial_runs=20,
    parallel_runs=50,
    bursts=(25,),
    poisson_rates=(10.0, 20.0),
    poisson_seconds=1.0,
    poisson_repeats=1,
    backlog_runs=40,
    backlog_repeats=1,
    job_runs=2,
    job_repeats=1,
    soak_minutes=0.25,
)
"""Shows that it works, not how fast it is."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One scenario, repeated, by several subjects in turn."""

    scenario: Scenario
    subjects: tuple[Subject, ...]
    repeats: int
    warm_up: Scenario = WARM_UP


def make_trials(names: Collection[str], *, scale: Scale, has_floor: bool) -> list[Trial]:
    """In the order in which they are measured."""
    return [trial for name in NAMES if name in names for trial in _trials(name, scale=scale, floor=(FLOOR,) if has_floor else ())]


def _trials(name: str, *, scale: Scale, floor: tuple[Subject, ...]) -> list[Trial]:
    bash, crowd = (BASH, *floor), InFlight(PARALLEL, PARALLEL)
    match name:
        case "serial":
            return [Trial(Serial(scale.serial_runs), bash, scale.repeats)]
        case "in-flight":
            return [Trial(InFlight(scale.parallel_runs, PARALLEL), bash, scale.repeats, crowd)]
        case "creators":
            return [Trial(Creators(50, PARALLEL), bash, scale.repeats, crowd)]
        case "burst":
            return [Trial(Burst(count), bash, scale.repeats, crowd) for count in scale.bursts]
        case "python":
            return [
                Trial(Serial(scale.serial_runs), (PYTHON,), scale.repeats),
                Trial(InFlight(scale.parallel_runs, PARALLEL), (PYTHON,), scale.repeats, crowd),
            ]
        case "poisson":
            return [Trial(Poisson(rate, scale.poisson_seconds), bash, scale.poisson_repeats) for rate in scale.poisson_rates]
        case "backlog":
            backlog = Backlog(scale.backlog_runs, slots=BACKLOG_SLOTS, run_seconds=BACKLOG_RUN_SECONDS)
            return [Trial(backlog, (EIGHT_SLOTS,), scale.backlog_repeats, Serial(2))]
        case "soak":
            return [Trial(Soak(scale.soak_minutes), (BASH,), 1)]
        case "jobs":
            loads = (Serial(scale.job_runs), InFlight(PARALLEL, PARALLEL))
            return [Trial(load, (BASH_JOB, PYTHON_JOB), scale.job_repeats, Serial(1)) for load in loads]
        case _:
            return []

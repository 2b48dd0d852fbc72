"""What one run of the benchmark found, as it is kept: every sample of every pass, and the conditions."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from statistics import median

import msgspec
from msgspec import Struct

from bench.conditions import Conditions
from bench.meters.components import CLIENT
from bench.meters.writes import writes_to
from bench.passes import Repeat
from bench.samples import Sample
from bench.spread import NOTHING, Figure, figure
from bench.subjects import BASH_JOB, FLOOR, FLOOR_RUNS, JOBS, PYTHON_JOB
from k8s.client import PODS, RUNS

FLOOR_PREFIX = "floor-"


class Result(Struct, frozen=True, kw_only=True):
    """One scenario by one subject on one server, several times over."""

    server: str
    subject: str
    scenario: str
    repeats: list[Repeat]
    is_open_loop: bool = False
    ideal_seconds: float | None = None

    @property
    def is_floor(self) -> bool:
        return self.subject == FLOOR.name

    @property
    def is_job(self) -> bool:
        return self.subject in (BASH_JOB.name, PYTHON_JOB.name)

    @property
    def samples(self) -> list[Sample]:
        """Of all repeats."""
        return [sample for repeat in self.repeats for sample in repeat.samples]

    @property
    def failures(self) -> list[Sample]:
        return [sample for sample in self.samples if sample.is_failure]

    def over_repeats(self, measure: Callable[[Repeat], float]) -> Figure:
        """The median of what the repeats gave, with its spread."""
        return figure([measure(repeat) for repeat in self.repeats])

    @property
    def writes_per_run(self) -> Figure:
        """To objects of the Run's kind, the create included; of a Job to its Pod too."""
        resources = (JOBS, PODS) if self.is_job else (FLOOR_RUNS,) if self.is_floor else (RUNS,)
        if not any(repeat.writes for repeat in self.repeats):
            return NOTHING
        return self.over_repeats(lambda repeat: sum(writes_to(repeat.writes, kind) for kind in resources) / len(repeat.samples))

    @property
    def slot_efficiency(self) -> Figure:
        """User code's share of the slots' time; 1 is ideal."""
        ideal = self.ideal_seconds
        return NOTHING if ideal is None else self.over_repeats(lambda repeat: ideal / repeat.seconds)

    def cpu_ms_per_run(self) -> dict[str, float]:
        """By component, medians over the repeats, most first. The client is among them; the other side's idle processes are not."""
        names = {name for repeat in self.repeats for name in repeat.cpu_seconds if self._pays(name)}
        costs = {name: median(repeat.cpu_seconds.get(name, 0.0) * 1000 / len(repeat.samples) for repeat in self.repeats) for name in names}
        return dict(sorted(costs.items(), key=lambda item: -item[1]))

    @property
    def total_cpu_ms_per_run(self) -> Figure:
        """All of the system, without the client."""
        if not any(repeat.cpu_seconds for repeat in self.repeats):
            return NOTHING
        return self.over_repeats(
            lambda repeat: (
                sum(seconds for name, seconds in repeat.cpu_seconds.items() if name != CLIENT and self._pays(name))
                * 1000
                / len(repeat.samples)
            )
        )

    def _pays(self, component: str) -> bool:
        if component in ("etcd", "kube-apiserver", "apiserver", CLIENT):
            return True
        return component.startswith(FLOOR_PREFIX) == self.is_floor


class Report(Struct, frozen=True, kw_only=True):
    """One run of the benchmark."""

    conditions: Conditions
    results: list[Result]

    @property
    def failures(self) -> list[Sample]:
        return [sample for result in self.results for sample in result.failures]

    def find(self, *, server: str, subject: str, scenario: str) -> Result | None:
        """By the beginning of the scenario's title."""
        matching = (one for one in self.results if (one.server, one.subject) == (server, subject))
        return next((one for one in matching if one.scenario.startswith(scenario)), None)

    def floor_of(self, result: Result) -> Result | None:
        """The same load, interleaved on the same server, by the null implementation."""
        if result.is_floor:
            return None
        wanted = (result.server, FLOOR.name, result.scenario)
        return next((one for one in self.results if (one.server, one.subject, one.scenario) == wanted), None)

    def job_of(self, result: Result) -> Result | None:
        """Plain Jobs with the same program under the same kind of load: fewer of them, for they take seconds."""
        return self.find(server=result.server, subject=f"Job, {result.subject}", scenario=result.scenario.partition(" x ")[0])


def write_raw(report: Report, path: Path) -> None:
    """JSON, compressed where the name ends in .gz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    body = msgspec.json.encode(report)
    # No time inside the archive: the same data is the same file.
    path.write_bytes(gzip.compress(body, mtime=0) if path.suffix == ".gz" else body)


def read_raw(path: Path) -> Report:
    """What `write_raw` wrote."""
    body = path.read_bytes()
    return msgspec.json.decode(gzip.decompress(body) if path.suffix == ".gz" else body, type=Report)

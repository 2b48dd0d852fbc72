"""One pass of a scenario, timed, with what it cost. Meters are read outside the measured time."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping

from msgspec import Struct, field

from bench.loads import Load
from bench.meters.components import CLIENT, CONTAINERD, ELSEWHERE
from bench.meters.cpu import difference, read_cpu_seconds, read_machine_seconds
from bench.meters.memory import read_rss_mib
from bench.meters.writes import WriteMeter
from bench.samples import Sample, Summary, ends, starts, summarize
from bench.scenarios import Scenario


class Repeat(Struct, frozen=True, kw_only=True):
    """One pass, warm-up not counted. Costs are empty where they are not ours to see."""

    seconds: float
    samples: list[Sample]
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    """By component, of all of them: also of those that had nothing to do."""
    writes: dict[str, int] = field(default_factory=dict)
    """By request, of everybody."""
    rss_before_mib: dict[str, float] = field(default_factory=dict)
    rss_after_mib: dict[str, float] = field(default_factory=dict)
    """By component, of its largest process."""

    @property
    def start(self) -> Summary:
        """create -> first instruction of user code, ms."""
        return summarize(starts(self.samples))

    @property
    def finish(self) -> Summary:
        """create -> terminal phase seen by the watch, ms."""
        return summarize(ends(self.samples))

    @property
    def runs_per_second(self) -> float:
        return len(self.samples) / self.seconds

    @property
    def failures(self) -> int:
        return sum(sample.is_failure for sample in self.samples)


class Costs:
    """The meters around a pass."""

    def __init__(self, processes: Mapping[str, int], *, writes: WriteMeter) -> None:
        self._processes = {**processes, CLIENT: os.getpid()} if processes else {}
        self._writes = writes

    async def timed(self, scenario: Scenario, load: Load) -> Repeat:
        # STRICTLY in this order: reading an API server's metrics costs it CPU, which is none of the pass.
        writes_before = await self._writes.read()
        rss_before = read_rss_mib(self._processes)
        cpu_before = self._read_cpu()
        load.begin()
        began = time.monotonic()
        samples = await scenario.run(load)
        seconds = time.monotonic() - began
        cpu = difference(cpu_before, self._read_cpu())
        writes = await self._writes.read()
        return Repeat(
            seconds=round(seconds, 6),
            samples=samples,
            cpu_seconds=cpu,
            writes=dict(Counter(writes) - writes_before),
            rss_before_mib=rss_before,
            rss_after_mib=read_rss_mib(self._processes),
        )

    def _read_cpu(self) -> dict[str, float]:
        known = read_cpu_seconds(self._processes)
        if CONTAINERD not in known:
            return known
        return {**known, ELSEWHERE: read_machine_seconds() - sum(known.values())}

"""Results made by hand, for tests of what is computed and printed from them."""

from __future__ import annotations

from collections.abc import Sequence

from bench.conditions import Conditions
from bench.passes import Repeat
from bench.results import Report, Result
from bench.samples import Sample

LEDGER = ("observed", "assigned", "received", "started", "finished", "recorded")
CONDITIONS = Conditions(
    taken="2026-01-02T03:04:05+00:00",
    commit="abc1234",
    machine="2 cores, 4 GiB, Linux 6.1",
    load_before=0.5,
    load_after=1.5,
    versions={"Python": "3.11.7"},
)


def sample(milliseconds: float, *, phase: str = "Succeeded", at_seconds: float = 0.0, has_ledger: bool = True) -> Sample:
    """Seen to end after that long, started half-way; its ledger in seven equal steps."""
    steps = {step: milliseconds * (index + 1) / 7 for index, step in enumerate(LEDGER)} if has_ledger else {}
    return Sample(
        name="one",
        phase=phase,
        at_seconds=at_seconds,
        created_ms=1.0,
        started_ms=milliseconds / 2,
        terminal_ms=milliseconds,
        steps_ms=steps,
    )


def repeat(
    samples: Sequence[Sample],
    *,
    seconds: float = 1.0,
    cpu_seconds: dict[str, float] | None = None,
    writes: dict[str, int] | None = None,
) -> Repeat:
    return Repeat(
        seconds=seconds,
        samples=list(samples),
        cpu_seconds=cpu_seconds or {},
        writes=writes or {},
        rss_before_mib={"scheduler": 40.0},
        rss_after_mib={"scheduler": 42.0},
    )


def result(
    *repeats: Repeat, server: str = "kube", subject: str = "bash", scenario: str = "serial x 2", is_open_loop: bool = False
) -> Result:
    return Result(server=server, subject=subject, scenario=scenario, repeats=list(repeats), is_open_loop=is_open_loop)


def report(*results: Result) -> Report:
    return Report(conditions=CONDITIONS, results=list(results))

"""The targets of the hot path (level 1), and whether a report meets them. Pure.

A ratio is that of the medians of neighbouring repeats; its median over the repeats counts. What a report did not measure is no row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.passes import Repeat
from bench.report.beside import times_as_fast
from bench.results import Report, Result
from bench.spread import NOTHING, Figure, figure, ratios
from bench.subjects import BASH, EIGHT_SLOTS


@dataclass(frozen=True, slots=True)
class Verdict:
    """One row of the table of targets."""

    what: str
    target: str
    measured: str
    is_met: bool

    @property
    def outcome(self) -> str:
        return "met" if self.is_met else "**missed**"


@dataclass(frozen=True, slots=True)
class _Target:
    server: str
    subject: str
    scenario: str
    what: str
    limit: float
    measure: Callable[[Report, Result], Figure]
    unit: str = ""
    is_lower_bound: bool = False
    digits: int = 2


def _times_floor(of: Callable[[Repeat], float]) -> Callable[[Report, Result], Figure]:
    def measure(report: Report, result: Result) -> Figure:
        floor = report.floor_of(result)
        return figure(ratios([of(repeat) for repeat in result.repeats], [of(repeat) for repeat in floor.repeats]) if floor else [])

    return measure


def _absolute(of: Callable[[Repeat], float]) -> Callable[[Report, Result], Figure]:
    return lambda _, result: result.over_repeats(of)


def _times_a_jobs(report: Report, result: Result) -> Figure:
    job = report.job_of(result)
    return times_as_fast(result, job, of=_finish_p50) if job else NOTHING


def _start_p50(repeat: Repeat) -> float:
    return repeat.start.p50


def _start_p99(repeat: Repeat) -> float:
    return repeat.start.p99


def _finish_p50(repeat: Repeat) -> float:
    return repeat.finish.p50


def _finish_p99(repeat: Repeat) -> float:
    return repeat.finish.p99


def _rate(repeat: Repeat) -> float:
    return repeat.runs_per_second


def _cpu(_: Report, result: Result) -> Figure:
    return result.total_cpu_ms_per_run


def _writes(_: Report, result: Result) -> Figure:
    return result.writes_per_run


def _slots(_: Report, result: Result) -> Figure:
    return result.slot_efficiency


_FLOOR = " x floor"
_FASTER = " x as fast as a Job"
_BASH, _EIGHT = BASH.name, EIGHT_SLOTS.name
TARGETS = (
    _Target("kube", _BASH, "serial", "serial: create → first instruction, p50", 1.35, _times_floor(_start_p50), _FLOOR),
    _Target("kube", _BASH, "serial", "serial: create → first instruction, p99", 2.0, _times_floor(_start_p99), _FLOOR),
    _Target("kube", _BASH, "serial", "serial: create → terminal seen, p50", 1.4, _times_floor(_finish_p50), _FLOOR),
    _Target("kube", _BASH, "25 in flight", "25 in flight: create → first instruction, p50", 1.8, _times_floor(_start_p50), _FLOOR),
    _Target("kube", _BASH, "25 in flight", "25 in flight: create → first instruction, p99", 2.5, _times_floor(_start_p99), _FLOOR),
    _Target("kube", _BASH, "25 in flight", "25 in flight: create → terminal seen, p50", 1.8, _times_floor(_finish_p50), _FLOOR),
    _Target("kube", _BASH, "25 in flight", "25 in flight: create → terminal seen, p99", 2.5, _times_floor(_finish_p99), _FLOOR),
    _Target("kube", _BASH, "50 by 25", "50 by 25 creators: create → terminal seen, p50", 1.6, _times_floor(_finish_p50), _FLOOR),
    _Target("kube", _BASH, "25 in flight", "25 in flight: Runs per second", 0.55, _times_floor(_rate), _FLOOR, is_lower_bound=True),
    _Target("kube", _BASH, "serial", "serial: API writes a Run", 3.05, _writes),
    _Target("kube", _BASH, "25 in flight", "25 in flight: API writes a Run", 3.05, _writes),
    _Target("kube", _BASH, "serial", "serial: CPU a Run, all processes", 25.0, _cpu, " ms", digits=1),
    _Target("kube", _BASH, "25 in flight", "25 in flight: CPU a Run, all processes", 25.0, _cpu, " ms", digits=1),
    _Target("kube", _EIGHT, "backlog", "backlog: slot efficiency", 0.92, _slots, is_lower_bound=True),
    _Target(
        "embedded", _BASH, "serial", "local mode, serial: create → first instruction, p50", 8.0, _absolute(_start_p50), " ms", digits=1
    ),
    _Target("embedded", _BASH, "serial", "local mode, serial: create → terminal seen, p50", 12.0, _absolute(_finish_p50), " ms", digits=1),
    _Target(
        "embedded",
        _BASH,
        "25 in flight",
        "local mode, 25 in flight: Runs per second",
        150.0,
        _absolute(_rate),
        is_lower_bound=True,
        digits=0,
    ),
    _Target("node", _BASH, "25 in flight", "25 in flight: Runs per second", 51.0, _absolute(_rate), is_lower_bound=True, digits=1),
    _Target("node", _BASH, "serial", "serial: create → terminal seen, p50", 80.0, _times_a_jobs, _FASTER, is_lower_bound=True, digits=0),
)


def verdicts(report: Report) -> Iterator[Verdict]:
    """One row for each target that the report has measured."""
    for target in TARGETS:
        result = report.find(server=target.server, subject=target.subject, scenario=target.scenario)
        if result is None:
            continue
        measured = target.measure(report, result)
        if not math.isnan(measured.median):
            yield _judge(target, measured)


def _judge(target: _Target, measured: Figure) -> Verdict:
    is_met = measured.median >= target.limit if target.is_lower_bound else measured.median <= target.limit
    return Verdict(
        what=target.what,
        target=f"{'≥' if target.is_lower_bound else '≤'} {target.limit:g}{target.unit}",
        measured=measured.format(digits=target.digits) + target.unit,
        is_met=is_met,
    )

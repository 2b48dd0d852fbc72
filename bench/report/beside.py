"""Runs side by side with plain Jobs that execute the same program in the same image under the same kind of load. Pure."""

from __future__ import annotations

from collections.abc import Callable

from bench.passes import Repeat
from bench.results import Report, Result
from bench.spread import Figure, figure

HEADER = ("load", "program", "figure", "Run", "plain Job", "times better")
_MEASURES: tuple[tuple[str, str, Callable[[Repeat], float]], ...] = (
    ("create → first instruction, p50", " ms", lambda repeat: repeat.start.p50),
    ("create → terminal seen, p50", " ms", lambda repeat: repeat.finish.p50),
)


def times_as_fast(run: Result, job: Result, *, of: Callable[[Repeat], float]) -> Figure:
    """Each repeat of the Jobs over the median of the Runs: they are not neighbours in time, and a Job's time hardly moves."""
    ours = run.over_repeats(of).median
    return figure([of(repeat) / ours for repeat in job.repeats])


def rows(report: Report) -> list[tuple[str, ...]]:
    """Two times, a rate and a cost for each load that both had."""
    pairs = ((result, report.job_of(result)) for result in report.results if not result.is_job)
    return [row for run, job in pairs if job is not None for row in _rows_of(run, job)]


def _rows_of(run: Result, job: Result) -> list[tuple[str, ...]]:
    about = (run.scenario.partition(" x ")[0], run.subject)
    table: list[tuple[str, ...]] = [
        (
            *about,
            what,
            f"{run.over_repeats(of).format()}{unit}",
            f"{job.over_repeats(of).format()}{unit}",
            _times(times_as_fast(run, job, of=of)),
        )
        for what, unit, of in _MEASURES
    ]
    rates = [result.over_repeats(lambda repeat: repeat.runs_per_second) for result in (run, job)]
    costs = [result.total_cpu_ms_per_run for result in (run, job)]
    table.append((*about, "a second", *(rate.format() for rate in rates), _times(_over(rates[0], rates[1]))))
    table.append((*about, "CPU ms each", *(cost.format() for cost in costs), _times(_over(costs[1], costs[0]))))
    return table


def _over(larger: Figure, smaller: Figure) -> Figure:
    """Of the medians alone."""
    return figure([larger.median / smaller.median])


def _times(ratio: Figure) -> str:
    digits = 0 if ratio.median >= 10 else 2
    return f"{ratio.median:.{digits}f}"

"""Results for people and for machines: Markdown tables, and one JSON file a run with every sample in it."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import msgspec
from msgspec import Struct

from bench.samples import Sample, Summary, summarize

LATENCY_HEADER = (
    "| server | scenario | n | failed | from create to | p50 | [spread] | p90 | p95 | p99 | max |",
    "|---|---|--:|--:|---|--:|--:|--:|--:|--:|--:|",
)


class Repeat(Struct, frozen=True, kw_only=True):
    """One pass of a scenario, warm-up not counted."""

    seconds: float
    samples: list[Sample]
    cpu_seconds: dict[str, float]
    """By component; empty where the processes are not ours to see."""

    @property
    def start(self) -> Summary:
        """create -> first instruction of user code, ms."""
        return summarize([sample.started_ms for sample in self.samples if sample.started_ms is not None])

    @property
    def finish(self) -> Summary:
        """create -> terminal phase seen by the watch, ms."""
        return summarize([sample.terminal_ms for sample in self.samples])

    @property
    def runs_per_second(self) -> float:
        return len(self.samples) / self.seconds


class Result(Struct, frozen=True, kw_only=True):
    """One scenario on one server, several times over."""

    server: str
    scenario: str
    repeats: list[Repeat]

    @property
    def failures(self) -> list[Sample]:
        return [sample for repeat in self.repeats for sample in repeat.samples if sample.phase != "Succeeded"]


class Report(Struct, frozen=True, kw_only=True):
    """One run of the benchmark, with the conditions it was made under."""

    taken: str
    commit: str
    machine: str
    load_average: float
    """Over the minute before the first Run."""
    results: list[Result]


def make_report(results: Sequence[Result], *, load_average: float) -> Report:
    """Adds the conditions."""
    return Report(
        taken=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=_commit(),
        machine=f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}",
        load_average=round(load_average, 2),
        results=list(results),
    )


def markdown(report: Report) -> str:
    """The tables. Each figure is the median over the repeats; the spread is that of p50, lowest to highest."""
    lines = [f"{report.machine}; load average before: {report.load_average}; commit {report.commit}; {report.taken}. Milliseconds.", ""]
    lines += LATENCY_HEADER
    for result in report.results:
        lines.append(_latency_row(result, title="first instruction", of=lambda repeat: repeat.start))
        lines.append(_latency_row(result, title="terminal seen", of=lambda repeat: repeat.finish))
    lines += ["", "| server | scenario | Runs/s | CPU ms a Run, by process |", "|---|---|--:|---|"]
    lines += [_throughput_row(result) for result in report.results]
    return "\n".join(lines)


def write_json(report: Report, *, folder: Path) -> Path:
    """`folder`/<time>.json, every sample kept."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{report.taken.replace(':', '').replace('+0000', 'Z')}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1))
    return path


def _latency_row(result: Result, *, title: str, of: Callable[[Repeat], Summary]) -> str:
    rows = [of(repeat) for repeat in result.repeats]
    medians = [median(getattr(row, column) for row in rows) for column in ("p50", "p90", "p95", "p99", "max")]
    spread = f"[{min(row.p50 for row in rows):.1f}-{max(row.p50 for row in rows):.1f}]"
    count = f"{len(rows)} x {rows[0].count}"
    cells = [result.server, result.scenario, count, str(len(result.failures)), title, f"{medians[0]:.1f}", spread]
    return "| " + " | ".join([*cells, *(f"{value:.1f}" for value in medians[1:])]) + " |"


def _throughput_row(result: Result) -> str:
    rate = median(repeat.runs_per_second for repeat in result.repeats)
    runs = sum(len(repeat.samples) for repeat in result.repeats)
    names = sorted({name for repeat in result.repeats for name in repeat.cpu_seconds})
    per_run = {name: sum(repeat.cpu_seconds.get(name, 0.0) for repeat in result.repeats) * 1000 / runs for name in names}
    shares = ", ".join(f"{name} {milliseconds:.1f}" for name, milliseconds in sorted(per_run.items(), key=lambda item: -item[1]))
    total = f"**{sum(per_run.values()):.1f}**: {shares}" if per_run else "not seen"
    return f"| {result.server} | {result.scenario} | {rate:.1f} | {total} |"


def _commit() -> str:
    answer = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    return answer.stdout.strip() or "unknown"

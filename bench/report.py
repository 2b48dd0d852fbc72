"""Results for people and for machines: a Markdown table, and one JSON file a run with every sample in it."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from bench.samples import Sample, Summary, summarize

HEADER = ("| server | scenario | n | failed | from create to | p50 | p90 | p95 | p99 | max |", "|---|---|--:|--:|---|--:|--:|--:|--:|--:|")


class Result(Struct, frozen=True, kw_only=True):
    """One scenario on one server. `seconds` is its whole duration, warm-up not counted."""

    server: str
    scenario: str
    seconds: float
    samples: list[Sample]

    @property
    def failures(self) -> list[Sample]:
        return [sample for sample in self.samples if sample.phase != "Succeeded"]

    @property
    def start(self) -> Summary:
        """create -> first instruction of user code, ms."""
        return summarize([sample.started_ms for sample in self.samples if sample.started_ms is not None])

    @property
    def finish(self) -> Summary:
        """create -> terminal phase seen by the watch, ms."""
        return summarize([sample.terminal_ms for sample in self.samples])


class Report(Struct, frozen=True, kw_only=True):
    """One run of the benchmark, with the conditions it was made under."""

    taken: str
    commit: str
    machine: str
    load_average: float
    results: list[Result]


def make_report(results: Sequence[Result]) -> Report:
    """Adds the conditions."""
    return Report(
        taken=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=_commit(),
        machine=f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}",
        load_average=round(os.getloadavg()[0], 2),
        results=list(results),
    )


def markdown(report: Report) -> str:
    """The table, times in milliseconds."""
    lines = [f"{report.machine}; load average {report.load_average}; commit {report.commit}; {report.taken}. Milliseconds.", "", *HEADER]
    for result in report.results:
        for title, row in (("first instruction", result.start), ("terminal seen", result.finish)):
            cells = [result.server, result.scenario, row.count, len(result.failures), title, row.p50, row.p90, row.p95, row.p99, row.max]
            lines.append("| " + " | ".join(f"{cell:.1f}" if isinstance(cell, float) else str(cell) for cell in cells) + " |")
    lines.append("")
    lines.extend(f"{result.server}, {result.scenario}: {len(result.samples) / result.seconds:.1f} Runs/s" for result in report.results)
    return "\n".join(lines)


def write_json(report: Report, *, folder: Path) -> Path:
    """`folder`/<time>.json, every sample kept."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{report.taken.replace(':', '').replace('+0000', 'Z')}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1))
    return path


def _commit() -> str:
    answer = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    return answer.stdout.strip() or "unknown"

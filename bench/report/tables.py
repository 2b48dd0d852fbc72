"""Markdown tables. A figure is the median over the repeats; the spread beside it is that of the repeats, lowest to highest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from statistics import median

from bench.ledger import STEPS, median_steps_ms
from bench.meters.components import CLIENT
from bench.passes import Repeat
from bench.report import beside
from bench.report.targets import verdicts
from bench.results import Report, Result
from bench.samples import Summary, ends, summarize
from bench.spread import figure, ratios
from bench.windows import growth, windows_of

Row = Sequence[str]


def markdown(report: Report) -> str:
    """Everything, as it stands in docs/performance.md."""
    parts = [conditions_line(report), _section("Targets", _targets(report)), _section("Beside plain Jobs", _beside(report))]
    parts += [_section("Latency", _latency(report))]
    parts += [_section("Throughput, writes and CPU", _costs(report))]
    parts += [_section("Where the time goes", _steps(report))]
    parts += [_section("Open loop", _open_loop(report)), _section("Backlog", _backlog(report)), _section("Memory", _memory(report))]
    return "\n\n".join(part for part in parts if part) + "\n"


def conditions_line(report: Report) -> str:
    """What every figure stands under."""
    about = report.conditions
    versions = ", ".join(f"{name} {version}" for name, version in about.versions.items())
    load = f"load average {about.load_before} before and {about.load_after} after"
    return f"Commit {about.commit}, {about.taken}; {about.machine}; {load}; {versions}. Times in milliseconds from `create` at the client."


def table(header: Row, rows: Iterable[Row], *, numeric_from: int) -> str:
    """Columns from `numeric_from` on are right-aligned. Empty without rows."""
    lines = [_line(row) for row in rows]
    marks = ["---" if column < numeric_from else "--:" for column in range(len(header))]
    return "\n".join([_line(header), "|" + "|".join(marks) + "|", *lines]) if lines else ""


def _targets(report: Report) -> str:
    rows = [(verdict.what, verdict.target, verdict.measured, verdict.outcome) for verdict in verdicts(report)]
    return table(("figure", "target", "measured", ""), rows, numeric_from=9)


def _beside(report: Report) -> str:
    return table(beside.HEADER, beside.rows(report), numeric_from=3)


def _latency(report: Report) -> str:
    header = ("server", "load", "subject", "from create to", "n", "failed", "p50 [spread]", "p90", "p95", "p99", "max", "x floor")
    return table(header, [row for result in report.results for row in _latency_rows(report, result)], numeric_from=4)


def _latency_rows(report: Report, result: Result) -> list[Row]:
    rows = [_latency_row(report, result, what="terminal seen", of=lambda repeat: repeat.finish)]
    if any(repeat.start.count for repeat in result.repeats):
        what = "ready to start" if result.is_floor else "first instruction"
        rows.insert(0, _latency_row(report, result, what=what, of=lambda repeat: repeat.start))
    return rows


def _latency_row(report: Report, result: Result, *, what: str, of: Callable[[Repeat], Summary]) -> Row:
    rows = [of(repeat) for repeat in result.repeats]
    others = [f"{median(getattr(row, column) for row in rows):.1f}" for column in ("p90", "p95", "p99", "max")]
    count = f"{len(rows)} x {rows[0].count}"
    p50 = result.over_repeats(lambda repeat: of(repeat).p50).format()
    return (
        result.server,
        result.scenario,
        result.subject,
        what,
        count,
        str(len(result.failures)),
        p50,
        *others,
        _ratio(report, result, of),
    )


def _ratio(report: Report, result: Result, of: Callable[[Repeat], Summary]) -> str:
    """Of the medians, repeat by repeat."""
    floor = report.floor_of(result)
    if floor is None:
        return ""
    pairs = ratios([of(repeat).p50 for repeat in result.repeats], [of(repeat).p50 for repeat in floor.repeats])
    return figure(pairs).format(digits=2)


def _costs(report: Report) -> str:
    header = ("server", "load", "subject", "Runs/s", "API writes a Run", "CPU ms a Run", "by process (and the client)")
    return table(header, [_cost_row(result) for result in report.results], numeric_from=9)


def _cost_row(result: Result) -> Row:
    rate = result.over_repeats(lambda repeat: repeat.runs_per_second).format()
    shares = result.cpu_ms_per_run()
    client = shares.pop(CLIENT, None)
    parts = ", ".join(f"{name} {cost:.1f}" for name, cost in shares.items() if cost >= 0.05)
    return (
        result.server,
        result.scenario,
        result.subject,
        rate,
        result.writes_per_run.format(digits=2),
        result.total_cpu_ms_per_run.format(),
        f"{parts} (client {client:.1f})" if client is not None else "not seen",
    )


def _steps(report: Report) -> str:
    """By the Runs' own ledgers."""
    rows: list[Row] = []
    for result in report.results:
        steps = median_steps_ms(result.samples)
        if steps:
            rows.append((result.server, result.scenario, result.subject, *(f"{steps[step]:.1f}" for step in STEPS)))
    return table(("server", "load", "subject", *STEPS), rows, numeric_from=3)


def _open_loop(report: Report) -> str:
    header = ("server", "load", "subject", "n", "failed", "p50", "p99", "max", "windows", "p50 of the last window / of the first")
    return table(header, [_open_loop_row(result) for result in report.results if result.is_open_loop], numeric_from=3)


def _open_loop_row(result: Result) -> Row:
    """Over all repeats together for the tail: a p99 of a few seconds is one Run."""
    together = summarize(ends(result.samples))
    windows = [windows_of(repeat.samples) for repeat in result.repeats]
    grown = figure([growth(of_repeat) for of_repeat in windows]).format(digits=2)
    cells = [f"{together.p50:.1f}", f"{together.p99:.1f}", f"{together.max:.1f}", f"{len(windows)} x {len(windows[0])}", grown]
    return (result.server, result.scenario, result.subject, str(together.count), str(len(result.failures)), *cells)


def _backlog(report: Report) -> str:
    rows = [
        (
            result.server,
            result.scenario,
            f"{result.ideal_seconds:.2f}",
            seconds.format(digits=2),
            _percent(result),
            str(len(result.failures)),
        )
        for result in report.results
        if result.ideal_seconds is not None
        for seconds in [result.over_repeats(lambda repeat: repeat.seconds)]
    ]
    return table(("server", "load", "ideal s", "measured s", "slot efficiency", "failed"), rows, numeric_from=2)


def _percent(result: Result) -> str:
    efficiency = result.slot_efficiency
    return f"{efficiency.median * 100:.1f} % [{efficiency.low * 100:.1f}-{efficiency.high * 100:.1f}]"


def _memory(report: Report) -> str:
    """From before the first pass to after the last, however many Runs lie in between."""
    rows: list[Row] = []
    for server, group in groupby(report.results, key=lambda result: result.server):
        passes = [repeat for result in group for repeat in result.repeats]
        runs = sum(len(one.samples) for one in passes)
        for name, after in sorted(passes[-1].rss_after_mib.items()):
            rows.append((server, name, f"{passes[0].rss_before_mib.get(name, 0.0):.0f}", f"{after:.0f}", str(runs)))
    header = ("server", "component: resident MiB of its largest process", "before the first pass", "after the last", "Runs in between")
    return table(header, rows, numeric_from=2)


def _section(title: str, body: str) -> str:
    return f"### {title}\n\n{body}" if body else ""


def _line(cells: Row) -> str:
    return "| " + " | ".join(cells) + " |"

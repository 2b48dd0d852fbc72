"""The plots: distributions, steps, timelines of single Runs, and windows over time. From results to SVG; pure."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from bench.ledger import STEPS, median_steps_ms, segments
from bench.report import svg
from bench.results import Result
from bench.samples import Sample, ends, starts
from bench.subjects import FLOOR
from bench.windows import Window, windows_of

MAX_TIMELINES = 60
MAX_CDF_POINTS = 400
ROW_PIXELS = 7.0
DASHED = "4 3"
_OURS, _THEIRS = svg.PALETTE[:2]
_STEP_COLORS = svg.PALETTE[: len(STEPS)]
_STEPS_TOP = svg.TOP + 24
"""Below the two rows of the legend."""


def cdf(result: Result, floor: Result | None) -> str:
    """Which share of the Runs had started (dashed) and was seen to end (solid) within a time. All Runs of all repeats."""
    sides = {result.subject: (result, _OURS)} | ({FLOOR.name: (floor, _THEIRS)} if floor is not None else {})
    curves = [
        (sorted(values), color, dash)
        for side, color in sides.values()
        for values, dash in ((starts(side.samples), DASHED), (ends(side.samples), ""))
        if values
    ]
    x = svg.log_axis(
        min(values[0] for values, *_ in curves),
        max(values[-1] for values, *_ in curves),
        pixels=svg.horizontal(),
        title="ms from create; dashed: first instruction, solid: seen to end",
    )
    y = svg.linear_axis(100, pixels=svg.vertical(), title="% of Runs")
    lines = [svg.line(_shares(values, x=x, y=y), color=color, width=1.6, dash=dash) for values, color, dash in curves]
    names = svg.legend(list(sides), colors=[color for _, color in sides.values()], y=svg.TOP - 6)
    return svg.figure(f"{result.server}: {result.scenario}", body=[*svg.x_axis(x), *svg.y_axis(y), *lines, *names])


def step_bars(results: Sequence[Result]) -> str:
    """One bar a load: which share of a Run each step takes, by medians."""
    bars = [(one, median_steps_ms(one.samples)) for one in results]
    bars = [(one, steps) for one, steps in bars if steps]
    if not bars:
        return ""
    height = _STEPS_TOP + svg.BOTTOM + 34.0 * len(bars)
    x = svg.linear_axis(100, pixels=svg.horizontal(), title="% of the sum of the median steps")
    body = [*svg.x_axis(x, height=height), *_steps_legend()]
    for index, (one, steps) in enumerate(bars):
        top = _STEPS_TOP + 34.0 * index
        body.append(svg.text(f"{one.scenario}, {one.subject}: {sum(steps.values()):.1f} ms", x=svg.LEFT + 4, y=top + 8))
        body += _share_bar(steps, y=top + 12, x=x)
    return svg.figure(f"{results[0].server}: where the time goes", body=body, height=height)


def timeline(result: Result) -> str:
    """Single Runs of the first repeat, in the order of their creates: one row each, from create to seen end, by step."""
    runs = [sample for sample in sorted(result.repeats[0].samples, key=lambda one: one.at_seconds) if segments(sample)][:MAX_TIMELINES]
    if not runs:
        return ""
    height = _STEPS_TOP + svg.BOTTOM + ROW_PIXELS * len(runs)
    offsets = [(run.at_seconds - runs[0].at_seconds) * 1000 for run in runs]
    last = max(offset + run.terminal_ms for offset, run in zip(offsets, runs, strict=True))
    x = svg.linear_axis(last, pixels=svg.horizontal(), title="ms from the first create")
    body = [*svg.x_axis(x, height=height), *_steps_legend()]
    for row, (run, offset) in enumerate(zip(runs, offsets, strict=True)):
        body += _timeline_row(run, offset=offset, y=_STEPS_TOP + ROW_PIXELS * row, x=x)
    return svg.figure(f"{result.server}: {result.scenario}, {result.subject}, the first {len(runs)} Runs", body=body, height=height)


def windows_plot(result: Result, floor: Result | None) -> str:
    """p50 (solid) and p99 (dashed) of rolling windows over an open-loop pass."""
    sides = {result.subject: (result, _OURS)} | ({FLOOR.name: (floor, _THEIRS)} if floor is not None else {})
    series = [(color, windows_of(side.repeats[0].samples)) for side, color in sides.values()]
    filled = [(color, [window for window in windows if window.terminal.count]) for color, windows in series]
    x = svg.linear_axis(
        max(windows[-1].to_seconds for _, windows in filled),
        pixels=svg.horizontal(),
        title="s since the pass began, at the end of the window; solid: p50, dashed: p99",
    )
    y = svg.linear_axis(max(window.terminal.p99 for _, windows in filled for window in windows), pixels=svg.vertical(), title="ms")
    curves = [part for color, windows in filled for part in _window_curves(windows, color=color, x=x, y=y)]
    names = svg.legend(list(sides), colors=[color for _, color in sides.values()], y=svg.TOP - 6)
    return svg.figure(f"{result.server}: {result.scenario}", body=[*svg.x_axis(x), *svg.y_axis(y), *curves, *names])


def _shares(values: Sequence[float], *, x: svg.Axis, y: svg.Axis) -> list[tuple[float, float]]:
    """Thinned out to what can be seen, the first and the last always in it."""
    stride = max(1, len(values) // MAX_CDF_POINTS)
    kept = sorted({*range(0, len(values), stride), len(values) - 1})
    return [(x.place(values[index]), y.place(100 * (index + 1) / len(values))) for index in kept]


def _share_bar(steps: dict[str, float], *, y: float, x: svg.Axis) -> list[str]:
    # Clocks of two machines may make a step negative: it is then no share of anything.
    lengths = [max(0.0, steps[step]) for step in STEPS]
    edges = [0.0, *itertools.accumulate(100 * length / sum(lengths) for length in lengths)]
    return [
        svg.bar(x.place(begin), y, width=x.place(end) - x.place(begin), height=12, color=color)
        for (begin, end), color in zip(itertools.pairwise(edges), _STEP_COLORS, strict=True)
    ]


def _timeline_row(run: Sample, *, offset: float, y: float, x: svg.Axis) -> list[str]:
    return [
        svg.bar(x.place(offset + begin), y, width=x.place(end) - x.place(begin), height=ROW_PIXELS - 1, color=color)
        for (_, begin, end), color in zip(segments(run), _STEP_COLORS, strict=True)
    ]


def _steps_legend() -> list[str]:
    """In two rows: together they are wider than the picture."""
    return [
        *svg.legend(STEPS[:4], colors=_STEP_COLORS[:4], y=svg.TOP - 2),
        *svg.legend(STEPS[4:], colors=_STEP_COLORS[4:], y=svg.TOP + 14),
    ]


def _window_curves(windows: Sequence[Window], *, color: str, x: svg.Axis, y: svg.Axis) -> list[str]:
    parts: list[str] = []
    for of, dash in (("p50", ""), ("p99", DASHED)):
        points = [(x.place(window.to_seconds), y.place(getattr(window.terminal, of))) for window in windows]
        parts += [svg.line(points, color=color, width=1.6, dash=dash), *(svg.dot(*point, color=color) for point in points)]
    return parts

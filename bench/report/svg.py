"""Just enough SVG: text that needs no library and no network to be looked at. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

PALETTE = ("#2563eb", "#94a3b8", "#d97706", "#059669", "#db2777", "#7c3aed", "#0891b2", "#65a30d")
"""Blue is ours, grey the floor; the rest are steps and further series."""
INK = "#334155"
GRID = "#e2e8f0"
WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 34, 44


@dataclass(frozen=True, slots=True)
class Axis:
    """From values to pixels, with the values to mark."""

    place: Callable[[float], float]
    ticks: Sequence[float]
    title: str


def linear_axis(highest: float, *, pixels: tuple[float, float], title: str) -> Axis:
    """From zero."""
    step = _nice(highest / 5)
    top = max(step, math.ceil(highest / step) * step)
    ticks = [step * index for index in range(round(top / step) + 1)]
    return Axis(lambda value: pixels[0] + (pixels[1] - pixels[0]) * value / top, ticks, title)


def log_axis(lowest: float, highest: float, *, pixels: tuple[float, float], title: str) -> Axis:
    """In steps of 1, 2, 5: a tail a hundred times the median stays in the picture."""
    low, high = math.log10(max(lowest, 0.01)), math.log10(max(highest, lowest * 1.01, 0.011))
    ticks = [digit * 10.0**power for power in range(math.floor(low), math.ceil(high) + 1) for digit in (1, 2, 5)]
    inside = [tick for tick in ticks if low <= math.log10(tick) <= high]
    width = pixels[1] - pixels[0]
    return Axis(lambda value: pixels[0] + width * (math.log10(max(value, 0.01)) - low) / (high - low), inside, title)


def horizontal() -> tuple[float, float]:
    """Pixels of the plot area from left to right."""
    return LEFT, WIDTH - RIGHT


def vertical(height: float = HEIGHT) -> tuple[float, float]:
    """From bottom to top."""
    return height - BOTTOM, TOP


def figure(title: str, *, body: Sequence[str], height: float = HEIGHT) -> str:
    """A whole picture."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" font-family="sans-serif" font-size="11" fill="{INK}">'
    return "\n".join([head, f'<text x="{LEFT}" y="16" font-size="13" font-weight="bold">{escape(title)}</text>', *body, "</svg>"])


def x_axis(axis: Axis, *, height: float = HEIGHT) -> list[str]:
    """Marks, lines up the plot, and what the axis means."""
    bottom, top = vertical(height)
    lines = [line([(axis.place(tick), bottom), (axis.place(tick), top)], color=GRID) for tick in axis.ticks]
    marks = [text(f"{tick:g}", x=axis.place(tick), y=bottom + 14, anchor="middle") for tick in axis.ticks]
    return [*lines, *marks, text(axis.title, x=sum(horizontal()) / 2, y=bottom + 32, anchor="middle")]


def y_axis(axis: Axis) -> list[str]:
    """Marks and lines across."""
    left, right = horizontal()
    lines = [line([(left, axis.place(tick)), (right, axis.place(tick))], color=GRID) for tick in axis.ticks]
    marks = [text(f"{tick:g}", x=left - 6, y=axis.place(tick) + 4, anchor="end") for tick in axis.ticks]
    return [*lines, *marks, text(axis.title, x=left - 6, y=TOP - 8, anchor="end")]


def line(points: Sequence[tuple[float, float]], *, color: str, width: float = 1, dash: str = "") -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="{width:g}"{dashes}/>'


def bar(x: float, y: float, *, width: float, height: float, color: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.2f}" height="{height:.1f}" fill="{color}"/>'


def text(words: str, *, x: float, y: float, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def dot(x: float, y: float, *, color: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{color}"/>'


def legend(names: Sequence[str], *, colors: Sequence[str], y: float) -> list[str]:
    """From the left of the plot; another row, upwards from `y`, is for whoever calls again."""
    parts: list[str] = []
    x: float = LEFT
    for name, color in zip(names, colors, strict=True):
        parts += [bar(x, y - 9, width=10, height=10, color=color), text(name, x=x + 14, y=y)]
        x += 26 + 6.0 * len(name)
    return parts


def _nice(value: float) -> float:
    """1, 2 or 5 times a power of ten, not below."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(digit * power for digit in (1.0, 2.0, 5.0, 10.0) if digit * power >= value * 0.999)

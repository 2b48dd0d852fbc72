"""The report as one HTML file that loads nothing: the tables of the Markdown, and plots of every sample behind them. Pure."""

from __future__ import annotations

from html import escape
from itertools import groupby

from bench.report import plots
from bench.report.tables import markdown
from bench.results import Report

_STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; color: #0f172a; max-width: 1320px; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; font-size: 12px; margin: .5rem 0 1.5rem; }
th, td { border-bottom: 1px solid #e2e8f0; padding: .25rem .6rem; text-align: left; vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(560px, 1fr)); gap: 1rem; align-items: start; }
svg { width: 100%; border: 1px solid #e2e8f0; border-radius: 6px; }
"""


def page(report: Report) -> str:
    """Self-contained HTML."""
    title = f"kruntimes benchmark, commit {report.conditions.commit}"
    head = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style></head>'
    parts = [head, f"<body><h1>{escape(title)}</h1>", tables_html(markdown(report))]
    for heading, pictures in _galleries(report):
        if any(pictures):
            parts += [f"<h2>{heading}</h2>", '<div class="plots">', *filter(None, pictures), "</div>"]
    return "\n".join([*parts, "</body></html>"]) + "\n"


def tables_html(text: str) -> str:
    """From our own Markdown, which has headings, paragraphs and tables and nothing else."""
    return "\n".join(_block(block) for block in text.strip().split("\n\n"))


def _galleries(report: Report) -> list[tuple[str, list[str]]]:
    ours = [result for result in report.results if not result.is_floor]
    steps = [plots.step_bars(list(group)) for _, group in groupby(ours, key=lambda result: result.server)]
    return [
        ("Distributions", [plots.cdf(result, report.floor_of(result)) for result in ours]),
        ("Where the time goes", steps),
        ("Single Runs", [plots.timeline(result) for result in ours if not result.is_open_loop]),
        ("Open loop: rolling windows", [plots.windows_plot(result, report.floor_of(result)) for result in ours if result.is_open_loop]),
    ]


def _block(block: str) -> str:
    if block.startswith("### "):
        return f"<h2>{escape(block[4:])}</h2>"
    if not block.startswith("|"):
        return f"<p>{escape(block)}</p>"
    header, marks, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]
    classes = [' class="n"' if mark.endswith(":") else "" for mark in marks]
    return "\n".join(
        ["<table>", _row(header, tag="th", classes=classes), *(_row(row, tag="td", classes=classes) for row in rows), "</table>"]
    )


def _row(cells: list[str], *, tag: str, classes: list[str]) -> str:
    return "<tr>" + "".join(f"<{tag}{kind}>{_emphasis(cell)}</{tag}>" for cell, kind in zip(cells, classes, strict=True)) + "</tr>"


def _emphasis(cell: str) -> str:
    words = escape(cell)
    return f"<b>{words[2:-2]}</b>" if words.startswith("**") and words.endswith("**") else words

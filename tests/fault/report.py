"""`python -m tests.fault.report`: the table of docs/reliability.md, row by row, with the tests that are there and what they measured.

The figures are those of the last `make test-fault` (`.fault/figures.jsonl`); of several passes the worst counts.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import click

from tests.fault.figures import Figure, read_all

ROWS: dict[str, str] = {
    "01": "kill -9 of the leading scheduler",
    "02": "kill -9 of the controllers",
    "03": "kill -9 of runtimed, its Runs alive",
    "04": "kill -9 of a Runtime Server",
    "05": "kill -9 of a supervisor",
    "06": "kill -9 of a workload",
    "07": "a crash before, during and after every API write",
    "08": "API server down",
    "09": "API server down for longer than a lease",
    "10": "API server accepts and never answers",
    "11": "watches dropped every 100 ms",
    "12": "watches end inside a line",
    "13": "storm of 410 Gone",
    "14": "events doubled, late, out of order; lists from an old replica",
    "15": "events never seen",
    "16": "409 on half of all writes",
    "17": "429 with Retry-After, 500, 503, time-outs",
    "20": "a node is cut off and comes back",
    "22": "a Pod is deleted, gracefully",
    "23": "a Pod is replaced by one of the same name",
    "24": "the wall clock jumps by an hour, either way",
    "25": "every fsync takes two seconds",
    "26": "the disk is full: workspace, state folder, artifact volume, API server",
    "30": "double fork and setsid",
    "31": "10,000 orphaned short children",
    "32": "deaf to SIGTERM, stopped, without stdio, a grandchild on the pipe",
    "33": "output without end, without line feeds, without sense",
    "34": "readers of output that are stuck, slow or cut off",
    "35": "hostile outputs files",
    "36": "artifact names of any bytes",
    "37": "links swapped under an upload, 10,000 times",
    "39": "repositories and addresses that want to run something",
    "40": "entrypoints that look like commands",
    "41": "names and sizes in the environment",
    "42": "secrets in env and args",
    "46": "reserved labels, annotations, status set by the user",
    "47": "hostile objects",
    "48": "hostile frames on every method and the stream",
    "49": "cancel at every moment",
    "50": "Run, Runtime, namespace deleted while running",
    "51": "the store is slow, busy, cut, wrong, without credentials, gone, hangs",
    "53": "everything restarts among thousands of Runs",
    "54": "many Runs for one Pod, and all at once",
    "55": "an event loop that stands still",
    "timeouts": "a timeout of 1 s, three attempts",
    "cancel": "a deaf Run with a daemon is cancelled",
    "neighbours": "neighbours of failing Runs",
}
_NAMES = {"timeouts": "timeout", "cancel": "cancelled", "neighbours": "neighbours"}


def row_of(test: str, *, module: str) -> str:
    """Empty for a test that belongs to no row."""
    match = re.match(r"test_row_(\d\d)_", test)
    if match:
        return match[1]
    return next((row for row, word in _NAMES.items() if module == "test_exactness" and word in test), "")


def tests_by_row(folder: Path) -> dict[str, list[str]]:
    """Names of test functions, found in the sources."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(folder.glob("test_*.py")):
        for node in ast.parse(path.read_text()).body:
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or not node.name.startswith("test_"):
                continue
            row = row_of(node.name, module=path.stem)
            if row:
                claim = node.name.removeprefix("test_").removeprefix(f"row_{row}_").replace("_", " ")
                found[row].append(f"`{path.stem}.py`: {claim}")
    return found


def worst(figures: list[Figure]) -> dict[str, list[Figure]]:
    """By row; of equal names the largest value, or the smallest where the bound is from below."""
    by_name: dict[tuple[str, str], Figure] = {}
    for figure in figures:
        before = by_name.get((figure.row, figure.what))
        sign = -1 if figure.bound.startswith(">=") else 1
        if before is None or sign * figure.value > sign * before.value:
            by_name[figure.row, figure.what] = figure
    rows: dict[str, list[Figure]] = defaultdict(list)
    for figure in by_name.values():
        rows[figure.row].append(figure)
    return rows


def markdown(figures: list[Figure], *, folder: Path) -> str:
    tests, measured = tests_by_row(folder), worst(figures)
    lines = ["| row | fault | tests | measured (bound) |", "|---|---|---|---|"]
    for row, title in ROWS.items():
        cells = [_cell(figure) for figure in measured.get(row, [])]
        names = "<br>".join(tests.get(row, ["**none**"]))
        lines.append(f"| {row.lstrip('0')} | {title} | {names} | {'<br>'.join(cells)} |")
    return "\n".join(lines)


def _cell(figure: Figure) -> str:
    unit = f" {figure.unit}" if figure.unit else ""
    return f"{figure.what}: {figure.value:g}{unit}" + (f" ({figure.bound.replace('<=', '≤').replace('>=', '≥')})" if figure.bound else "")


@click.command()
def main() -> None:
    """Prints the table of docs/reliability.md."""
    click.echo(markdown(read_all(), folder=Path(__file__).parent))


if __name__ == "__main__":
    main()

"""What rows measured, as JSON lines: `python -m tests.fault.report` makes the table of docs/reliability.md of them."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

OUTPUT = Path(os.environ.get("KRT_FAULT_OUTPUT") or Path(__file__).parents[2] / ".fault")
"""Figures, and the folders of failed rows. Not in the repository."""


class Figure(msgspec.Struct, frozen=True):
    """One measured value. `bound` is what it was held against, in words."""

    row: str
    what: str
    value: float
    unit: str
    bound: str


def note(row: str, what: str, value: float, *, unit: str, bound: str) -> None:
    OUTPUT.mkdir(parents=True, exist_ok=True)
    line = msgspec.json.encode(Figure(row, what, round(value, 3), unit, bound))
    with (OUTPUT / "figures.jsonl").open("ab") as file:
        file.write(line + b"\n")


def read_all() -> list[Figure]:
    path = OUTPUT / "figures.jsonl"
    return [msgspec.json.decode(line, type=Figure) for line in path.read_bytes().splitlines()] if path.exists() else []

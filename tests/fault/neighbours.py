"""A control load: what other Runs notice of a harm that is none of theirs."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.fault.row import Row


@dataclass(frozen=True, slots=True)
class Control:
    """One short Run, in seconds."""

    to_start: float
    """From before its create to its first instruction."""
    to_finish: float
    """From there until its terminal status has landed."""


async def control_load(row: Row, count: int, **spec: Any) -> list[Control]:
    """One after the other."""
    return [await control_run(row, **spec) for _ in range(count)]


async def control_run(row: Row, **spec: Any) -> Control:
    began_at = time.monotonic()
    made = await row.create(**spec)
    await row.over(made)
    started_at = row.starts(made)[0].at
    return Control(started_at - began_at, row.ended_at(made) - started_at)


def p99(seconds: Iterable[float]) -> float:
    ordered = sorted(seconds)
    return ordered[int(len(ordered) * 0.99)]

"""An explanation for people: a head, the timeline with a bar for each step's share, the waits, and what is to be known besides."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from operator import itemgetter
from typing import Any, Final

from controlplane.cli.ages import NONE, exact_duration
from controlplane.cli.explaining.explanation import Explanation
from controlplane.cli.explaining.timeline import Step
from controlplane.cli.explaining.waits import Wait
from controlplane.cli.explaining.writes import Writes
from controlplane.cli.printers import Column, Table, key_values

BAR_LENGTH: Final = 20
BAR: Final = ""
"""The title of its column."""


def render(explanation: Explanation) -> str:
    """Lines without a line feed at the end."""
    blocks = [key_values(_head(explanation)), _timeline(explanation), _waits(explanation), _notes(explanation)]
    return "\n\n".join("\n".join(block) for block in blocks if block)


# -- head -------------------------------------------------------------------------------------------------------------


def _head(explanation: Explanation) -> Iterator[tuple[str, object]]:
    yield "Run", f"{explanation.namespace}/{explanation.name}"
    yield "Runtime", explanation.runtime
    yield "Phase", explanation.phase
    if explanation.reason:
        yield "Reason", f"{explanation.reason}: {explanation.meaning}" if explanation.meaning else explanation.reason
    if explanation.message:
        yield "Message", explanation.message
    if explanation.exit_code is not None:
        yield "Exit Code", explanation.exit_code
    yield "Attempt", f"{explanation.attempt or NONE} of {explanation.max_attempts}"
    yield "Pod", explanation.pod
    if explanation.outputs is not None:
        yield "Outputs", f"{explanation.outputs.count} ({explanation.outputs.size_bytes} bytes)"
    yield "Took", _total(explanation)
    yield "API Writes", _writes(explanation.writes)


def _total(explanation: Explanation) -> str | None:
    if explanation.total_seconds is None:
        return None
    whole = exact_duration(explanation.total_seconds)
    if not any(step.is_at_most for step in explanation.steps):
        return whole
    measured = sum(step.after_seconds or 0.0 for step in explanation.steps if not step.is_at_most)
    known = f", {exact_duration(measured)} of it from {explanation.steps[1].name} on" if measured else ""
    return f"at most {whole}{known}"


def _writes(writes: Writes) -> str:
    return f"{'' if writes.is_exact else 'at least '}{writes.count} ({', '.join(writes.parts)})"


# -- timeline ---------------------------------------------------------------------------------------------------------


def _timeline(explanation: Explanation) -> list[str]:
    longest = max((step.after_seconds or 0.0 for step in explanation.steps if not step.is_at_most), default=0.0)
    rows = [_row(step, longest=longest) for step in explanation.steps]
    if not rows:
        return []
    has_bars = any(row[BAR].strip() for row in rows)
    return Table([Column(title, itemgetter(title)) for title in rows[0] if title != BAR or has_bars]).render(rows)


def _row(step: Step, *, longest: float) -> dict[str, Any]:
    after = step.after_seconds
    return {
        "STEP": step.name,
        "AT": _clock(step.at),
        "AFTER": NONE if after is None else f"{'≤ ' if step.is_at_most else ''}{exact_duration(after)}",
        BAR: _bar(step, longest=longest) or " ",
        "WHO AND WHAT": f"{step.who}: {step.what}" if step.who else step.what,
    }


def _bar(step: Step, *, longest: float) -> str:
    """As long as the step's part in the longest one; none where only a bound is known."""
    if step.is_at_most or not step.after_seconds or longest <= 0:
        return ""
    return "#" * round(BAR_LENGTH * max(step.after_seconds, 0.0) / longest)


def _clock(at: str) -> str:
    """In the time zone of the person, with the fraction that was stamped."""
    instant = datetime.fromisoformat(at).astimezone()
    return instant.strftime("%H:%M:%S.%f" if "." in at else "%H:%M:%S")


# -- the rest ---------------------------------------------------------------------------------------------------------


def _waits(explanation: Explanation) -> list[str]:
    if not explanation.waits:
        return []
    return ["Waited for:", *(line for wait in explanation.waits for line in _wait(wait))]


def _wait(wait: Wait) -> list[str]:
    how_long = exact_duration(wait.seconds) + ("" if wait.is_over else " so far")
    return [f"  {wait.for_what}, {how_long}: {wait.why}", *(f"    {detail}" for detail in wait.details)]


def _notes(explanation: Explanation) -> list[str]:
    return [f"Note: {note}." for note in explanation.notes]

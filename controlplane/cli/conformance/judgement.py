"""What was expected, what was seen, and whether that is the same. Pure: checks ask, this judges."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import Enum

SHOWN_CHARACTERS = 160
"""Of what was seen: enough to recognise it."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing that must hold."""

    what: str
    expected: str
    seen: str
    holds: bool


class Outcome(Enum):
    OK = "ok"
    FAILED = "FAILED"
    ADVICE = "advice"
    """Not kept, and nothing that runtimed relies on breaks by it."""
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Verdict:
    outcome: Outcome
    broken: list[Claim] = field(default_factory=list)
    reason: str = ""
    """Why it was skipped."""


class Broken(Exception):
    """The check cannot go on: `what` did not happen as `expected`."""

    def __init__(self, what: str, *, expected: str, seen: object) -> None:
        super().__init__(what)
        self.claim = Claim(what, expected, _show(seen), holds=False)


class NotApplicable(Exception):
    """The check says nothing about this server; the text says why."""


def judge(claims: Sequence[Claim], *, is_advice: bool = False) -> Verdict:
    """The check is kept if all of its claims hold."""
    broken = [claim for claim in claims if not claim.holds]
    if not broken:
        return Verdict(Outcome.OK)
    return Verdict(Outcome.ADVICE if is_advice else Outcome.FAILED, broken)


def equal(what: str, *, expected: object, seen: object) -> Claim:
    return Claim(what, _show(expected), _show(seen), expected == seen)


def among(what: str, *, expected: Collection[object], seen: object) -> Claim:
    return Claim(what, " or ".join(map(_show, expected)), _show(seen), seen in expected)


def at_most(what: str, *, limit: float, seen: float, unit: str) -> Claim:
    return Claim(what, f"at most {_number(limit)} {unit}", f"{_number(seen)} {unit}", seen <= limit)


def contains(what: str, *, expected: str, seen: str) -> Claim:
    return Claim(what, f"{_show(expected)} in it", _show(seen), expected in seen)


def that(what: str, is_true: bool, *, expected: str, seen: object) -> Claim:
    """For what is neither of the others; `expected` is in words."""
    return Claim(what, expected, _show(seen), is_true)


def _show(value: object) -> str:
    text = repr(value) if isinstance(value, (str, bytes)) else str(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}… ({len(text)} characters)"


def _number(value: float) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)

"""What is shown of lines before they are complete, on a clock that the test moves."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from controlplane.cli.screen import Screen
from k8s.api.run_log import OutputLine, PartialLine, parse_line
from runtimed.hooks.logs import AttemptLog
from runtimed.hooks.previews import Outlet
from tests.runtimed.world import run_body, to_run


@dataclass
class Timers:
    """One at a time, as an attempt has it. `turn` fires it."""

    armed: Callable[[], None] | None = None
    count: int = 0

    def call_later(self, seconds: float, fire: Callable[[], None]) -> Timers:
        assert self.armed is None, "one timer at a time"
        assert seconds <= 0.05, "twice this, and what the way to krt takes, is below 100 ms"
        self.armed = fire
        self.count += 1
        return self

    def cancel(self) -> None:
        self.armed = None

    def turn(self) -> None:
        fire, self.armed = self.armed, None
        if fire is not None:
            fire()


@dataclass
class Shown:
    """An attempt's log and all that is written to it."""

    max_bytes: int = 1 << 20
    timers: Timers = field(default_factory=Timers)
    out: list[str] = field(default_factory=list)
    is_free: bool = True
    _offset: int = 0

    def __post_init__(self) -> None:
        outlet = Outlet(self.timers.call_later, lambda: self.is_free, self.out.append)
        self.log = AttemptLog(to_run(run_body()), attempt=0, pod="p", write=self.out.append, max_bytes=self.max_bytes, previews=outlet)

    def feed(self, data: bytes) -> None:
        self.log.feed("stdout", data, offset=self._offset, is_truncated=False)
        self._offset += len(data)

    @property
    def said(self) -> list[tuple[int, str] | str]:
        """A partial line with where it begins, or a message."""
        parsed = [parse_line(line) for text in self.out for line in text.split("\n")]
        parts = [(one.at, one.text) if isinstance(one, PartialLine) else one.message for one in parsed if not is_end(one)]  # type: ignore[union-attr]
        return parts


def is_end(said: object) -> bool:
    return not isinstance(said, OutputLine | PartialLine)


def test_a_prompt_is_shown_after_a_moment_and_comes_again_within_its_line() -> None:
    shown = Shown()
    shown.feed(b"hello\nName? ")
    assert shown.said == ["hello"]
    shown.timers.turn()
    assert shown.said == ["hello", (0, "Name? ")]
    shown.feed(b"Ann\n")
    assert shown.said == ["hello", (0, "Name? "), "Name? Ann"]


def test_more_of_the_same_line_goes_on_where_the_last_ended() -> None:
    shown = Shown()
    for dots in (b".", b"..", b"\xc3", b"\xbc\r"):
        shown.feed(dots)
        shown.timers.turn()
    assert shown.said == [(0, "."), (1, ".."), (3, "ü")], "half a character waits for its other half, a carriage return for what follows"


def test_lines_that_are_complete_in_time_cost_no_more_than_a_timer_now_and_then() -> None:
    shown = Shown()
    for number in range(1000):
        shown.feed(b"%d" % number)
        shown.feed(b"\n")
    assert (len(shown.said), shown.timers.count) == (1000, 1)
    shown.timers.turn()
    assert shown.timers.armed is None, "nothing is unfinished"


def test_a_line_that_began_while_the_timer_ran_is_shown_the_next_time() -> None:
    shown = Shown()
    shown.feed(b"one")
    shown.feed(b"\ntwo")
    shown.timers.turn()
    assert shown.said == ["one"]
    shown.timers.turn()
    assert shown.said == ["one", (0, "two")]
    assert shown.timers.armed is None


def test_where_the_log_is_behind_previews_wait() -> None:
    shown = Shown(is_free=False)
    shown.feed(b"one")
    shown.timers.turn()
    assert shown.said == []
    shown.is_free = True
    shown.timers.turn()
    assert shown.said == [(0, "one")]


def test_previews_never_take_the_last_of_the_room_of_a_log() -> None:
    shown = Shown(max_bytes=1000)
    for _ in range(100):
        shown.feed(b"." * 10)
        shown.timers.turn()
    shown.log.end()
    assert sum(len(text) for text in shown.out[:-2]) < 1000
    assert shown.said[-1] == "." * 1000


def test_after_the_end_nothing_is_shown() -> None:
    shown = Shown()
    shown.feed(b"one")
    shown.log.end()
    assert shown.timers.armed is None
    assert shown.said == ["one"]


@given(st.binary(max_size=60), st.lists(st.tuples(st.integers(0, 60), st.booleans()), max_size=12))
def test_with_previews_at_any_moment_the_screen_shows_what_it_would_without(data: bytes, cuts: list[tuple[int, bool]]) -> None:
    with_previews, without = Shown(), Shown()
    marks = [(0, False), *sorted(cuts), (len(data), False)]
    for (start, _), (end, turns) in pairwise(marks):
        with_previews.feed(data[start:end])
        if turns:
            with_previews.timers.turn()
            with_previews.timers.turn()
    without.feed(data)
    for each in (with_previews, without):
        each.log.end()
    assert screen_of(with_previews.out) == screen_of(without.out)
    assert [one for one in with_previews.said if isinstance(one, str)] == without.said
    assert all("run_uid" not in json.loads(text) for text in with_previews.out if "partial_run_uid" in text)


def screen_of(out: list[str]) -> str:
    written: list[str] = []
    screen = Screen(lambda stream, text: written.append(text))
    for text in out:
        for line in text.split("\n"):
            said = parse_line(line)
            if isinstance(said, OutputLine | PartialLine):
                screen.show(said)
    screen.end()
    return "".join(written)

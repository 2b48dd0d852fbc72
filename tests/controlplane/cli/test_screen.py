"""Lines that are shown before they are complete: every character once, in every order in which a log may say it."""

from __future__ import annotations

import pytest

from controlplane.cli.screen import Screen
from k8s.api.run_log import OutputLine, PartialLine


def line(message: str, *, stream: str = "stdout") -> OutputLine:
    return OutputLine("u", stream, message)


def part(at: int, text: str, *, stream: str = "stdout") -> PartialLine:
    return PartialLine("u", stream, at, text)


def shown(*said: OutputLine | PartialLine) -> list[tuple[str, str]]:
    """Stream and text, one for each time that anything was written."""
    written: list[tuple[str, str]] = []
    screen = Screen(lambda stream, text: written.append((stream, text)))
    for each in said:
        screen.show(each)
    screen.end()
    return written


def test_a_prompt_is_shown_at_once_and_its_line_is_only_completed() -> None:
    assert shown(part(0, "Name"), part(4, "? "), line("Name? Ann")) == [("stdout", "Name"), ("stdout", "? "), ("stdout", "Ann\n")]


def test_the_streams_are_apart() -> None:
    said = (part(0, "out"), part(0, "err", stream="stderr"), line("error", stream="stderr"), line("output"))
    assert shown(*said) == [("stdout", "out"), ("stderr", "err"), ("stderr", "or\n"), ("stdout", "put\n")]


def test_what_never_became_a_line_is_ended_with_one() -> None:
    assert shown(line("a"), part(0, "b")) == [("stdout", "a\n"), ("stdout", "b"), ("stdout", "\n")]
    assert shown(part(0, "b"), line("b")) == [("stdout", "b"), ("stdout", "\n")]


@pytest.mark.parametrize(
    ("again", "text"),
    [
        pytest.param([part(0, "on")], "one", id="less than before"),
        pytest.param([part(0, "one t"), part(5, "w")], "one two", id="more than before"),
        pytest.param([part(40, "far away")], "one two", id="with a gap"),
    ],
)
def test_a_line_that_begins_again_after_a_restart_is_not_shown_twice(again: list[PartialLine], text: str) -> None:
    assert "".join(written for _, written in shown(part(0, "one"), *again, line(text))) == f"{text}\n"


def test_a_line_that_was_begun_and_lost_does_not_eat_the_next_one() -> None:
    assert "".join(text for _, text in shown(part(0, "progress 1"), line("[output is missing]"))) == "progress 1\n[output is missing]\n"

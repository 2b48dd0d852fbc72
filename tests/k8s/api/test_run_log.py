"""The lines between runtimed and krt."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from k8s.api.run_log import (
    EndLine,
    OutputLine,
    PartialLine,
    complete_lines,
    format_beginning,
    format_end_line,
    format_output_line,
    format_partial_line,
    parse_line,
)


def _line(message: str) -> str:
    return format_output_line(message, run_uid="u1", run_name="r", namespace="ns", runtime="bash", pod="p", stream="stderr")


def test_an_output_line_has_the_keys_other_programs_read_in_their_order() -> None:
    assert list(json.loads(_line("hello"))) == ["run_uid", "run_name", "namespace", "runtime", "pod", "stream", "message"]


@pytest.mark.parametrize("message", ["hello", "", "ünïcode ✓", 'quote " and \\ slash', "a\u2028b", "bell \x07", "{}"])
def test_an_output_line_survives_the_round_trip_on_one_line(message: str) -> None:
    line = _line(message)
    assert "\n" not in line
    assert parse_line(line.encode()) == OutputLine("u1", "stderr", message)


@given(st.lists(st.text(alphabet=st.sampled_from('",\\ab ü\x07{}')), min_size=1, max_size=8))
@example(['  "name": "value",', "}", ",", '"', "\\", ""])
def test_many_lines_at_once_are_the_same_as_each_on_its_own(messages: list[str]) -> None:
    beginning = format_beginning(run_uid="u1", run_name="r", namespace="ns", runtime="bash", pod="p", stream="stderr")
    assert complete_lines(beginning, messages).split("\n") == [_line(message) for message in messages]
    assert [parse_line(_line(message)) for message in messages] == [OutputLine("u1", "stderr", message) for message in messages]


@pytest.mark.parametrize(("attempt", "written"), [(0, 1), (1, 1), (2, 2)])
def test_an_end_line_counts_attempts_as_a_terminal_status_does(attempt: int, written: int) -> None:
    assert parse_line(format_end_line(run_uid="u1", attempt=attempt)) == EndLine("u1", written)


@pytest.mark.parametrize("text", ["Name? ", "\r10%", "ü"])
def test_a_partial_line_survives_the_round_trip_on_one_line(text: str) -> None:
    written = format_partial_line(run_uid="u1", stream="stdout", at=3, text=text)
    assert "\n" not in written
    assert parse_line(written) == PartialLine("u1", "stdout", 3, text)


@pytest.mark.parametrize(
    "line", [format_end_line(run_uid="u1", attempt=1), format_partial_line(run_uid="u1", stream="stdout", at=0, text="x")]
)
def test_end_lines_and_partial_lines_are_invisible_to_readers_that_filter_by_run_uid(line: str) -> None:
    assert "run_uid" not in json.loads(line)


@pytest.mark.parametrize("text", ["", "plain text", "[1]", "{}", '{"run_uid": 3}', '{"run_uid": "u1"}', b"\xff\xfe", '{"a":'])
def test_other_lines_say_nothing_about_a_run(text: str | bytes) -> None:
    assert parse_line(text) is None

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8s.api.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("1s", 1),
        ("500ms", 0.5),
        ("1m30s", 90),
        ("1h", 3600),
        ("1.5s", 1.5),
        (".5s", 0.5),
        ("-2s", -2),
        ("+3s", 3),
        ("250us", 0.00025),
        ("7µs", 0.000007),
    ],
)
def test_go_durations_are_read_as_go_reads_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "s", "1 s", "1x", "one second", "1s2", "-", "1h-2m", "9" * 30 + "h"])
def test_anything_else_is_refused_and_says_what_is_accepted(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (1, "1s"),
        (1.5, "1.5s"),
        (90, "1m30s"),
        (3600, "1h0m0s"),
        (0.25, "250ms"),
        (0.0015, "1.5ms"),
        (0.000007, "7µs"),
        (-2, "-2s"),
    ],
)
def test_durations_are_printed_as_go_prints_them(seconds: float, text: str) -> None:
    assert format_duration(timedelta(seconds=seconds)) == text


@given(st.integers(min_value=-(10**14), max_value=10**14))
def test_printing_and_reading_are_inverse(microseconds: int) -> None:
    duration = timedelta(microseconds=microseconds)
    assert abs(parse_duration(format_duration(duration)) - duration) <= timedelta(microseconds=1)

from __future__ import annotations

from bench.windows import LEAST_WINDOW_SECONDS, growth, rolling_windows, windows_of
from tests.bench.made import sample


def test_windows_overlap_where_the_step_is_shorter() -> None:
    samples = [sample(10.0, at_seconds=at / 10) for at in range(40)]
    windows = rolling_windows(samples, width_seconds=2.0, step_seconds=1.0)
    assert [(window.from_seconds, window.terminal.count) for window in windows] == [(0.0, 20), (1.0, 20)]


def test_a_short_pass_is_one_window() -> None:
    windows = rolling_windows([sample(10.0, at_seconds=0.1)], width_seconds=2.0, step_seconds=1.0)
    assert [window.terminal.count for window in windows] == [1]


def test_no_run_is_no_window() -> None:
    assert rolling_windows([], width_seconds=2.0, step_seconds=1.0) == []


def test_a_system_that_cannot_follow_grows() -> None:
    samples = [sample(10.0 * (1 + at), at_seconds=at) for at in range(6)]
    assert growth(rolling_windows(samples, width_seconds=1.0, step_seconds=1.0)) > 4


def test_a_longer_pass_has_wider_windows() -> None:
    minute = windows_of([sample(10.0, at_seconds=float(at)) for at in range(61)])
    moment = windows_of([sample(10.0, at_seconds=at / 10) for at in range(30)])
    assert minute[0].to_seconds == 6.0
    assert moment[0].to_seconds == LEAST_WINDOW_SECONDS
    assert minute[1].from_seconds == 3.0

from __future__ import annotations

import io

import pytest

from controlplane.cli.transfer_progress import TransferProgress, human_bytes


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(stream: io.StringIO, *, at: list[float], done: list[int]) -> str:
    now = [0.0]
    progress = TransferProgress(total_bytes=1000, begins_at=100, stream=stream, clock=lambda: now[0])
    for now[0], bytes_ in zip(at, done, strict=True):
        progress.show(bytes_)
    progress.end()
    return stream.getvalue()


def test_what_is_over_within_a_second_shows_nothing() -> None:
    assert shown(Terminal(), at=[0.5, 0.9], done=[400, 1000]) == ""


def test_a_long_one_shows_share_and_rate_of_what_came_now_and_leaves_an_empty_line() -> None:
    text = shown(Terminal(), at=[2.0, 2.1, 3.0], done=[500, 510, 1000])
    lines = [line.strip() for line in text.split("\r") if line.strip()]
    assert lines == [
        "[############            ]  50%  500 B of 1.0 kB, 200 B/s",
        "[########################] 100%  1.0 kB of 1.0 kB, 300 B/s",
    ]
    assert text.endswith(" \r")


def test_nothing_is_shown_where_nobody_looks() -> None:
    assert shown(io.StringIO(), at=[2.0, 30.0], done=[500, 1000]) == ""


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (999, "999 B"), (1_234, "1.2 kB"), (123_456, "123 kB"), (5e9, "5.0 GB")])
def test_sizes_have_three_digits_at_most(count: float, text: str) -> None:
    assert human_bytes(count) == text

"""Keepers rest after a Run, in order, and nobody rests when a child was wanted."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from servers.supervisor.kept import Kept
from servers.supervisor.resting import REST_SECONDS, SHORT_REST_SECONDS, Resting


@pytest.fixture
def keepers() -> Iterator[list[Kept]]:
    pairs = [socket.socketpair() for _ in range(3)]
    yield [Kept(ours, pid=number) for number, (ours, _) in enumerate(pairs)]
    for ends in pairs:
        for end in ends:
            end.close()


def test_each_is_rested_after_its_time_in_order(keepers: list[Kept]) -> None:
    resting = Resting()
    assert resting.seconds_until_next(now=0.0) is None
    for second, kept in enumerate(keepers):
        resting.add(kept, now=float(second))
    assert resting.pop_rested(now=REST_SECONDS / 2) is None
    assert resting.seconds_until_next(now=REST_SECONDS / 2) == pytest.approx(REST_SECONDS / 2)
    assert resting.pop_rested(now=1.0) is keepers[0]
    assert resting.pop_rested(now=1.0) is None
    assert resting.pop_rested(now=9.0) is keepers[1]


def test_who_is_wanted_rests_no_longer(keepers: list[Kept]) -> None:
    resting = Resting()
    for kept in keepers:
        resting.add(kept, now=5.0)
    resting.wake_all()
    assert resting.seconds_until_next(now=5.0) == 0.0
    assert [resting.pop_rested(now=5.0) for _ in range(4)] == [*keepers, None]


def test_who_will_be_wanted_rests_for_a_moment_and_no_longer_than_before(keepers: list[Kept]) -> None:
    resting = Resting()
    for kept, since in zip(keepers, (0.0, 5.0, 5.0), strict=True):
        resting.add(kept, now=since)
    resting.cut_short(now=REST_SECONDS)
    resting.cut_short(now=5.0)
    assert resting.pop_rested(now=REST_SECONDS) is keepers[0]
    assert resting.seconds_until_next(now=REST_SECONDS) == pytest.approx(SHORT_REST_SECONDS)
    assert [resting.pop_rested(now=5.0) for _ in range(3)] == [*keepers[1:], None]


def test_who_is_gone_does_not_come_back(keepers: list[Kept]) -> None:
    resting = Resting()
    for kept in keepers:
        resting.add(kept, now=0.0)
    resting.discard(keepers[1])
    assert [resting.pop_rested(now=9.0) for _ in range(3)] == [keepers[0], keepers[2], None]

"""When a keeper between two children is to hold the next, by what others hold. Its keepers are sockets."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from servers.supervisor import warm as module
from servers.supervisor.kept import Kept
from servers.supervisor.resting import SHORT_REST_SECONDS
from servers.supervisor.spec import HoldSpec
from servers.supervisor.warm import Readable, Warm
from servers.supervisor.wire import Message

HOLD = HoldSpec("bash", executable="/bin/bash", env={}, preload=[])


class Owner:
    def __init__(self) -> None:
        self.keepers: list[Kept] = []

    def listen(self, readable: Readable, *, call: Callable[[], None]) -> None: ...
    def unlisten(self, readable: Readable) -> None: ...
    def say(self, message: Message) -> None: ...
    def recall(self, kept: Kept) -> None: ...
    def dismiss(self, kept: Kept) -> None: ...
    def adopt(self, kept: Kept) -> None:
        self.keepers.append(kept)


@pytest.fixture
def owner(monkeypatch: pytest.MonkeyPatch) -> Iterator[Owner]:
    pairs: list[tuple[socket.socket, socket.socket]] = []

    def launch(*, hold: HoldSpec, form: str) -> tuple[int, socket.socket]:
        pairs.append(socket.socketpair())
        return len(pairs), pairs[-1][0]

    monkeypatch.setattr(module, "launch", launch)
    yield Owner()
    for pair in pairs:
        for end in pair:
            end.close()


def holding(owner: Owner, *, slots: int) -> Warm:
    """All that is wanted is held and lent."""
    warm = Warm(HOLD, loop=owner, keepers=owner)
    warm.resize(slots)
    while warm.patience_seconds() == 0:
        warm.grow()
    for kept in owner.keepers:
        warm.note_held(kept)
    return warm


def rest_after_a_run(warm: Warm, kept: Kept) -> float:
    kept.ticket = 1
    warm.note_taken(kept)
    kept.finish()
    assert warm.keeps(kept)
    seconds = warm.patience_seconds()
    assert seconds is not None
    return seconds


def test_a_keeper_rests_while_another_child_of_its_form_is_ready(owner: Owner) -> None:
    warm = holding(owner, slots=2)
    assert rest_after_a_run(warm, owner.keepers[0]) > 2 * SHORT_REST_SECONDS


def test_and_hardly_when_none_is(owner: Owner) -> None:
    warm = holding(owner, slots=1)
    assert rest_after_a_run(warm, owner.keepers[0]) <= SHORT_REST_SECONDS


def test_who_rests_is_hurried_when_the_last_one_is_taken(owner: Owner) -> None:
    warm = holding(owner, slots=2)
    first, second = [kept for kept in owner.keepers if kept.form == owner.keepers[0].form]
    rest_after_a_run(warm, first)
    second.ticket = 2
    warm.note_taken(second)
    assert (warm.patience_seconds() or 0) <= SHORT_REST_SECONDS

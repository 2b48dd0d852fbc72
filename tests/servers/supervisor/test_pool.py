"""Which children are held, of which form, and which are had back: decided without any process."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator

import pytest

from servers.supervisor.kept import Kept
from servers.supervisor.pool import Pool


class Children:
    """Keepers that hold at once whatever they are told to, and a server that is lent it and gives it back when asked."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.members: list[Kept] = []
        self._on_shelf: list[Kept] = []
        self._sockets: list[socket.socket] = []

    def grow(self) -> None:
        while self.pool.seconds_until_growth() == 0:
            ours, theirs = socket.socketpair()
            self._sockets += [ours, theirs]
            kept = Kept(ours, pid=1, form=self.pool.next_form())
            self.members.append(kept)
            self.pool.join(kept)
            self._hold(kept)

    def resize(self, slots: int) -> None:
        self.pool.resize(slots)
        while kept := self.pool.recall_superfluous():
            self.let_go(kept)
        self.grow()

    def take(self, form: str) -> Kept | None:
        """As the server does it, the oldest first."""
        kept = next((kept for kept in self._on_shelf if kept.form == form), None)
        if kept is None:
            self.pool.note_missed(form)
            return None
        self._on_shelf.remove(kept)
        kept.ticket = 1
        self.pool.note_taken(kept)
        return kept

    def end(self, kept: Kept) -> None:
        """The attempt under it is over."""
        kept.finish()
        if self.pool.keeps(kept):
            kept.form = self.pool.next_form()
            self._hold(kept)
        else:
            self.let_go(kept)

    def let_go(self, kept: Kept) -> None:
        self.pool.leave(kept)
        self.members.remove(kept)
        if kept in self._on_shelf:
            self._on_shelf.remove(kept)

    def held(self) -> Counter[str]:
        return Counter(kept.form for kept in self._on_shelf)

    def _hold(self, kept: Kept) -> None:
        self._on_shelf.append(kept)
        self.pool.offer(kept)

    def close(self) -> None:
        for each in self._sockets:
            each.close()


@pytest.fixture
def two_forms() -> Iterator[Children]:
    children = Children(Pool(["script", "command"]))
    yield children
    children.close()


@pytest.fixture
def one_form() -> Iterator[Children]:
    children = Children(Pool(["fork"]))
    yield children
    children.close()


def test_nothing_is_held_before_there_are_slots(one_form: Children) -> None:
    one_form.grow()
    assert one_form.held() == {}
    assert one_form.take("fork") is None


def test_as_many_are_held_as_there_are_slots(one_form: Children) -> None:
    one_form.resize(3)
    assert one_form.held() == {"fork": 3}
    one_form.resize(1)
    assert one_form.held() == {"fork": 1}
    one_form.resize(0)
    assert one_form.held() == {}


@pytest.mark.parametrize(("slots", "held"), [(1, 1), (2, 2), (4, 4), (10, 7)])
def test_of_two_forms_few_slots_hold_each_as_often_as_slots(two_forms: Children, slots: int, held: int) -> None:
    two_forms.resize(slots)
    assert two_forms.held() == {"script": held, "command": held}


def test_a_keeper_that_is_busy_counts_and_holds_again_when_it_is_free(one_form: Children) -> None:
    one_form.resize(2)
    busy = one_form.take("fork")
    assert busy
    one_form.grow()
    assert one_form.held() == {"fork": 1}
    one_form.end(busy)
    assert one_form.held() == {"fork": 2}
    assert busy in one_form.members


def test_what_is_returned_unasked_is_not_replaced_at_once(one_form: Children) -> None:
    """The server has too many files open: it would give back the next one too."""
    one_form.resize(2)
    one_form.pool.resize(1)
    recalled = one_form.pool.recall_superfluous()
    assert recalled
    one_form.pool.note_returned(recalled)
    one_form.let_go(recalled)
    one_form.pool.resize(2)
    assert one_form.pool.seconds_until_growth() == 0
    one_form.pool.note_returned(one_form.members[0])
    one_form.let_go(one_form.members[0])
    assert 0 < (one_form.pool.seconds_until_growth() or 0) <= 1


def test_it_is_not_short_of_what_cannot_be_held(two_forms: Children) -> None:
    two_forms.resize(2)
    two_forms.pool.note_missed("command")
    two_forms.pool.give_up("command")
    while kept := two_forms.pool.recall_superfluous():
        two_forms.let_go(kept)
    assert not two_forms.pool.is_short


def test_it_is_short_when_a_form_that_was_wanted_has_none_ready(two_forms: Children) -> None:
    two_forms.resize(2)
    assert not two_forms.pool.is_short
    first, second = two_forms.take("script"), two_forms.take("script")
    assert two_forms.pool.is_short
    assert first
    assert second
    two_forms.end(first)
    assert two_forms.held() == {"script": 1, "command": 2}
    assert not two_forms.pool.is_short


def test_a_busy_keeper_beyond_the_slots_is_let_go_when_it_is_free(one_form: Children) -> None:
    one_form.resize(2)
    busy = [one_form.take("fork"), one_form.take("fork")]
    one_form.resize(1)
    for kept in busy:
        assert kept
        one_form.end(kept)
    assert one_form.held() == {"fork": 1}


def test_the_oldest_is_taken_first(one_form: Children) -> None:
    one_form.resize(3)
    assert [one_form.take("fork") for _ in range(4)] == [*one_form.members, None]


def test_no_more_are_recalled_than_there_are_too_many(one_form: Children) -> None:
    """Before the first is back."""
    one_form.resize(3)
    one_form.pool.resize(2)
    assert one_form.pool.recall_superfluous()
    assert one_form.pool.recall_superfluous() is None


def test_one_that_is_taken_though_it_was_recalled_is_let_go_when_it_is_free(one_form: Children) -> None:
    one_form.resize(2)
    one_form.pool.resize(1)
    recalled = one_form.pool.recall_superfluous()
    assert recalled
    recalled.ticket = 1
    one_form.pool.note_taken(recalled)
    assert not one_form.pool.keeps(recalled)


def test_after_a_failure_growth_pauses(one_form: Children) -> None:
    one_form.resize(2)
    one_form.let_go(one_form.members[0])
    one_form.pool.pause()
    assert 0 < (one_form.pool.seconds_until_growth() or 0) <= 1


def test_a_miss_of_one_form_turns_one_of_the_other_into_it(two_forms: Children) -> None:
    two_forms.resize(2)
    busy = [two_forms.take("command") for _ in range(3)]
    assert busy[2] is None
    misfit = two_forms.pool.recall_misfit("command")
    assert misfit
    assert misfit.form == "script"
    two_forms.let_go(misfit)
    two_forms.grow()
    assert two_forms.held() == {"script": 1, "command": 1}
    for kept in busy[:2]:
        assert kept
        two_forms.end(kept)
    assert two_forms.held() == {"script": 1, "command": 3}


def test_the_last_of_a_form_is_kept(two_forms: Children) -> None:
    two_forms.resize(1)
    two_forms.take("command")
    assert two_forms.take("command") is None
    assert two_forms.pool.recall_misfit("command") is None
    assert two_forms.held() == {"script": 1}


def test_a_miss_while_there_is_growth_to_come_turns_nothing(two_forms: Children) -> None:
    two_forms.pool.resize(4)
    assert two_forms.take("command") is None
    assert two_forms.pool.recall_misfit("command") is None


def test_what_cannot_be_held_is_not_held_any_more_and_its_place_is_taken(two_forms: Children) -> None:
    two_forms.resize(2)
    two_forms.pool.give_up("command")
    while kept := two_forms.pool.recall_superfluous():
        two_forms.let_go(kept)
    busy = two_forms.take("command")
    assert busy
    two_forms.end(busy)
    assert two_forms.held() == {"script": 2}
    two_forms.pool.give_up("script")
    two_forms.grow()
    assert two_forms.pool.seconds_until_growth() is None

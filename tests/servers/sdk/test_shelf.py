"""Children on the server's shelf."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from servers.sdk.shelf import ORDER_LIMIT_BYTES, Shelf
from servers.supervisor.spec import HoldSpec, StartSpec
from tests.servers.sdk.lending import ENV, ORDER, Keepers


@pytest.fixture
def shelf() -> Shelf:
    return Shelf(HoldSpec("bash", executable="/bin/bash", env=ENV, preload=[]))


@pytest.fixture
def keepers(shelf: Shelf) -> Iterator[Keepers]:
    keepers = Keepers(shelf)
    yield keepers
    keepers.close()


def test_the_oldest_of_the_form_is_taken_and_has_its_order(shelf: Shelf, keepers: Keepers) -> None:
    for hold, form in ((1, "command"), (2, "script"), (3, "script")):
        keepers.lend(hold, form=form)
    taken = [keepers.take() for _ in range(3)]
    assert [lent and lent.hold for lent in taken] == [2, 3, None]
    assert keepers.order_of(2) == keepers.order_of(3) == ORDER.payload


def test_one_that_cannot_have_its_order_is_passed_over_and_let_go(shelf: Shelf, keepers: Keepers) -> None:
    keepers.lend(1)
    keepers.lend(2)
    keepers.die(1)
    lent = keepers.take()
    assert lent
    assert lent.hold == 2
    assert keepers.reports[1].recv(1) == b""


def test_what_is_removed_finds_the_end_of_its_pipe(shelf: Shelf, keepers: Keepers) -> None:
    keepers.lend(1)
    assert shelf.remove(1)
    assert not shelf.remove(1)
    assert keepers.order_of(1) == b""
    assert keepers.take() is None


def test_a_keeper_says_what_it_has_to_say_or_is_gone(shelf: Shelf, keepers: Keepers) -> None:
    keepers.lend(1)
    lent = keepers.take()
    assert lent
    assert lent.read_report() is None
    keepers.reports[1].send(b'{"op":"ended","status":0}')
    assert lent.read_report() == {"op": "ended", "status": 0}
    keepers.reports[1].close()
    assert lent.read_report() == {}


def test_an_order_that_no_pipe_takes_at_once_is_for_a_fresh_process(shelf: Shelf) -> None:
    def choice(value: str) -> object:
        env = {**ENV, "A": value}
        return shelf.choose(StartSpec(1, executable="/bin/bash", argv=["bash", "script"], env=env, cwd="/"))

    assert choice("x")
    assert choice("x" * ORDER_LIMIT_BYTES) is None

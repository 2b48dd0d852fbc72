from __future__ import annotations

from runtimed.shell.slots import Slots


def test_first_come_first_served_up_to_the_count() -> None:
    granted: list[str] = []
    slots = Slots(2)
    for uid in "abcd":
        slots.ask(uid, lambda uid=uid: granted.append(uid), is_running_already=False)  # type: ignore[misc]
    assert granted == ["a", "b"]
    slots.give_back("a")
    slots.give_back("b")
    assert granted == ["a", "b", "c", "d"]


def test_what_runs_already_is_never_refused_and_delays_the_others() -> None:
    granted: list[str] = []
    slots = Slots(1)
    for uid in ("a", "b"):
        slots.ask(uid, lambda uid=uid: granted.append(uid), is_running_already=True)  # type: ignore[misc]
    slots.ask("c", lambda: granted.append("c"), is_running_already=False)
    slots.give_back("a")
    assert granted == ["a", "b"]
    slots.give_back("b")
    assert granted == ["a", "b", "c"]


def test_a_request_can_be_withdrawn() -> None:
    slots = Slots(0)
    granted: list[str] = []
    slots.ask("a", lambda: granted.append("a"), is_running_already=False)
    slots.ask("b", lambda: granted.append("b"), is_running_already=False)
    slots.give_back("b")
    slots.give_back("a")
    assert (granted, slots.taken, slots.waiting) == (["a"], 0, 0)

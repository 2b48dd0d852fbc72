"""Requests, loads and messages."""

from __future__ import annotations

import pytest

from controlplane.scheduler.policy import could_fit, has_room, load_beyond, load_with, request_of, waiting_message
from controlplane.scheduler.timers import Timers
from k8s.api.capacity import capacity_key
from k8s.api.errors import InvalidRun
from tests.controlplane.scheduler.objects import make_run


@pytest.mark.parametrize(
    ("requests", "shape"),
    [
        (None, {"runs": 1}),
        ({}, {"runs": 1}),
        ({"runs": 0}, {"runs": 1}),
        ({"runs": "3", "gpu": 0}, {"runs": 3}),
        ({"gpu": "2k", "runs": 1}, {"runs": 1, "gpu": 2000}),
        ({"example.com/gpu": 1}, {"runs": 1, "example.com__gpu": 1}),
        ({"memory": "1000m"}, {"runs": 1, "memory": 1}),
        ({"a/b": 1, "a__b": 2}, {"runs": 1, "a__b": 3}),
        ({"many": "1" + "0" * 400}, {"runs": 1, "many": 10**400}),
    ],
)
def test_a_request_is_counted_in_whole_numbers_and_takes_one_run_at_least(
    requests: dict[str, str | int] | None, shape: dict[str, int]
) -> None:
    assert dict(request_of(make_run("r", requests=requests))) == shape


@pytest.mark.parametrize("quantity", ["-1", "1.5", "100m", "", "NaN"])
def test_what_is_no_whole_number_is_refused_by_name(quantity: str) -> None:
    with pytest.raises(InvalidRun, match=r"spec\.resources\.requests\[gpu\]"):
        request_of(make_run("r", requests={"gpu": quantity}))


ONE = (("runs", 1),)


def test_load_is_that_of_the_fullest_resource_before_that_of_all() -> None:
    lopsided, even = (("gpu", 2, 2), ("runs", 4, 0)), (("gpu", 2, 1), ("runs", 4, 2))
    assert load_with(even, shape=ONE, unit=4) == (3, 5)
    assert load_with(lopsided, shape=ONE, unit=4) == (4, 5)


def test_room_is_asked_for_in_every_resource_and_only_in_those_that_are_asked_for() -> None:
    fill = (("gpu", 1, 2), ("runs", 4, 3))
    assert has_room(fill, shape=ONE)
    assert not has_room(fill, shape=(("runs", 2),))
    assert not has_room(fill, shape=(("gpu", 1), ("runs", 1)))
    assert not has_room(fill, shape=(("memory", 1), ("runs", 1)))
    for shape in (ONE, (("runs", 2),), (("gpu", 1), ("runs", 1)), (("memory", 1), ("runs", 1))):
        assert (load_with(fill, shape=shape, unit=4) is not None) is has_room(fill, shape=shape)


def test_what_could_fit_is_judged_by_the_empty_pod() -> None:
    fill = (("runs", 4, 3),)
    assert could_fit(fill, shape=(("runs", 4),))
    assert load_beyond(fill, shape=(("runs", 4),), unit=4) == (7, 7)
    assert load_beyond(fill, shape=(("runs", 5),), unit=4) is None


def test_the_message_is_what_tools_look_for() -> None:
    assert waiting_message("bash") == 'waiting for available runtime pods for runtime "bash"'
    assert waiting_message("bash", rejections={"UnsatisfiedRunAntiAffinity": 1}).startswith("waiting for available runtime pods")


def test_a_resource_name_becomes_part_of_an_annotation_key() -> None:
    assert capacity_key("runs") == "runs"
    assert capacity_key("example.com/gpu") == "example.com__gpu"
    long = capacity_key("example.com/" + "x" * 63)
    assert len("capacity." + long) == 63
    assert long != capacity_key("example.com/" + "x" * 62 + "y")


def test_a_timer_that_was_moved_fires_once_at_its_new_time() -> None:
    timers = Timers()
    timers.start("a", at=1.0)
    timers.start("b", at=2.0)
    timers.start("a", at=3.0)
    assert timers.next_deadline() == 2.0
    timers.stop("b")
    assert timers.fire_next(now=2.9) is None
    assert timers.fire_next(now=3.0) == "a"
    assert timers.next_deadline() is None

"""When a Pod is given up, by the observer's clock alone."""

from __future__ import annotations

import pytest

from controlplane.controllers.pod_health import NOT_READY, SILENT, TERMINATING, PodHealth, Verdict
from k8s.api.pod import Pod
from tests.controlplane.controllers.objects import make_pod


class Watched:
    """A Pod under observation: `tell` is the watch, `read` the read that a judgement needs."""

    def __init__(self, pod: Pod) -> None:
        self.now = 100.0
        self.pod = pod
        self.health = PodHealth(pod.uid, 30.0, alive_at=self.now)
        self.health.see(pod, now=self.now)

    def tell(self, pod: Pod) -> None:
        self.pod = pod
        self.health.see(pod, now=self.now)

    def wait_for_read(self) -> float:
        """Goes on to when it is to be read; returns how long that took."""
        seconds = max(0.0, self.health.seconds_until_read(now=self.now))
        self.now += seconds
        return seconds

    def read(self) -> Verdict | None:
        self.health.see(self.pod, now=self.now)
        return self.health.was_read(now=self.now)


def test_a_silent_pod_is_read_twice_before_it_is_given_up_at_its_threshold() -> None:
    watched = Watched(make_pod("p"))
    assert watched.wait_for_read() == pytest.approx(20.0)
    assert watched.read() is None
    assert watched.wait_for_read() == pytest.approx(10.0)
    assert watched.read() == SILENT


def test_a_heartbeat_puts_it_off() -> None:
    watched = Watched(make_pod("p", probe="1"))
    watched.now += 25.0
    watched.tell(make_pod("p", probe="2"))
    assert watched.wait_for_read() == pytest.approx(20.0)
    watched.read()
    watched.tell(make_pod("p", probe="3"))
    assert watched.wait_for_read() == pytest.approx(20.0)


def test_after_an_outage_of_the_api_server_the_pod_has_time_to_be_heard_again() -> None:
    watched = Watched(make_pod("p"))
    watched.now += 60.0  # nobody could write anything
    watched.health.was_not_answered()
    assert watched.read() is None
    assert watched.wait_for_read() == pytest.approx(10.0)
    watched.tell(make_pod("p", probe="2"))
    assert watched.read() is None


def test_a_heartbeat_that_says_no_is_no_heartbeat() -> None:
    watched = Watched(make_pod("p", probe="1"))
    watched.tell(make_pod("p", probe="2", heartbeat="False"))
    watched.now += 20.0
    watched.tell(make_pod("p", probe="3", heartbeat="False"))
    watched.read()
    watched.wait_for_read()
    assert watched.read() == SILENT


def test_a_pod_that_is_not_ready_for_long_is_given_up_though_its_heart_beats() -> None:
    watched = Watched(make_pod("p", ready="False"))
    for beat in range(4):
        watched.now += 5.0
        watched.tell(make_pod("p", ready="False", probe=str(beat)))
    assert watched.read() is None
    watched.now += 10.0
    watched.tell(make_pod("p", ready="False", probe="last"))
    assert watched.read() == NOT_READY


def test_becoming_ready_again_forgets_the_time_that_it_was_not() -> None:
    watched = Watched(make_pod("p", ready="False"))
    watched.now += 29.0
    watched.tell(make_pod("p", ready="True", probe="2"))
    watched.now += 2.0
    watched.tell(make_pod("p", ready="False", probe="3"))
    assert watched.health.seconds_until_read(now=watched.now) == pytest.approx(20.0)


def test_a_terminating_pod_has_its_grace_period_to_finish_in_and_needs_no_heartbeat() -> None:
    watched = Watched(make_pod("p", deletion_grace_seconds=60))
    assert watched.wait_for_read() == pytest.approx(80.0)
    assert watched.read() is None
    assert watched.wait_for_read() == pytest.approx(10.0)
    assert watched.read() == TERMINATING


def test_a_pod_that_has_ended_is_given_up_at_once() -> None:
    watched = Watched(make_pod("p", phase="Failed", ready="False"))
    assert watched.wait_for_read() == 0.0
    assert watched.read() == NOT_READY


def test_without_a_ready_condition_only_the_heartbeat_counts() -> None:
    watched = Watched(make_pod("p", ready=None))
    watched.now += 25.0
    watched.tell(make_pod("p", ready=None, probe="2"))
    assert watched.read() is None

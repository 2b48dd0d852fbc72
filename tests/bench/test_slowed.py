"""The functions that the slowed steps go through are still there, and only what belongs to the step waits.

That a Run really passes each of them is shown by `make bench-gate-proof`, and for one step by test_gate_on_kube.py.
"""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from bench.slowed import STEPS, Step, slow, slow_down
from controlplane.scheduler.core import SchedulerCore
from controlplane.scheduler.model import RunGone, RunSeen
from k8s.api.run import Run, RunStatus
from k8s.client import PODS, RUNS

EXTRA_SECONDS = 0.01


class Place:
    """Where a step lives."""

    def ordinary(self, what: str) -> str:
        return what

    async def coroutine(self, what: str) -> str:
        return what


@pytest.mark.slow
@pytest.mark.parametrize("name", STEPS)
def test_every_step_is_found_where_it_is_said_to_be(name: str) -> None:
    """In a process of its own: it changes the function for good."""
    program = "import sys; from bench.slowed import STEPS, slow_down; slow_down(STEPS[sys.argv[1]])"
    subprocess.run([sys.executable, "-c", program, name], check=True, timeout=30)


def test_a_step_that_has_moved_is_an_error() -> None:
    with pytest.raises(AttributeError):
        slow_down(Step("gone", "controlplane.scheduler", "controlplane.scheduler.core:SchedulerCore.no_such_function"))


def test_a_function_does_the_same_later() -> None:
    began = time.monotonic()
    assert slow(Place().ordinary, concerns=lambda *_: True, extra_seconds=EXTRA_SECONDS)("done") == "done"
    assert time.monotonic() - began >= EXTRA_SECONDS


async def test_a_coroutine_does_the_same_later() -> None:
    began = time.monotonic()
    assert await slow(Place().coroutine, concerns=lambda *_: True, extra_seconds=EXTRA_SECONDS)("done") == "done"
    assert time.monotonic() - began >= EXTRA_SECONDS


def test_what_is_not_of_the_step_does_not_wait() -> None:
    began = time.monotonic()
    assert slow(Place().ordinary, concerns=lambda *_: False, extra_seconds=60.0)("done") == "done"
    assert time.monotonic() - began < 1.0


def test_the_scheduler_is_slow_to_see_new_runs_only() -> None:
    concerns, core = STEPS["client-scheduler"].concerns, SchedulerCore()
    assert concerns(core, RunSeen(Run()), now=0.0)
    assert not concerns(core, RunSeen(Run(status=RunStatus(phase="Scheduled"))), now=0.0)
    assert not concerns(core, RunGone("uid"), now=0.0)


@pytest.mark.parametrize("name", ["decision-patch", "report-patch"])
def test_only_writes_to_runs_are_slow(name: str) -> None:
    concerns = STEPS[name].concerns
    assert concerns(object(), RUNS, "name", object(), namespace="default")
    assert not concerns(object(), PODS, "name", object(), namespace="default")

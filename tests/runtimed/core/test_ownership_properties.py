"""Whatever happens in whatever order: crashes, lost and late answers, misjudging reapers, cancel, delete, restarts.

The real core against the small world of `tests.runtimed.world`. The world checks the promises as they could break.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from k8s.api import phases
from runtimed.core.facts import Timer
from tests.runtimed.world import CANCELLED, FAILURE, SUCCESS, PodWorld, World, run_body

INDEX = st.integers(0, 7)
KEEPS = st.sampled_from(["", "artifacts", "artifacts and log"])
STORE = {"driver": "filesystem", "filesystem": {"volumeClaimName": "artifacts"}}


FAULTS = [
    "lost answer",
    "lost request",
    "late request",
    "late request",
    "runtimed crashes",
    "runtimed crashes between two decisions",
    "server restarts",
    "session breaks",
    "reaper takes it",
    "user cancels",
    "user deletes",
    "somebody cancels at the server",
    "disk is full",
    "disk is not full any more",
]


class OwnershipMachine(RuleBasedStateMachine):
    """Steps without a fault outnumber the faults, so that an example comes far enough for a fault to matter."""

    world: World

    @initialize(max_attempts=st.sampled_from([None, 2, 3]), same_name=st.booleans(), has_timeout=st.booleans(), keeps=KEEPS)
    def begin(self, max_attempts: int | None, same_name: bool, has_timeout: bool, keeps: str) -> None:
        pods = {"a": "pod", "b": "pod"} if same_name else {"a": "pod-a", "b": "pod-b"}
        self.world = World(run_body(max_attempts=max_attempts, timeout="1s" if has_timeout else None), pods=pods)
        for pod in self.world.pods.values():
            pod.artifact_store = STORE if keeps else None
            pod.keeps_log = keeps == "artifacts and log"

    def pod(self, index: int) -> PodWorld:
        """Mostly the first, so that things happen to the same one."""
        return list(self.world.pods.values())[index == 0]

    @rule(index=INDEX, picks=st.lists(INDEX, min_size=1, max_size=8))
    def hop(self, index: int, picks: list[int]) -> None:
        """Steps without a fault, any of those that are possible."""
        for pick in picks:
            hops = [hop for hop in self.world.hops(may_end=False) if "bind" not in hop[0]]
            if hops:
                hops[pick % len(hops)][1]()

    @rule(picks=st.lists(INDEX, min_size=4, max_size=12))
    def hop_far(self, picks: list[int]) -> None:
        self.hop(0, picks)

    @rule(index=INDEX)
    def bind(self, index: int) -> None:
        run = self.world.api.run
        if run is not None and run.phase == phases.PENDING:
            self.world.bind(self.pod(index).uid)

    @rule(index=INDEX, exit_=st.sampled_from([SUCCESS, FAILURE, FAILURE]))
    def end(self, index: int, exit_: Any) -> None:
        pod = self.pod(index)
        for attempt in pod.alive:
            pod.end(attempt, exit_)

    @rule(index=INDEX)
    def time_out(self, index: int) -> None:
        if Timer.TIMEOUT in self.pod(index).timers:
            self.pod(index).fire(Timer.TIMEOUT)

    @rule(index=INDEX, fault=st.sampled_from(FAULTS), count=st.integers(0, 3))
    def fault(self, index: int, fault: str, count: int) -> None:
        if "request" in fault or "answer" in fault:
            self._disturb_request(index, fault)
        elif "user" in fault or "reaper" in fault:
            self._change_run(fault)
        else:
            self._disturb_pod(self.pod(index), fault, count)

    def _disturb_request(self, index: int, fault: str) -> None:
        if not self.world.requests:
            return
        request = self.world.requests[index % len(self.world.requests)]
        if fault == "lost answer":
            self.world.answer(request, is_lost=True)
        elif fault == "lost request":
            self.world.lose(request)
        else:
            self.world.delay(request)

    def _change_run(self, fault: str) -> None:
        run = self.world.api.run
        if run is None:
            return
        if fault == "user deletes":
            self.world.delete()
        elif fault == "user cancels" and not run.is_terminal and not run.spec.cancel_requested:
            self.world.cancel()
        elif fault == "reaper takes it" and run.phase in (phases.SCHEDULED, phases.RUNNING):
            self.world.reap()

    def _disturb_pod(self, pod: PodWorld, fault: str, count: int) -> None:
        if fault.startswith("disk"):
            pod.broken_disk = fault == "disk is full"
        elif fault == "server restarts":
            pod.restart_server()
        elif fault == "session breaks" and pod.is_connected:
            pod.break_session()
        elif fault == "somebody cancels at the server":
            for attempt in pod.alive:
                pod.end(attempt, CANCELLED)
        elif fault == "runtimed crashes" and pod.is_up:
            pod.crash()
        elif fault.startswith("runtimed crashes between"):
            pod.crash_after = count

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        for pod in self.world.pods.values():
            pod.broken_disk, pod.crash_after = False, None
        self.world.settle()
        self.world.check_rest()


OwnershipMachine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
test_ownership_holds_whatever_happens = pytest.mark.slow(OwnershipMachine.TestCase)

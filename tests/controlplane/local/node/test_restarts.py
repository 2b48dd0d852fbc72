"""When a container that ended starts again."""

from __future__ import annotations

import pytest

from controlplane.local.node.restarts import Restart, plan_restart


@pytest.mark.parametrize(
    ("policy", "exit_code", "restarts"),
    [("Always", 0, True), ("Always", 1, True), ("OnFailure", 0, False), ("OnFailure", 1, True), ("Never", 0, False), ("Never", 1, False)],
)
def test_the_policy_decides_whether(policy: str, exit_code: int, restarts: bool) -> None:
    assert (plan_restart(failures=0, ran_seconds=1, exit_code=exit_code, policy=policy) is not None) is restarts


def test_the_first_restart_is_immediate_and_the_delay_grows_to_a_limit() -> None:
    delays, failures = [], 0
    for _ in range(10):
        restart = plan_restart(failures=failures, ran_seconds=0.1, exit_code=1, policy="Always")
        assert restart is not None
        delays.append(restart.delay_seconds)
        failures = restart.failures
    assert delays == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_a_long_run_is_a_clean_slate() -> None:
    assert plan_restart(failures=9, ran_seconds=61, exit_code=1, policy="Always") == Restart(delay_seconds=0.0, failures=1)

"""A Run from its bind to its terminal status, through real processes: API server, Bash Runtime Server, runtimed."""

from __future__ import annotations

import pytest

from k8s.api.run import Run
from tests.runtimed.rig import Cluster, Rig

pytestmark = pytest.mark.slow


def condition(run: Run, type_: str) -> tuple[str, str, str]:
    found = next(condition for condition in run.status.conditions if condition.type == type_)
    return found.status, found.reason, found.message


async def test_a_run_succeeds_with_its_outputs_exit_code_and_ledger(cluster: Cluster, rig: Rig) -> None:
    run = await cluster.script('echo "hello $1"; echo oops >&2; echo "total=$((1+2))" >> "$KRUNTIME_OUTPUTS"', mode={"task": {"args": ["you"]}})
    run = await cluster.wait(run)
    assert (run.phase, run.status.message, run.status.outputs) == ("Succeeded", "execution completed", {"total": "3"})
    assert (run.status.exit_code, run.status.attempt) == (0, 1)
    assert condition(run, "Running") == ("False", "Completed", "")
    assert condition(run, "Completed") == ("True", "RunCompleted", "Completed successfully")
    timings = run.status.timings
    assert timings is not None
    steps = [timings.observed, timings.assigned, timings.received, timings.started, timings.first_output, timings.finished, timings.recorded]
    known = [step for step in steps if step is not None]
    assert len(known) == 7
    assert known[:4] == sorted(known[:4])
    await cluster.wait_until(lambda: not rig.left_of(run))
    assert sorted(rig.output_of(run)) == [("stderr", "oops"), ("stdout", "hello you")]

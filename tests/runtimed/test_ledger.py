"""The latency ledger through real processes: who notes what, in order, whatever happens to the Run on its way."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from k8s.api import transitions
from k8s.api.ledger import INSTANTS, instants_of
from k8s.api.phases import Reason
from k8s.api.run import Run
from tests.runtimed.rig import Cluster, Rig

pytestmark = pytest.mark.slow


def ledger_of(run: Run) -> dict[str, datetime]:
    """Its known instants, which must not decrease: all processes here share one clock."""
    instants = instants_of(run.status.timings)
    assert list(instants.values()) == sorted(instants.values()), instants
    return instants


async def test_a_run_that_lasts_shows_its_ledger_so_far(shared: Cluster, shared_rig: Rig) -> None:
    gate = shared_rig.folder / "shows"
    run = await shared.script(f"echo hello; until [ -e {gate} ]; do sleep 0.02; done")
    shown = ledger_of(await shared.wait(run, lambda run: run.phase == "Running"))
    assert {"observed", "assigned", "received", "started"} <= set(shown) <= set(INSTANTS) - {"finished", "recorded"}
    gate.touch()
    whole = ledger_of(await shared.wait(run))
    assert list(whole) == list(INSTANTS)
    assert shown.items() <= whole.items()


async def test_a_silent_run_has_no_first_output(shared: Cluster) -> None:
    assert set(ledger_of(await shared.wait(await shared.script("true")))) == set(INSTANTS) - {"first_output"}


async def test_a_run_that_never_starts_says_so_by_what_is_missing(shared: Cluster) -> None:
    run = await shared.wait(await shared.script("true", env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "no.such.field"}}}]))
    assert condition_reason(run) == Reason.PREPARE_SOURCE
    assert set(ledger_of(run)) == {"observed", "assigned", "received", "recorded"}


async def test_a_retry_in_place_has_a_ledger_of_its_own(shared: Cluster) -> None:
    policy = {"maxAttempts": 2, "backoff": "50ms"}
    run = await shared.script("echo hello; [ -e again ] || { touch again; exit 1; }", retryPolicy=policy)
    between = await shared.wait(run, lambda run: run.attempt_number == 2)
    assert "finished" not in ledger_of(between)
    ended = await shared.wait(run)
    ledger = ledger_of(ended)
    assert list(ledger) == list(INSTANTS)
    # The retry came after the first attempt, which `startTime` still tells of; its back-off lies before its start.
    assert ended.status.start_time is not None
    assert ended.status.start_time < ledger["received"]
    assert (ledger["started"] - ledger["received"]).total_seconds() >= 0.05


async def test_a_re_attached_attempt_keeps_what_was_noted_before(cluster: Cluster, rig: Rig) -> None:
    gate = rig.folder / "gate"
    run = await cluster.script(f"until [ -e {gate} ]; do sleep 0.02; done; echo done")
    before = ledger_of(await cluster.wait(run, lambda run: run.phase == "Running"))
    rig.kill_runtimed()
    rig.start_runtimed()
    await cluster.wait_until(lambda: "re-attached" in rig.log_text())
    gate.touch()
    after = ledger_of(await cluster.wait(run))
    assert before.items() <= after.items()
    # Whether output seen after a re-attach was the first, nobody knows.
    assert set(after) == set(INSTANTS) - {"first_output"}


async def test_a_run_that_was_taken_away_begins_a_new_ledger(cluster: Cluster, rig: Rig) -> None:
    gate = rig.folder / "gate"
    run = await cluster.script(f"until [ -e {gate} ]; do sleep 0.02; done", retryPolicy={"maxAttempts": 2})
    first = await cluster.wait(run, lambda run: run.phase == "Running")
    now = datetime.now(UTC)
    reset = await cluster.write(first, transitions.taken_away(first, reason=Reason.POD_UNHEALTHY, message="not ready", now=now))
    assert instants_of(reset.status.timings) == {}
    gate.touch()
    again = ledger_of(await cluster.wait(await cluster.bind(reset)))
    assert set(again) == set(INSTANTS) - {"first_output"}
    assert min(again.values()) > max(ledger_of(first).values())


def condition_reason(run: Run) -> str:
    return next(condition.reason for condition in run.status.conditions if condition.type == "Completed")

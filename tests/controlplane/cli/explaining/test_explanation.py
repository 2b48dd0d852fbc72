"""What is said of a Run, whatever its form: steps, waits, writes and notes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controlplane.cli.explaining import Explanation, Surroundings, explain
from controlplane.cli.explaining.reasons import MEANINGS
from k8s.api.phases import Reason
from k8s.api.timestamps import parse_timestamp
from tests.controlplane.cli.explaining.lives import Life, at

RETRIES: dict[str, Any] = {"retryPolicy": {"maxAttempts": 3, "backoff": "1s"}}
NO_FAILURE = {Reason.ASSIGNED, Reason.CLAIMED, Reason.RETRYING, Reason.COMPLETED, Reason.RUN_COMPLETED}

LIVES: dict[str, Life] = {
    "fresh": Life(),
    "waiting": Life().told_to_wait(),
    "scheduled": Life().bound(),
    "running": Life().bound().running(),
    "short": Life().bound().succeeded(),
    "silent": Life().bound().succeeded(received=9, started=11, finished=12),
    "long": Life().bound().running().succeeded(),
    "waited": Life().told_to_wait().bound(assigned=4000).succeeded(received=4004, started=4005, finished=4006, recorded=4007),
    "refused": Life().bound().failed(reason=Reason.PREPARE_SOURCE, message="prepare source: no", received=9),
    "backing off": Life(**RETRIES).bound().running().retried(),
    "retried": Life(**RETRIES).bound().running().retried().resumed(received=102, started=1105, now=1130).succeeded(
        received=102, started=1105, finished=1300, recorded=1301
    ),
    "retried at once": Life(**RETRIES).bound().retried().succeeded(received=102, started=1105, finished=1110, recorded=1111),
    "taken away": Life(**RETRIES).bound().running().taken_away(),
    "bound again": Life(**RETRIES).bound().running().taken_away().bound(observed=510, assigned=1506),
    "ended elsewhere": Life(**RETRIES).bound().running().taken_away().bound(observed=510, assigned=1506).succeeded(
        received=1510, started=1512, finished=1520, recorded=1521
    ),
    "lost": Life().bound().running().taken_away(),
    "lost unseen": Life().bound().taken_away(),
    "cancelled early": Life(cancelRequested=True, generation=2).cancelled_before_bind(now=700),
    "cancelled": Life(cancelRequested=True, generation=2).bound().running().failed(
        reason=Reason.CANCELLED, message="cancelled by user", exit_code=143, received=9, started=11, finished=50, recorded=51
    ),
    "old": Life().by_older_writers(),
}  # fmt: skip
for cancelled in ("cancelled early", "cancelled"):
    LIVES[cancelled].writes += 1  # the request


def explained(life: Life, *, now: float = 60_000, around: Surroundings | None = None) -> Explanation:
    return explain(life.body, now=at(now), surroundings=around)


@pytest.mark.parametrize("name", LIVES)
def test_no_more_writes_are_named_than_were_made_and_exact_means_exact(name: str) -> None:
    life, writes = LIVES[name], explained(LIVES[name]).writes
    assert len(writes.parts) == writes.count <= life.writes
    assert not writes.is_exact or writes.count == life.writes


def test_the_writes_of_ordinary_runs_are_known_exactly() -> None:
    exact = {name for name, life in LIVES.items() if explained(life).writes.is_exact}
    assert exact == {"running", "short", "silent", "long", "refused", "lost", "cancelled"}
    assert explained(LIVES["short"]).writes.parts == ["create", "assign", "finish"]
    assert explained(LIVES["cancelled"]).writes.parts == ["create", "cancel request", "assign", "running", "finish"]
    assert explained(LIVES["ended elsewhere"]).writes.parts == ["create", "assign", "next attempt", "assign again", "finish"]


def test_whoever_else_wrote_it_is_counted_and_nothing_is_exact_any_more() -> None:
    entries: list[dict[str, Any]] = [
        {"manager": "krt", "operation": "Update"},
        {"manager": "kruntimes-scheduler", "operation": "Update", "subresource": "status"},
        {"manager": "runtimed", "operation": "Update", "subresource": "status"},
    ]
    assert explained(Life(managed_fields=entries).bound().succeeded()).writes.is_exact
    labelled = [*entries, {"manager": "kubectl-label", "operation": "Update"}]
    writes = explained(Life(managed_fields=labelled).bound().succeeded()).writes
    assert (writes.count, writes.is_exact) == (4, False)
    assert "change by others" in writes.parts
    assert explained(Life(generation=3).bound().succeeded()).writes.count == 5


@pytest.mark.parametrize("name", LIVES)
def test_the_steps_add_up_from_the_creation_to_the_end_or_to_now(name: str) -> None:
    life = LIVES[name]
    told = explained(life)
    assert told.steps[0].name == "created"
    assert (told.steps[-1].name == "now") is not life.run.is_terminal
    stamps = [parse_timestamp(step.at) for step in told.steps]
    assert stamps == sorted(stamps)
    end = life.run.status.completion_time or at(60_000)
    assert told.total_seconds == pytest.approx((end - at(0)).total_seconds())


def test_a_ledger_has_a_step_for_each_instant_and_a_creation_only_a_bound() -> None:
    steps = explained(LIVES["short"]).steps
    assert [step.name for step in steps] == [
        "created", "observed", "assigned", "received", "started", "firstOutput", "finished", "recorded",
    ]  # fmt: skip
    assert [step.name for step in steps if step.is_at_most] == ["observed"]
    assert steps[3].after_seconds == pytest.approx(0.005)


def test_who_ended_a_run_is_told() -> None:
    assert explained(LIVES["lost"]).steps[-1].who == "controllers"
    assert explained(LIVES["cancelled early"]).steps[-1].who == "scheduler"
    assert explained(LIVES["old"]).steps[-1].who == "runtimed"


@pytest.mark.parametrize(
    ("name", "now", "for_what", "seconds", "words"),
    [
        ("fresh", 500, "a Runtime Pod", 0.5, "nobody has told it yet"),
        ("waiting", 5000, "a Runtime Pod", 5.0, "waiting for available runtime pods"),
        ("scheduled", 1004, "its start in the Pod", 1.0, "waits for a slot there"),
        ("backing off", 600, "the back-off of its retry", 0.5, "begins in 500ms"),
        ("taken away", 600, "the back-off of its retry", 0.1, "(PodGone); attempt 2 begins in 900ms"),
        ("taken away", 5000, "a Runtime Pod", 5.0, "nobody has told it yet"),
    ],
)
def test_what_it_waits_for_now(name: str, now: float, for_what: str, seconds: float, words: str) -> None:
    (wait,) = explained(LIVES[name], now=now).waits
    assert (wait.for_what, wait.is_over) == (for_what, False)
    assert wait.seconds == pytest.approx(seconds)
    assert words in wait.why


def test_what_it_waited_for_is_told_from_the_ledger() -> None:
    (waited,) = explained(LIVES["waited"]).waits
    assert (waited.for_what, waited.is_over) == ("a Runtime Pod", True)
    assert waited.seconds == pytest.approx(3.997)
    (held,) = explained(LIVES["retried"]).waits
    assert (held.for_what, held.why.rpartition("; ")[2]) == ("its start in the Pod", "1.00s of it were the back-off of attempt 2")
    (held,) = explained(LIVES["ended elsewhere"]).waits
    assert held.for_what == "a Runtime Pod"
    assert "996ms of it were the back-off of attempt 2" in held.why
    assert explained(LIVES["short"]).waits == explained(LIVES["lost"]).waits == []


def test_required_affinity_is_part_of_the_wish() -> None:
    term = {"labelSelector": {"matchLabels": {"a": "b"}}, "topologyKey": "kruntimes.io/runtime-pod"}
    affinity = {"runAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    (wait,) = explained(Life(affinity=affinity).told_to_wait(), around=Surroundings(has_runtime=True, pods=[])).waits
    assert wait.details == ['Runtime "bash" has no Pods; see: krt runtime get bash']
    (waited,) = explained(Life(affinity=affinity).bound(assigned=3000).succeeded(received=3001)).waits
    assert "satisfies its required Run affinity" in waited.why


def test_a_runtime_that_does_not_exist_is_the_first_thing_to_say() -> None:
    (wait,) = explained(LIVES["waiting"], around=Surroundings(has_runtime=False, pods=[])).waits
    assert wait.details == ['there is no Runtime "bash" in namespace team-a; create it, or name another']


def test_a_pod_that_is_gone_is_said_of_a_run_that_still_counts_on_it() -> None:
    (wait,) = explained(LIVES["scheduled"], around=Surroundings(has_runtime=True, pods=[])).waits
    assert "is not there any more" in wait.details[0]


def test_notes_tell_of_older_writers_and_of_nobody_else() -> None:
    noted = {name for name, life in LIVES.items() if explained(life).notes}
    assert noted == {"old"}
    half = Life().bound()
    half.body["status"] |= {"phase": "Running", "startTime": "2026-08-09T10:00:01Z"}
    assert "an older runtimed has claimed it" in explained(half).notes[0]


def test_every_reason_of_a_failure_has_a_meaning() -> None:
    reasons = {value for key, value in vars(Reason).items() if key.isupper()}
    assert set(MEANINGS) == reasons - NO_FAILURE


def test_machines_get_the_same_in_seconds_and_camel_case() -> None:
    document = msgspec.to_builtins(explained(LIVES["short"]))
    assert document["steps"][1] == {
        "name": "observed",
        "at": "2026-08-09T10:00:01.003000Z",
        "afterSeconds": 0.003,
        "isAtMost": True,
        "who": "scheduler",
        "what": "saw it",
    }
    assert document["writes"] == {"count": 3, "isExact": True, "parts": ["create", "assign", "finish"]}
    assert (document["phase"], document["exitCode"], document["totalSeconds"]) == ("Succeeded", 0, pytest.approx(0.022))
    waiting = msgspec.to_builtins(explained(LIVES["waiting"]))["waits"][0]
    assert (waiting["for"], waiting["isOver"]) == ("a Runtime Pod", False)

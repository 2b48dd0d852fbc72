"""Each checker is shown a history that keeps its promise, and ones that do not: it must tell them apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from k8s.api.names import SCHEDULER_LEASE
from tests.fault.checkers import LEASE_KIND, PROMISES, RUNTIMED_TESTS, check, only_leaders_write
from tests.fault.history import RUN_KIND, History, Made, Start, Write, parse_line

RUNTIMED, SCHEDULER = "runtimed", "krt-scheduler (here_1)"
FENCE = sorted(RUNTIMED_TESTS)
VERSION = ["/metadata/resourceVersion"]


def write(phase: str, *, by: str = RUNTIMED, tests: list[str] | None = None, verb: str = "patch", code: int = 200, **status: Any) -> Write:
    subresource = "status" if verb == "patch" else ""
    return Write(0.0, by, verb, RUN_KIND, subresource, "run", "u", 1, 2, code, phase, FENCE if tests is None else tests, status)


CREATED = write("", by="test", verb="create", tests=[])
BOUND = write("Scheduled", by=SCHEDULER, tests=VERSION, attempt=0)
DONE = write("Succeeded", attempt=1, exitCode=0, outputs={"attempt": "0"})
START = Start("u", (0,), "pod", 7, 1.0)
GOOD = History([CREATED, BOUND, DONE], [START], [START], [Made("u", "run")])


def test_a_good_history_is_accepted() -> None:
    assert check(GOOD) == []


BAD: dict[str, tuple[str, History]] = {
    "it never ended": ("P1", replace(GOOD, writes=[CREATED, BOUND])),
    "the API server does not know it": ("P1", replace(GOOD, writes=[])),
    "an attempt started twice in one Pod": ("P2", replace(GOOD, starts=[START, replace(START, pid=8)])),
    "an attempt started in two Pods": ("P2", replace(GOOD, starts=[START, replace(START, pod_uid="other")])),
    "it started without a marker": ("P2", replace(GOOD, starts=[replace(START, attempts=())])),
    "it started while another attempt was there": ("P2", replace(GOOD, starts=[replace(START, attempts=(0, 2))])),
    "it started again without a policy": ("P3", replace(GOOD, starts=[START, replace(START, attempts=(2,))])),
    "more attempts than the policy allows": ("P3", replace(GOOD, writes=[CREATED, BOUND, write("Failed", attempt=2)])),
    "the attempt went back": ("P3", replace(GOOD, writes=[write("Running", attempt=2), DONE], made=[Made("u", "run", 3)])),
    "Succeeded became Running": ("P4", replace(GOOD, writes=[CREATED, DONE, write("Running"), DONE])),
    "the outputs of an ended Run changed": ("P4", replace(GOOD, writes=[DONE, write("Succeeded", exitCode=0, outputs={"attempt": "2"})])),
    "the exit code of an ended Run changed": ("P4", replace(GOOD, writes=[DONE, write("Succeeded", exitCode=1, outputs={"attempt": "0"})])),
    "the scheduler wrote unconditionally": ("P5", replace(GOOD, writes=[CREATED, write("Scheduled", by=SCHEDULER, tests=[]), DONE])),
    "runtimed did not test the phase": ("P5", replace(GOOD, writes=[CREATED, BOUND, write("Running", tests=FENCE[:-1]), DONE])),
    "a refused write was not fenced": ("P5", replace(GOOD, writes=[*GOOD.writes, write("", tests=[], code=409)])),
    "a stranger wrote": ("P5", replace(GOOD, writes=[CREATED, write("Scheduled", by="curl", tests=VERSION), DONE])),
    "its output is gone": ("P6", replace(GOOD, writes=[CREATED, BOUND, write("Succeeded", exitCode=0)])),
    "its output is another attempt's": ("P6", replace(GOOD, ends=[replace(START, attempts=(2,))])),
}


@pytest.mark.parametrize(("promise", "history"), BAD.values(), ids=BAD.keys())
def test_a_bad_history_is_refused_by_the_right_checker(promise: str, history: History) -> None:
    problems = PROMISES[promise](history)
    assert problems
    assert all(problem.startswith(promise) for problem in problems)


def test_every_promise_is_shown_a_bad_history() -> None:
    assert {promise for promise, _ in BAD.values()} == set(PROMISES)


def lease(holder: str, *, at: float) -> Write:
    return Write(at, "krt-scheduler", "update", LEASE_KIND, "", SCHEDULER_LEASE, "l", 1, 2, 200, "", VERSION, {"holderIdentity": holder})


def bind(pid: int, *, at: float) -> Write:
    return Write(at, f"krt-scheduler (here_{pid})", "patch", RUN_KIND, "status", "run", "u", 1, 2, 200, "Scheduled", VERSION)


def test_a_leader_may_write_while_its_lease_lasts() -> None:
    assert only_leaders_write([lease("krt-scheduler_here_7_ab", at=1.0), bind(7, at=3.9)], lease_seconds=3.0) == []


@pytest.mark.parametrize(
    "late",
    [
        [lease("krt-scheduler_here_7_ab", at=1.0), bind(7, at=6.1)],
        [lease("krt-scheduler_here_7_ab", at=1.0), lease("krt-scheduler_here_8_ab", at=2.0), bind(7, at=4.1)],
        [lease("krt-scheduler_here_7_ab", at=1.0), lease("", at=2.0), bind(7, at=4.1)],
    ],
    ids=["its lease is over", "another holds it", "it gave it back"],
)
def test_a_write_by_nobody_who_leads_is_found(late: list[Write]) -> None:
    assert only_leaders_write(late, lease_seconds=3.0)


def test_a_line_of_the_workload_is_read() -> None:
    line = "start u-1 pod-1 77 1000.250000 u-1@2.marker"
    assert parse_line(line, wall_minus_monotonic=900.0) == ("start", Start("u-1", (2,), "pod-1", 77, 100.25))


def test_a_glob_that_matched_nothing_is_no_marker() -> None:
    _, start = parse_line("start u-1 pod-1 77 1000.0 u-1@*.marker", wall_minus_monotonic=0.0)
    assert start.attempts == ()


def test_writes_count_in_the_order_in_which_they_landed_not_in_that_of_their_answers() -> None:
    created, bound, done = (structs.replace(each, after=after) for each, after in ((CREATED, 10), (BOUND, 11), (DONE, 12)))
    gone = structs.replace(DONE, verb="delete", phase="", after=None)
    told = replace(GOOD, writes=[created, done, bound, gone])
    assert [write.after for write in told.writes_by_run()["u"]] == [10, 11, 12, None]
    assert check(told) == []

"""P1 to P6 of docs/reliability.md as pure functions over a history: each gives what speaks against its promise, in plain words.

An empty list is a verdict only because `test_checkers` shows each of them a history that it must not accept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from k8s.api.names import CONTROLLER_LEASE, SCHEDULER_LEASE
from tests.fault.history import Attempt, History, Write

TERMINAL = frozenset({"Succeeded", "Failed", "Timeout", "Cancelled"})
RUNTIMED_TESTS = frozenset({"/metadata/uid", "/status/assignedPodUID", "/status/attempt", "/status/phase"})
VERSION = "/metadata/resourceVersion"

TESTER = "fault-test"
"""The suite's own hands: they play what is not there."""
LEASE_KIND = "leases.coordination.k8s.io"
LEASES = {"krt-scheduler": SCHEDULER_LEASE, "krt-controller": CONTROLLER_LEASE}
LANDING_SECONDS = 0.5
"""From sending to landing."""

Checker = Callable[[History], list[str]]


def no_run_is_lost(history: History) -> list[str]:
    """P1, asked after everything has come to rest: each Run that was acknowledged is over, or was deleted."""
    writes = history.writes_by_run()
    return [f"P1: {run.name} is {_last_phase(writes.get(run.uid, []))}" for run in history.made if not _is_over(writes.get(run.uid, []))]


def an_attempt_has_one_owner(history: History) -> list[str]:
    """P2: of each (Run, attempt, Pod) user code started at most once; and it never started without its marker."""
    attempts = Counter(Attempt(start.run_uid, number, start.pod_uid) for start in history.starts for number in start.attempts)
    twice = [f"P2: {attempt} started {count} times" for attempt, count in attempts.items() if count > 1]
    unmarked = [f"P2: {start} has {len(start.attempts)} markers" for start in history.starts if len(start.attempts) != 1]
    numbers = Counter((start.run_uid, number) for start in history.starts for number in start.attempts)
    elsewhere = [f"P2: attempt {number} of {uid} started in {count} Pods" for (uid, number), count in numbers.items() if count > 1]
    return twice + unmarked + elsewhere


def duplicates_are_bounded(history: History) -> list[str]:
    """P3: starts <= attempts that the object knows <= what the policy allows; and the number of the attempt never goes back."""
    problems = []
    starts, writes = history.starts_by_run(), history.writes_by_run()
    for run in history.made:
        numbers = [write.attempt for write in writes.get(run.uid, []) if write.is_of_something]
        if numbers != sorted(numbers):
            problems.append(f"P3: the attempt of {run.name} went back: {numbers}")
        known, started = max([1, *numbers]), len(starts.get(run.uid, []))
        if not started <= known <= run.max_attempts:
            problems.append(f"P3: {run.name} started {started} times in {known} attempts of {run.max_attempts}")
    return problems


def terminal_is_final(history: History) -> list[str]:
    """P4: after a terminal phase nothing of the outcome changes."""
    problems = []
    for writes in history.writes_by_run().values():
        final: Write | None = None
        for write in filter(lambda write: write.is_of_something, writes):
            if final is not None and _outcome(write) != _outcome(final):
                problems.append(f"P4: {write.name} was {_outcome(final)} and became {_outcome(write)} by {write.user_agent}")
            if final is None and write.phase in TERMINAL:
                final = write
    return problems


def every_status_write_is_fenced(history: History) -> list[str]:
    """P5: also of those that were refused; by whom it was written decides how it must be fenced."""
    return [
        f"P5: {write.user_agent} wrote the status of {write.name} on {write.preconditions or 'nothing'}"
        for write in history.writes
        if write.is_status_of_run and write.user_agent != TESTER and not _is_fenced(write)
    ]


def acknowledged_output_survives(history: History) -> list[str]:
    """P6: a Run that Succeeded shows the output of the attempt that ended it (every workload of ours writes which one it was)."""
    problems = []
    ends = {(end.run_uid, number) for end in history.ends for number in end.attempts}
    for uid, writes in history.writes_by_run().items():
        last = next((write for write in reversed(writes) if write.is_of_something), writes[-1])
        if last.phase != "Succeeded":
            continue
        told = (last.status or {}).get("outputs", {}).get("attempt", "")
        if not told.isdecimal() or (uid, int(told)) not in ends:
            problems.append(f"P6: {last.name} Succeeded with the output of attempt {told or 'nobody'}")
    return problems


def only_leaders_write(writes: list[Write], *, lease_seconds: float) -> list[str]:
    """P5, for what has several replicas: a status write lands only while its writer holds the Lease, or a moment later.

    The Lease is no fence (that is the resourceVersion), and a write that was under way lands when the API server gets to it; what
    this finds is one that was sent too late.
    """
    problems = []
    held_until: dict[tuple[str, str], float] = {}
    holder_of: dict[str, str] = {}
    for write in writes:
        if write.resource == LEASE_KIND and write.has_landed:
            _hand_over(write, holder_of=holder_of, held_until=held_until, lease_seconds=lease_seconds)
        lease = next((name for program, name in LEASES.items() if write.user_agent.startswith(program)), None)
        if lease not in holder_of or not write.is_status_of_run or not write.has_landed:
            continue
        until = held_until.get((lease, write.user_agent.rpartition("_")[2].rstrip(")")), 0.0)
        if write.monotonic > until + LANDING_SECONDS:
            problems.append(f"P5: {write.user_agent} wrote {write.name} at {write.monotonic:.1f} and led until {until:.1f}")
    return problems


def _hand_over(write: Write, *, holder_of: dict[str, str], held_until: dict[tuple[str, str], float], lease_seconds: float) -> None:
    """Identities are PROGRAM_HOST_PID_RANDOM."""
    identity = str((write.status or {}).get("holderIdentity") or "")
    pid = identity.split("_")[-2] if identity else ""
    before = holder_of.get(write.name, "")
    if before and before != pid:
        held_until[write.name, before] = min(held_until[write.name, before], write.monotonic)
    holder_of[write.name] = pid
    if pid:
        held_until[write.name, pid] = write.monotonic + lease_seconds


PROMISES: dict[str, Checker] = {
    "P1": no_run_is_lost,
    "P2": an_attempt_has_one_owner,
    "P3": duplicates_are_bounded,
    "P4": terminal_is_final,
    "P5": every_status_write_is_fenced,
    "P6": acknowledged_output_survives,
}


def check(history: History) -> list[str]:
    """What speaks against any of them."""
    return [problem for checker in PROMISES.values() for problem in checker(history)]


def _is_fenced(write: Write) -> bool:
    if write.user_agent.startswith("runtimed"):
        return set(write.preconditions) >= RUNTIMED_TESTS
    if write.user_agent.startswith(("krt-scheduler", "krt-controller")):
        return VERSION in write.preconditions
    return False


def _is_over(writes: list[Write]) -> bool:
    return bool(writes) and (writes[-1].phase in TERMINAL or writes[-1].verb.startswith("delete"))


def _last_phase(writes: list[Write]) -> str:
    return (writes[-1].phase or "Pending") if writes else "unknown to the API server"


def _outcome(write: Write) -> tuple[object, ...]:
    status = write.status or {}
    return write.phase, status.get("exitCode"), status.get("outputs"), status.get("artifactRefs")

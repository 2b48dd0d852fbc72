"""What a person reads, to the character."""

from __future__ import annotations

import msgspec
import pytest

from controlplane.cli.ages import exact_duration
from controlplane.cli.explaining import Explanation, Surroundings, explain, render
from k8s.api.phases import Reason
from k8s.api.pod import Pod
from k8s.api.run import Run
from tests.controlplane.cli.explaining.lives import POD, Life, at


@pytest.fixture(autouse=True)
def in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def explained(life: Life, *, now: float = 60_000, around: Surroundings | None = None) -> Explanation:
    return explain(life.body, now=at(now), surroundings=around)


def shown(life: Life, *, now: float = 60_000, around: Surroundings | None = None) -> list[str]:
    return render(explained(life, now=now, around=around)).split("\n")


def pod(name: str, *, uid: str = "", is_ready: bool = True, **heartbeat: str) -> Pod:
    conditions = [{"type": "Ready", "status": "True" if is_ready else "False"}]
    conditions += [{"type": "kruntimes.io/RuntimedReady", **heartbeat}] if heartbeat else []
    body = {"metadata": {"name": name, "uid": uid or name}, "status": {"phase": "Running", "conditions": conditions}}
    return msgspec.convert(body, Pod)


def test_a_short_run() -> None:
    assert shown(Life().bound().succeeded(outputs={"total": "3"})) == [
        "Run:          team-a/sum-1",
        "Runtime:      bash",
        "Phase:        Succeeded",
        "Message:      execution completed",
        "Exit Code:    0",
        "Attempt:      1 of 1",
        "Pod:          runtime-bash-x2x8p",
        "Outputs:      1 (6 bytes)",
        "Took:         at most 22.0ms, 19.0ms of it from observed on",
        "API Writes:   3 (create, assign, finish)",
        "",
        "STEP          AT                AFTER                             WHO AND WHAT",
        "created       10:00:01          -                                 API server: stored the Run; this stamp is a whole second",
        "observed      10:00:01.003000   ≤ 3.00ms                          scheduler: saw it",
        "assigned      10:00:01.004000   1.00ms     ###                    scheduler: sent the bind to Pod runtime-bash-x2x8p",
        "received      10:00:01.009000   5.00ms     ##############         runtimed: saw the bind",
        "started       10:00:01.011000   2.00ms     ######                 Runtime Server: started user code",
        "firstOutput   10:00:01.014000   3.00ms     #########              runtimed: saw its first output",
        "finished      10:00:01.021000   7.00ms     ####################   Runtime Server: saw the process end, exit code 0",
        "recorded      10:00:01.022000   1.00ms     ###                    runtimed: sent Succeeded",
    ]


def test_a_run_that_waited_for_a_pod_and_lasted() -> None:
    life = Life(resources={"requests": {"gpu": 1}}).bound(assigned=2500)
    life.running(received=2504, started=2506, now=2527).failed(
        reason=Reason.TIMEOUT, message="timeout after 4s", exit_code=143, received=2504, started=2506, finished=6510, recorded=6511
    )
    lines = shown(life)
    assert lines[3:5] == ["Reason:       Timeout: spec.timeout was over; each attempt has it anew", "Message:      timeout after 4s"]
    assert lines[9] == "API Writes:   at least 4 (create, assign, running, finish)"
    assert lines[-2:] == [
        "Waited for:",
        "  a Runtime Pod, 2.50s: a ready Pod with room for 1 gpu, 1 runs; its waiting message is gone once it is bound",
    ]


def test_a_run_that_waits_for_a_full_runtime() -> None:
    holder = msgspec.convert({"spec": {"runtime": "bash"}, "status": {"phase": "Running", "assignedPodUID": "p1"}}, Run)
    around = Surroundings(
        has_runtime=True,
        pods=[
            pod("p1", status="True"),
            pod("p2", is_ready=False),
            pod("p3", status="False", message="the Runtime Server is not connected"),
            pod("p4"),
        ],
        runs=[holder, holder],
    )
    lines = shown(Life().told_to_wait(), now=12_345, around=around)
    assert lines[:6] == [
        "Run:          team-a/sum-1",
        "Runtime:      bash",
        "Phase:        Pending",
        'Message:      waiting for available runtime pods for runtime "bash"',
        "Attempt:      - of 1",
        "Pod:          -",
    ]
    assert lines[6:] == [
        "Took:         at most 12.35s",
        "API Writes:   at least 2 (create, waiting message)",
        "",
        "STEP      AT                AFTER      WHO AND WHAT",
        "created   10:00:01          -          API server: stored the Run; this stamp is a whole second",
        "now       10:00:13.345000   ≤ 12.35s   Pending, not bound to a Pod",
        "",
        "Waited for:",
        '  a Runtime Pod, 12.35s so far: waiting for available runtime pods for runtime "bash"',
        "    it needs a ready Pod with room for 1 runs",
        "    p1: ready; 2 of 2 runs taken",
        "    p2: is not ready (Running); 0 of 2 runs taken",
        "    p3: ready, but runtimed says no: the Runtime Server is not connected; 0 of 2 runs taken",
        "    p4: ready, but runtimed has not reported yet; 0 of 2 runs taken",
    ]


def test_a_run_by_older_writers_says_what_is_missing() -> None:
    lines = shown(Life().by_older_writers())
    assert lines[7:] == [
        "API Writes:   at least 3 (create, assign, finish)",
        "",
        "STEP       AT         AFTER                          WHO AND WHAT",
        "created    10:00:01   -                              API server: stored the Run; this stamp is a whole second",
        "assigned   10:00:01   0s                             scheduler: bound it for the first time",
        "claimed    10:00:02   1.00s   ####################   runtimed: claimed it",
        "ended      10:00:03   1.00s   ####################   runtimed: wrote Succeeded",
        "",
        "Note: this Run has no latency ledger: an older scheduler and runtimed wrote it. Its times are those of its conditions, "
        "and may be whole seconds.",
    ]


def test_a_run_that_was_retried_in_place() -> None:
    life = Life(retryPolicy={"maxAttempts": 3, "backoff": "1s"}).bound().running().retried()
    assert shown(life, now=600)[9:] == [
        "STEP       AT                AFTER                             WHO AND WHAT",
        "created    10:00:01          -                                 API server: stored the Run; this stamp is a whole second",
        "observed   10:00:01.003000   ≤ 3.00ms                          scheduler: saw it",
        "assigned   10:00:01.004000   1.00ms                            scheduler: sent the bind to Pod runtime-bash-x2x8p",
        "claimed    10:00:01.032000   28.0ms     #                      runtimed: began the first attempt in this Pod",
        "now        10:00:01.600000   568ms      ####################   Running, not ended",
        "",
        "Waited for:",
        "  the back-off of its retry, 500ms so far: the attempt before failed (RuntimeError); attempt 2 begins in 500ms, 1.00s after it",
    ]
    life.resumed(received=102, started=1105, now=1127).succeeded(received=102, started=1105, finished=1300, recorded=1301)
    lines = shown(life)
    assert lines[5:9] == [
        "Attempt:      2 of 3",
        "Pod:          runtime-bash-x2x8p",
        "Took:         at most 1.30s, 1.30s of it from observed on",
        "API Writes:   at least 4 (create, assign, next attempt, finish)",
    ]
    assert lines[14:16] == [
        "claimed    10:00:01.032000   28.0ms     #                      runtimed: began the first attempt in this Pod",
        "received   10:00:01.102000   70.0ms     #                      runtimed: took up attempt 2",
    ]
    assert lines[-1] == (
        "  its start in the Pod, 1.00s: a slot, its workspace, the process; which of them is not recorded; "
        "1.00s of it were the back-off of attempt 2"
    )


def test_clocks_that_differ_are_said_and_not_hidden() -> None:
    life = Life().bound(observed=30, assigned=31).succeeded(received=24, started=25, finished=26, recorded=27)
    lines = shown(life)
    assert "received   10:00:01.024000   -7.00ms                           runtimed: saw the bind" in lines
    assert lines[-1] == "Note: a step before the one that led to it: the clocks of the machines differ by at least 7.0 ms."


def test_control_characters_of_a_workload_are_shown_and_never_sent() -> None:
    life = Life().bound().failed(reason=Reason.RUNTIME_ERROR, message="runtime stderr: \x1b[31mred", exit_code=1, received=9)
    assert all(line.isprintable() for line in shown(life))


def test_a_waiting_run_is_named_with_its_pod() -> None:
    around = Surroundings(has_runtime=True, pods=[pod(POD, uid="p-1", status="True")])
    assert shown(Life().bound(), now=1004, around=around)[-3:] == [
        "Waited for:",
        f"  its start in the Pod, 1.00s so far: bound to {POD}: it waits for a slot there, is being prepared, or its process starts",
        f"    {POD}: ready; 0 of 2 runs taken",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (0.000085, "85µs"),
        (0.00321, "3.21ms"),
        (0.0417, "41.7ms"),
        (0.417, "417ms"),
        (1.534, "1.53s"),
        (125, "2m5s"),
        (-0.002, "-2.00ms"),
    ],
)
def test_durations_keep_the_precision_that_matters(seconds: float, text: str) -> None:
    assert exact_duration(seconds) == text

"""What a decision costs at size, counted in function calls: the same on every machine, however busy. Times are in `bench/`."""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Callable
from types import FrameType

import pytest

from controlplane.scheduler.core import SchedulerCore
from controlplane.scheduler.invariants import validate
from controlplane.scheduler.model import Bind, CoreSettings, Decision, Event, Listed, PodSeen, RunGone, RunSeen, Settled
from k8s.api import phases
from k8s.api.run import Affinity, Run, RunAffinity, WeightedRunAffinityTerm
from tests.controlplane.scheduler.objects import EPOCH, make_pod, make_run, term
from tests.controlplane.scheduler.scene import after

UNLIMITED = CoreSettings(max_binds_in_flight=1_000_000)
WITH_G = RunAffinity(required=[term(group="g")])
LIKE_G = RunAffinity(preferred=[WeightedRunAffinityTerm(weight=50, run_affinity_term=term(group="g"))])
AFFINITIES = {
    "none": None,
    "required affinity": Affinity(run_affinity=WITH_G),
    "required anti-affinity": Affinity(run_anti_affinity=WITH_G),
    "preferred affinity": Affinity(run_affinity=LIKE_G),
}


def feed(core: SchedulerCore, *events: Event) -> list[Decision]:
    return [decision for event in events for decision in core.handle(event, now=0.5, wall=EPOCH)]


def binds_of(decisions: list[Decision]) -> list[Bind]:
    return [decision for decision in decisions if isinstance(decision, Bind)]


def answered(bind: Bind) -> Settled:
    return Settled(bind.run.uid, run=after(bind), has_landed=True)


def steps(action: Callable[[], object]) -> int:
    """Function calls, Python's and C's, that `action` makes."""
    count = 0

    def notice(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(notice)
    try:
        action()
    finally:
        sys.setprofile(None)
    return count


def make_core(*, pods: int, runtimes: int = 1, slots: int = 64, settings: CoreSettings | None = None) -> SchedulerCore:
    core = SchedulerCore(settings=settings)
    feed(core, *(PodSeen(make_pod(f"p{n:05}", runtime=f"rt{n % runtimes}", capacity={"runs": slots})) for n in range(pods)), Listed())
    return core


def seated(uid: str, *, pod: str, runtime: str = "rt0", **labels: str) -> Run:
    return make_run(uid, runtime=runtime, phase=phases.RUNNING, pod_name=f"pod-{pod}", pod_uid=pod, labels=labels)


@pytest.mark.slow
@pytest.mark.parametrize("affinity", AFFINITIES.values(), ids=AFFINITIES.keys())
def test_a_decision_takes_as_many_steps_at_10000_pods_as_at_1000(affinity: Affinity | None) -> None:
    counts = []
    for pods in (1_000, 10_000):
        core = make_core(pods=pods)
        # Pods are filled unevenly, and ten of them hold a member of the group.
        feed(core, *(RunSeen(seated(f"s{n}", pod=f"p{n % 500:05}")) for n in range(2_000)))
        feed(core, *(RunSeen(seated(f"g{n}", pod=f"p{n * 90:05}", group="g")) for n in range(10)))
        feed(core, RunSeen(make_run("first", runtime="rt0", affinity=affinity)))
        event = RunSeen(make_run("r", runtime="rt0", affinity=affinity))
        decided: list[Decision] = []
        counts.append(steps(lambda core=core, event=event, decided=decided: decided.extend(feed(core, event))))  # type: ignore[misc]
        assert binds_of(decided)
    assert counts[1] <= counts[0] * 1.05
    assert counts[0] < 1_000


@pytest.mark.slow
def test_a_freed_slot_takes_as_many_steps_with_10000_runs_waiting_as_with_100() -> None:
    counts = []
    for pending in (100, 10_000):
        core = make_core(pods=1_000, slots=1)
        feed(core, *(RunSeen(seated(f"s{n}", pod=f"p{n:05}")) for n in range(1_000)))
        feed(core, *(RunSeen(make_run(f"r{n}", runtime="rt0")) for n in range(pending)))
        counts.append(steps(lambda core=core: feed(core, RunGone("s7"))))  # type: ignore[misc]
        assert core.runs["r0"].seat == "p00007"
    assert counts[1] <= counts[0] * 1.05
    assert counts[0] < 300


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["shapes", "groups"])
def test_a_freed_slot_takes_as_many_steps_with_1000_kinds_of_runs_waiting_as_with_10(kind: str) -> None:
    counts = []
    for kinds in (10, 1_000):
        core = SchedulerCore()
        feed(core, *(PodSeen(make_pod(f"p{n:05}", runtime="rt0", capacity={"runs": 1, "memory": 1_000})) for n in range(100)), Listed())
        feed(core, *(RunSeen(seated(f"s{n}", pod=f"p{n:05}")) for n in range(100)))
        feed(core, *(RunSeen(run_of_kind(kind, number=n)) for n in range(kinds)))
        counts.append(steps(lambda core=core: feed(core, RunGone("s7"))))  # type: ignore[misc]
        assert core.runs["r0"].seat == "p00007"
    assert counts[1] <= counts[0] * 1.05
    assert counts[0] < 500


def run_of_kind(kind: str, *, number: int) -> Run:
    """One that no other is interchangeable with: by what it asks for, or as the first of its group."""
    group = {"group": f"g{number}"}
    if kind == "shapes":
        return make_run(f"r{number}", runtime="rt0", requests={"memory": number + 1})
    return make_run(f"r{number}", runtime="rt0", labels=group, affinity=Affinity(run_affinity=RunAffinity(required=[term(**group)])))


@pytest.mark.slow
def test_a_heartbeat_costs_the_same_whoever_waits() -> None:
    counts = []
    for pending in (10, 10_000):
        core = make_core(pods=1_000, slots=1)
        feed(core, *(RunSeen(seated(f"s{n}", pod=f"p{n:05}")) for n in range(1_000)))
        feed(core, *(RunSeen(make_run(f"r{n}", runtime="rt0")) for n in range(pending)))
        beat = PodSeen(make_pod("p00007", runtime="rt0", capacity={"runs": 1}, probe="next"))
        counts.append(steps(lambda core=core, beat=beat: feed(core, beat)))  # type: ignore[misc]
    assert counts[1] == counts[0]
    assert counts[0] < 150


@pytest.mark.slow
def test_50000_finished_runs_leave_nothing_behind() -> None:
    core = make_core(pods=10, slots=2)
    for number in range(50_000):
        [bind] = binds_of(feed(core, RunSeen(make_run(f"r{number}", runtime="rt0"))))
        feed(core, answered(bind), RunGone(bind.run.uid))
    assert (len(core.runs), len(core.in_flight), len(core.turns.queues)) == (0, 0, 1)
    [queue] = core.turns.queues.values()
    assert (len(queue.lanes), len(queue.ready), len(queue.blocked)) == (1, 0, 0)
    assert all(not pod.holders for pod in core.pods)
    [shelf] = queue.shelves
    assert len(shelf) == 10
    assert len(core.pods.freshness) == 10


@pytest.mark.slow
def test_1000_runs_for_one_pod_are_served_in_order_and_its_slots_are_never_given_twice() -> None:
    core = make_core(pods=1, slots=8)
    binds = deque(binds_of(feed(core, *(RunSeen(make_run(f"r{n:04}", runtime="rt0")) for n in range(1_000)))))
    order, running = [], deque[str]()
    while binds:
        bind = binds.popleft()
        order.append(bind.run.uid)
        running.append(bind.run.uid)
        binds += binds_of(feed(core, answered(bind)))
        assert len(running) + len(binds) <= 8
        if not binds:
            binds += binds_of(feed(core, RunGone(running.popleft())))
    assert order == [f"r{n:04}" for n in range(1_000)]


@pytest.mark.slow
def test_1000_runtimes_with_one_slot_each_take_turns() -> None:
    core = make_core(pods=1_000, runtimes=1_000, slots=1)
    events = [RunSeen(make_run(f"r{wave}-{n}", runtime=f"rt{n}")) for wave in range(3) for n in range(1_000)]
    binds = deque(binds_of(feed(core, *events)))
    served: Counter[str] = Counter()
    while binds:
        bind = binds.popleft()
        runtime = bind.run.spec.runtime
        served[runtime] += 1
        assert served[runtime] <= min(served[f"rt{n}"] for n in range(1_000)) + 1, "a runtime was served twice before another once"
        binds += binds_of(feed(core, answered(bind), RunGone(bind.run.uid)))
    assert set(served.values()) == {3}
    validate(core)


def test_a_queue_of_10000_delays_anothers_first_run_by_one_bind() -> None:
    core = make_core(pods=2, runtimes=2, slots=5_000)
    many = binds_of(feed(core, *(RunSeen(make_run(f"r{n}", runtime="rt0")) for n in range(200))))
    assert len(many) == core.settings.max_binds_in_flight
    assert feed(core, RunSeen(make_run("single", runtime="rt1"))) == []
    next_binds = binds_of(feed(core, answered(many[0]), answered(many[1])))
    assert "single" in [bind.run.uid for bind in next_binds]


@pytest.mark.slow
def test_a_big_run_waits_for_the_runs_of_one_pod_however_many_small_ones_come() -> None:
    pods, slots = 100, 4
    core = make_core(pods=pods, slots=slots, settings=UNLIMITED)
    running = deque(bind.run.uid for bind in binds_of(feed(core, *(RunSeen(make_run(f"s{n}", runtime="rt0")) for n in range(400)))))
    feed(core, RunSeen(make_run("big", runtime="rt0", requests={"runs": slots})))
    for end in range(pods * slots):
        small = RunSeen(make_run(f"t{end}", runtime="rt0"))
        bound = [bind.run.uid for bind in binds_of(feed(core, RunGone(running.popleft()), small))]
        if "big" in bound:
            break
        running += bound
        assert sum(slots - pod.used["runs"] for pod in core.pods) <= slots, "more than one Pod is kept free"
    else:
        raise AssertionError("every Run that was there before has ended, and the big one still waits")

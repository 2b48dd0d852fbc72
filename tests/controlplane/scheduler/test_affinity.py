"""Neighbours: who may, must and would rather share a Pod."""

from __future__ import annotations

import pytest

from controlplane.scheduler.affinity import rules_of
from controlplane.scheduler.model import Announce, Bind, Decision, Refuse
from k8s.api import phases
from k8s.api.errors import InvalidRun
from k8s.api.run import Affinity, LabelSelector, LabelSelectorRequirement, Run, RunAffinity, RunAffinityTerm, WeightedRunAffinityTerm
from tests.controlplane.scheduler.objects import make_pod, make_run, term
from tests.controlplane.scheduler.scene import Scene, binds

WITH_DB = Affinity(run_affinity=RunAffinity(required=[term(app="db")]))
WITHOUT_DB = Affinity(run_anti_affinity=RunAffinity(required=[term(app="db")]))


def seated(uid: str, *, pod: str, **labels: str) -> Run:
    return make_run(uid, phase=phases.RUNNING, pod_name=f"pod-{pod}", pod_uid=pod, labels=labels)


def expression(operator: str, *values: str, key: str = "app") -> RunAffinityTerm:
    requirement = LabelSelectorRequirement(key=key, operator=operator, values=list(values))
    return RunAffinityTerm(label_selector=LabelSelector(match_expressions=[requirement]), topology_key="kruntimes.io/runtime-pod")


def test_required_affinity_follows_its_target_though_another_pod_is_emptier() -> None:
    scene = Scene()
    scene.see(make_pod("p"), make_pod("q"), seated("db", pod="q", app="db"))
    assert binds(scene.see(make_run("r", affinity=WITH_DB))) == [("r", "q")]


def test_a_bind_that_is_out_is_a_target_already() -> None:
    scene = Scene()
    scene.see(make_pod("p"), make_pod("q"))
    [(_, pod)] = binds(scene.see(make_run("db", labels={"app": "db"})))
    assert binds(scene.see(make_run("r", affinity=WITH_DB))) == [("r", pod)]


def test_without_a_target_a_run_waits_and_is_told_for_what() -> None:
    scene = Scene()
    scene.see(make_pod("p"), make_run("r", affinity=WITH_DB))
    [decision] = scene.wait(1.5)
    assert isinstance(decision, Announce)
    assert decision.message == 'waiting for available runtime pods satisfying required Run affinity for runtime "bash"'
    assert scene.counts.rejections["RunAffinity/UnsatisfiedRunAffinity"] >= 1


def test_the_first_of_a_group_may_go_anywhere_and_the_others_follow_it() -> None:
    scene = Scene()
    scene.see(make_pod("p", capacity={"runs": 3}), make_pod("q", capacity={"runs": 3}))
    group = [make_run(f"r{number}", affinity=WITH_DB, labels={"app": "db"}) for number in range(3)]
    assert {pod for _, pod in binds(scene.see(*group))} == {"p"}


def test_a_target_of_another_runtime_keeps_the_group_from_beginning_anew() -> None:
    scene = Scene()
    scene.see(make_pod("other", runtime="python"), seated("db", pod="other", app="db"), make_pod("p"))
    assert scene.see(make_run("r", affinity=WITH_DB, labels={"app": "db"})) == []


def test_anti_affinity_avoids_its_target_and_waits_until_it_is_gone() -> None:
    scene = Scene()
    db = seated("db", pod="p", app="db")
    scene.see(make_pod("p"), db, make_run("r", affinity=WITHOUT_DB))
    [decision] = scene.wait(1.5)
    assert isinstance(decision, Announce)
    assert decision.message == 'waiting for available runtime pods satisfying required Run anti-affinity for runtime "bash"'
    scene.answer(decision)
    assert binds(scene.lose(db)) == [("r", "p")]


def test_those_who_do_not_care_are_not_held_up_by_those_who_do() -> None:
    scene = Scene()
    scene.see(make_run("picky", affinity=WITH_DB), make_run("easy", created_seconds=1))
    assert binds(scene.see(make_pod("p"))) == [("easy", "p")]


def test_a_preference_outweighs_load_but_forbids_nothing() -> None:
    liked = WeightedRunAffinityTerm(weight=50, run_affinity_term=term(app="cache"))
    affinity = Affinity(run_affinity=RunAffinity(preferred=[liked]))
    scene = Scene()
    scene.see(*(make_pod(name, capacity={"runs": 4}) for name in "abc"), seated("cache", pod="c", app="cache"))
    scene.see(seated("x", pod="b", app="web"), seated("y", pod="b", app="web"))
    # c: liked 100 + second least loaded 50; a: 0 + 100.
    assert binds(scene.see(make_run("r", affinity=affinity))) == [("r", "c")]


@pytest.mark.parametrize(
    ("wanted", "labels", "matches"),
    [
        (expression("In", "db", "cache"), {"app": "db"}, True),
        (expression("In", "db"), {}, False),
        (expression("NotIn", "db"), {"app": "web"}, True),
        (expression("NotIn", "db"), {}, True),
        (expression("NotIn", "db"), {"app": "db"}, False),
        (expression("Exists"), {"app": ""}, True),
        (expression("Exists"), {}, False),
        (expression("DoesNotExist"), {}, True),
        (expression("DoesNotExist"), {"app": "db"}, False),
    ],
)
def test_selectors_match_as_in_kubernetes(wanted: RunAffinityTerm, labels: dict[str, str], matches: bool) -> None:
    rules = rules_of(make_run("r", affinity=Affinity(run_affinity=RunAffinity(required=[wanted]))))
    assert rules is not None
    assert rules.wanted[0].selector.matches(labels) is matches


BROKEN = {
    "matchExpressions[0].operator: is none of In, NotIn, Exists, DoesNotExist": expression("Near", "db"),
    "matchExpressions[0].values: In needs values": expression("In"),
    "matchExpressions[0].values: Exists takes no values": expression("Exists", "db"),
    "matchExpressions[0].key: is no label key": expression("Exists", key="a b"),
    "matchExpressions[0].values: holds what is no label value": expression("NotIn", "db", "-"),
    "matchLabels[app]: holds what is no label value": term(app="x" * 64),
}


@pytest.mark.parametrize(("complaint", "broken"), BROKEN.items(), ids=BROKEN.keys())
def test_a_selector_that_means_nothing_fails_the_run_naming_the_field(complaint: str, broken: RunAffinityTerm) -> None:
    scene = Scene()
    [decision] = scene.see(make_run("r", affinity=Affinity(run_anti_affinity=RunAffinity(required=[broken]))))
    assert isinstance(decision, Refuse)
    name = "spec.affinity.runAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector"
    assert decision.message.startswith(f"pod selection failed: {name}.{complaint}")
    assert scene.counts.unselectable == {"bash": 1}


def test_a_preferred_selector_that_means_nothing_is_named_too() -> None:
    weighted = WeightedRunAffinityTerm(weight=1, run_affinity_term=expression("Near"))
    with pytest.raises(
        InvalidRun, match=r"^spec\.affinity\.runAffinity\.preferred.*\[0\]\.runAffinityTerm\.labelSelector\.match.*operator"
    ):
        rules_of(make_run("r", affinity=Affinity(run_affinity=RunAffinity(preferred=[weighted]))))


def test_a_relabelled_neighbour_is_noticed() -> None:
    scene = Scene()
    scene.see(make_pod("p"), seated("x", pod="p"), make_run("r", affinity=WITH_DB))
    decisions = scene.see(seated("x", pod="p", app="db"))
    assert [type(decision) for decision in decisions] == [Bind]


@pytest.mark.parametrize("affinity", [WITH_DB, WITHOUT_DB], ids=["wanted", "unwanted"])
def test_a_neighbour_of_another_runtime_wakes_those_who_wait_for_it_to_come_or_go(affinity: Affinity) -> None:
    scene = Scene()
    scene.see(make_pod("p"), make_pod("q", runtime="python"))
    db = make_run("db", runtime="python", labels={"app": "db"}, phase=phases.RUNNING, pod_name="pod-p", pod_uid="p")
    if affinity is WITHOUT_DB:
        scene.see(db)
    assert scene.see(make_run("r", affinity=affinity)) == []
    decisions = scene.lose(db) if affinity is WITHOUT_DB else scene.see(db)
    assert binds(decisions) == [("r", "p")]


def test_the_last_of_a_group_that_goes_lets_the_next_begin_anew() -> None:
    scene = Scene()
    member = make_run("m", runtime="python", labels={"app": "db"}, phase=phases.RUNNING, pod_name="pod-q", pod_uid="q")
    scene.see(make_pod("p"), make_pod("q", runtime="python"), member)
    assert scene.see(make_run("r", labels={"app": "db"}, affinity=WITH_DB)) == []
    assert binds(scene.lose(member)) == [("r", "p")]


def test_a_group_whose_pod_is_gone_does_not_begin_anew_until_its_run_is_taken_away() -> None:
    scene = Scene()
    member = seated("m", pod="gone", app="db")
    scene.see(make_pod("p"), member)
    assert scene.see(make_run("r", labels={"app": "db"}, affinity=WITH_DB)) == []
    taken_away = make_run("m", labels={"app": "db"}, attempt=2, rv=2, runtime="nobody-serves-this")
    assert binds(scene.see(taken_away)) == [("r", "p")]


def test_a_namespace_is_a_world_of_its_own() -> None:
    scene = Scene()
    scene.see(make_pod("p"), make_pod("q", namespace="team-b"))
    scene.see(make_run("db", labels={"app": "db"}, namespace="team-b", phase=phases.RUNNING, pod_name="pod-q", pod_uid="q"))
    assert scene.see(make_run("r", affinity=WITH_DB)) == []
    assert binds(scene.see(make_run("s", affinity=WITHOUT_DB))) == [("s", "p")]


def test_a_run_that_waits_for_something_else_now_is_told_that_too_but_nothing_twice() -> None:
    scene = Scene()
    db = seated("db", pod="p", app="db")
    told: list[str] = []

    def listen(decisions: list[Decision]) -> None:
        for decision in decisions:
            if isinstance(decision, Announce):
                told.append(decision.message)
                scene.answer(decision)

    scene.see(make_pod("p"), db, make_run("r", affinity=WITHOUT_DB))
    listen(scene.wait(1.5))
    for _ in range(5):
        scene.see(make_pod("p", ready="False"))
        listen(scene.wait(40.0))
        scene.see(make_pod("p", probe=str(scene.now)))
        listen(scene.wait(10.0))
    avoiding = 'waiting for available runtime pods satisfying required Run anti-affinity for runtime "bash"'
    assert told == [avoiding, 'waiting for available runtime pods for runtime "bash"']


def test_a_big_run_that_cares_about_its_neighbours_is_not_starved_either() -> None:
    scene = Scene()
    scene.see(make_pod("p", capacity={"runs": 2}), make_pod("q", capacity={"runs": 2}))
    scene.see(seated("db", pod="p", app="db"), *(seated(f"s{number}", pod="q") for number in range(2)), seated("t", pod="p"))
    scene.see(
        make_run("big", requests={"runs": 2}, affinity=WITHOUT_DB), *(make_run(f"y{number}", created_seconds=1) for number in range(3))
    )
    assert binds(scene.lose(seated("s0", pod="q"))) == [], "that half is kept for the big one"
    assert binds(scene.lose(seated("t", pod="p"))) == [("y0", "p")]
    assert binds(scene.lose(seated("s1", pod="q"))) == [("big", "q")]


def test_a_claim_ends_when_the_pod_gets_a_neighbour_that_its_claimant_avoids() -> None:
    scene = Scene()
    scene.see(make_pod("p", capacity={"runs": 3}), make_pod("other", runtime="python"))
    scene.see(seated("s0", pod="p"), seated("s1", pod="p"))
    scene.see(make_run("big", requests={"runs": 3}, affinity=WITHOUT_DB), make_run("young", created_seconds=1, requests={"runs": 2}))
    assert binds(scene.lose(seated("s0", pod="p"))) == [], "kept for the big one"
    # Bound by another scheduler, say.
    scene.see(
        make_run("db", runtime="python", labels={"app": "db"}, requests={"gpu": 1}, phase=phases.RUNNING, pod_name="pod-p", pod_uid="p")
    )
    assert binds(scene.lose(seated("s1", pod="p"))) == [("young", "p")]


def test_many_groups_come_and_go_and_leave_nothing_behind() -> None:
    scene = Scene()
    scene.see(make_pod("p", capacity={"runs": 2}))
    for number in range(100):
        group = {"group": str(number)}
        affinity = Affinity(run_affinity=RunAffinity(required=[term(**group)]))
        [bind] = scene.see(make_run(f"r{number}", labels=group, affinity=affinity))
        scene.answer(bind)
        scene.lose(bind.run)
    [queue] = scene.core.turns.queues.values()
    assert len(queue.lanes) <= 9
    [(_, neighbourhood)] = scene.core.neighbourhoods.items()
    assert len(list(neighbourhood)) <= 9
    scene.lose(make_pod("p"))
    assert (list(scene.core.turns.queues), list(scene.core.neighbourhoods.items())) == ([], [])

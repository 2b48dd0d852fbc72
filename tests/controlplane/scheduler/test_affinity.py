"""Neighbours: who may, must and would rather share a Pod."""

from __future__ import annotations

import pytest

from controlplane.scheduler.affinity import liking_scores, load_scores, rules_of
from controlplane.scheduler.model import Announce, Bind, Holder, Refuse, RuntimePod
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
    assert rules.wanted[0].matches(labels) is matches


@pytest.mark.parametrize("broken", [expression("Near", "db"), expression("In"), expression("Exists", "db")])
def test_a_selector_that_means_nothing_fails_the_run_naming_the_field(broken: RunAffinityTerm) -> None:
    affinity = Affinity(run_anti_affinity=RunAffinity(required=[broken]))
    with pytest.raises(InvalidRun, match=r"spec\.affinity\.runAntiAffinity\.required.*\[0\]\.labelSelector\.matchExpressions\[0\]"):
        rules_of(make_run("r", affinity=affinity))
    assert [type(decision) for decision in Scene().see(make_run("r", affinity=affinity))] == [Refuse]


def test_load_scores_rank_by_the_fullest_resource_then_by_the_sum_and_equals_share() -> None:
    pods = [runtime_pod("a", used=3), runtime_pod("b", used=0), runtime_pod("c", used=3), runtime_pod("d", used=1)]
    assert load_scores(pods, shape=(("runs", 1),)) == {"b": 100, "d": 66, "a": 33, "c": 33}
    assert load_scores(pods[:1], shape=(("runs", 1),)) == {"a": 100}


def test_liking_scores_are_shares_of_the_best_and_nothing_when_nobody_is_liked() -> None:
    preferred = [WeightedRunAffinityTerm(weight=30, run_affinity_term=term(app="db"))]
    avoided = [WeightedRunAffinityTerm(weight=60, run_affinity_term=term(app="web"))]
    rules = rules_of(
        make_run("r", affinity=Affinity(run_affinity=RunAffinity(preferred=preferred), run_anti_affinity=RunAffinity(preferred=avoided)))
    )
    assert rules is not None
    both, web = runtime_pod("both", used=0), runtime_pod("web", used=0)
    both.holders["x"] = Holder((), {"app": "db"})
    web.holders["y"] = Holder((), {"app": "web"})
    assert liking_scores([both, web, runtime_pod("empty", used=0)], rules=rules) == {"both": 100, "web": 0, "empty": 66}
    assert liking_scores([web], rules=rules) == {"web": 0}


def test_a_relabelled_neighbour_is_noticed() -> None:
    scene = Scene()
    scene.see(make_pod("p"), seated("x", pod="p"), make_run("r", affinity=WITH_DB))
    decisions = scene.see(seated("x", pod="p", app="db"))
    assert [type(decision) for decision in decisions] == [Bind]


def runtime_pod(uid: str, *, used: int) -> RuntimePod:
    pod = RuntimePod(uid, uid, ("team-a", "bash"), {"runs": 4}, is_ready=True, probe=None, seen_at=0.0)
    for number in range(used):
        pod.take(f"{uid}{number}", holder=Holder((("runs", 1),), {}))
    return pod

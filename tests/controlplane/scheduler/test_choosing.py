"""The Pod that is chosen is the one that the contract's own arithmetic names, and few Pods are looked at to find it."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controlplane.scheduler.model import Listed
from k8s.api import phases
from k8s.api.pod import Pod
from k8s.api.run import Affinity, LabelSelector, LabelSelectorRequirement, Run, RunAffinity, RunAffinityTerm, WeightedRunAffinityTerm
from tests.controlplane.scheduler.contract import contract_choice
from tests.controlplane.scheduler.objects import make_pod, make_run, term
from tests.controlplane.scheduler.scene import Scene, binds

CAPACITIES = [{"runs": 2}, {"runs": 4}, {"runs": 6, "gpu": 2}, {"runs": 3, "gpu": 3}, {"runs": 4, "memory": 2**40 + 1}]
REQUESTS: list[dict[str, str | int]] = [{}, {}, {"runs": 2}, {"gpu": 1}, {"memory": 2**39}, {"memory": 3}]
LABELS: list[dict[str, str]] = [{}, {"app": "db"}, {"app": "web"}, {"app": "db", "tier": "a"}, {"tier": "b"}]
TERMS = [
    term(app="db"),
    term(app="web"),
    term(app="db", tier="a"),
    *(
        RunAffinityTerm(label_selector=LabelSelector(match_expressions=[expression]), topology_key="kruntimes.io/runtime-pod")
        for expression in (
            LabelSelectorRequirement(key="app", operator="In", values=["db", "web"]),
            LabelSelectorRequirement(key="tier", operator="Exists"),
            LabelSelectorRequirement(key="app", operator="NotIn", values=["db"]),
        )
    ),
]


def affinities() -> st.SearchStrategy[RunAffinity | None]:
    weighted = st.builds(WeightedRunAffinityTerm, weight=st.sampled_from([1, 30, 100]), run_affinity_term=st.sampled_from(TERMS))
    some = st.builds(RunAffinity, required=st.lists(st.sampled_from(TERMS), max_size=2), preferred=st.lists(weighted, max_size=3))
    return st.none() | some


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Pod], list[Run], Run]:
    pods = [
        make_pod(f"p{number}", name=draw(st.sampled_from([f"a{number}", f"z{number}"])), capacity=draw(st.sampled_from(CAPACITIES)))
        for number in range(draw(st.integers(1, 14)))
    ]
    active = [
        make_run(
            f"s{number}",
            phase=draw(st.sampled_from([phases.SCHEDULED, phases.RUNNING, phases.READY])),
            pod_name=pod.metadata.name,
            pod_uid=pod.uid,
            requests=draw(st.sampled_from(REQUESTS)),
            labels=draw(st.sampled_from(LABELS)),
        )
        for number, pod in enumerate(draw(st.lists(st.sampled_from(pods), max_size=draw(st.sampled_from([2, 5, 20])))))
    ]
    affinity = Affinity(run_affinity=draw(affinities()), run_anti_affinity=draw(affinities()))
    run = make_run("r", requests=draw(st.sampled_from(REQUESTS)), labels=draw(st.sampled_from(LABELS)), affinity=affinity)
    return pods, active, run


@pytest.mark.slow
@settings(max_examples=600, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(world=worlds())
def test_the_pod_is_the_one_that_the_contracts_own_arithmetic_names(world: tuple[list[Pod], list[Run], Run]) -> None:
    pods, active, run = world
    scene = Scene()
    scene.see(*pods, *active)
    chosen = contract_choice(run, pods=pods, active=active)
    assert binds(scene.see(run)) == ([("r", chosen)] if chosen is not None else [])


@pytest.mark.slow
@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(world=worlds(), order=st.randoms(use_true_random=False))
def test_it_is_the_same_whatever_the_order_of_the_news(world: tuple[list[Pod], list[Run], Run], order: Random) -> None:
    pods, active, run = world
    news: list[Pod | Run] = [*pods, *active, run]
    order.shuffle(news)
    scene = Scene(is_listed=False)
    scene.see(*news)
    chosen = contract_choice(run, pods=pods, active=active)
    assert binds(scene.step(Listed())) == ([("r", chosen)] if chosen is not None else [])


def test_ratios_that_floats_cannot_tell_apart_are_told_apart() -> None:
    big = 2**60
    scene = Scene()
    scene.see(make_pod("a", capacity={"runs": 9, "memory": big}), make_pod("b", capacity={"runs": 9, "memory": big}))
    scene.see(holder("a", memory=big - 1), holder("b", memory=big - 2))
    assert binds(scene.see(make_run("r"))) == [("r", "b")]


def test_ratios_that_floats_tell_apart_though_they_are_equal_are_equal() -> None:
    # 2/2 + 1/3 + 3/3 and 2/2 + 2/3 + 2/3 are both 7/3; summed up as floats, the first is larger.
    capacity = {"runs": 2, "x": 3, "y": 3}
    scene = Scene()
    scene.see(make_pod("a", capacity=capacity), make_pod("b", capacity=capacity))
    scene.see(holder("a", x=1, y=3), holder("b", x=2, y=2))
    assert binds(scene.see(make_run("r"))) == [("r", "a")]


def holder(pod: str, **requests: int) -> Run:
    return make_run(f"s{pod}", phase=phases.RUNNING, pod_name=f"pod-{pod}", pod_uid=pod, requests=requests)


def test_a_capacity_that_is_new_in_the_queue_is_compared_with_the_others() -> None:
    scene = Scene()
    scene.see(make_pod("thirds", capacity={"runs": 3}), make_pod("halves", capacity={"runs": 2}))
    scene.see(make_pod("fifths", capacity={"runs": 5}), make_pod("sevenths", capacity={"runs": 7}))
    order = [binds(scene.see(make_run(f"r{number}")))[0][1] for number in range(17)]
    # 1/7, 1/5, 2/7, 1/3, 2/5, 3/7, then 1/2 against 4/7, ...
    assert order[:8] == ["sevenths", "fifths", "sevenths", "thirds", "fifths", "sevenths", "halves", "sevenths"]
    assert sorted(order) == ["fifths"] * 5 + ["halves"] * 2 + ["sevenths"] * 7 + ["thirds"] * 3

"""Which Pods a Run wants to share, or not to share, with which other Runs. Pure; Pods are told by the labels of Runs they hold.

A term's targets are the Pods that hold an active Run (one that is being bound counts) whose labels match. Required affinity: the
Pod must be a target; while there is no target in the whole namespace, a Run that matches its own term may go anywhere, or the
first of a group would wait for ever. Required anti-affinity: the Pod must be none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from controlplane.scheduler.model import RuntimePod, Shape
from controlplane.scheduler.policy import load_with
from k8s.api.errors import InvalidRun
from k8s.api.run import LabelSelector, Run, RunAffinity, RunAffinityTerm

PLUGIN = "RunAffinity"
UNSATISFIED = "UnsatisfiedRunAffinity"
UNSATISFIED_ANTI = "UnsatisfiedRunAntiAffinity"
_BEST = 100
_OPERATORS = {"In": True, "NotIn": True, "Exists": False, "DoesNotExist": False}
"""Operator -> whether it takes values."""


@dataclass(frozen=True, slots=True)
class Selector:
    """A label selector, checked: requirements of (key, operator, values), all of which must hold."""

    requirements: tuple[tuple[str, str, frozenset[str]], ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(_holds(labels.get(key), operator, values) for key, operator, values in self.requirements)


@dataclass(frozen=True, slots=True)
class AffinityRules:
    """What a Run asks about its neighbours. Equal rules and equal labels are interchangeable: a lane of their own."""

    wanted: tuple[Selector, ...]
    unwanted: tuple[Selector, ...]
    preferred: tuple[tuple[int, Selector, bool], ...]
    """(weight, selector, whether it would rather be among the targets)."""
    labels: tuple[tuple[str, str], ...]
    """The Run's own."""

    def rejection(self, pod: RuntimePod, *, neighbours: Callable[[], Iterable[RuntimePod]]) -> str | None:
        """Why the Pod will not do; None when it will. `neighbours` are all Pods of the namespace."""
        for selector in self.wanted:
            if not holds_match(pod, selector) and not self._may_begin(selector, neighbours()):
                return UNSATISFIED
        return UNSATISFIED_ANTI if any(holds_match(pod, selector) for selector in self.unwanted) else None

    def liking(self, pod: RuntimePod) -> int:
        """Sum of the weights of the preferred terms that the Pod meets."""
        return sum(weight for weight, selector, is_wanted in self.preferred if holds_match(pod, selector) is is_wanted)

    def _may_begin(self, selector: Selector, neighbours: Iterable[RuntimePod]) -> bool:
        return selector.matches(dict(self.labels)) and not any(holds_match(pod, selector) for pod in neighbours)


def holds_match(pod: RuntimePod, selector: Selector) -> bool:
    """Whether the Pod is a target of the term."""
    return any(selector.matches(holder.labels) for holder in pod.holders.values())


def rules_of(run: Run) -> AffinityRules | None:
    """None for a Run that does not care. Raises InvalidRun naming the term."""
    affinity = run.spec.affinity
    if affinity is None:
        return None
    wanted, liked = _terms(affinity.run_affinity, field="spec.affinity.runAffinity", is_wanted=True)
    unwanted, disliked = _terms(affinity.run_anti_affinity, field="spec.affinity.runAntiAffinity", is_wanted=False)
    if not (wanted or unwanted or liked or disliked):
        return None
    return AffinityRules(wanted, unwanted, (*liked, *disliked), tuple(sorted(run.metadata.labels.items())))


def best_of(pods: list[RuntimePod], *, shape: Shape, rules: AffinityRules) -> RuntimePod | None:
    """The highest sum of both scores, each 0 to 100; by name among equals."""
    if not pods:
        return None
    liked, loaded = liking_scores(pods, rules=rules), load_scores(pods, shape=shape)
    return min(pods, key=lambda pod: (-(liked[pod.uid] + loaded[pod.uid]), pod.name))


def liking_scores(pods: list[RuntimePod], *, rules: AffinityRules) -> dict[str, int]:
    """By UID: the share of the best Pod's liking."""
    likings = {pod.uid: rules.liking(pod) for pod in pods}
    highest = max(likings.values(), default=0)
    return {uid: liking * _BEST // highest if highest else 0 for uid, liking in likings.items()}


def load_scores(pods: list[RuntimePod], *, shape: Shape) -> dict[str, int]:
    """By UID: 100 for the least loaded, by rank below; equally loaded Pods share the rank of the first of them."""
    loads = {pod.uid: load_with(pod, shape=shape) for pod in pods}
    ranked = sorted(pods, key=lambda pod: loads[pod.uid])
    scores: dict[str, int] = {}
    first = 0
    for index, pod in enumerate(ranked):
        if loads[pod.uid] != loads[ranked[first].uid]:
            first = index
        scores[pod.uid] = (len(ranked) - 1 - first) * _BEST // (len(ranked) - 1) if len(ranked) > 1 else _BEST
    return scores


Terms = tuple[tuple[Selector, ...], tuple[tuple[int, Selector, bool], ...]]


def _terms(affinity: RunAffinity | None, *, field: str, is_wanted: bool) -> Terms:
    if affinity is None:
        return (), ()
    name = f"{field}.requiredDuringSchedulingIgnoredDuringExecution"
    required = tuple(_selector_of(term, field=f"{name}[{index}]") for index, term in enumerate(affinity.required))
    name = f"{field}.preferredDuringSchedulingIgnoredDuringExecution"
    preferred = tuple(
        (weighted.weight, _selector_of(weighted.run_affinity_term, field=f"{name}[{index}].runAffinityTerm"), is_wanted)
        for index, weighted in enumerate(affinity.preferred)
    )
    return required, preferred


def _selector_of(term: RunAffinityTerm, *, field: str) -> Selector:
    selector: LabelSelector = term.label_selector
    requirements = [(key, "In", frozenset({value})) for key, value in sorted(selector.match_labels.items())]
    for index, expression in enumerate(selector.match_expressions):
        name = f"{field}.labelSelector.matchExpressions[{index}]"
        if expression.operator not in _OPERATORS:
            raise InvalidRun(field=f"{name}.operator", message=f"is none of {', '.join(_OPERATORS)}")
        if _OPERATORS[expression.operator] is not bool(expression.values):
            demand = "needs values" if _OPERATORS[expression.operator] else "takes no values"
            raise InvalidRun(field=f"{name}.values", message=f"{expression.operator} {demand}")
        requirements.append((expression.key, expression.operator, frozenset(expression.values)))
    return Selector(tuple(requirements))


def _holds(value: str | None, operator: str, values: frozenset[str]) -> bool:
    if operator == "In":
        return value in values
    if operator == "NotIn":
        return value not in values
    return (value is not None) is (operator == "Exists")

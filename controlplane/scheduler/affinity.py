"""What a Run asks about its neighbours, and whether a Pod meets it. Who sits where is `neighbourhood`.

A term's targets are the Pods that hold an active Run (one that is being bound counts) whose labels match. Required affinity: the
Pod must be a target; while there is no target in the whole namespace, a Run that matches its own term may go anywhere, or the
first of a group would wait for ever. Required anti-affinity: the Pod must be none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from controlplane.scheduler.model import RuntimePod
from controlplane.scheduler.neighbourhood import Targets
from controlplane.scheduler.policy import UNSATISFIED, UNSATISFIED_ANTI
from controlplane.scheduler.selectors import Selector, selector_of
from k8s.api.run import Run, RunAffinity


class Wanted(NamedTuple):
    """A required affinity term."""

    selector: Selector
    may_begin: bool
    """The Run matches it itself: the first of its group."""


class Preferred(NamedTuple):
    weight: int
    selector: Selector
    is_wanted: bool
    """Whether it would rather be among the targets, or away from them."""


@dataclass(frozen=True, slots=True)
class AffinityRules:
    """All terms of a Run. Runs of equal rules are interchangeable to the affinity check."""

    wanted: tuple[Wanted, ...]
    unwanted: tuple[Selector, ...]
    preferred: tuple[Preferred, ...]

    @property
    def selectors(self) -> list[Selector]:
        return [*(term.selector for term in self.wanted), *self.unwanted, *(term.selector for term in self.preferred)]


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """A Run's rules beside the targets of their terms."""

    wanted: tuple[tuple[Targets, bool], ...]
    """(targets, whether a Run may begin where there are none)."""
    unwanted: tuple[Targets, ...]
    preferred: tuple[tuple[int, Targets, bool], ...]

    @classmethod
    def of(cls, rules: AffinityRules, *, targets: Mapping[Selector, Targets]) -> Neighbours:
        return cls(
            tuple((targets[term.selector], term.may_begin) for term in rules.wanted),
            tuple(targets[selector] for selector in rules.unwanted),
            tuple((term.weight, targets[term.selector], term.is_wanted) for term in rules.preferred),
        )

    @property
    def targets(self) -> list[Targets]:
        return [*(term[0] for term in self.wanted), *self.unwanted, *(term[1] for term in self.preferred)]

    @property
    def binding(self) -> list[Targets]:
        """What the Pod must be a target of."""
        return [targets for targets, may_begin in self.wanted if targets.counts or not may_begin]

    def rejection(self, pod: RuntimePod) -> str | None:
        """Why the Pod will not do; None when it will."""
        for targets, may_begin in self.wanted:
            if pod not in targets and not (may_begin and not targets.counts):
                return UNSATISFIED
        return UNSATISFIED_ANTI if any(pod in targets for targets in self.unwanted) else None

    def is_helped_by(self, changed: Targets, *, has_grown: bool) -> bool:
        """Whether a Pod that would not do may do now that `changed` has gained or lost one."""
        if has_grown:
            return any(targets is changed for targets, _ in self.wanted)
        may_begin_now = any(targets is changed and may_begin and not targets.counts for targets, may_begin in self.wanted)
        return may_begin_now or any(targets is changed for targets in self.unwanted)

    def liking(self, pod: RuntimePod | None) -> int:
        """Sum of the weights of the preferred terms that the Pod meets; of a stranger without one."""
        return sum(weight for weight, targets, is_wanted in self.preferred if (pod is not None and pod in targets) is is_wanted)


def rules_of(run: Run) -> AffinityRules | None:
    """None for a Run that does not care. Raises InvalidRun naming the term."""
    affinity = run.spec.affinity
    if affinity is None:
        return None
    wanted, liked = _terms(affinity.run_affinity, field="spec.affinity.runAffinity", is_wanted=True)
    unwanted, disliked = _terms(affinity.run_anti_affinity, field="spec.affinity.runAntiAffinity", is_wanted=False)
    if not (wanted or unwanted or liked or disliked):
        return None
    labels = run.metadata.labels
    return AffinityRules(tuple(Wanted(selector, selector.matches(labels)) for selector in wanted), unwanted, (*liked, *disliked))


def _terms(affinity: RunAffinity | None, *, field: str, is_wanted: bool) -> tuple[tuple[Selector, ...], tuple[Preferred, ...]]:
    if affinity is None:
        return (), ()
    name = f"{field}.requiredDuringSchedulingIgnoredDuringExecution"
    required = tuple(
        selector_of(term.label_selector, field=f"{name}[{index}].labelSelector") for index, term in enumerate(affinity.required)
    )
    term = "runAffinityTerm.labelSelector"
    name = f"{field}.preferredDuringSchedulingIgnoredDuringExecution"
    preferred = tuple(
        Preferred(weighted.weight, selector_of(weighted.run_affinity_term.label_selector, field=f"{name}[{index}].{term}"), is_wanted)
        for index, weighted in enumerate(affinity.preferred)
    )
    return required, preferred

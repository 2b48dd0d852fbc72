"""The filters and scores of the contract as it states them: all Pods, one after the other, in exact fractions. Slow and obvious."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

from controlplane.scheduler.affinity import rules_of
from controlplane.scheduler.policy import request_of
from controlplane.scheduler.selectors import Selector
from k8s.api.pod import Pod
from k8s.api.run import Run


def contract_choice(run: Run, *, pods: Sequence[Pod], active: Sequence[Run]) -> str | None:
    """UID of the Pod that the Run gets. All Pods are ready and of one Runtime."""
    feasible = [pod for pod in pods if _fits(run, pod, active) and _satisfies(run, pod, active)]
    if not feasible:
        return None
    liked, loaded = _liking_scores(run, feasible, active), _load_scores(run, feasible, active)
    return min(feasible, key=lambda pod: (-(liked[pod.uid] + loaded[pod.uid]), pod.metadata.name)).uid


def _used(pod: Pod, active: Sequence[Run]) -> Counter[str]:
    used: Counter[str] = Counter()
    for run in active:
        if run.status.assigned_pod_uid == pod.uid:
            used.update(dict(request_of(run)))
    return used


def _fits(run: Run, pod: Pod, active: Sequence[Run]) -> bool:
    used = _used(pod, active)
    return all(used[name] + count <= pod.capacity.get(name, 0) for name, count in request_of(run))


def _targets(selector: Selector, active: Sequence[Run]) -> set[str]:
    return {run.status.assigned_pod_uid for run in active if selector.matches(run.metadata.labels)}


def _satisfies(run: Run, pod: Pod, active: Sequence[Run]) -> bool:
    rules = rules_of(run)
    if rules is None:
        return True
    for term in rules.wanted:
        targets = _targets(term.selector, active)
        begins = not targets and term.selector.matches(run.metadata.labels)
        if pod.uid not in targets and not begins:
            return False
    return all(pod.uid not in _targets(selector, active) for selector in rules.unwanted)


def _liking_scores(run: Run, feasible: Sequence[Pod], active: Sequence[Run]) -> dict[str, int]:
    rules = rules_of(run)
    raw = {
        pod.uid: sum(
            term.weight
            for term in (rules.preferred if rules is not None else ())
            if (pod.uid in _targets(term.selector, active)) is term.is_wanted
        )
        for pod in feasible
    }
    highest = max(raw.values())
    return {uid: value * 100 // highest if highest else 0 for uid, value in raw.items()}


def _load_scores(run: Run, feasible: Sequence[Pod], active: Sequence[Run]) -> dict[str, int]:
    loads = {}
    for pod in feasible:
        used, asked = _used(pod, active), dict(request_of(run))
        ratios = [Fraction(used[name] + asked.get(name, 0), capacity) for name, capacity in pod.capacity.items()]
        loads[pod.uid] = (max(ratios), sum(ratios))
    if len(loads) == 1:
        return dict.fromkeys(loads, 100)
    return {uid: (len(loads) - 1 - sum(other < load for other in loads.values())) * 100 // (len(loads) - 1) for uid, load in loads.items()}

"""What a Run waited for, or waits for now, and why as far as anybody can tell."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct, field

from controlplane.cli.ages import exact_duration
from controlplane.cli.explaining.surroundings import Surroundings, request_of
from controlplane.cli.explaining.timeline import is_retried_in_place
from k8s.api import conditions, phases
from k8s.api.ledger import stage_seconds
from k8s.api.meta import Condition
from k8s.api.retry import backoff
from k8s.api.run import Run

WORTH_TELLING_SECONDS: Final = 0.020
"""Less than that is the path itself, not a wait."""
POD: Final = "a Runtime Pod"
BACK_OFF: Final = "the back-off of its retry"
START: Final = "its start in the Pod"


class Wait(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """`seconds` so far, for one that is not over."""

    for_what: str = field(name="for")
    seconds: float
    is_over: bool
    why: str
    details: list[str] = field(default_factory=list)


def waits_of(run: Run, *, now: datetime, surroundings: Surroundings | None = None) -> list[Wait]:
    """In order of time. Those that are over are told from the ledger; the one that goes on, from the phase."""
    return [*_past(run), *_present(run, now=now, around=surroundings or Surroundings())]


# -- over -------------------------------------------------------------------------------------------------------------


def _past(run: Run) -> Iterator[Wait]:
    seconds = stage_seconds(run.status.timings) if run.status.timings else {}
    scheduling, starting = seconds.get("schedule", 0.0), seconds.get("start", 0.0)
    if scheduling >= WORTH_TELLING_SECONDS:
        held = "" if is_retried_in_place(run) else _of_which_backoff(run, scheduling)
        yield Wait(
            for_what=POD, seconds=scheduling, is_over=True, why=f"{_wish_of(run)}{held}; its waiting message is gone once it is bound"
        )
    if starting >= WORTH_TELLING_SECONDS:
        held = _of_which_backoff(run, starting) if is_retried_in_place(run) else ""
        yield Wait(
            for_what=START, seconds=starting, is_over=True, why=f"a slot, its workspace, the process; which of them is not recorded{held}"
        )


def _of_which_backoff(run: Run, seconds: float) -> str:
    if run.attempt_number < 2:
        return ""
    length = min(backoff(run.spec.retry_policy, attempt=run.attempt_number).total_seconds(), seconds)
    return f"; {exact_duration(length)} of it were the back-off of attempt {run.attempt_number}"


def _wish_of(run: Run) -> str:
    """What the scheduler had to find."""
    request = request_of(run)
    wish = "a ready Pod with room for " + ", ".join(f"{count} {name}" for name, count in sorted(request.items()))
    required = run.spec.affinity is not None and any(
        affinity is not None and affinity.required for affinity in (run.spec.affinity.run_affinity, run.spec.affinity.run_anti_affinity)
    )
    return wish + (" that satisfies its required Run affinity" if required else "")


# -- not over ---------------------------------------------------------------------------------------------------------


def _present(run: Run, *, now: datetime, around: Surroundings) -> Iterator[Wait]:
    if run.phase == phases.PENDING:
        yield _for_backoff_at_the_scheduler(run, now=now) or _for_a_pod(run, now=now, around=around)
    elif run.phase == phases.SCHEDULED:
        yield _for_a_start(run, now=now, around=around)
    elif run.phase == phases.RUNNING and (stopped := _stopped(run)) is not None:
        yield _for_backoff(run, stopped, now=now)


def _for_a_pod(run: Run, *, now: datetime, around: Surroundings) -> Wait:
    since = run.metadata.creation_timestamp or now
    if run.metadata.deletion_timestamp is not None:
        why = "it is being deleted, and will not be bound"
    elif run.spec.cancel_requested:
        why = "its cancellation is requested; the scheduler has not written it yet"
    elif not run.status.message:
        why = "nobody has told it yet: the scheduler does so after a second. If it stays like this, the scheduler does not run"
    else:
        why = run.status.message
    return Wait(for_what=POD, seconds=_since(since, now=now), is_over=False, why=why, details=_about_pods(run, around))


def _about_pods(run: Run, around: Surroundings) -> list[str]:
    if around.has_runtime is False:
        return [f'there is no Runtime "{run.spec.runtime}" in namespace {run.metadata.namespace}; create it, or name another']
    if around.pods is None:
        return []
    if not around.pods:
        return [f'Runtime "{run.spec.runtime}" has no Pods; see: krt runtime get {run.spec.runtime}']
    return [f"it needs {_wish_of(run)}", *around.describe_pods()]


def _for_backoff_at_the_scheduler(run: Run, *, now: datetime) -> Wait | None:
    """Only a lost Pod leads back to Pending with a higher attempt."""
    stopped = _stopped(run)
    if run.attempt_number < 2 or stopped is None:
        return None
    wait = _for_backoff(run, stopped, now=now)
    return wait if wait.seconds < backoff(run.spec.retry_policy, attempt=run.attempt_number).total_seconds() else None


def _for_backoff(run: Run, stopped: Condition, *, now: datetime) -> Wait:
    length = backoff(run.spec.retry_policy, attempt=run.attempt_number)
    since = stopped.last_transition_time or now
    left = exact_duration(max(since + length - now, timedelta()).total_seconds())
    whole = exact_duration(length.total_seconds())
    why = f"the attempt before failed ({stopped.reason}); attempt {run.attempt_number} begins in {left}, {whole} after it"
    return Wait(for_what=BACK_OFF, seconds=_since(since, now=now), is_over=False, why=why)


def _stopped(run: Run) -> Condition | None:
    """The condition Running, when it says that no attempt executes."""
    return next((item for item in run.status.conditions if item.type == conditions.RUNNING and item.status == "False"), None)


def _for_a_start(run: Run, *, now: datetime, around: Surroundings) -> Wait:
    """runtimed says nothing before user code has run for a moment."""
    timings = run.status.timings
    bound = next((item.last_transition_time for item in run.status.conditions if item.type == conditions.SCHEDULED), None)
    since = (timings.assigned if timings else None) or bound or now
    pod = around.describe_pod(run.status.assigned_pod)
    if pod is None and around.pods is not None:
        pod = f"Pod {run.status.assigned_pod} is not there any more; the controllers will take the Run away from it"
    why = f"bound to {run.status.assigned_pod}: it waits for a slot there, is being prepared, or its process starts"
    return Wait(for_what=START, seconds=_since(since, now=now), is_over=False, why=why, details=[pod] if pod else [])


def _since(instant: datetime, *, now: datetime) -> float:
    return max(0.0, (now - instant).total_seconds())

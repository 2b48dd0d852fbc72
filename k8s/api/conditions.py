"""Keeping a list of conditions: one of each type, and a transition time that moves only when the status does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from k8s.api.meta import Condition
from k8s.api.timestamps import format_timestamp

SCHEDULED = "Scheduled"
"""True/Assigned once bound; never False afterwards."""
RUNNING = "Running"
"""True while an attempt executes (Claimed, Retrying); False with the reason it ended or is interrupted."""
COMPLETED = "Completed"
"""True/RunCompleted on success; False with the failure's reason; absent until terminal."""


def set_condition(
    conditions: Sequence[Condition],
    *,
    type: str,  # noqa: A002 - the field's own name
    status: str,
    reason: str,
    message: str,
    now: datetime,
) -> list[Condition]:
    """`conditions` with that one replaced in place, or added at the end. An unchanged status keeps its transition time."""
    old = next((condition for condition in conditions if condition.type == type), None)
    kept = old.last_transition_time if old is not None and old.status == status else None
    new = Condition(type=type, status=status, reason=reason, message=message, last_transition_time=kept or now)
    if old is None:
        return [*conditions, new]
    return [new if condition.type == type else condition for condition in conditions]


def conditions_to_json(conditions: Sequence[Condition]) -> list[dict[str, Any]]:
    """As they go on the wire: microsecond times, `message` and `reason` always present."""
    return [_to_json(condition) for condition in conditions]


def _to_json(condition: Condition) -> dict[str, Any]:
    fields: dict[str, Any] = {"type": condition.type, "status": condition.status, "reason": condition.reason, "message": condition.message}
    if condition.last_transition_time is not None:
        fields["lastTransitionTime"] = format_timestamp(condition.last_transition_time)
    if condition.observed_generation is not None:
        fields["observedGeneration"] = condition.observed_generation
    return fields

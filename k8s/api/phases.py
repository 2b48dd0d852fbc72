"""The phases of a Run and the reasons of its conditions. All of them are API: their spelling never changes."""

from __future__ import annotations

PENDING = "Pending"
SCHEDULED = "Scheduled"
RUNNING = "Running"
READY = "Ready"
SUCCEEDED = "Succeeded"
FAILED = "Failed"
TIMEOUT = "Timeout"
CANCELLED = "Cancelled"

ALL_PHASES = (PENDING, SCHEDULED, RUNNING, READY, SUCCEEDED, FAILED, TIMEOUT, CANCELLED)
ACTIVE_PHASES = frozenset({SCHEDULED, RUNNING, READY})
"""A Run in one of these takes capacity of its Pod."""
TERMINAL_PHASES = frozenset({SUCCEEDED, FAILED, TIMEOUT, CANCELLED})
"""Final: nothing changes phase, exit code, outputs or artifacts afterwards."""


def _selecting_none_of(*phases: str) -> str:
    """A field selector knows "and" and "not", and no "or"."""
    return ",".join(f"status.phase!={phase}" for phase in phases)


NOT_TERMINAL_SELECTOR = _selecting_none_of(SUCCEEDED, FAILED, TIMEOUT, CANCELLED)
"""Runs that are not over."""
NOT_PENDING_SELECTOR = _selecting_none_of("", PENDING)
"""Runs that a Pod holds, and those that are over. The empty phase is that of a Run nobody has looked at yet."""
TERMINAL_SELECTOR = _selecting_none_of("", PENDING, SCHEDULED, RUNNING, READY)
"""Runs that are over."""


class Reason:
    """Reasons of the conditions Scheduled, Running and Completed."""

    ASSIGNED = "Assigned"
    CLAIMED = "Claimed"
    RETRYING = "Retrying"
    COMPLETED = "Completed"
    RUN_COMPLETED = "RunCompleted"

    TIMEOUT = "Timeout"
    PREPARE_SOURCE = "PrepareSource"
    RUNTIME_EXECUTE = "RuntimeExecute"
    RUNTIME_ERROR = "RuntimeError"
    EXECUTION_LOST = "ExecutionLost"
    CANCELLED = "Cancelled"
    POD_GONE = "PodGone"
    POD_TERMINATING = "PodTerminating"
    POD_UNHEALTHY = "PodUnhealthy"
    OUTPUTS_INVALID = "OutputsInvalid"
    OUTPUTS_TOO_LARGE = "OutputsTooLarge"
    ARTIFACT_INVALID = "ArtifactInvalid"
    INVALID_RESOURCES = "InvalidResources"


NEVER_RETRIED = frozenset(
    {Reason.CANCELLED, Reason.OUTPUTS_INVALID, Reason.OUTPUTS_TOO_LARGE, Reason.ARTIFACT_INVALID, Reason.INVALID_RESOURCES}
)
"""Whatever the policy says."""

"""What `krt run --wait` and `krt wait` exit with: the Run's own exit code, or the code that says why there is none. Pure."""

from __future__ import annotations

from k8s.api import phases
from k8s.api.phases import Reason
from k8s.api.run import Run

SUCCESS = 0
WORKLOAD_FAILED = 1
"""The process ended well, but what it left behind is invalid."""
TIMED_OUT = 124
PLATFORM_FAILED = 125
CANNOT_EXECUTE = 126
CANCELLED = 130
"""As if interrupted: the same whether the process had begun, and whatever signal ended it."""

_BY_REASON = {
    Reason.OUTPUTS_INVALID: WORKLOAD_FAILED,
    Reason.OUTPUTS_TOO_LARGE: WORKLOAD_FAILED,
    Reason.ARTIFACT_INVALID: WORKLOAD_FAILED,
    Reason.PREPARE_SOURCE: CANNOT_EXECUTE,
    Reason.INVALID_RESOURCES: CANNOT_EXECUTE,
    Reason.RUNTIME_EXECUTE: PLATFORM_FAILED,
    Reason.EXECUTION_LOST: PLATFORM_FAILED,
    Reason.POD_GONE: PLATFORM_FAILED,
    Reason.POD_TERMINATING: PLATFORM_FAILED,
    Reason.POD_UNHEALTHY: PLATFORM_FAILED,
    Reason.TIMEOUT: TIMED_OUT,
}


def failure_reason(run: Run) -> str:
    """The reason of a Run that did not succeed; empty when nobody wrote one."""
    for wanted in ("Completed", "Running"):
        for condition in run.status.conditions:
            if condition.type == wanted and condition.status == "False" and condition.reason != Reason.COMPLETED:
                return condition.reason
    return ""


def exit_code_of_run(run: Run) -> int:
    """Of a terminal Run. 126 and 127 of a shell that cannot execute a command come as its own exit code."""
    if run.phase == phases.SUCCEEDED:
        return SUCCESS
    if run.phase == phases.TIMEOUT:
        return TIMED_OUT
    if run.phase == phases.CANCELLED:
        return CANCELLED
    reason = failure_reason(run)
    if reason in _BY_REASON:
        return _BY_REASON[reason]
    if own := _own_exit_code(run.status.exit_code):
        return own
    # RuntimeError without a process: the server refused to start it (nothing to run, bad entrypoint). With one that ended well: what
    # it left did not get into the artifact store.
    is_refused = reason == Reason.RUNTIME_ERROR and run.status.exit_code is None
    return CANNOT_EXECUTE if is_refused else PLATFORM_FAILED


def _own_exit_code(code: int | None) -> int:
    """0 when no process failed. Older servers report a signal as a negative number."""
    if not code:
        return 0
    code = 128 - code if code < 0 else code
    return code if code <= 255 else WORKLOAD_FAILED

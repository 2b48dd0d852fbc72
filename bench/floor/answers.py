"""What each of the two processes waits for, and the one status write with which it answers. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from k8s.api import phases

POD = "floor-pod"


class Answer(NamedTuple):
    """A role of the null implementation."""

    field_selector: str
    """Of the watch: whatever comes into this selection is answered, once."""
    status: Callable[[float], dict[str, Any]]
    """Unix seconds at which the Run was seen -> the status keys to write."""


ROLES = {
    # A fresh Run has no status, so its phase is the empty text.
    "scheduler": Answer("status.phase=", lambda seen: {"phase": phases.SCHEDULED, "assignedPod": POD, "assignedPodUID": POD, "attempt": 0}),
    "runtimed": Answer(
        f"status.assignedPod={POD},status.phase={phases.SCHEDULED}",
        lambda seen: {"phase": phases.SUCCEEDED, "outputs": {"start": f"{seen:.6f}"}},
    ),
}

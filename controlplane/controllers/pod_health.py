"""Whether a Pod still does its work, as an observer may say it: pure, on the observer's monotonic clock alone.

A clock starts when *we saw* something change, never from a time that another machine wrote. And an outage of the API server, in
which nobody could write a heartbeat, is no proof of anything: a Pod is given up only after two answered reads, some time apart,
showed it unchanged (`is_confirmed`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from k8s.api.phases import Reason
from k8s.api.pod import Pod
from k8s.api.run import Run

DEFAULT_GRACE_SECONDS = 30.0


class Verdict(NamedTuple):
    """Why a Run is taken away from its Pod."""

    reason: str
    message: str


GONE = Verdict(Reason.POD_GONE, "assigned pod was deleted")
REPLACED = Verdict(Reason.POD_GONE, "assigned pod was replaced")
TERMINATING = Verdict(Reason.POD_TERMINATING, "assigned pod is terminating")
NOT_READY = Verdict(Reason.POD_UNHEALTHY, "assigned pod is not ready")
SILENT = Verdict(Reason.POD_UNHEALTHY, "assigned pod runtimed heartbeat is stale")


@dataclass(slots=True)
class PodHealth:
    """What we saw of one Pod, and since when."""

    uid: str
    threshold_seconds: float
    alive_at: float
    """When its heartbeat was last seen to change and to be True; our first sight of it counts as such."""
    probe: str | None = None
    unready_at: float | None = None
    terminating_at: float | None = None
    grace_seconds: float = DEFAULT_GRACE_SECONDS
    has_ended: bool = False
    suspected_at: float | None = None
    """When a read was first answered that showed it in trouble; None when it is not, or no read was answered."""

    def see(self, pod: Pod, *, now: float) -> None:
        """The Pod as it is now, from the watch or from a read."""
        heartbeat = pod.heartbeat
        probe = heartbeat.last_probe_time if heartbeat is not None and heartbeat.status == "True" else None
        if probe is not None and probe != self.probe:
            self.alive_at, self.probe = now, probe
            self.suspected_at = None if self.unready_at is None else self.suspected_at
        ready = pod.condition("Ready")
        is_unready = ready is not None and ready.status != "True"
        self.unready_at = (self.unready_at if self.unready_at is not None else now) if is_unready else None
        self.has_ended = pod.status.phase in ("Succeeded", "Failed")
        if pod.metadata.deletion_timestamp is not None and self.terminating_at is None:
            self.terminating_at = now
            grace = pod.metadata.deletion_grace_period_seconds
            self.grace_seconds = float(grace) if grace is not None else DEFAULT_GRACE_SECONDS

    def trouble(self) -> tuple[float, Verdict]:
        """What it would be given up for, and when."""
        if self.has_ended:
            return float("-inf"), NOT_READY
        if self.terminating_at is not None:
            # It drains: its Runs have the grace period to finish in, and its heartbeat says False by then.
            return self.terminating_at + self.grace_seconds + self.threshold_seconds, TERMINATING
        silent = self.alive_at + self.threshold_seconds, SILENT
        if self.unready_at is None:
            return silent
        return min((self.unready_at + self.threshold_seconds, NOT_READY), silent, key=lambda trouble: trouble[0])

    @property
    def probation_seconds(self) -> float:
        """Between the two reads: two heartbeats where the threshold allows it."""
        return min(10.0, self.threshold_seconds / 3)

    def seconds_until_read(self, *, now: float) -> float:
        """When the Pod is to be read next; 0 or less means now."""
        due_at, _ = self.trouble()
        first_read_at = due_at - self.probation_seconds
        if self.suspected_at is None:
            return first_read_at - now
        return max(due_at, self.suspected_at + self.probation_seconds) - now

    def was_read(self, *, now: float) -> Verdict | None:
        """A read was answered and has been `see`n. The verdict when it confirms what an earlier one showed."""
        due_at, verdict = self.trouble()
        if self.has_ended:
            return verdict
        if now < due_at - self.probation_seconds:
            self.suspected_at = None
            return None
        if self.suspected_at is None:
            self.suspected_at = now
        is_confirmed = now - self.suspected_at >= self.probation_seconds
        return verdict if is_confirmed and now >= due_at else None

    def was_not_answered(self) -> None:
        """Nothing could be read, so nobody could write a heartbeat either: begin again."""
        self.suspected_at = None


def is_replaced(run: Run, pod: Pod) -> bool:
    """The Pod has the right name and is another. An older writer may have noted no UID."""
    return bool(run.status.assigned_pod_uid) and run.status.assigned_pod_uid != pod.uid

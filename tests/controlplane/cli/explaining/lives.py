"""Runs at every point of their lives, made by the same transitions that the scheduler, runtimed and the reaper write."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from k8s.api import transitions
from k8s.api.ledger import joined
from k8s.api.phases import Reason
from k8s.api.run import Run, Timings
from k8s.api.transitions import StatusChange

START = datetime(2026, 8, 9, 10, 0, 1, tzinfo=UTC)
POD = "runtime-bash-x2x8p"


def at(milliseconds: float) -> datetime:
    return START + timedelta(milliseconds=milliseconds)


class Life:
    """One Run as the API server holds it; each verb is one write."""

    def __init__(self, *, generation: int = 1, managed_fields: list[dict[str, Any]] | None = None, **spec: Any) -> None:
        self.body: dict[str, Any] = {
            "apiVersion": "kruntimes.io/v1alpha1",
            "kind": "Run",
            "metadata": {
                "name": "sum-1",
                "namespace": "team-a",
                "uid": "u-1",
                "generation": generation,
                "creationTimestamp": "2026-08-09T10:00:01Z",
                **({"managedFields": managed_fields} if managed_fields else {}),
            },
            "spec": {"runtime": "bash", "mode": {"task": {}}, **spec},
        }
        self.writes = 1

    @property
    def run(self) -> Run:
        return msgspec.convert(self.body, Run)

    def write(self, change: StatusChange) -> Life:
        status = {**self.body.get("status", {}), **change}
        self.body["status"] = {key: value for key, value in status.items() if value is not None}
        self.writes += 1
        return self

    def told_to_wait(self) -> Life:
        return self.write(transitions.waiting(self.run, message='waiting for available runtime pods for runtime "bash"'))

    def bound(self, *, observed: float = 3, assigned: float = 4) -> Life:
        return self.write(transitions.bind(self.run, pod_name=POD, pod_uid="p-1", observed=at(observed), now=at(assigned)))

    def _ledger(self, recorded: float | None = None, **instants: float) -> Timings:
        here = Timings(**{name: at(instant) for name, instant in instants.items()})
        return joined(self.run.status.timings, here, recorded=at(recorded) if recorded is not None else None)

    def running(self, *, received: float = 9, started: float = 11, now: float = 32) -> Life:
        return self.write(transitions.running(self.run, timings=self._ledger(received=received, started=started), now=at(now)))

    def retried(self, *, now: float = 100) -> Life:
        return self.write(transitions.retry_in_place(self.run, reason=Reason.RUNTIME_ERROR, message="runtime stderr: boom", now=at(now)))

    def resumed(self, *, received: float, started: float, now: float) -> Life:
        return self.write(transitions.resumed(self.run, timings=self._ledger(received=received, started=started), now=at(now)))

    def taken_away(self, *, now: float = 500) -> Life:
        return self.write(transitions.taken_away(self.run, reason=Reason.POD_GONE, message="assigned pod was deleted", now=at(now)))

    def succeeded(self, *, recorded: float = 22, outputs: dict[str, str] | None = None, **instants: float) -> Life:
        instants = instants or {"received": 9, "started": 11, "first_output": 14, "finished": 21}
        ledger = self._ledger(recorded, **instants)
        return self.write(transitions.succeeded(self.run, outputs=outputs or {}, exit_code=0, timings=ledger, now=at(recorded)))

    def failed(self, *, reason: str, message: str, exit_code: int | None = None, recorded: float = 22, **instants: float) -> Life:
        ledger = self._ledger(recorded, **instants)
        return self.write(
            transitions.failed(self.run, reason=reason, message=message, exit_code=exit_code, timings=ledger, now=at(recorded))
        )

    def cancelled_before_bind(self, *, now: float) -> Life:
        return self.write(transitions.cancelled_before_bind(self.run, now=at(now)))

    def by_older_writers(self) -> Life:
        """Whole seconds, no ledger, an explicit claim: as the Go implementation leaves a Run."""
        self.bound(observed=0, assigned=0).running(now=1000).succeeded(recorded=2000)
        status = self.body["status"]
        del status["timings"], status["exitCode"]
        return self

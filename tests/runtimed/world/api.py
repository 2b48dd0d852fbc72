"""The API server of the small world: one Run, and every version of it that there was. And the Run itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import jsonpatch
import msgspec

from k8s.api.names import ARTIFACT_CLEANUP_FINALIZER, ARTIFACTS_LABEL
from k8s.api.run import ArtifactLocation, ArtifactRef, FilesystemLocation, Run
from k8s.client.patches import Patch, fenced_finalizer, fenced_status
from runtimed.core import Exit, ExitReason, WriteKind, events
from runtimed.core.decisions import SendStatus

UID = "run-1"
EPOCH = datetime(2026, 8, 9, 10, tzinfo=UTC)

SUCCESS = Exit(ExitReason.EXITED)
FAILURE = Exit(ExitReason.EXITED, exit_code=1, stderr_tail="boom")
CANCELLED = Exit(ExitReason.CANCELLED, exit_code=143, signal=15)


class PromiseBroken(AssertionError):
    """What the system promises to its users does not hold."""


def to_run(body: dict[str, Any]) -> Run:
    return msgspec.convert(body, Run)


def run_body(*, max_attempts: int | None = None, timeout: str | None = None, reasons: list[str] | None = None) -> dict[str, Any]:
    spec: dict[str, Any] = {"runtime": "bash", "mode": {"task": {"args": ["true"]}}}
    if max_attempts is not None:
        spec["retryPolicy"] = {"maxAttempts": max_attempts, "backoff": "1s", "retryableReasons": reasons or []}
    if timeout is not None:
        spec["timeout"] = timeout
    return {"metadata": {"uid": UID, "name": "sum-1", "namespace": "team-a", "resourceVersion": "1"}, "spec": spec}


def artifact_ref(name: str = "report.txt") -> ArtifactRef:
    location = ArtifactLocation(filesystem=FilesystemLocation(path=f"namespaces/team-a/runs/{UID}/{name}", volume_claim_name="artifacts"))
    return ArtifactRef(name=name, driver="filesystem", type="file", location=location, size_bytes=3, created_at=EPOCH)


class Api:
    """Every version of the one Run, in order; None once deleted."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.history: list[dict[str, Any] | None] = [body]
        self.invalid_keys: set[str] = set()
        """Status keys that the schema refuses, for whoever writes them."""
        self.retries_written = 0

    @property
    def body(self) -> dict[str, Any] | None:
        return self.history[-1]

    @property
    def run(self) -> Run | None:
        return to_run(self.body) if self.body is not None else None

    def put(self, body: dict[str, Any] | None) -> None:
        old, new = self.run, to_run(body) if body is not None else None
        if old is not None and new is not None:
            if old.is_terminal and body is not None and self.body is not None and body["status"] != self.body["status"]:
                raise PromiseBroken(f"terminal {old.phase} became {new.phase}")
            if new.attempt_number < old.attempt_number:
                raise PromiseBroken("the attempt went back")
            # max(1, 0) = 1 at the end of the first attempt opens nothing
            self.retries_written += new.attempt_number > max(1, old.attempt_number)
        if body is not None:
            body = {**body, "metadata": {**body["metadata"], "resourceVersion": str(len(self.history) + 1)}}
        self.history.append(body)

    def change(self, change: dict[str, Any]) -> None:
        """A write of scheduler, reaper or controllers: under resourceVersion, so on what there is now."""
        assert self.body is not None
        status = {**self.body.get("status", {}), **change}
        self.put({**self.body, "status": {key: value for key, value in status.items() if value is not None}})

    def change_spec(self, **fields: Any) -> None:
        assert self.body is not None
        self.put({**self.body, "spec": {**self.body["spec"], **fields}})

    def patch(self, decision: SendStatus, change: dict[str, Any]) -> events.Event | Run:
        """The real fence, on the real bytes."""
        if self.body is None:
            return events.WriteRefused()
        operations = msgspec.json.decode(_patch_of(decision, change).body)
        # A test of an absent key against null holds on an API server, and not in this library.
        body = {
            **self.body,
            "metadata": {"finalizers": None, "labels": None, **self.body["metadata"]},
            "status": dict(self.body.get("status", {})),
        }
        try:
            new = jsonpatch.apply_patch(body, operations)
        except (jsonpatch.JsonPatchTestFailed, jsonpatch.JsonPatchConflict):
            return events.WriteRefused(is_invalid=True)
        bad = self.invalid_keys & {key for key, value in change.items() if value is not None}
        if bad:
            return events.WriteRefused(is_invalid=True, field=f"status.{min(bad)}", detail="Too many: 65: must have at most 64 items")
        self.put({**new, "metadata": {key: value for key, value in new["metadata"].items() if value is not None}})
        answer = self.run
        assert answer is not None
        return answer


def _patch_of(decision: SendStatus, change: dict[str, Any]) -> Patch:
    run = decision.run
    if decision.kind is WriteKind.FINALIZER:
        return fenced_finalizer(ARTIFACT_CLEANUP_FINALIZER, label=ARTIFACTS_LABEL, run=run, expected_phase=run.phase)
    return fenced_status(change, run=run, expected_phase=run.phase)

"""Plain Kubernetes Jobs, for comparison where a node runs them: create -> Complete, by the same client with one watch.

The program is the one that a Run executes, and its outputs are the container's termination message: that is how it tells when
its first instruction was.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

from bench.loads import BENCHMARK_LABELS, GIVE_UP_SECONDS, NOT_SEEN
from bench.observer import Observer, Sight
from bench.samples import SUCCEEDED, Sample
from bench.subjects import JOBS, Subject
from k8s.client import ApiClient, JsonObject, Resource

_PODS: Resource[JsonObject] = Resource("", "v1", "pods", "Pod", namespaced=True, type=dict[str, Any])
_PHASES = {"Complete": SUCCEEDED, "Failed": "Failed"}
_START = re.compile(r"^start=([0-9.]+)$", re.MULTILINE)
OUTPUTS = "/dev/termination-log"


class JobLoad:
    """A `Load` of Jobs. Get one by `job_load`."""

    def __init__(
        self, client: ApiClient, subject: Subject, *, image: str, namespace: str, load_id: str, observer: Observer[JsonObject]
    ) -> None:
        self._client = client
        self._subject = subject
        self._image = image
        self._namespace = namespace
        self._id = load_id
        self._observer = observer
        self._count = 0
        self._began = time.monotonic()

    def begin(self) -> None:
        self._began = time.monotonic()

    async def measure(self, *, due: float | None = None) -> Sample:
        return await (await self.send(due=due))

    async def send(self, *, due: float | None = None) -> Awaitable[Sample]:
        self._count += 1
        name = f"bench-{self._id}-{self._count}"
        sight = self._observer.expect(name)
        due = time.monotonic() if due is None else due
        wall_due = due + time.time() - time.monotonic()
        await self._client.create(JOBS, job_manifest(name, self._subject, image=self._image, load_id=self._id), namespace=self._namespace)
        return self._follow(name, sight, due=due, wall_due=wall_due, created=time.monotonic())

    async def _follow(self, name: str, sight: Sight[JsonObject], *, due: float, wall_due: float, created: float) -> Sample:
        phase = NOT_SEEN
        try:
            async with asyncio.timeout(GIVE_UP_SECONDS):
                terminal, job = await sight.ended
            phase = end_of(job)
        except TimeoutError:
            terminal = time.monotonic()
        self._observer.give_up(name)
        # Only now: one read more, of an API server that has nothing else to do for this Job.
        started = await self._started(name) if phase == SUCCEEDED else None
        return Sample(
            name=name,
            phase=phase,
            at_seconds=round(due - self._began, 6),
            created_ms=round((created - due) * 1000, 3),
            started_ms=round((started - wall_due) * 1000, 3) if started is not None else None,
            terminal_ms=round((terminal - due) * 1000, 3),
        )

    async def _started(self, name: str) -> float | None:
        pods = await self._client.list(_PODS, namespace=self._namespace, label_selector=f"batch.kubernetes.io/job-name={name}")
        return next((start for pod in pods.items if (start := start_of(pod)) is not None), None)


@asynccontextmanager
async def job_load(client: ApiClient, subject: Subject, *, image: str, namespace: str) -> AsyncIterator[JobLoad]:
    """With its own watch; its Jobs, and with them their Pods, are deleted afterwards."""
    load_id = secrets.token_hex(4)
    selector = f"kruntimes.io/benchmark-id={load_id}"
    async with Observer(client, JOBS, namespace=namespace, label_selector=selector, has_ended=lambda job: bool(end_of(job))) as observer:
        try:
            yield JobLoad(client, subject, image=image, namespace=namespace, load_id=load_id, observer=observer)
        finally:
            for job in (await client.list(JOBS, namespace=namespace, label_selector=selector)).items:
                await client.delete(JOBS, job["metadata"]["name"], namespace=namespace, propagation_policy="Background")


def end_of(job: JsonObject) -> str:
    """Succeeded or Failed; empty while it runs."""
    conditions = (job.get("status") or {}).get("conditions") or []
    true = [condition["type"] for condition in conditions if condition["status"] == "True"]
    return next((_PHASES[kind] for kind in true if kind in _PHASES), "")


def start_of(pod: JsonObject) -> float | None:
    """When the program's first instruction was, by its own clock: seconds since 1970. None if it has not told."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    messages = (((status.get("state") or {}).get("terminated") or {}).get("message") or "" for status in statuses)
    told = next((found for message in messages if (found := _START.search(message))), None)
    return float(told[1]) if told else None


def job_manifest(name: str, subject: Subject, *, image: str, load_id: str) -> dict[str, Any]:
    """One container that executes the subject's program."""
    container = {
        "name": "noop",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": [subject.runtime, "-c", subject.source],
        "env": [{"name": "KRUNTIME_OUTPUTS", "value": OUTPUTS}],
        "terminationMessagePath": OUTPUTS,
    }
    pod = {"restartPolicy": "Never", "automountServiceAccountToken": False, "containers": [container]}
    labels = {**BENCHMARK_LABELS, "kruntimes.io/benchmark-id": load_id}
    return {
        "apiVersion": JOBS.api_version,
        "kind": "Job",
        "metadata": {"name": name, "labels": labels},
        "spec": {"backoffLimit": 0, "template": {"metadata": {"labels": labels}, "spec": pod}},
    }

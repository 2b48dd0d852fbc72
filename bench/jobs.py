"""Plain Kubernetes Jobs, for comparison where a node runs them: create -> Complete, by the same client with one watch."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

from bench.loads import BENCHMARK_LABELS, GIVE_UP_SECONDS, NOT_SEEN
from bench.observer import Observer
from bench.samples import SUCCEEDED, Sample
from k8s.client import ApiClient, JsonObject, Resource

JOBS: Resource[JsonObject] = Resource("batch", "v1", "jobs", "Job", namespaced=True, type=dict[str, Any])
_PHASES = {"Complete": SUCCEEDED, "Failed": "Failed"}


class JobLoad:
    """A `Load` of Jobs that execute one program of `image`."""

    def __init__(self, client: ApiClient, *, image: str, namespace: str, load_id: str, observer: Observer[JsonObject]) -> None:
        self._client = client
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
        await self._client.create(JOBS, job_manifest(name, image=self._image, load_id=self._id), namespace=self._namespace)
        return self._follow(name, sight.ended, due=due, created=time.monotonic())

    async def _follow(self, name: str, ended: asyncio.Future[tuple[float, JsonObject]], *, due: float, created: float) -> Sample:
        phase = NOT_SEEN
        try:
            async with asyncio.timeout(GIVE_UP_SECONDS):
                terminal, job = await ended
            phase = end_of(job)
        except TimeoutError:
            terminal = time.monotonic()
        self._observer.give_up(name)
        return Sample(
            name=name,
            phase=phase,
            at_seconds=due - self._began,
            created_ms=round((created - due) * 1000, 3),
            terminal_ms=round((terminal - due) * 1000, 3),
        )


@asynccontextmanager
async def job_load(client: ApiClient, *, image: str, namespace: str) -> AsyncIterator[JobLoad]:
    """With its own watch."""
    load_id = secrets.token_hex(4)
    selector = f"kruntimes.io/benchmark-id={load_id}"
    async with Observer(client, JOBS, namespace=namespace, label_selector=selector, has_ended=lambda job: bool(end_of(job))) as observer:
        yield JobLoad(client, image=image, namespace=namespace, load_id=load_id, observer=observer)


def end_of(job: JsonObject) -> str:
    """Succeeded or Failed; empty while it runs."""
    conditions = (job.get("status") or {}).get("conditions") or []
    true = [condition["type"] for condition in conditions if condition["status"] == "True"]
    return next((_PHASES[kind] for kind in true if kind in _PHASES), "")


def job_manifest(name: str, *, image: str, load_id: str) -> dict[str, Any]:
    """One container that runs `true`."""
    container = {"name": "noop", "image": image, "imagePullPolicy": "IfNotPresent", "command": ["true"]}
    pod = {"restartPolicy": "Never", "automountServiceAccountToken": False, "containers": [container]}
    labels = {**BENCHMARK_LABELS, "kruntimes.io/benchmark-id": load_id}
    return {
        "apiVersion": JOBS.api_version,
        "kind": "Job",
        "metadata": {"name": name, "labels": labels},
        "spec": {"backoffLimit": 0, "template": {"metadata": {"labels": labels}, "spec": pod}},
    }

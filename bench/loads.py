"""Creates Runs and measures each. When, and how many at a time, is for a scenario to say."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Protocol

from msgspec.structs import asdict

from bench.observer import Observer, Sight
from bench.samples import Sample
from bench.subjects import Subject
from k8s.api.run import Run, Timings
from k8s.client import ApiClient, ApiError

BENCHMARK_LABELS = {"kruntimes.io/benchmark": "true"}
GIVE_UP_SECONDS = 60.0
"""A Run that nobody has seen end by then is a failure. The slowest scenario needs half of it."""
NOT_CREATED = "NotCreated"
NOT_SEEN = "NotSeen"


class Load(Protocol):
    """What scenarios drive."""

    async def send(self, *, due: float | None = None) -> Awaitable[Sample]:
        """Returns when the create is answered; await what it returns for the end. `due`: monotonic, to count from."""
        ...

    async def measure(self, *, due: float | None = None) -> Sample:
        """From create to end."""
        ...

    def begin(self) -> None:
        """A pass begins now: `at_seconds` counts from here."""
        ...


class RunLoad:
    """Runs of one subject in one namespace. Get one by `run_load`."""

    def __init__(self, client: ApiClient, subject: Subject, *, namespace: str, load_id: str, observer: Observer[Run]) -> None:
        self._client = client
        self._subject = subject
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
        # The workload reports wall-clock time; this machine's offset of this moment turns it into our monotonic one.
        wall_due = due + time.time() - time.monotonic()
        phase = ""
        try:
            await self._client.create(self._subject.resource, self._manifest(name), namespace=self._namespace)
        except ApiError:
            phase = NOT_CREATED
        return self._follow(name, sight, phase=phase, due=due, wall_due=wall_due, created=time.monotonic())

    async def _follow(self, name: str, sight: Sight[Run], *, phase: str, due: float, wall_due: float, created: float) -> Sample:
        run: Run | None = None
        terminal = created
        if not phase:
            terminal, run = await _seen_end(sight)
            phase = run.phase if run is not None else NOT_SEEN
        self._observer.give_up(name)
        start = run.status.outputs.get("start") if run is not None else None
        return Sample(
            name=name,
            phase=phase,
            at_seconds=round(due - self._began, 6),
            created_ms=_ms(created - due),
            assigned_ms=_ms(sight.assigned - due) if sight.assigned is not None else None,
            started_ms=_ms(float(start) - wall_due) if start else None,
            terminal_ms=_ms(terminal - due),
            steps_ms=ledger_ms(run.status.timings if run is not None else None, wall_due=wall_due),
        )

    def _manifest(self, name: str) -> dict[str, Any]:
        return {
            "apiVersion": self._subject.resource.api_version,
            "kind": "Run",
            "metadata": {"name": name, "labels": {**BENCHMARK_LABELS, "kruntimes.io/benchmark-id": self._id}},
            "spec": {"runtime": self._subject.runtime, "mode": {"task": {}}, "source": {"inline": self._subject.source}},
        }


@asynccontextmanager
async def run_load(client: ApiClient, subject: Subject, *, namespace: str) -> AsyncIterator[RunLoad]:
    """A load with its own watch, of exactly its own Runs."""
    load_id = secrets.token_hex(4)
    async with Observer(
        client,
        subject.resource,
        namespace=namespace,
        label_selector=f"kruntimes.io/benchmark-id={load_id}",
        has_ended=lambda run: run.is_terminal,
        is_assigned=lambda run: bool(run.status.assigned_pod),
    ) as observer:
        yield RunLoad(client, subject, namespace=namespace, load_id=load_id, observer=observer)


def ledger_ms(timings: Timings | None, *, wall_due: float) -> dict[str, float]:
    """Each instant of the Run's ledger, from the moment it was due."""
    if timings is None:
        return {}
    return {step: _ms(at.timestamp() - wall_due) for step, at in asdict(timings).items() if isinstance(at, datetime)}


async def _seen_end(sight: Sight[Run]) -> tuple[float, Run | None]:
    try:
        async with asyncio.timeout(GIVE_UP_SECONDS):
            return await sight.ended
    except TimeoutError:
        return time.monotonic(), None


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)

"""The loads: who creates how many Runs when. All of them are closed loops of no-op Bash Runs that report their own start."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any

from bench.observer import Observer
from bench.samples import Sample
from k8s.api.names import API_VERSION
from k8s.client import RUNS, ApiClient

BENCHMARK_LABELS = {"kruntimes.io/benchmark": "true"}
FIRST_INSTRUCTION = 'echo "start=$EPOCHREALTIME" >> "$KRUNTIME_OUTPUTS"'
"""The whole workload: its first instruction reads the clock and reports it."""


class Load:
    """Creates Runs in one namespace and measures each."""

    def __init__(self, client: ApiClient, *, namespace: str, runtime: str) -> None:
        self._client = client
        self._namespace = namespace
        self._runtime = runtime
        self._id = secrets.token_hex(4)
        self._count = 0
        # The workload reports wall-clock time; this machine's offset turns it into our monotonic one.
        self._wall_minus_monotonic = time.time() - time.monotonic()

    @property
    def label_selector(self) -> str:
        """Selects exactly this load's Runs."""
        return f"kruntimes.io/benchmark-id={self._id}"

    def observer(self) -> Observer:
        """A watch of this load's Runs."""
        return Observer(self._client, namespace=self._namespace, label_selector=self.label_selector)

    async def serial(self, observer: Observer, *, count: int) -> list[Sample]:
        """One after the other: the next is created when the watch has shown the end of the last."""
        return [await self._measure(observer) for _ in range(count)]

    async def in_flight(self, observer: Observer, *, count: int, parallel: int) -> list[Sample]:
        """`parallel` creators, each with one Run in flight, until `count` are done."""
        waiting = iter(range(count))

        async def creator() -> list[Sample]:
            return [await self._measure(observer) for _ in waiting]

        batches = await asyncio.gather(*(creator() for _ in range(parallel)))
        return [sample for batch in batches for sample in batch]

    async def _measure(self, observer: Observer) -> Sample:
        self._count += 1
        name = f"bench-{self._id}-{self._count}"
        ended = observer.expect(name)
        sent = time.monotonic()
        await self._client.create(RUNS, self._manifest(name), namespace=self._namespace)
        created = time.monotonic()
        async with asyncio.timeout(60):
            terminal, run = await ended
        start = run.status.outputs.get("start")
        return Sample(
            name=name,
            phase=run.phase,
            created_ms=(created - sent) * 1000,
            started_ms=(float(start) - self._wall_minus_monotonic - sent) * 1000 if start else None,
            terminal_ms=(terminal - sent) * 1000,
        )

    def _manifest(self, name: str) -> dict[str, Any]:
        return {
            "apiVersion": API_VERSION,
            "kind": "Run",
            "metadata": {"name": name, "labels": {**BENCHMARK_LABELS, "kruntimes.io/benchmark-id": self._id}},
            "spec": {"runtime": self._runtime, "mode": {"task": {}}, "source": {"inline": FIRST_INSTRUCTION}},
        }

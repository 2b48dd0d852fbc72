"""Asking one running container how it is, until it ends: startup first, then readiness and liveness side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from controlplane.local.node.probes import Probe, Verdict, judge, readiness_interval

Ask = Callable[[Probe], Awaitable[bool]]


class Health:
    """`watch` runs until it is cancelled, or until it has told `on_unhealthy` which probe failed."""

    def __init__(
        self, probes: Mapping[str, Probe], *, ask: Ask, on_ready: Callable[[bool], None], on_unhealthy: Callable[[str], None]
    ) -> None:
        self._probes = probes
        self._ask = ask
        self._on_ready = on_ready
        self._on_unhealthy = on_unhealthy

    async def watch(self) -> None:
        if (startup := self._probes.get("startupProbe")) and not await self._has_started(startup):
            self._on_unhealthy("startupProbe")
            return
        readiness = asyncio.create_task(self._watch_readiness(self._probes.get("readinessProbe")), name="readiness")
        try:
            if liveness := self._probes.get("livenessProbe"):
                await self._watch_liveness(liveness)
                self._on_unhealthy("livenessProbe")
            else:
                await readiness
        finally:
            readiness.cancel()
            await asyncio.gather(readiness, return_exceptions=True)

    async def _has_started(self, probe: Probe) -> bool:
        """Asked quickly, but granted the time that the manifest's period and threshold add up to."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + probe.initial_delay_seconds + probe.period_seconds * probe.failure_threshold
        asked = 0
        while not await self._ask(probe):
            if loop.time() >= deadline:
                return False
            await asyncio.sleep(readiness_interval(Verdict(), probe=probe, asked=asked))
            asked += 1
        return True

    async def _watch_readiness(self, probe: Probe | None) -> None:
        if probe is None:
            self._on_ready(True)
            return
        verdict, asked = Verdict(), 0
        while True:
            verdict = judge(verdict, is_success=await self._ask(probe), probe=probe)
            self._on_ready(verdict.is_passing is True)
            await asyncio.sleep(readiness_interval(verdict, probe=probe, asked=asked))
            asked += 1

    async def _watch_liveness(self, probe: Probe) -> None:
        """Returns when it fails."""
        verdict = Verdict()
        await asyncio.sleep(probe.initial_delay_seconds)
        while verdict.is_passing is not False:
            await asyncio.sleep(probe.period_seconds)
            verdict = judge(verdict, is_success=await self._ask(probe), probe=probe)

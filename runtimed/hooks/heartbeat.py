"""Our sign of life: one condition of our own Pod, patched by strategic merge so that kubelet's conditions stay untouched."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from k8s.api.errors import KrtError
from k8s.api.names import RUNTIMED_READY_CONDITION
from k8s.api.timestamps import format_timestamp
from k8s.client import PODS, REAL_PACE, ApiClient, ApiError, Backoff, Pace, message_of, strategic_patch
from runtimed.settings import PodIdentity

logger = logging.getLogger(__name__)

INTERVAL_SECONDS: Final = 5.0
FIRST_RETRY_SECONDS: Final = 0.5
"""After a beat that was not written, doubling up to the interval: a whole interval later it would be that much nearer to stale."""
REASON: Final = "Heartbeat"
FRESH_MESSAGE: Final = "runtimed heartbeat is fresh"
DISCONNECTED_MESSAGE: Final = "the Runtime Server is not connected"
STOPPING_MESSAGE: Final = "runtimed is stopping"


class Heartbeat:
    """`beat` for ever; `set_ready` wakes it at once; `stop` says a last False."""

    def __init__(
        self,
        client: ApiClient,
        *,
        pod: PodIdentity,
        now: Callable[[], datetime],
        interval_seconds: float = INTERVAL_SECONDS,
        pace: Pace = REAL_PACE,
    ) -> None:
        self._client, self._pod, self._now, self._interval_seconds = client, pod, now, interval_seconds
        self._pace = pace
        self._backoff = Backoff(first_seconds=FIRST_RETRY_SECONDS, max_seconds=interval_seconds)
        self._wait_seconds = interval_seconds
        """Until the next one, if nothing changes before."""
        self._is_ready = False
        self._is_stopping = False
        self._wake = asyncio.Event()
        self._told: str | None = None
        """The status that the API server knows."""

    def set_ready(self, is_ready: bool) -> None:
        if is_ready != self._is_ready:
            self._is_ready = is_ready
            self._wake.set()

    async def beat(self) -> None:
        """For ever: at once when something changes, else every five seconds while all is well, and sooner where it is not."""
        while True:
            self._wake.clear()
            if self._is_ready or self._told == "True":
                await self._tell(
                    status="True" if self._is_ready else "False", message=FRESH_MESSAGE if self._is_ready else DISCONNECTED_MESSAGE
                )
            try:
                async with asyncio.timeout(self._wait_seconds):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def stop(self, *, within_seconds: float) -> None:
        """The scheduler must not bind to us any more; best effort. Call it after `beat` was cancelled, or it may be contradicted."""
        if self._told is None:
            return
        try:
            async with asyncio.timeout(within_seconds):
                await self._tell(status="False", message=STOPPING_MESSAGE)
        except TimeoutError:
            logger.warning("the last heartbeat was not answered")

    async def _tell(self, *, status: str, message: str) -> None:
        now = format_timestamp(self._now())
        condition: dict[str, Any] = {
            "type": RUNTIMED_READY_CONDITION,
            "status": status,
            "reason": REASON,
            "message": message,
            "lastProbeTime": now,
        }
        if status != self._told:
            condition["lastTransitionTime"] = now
        patch = strategic_patch({"status": {"conditions": [condition]}})
        try:
            await self._client.patch(PODS, self._pod.name, patch, namespace=self._pod.namespace, subresource="status")
        except KrtError as error:
            logger.warning("heartbeat is not written", extra=message_of(error))
            asked_seconds = error.retry_after_seconds if isinstance(error, ApiError) else None
            self._wait_seconds = max(self._backoff.next_delay(self._pace.chance()), asked_seconds or 0.0)
        else:
            self._told = status
            self._backoff.reset()
            self._wait_seconds = self._interval_seconds

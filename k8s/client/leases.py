"""Leader election on a coordination.k8s.io/v1 Lease: at most one leader at a time, and a standby that takes over at once.

The pure part decides on what was observed and when; the shell reads, writes conditionally, and watches. Time is the monotonic
clock of the observer alone: the times written into the Lease are for humans.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from k8s.api.errors import InternalError
from k8s.api.timestamps import format_timestamp
from k8s.client.errors import ApiError, Conflict, NotFound, message_of
from k8s.client.notices import Changed, Deleted, Listed, Notice
from k8s.client.resources import LEASES, JsonObject, version_number
from k8s.client.transport import ApiClient
from k8s.client.watching import list_and_watch

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """`renew_deadline` is how long a leader goes on without a renewal; it must stop before `lease` ends, hence shorter."""

    lease_seconds: float = 15.0
    renew_deadline_seconds: float = 10.0
    retry_seconds: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.retry_seconds < self.renew_deadline_seconds < self.lease_seconds:
            raise ValueError("leases need 0 < retry_seconds < renew_deadline_seconds < lease_seconds")


@dataclass(slots=True)
class Observation:
    """The Lease as last seen, and when this process first saw it so."""

    record: JsonObject | None = None
    version: str = ""
    since: float = 0.0

    def see(self, lease: JsonObject | None, *, now: float) -> None:
        """Takes in what was read. The clock starts anew only when the object changed."""
        version = lease["metadata"].get("resourceVersion", "") if lease else ""
        # A watch event may come after the read that was newer. A Lease that was deleted and made anew is newer, too.
        if lease is None or self.record is None or version_number(version) > version_number(self.version):
            self.record, self.version, self.since = lease, version, now

    @property
    def holder(self) -> str:
        return (self.record or {}).get("spec", {}).get("holderIdentity") or ""

    def free_at(self, *, default_seconds: float) -> float:
        """When it may be taken: at once if nobody holds it, else a whole lease after its last change that we saw."""
        if not self.holder:
            return float("-inf")
        duration = (self.record or {}).get("spec", {}).get("leaseDurationSeconds") or default_seconds
        return self.since + float(duration)


def record_of(holder: str, *, observation: Observation, times: LeaseTimes, now: datetime) -> JsonObject:
    """The spec to write so that `holder` has (or, empty, that nobody has) the Lease."""
    before = (observation.record or {}).get("spec", {})
    is_change = before.get("holderIdentity") != holder
    transitions = int(before.get("leaseTransitions") or 0)
    stamp = format_timestamp(now)
    return {
        "holderIdentity": holder,
        # Whole seconds, at least 1; rounded up, so that others wait rather longer than shorter.
        "leaseDurationSeconds": max(1, -int(-times.lease_seconds // 1)) if holder else 1,
        "acquireTime": stamp if is_change else before.get("acquireTime", stamp),
        "renewTime": stamp,
        "leaseTransitions": transitions + 1 if is_change and holder and observation.record is not None else transitions,
    }


class LeaderElector:
    """Campaigns for one Lease. Two processes must never share an identity, so a random part is added to it."""

    def __init__(
        self,
        client: ApiClient,
        *,
        lease_name: str,
        namespace: str,
        identity: str,
        lease_seconds: float = 15.0,
        renew_deadline_seconds: float = 10.0,
        retry_seconds: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.identity = f"{identity}_{secrets.token_hex(4)}"
        self.is_leading = False
        self.leader = ""
        self._client = client
        self._name = lease_name
        self._namespace = namespace
        self._times = LeaseTimes(lease_seconds, renew_deadline_seconds, retry_seconds)
        self._clock = clock
        self._now = now
        self._observation = Observation()
        self._renewed_at = 0.0
        self._may_release = True
        self._is_changed = asyncio.Event()

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Runs `lead()` whenever this process leads, and cancels it in time when it does not any more; for ever.

        Returns when `lead()` returns, raises what it raises, and gives the Lease back on every way out, cancellation included.
        """
        while True:
            await self._acquire()
            logger.info("leading", extra={"lease": self._name, "identity": self.identity})
            try:
                if await self._lead_while_held(lead):
                    return
            finally:
                self.is_leading = False
                await self._release()
            logger.warning("leadership is lost", extra={"lease": self._name, "identity": self.identity})

    async def _acquire(self) -> None:
        """Returns as the leader."""
        watching = asyncio.create_task(self._watch_lease(), name=f"watch lease {self._name}")
        try:
            while not await self._try_to_acquire():
                await self._wait_for_a_chance()
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching

    async def _try_to_acquire(self) -> bool:
        try:
            await self._read()
            free_at = self._observation.free_at(default_seconds=self._times.lease_seconds)
            return self._clock() >= free_at and await self._write(self.identity)
        except ApiError as error:
            logger.warning("lease cannot be acquired", extra={"lease": self._name} | message_of(error))
            return False

    async def _wait_for_a_chance(self) -> None:
        """Until the holder changes, or its Lease ends. The watch moves that end, so nothing is asked meanwhile."""
        seconds = self._seconds_until_free() or self._times.retry_seconds
        while seconds > 0 and not self._is_changed.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._is_changed.wait()
            seconds = self._seconds_until_free()
        self._is_changed.clear()

    def _seconds_until_free(self) -> float:
        return max(0.0, self._observation.free_at(default_seconds=self._times.lease_seconds) - self._clock())

    async def _watch_lease(self) -> None:
        selector = f"metadata.name={self._name}"
        async with aclosing(list_and_watch(self._client, LEASES, namespace=self._namespace, field_selector=selector)) as notices:
            async for notice in notices:
                before = self._observation.holder
                self._observation.see(_lease_of(notice), now=self._clock())
                self.leader = self._observation.holder
                if self._observation.holder != before or not self._observation.holder:
                    self._is_changed.set()

    async def _lead_while_held(self, lead: Callable[[], Awaitable[None]]) -> bool:
        """True when `lead()` came to its own end, False when the Lease was lost and `lead()` was cancelled."""
        self.is_leading = True
        self.leader = self.identity
        leading = asyncio.ensure_future(lead())
        renewing = asyncio.create_task(self._renew(), name=f"renew lease {self._name}")
        try:
            await asyncio.wait({leading, renewing}, return_when=asyncio.FIRST_COMPLETED)
            has_ended = leading.done()
        finally:
            self.is_leading = False
            renewing.cancel()
            await asyncio.wait({renewing})
            before = self._client.unanswered_writes
            # STRICTLY BEFORE the Lease is released or ends: two leaders at once is what all of this is to prevent.
            await self._stop(leading)
            self._may_release = self._client.unanswered_writes == before
        if not leading.cancelled():
            leading.result()
        return has_ended

    async def _stop(self, leading: asyncio.Future[None]) -> None:
        leading.cancel()
        ends_at = self._renewed_at + self._times.lease_seconds
        await asyncio.wait({leading}, timeout=max(0.0, ends_at - self._clock()))
        if not leading.done():
            # What still runs must not see a successor: nothing is released, and the Lease ends by itself.
            self._observation = Observation()
            logger.critical("work of the leader does not stop", extra={"lease": self._name, "identity": self.identity})
            raise InternalError(f"lease {self._name} ended and the work done under it did not stop; the process must end")

    async def _renew(self) -> None:
        """Returns when the Lease is lost: another holds it, or no renewal came through within the deadline."""
        while True:
            ends_at = self._renewed_at + self._times.renew_deadline_seconds
            await asyncio.sleep(min(self._times.retry_seconds, max(0.0, ends_at - self._clock())))
            remaining = ends_at - self._clock()
            if remaining <= 0:
                return
            # Half of what is left, so that one hanging connection leaves time for another.
            attempt_seconds = min(remaining, max(self._times.retry_seconds, remaining / 2))
            with suppress(TimeoutError):
                async with asyncio.timeout(attempt_seconds):
                    if not await self._try_to_renew():
                        return

    async def _try_to_renew(self) -> bool:
        """False when another holds it. An error is not the end yet: the deadline decides."""
        try:
            return await self._rewrite(self.identity)
        except NotFound:
            # Somebody deleted it: the next try creates it.
            self._observation = Observation()
        except ApiError as error:
            logger.warning("lease cannot be renewed", extra={"lease": self._name} | message_of(error))
        return True

    async def _rewrite(self, holder: str) -> bool:
        """Writes what we hold; False when we do not. An earlier write of ours may have landed without an answer."""
        if await self._write(holder):
            return True
        await self._read()
        return self._observation.holder == self.identity and await self._write(holder)

    async def _read(self) -> None:
        try:
            lease = await self._client.get(LEASES, self._name, namespace=self._namespace)
        except NotFound:
            self._observation.see(None, now=self._clock())
            return
        self._observation.see(lease, now=self._clock())

    async def _write(self, holder: str) -> bool:
        """False when the Lease has changed since it was observed."""
        started_at = self._clock()
        spec = record_of(holder, observation=self._observation, times=self._times, now=self._now())
        metadata: dict[str, Any] = {"name": self._name, "namespace": self._namespace}
        lease = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}
        try:
            if self._observation.record is None:
                written = await self._client.create(LEASES, lease, namespace=self._namespace)
            else:
                metadata["resourceVersion"] = self._observation.version
                written = await self._client.replace(LEASES, self._name, lease, namespace=self._namespace)
        except Conflict:
            return False
        self._observation.see(written, now=self._clock())
        # Counted from before it was sent: others count from when they saw it, which is later.
        self._renewed_at = started_at
        return True

    async def _release(self) -> None:
        """Lets a standby take over at once. Best effort, and bounded: the Lease ends by itself.

        Not while a write that was given up may still land: a busy API server gets to it seconds later.
        """
        if not self._may_release:
            logger.info("lease is left to end by itself: a write may be under way", extra={"lease": self._name, "identity": self.identity})
            return
        with suppress(ApiError, TimeoutError):
            async with asyncio.timeout(self._times.retry_seconds):
                if self._observation.holder == self.identity:
                    await self._rewrite("")


def _lease_of(notice: Notice[JsonObject]) -> JsonObject | None:
    match notice:
        case Listed():
            return notice.items[0] if notice.items else None
        case Changed():
            return notice.object
        case Deleted():
            return None

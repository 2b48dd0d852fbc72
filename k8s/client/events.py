"""Kubernetes Events for humans (`kubectl describe`): aggregated, bounded, best effort. Nothing may depend on them."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType

from k8s.api.errors import KrtError
from k8s.api.timestamps import format_timestamp
from k8s.client.errors import NotFound, cut
from k8s.client.patches import merge_patch
from k8s.client.resources import EVENTS, JsonObject, reference
from k8s.client.transport import ApiClient

logger = logging.getLogger(__name__)

MAX_PENDING = 512
"""Different Events waiting to be sent. When the API server is away longer than that lasts, they are worth less than our memory."""
MAX_REMEMBERED = 2048
"""Sent Events whose counter we can still raise."""
CLOSE_SECONDS = 2.0

Key = tuple[str, str, str]


@dataclass(slots=True)
class _Pending:
    involved: JsonObject
    message: str
    count: int
    first: str
    last: str


@dataclass(slots=True)
class _Sent:
    name: str
    namespace: str
    count: int


class EventRecorder:
    """`record` never blocks and never raises. Use `async with`: it sends in the background, and the rest on leaving."""

    def __init__(
        self, client: ApiClient, *, component: str, instance: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.dropped_total = 0
        self._client = client
        self._source = {"component": component, "host": instance}
        self._now = now
        self._pending: OrderedDict[Key, _Pending] = OrderedDict()
        self._sent: OrderedDict[Key, _Sent] = OrderedDict()
        self._is_pending = asyncio.Event()
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._sender: asyncio.Task[None] | None = None

    async def __aenter__(self) -> EventRecorder:
        self._sender = asyncio.create_task(self._send_forever(), name="send events")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.flush()
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.wait({self._sender})

    async def flush(self) -> None:
        """Returns when all that was recorded has been sent or dropped."""
        await self._is_idle.wait()

    def record(self, object: object, *, type: str, reason: str, message: str) -> None:  # noqa: A002
        """`type` is Normal or Warning, `reason` CamelCase. The same (object, reason, type) again raises a counter."""
        try:
            involved = reference(object)
            self._add((involved["uid"], reason, type), involved, message)
        except Exception:  # an Event must never hurt what it tells about
            self.dropped_total += 1
            logger.exception("event cannot be recorded", extra={"reason": reason})

    def _add(self, key: Key, involved: JsonObject, message: str) -> None:
        stamp = format_timestamp(self._now().replace(microsecond=0)).replace(".000000", "")
        pending = self._pending.get(key)
        if pending is not None:
            pending.count, pending.message, pending.last = pending.count + 1, message, stamp
        elif len(self._pending) >= MAX_PENDING:
            self.dropped_total += 1
        else:
            self._pending[key] = _Pending(involved, message, 1, stamp, stamp)
            self._is_pending.set()
            self._is_idle.clear()

    async def _send_forever(self) -> None:
        while True:
            await self._is_pending.wait()
            while self._pending:
                key, pending = self._pending.popitem(last=False)
                try:
                    await self._send(key, pending)
                except KrtError as error:
                    self.dropped_total += pending.count
                    logger.debug("event is dropped", extra={"reason": key[1], "error": cut(str(error))})
            self._is_pending.clear()
            self._is_idle.set()

    async def _send(self, key: Key, pending: _Pending) -> None:
        sent = self._sent.get(key)
        if sent is not None:
            try:
                await self._raise_count(sent, pending)
                self._sent.move_to_end(key)
                return
            except NotFound:
                # Events live an hour on the server; this one has ended.
                del self._sent[key]
        created = await self._create(key, pending)
        self._sent[key] = created
        while len(self._sent) > MAX_REMEMBERED:
            self._sent.popitem(last=False)

    async def _raise_count(self, sent: _Sent, pending: _Pending) -> None:
        sent.count += pending.count
        change = {"count": sent.count, "message": cut_message(pending.message), "lastTimestamp": pending.last}
        await self._client.patch(EVENTS, sent.name, merge_patch(change), namespace=sent.namespace)

    async def _create(self, key: Key, pending: _Pending) -> _Sent:
        namespace = pending.involved["namespace"] or "default"
        # Object names are at most 253 characters, the suffix takes 17.
        name = f"{pending.involved['name'][:230]}.{secrets.token_hex(8)}"
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": pending.involved,
            "type": key[2],
            "reason": key[1],
            "message": cut_message(pending.message),
            "count": pending.count,
            "firstTimestamp": pending.first,
            "lastTimestamp": pending.last,
            "source": self._source,
            "reportingComponent": self._source["component"],
            "reportingInstance": self._source["host"],
        }
        await self._client.create(EVENTS, event, namespace=namespace)
        return _Sent(name, namespace, pending.count)


def cut_message(message: str) -> str:
    """The API server takes at most 1,024 characters."""
    return message if len(message) <= 1024 else message[:1023] + "…"

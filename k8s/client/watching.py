"""Keeps a consumer told of all objects of a kind, for ever. Four nested generators, each with one job:

`list_and_watch` (survive) → `_listed_then_watched` (list; leave on 410) → `_reconnected` (go on from the last version) →
`_watched_once` (one request, one line at a time). It holds no objects: that is `cache`.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgspec

from k8s.client.decoding import WatchEvent, decode_bookmark, decode_event, try_decode
from k8s.client.errors import ApiError, Gone, Status, UnreadableAnswer, cut, error_from_status, message_of
from k8s.client.notices import Changed, Deleted, Listed, Notice
from k8s.client.pace import REAL_PACE, Backoff, Pace
from k8s.client.resources import Resource, version_of
from k8s.client.transport import ApiClient

T = TypeVar("T")
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """How patient a watcher is."""

    page_size: int = 500
    server_timeout_seconds: float = 290.0
    """The server ends a watch after this (up to a third less, at random, so that not all end together): load moves on to new servers."""
    inactivity_seconds: float = 90.0
    """The API server sends a bookmark about every minute; a connection silent for longer is taken for dead."""
    list_interval_seconds: float = 1.0
    """At most one list in this time, whatever happens: a 410 storm must not become a list storm."""
    relist_seconds: float = 600.0
    """After so long a watch that ends is followed by a list: what no watch has ever told is found out that way."""
    settled_seconds: float = 1.0
    """A watch that lived this long, or brought an event, was a good one: the next starts without delay."""


DEFAULT_SETTINGS = WatchSettings()


@dataclass(frozen=True, slots=True)
class Wider(Generic[T]):
    """A watch that selects more than its list does, for what many objects leave by a change of their own.

    An object that leaves the selection of a watch is copied and encoded by the API server for this watcher alone, at the moment of the
    change (cacher.go, setCachingObjects: "this is rare enough"). One that stays in it is encoded once, for all.
    """

    field_selector: str
    keeps: Callable[[T], bool]
    """Whether an object is in the list's selection."""


@dataclass(frozen=True, slots=True)
class _Selectors(Generic[T]):
    label: str
    field: str
    """Of the list."""
    watched: Wider[T]

    def query(self) -> dict[str, str]:
        """Of the watch."""
        selectors = {"labelSelector": self.label, "fieldSelector": self.watched.field_selector}
        return {key: value for key, value in selectors.items() if value}


async def list_and_watch(
    client: ApiClient,
    resource: Resource[T],
    *,
    namespace: str | None = None,
    label_selector: str = "",
    field_selector: str = "",
    wider: Wider[T] | None = None,
    settings: WatchSettings = DEFAULT_SETTINGS,
    pace: Pace = REAL_PACE,
) -> AsyncGenerator[Notice[T], None]:
    """For ever: Listed, then Changed and Deleted as they happen, then Listed again where history was lost.

    The selection is that of `field_selector`, whether or not the watch is a `wider` one.

    Raises no ApiError: errors are logged and retried with back-off. Leave it by cancellation, or wrap it in
    `contextlib.aclosing` when you `break`, so that its connection closes at once.
    """
    selectors = _Selectors(label_selector, field_selector, wider or Wider(field_selector, keeps=lambda _: True))
    watcher = _Watcher(client, resource, namespace, selectors, settings, pace)
    while True:
        try:
            async with aclosing(watcher.listed_then_watched()) as notices:
                async for notice in notices:
                    yield notice
        except Gone:
            logger.info("history is gone, listing anew", extra={"resource": resource.plural})
        except ApiError as error:
            await watcher.wait_after(error)


@dataclass(slots=True)
class _Watcher(Generic[T]):
    client: ApiClient
    resource: Resource[T]
    namespace: str | None
    selectors: _Selectors[T]
    settings: WatchSettings
    pace: Pace
    version: str = ""
    backoff: Backoff = field(default_factory=Backoff)
    next_list_at: float = float("-inf")
    relist_at: float = float("inf")

    async def listed_then_watched(self) -> AsyncGenerator[Notice[T], None]:
        """A list, then what happens after it, until its history is gone (raises Gone)."""
        await self._wait_for_turn_to_list()
        listing = await self.client.list(
            self.resource,
            namespace=self.namespace,
            label_selector=self.selectors.label,
            field_selector=self.selectors.field,
            page_size=self.settings.page_size,
        )
        self.version = listing.resource_version
        self.relist_at = self.pace.clock() + self.settings.relist_seconds
        yield Listed(listing.items, listing.resource_version)
        async with aclosing(self._reconnected()) as notices:
            async for notice in notices:
                yield notice

    async def _reconnected(self) -> AsyncGenerator[Notice[T], None]:
        """Watch after watch, each from where the last one ended, until a list is due. Raises Gone, and UnreadableAnswer: then only
        a list helps."""
        while self.pace.clock() < self.relist_at:
            started_at = self.pace.clock()
            try:
                async with aclosing(self._watched_once()) as notices:
                    async for notice in notices:
                        self.backoff.reset()
                        yield notice
            except (Gone, UnreadableAnswer):
                raise
            except ApiError as error:
                self._settle(started_at)
                await self.wait_after(error)
            else:
                self._settle(started_at)
                if self.backoff.failures or self.pace.clock() - started_at < self.settings.settled_seconds:
                    # Ended well but at once: a server that does so again and again must not be asked in a tight loop.
                    await self.pace.sleep(self.backoff.next_delay(self.pace.chance()))

    async def _watched_once(self) -> AsyncGenerator[Notice[T], None]:
        """One watch request from `version` on."""
        path = self.resource.path(namespace=self.namespace)
        inactivity_seconds = self.settings.inactivity_seconds
        async with (
            self.client.stream(path, query=self._query(), asked=("watch", self.resource.plural)) as stream,
            aclosing(stream.lines(inactivity_seconds=inactivity_seconds)) as lines,
        ):
            async for line in lines:
                notice = self._read(line)
                if notice is not None:
                    yield notice

    def _query(self) -> dict[str, str]:
        timeout_seconds = self.settings.server_timeout_seconds * (1.0 - self.pace.chance() / 3)
        return {
            **self.selectors.query(),
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self.version,
            "timeoutSeconds": str(max(1, round(timeout_seconds))),
        }

    def _read(self, line: bytes) -> Notice[T] | None:
        """What a line says. Raises the ApiError of an ERROR event, and UnreadableAnswer."""
        try:
            event = decode_event(line)
            if event.type == "ERROR":
                raise self._error(event)
            object_ = None if event.type == "BOOKMARK" else try_decode(self.resource, event.object)
            # An object that cannot be read has a version all the same.
            version = version_of(object_) if object_ is not None else decode_bookmark(event.object).metadata.resource_version
        except msgspec.DecodeError as error:
            raise UnreadableAnswer(f"watch {self.resource.plural}: a line is no event: {cut(str(error))}") from error
        # STRICTLY AFTER decoding: what breaks on the way is asked for again.
        self.version = version or self.version
        if object_ is None:
            return None
        is_gone = event.type == "DELETED" or not self.selectors.watched.keeps(object_)
        return Deleted(object_) if is_gone else Changed(object_)

    def _error(self, event: WatchEvent) -> ApiError:
        status = msgspec.json.decode(event.object, type=Status)
        return error_from_status(status, status=status.code or 500, what=f"watch {self.resource.plural}")

    def _settle(self, started_at: float) -> None:
        if self.pace.clock() - started_at >= self.settings.settled_seconds:
            self.backoff.reset()

    async def _wait_for_turn_to_list(self) -> None:
        now = self.pace.clock()
        if now < self.next_list_at:
            await self.pace.sleep(self.next_list_at - now)
        # The jitter keeps watchers that lost their history together from listing together for ever.
        jitter = self.settings.list_interval_seconds * self.pace.chance() / 2
        self.next_list_at = self.pace.clock() + self.settings.list_interval_seconds + jitter

    async def wait_after(self, error: ApiError) -> None:
        """Back-off, or what the server asked for when that is longer."""
        delay = max(self.backoff.next_delay(self.pace.chance()), error.retry_after_seconds or 0.0)
        if self.backoff.is_worth_a_line:
            fields: dict[str, Any] = {"resource": self.resource.plural, "failures": self.backoff.failures, "delay_seconds": round(delay, 3)}
            logger.warning("watch is interrupted", extra=fields | message_of(error))
        await self.pace.sleep(delay)


__all__ = ["Changed", "Deleted", "Listed", "Notice", "WatchSettings", "Wider", "list_and_watch"]

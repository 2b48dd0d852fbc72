"""Watches: every write to every watcher that it concerns, as bytes that are encoded once.

A write only appends to the queues of watchers; each is emptied by a task of its own, and a watcher that lets its queue grow
past a bound is dropped. So no reader, however slow, ever holds up a writer.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import msgspec

from controlplane.local.apiserver.definitions import Definition
from controlplane.local.apiserver.selectors import Selector
from controlplane.local.apiserver.statuses import gone
from controlplane.local.apiserver.store import Compacted, Event, Store

QUEUE_EVENTS = 20_000
"""A reader so far behind lists again faster than it catches up."""

QUEUE_BYTES = 64 * 1024 * 1024

Render = Callable[[bytes], bytes]
"""Turns a watch line into another form, as a Table."""

Tamper = Callable[[bytes], list[bytes]]
"""A failpoint: none, one or several lines for one."""


class Dropped(Exception):
    """The watch must end without a word: the watcher was too slow, or a failpoint cut it."""


@dataclass(slots=True, eq=False)
class Watcher:
    """One watch request. `rv` is the newest event that was offered to it."""

    definition: Definition
    namespace: str
    selector: Selector
    rv: int
    told: int = 0
    """The newest version that the client knows of, by an event or a bookmark."""
    user_agent: str = ""
    render: Render | None = None
    tamper: Tamper | None = None
    lines: deque[bytes] = field(default_factory=deque)
    size_bytes: int = 0
    is_dropped: bool = False
    is_closed: bool = False
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def offer(self, event: Event) -> None:
        """Queues the event if it concerns this watch. Leaving the selector is DELETED, entering it is ADDED."""
        if event.rv <= self.rv or self.is_dropped or (self.namespace and event.stored.key[0] != self.namespace):
            return
        self.rv = event.rv
        kind = self._kind(event)
        if kind:
            self.told = event.rv
            self.push(event.line(kind))

    def _kind(self, event: Event) -> str:
        selector = self.selector
        if selector.is_empty:
            return event.type
        was_in = event.previous is not None and event.previous.matches(selector)
        is_in = event.type != "DELETED" and event.stored.matches(selector)
        if is_in:
            return "MODIFIED" if was_in else "ADDED"
        return "DELETED" if was_in else ""

    def push(self, line: bytes) -> None:
        for rendered in [line] if self.tamper is None else self.tamper(line):
            self.lines.append(rendered)
            self.size_bytes += len(rendered)
        if len(self.lines) > QUEUE_EVENTS or self.size_bytes > QUEUE_BYTES:
            self.drop()
        self.wake.set()

    def drop(self) -> None:
        self.is_dropped = True
        self.lines.clear()
        self.wake.set()

    def close(self) -> None:
        """Ends the watch in good order, after what is queued."""
        self.is_closed = True
        self.wake.set()

    def take(self) -> bytes:
        if self.render is None:
            taken = b"".join(self.lines)
        else:
            taken = b"".join([self.render(line) if line.endswith(b"\n") else line for line in self.lines])
        self.lines.clear()
        self.size_bytes = 0
        return taken


class Hub:
    """All watchers, by kind. `publish` is one of the store's callbacks."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._watchers: dict[str, set[Watcher]] = defaultdict(set)
        store.on_event.append(self.publish)

    def publish(self, event: Event) -> None:
        for watcher in self._watchers.get(event.resource, ()):
            watcher.offer(event)

    def add(self, watcher: Watcher) -> None:
        self._watchers[watcher.definition.resource].add(watcher)

    def remove(self, watcher: Watcher) -> None:
        self._watchers[watcher.definition.resource].discard(watcher)

    def all(self) -> list[Watcher]:
        return [watcher for watchers in self._watchers.values() for watcher in watchers]

    def close_all(self) -> None:
        for watcher in self.all():
            watcher.close()

    # --- how a watch starts

    def start_at(self, watcher: Watcher, *, rv: int) -> None:
        """Queues what has happened since `rv`, and listens. When that is compacted: the ERROR event, and the end."""
        try:
            missed = self._store.events_after(rv)
        except Compacted:
            status = gone(f"too old resource version: {rv} ({self._store.compacted})").encode().strip()
            watcher.push(b'{"type":"ERROR","object":%b}\n' % status)
            watcher.close()
            return
        watcher.rv = watcher.told = rv
        for event in missed:
            if event.resource == watcher.definition.resource:
                watcher.offer(event)
        self.add(watcher)

    def start_with_state(self, watcher: Watcher, *, says_when_complete: bool) -> None:
        """Queues all objects as ADDED, and listens; with `says_when_complete` a marked bookmark follows them."""
        for stored in self._store.collection(watcher.definition.resource).scan(namespace=watcher.namespace):
            if stored.matches(watcher.selector):
                watcher.push(b'{"type":"ADDED","object":%b}\n' % stored.body)
        watcher.rv = watcher.told = self._store.rv
        if says_when_complete:
            watcher.push(self.bookmark(watcher, marks_initial_end=True))
        self.add(watcher)

    def bookmark(self, watcher: Watcher, *, marks_initial_end: bool = False) -> bytes:
        """At the store's version: a watcher with an empty queue has seen all that concerns it up to there."""
        meta: dict[str, object] = {"resourceVersion": str(self._store.rv), "creationTimestamp": None}
        if marks_initial_end:
            meta["annotations"] = {"k8s.io/initial-events-end": "true"}
        definition = watcher.definition
        body = {"kind": definition.kind, "apiVersion": definition.group_version, "metadata": meta}
        return msgspec.json.encode({"type": "BOOKMARK", "object": body}) + b"\n"

    def _mark(self, watcher: Watcher, *, is_due: bool) -> None:
        """A bookmark, if it tells the client anything new."""
        if is_due and watcher.told < self._store.rv:
            watcher.told = self._store.rv
            watcher.push(self.bookmark(watcher))

    # --- how it goes on

    async def stream(self, watcher: Watcher, *, timeout_seconds: float, bookmark_seconds: float) -> AsyncIterator[bytes]:
        """Chunks of lines until the timeout or `close`; raises Dropped. `bookmark_seconds` 0 means none."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        try:
            while True:
                if watcher.is_dropped:
                    raise Dropped
                if watcher.lines:
                    yield watcher.take()
                    continue
                if watcher.is_closed or loop.time() >= deadline:
                    return
                watcher.wake.clear()
                next_mark = _next_bookmark(loop.time(), deadline=deadline, pause=bookmark_seconds)
                try:
                    async with asyncio.timeout_at(next_mark):
                        await watcher.wake.wait()
                except TimeoutError:
                    self._mark(watcher, is_due=next_mark < deadline)
        finally:
            self.remove(watcher)


_LAST_BOOKMARK_SECONDS = 2.0
"""Before the end of a watch, so that the next one starts from near its end; as the real server."""


def _next_bookmark(now: float, *, deadline: float, pause: float) -> float:
    """When to look again: the next bookmark, or the deadline when none is due before it. `pause` 0 means no bookmarks."""
    if not pause:
        return deadline
    last = deadline - _LAST_BOOKMARK_SECONDS
    return min(now + pause, last) if now < last else deadline

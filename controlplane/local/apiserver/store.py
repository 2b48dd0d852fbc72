"""All objects and their history: the mirror in memory that reads and watches use, over the SQLite file.

Single-threaded: between two awaits a caller sees one state, and what it writes on that state is a transaction. Every write
takes the next resourceVersion; there are no gaps. What a write may contain is not decided here.
"""

from __future__ import annotations

import bisect
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import msgspec

from controlplane.local.apiserver.database import Database, DiskFull, HistoryRow
from controlplane.local.apiserver.selectors import Selector

Key = tuple[str, str]
"""(namespace, name); the namespace is "" for cluster-scoped kinds."""

Indexer = Callable[[str, Mapping[str, Any]], dict[str, str]]
"""(resource, object) -> its selectable fields."""

_PRUNE_EVERY = 256
"""History rows are dropped from the file in batches: one DELETE for so many writes."""

_SNAPSHOTS_KEPT = 4


@dataclass(frozen=True, slots=True)
class Stored:
    """One object in one version. Kept as bytes: every reader and watcher sends these, nobody encodes again."""

    key: Key
    rv: int
    uid: str
    body: bytes
    labels: Mapping[str, str]
    fields: Mapping[str, str]
    owners: tuple[str, ...]
    """UIDs of the owners."""

    def decode(self) -> dict[str, Any]:
        """A copy of its own that the caller may change."""
        decoded: dict[str, Any] = msgspec.json.decode(self.body)
        return decoded

    def matches(self, selector: Selector) -> bool:
        return selector.matches(labels=self.labels, fields=self.fields)


@dataclass(slots=True)
class Event:
    """One write: `stored` is the object after it, for DELETED its last state with the resourceVersion of the deletion."""

    rv: int
    type: str
    resource: str
    stored: Stored
    previous: Stored | None
    _lines: dict[str, bytes] = field(default_factory=dict)

    def line(self, kind: str) -> bytes:
        """The watch line, made once for all watchers. DELETED of a living object means: it left the selector."""
        line = self._lines.get(kind)
        if line is None:
            body = self.stored.body
            if kind == "DELETED" and self.type != "DELETED" and self.previous is not None:
                body = with_resource_version(self.previous.decode(), rv=self.rv)
            line = self._lines[kind] = b'{"type":"%b","object":%b}\n' % (kind.encode(), body)
        return line


def with_resource_version(document: dict[str, Any], *, rv: int) -> bytes:
    document["metadata"]["resourceVersion"] = str(rv)
    return msgspec.json.encode(document)


class Collection:
    """The objects of one kind, in key order."""

    def __init__(self) -> None:
        self.objects: dict[Key, Stored] = {}
        self.keys: list[Key] = []

    def put(self, stored: Stored) -> None:
        if stored.key not in self.objects:
            bisect.insort(self.keys, stored.key)
        self.objects[stored.key] = stored

    def remove(self, key: Key) -> None:
        del self.objects[key]
        del self.keys[bisect.bisect_left(self.keys, key)]

    def scan(self, *, namespace: str, after: Key | None = None) -> Iterator[Stored]:
        """In key order from just after `after`; all namespaces with ""."""
        start = bisect.bisect_right(self.keys, after) if after is not None else bisect.bisect_left(self.keys, (namespace, ""))
        for key in islice(self.keys, start, None):
            if namespace and key[0] != namespace:
                return
            yield self.objects[key]


class Compacted(Exception):
    """That resourceVersion is no longer in the history."""


class Store:
    """Objects, history, resourceVersion. `on_event` callbacks run inside the write, in the order they were added."""

    def __init__(self, database: Database, *, indexer: Indexer, history_limit: int) -> None:
        self._database = database
        self._indexer = indexer
        self._history_limit = history_limit
        self._collections: dict[str, Collection] = {}
        self._history: deque[Event] = deque()
        self._snapshots: OrderedDict[tuple[str, int], Collection] = OrderedDict()
        self.on_event: list[Callable[[Event], None]] = []
        # The first write takes 2: resourceVersion 1 is what can be asked for before any, and 0 means "any".
        self.compacted = max(database.compacted(), 1)
        self.rv = self.compacted
        self.writes_total = 0

    # --- reading

    def collection(self, resource: str) -> Collection:
        return self._collections.setdefault(resource, Collection())

    def get(self, resource: str, *, key: Key) -> Stored | None:
        return self.collection(resource).objects.get(key)

    def events_after(self, rv: int) -> list[Event]:
        """The history after `rv`, oldest first; raises Compacted when some of it is gone."""
        if rv < self.compacted:
            raise Compacted
        return list(islice(self._history, max(0, rv - self.compacted), None))

    def snapshot(self, resource: str, *, rv: int) -> Collection:
        """The kind as it was at `rv`; raises Compacted."""
        if rv >= self.rv:
            return self.collection(resource)
        kept = self._snapshots.get((resource, rv))
        if kept is None or rv < self.compacted:
            kept = self._snapshots[resource, rv] = self._rewind(resource, rv=rv)
            while len(self._snapshots) > _SNAPSHOTS_KEPT:
                self._snapshots.popitem(last=False)
        return kept

    def _rewind(self, resource: str, *, rv: int) -> Collection:
        objects = dict(self.collection(resource).objects)
        for event in reversed(self.events_after(rv)):
            if event.resource != resource:
                continue
            if event.previous is None:
                objects.pop(event.stored.key, None)
            else:
                objects[event.stored.key] = event.previous
        past = Collection()
        past.objects = objects
        past.keys = sorted(objects)
        return past

    # --- writing

    def put(self, resource: str, *, key: Key, document: dict[str, Any]) -> Stored:
        """Creates or replaces; `document` gets its resourceVersion. Raises DiskFull."""
        previous = self.get(resource, key=key)
        rv = self.rv + 1
        body = with_resource_version(document, rv=rv)
        stored = self._index(resource, key=key, rv=rv, body=body, document=document)
        self._commit(Event(rv, "MODIFIED" if previous else "ADDED", resource, stored, previous), body=body)
        return stored

    def delete(self, resource: str, *, key: Key, last: dict[str, Any] | None = None) -> Stored:
        """Removes; `last` is the state to report if it differs from what is stored. Returns that with the new version.

        Raises DiskFull.
        """
        previous = self.collection(resource).objects[key]
        document = last if last is not None else previous.decode()
        rv = self.rv + 1
        stored = self._index(resource, key=key, rv=rv, body=with_resource_version(document, rv=rv), document=document)
        self._commit(Event(rv, "DELETED", resource, stored, previous), body=None)
        return stored

    def _commit(self, event: Event, *, body: bytes | None) -> None:
        """STRICTLY the file first: what the mirror shows has been committed."""
        namespace, name = event.stored.key
        before = event.previous.body if event.previous is not None else None
        self._database.write(HistoryRow(event.rv, event.type, event.resource, namespace, name, before), body=body)
        self.rv = event.rv
        self.writes_total += 1
        collection = self.collection(event.resource)
        collection.remove(event.stored.key) if body is None else collection.put(event.stored)
        self._history.append(event)
        for callback in self.on_event:
            callback(event)
        # STRICTLY AFTER those who are told of the write: it has happened, whatever becomes of the older ones.
        if len(self._history) >= self._history_limit + _PRUNE_EVERY:
            self._prune()

    def _prune(self) -> None:
        with suppress(DiskFull):  # in memory it is forgotten; the rows go with the next batch
            self.compact(keep=self._history_limit)

    def compact(self, *, keep: int = 0) -> None:
        """Forgets all but the last `keep` events, here and in the file."""
        while len(self._history) > keep:
            self.compacted = self._history.popleft().rv
        self._database.forget_history(up_to=self.compacted)
        for stale in [key for key in self._snapshots if key[1] < self.compacted]:
            del self._snapshots[stale]

    def _index(self, resource: str, *, key: Key, rv: int, body: bytes, document: Mapping[str, Any]) -> Stored:
        meta = document["metadata"]
        return Stored(
            key=key,
            rv=rv,
            uid=meta.get("uid", ""),
            body=body,
            labels=meta.get("labels") or {},
            fields=self._indexer(resource, document),
            owners=tuple(owner["uid"] for owner in meta.get("ownerReferences") or ()),
        )

    # --- starting

    def load(self, resource: str) -> None:
        """Reads one kind from the file; its definition is known by now. Also re-reads, after its fields have changed."""
        collection = self._collections[resource] = Collection()
        for namespace, name, body in self._database.objects(resource=resource):
            collection.objects[namespace, name] = self._parse(resource, key=(namespace, name), body=body)
        collection.keys = sorted(collection.objects)

    def load_history(self) -> None:
        """Reads the history, and the resourceVersion with it. STRICTLY AFTER `load` of every kind."""
        after: dict[tuple[str, Key], Stored] = {
            (resource, key): stored for resource, collection in self._collections.items() for key, stored in collection.objects.items()
        }
        for row in self._database.history():
            self._history.appendleft(self._replay(row, after=after))
        if self._history:
            self.rv = max(self.rv, self._history[-1].rv)
            self.compacted = self._history[0].rv - 1

    def _replay(self, row: HistoryRow, *, after: dict[tuple[str, Key], Stored]) -> Event:
        """One step back in time; `after` holds every object as it was after this write, and then as it was before."""
        place = (row.resource, (row.namespace, row.name))
        previous = self._parse(row.resource, key=place[1], body=row.previous) if row.previous is not None else None
        stored = after.get(place)
        if row.type == "DELETED" and previous is not None:
            document = previous.decode()
            body = with_resource_version(document, rv=row.rv)
            stored = self._index(row.resource, key=place[1], rv=row.rv, body=body, document=document)
        if stored is None:
            raise ValueError(f"the store is damaged: no object for write {row.rv} of {row.resource} {row.namespace}/{row.name}")
        if previous is None:
            after.pop(place, None)
        else:
            after[place] = previous
        return Event(row.rv, row.type, row.resource, stored, previous)

    def _parse(self, resource: str, *, key: Key, body: bytes) -> Stored:
        document = msgspec.json.decode(body)
        return self._index(resource, key=key, rv=int(document["metadata"]["resourceVersion"]), body=body, document=document)

"""What we know of one kind: objects by UID, never back in resourceVersion. Pure: it is fed by `watching` and by our own writes.

A write's answer may arrive before or after the watch event of the same change, or of a later one, or of the deletion. So every
object is compared with what is known of its UID, and a deletion that was seen is remembered for a while.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from k8s.client.notices import Changed, Deleted, Listed
from k8s.client.resources import Identity, identify, version_number

T = TypeVar("T")

MAX_REMEMBERED_DELETIONS = 16_384
"""About 3 MB. A late answer comes within a request deadline of 10 s; 300 Runs a second end in that time 3,000 times."""

FOREVER = 1 << 63
"""Newer than any resourceVersion: after a GET said NotFound, that UID never comes back."""


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """`old` is None for an object that is new to us, `new` is None for one that is gone."""

    old: T | None
    new: T | None


@dataclass(frozen=True, slots=True)
class _Entry(Generic[T]):
    object: T
    version: int
    name: tuple[str, str]


class Cache(Generic[T]):
    """Objects of one kind by UID. `feed` it the watch, let it `take` answers, `drop` what a GET did not find."""

    def __init__(self, *, max_remembered_deletions: int = MAX_REMEMBERED_DELETIONS) -> None:
        self._entries: dict[str, _Entry[T]] = {}
        self._uids: dict[tuple[str, str], str] = {}
        self._deletions: OrderedDict[str, int] = OrderedDict()
        self._max_deletions = max_remembered_deletions
        self._seen_version = 0
        self._listed_version = -1
        self.is_synced = False
        """Whether a list has been taken in: before that, absence means nothing."""

    def feed(self, event: Listed[T] | Changed[T] | Deleted[T]) -> list[Change[T]]:
        """What the event changes, in order; empty when it is old news."""
        if isinstance(event, Listed):
            return self._replace_all(event)
        identity = identify(event.object)
        self._seen_version = max(self._seen_version, identity.resource_version)
        if isinstance(event, Changed):
            # A replayed event about what the list did not show any more: it was created and deleted before the list.
            change = self._put(event.object, identity, floor=self._listed_version)
        else:
            change = self._remove(identity.uid, identity.resource_version)
        return [change] if change else []

    def take(self, object: T) -> Change[T] | None:  # noqa: A002
        """The answer of a write or a GET. None when something as new is known, or it has been deleted since."""
        # The watch has passed that version: what it does not show was deleted, or left the selection, before.
        return self._put(object, identify(object), floor=self._seen_version)

    def drop(self, uid: str) -> Change[T] | None:
        """A GET said NotFound: this UID is gone for good, whatever old events still arrive."""
        return self._remove(uid, FOREVER)

    def get(self, uid: str) -> T | None:
        entry = self._entries.get(uid)
        return entry.object if entry else None

    def by_name(self, namespace: str, name: str) -> T | None:
        """The newest object of that name. Names are for humans; identity is the UID."""
        return self.get(self._uids.get((namespace, name), ""))

    def __iter__(self) -> Iterator[T]:
        return iter([entry.object for entry in self._entries.values()])

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, uid: object) -> bool:
        return uid in self._entries

    def _replace_all(self, listed: Listed[T]) -> list[Change[T]]:
        version = version_number(listed.resource_version)
        # A list older than one before shows nothing new: what it has beyond that one is gone since.
        floor = self._listed_version if version < self._listed_version else -1
        self._seen_version = max(self._seen_version, version)
        self._listed_version = max(self._listed_version, version)
        self.is_synced = True
        items = [(item, identify(item)) for item in listed.items]
        present = {identity.uid for _, identity in items}
        absent = [uid for uid in self._entries if uid not in present]
        removed = [self._remove(uid, version) for uid in absent]
        put = [self._put(item, identity, floor=floor) for item, identity in items]
        return [change for change in (*removed, *put) if change]

    def _put(self, object_: T, identity: Identity, *, floor: int) -> Change[T] | None:
        """Takes it in unless as new is known. An unknown UID must be newer than `floor`, up to which all is known."""
        uid, version = identity.uid, identity.resource_version
        known = self._entries.get(uid)
        if known is not None and version <= known.version:
            return None
        if known is None and version <= max(floor, self._deletions.get(uid, -1)):
            return None
        # Newer than the deletion that we saw: it had only left the selection, and is back.
        self._deletions.pop(uid, None)
        self._entries[uid] = _Entry(object_, version, (identity.namespace, identity.name))
        self._point_name_at(uid)
        return Change(old=known.object if known else None, new=object_)

    def _point_name_at(self, uid: str) -> None:
        entry = self._entries[uid]
        other = self._entries.get(self._uids.get(entry.name, ""))
        # A late answer about the former object of this name must not hide its successor.
        if other is None or other.version <= entry.version:
            self._uids[entry.name] = uid

    def _remove(self, uid: str, version: int) -> Change[T] | None:
        known = self._entries.get(uid)
        if known is not None and known.version > version:
            # What is newer is not contradicted: our own create, answered while an older list was on its way.
            return None
        self._remember_deletion(uid, version)
        if known is None:
            return None
        del self._entries[uid]
        if self._uids.get(known.name) == uid:
            del self._uids[known.name]
        return Change(old=known.object, new=None)

    def _remember_deletion(self, uid: str, version: int) -> None:
        self._deletions[uid] = max(version, self._deletions.get(uid, -1))
        self._deletions.move_to_end(uid)
        while len(self._deletions) > self._max_deletions:
            self._deletions.popitem(last=False)

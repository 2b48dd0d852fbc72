"""What follows a write without anybody asking: dependents of deleted owners, contents of deleted namespaces, objects of deleted CRDs.

It plays Kubernetes' garbage collector and namespace controller. Woken by events, level-based: what it finds to do it derives
from the store, so a restart in the middle of a deletion goes on with it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict
from typing import Any

from controlplane.local.apiserver import crds
from controlplane.local.apiserver.audit import Audit
from controlplane.local.apiserver.database import DiskFull
from controlplane.local.apiserver.definitions import Definition, Registry
from controlplane.local.apiserver.deletion import FOREGROUND, ORPHAN, DeleteOptions, Deletion
from controlplane.local.apiserver.kinds import CRD_CLEANUP
from controlplane.local.apiserver.requests import Target
from controlplane.local.apiserver.store import Event, Key, Store, Stored
from controlplane.local.apiserver.verbs import Outcome

USER_AGENT = "kruntimes-local-collector"

Place = tuple[str, Key]
"""(resource, key) of an object."""

_BATCH = 100
"""Objects looked at before other requests get their turn."""
_FULL_SECONDS = 0.5
"""Until it is tried again whether the disk takes writes: nobody tells when it does."""


class Collector:
    """Run `run` as a task; `offer` is one of the store's callbacks."""

    def __init__(self, store: Store, *, registry: Registry, audit: Audit | None) -> None:
        self._store = store
        self._registry = registry
        self._deletion = Deletion(store)
        self._audit = audit
        self._places: dict[str, Place] = {}
        self._dependents: dict[str, set[Place]] = defaultdict(set)
        self._due: OrderedDict[Place, None] = OrderedDict()
        self._wake = asyncio.Event()
        store.on_event.append(self.offer)

    def scan(self) -> None:
        """Once at start: indexes everything, and looks at whatever may need work."""
        for definition in self._registry:
            for stored in self._store.collection(definition.resource).scan(namespace=""):
                self._index(definition.resource, stored=stored)
                if stored.owners or b'"deletionTimestamp"' in stored.body:
                    self._look_at((definition.resource, stored.key))

    def offer(self, event: Event) -> None:
        place = (event.resource, event.stored.key)
        if event.previous is not None:
            self._forget(place, stored=event.previous)
        if event.type == "DELETED":
            for dependent in self._dependents.get(event.stored.uid, ()):
                self._look_at(dependent)
            self._look_at_waiting_owners(event)
            return
        self._index(event.resource, stored=event.stored)
        if event.stored.owners or b'"deletionTimestamp"' in event.stored.body:
            self._look_at(place)

    def _look_at_waiting_owners(self, event: Event) -> None:
        """Somebody may wait for this deletion: an owner in the foreground, a namespace, a CRD."""
        for uid in event.stored.owners:
            if uid in self._places:
                self._look_at(self._places[uid])
        self._look_at(("namespaces", ("", event.stored.key[0])))
        self._look_at((crds.RESOURCE, ("", event.resource)))

    def _index(self, resource: str, *, stored: Stored) -> None:
        self._places[stored.uid] = (resource, stored.key)
        for uid in stored.owners:
            self._dependents[uid].add((resource, stored.key))

    def _forget(self, place: Place, *, stored: Stored) -> None:
        self._places.pop(stored.uid, None)
        for uid in stored.owners:
            self._dependents[uid].discard(place)
            if not self._dependents[uid]:
                del self._dependents[uid]

    def _look_at(self, place: Place) -> None:
        self._due[place] = None
        self._wake.set()

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._due:
                try:
                    self.collect_due(limit=_BATCH)
                except DiskFull:
                    await asyncio.sleep(_FULL_SECONDS)
                await asyncio.sleep(0)

    def collect_due(self, *, limit: int) -> None:
        """Does what is due now, and what becomes due by it. Raises DiskFull: what could not be done is still due."""
        while self._due and limit > 0:
            place = next(iter(self._due))
            del self._due[place]
            try:
                self._collect(place)
            except DiskFull:
                self._due[place] = None
                raise
            limit -= 1

    # --- one object

    def _collect(self, place: Place) -> None:
        resource, key = place
        definition, stored = self._registry.named(resource), self._store.get(resource, key=key)
        if definition is None or stored is None:
            return
        document = stored.decode()
        if document["metadata"].get("deletionTimestamp"):
            self._finish(definition, stored=stored, document=document)
        elif stored.owners and not self._has_living_owner(document, namespace=key[0]):
            self._delete(definition, stored=stored, policy="")

    def _has_living_owner(self, document: dict[str, Any], *, namespace: str) -> bool:
        """Any owner that exists, under its UID, and is not waiting for its dependents to go."""
        return any(self._is_living(reference["uid"], namespace=namespace) for reference in document["metadata"]["ownerReferences"])

    def _is_living(self, uid: str, *, namespace: str) -> bool:
        place = self._places.get(uid)
        if place is None or place[1][0] not in ("", namespace):
            return False
        owner = self._store.get(place[0], key=place[1])
        return owner is not None and not _waits_for_dependents(owner)

    def _finish(self, definition: Definition, *, stored: Stored, document: dict[str, Any]) -> None:
        """One step of a deletion that is under way."""
        finalizers = document["metadata"].get("finalizers") or []
        if definition.resource == "namespaces":
            self._empty_namespace(stored, document=document)
        elif definition.resource == crds.RESOURCE and CRD_CLEANUP in finalizers:
            self._remove_instances(stored, document=document)
        elif FOREGROUND in finalizers:
            self._delete_dependents_first(definition, stored=stored, document=document)
        elif ORPHAN in finalizers:
            self._orphan_dependents(definition, stored=stored, document=document)
        elif stored.owners and not self._has_living_owner(document, namespace=stored.key[0]):
            return

    def _delete_dependents_first(self, definition: Definition, *, stored: Stored, document: dict[str, Any]) -> None:
        waiting = False
        for resource, key in list(self._dependents.get(stored.uid, ())):
            dependent, kind = self._store.get(resource, key=key), self._registry.named(resource)
            if dependent is None or kind is None:
                continue
            if any(self._is_living(uid, namespace=key[0]) for uid in dependent.owners if uid != stored.uid):
                continue
            if b'"deletionTimestamp"' not in dependent.body:
                self._delete(kind, stored=dependent, policy="Foreground")
            waiting = waiting or self._store.get(resource, key=key) is not None
        if not waiting:
            self._remove_finalizer(definition, stored=stored, document=document, finalizer=FOREGROUND)

    def _orphan_dependents(self, definition: Definition, *, stored: Stored, document: dict[str, Any]) -> None:
        for resource, key in list(self._dependents.get(stored.uid, ())):
            dependent = self._store.get(resource, key=key)
            if dependent is not None:
                orphan = dependent.decode()
                kept = [owner for owner in orphan["metadata"]["ownerReferences"] if owner["uid"] != stored.uid]
                orphan["metadata"]["ownerReferences"] = kept
                if not kept:
                    del orphan["metadata"]["ownerReferences"]
                self._put(resource, before=dependent, document=orphan)
        self._remove_finalizer(definition, stored=stored, document=document, finalizer=ORPHAN)

    def _empty_namespace(self, stored: Stored, *, document: dict[str, Any]) -> None:
        name, left = stored.key[1], False
        for definition in self._registry:
            if definition.namespaced:
                left = self._delete_all(definition, namespace=name) or left
        if not left and not document["metadata"].get("finalizers"):
            document["spec"] = {}
            self._remove("namespaces", before=stored, document=document)

    def _remove_instances(self, stored: Stored, *, document: dict[str, Any]) -> None:
        definition = self._registry.named(stored.key[1])
        if definition is None or not self._delete_all(definition, namespace=""):
            kind = self._registry.named(crds.RESOURCE)
            if kind is not None:
                self._remove_finalizer(kind, stored=stored, document=document, finalizer=CRD_CLEANUP)

    def _delete_all(self, definition: Definition, *, namespace: str) -> bool:
        """Deletes what is not being deleted yet; whether any is left."""
        found = list(self._store.collection(definition.resource).scan(namespace=namespace))
        for stored in found:
            if b'"deletionTimestamp"' not in stored.body:
                self._delete(definition, stored=stored, policy="Background")
        return any(self._store.get(definition.resource, key=stored.key) is not None for stored in found)

    # --- writes

    def _delete(self, definition: Definition, *, stored: Stored, policy: str) -> None:
        target = Target(definition, stored.key[0], stored.key[1], "")
        outcome = self._deletion.delete(target, wish=DeleteOptions(uid=stored.uid, policy=policy))
        self._record("delete", definition.resource, outcome=outcome)

    def _remove_finalizer(self, definition: Definition, *, stored: Stored, document: dict[str, Any], finalizer: str) -> None:
        meta = document["metadata"]
        meta["finalizers"] = [name for name in meta["finalizers"] if name != finalizer]
        if meta["finalizers"]:
            self._put(definition.resource, before=stored, document=document)
            return
        del meta["finalizers"]
        if meta.get("deletionGracePeriodSeconds"):
            self._put(definition.resource, before=stored, document=document)
        else:
            self._remove(definition.resource, before=stored, document=document)

    def _put(self, resource: str, *, before: Stored, document: dict[str, Any]) -> None:
        after = self._store.put(resource, key=before.key, document=document)
        self._record("update", resource, outcome=Outcome(200, b"", before, after))

    def _remove(self, resource: str, *, before: Stored, document: dict[str, Any]) -> None:
        after = self._store.delete(resource, key=before.key, last=document)
        self._record("delete", resource, outcome=Outcome(200, b"", before, after))

    def _record(self, verb: str, resource: str, *, outcome: Outcome) -> None:
        if self._audit is not None and outcome.after is not None:
            self._audit.record(
                user_agent=USER_AGENT,
                verb=verb,
                resource=resource,
                subresource="",
                namespace=outcome.after.key[0],
                name=outcome.after.key[1],
                code=outcome.code,
                before=outcome.before,
                after=outcome.after,
            )


def _waits_for_dependents(owner: Stored) -> bool:
    if FOREGROUND.encode() not in owner.body:
        return False
    meta = owner.decode()["metadata"]
    return bool(meta.get("deletionTimestamp")) and FOREGROUND in (meta.get("finalizers") or ())

"""Delete: preconditions, finalizers, grace periods, propagation; one object or a collection.

What follows a deletion (dependents, the contents of a namespace, the objects of a CRD) is the `collector`'s work.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec

from controlplane.local.apiserver import kinds
from controlplane.local.apiserver.admission import Document
from controlplane.local.apiserver.definitions import Definition
from controlplane.local.apiserver.requests import Options, Target
from controlplane.local.apiserver.statuses import Cause, bad_request, conflict, invalid_options, not_found, success
from controlplane.local.apiserver.store import Store, Stored
from controlplane.local.apiserver.verbs import Outcome

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
_POLICIES = {"Foreground": FOREGROUND, "Orphan": ORPHAN, "Background": ""}


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """The body and the query of a deletion, combined; the body wins."""

    uid: str = ""
    resource_version: str = ""
    grace_seconds: int | None = None
    policy: str = ""
    is_dry_run: bool = False


class _Preconditions(msgspec.Struct):
    """meta/v1 Preconditions."""

    uid: str | None = None
    resourceVersion: str | None = None  # noqa: N815 - Kubernetes' name


class _Body(msgspec.Struct):
    """meta/v1 DeleteOptions, what of it means something here."""

    preconditions: _Preconditions | None = None
    gracePeriodSeconds: int | None = None  # noqa: N815
    propagationPolicy: str | None = None  # noqa: N815
    orphanDependents: bool | None = None  # noqa: N815
    dryRun: list[str] | None = None  # noqa: N815


def parse_options(body: bytes, *, options: Options) -> DeleteOptions:
    given = _decode(body)
    preconditions = given.preconditions or _Preconditions()
    grace = given.gracePeriodSeconds
    if grace is None and options.query.get("gracePeriodSeconds"):
        grace = options.number("gracePeriodSeconds")
    return DeleteOptions(
        uid=preconditions.uid or "",
        resource_version=preconditions.resourceVersion or "",
        grace_seconds=grace,
        policy=_policy(given, options=options),
        is_dry_run=given.dryRun == ["All"] or options.is_dry_run(options_kind="DeleteOptions"),
    )


def _decode(body: bytes) -> _Body:
    try:
        return msgspec.json.decode(body or b"{}", type=_Body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise bad_request(f"DeleteOptions cannot be read: {error}") from error


def _policy(given: _Body, *, options: Options) -> str:
    policy = given.propagationPolicy or options.query.get("propagationPolicy", "")
    if policy and given.orphanDependents is not None:
        message = f'Invalid value: "{policy}": orphanDependents and deletionPropagation cannot be both set'
        raise invalid_options("DeleteOptions", cause=Cause("FieldValueInvalid", message, "propagationPolicy"))
    if policy and policy not in _POLICIES:
        message = f'Unsupported value: "{policy}": supported values: "Foreground", "Background", "Orphan", "nil"'
        raise invalid_options("DeleteOptions", cause=Cause("FieldValueNotSupported", message, "propagationPolicy"))
    return policy or ("Orphan" if given.orphanDependents else "")


class Deletion:
    """The deleting verbs over one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def delete(self, target: Target, *, wish: DeleteOptions) -> Outcome:
        definition = target.definition
        before = self._store.get(definition.resource, key=target.key)
        if before is None:
            raise not_found(target.name, group=definition.group, plural=definition.plural)
        _check_preconditions(before, wish=wish, definition=definition)
        return self._delete(before, wish=wish, definition=definition)

    def delete_many(self, chosen: list[Stored], *, wish: DeleteOptions, definition: Definition) -> Iterator[Outcome]:
        for stored in chosen:
            current = self._store.get(definition.resource, key=stored.key)
            if current is not None:
                yield self._delete(current, wish=wish, definition=definition)

    def _delete(self, before: Stored, *, wish: DeleteOptions, definition: Definition) -> Outcome:
        document = before.decode()
        _set_finalizers(document, policy=wish.policy)
        seconds = kinds.grace_seconds(definition.resource, document=document, asked=wish.grace_seconds)
        if not seconds and not _is_held(document, definition=definition):
            return self._remove(before, document=document, wish=wish, definition=definition)
        _mark(document, seconds=seconds, definition=definition)
        if wish.is_dry_run or document == before.decode():
            return Outcome(200, msgspec.json.encode(document), before, before)
        after = self._store.put(definition.resource, key=before.key, document=document)
        return Outcome(200, after.body, before, after)

    def _remove(self, before: Stored, *, document: Document, wish: DeleteOptions, definition: Definition) -> Outcome:
        returned = definition.resource in kinds.RETURNED_WHEN_DELETED
        status = success(before.key[1], group=definition.group, plural=definition.plural, uid=before.uid)
        if wish.is_dry_run:
            return Outcome(200, before.body if returned else msgspec.json.encode(status), before, before)
        after = self._store.delete(definition.resource, key=before.key, last=document)
        return Outcome(200, after.body if returned else msgspec.json.encode(status), before, after)


def _check_preconditions(before: Stored, *, wish: DeleteOptions, definition: Definition) -> None:
    if wish.uid and wish.uid != before.uid:
        raise conflict(
            before.key[1],
            group=definition.group,
            plural=definition.kind,
            message=f"the UID in the precondition ({wish.uid}) does not match the UID in record ({before.uid}). "
            "The object might have been deleted and then recreated",
        )
    if wish.resource_version and wish.resource_version != str(before.rv):
        raise conflict(
            before.key[1],
            group=definition.group,
            plural=definition.kind,
            message=f"the ResourceVersion in the precondition ({wish.resource_version}) does not match the ResourceVersion in record "
            f"({before.rv}). The object might have been modified",
        )


def _set_finalizers(document: Document, *, policy: str) -> None:
    """The propagation policy lives in the object as a finalizer, until the collector has done what it asks for."""
    if not policy:
        return
    meta = document["metadata"]
    kept = [name for name in meta.get("finalizers") or () if name not in (FOREGROUND, ORPHAN)]
    wanted = _POLICIES[policy]
    meta["finalizers"] = [*kept, wanted] if wanted else kept
    if not meta["finalizers"]:
        del meta["finalizers"]


def _is_held(document: Document, *, definition: Definition) -> bool:
    return bool(document["metadata"].get("finalizers")) or definition.resource == "namespaces"


def _mark(document: Document, *, seconds: int, definition: Definition) -> None:
    """Sets the deletion time; a second deletion can only shorten the grace period."""
    meta = document["metadata"]
    if meta.get("deletionTimestamp"):
        if seconds < meta.get("deletionGracePeriodSeconds", 0):
            meta["deletionTimestamp"], meta["deletionGracePeriodSeconds"] = _instant(seconds), seconds
        return
    meta["deletionTimestamp"] = _instant(seconds)
    if definition.resource != "namespaces":
        meta["deletionGracePeriodSeconds"] = seconds
    else:
        document.setdefault("status", {})["phase"] = "Terminating"
    if "generation" in meta:
        meta["generation"] += 1


def _instant(seconds: int) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")

"""Get and list: consistent reads, old snapshots, pages.

A page's continue token carries the resourceVersion of the first page, so that all pages show one state.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import msgspec

from controlplane.local.apiserver.definitions import Definition
from controlplane.local.apiserver.requests import Options, Target
from controlplane.local.apiserver.selectors import Selector, parse_selector
from controlplane.local.apiserver.statuses import Refused, bad_request, gone, not_found
from controlplane.local.apiserver.store import Compacted, Key, Store, Stored

_NEWEST = 0
"""In a continue token: go on in whatever state is current."""


@dataclass(frozen=True, slots=True)
class Page:
    """Items of a list in one state; `next` is the continue token, empty on the last page."""

    items: Sequence[Stored]
    rv: int
    next: str = ""
    remaining: int | None = None


def selector_of(target: Target, *, options: Options) -> Selector:
    fields = ("metadata.name", "metadata.namespace", *target.definition.selectable)
    return parse_selector(labels=options.label_selector, fields=options.field_selector, selectable=fields)


def parse_version(text: str) -> int:
    """A resourceVersion of the query; "" is 0. Raises 400."""
    if not text:
        return 0
    if not text.isdigit():
        quoted = f'"{text}"'
        message = f"resourceVersion: Invalid value: {quoted}: strconv.ParseUint: parsing {quoted}: invalid syntax"
        raise bad_request(f"invalid resource version: {message}")
    return int(text)


class Reader:
    """The reading verbs over one store. `staleness` of a call makes it answer with a state so many writes ago (a failpoint)."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, target: Target, *, options: Options, staleness: int = 0) -> Stored:
        definition = target.definition
        self._check_reached(parse_version(options.resource_version))
        collection = self._store.snapshot(definition.resource, rv=self._past(staleness))
        stored = collection.objects.get(target.key)
        if stored is None:
            raise not_found(target.name, group=definition.group, plural=definition.plural)
        return stored

    def list(self, target: Target, *, options: Options, staleness: int = 0) -> Page:
        selector = selector_of(target, options=options)
        limit = options.number("limit")
        rv, after = self._state(options, staleness=staleness)
        try:
            collection = self._store.snapshot(target.definition.resource, rv=rv)
        except Compacted as error:
            raise self._expired(rv, after=after) from error
        found = collection.scan(namespace=target.namespace, after=after)
        chosen = found if selector.is_empty else (stored for stored in found if stored.matches(selector))
        if limit <= 0:
            return Page(list(chosen), rv)
        items = list(islice(chosen, limit))
        more = sum(1 for _ in chosen)
        if not more:
            return Page(items, rv)
        # With a selector the real server does not know how many remain.
        return Page(items, rv, _encode_token(rv, key=items[-1].key), more if selector.is_empty else None)

    def _state(self, options: Options, *, staleness: int) -> tuple[int, Key | None]:
        """The resourceVersion to read at, and the key after which the page starts."""
        token = options.query.get("continue", "")
        if token:
            if options.resource_version not in ("", "0"):
                raise bad_request("specifying resource version is not allowed when using continue")
            rv, after = _decode_token(token)
            return (rv or self._store.rv), after
        given = parse_version(options.resource_version)
        self._check_reached(given)
        exact = options.version_match == "Exact" or (given and options.number("limit") and options.version_match != "NotOlderThan")
        return (given if exact and given else self._past(staleness)), None

    def _past(self, staleness: int) -> int:
        return max(self._store.compacted, self._store.rv - staleness)

    def _check_reached(self, rv: int) -> None:
        if rv > self._store.rv:
            message = "Too large resource version"
            details = {"causes": [{"reason": "ResourceVersionTooLarge", "message": message}], "retryAfterSeconds": 1}
            text = f"Timeout: {message}: {rv}, current: {self._store.rv}"
            raise Refused(text, code=504, reason="Timeout", details=details, headers={"Retry-After": "1"})

    def _expired(self, rv: int, *, after: Key | None) -> Refused:
        if after is not None:
            message = (
                "The provided continue parameter is too old to display a consistent list result. You can start a new list without the "
                "continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with "
                "the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the "
                "first chunk was returned and now may show up in the list."
            )
            return Refused(message, code=410, reason="Expired", meta={"continue": _encode_token(_NEWEST, key=after)})
        return gone(f"The resourceVersion for the provided list is too old: {rv} ({self._store.compacted})")


def encode_list(page: Page, *, definition: Definition) -> bytes:
    """The list from the bytes of its items."""
    meta: dict[str, object] = {"resourceVersion": str(page.rv)}
    if page.next:
        meta["continue"] = page.next
    if page.remaining is not None:
        meta["remainingItemCount"] = page.remaining
    head = msgspec.json.encode({"kind": definition.kind_of_list, "apiVersion": definition.group_version, "metadata": meta})
    return head[:-1] + b',"items":[' + b",".join([stored.body for stored in page.items]) + b"]}\n"


def _encode_token(rv: int, *, key: Key) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode({"v": "meta.k8s.io/v1", "rv": rv, "start": list(key)})).decode().rstrip("=")


def _decode_token(token: str) -> tuple[int, Key]:
    try:
        decoded = msgspec.json.decode(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        namespace, name = decoded["start"]
        return max(_NEWEST, int(decoded["rv"])), (str(namespace), str(name))
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, IndexError, ValueError) as error:
        raise bad_request(f"invalid continue token: continue key is not valid: {error}") from error

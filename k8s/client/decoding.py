"""From bytes to typed objects. One object that we cannot read never hides the others: it is logged and left out."""

from __future__ import annotations

import functools
import logging
from typing import Any, Generic, TypeVar, cast

import msgspec

from k8s.client.errors import UnreadableAnswer, cut
from k8s.client.resources import JsonObject, Resource

T = TypeVar("T")
logger = logging.getLogger(__name__)


class ListMeta(msgspec.Struct, rename="camel"):
    """metav1.ListMeta. Without a resourceVersion it is no list: `{}` must never be taken for "there is nothing"."""

    resource_version: str
    continue_: str = msgspec.field(default="", name="continue")
    remaining_item_count: int | None = None


class _Page(msgspec.Struct, Generic[T]):
    metadata: ListMeta
    items: list[T] | None


class WatchEvent(msgspec.Struct):
    """One line of a watch: the object stays raw until its type says what it is."""

    type: str
    object: msgspec.Raw


class _Named(msgspec.Struct):
    metadata: dict[str, Any] = {}


class _Versioned(msgspec.Struct, rename="camel"):
    resource_version: str = ""


class Bookmark(msgspec.Struct):
    """An object of which only the resourceVersion means something."""

    metadata: _Versioned


decode_event = msgspec.json.Decoder(WatchEvent).decode
decode_bookmark = msgspec.json.Decoder(Bookmark).decode


@functools.cache
def _decoder(type_: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(type_)


@functools.cache
def _page_decoder(type_: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(_Page[type_])


def decode_object(resource: Resource[T], body: bytes | msgspec.Raw, *, what: str) -> T:
    """One object. Raises UnreadableAnswer, which never shows the payload."""
    try:
        return cast("T", _decoder(cast("Any", resource.type)).decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableAnswer(f"{what}: the answer is no {resource.kind} that we can read: {cut(str(error))}") from error


def decode_page(resource: Resource[T], body: bytes, *, what: str) -> tuple[list[T], ListMeta]:
    """The items of a list that can be read, and the list's own metadata."""
    try:
        page = _page_decoder(cast("Any", resource.type)).decode(body)
    except msgspec.ValidationError:
        return _decode_one_by_one(resource, body, what=what)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableAnswer(f"{what}: the answer is not the JSON of a list: {cut(str(error))}") from error
    return _with_kind(resource, page.items or []), page.metadata


def try_decode(resource: Resource[T], raw: msgspec.Raw) -> T | None:
    """The object, or None after logging which one cannot be read."""
    try:
        return cast("T", _decoder(cast("Any", resource.type)).decode(raw))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        _log_unreadable(resource, raw, error)
        return None


def _decode_one_by_one(resource: Resource[T], body: bytes, *, what: str) -> tuple[list[T], ListMeta]:
    try:
        page = _page_decoder(msgspec.Raw).decode(body)
    except msgspec.DecodeError as error:
        raise UnreadableAnswer(f"{what}: the answer is no list: {cut(str(error))}") from error
    objects = [try_decode(resource, raw) for raw in page.items or []]
    return _with_kind(resource, [object_ for object_ in objects if object_ is not None]), page.metadata


def _with_kind(resource: Resource[T], items: list[T]) -> list[T]:
    # Items of a list of a built-in kind come without apiVersion and kind; whoever prints or refers to them needs both.
    for item in items:
        if isinstance(item, dict):
            plain: JsonObject = item
            plain.setdefault("apiVersion", resource.api_version)
            plain.setdefault("kind", resource.kind)
    return items


def _log_unreadable(resource: Resource[Any], raw: msgspec.Raw, error: Exception) -> None:
    try:
        metadata = _decoder(_Named).decode(raw).metadata
    except msgspec.DecodeError:
        metadata = {}
    logger.error(
        "object cannot be read and is left out",
        extra={
            "kind": resource.kind,
            "namespace": metadata.get("namespace"),
            "object": metadata.get("name"),
            "uid": metadata.get("uid"),
            "error": cut(str(error)),
        },
    )

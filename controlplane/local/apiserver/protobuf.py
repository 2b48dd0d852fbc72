"""The few objects that kubectl sends as protobuf and not as JSON: those of `kubectl create namespace|configmap|secret|serviceaccount`.

Written against the wire format, with a table of the fields that these commands set; a field that is not in the table is refused
rather than lost. Everything else that kubectl and our own processes send is JSON or YAML, so this stays small.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from controlplane.local.apiserver.statuses import Refused

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\0"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

Document = dict[str, Any]


class NotReadable(ValueError):
    """Not such an object, or one with a field that we do not know."""


@dataclass(frozen=True, slots=True)
class _Field:
    """Where a value goes in the JSON object, and how it is read. A map's entries are messages of key (1) and value (2)."""

    name: str
    read: Callable[[bytes], Any]
    is_map: bool = False


def _text(data: bytes) -> str:
    return data.decode()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _reader(fields: dict[int, _Field]) -> Callable[[bytes], Document]:
    return lambda data: _read_message(data, fields)


_TYPE_META = {1: _Field("apiVersion", _text), 2: _Field("kind", _text)}
_OBJECT_META = {
    1: _Field("name", _text),
    2: _Field("generateName", _text),
    3: _Field("namespace", _text),
    4: _Field("selfLink", _text),
    5: _Field("uid", _text),
    6: _Field("resourceVersion", _text),
    8: _Field("creationTimestamp", lambda data: None),
    11: _Field("labels", _text, is_map=True),
    12: _Field("annotations", _text, is_map=True),
}
_METADATA = {1: _Field("metadata", _reader(_OBJECT_META))}
_EMPTY = _reader({})
_KINDS: dict[str, dict[int, _Field]] = {
    "Namespace": _METADATA | {2: _Field("spec", _EMPTY), 3: _Field("status", _reader({1: _Field("phase", _text)}))},
    "ConfigMap": _METADATA | {2: _Field("data", _text, is_map=True), 3: _Field("binaryData", _base64, is_map=True)},
    "Secret": _METADATA | {2: _Field("data", _base64, is_map=True), 3: _Field("type", _text), 4: _Field("stringData", _text, is_map=True)},
    "ServiceAccount": _METADATA,
}


def decode(body: bytes) -> Document:
    """The object as JSON would have it. Raises Refused with what to do instead."""
    try:
        return _read_object(body)
    except NotReadable as error:
        remedy = "send JSON; with kubectl, add --dry-run=client -o yaml and pipe it into kubectl create -f -"
        raise Refused(f"{error} by this server; {remedy}", code=415, reason="UnsupportedMediaType") from error


def _read_object(body: bytes) -> Document:
    if not body.startswith(_MAGIC):
        raise NotReadable("the body is no Kubernetes protobuf object")
    envelope = dict(_wire_fields(body[len(_MAGIC) :]))
    meta = _read_message(_bytes(envelope.get(1, b"")), _TYPE_META)
    fields = _KINDS.get(meta.get("kind", ""))
    if fields is None:
        raise NotReadable(f"a {meta.get('kind', 'body')} in protobuf is not understood")
    return meta | _read_message(_bytes(envelope.get(2, b"")), fields)


def _read_message(data: bytes, fields: dict[int, _Field]) -> Document:
    """Empty texts are left out: protobuf writes them for fields that nobody set."""
    result: Document = {}
    for number, value in _wire_fields(data):
        field = fields.get(number)
        if field is None:
            if value in (0, b""):
                continue
            raise NotReadable(f"protobuf field {number} is not understood")
        if field.is_map:
            key, entry = _entry(_bytes(value))
            result.setdefault(field.name, {})[_decoded(_text, key)] = _decoded(field.read, entry)
        elif (read := _decoded(field.read, _bytes(value))) not in ("", None, {}):
            result[field.name] = read
    return result


def _entry(data: bytes) -> tuple[bytes, bytes]:
    parts = dict(_wire_fields(data))
    return _bytes(parts.get(1, b"")), _bytes(parts.get(2, b""))


def _decoded(read: Callable[[bytes], Any], data: bytes) -> Any:
    try:
        return read(data)
    except UnicodeDecodeError as error:
        raise NotReadable("a text is not UTF-8") from error


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise NotReadable("a number where an object or a text belongs")
    return value


def _wire_fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field number and value, in the order of the message."""
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, place = _varint(data, place)
            yield number, value
            continue
        if kind == _BYTES:
            size, place = _varint(data, place)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise NotReadable(f"unknown wire type {kind}")
        if place + size > len(data):
            raise NotReadable("the body is cut")
        yield number, data[place : place + size]
        place += size


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if place >= len(data) or shift > 63:
            raise NotReadable("the body is cut")
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7

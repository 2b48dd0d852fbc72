"""Reading the protobuf bodies that kubectl sends of some built-in kinds (kubectl create namespace, configmap, role, deployment, …).

Kubernetes' wire format is an envelope around the kind's own message. Only fields that such commands fill in are known here;
a body that sets any other is refused by name, never stored without it. Answers are always JSON, which every client accepts.
Field numbers: the generated.proto files of k8s.io/api and k8s.io/apimachinery.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from controlplane.local.apiserver.statuses import Refused

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_REMEDY = "send JSON; with kubectl, add --dry-run=client -o yaml and pipe it into kubectl create -f -"

Value = int | bytes
Reader = Callable[[Value], Any]
Message = Mapping[int, tuple[str, Reader]]
"""Field number to name and reader; a name that ends in [] is a list, in {} a map."""


class _Unreadable(ValueError):
    """Not such an object, or with a field that is not known here."""


def decode(body: bytes) -> dict[str, Any]:
    """The object in the envelope, as its JSON would be. Raises 415 for what cannot be read."""
    try:
        if not body.startswith(_MAGIC):
            raise _Unreadable("it does not begin as one")
        envelope = dict(_fields(body[len(_MAGIC) :]))
        types = dict(_fields(_bytes(envelope.get(1, b""))))
        kind = _text(types.get(2, b""))
        if kind not in _KINDS:
            raise _Unreadable(f"a {kind or 'nameless kind'} is not understood in this format, only {', '.join(_KINDS)} are")
        return {"apiVersion": _text(types.get(1, b"")), "kind": kind} | _read(_bytes(envelope.get(2, b"")), fields=_KINDS[kind])
    except (_Unreadable, IndexError, UnicodeDecodeError) as error:
        raise Refused(f"the protobuf body cannot be read: {error}; {_REMEDY}", code=415, reason="UnsupportedMediaType") from error


# --- the wire


def _varint(data: bytes, *, at: int) -> tuple[int, int]:
    """The number that begins at `at`, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise _Unreadable("it has a number of more than 64 bits")


def _fields(data: bytes) -> Iterator[tuple[int, Value]]:
    at = 0
    while at < len(data):
        tag, at = _varint(data, at=at)
        if tag & 7 == 0:
            value, at = _varint(data, at=at)
            yield tag >> 3, value
        elif tag & 7 == 2:
            size, at = _varint(data, at=at)
            if at + size > len(data):
                raise _Unreadable("it is cut off")
            yield tag >> 3, data[at : at + size]
            at += size
        else:
            raise _Unreadable(f"it has a field of wire type {tag & 7}")


def _bytes(value: Value) -> bytes:
    if isinstance(value, int):
        raise _Unreadable("it has a number where text belongs")
    return value


def _text(value: Value) -> str:
    return _bytes(value).decode()


def _base64(value: Value) -> str:
    return base64.b64encode(_bytes(value)).decode()


def _number(value: Value) -> int:
    if not isinstance(value, int):
        raise _Unreadable("it has text where a number belongs")
    return value - (1 << 64) if value >= 1 << 63 else value


def _flag(value: Value) -> bool:
    return bool(_number(value))


def _ignored(_value: Value) -> None:
    """What the server writes itself."""
    return


def _time(value: Value) -> str | None:
    seconds = _number(dict(_fields(_bytes(value))).get(1, 0))
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if 0 < seconds < 1 << 36 else None


def _message(fields: Message) -> Reader:
    return lambda value: _read(_bytes(value), fields=fields)


def _entry(reader: Reader) -> Reader:
    """One entry of a map."""

    def read(value: Value) -> tuple[str, Any]:
        entry = dict(_fields(_bytes(value)))
        return _text(entry.get(1, b"")), reader(entry.get(2, b""))

    return read


def _read(data: bytes, *, fields: Message) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for number, value in _fields(data):
        if number in fields:
            name, reader = fields[number]
            _put(read, name=name, value=reader(value))
        elif not _is_zero(value):
            raise _Unreadable(f"it sets field {number} beside {', '.join(name for name, _ in fields.values())}")
    return read


def _put(read: dict[str, Any], *, name: str, value: Any) -> None:
    if name.endswith("[]"):
        read.setdefault(name[:-2], []).append(value)
    elif name.endswith("{}"):
        read.setdefault(name[:-2], {}).__setitem__(*value)
    elif value not in (None, "", {}):
        read[name] = value


def _is_zero(value: Value) -> bool:
    """Go writes empty members that are not pointers, also empty messages in messages."""
    if isinstance(value, int):
        return value == 0
    try:
        return all(_is_zero(below) for _, below in _fields(value))
    except (_Unreadable, IndexError):
        return False


# --- the kinds

_OWNER: Message = {
    1: ("kind", _text), 3: ("name", _text), 4: ("uid", _text), 5: ("apiVersion", _text), 6: ("controller", _flag),
    7: ("blockOwnerDeletion", _flag),
}  # fmt: skip
_META: Message = {
    1: ("name", _text), 2: ("generateName", _text), 3: ("namespace", _text), 4: ("selfLink", _text), 5: ("uid", _text),
    6: ("resourceVersion", _text), 8: ("creationTimestamp", _time), 11: ("labels{}", _entry(_text)), 12: ("annotations{}", _entry(_text)),
    13: ("ownerReferences[]", _message(_OWNER)), 14: ("finalizers[]", _text), 17: ("managedFields", _ignored),
}  # fmt: skip
_METADATA = ("metadata", _message(_META))
_PORT: Message = {1: ("name", _text), 2: ("hostPort", _number), 3: ("containerPort", _number), 4: ("protocol", _text)}
_ENV: Message = {1: ("name", _text), 2: ("value", _text)}
_CONTAINER: Message = {
    1: ("name", _text), 2: ("image", _text), 3: ("command[]", _text), 4: ("args[]", _text), 5: ("workingDir", _text),
    6: ("ports[]", _message(_PORT)), 7: ("env[]", _message(_ENV)), 14: ("imagePullPolicy", _text),
}  # fmt: skip
_POD_SPEC: Message = {
    2: ("containers[]", _message(_CONTAINER)), 3: ("restartPolicy", _text), 4: ("terminationGracePeriodSeconds", _number),
    8: ("serviceAccountName", _text),
}  # fmt: skip
_TEMPLATE: Message = {1: _METADATA, 2: ("spec", _message(_POD_SPEC))}
_SELECTOR: Message = {1: ("matchLabels{}", _entry(_text))}
_REPLICATED: Message = {1: ("replicas", _number), 2: ("selector", _message(_SELECTOR)), 3: ("template", _message(_TEMPLATE))}
_RULE: Message = {1: ("verbs[]", _text), 2: ("apiGroups[]", _text), 3: ("resources[]", _text), 4: ("resourceNames[]", _text)}
_SUBJECT: Message = {1: ("kind", _text), 2: ("apiGroup", _text), 3: ("name", _text), 4: ("namespace", _text)}
_ROLE_REF: Message = {1: ("apiGroup", _text), 2: ("kind", _text), 3: ("name", _text)}
_LOCAL: Message = {1: ("name", _text)}

_KINDS: dict[str, Message] = {
    "Namespace": {1: _METADATA, 2: ("spec", _ignored), 3: ("status", _ignored)},
    "ConfigMap": {1: _METADATA, 2: ("data{}", _entry(_text)), 3: ("binaryData{}", _entry(_base64)), 4: ("immutable", _flag)},
    "Secret": {
        1: _METADATA, 2: ("data{}", _entry(_base64)), 3: ("type", _text), 4: ("stringData{}", _entry(_text)), 5: ("immutable", _flag),
    },
    "ServiceAccount": {1: _METADATA, 3: ("imagePullSecrets[]", _message(_LOCAL)), 4: ("automountServiceAccountToken", _flag)},
    "Role": {1: _METADATA, 2: ("rules[]", _message(_RULE))},
    "RoleBinding": {1: _METADATA, 2: ("subjects[]", _message(_SUBJECT)), 3: ("roleRef", _message(_ROLE_REF))},
    "Deployment": {1: _METADATA, 2: ("spec", _message(_REPLICATED)), 3: ("status", _ignored)},
}  # fmt: skip

"""ObjectMeta: what every object of every kind must satisfy, and what the server writes into it.

Only checks and small edits of a `metadata` dictionary; when they apply is up to the verbs.
"""

from __future__ import annotations

import random
import re
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from controlplane.local.apiserver.paths import quoted
from controlplane.local.apiserver.statuses import Cause, bad_request

KNOWN = (
    "name", "generateName", "namespace", "selfLink", "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp",
    "deletionGracePeriodSeconds", "labels", "annotations", "ownerReferences", "finalizers", "managedFields",
)  # fmt: skip

_TEXTS = ("name", "generateName", "namespace", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp")

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_NAME_PART = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")

SUBDOMAIN_MESSAGE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
LABEL_MESSAGE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric "
    "character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_VALUE_MESSAGE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_NAME_PART_MESSAGE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. "
    "'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_ANNOTATIONS_BYTES = 262144

_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""As Kubernetes' own: no vowels, so that no words come out."""


def now_text() -> str:
    """Whole seconds, as metav1.Time."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def generate_name(base: str) -> str:
    return base[:58] + "".join(random.choices(_SUFFIX_LETTERS, k=5))  # noqa: S311 - a name, not a secret


def new_uid() -> str:
    return str(uuid.uuid4())


# --- types: what Go's decoder refuses


def check_types(meta: Any, *, kind: str, version: str) -> None:
    """Raises 400 as Go's JSON decoder does when a field has the wrong type."""
    prefix = f'{kind} in version "{version}" cannot be handled as a {kind}: json: cannot unmarshal '
    if not isinstance(meta, dict):
        raise bad_request(f"{prefix}{_go_type(meta)} into Go struct field ObjectMeta.metadata of type v1.ObjectMeta")
    for name in _TEXTS:
        if not isinstance(meta.get(name), (str, type(None))):
            raise bad_request(f"{prefix}{_go_type(meta[name])} into Go struct field ObjectMeta.{name} of type string")
    for name in ("labels", "annotations"):
        _check_texts(meta.get(name), prefix=prefix, name=name)
    for name in ("ownerReferences", "finalizers", "managedFields"):
        if not isinstance(meta.get(name), (list, type(None))):
            raise bad_request(f"{prefix}{_go_type(meta[name])} into Go struct field ObjectMeta.{name} of type []string")
    for name in ("generation", "deletionGracePeriodSeconds"):
        if not isinstance(meta.get(name), (int, type(None))):
            raise bad_request(f"{prefix}{_go_type(meta[name])} into Go struct field ObjectMeta.{name} of type int64")
    if any(not isinstance(owner, dict) for owner in meta.get("ownerReferences") or ()):
        raise bad_request(f"{prefix}string into Go struct field ObjectMeta.ownerReferences of type v1.OwnerReference")
    if any(not isinstance(name, str) for name in meta.get("finalizers") or ()):
        raise bad_request(f"{prefix}number into Go struct field ObjectMeta.finalizers of type string")


def _check_texts(values: Any, *, prefix: str, name: str) -> None:
    if values is None:
        return
    if not isinstance(values, dict):
        raise bad_request(f"{prefix}{_go_type(values)} into Go struct field ObjectMeta.{name} of type map[string]string")
    for value in values.values():
        if not isinstance(value, str):
            raise bad_request(f"{prefix}{_go_type(value)} into Go struct field ObjectMeta.{name} of type string")


def _go_type(value: Any) -> str:
    if value is None:
        return "null"
    return {str: "string", bool: "bool", int: "number", float: "number", dict: "object", list: "array"}[type(value)]


def prune_unknown(meta: dict[str, Any]) -> list[str]:
    """Drops what ObjectMeta does not have; the paths of it. Also drops empty members, as Go's omitempty does."""
    unknown = [name for name in meta if name not in KNOWN]
    for name in unknown:
        del meta[name]
    for name in [name for name, value in meta.items() if value is None or value == "" or value == {} or value == []]:
        del meta[name]
    return [f"metadata.{name}" for name in unknown]


def without_nulls(value: Any) -> Any:
    """What Go's typed decoding leaves of an object: null is absence."""
    if isinstance(value, dict):
        return {key: without_nulls(below) for key, below in value.items() if below is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


# --- rules: what validation refuses


def is_label(text: str) -> bool:
    """A DNS label, as container names are."""
    return len(text) <= 63 and _LABEL.fullmatch(text) is not None


def check_metadata(meta: Mapping[str, Any], *, is_label_name: bool) -> list[Cause]:
    """`is_label_name`: Namespaces and their like are named by DNS labels, all else by DNS subdomains."""
    causes = list(_check_name(meta, is_label_name=is_label_name))
    causes += _check_labels(meta.get("labels") or {})
    causes += _check_annotations(meta.get("annotations") or {})
    causes += _check_owners(meta.get("ownerReferences") or ())
    for finalizer in meta.get("finalizers") or ():
        causes += _check_qualified(finalizer, field="metadata.finalizers")
    return causes


def _check_name(meta: Mapping[str, Any], *, is_label_name: bool) -> Iterator[Cause]:
    pattern, message, limit = (_LABEL, LABEL_MESSAGE, 63) if is_label_name else (_SUBDOMAIN, SUBDOMAIN_MESSAGE, 253)
    base = meta.get("generateName", "")
    if base and not pattern.fullmatch(base.rstrip("-.") + "a"):
        yield Cause("FieldValueInvalid", f"Invalid value: {quoted(base)}: {message}", "metadata.generateName")
    name = meta.get("name", "")
    if not name:
        yield Cause("FieldValueRequired", "Required value: name or generateName is required", "metadata.name")
        return
    if len(name) > limit:
        yield Cause("FieldValueInvalid", f"Invalid value: {quoted(name)}: must be no more than {limit} characters", "metadata.name")
    if not pattern.fullmatch(name):
        yield Cause("FieldValueInvalid", f"Invalid value: {quoted(name)}: {message}", "metadata.name")


def _check_labels(labels: Mapping[str, str]) -> Iterator[Cause]:
    for key, value in labels.items():
        yield from _check_qualified(key, field="metadata.labels")
        if len(value) > 63:
            yield Cause("FieldValueInvalid", f"Invalid value: {quoted(value)}: must be no more than 63 bytes", "metadata.labels")
        if value and not _NAME_PART.fullmatch(value):
            yield Cause("FieldValueInvalid", f"Invalid value: {quoted(value)}: {_VALUE_MESSAGE}", "metadata.labels")


def _check_annotations(annotations: Mapping[str, str]) -> Iterator[Cause]:
    for key in annotations:
        yield from _check_qualified(key.lower(), field="metadata.annotations")
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) > _ANNOTATIONS_BYTES:
        yield Cause("FieldValueTooLong", f"Too long: may not be more than {_ANNOTATIONS_BYTES} bytes", "metadata.annotations")


def _check_qualified(text: str, *, field: str) -> Iterator[Cause]:
    """`prefix/name` or `name`."""
    prefix, slash, name = text.rpartition("/")
    if slash and (not prefix or len(prefix) > 253 or not _SUBDOMAIN.fullmatch(prefix)):
        yield Cause("FieldValueInvalid", f"Invalid value: {quoted(text)}: prefix part {SUBDOMAIN_MESSAGE}", field)
    if not name:
        yield Cause("FieldValueInvalid", f"Invalid value: {quoted(text)}: name part must be non-empty", field)
    elif len(name) > 63:
        yield Cause("FieldValueInvalid", f"Invalid value: {quoted(text)}: name part must be no more than 63 bytes", field)
    if not _NAME_PART.fullmatch(name):
        yield Cause("FieldValueInvalid", f"Invalid value: {quoted(text)}: {_NAME_PART_MESSAGE}", field)


def _check_owners(owners: Any) -> Iterator[Cause]:
    controllers = [owner for owner in owners if owner.get("controller")]
    for owner in owners:
        for name in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(name):
                message = "version must not be empty" if name == "apiVersion" else "must not be empty"
                yield Cause("FieldValueInvalid", f'Invalid value: "": {message}', f"metadata.ownerReferences.{name}")
    if len(controllers) > 1:
        names = f"{controllers[0].get('kind')}/{controllers[0].get('name')}"
        message = f"Invalid value: {quoted(names)}: Only one reference can have Controller set to true"
        yield Cause("FieldValueInvalid", message, "metadata.ownerReferences")


_IMMUTABLE = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")


def check_metadata_update(meta: Mapping[str, Any], *, old: Mapping[str, Any]) -> list[Cause]:
    causes = [
        Cause("FieldValueInvalid", f"Invalid value: {quoted(meta.get(name))}: field is immutable", f"metadata.{name}")
        for name in _IMMUTABLE
        if meta.get(name) != old.get(name)
    ]
    added = [name for name in meta.get("finalizers") or () if name not in (old.get("finalizers") or ())]
    if old.get("deletionTimestamp") and added:
        listed = ", ".join(quoted(name) for name in added)
        message = f"Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{{{listed}}}"
        causes.append(Cause("FieldValueForbidden", message, "metadata.finalizers"))
    return causes

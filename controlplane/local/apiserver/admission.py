"""From what a client sent to what may be stored: decoding, pruning, defaulting, validation; for creates and updates alike.

Pure but for clocks and ids: no store, no HTTP. Raises Refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import yaml

from controlplane.local.apiserver import crds, kinds, metadata, protobuf, typed
from controlplane.local.apiserver.definitions import Definition
from controlplane.local.apiserver.paths import field_path, quoted
from controlplane.local.apiserver.rules import Level, check_rules, compile_rules
from controlplane.local.apiserver.schema import Schema, fill_in_defaults, prune
from controlplane.local.apiserver.statuses import Cause, Refused, bad_request, invalid, unsupported_media_type
from controlplane.local.apiserver.validation import BLOCKING, Validator

Document = dict[str, Any]

READABLE = ("application/json", "application/yaml", protobuf.MEDIA_TYPE)

_SKIPPED = Cause(
    "FieldValueInvalid",
    "Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation",
    "<nil>",
)


@dataclass(slots=True)
class Admission:
    """The checks of one kind; `warnings` of one request go back in Warning headers."""

    definition: Definition
    validator: Validator | None = None
    rules: Level | None = None


def admission_of(definition: Definition) -> Admission:
    schema = definition.schema
    if schema is None:
        return Admission(definition)
    return Admission(definition, validator=Validator(schema.root), rules=compile_rules(schema.root))


@dataclass(slots=True)
class Sent:
    """What a client sent, decoded: fields that its kind does not have are gone from `document` and listed in `unknown`."""

    document: Document
    unknown: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)


# --- decoding


def decode(body: bytes, *, content_type: str, definition: Definition) -> Sent:
    media_type = content_type.partition(";")[0].strip().lower() or "application/json"
    if media_type not in READABLE:
        raise unsupported_media_type(READABLE)
    if media_type == protobuf.MEDIA_TYPE:
        return Sent(protobuf.decode(body))
    document = _parse_yaml(body) if media_type == "application/yaml" else _parse_json(body, definition=definition)
    if not isinstance(document, dict):
        raise _unrecognized(definition, "couldn't get version/kind; json parse error: json: cannot unmarshal into Go value of type struct")
    return Sent(document)


def _parse_json(body: bytes, *, definition: Definition) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _unrecognized(definition, f"couldn't get version/kind; json parse error: {error}") from error
    except RecursionError as error:
        raise bad_request("the object is nested too deeply") from error


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases: a few lines of them stand for gigabytes, and no client sends any."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not taken in a request")
        return super().compose_node(parent, index)


def _parse_yaml(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # JSON is YAML, and most of what comes here is JSON
    try:
        # Through JSON: dates and other things that only YAML has become what they were written as.
        return json.loads(json.dumps(yaml.load(body, Loader=_PlainLoader), default=str))  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError, TypeError) as error:
        raise bad_request(f"error converting YAML to JSON: {error}") from error


def _unrecognized(definition: Definition, problem: str) -> Refused:
    return bad_request(f"the object provided is unrecognized (must be of type {definition.kind}): {problem}")


def find_duplicates(body: bytes) -> list[str]:
    """Paths of keys that the body gives twice. The fast decoder keeps the last and says nothing."""
    twice: dict[int, list[str]] = {}

    def build(pairs: list[tuple[str, Any]]) -> Document:
        built = dict(pairs)
        if len(built) < len(pairs):
            names = [key for key, _ in pairs]
            twice[id(built)] = sorted({name for name in names if names.count(name) > 1})
        return built

    try:
        document = json.loads(body, object_pairs_hook=build)
    except (ValueError, RecursionError):
        return []
    return (
        [field_path((*steps, name)) for steps, found in _objects(document, steps=()) for name in twice.get(id(found), ())] if twice else []
    )


def _objects(value: Any, *, steps: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Document]]:
    """All objects of a document with their paths."""
    if isinstance(value, dict):
        yield steps, value
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, child in below:
        yield from _objects(child, steps=(*steps, step))


# --- shape


def check_identity(document: Document, *, definition: Definition, namespace: str) -> None:
    """apiVersion, kind, the types of metadata, and the namespace of the URL. Fills in what may be left out."""
    kind, version = document.get("kind"), document.get("apiVersion")
    if not kind and definition.is_custom:
        raise _unrecognized(definition, f"Object 'Kind' is missing in '{quoted(document)[:128]}'")
    if not version and definition.is_custom:
        raise _unrecognized(definition, f"Object 'apiVersion' is missing in '{quoted(document)[:128]}'")
    if version not in (None, definition.group_version):
        expected = f"does not match the expected API version ({definition.group_version})"
        raise bad_request(f"the API version in the data ({version}) {expected}")
    if kind not in (None, definition.kind):
        meta = document.get("metadata")
        name = str(meta.get("name", "")) if isinstance(meta, dict) else ""
        cause = Cause("FieldValueInvalid", f'Invalid value: "{kind}": must be {definition.kind}', "kind")
        if definition.is_custom:
            raise invalid(name, group=definition.group, kind=str(kind), causes=[cause])
        raise bad_request(
            f"{kind} in version {quoted(definition.version)} cannot be handled as a {definition.kind}: no kind {quoted(kind)} is registered"
        )
    document["apiVersion"], document["kind"] = definition.group_version, definition.kind
    if document.get("metadata") is None:
        document["metadata"] = {}
    metadata.check_types(document["metadata"], kind=definition.kind, version=definition.version)
    _check_namespace(document["metadata"], definition=definition, namespace=namespace)
    if not definition.is_custom:
        typed.check_types(document, resource=definition.resource)


def _check_namespace(meta: Document, *, definition: Definition, namespace: str) -> None:
    if not definition.namespaced:
        meta.pop("namespace", None)
    elif meta.get("namespace") in (None, ""):
        meta["namespace"] = namespace
    elif meta["namespace"] != namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")


def drop_unknown(sent: Sent, *, schema: Schema | None) -> None:
    """Metadata always; the rest where there is a schema."""
    sent.unknown += metadata.prune_unknown(sent.document["metadata"])
    if schema is not None:
        sent.unknown += prune(sent.document, schema=schema)
    else:
        sent.document = metadata.without_nulls(sent.document)
    sent.unknown.sort()


def keep_to_status(document: Document) -> None:
    """What a status write of a custom resource says of anything but the status does not count: it is not even looked at."""
    for key in [key for key in document if key not in ("apiVersion", "kind", "metadata", "status")]:
        del document[key]


def report_unknown(sent: Sent, *, definition: Definition, validation: str) -> list[str]:
    """Warnings under Warn; 400 under Strict."""
    problems = [f'duplicate field "{name}"' for name in sent.duplicates] + [f'unknown field "{name}"' for name in sent.unknown]
    if not problems or validation == "Ignore":
        return []
    if validation == "Warn":
        return problems
    raise bad_request(
        f'{definition.kind} in version "{definition.version}" cannot be handled as a {definition.kind}: '
        f"strict decoding error: {', '.join(problems)}"
    )


def report_unknown_in_patch(sent: Sent, *, validation: str) -> list[str]:
    """As `report_unknown`, but the real server says 422 of a patch."""
    problems = [f'unknown field "{name}"' for name in sent.unknown]
    if not problems or validation == "Ignore":
        return []
    if validation == "Warn":
        return problems
    shown = quoted(msgspec.json.encode(sent.document).decode())
    cause = Cause("FieldValueInvalid", f"Invalid value: {shown}: strict decoding error: {', '.join(problems)}", "patch")
    raise invalid("", group="", kind="", causes=[cause])


# --- new objects


def prepare_create(document: Document, *, definition: Definition) -> None:
    """What the server writes into a new object. STRICTLY BEFORE validation."""
    meta = document["metadata"]
    if meta.get("resourceVersion") not in (None, "", "0"):
        raise Refused("resourceVersion should not be set on objects to be created", code=500)
    if not meta.get("name") and meta.get("generateName"):
        meta["name"] = metadata.generate_name(meta["generateName"])
    for name in ("resourceVersion", "generation", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"):
        meta.pop(name, None)
    meta["uid"] = metadata.new_uid()
    meta["creationTimestamp"] = metadata.now_text()
    if definition.is_custom or definition.counts_generation:
        meta["generation"] = 1
    if "status" in definition.subresources:
        document.pop("status", None)
    kinds.prepare_create(definition.resource, document=document)
    if definition.schema is not None:
        fill_in_defaults(document, schema=definition.schema)


# --- new versions of objects


_FILLED_IN = ("uid", "creationTimestamp", "name", "namespace")


def prepare_update(document: Document, *, old: Document, definition: Definition, subresource: str) -> Document:
    """The document that may follow `old`: what the request has no say in is taken from there."""
    if subresource == "status":
        document = _with_status_of(document, old=old, definition=definition)
    elif "status" in definition.subresources:
        document.pop("status", None)
        if "status" in old:
            document["status"] = old["status"]
    meta, before = document["metadata"], old["metadata"]
    for name in _FILLED_IN:
        if before.get(name) and not meta.get(name):
            meta[name] = before[name]
    for name in ("deletionTimestamp", "deletionGracePeriodSeconds"):
        if before.get("deletionTimestamp") and name in before:
            meta[name] = before[name]
    meta.pop("selfLink", None)
    if definition.schema is not None:
        _fill_in_changed(document, schema=definition.schema, subresource=subresource)
    kinds.prepare_update(definition.resource, document=document, old=old)
    _count_generation(document, old=old, definition=definition)
    return document


def _fill_in_changed(document: Document, *, schema: Schema, subresource: str) -> None:
    """Of a status write only the status: the rest is stored already, with its defaults."""
    if subresource != "status":
        fill_in_defaults(document, schema=schema)
        return
    part = {"status": document.pop("status")} if "status" in document else {}
    fill_in_defaults(part, schema=schema)
    if "status" in part:
        document["status"] = part["status"]


def _with_status_of(document: Document, *, old: Document, definition: Definition) -> Document:
    """Status writes change the status alone; those of built-in kinds also labels, annotations and finalizers."""
    combined = dict(old)
    combined["metadata"] = dict(old["metadata"])
    if not definition.is_custom:
        for name in ("labels", "annotations", "finalizers"):
            combined["metadata"].pop(name, None)
            if document["metadata"].get(name):
                combined["metadata"][name] = document["metadata"][name]
    for name in ("resourceVersion", "name", "uid"):
        if name in document["metadata"]:
            combined["metadata"][name] = document["metadata"][name]
    combined.pop("status", None)
    if document.get("status") is not None:
        combined["status"] = document["status"]
    return combined


def _count_generation(document: Document, *, old: Document, definition: Definition) -> None:
    before = old["metadata"].get("generation")
    document["metadata"].pop("generation", None)
    if before is None:
        return
    ignored = ("metadata", "status") if "status" in definition.subresources else ("metadata",)
    changed = any(document.get(key) != old.get(key) for key in document.keys() | old.keys() if key not in ignored)
    document["metadata"]["generation"] = before + 1 if changed else before


# --- verdict


def check(document: Document, *, admission: Admission, old: Mapping[str, Any] | None) -> None:
    """Raises 422 with every cause."""
    definition = admission.definition
    meta = document["metadata"]
    causes = metadata.check_metadata(meta, is_label_name=definition.resource in kinds.NAMED_BY_LABEL)
    if old is not None:
        causes += metadata.check_metadata_update(meta, old=old["metadata"])
    if not definition.is_custom:
        causes += typed.problems(document, resource=definition.resource, old=old)
    if definition.resource == crds.RESOURCE:
        causes += crds.problems(document)
    if admission.validator is not None:
        causes += admission.validator.check(document, old=old)
    if admission.rules is not None:
        causes += _rule_causes(document, admission=admission, rules=admission.rules, old=old, known=causes)
    if causes:
        raise invalid(meta.get("name", ""), group=definition.group, kind=definition.kind, causes=causes)


def _rule_causes(
    document: Document, *, admission: Admission, rules: Level, old: Mapping[str, Any] | None, known: list[Cause]
) -> list[Cause]:
    if any(cause.reason in BLOCKING for cause in known):
        return [_SKIPPED]
    return check_rules(rules, document=document, old=old)


def finalizer_warnings(document: Document) -> list[str]:
    bare = [
        name for name in document["metadata"].get("finalizers") or () if "/" not in name and name not in ("orphan", "foregroundDeletion")
    ]
    advice = "prefer a domain-qualified finalizer name to avoid accidental conflicts with other finalizer writers"
    return [f'metadata.finalizers: "{name}": {advice}' for name in bare if "." not in name]

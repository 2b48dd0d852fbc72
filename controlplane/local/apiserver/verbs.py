"""Create, replace and patch: one write each, on the state that it was decided on.

Every method runs without an await between reading and writing, so two requests can never overwrite each other unseen.
Deleting is in `deletion`, reading in `reading`; what makes an object acceptable in `admission`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from controlplane.local.apiserver import admission, apply, kinds, metadata, patches, strategic
from controlplane.local.apiserver.admission import Admission, Document, Sent
from controlplane.local.apiserver.definitions import Definition, Registry
from controlplane.local.apiserver.paths import quoted
from controlplane.local.apiserver.requests import Options, Target
from controlplane.local.apiserver.statuses import (
    Cause,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    invalid_options,
    method_not_allowed,
    not_found,
    unsupported_media_type,
)  # fmt: skip
from controlplane.local.apiserver.store import Store, Stored


@dataclass(frozen=True, slots=True)
class Outcome:
    """A write that was accepted: what to answer, and what it changed (`before` and `after` are the same when nothing)."""

    code: int
    body: bytes
    before: Stored | None = None
    after: Stored | None = None
    warnings: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Verbs:
    """The writing verbs over one store."""

    store: Store
    registry: Registry
    admissions: dict[str, Admission] = field(default_factory=dict)

    def admission(self, definition: Definition) -> Admission:
        known = self.admissions.get(definition.resource)
        if known is None or known.definition is not definition:
            known = self.admissions[definition.resource] = admission.admission_of(definition)
        return known

    # --- create

    def create(self, target: Target, *, body: bytes, content_type: str, options: Options) -> Outcome:
        if target.subresource:
            raise method_not_allowed(group=target.definition.group, plural=target.definition.plural, action="create")
        is_dry_run = options.is_dry_run(options_kind="CreateOptions")
        validation = options.field_validation(options_kind="CreateOptions")
        sent = self._decode(target, body=body, content_type=content_type, validation=validation)
        if target.name and not sent.document["metadata"].get("name"):
            sent.document["metadata"]["name"] = target.name
        warnings = admission.report_unknown(sent, definition=target.definition, validation=validation)
        return self._create(target, document=sent.document, is_dry_run=is_dry_run, warnings=warnings)

    def _decode(self, target: Target, *, body: bytes, content_type: str, validation: str) -> Sent:
        definition = target.definition
        sent = admission.decode(body, content_type=content_type, definition=definition)
        if validation == "Strict":
            sent.duplicates = admission.find_duplicates(body)
        admission.check_identity(sent.document, definition=definition, namespace=target.namespace)
        admission.drop_unknown(sent, schema=definition.schema)
        return sent

    def _create(self, target: Target, *, document: Document, is_dry_run: bool, warnings: list[str]) -> Outcome:
        definition = target.definition
        self._check_namespace(target, name=document["metadata"].get("name", ""))
        generated = not document["metadata"].get("name") and bool(document["metadata"].get("generateName"))
        admission.prepare_create(document, definition=definition)
        key = (target.namespace, document["metadata"].get("name", ""))
        while generated and self.store.get(definition.resource, key=key) is not None:
            document["metadata"]["name"] = metadata.generate_name(document["metadata"]["generateName"])
            key = (target.namespace, document["metadata"]["name"])
        admission.check(document, admission=self.admission(definition), old=None)
        if self.store.get(definition.resource, key=key) is not None:
            raise already_exists(key[1], group=definition.group, plural=definition.plural)
        warnings = warnings + admission.finalizer_warnings(document)
        if is_dry_run:
            return Outcome(201, msgspec.json.encode(document), warnings=warnings)
        after = self.store.put(definition.resource, key=key, document=document)
        return Outcome(201, after.body, None, after, warnings)

    def _check_namespace(self, target: Target, *, name: str) -> None:
        if not target.definition.namespaced:
            return
        namespace = self.store.get("namespaces", key=("", target.namespace))
        if namespace is None:
            raise not_found(target.namespace, group="", plural="namespaces")
        if namespace.fields.get("status.phase") == "Terminating":
            message = f"unable to create new content in namespace {target.namespace} because it is being terminated"
            cause = Cause("NamespaceTerminating", f"namespace {target.namespace} is being terminated", "metadata.namespace")
            raise forbidden(name, group=target.definition.group, plural=target.definition.plural, message=message, causes=[cause])

    # --- replace

    def replace(self, target: Target, *, body: bytes, content_type: str, options: Options) -> Outcome:
        definition = target.definition
        is_dry_run = options.is_dry_run(options_kind="UpdateOptions")
        validation = options.field_validation(options_kind="UpdateOptions")
        sent = self._decode(target, body=body, content_type=content_type, validation=validation)
        warnings = admission.report_unknown(sent, definition=definition, validation=validation)
        _check_name(sent.document, target=target)
        before = self.store.get(definition.resource, key=target.key)
        if before is None:
            return self._create_on_update(target, document=sent.document, is_dry_run=is_dry_run, warnings=warnings)
        self._check_uid(sent.document, before=before, definition=definition)
        given = sent.document["metadata"].get("resourceVersion")
        if given in (None, "0") and (definition.is_custom or definition.resource in kinds.UNCONDITIONAL_UPDATE_FORBIDDEN):
            cause = Cause("FieldValueInvalid", "Invalid value: 0: must be specified for an update", "metadata.resourceVersion")
            raise invalid(target.name, group=definition.group, kind=definition.plural, causes=[cause])
        return self._update(target, document=sent.document, before=before, is_dry_run=is_dry_run, warnings=warnings)

    def _create_on_update(self, target: Target, *, document: Document, is_dry_run: bool, warnings: list[str]) -> Outcome:
        definition = target.definition
        if target.subresource or definition.resource not in kinds.CREATED_ON_UPDATE:
            raise not_found(target.name, group=definition.group, plural=definition.plural)
        return self._create(target, document=document, is_dry_run=is_dry_run, warnings=warnings)

    def _check_uid(self, document: Document, *, before: Stored, definition: Definition) -> None:
        uid = document["metadata"].get("uid")
        if uid and uid != before.uid:
            message = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {before.uid}"
            raise conflict(before.key[1], group=definition.group, plural=definition.plural, message=message)

    # --- patch

    def patch(self, target: Target, *, body: bytes, content_type: str, options: Options) -> Outcome:
        definition = target.definition
        media_type = content_type.partition(";")[0].strip()
        is_dry_run = options.is_dry_run(options_kind="PatchOptions")
        validation = options.field_validation(options_kind="PatchOptions")
        before = self.store.get(definition.resource, key=target.key)
        if media_type == patches.APPLY:
            return self._apply(target, body=body, before=before, options=options, is_dry_run=is_dry_run)
        _check_patch_type(media_type, definition=definition)
        if "force" in options.query:
            cause = Cause("FieldValueForbidden", "Forbidden: may not be specified for non-apply patch", "force")
            raise invalid_options("PatchOptions", cause=cause)
        patch = _decode_patch(body)
        if before is None:
            raise not_found(target.name, group=definition.group, plural=definition.plural)
        document = _patched(before.decode(), patch=patch, media_type=media_type)
        return self._finish_patch(target, document=document, before=before, validation=validation, is_dry_run=is_dry_run)

    def _finish_patch(self, target: Target, *, document: Any, before: Stored, validation: str, is_dry_run: bool) -> Outcome:
        definition = target.definition
        if not isinstance(document, dict):
            raise bad_request(f"the patched object is not a {definition.kind}")
        admission.check_identity(document, definition=definition, namespace=target.namespace)
        sent = Sent(document)
        if target.subresource == "status" and definition.is_custom:
            admission.keep_to_status(document)
        admission.drop_unknown(sent, schema=definition.schema)
        warnings = admission.report_unknown_in_patch(sent, validation=validation)
        _check_name(document, target=target)
        return self._update(target, document=document, before=before, is_dry_run=is_dry_run, warnings=warnings)

    def _apply(self, target: Target, *, body: bytes, before: Stored | None, options: Options, is_dry_run: bool) -> Outcome:
        definition = target.definition
        manager = options.query.get("fieldManager", "")
        if not manager:
            raise invalid_options(
                "PatchOptions", cause=Cause("FieldValueRequired", "Required value: is required for apply patch", "fieldManager")
            )
        sent = self._decode(target, body=body, content_type="application/yaml", validation="Ignore")
        warnings = admission.report_unknown(sent, definition=definition, validation=options.field_validation(options_kind="PatchOptions"))
        _check_name(sent.document, target=target)
        current = before.decode() if before is not None else None
        apply.check_applier(current, manager=manager, is_forced=options.is_force)
        schema = definition.schema.root if definition.schema is not None else None
        document = apply.apply(current, configuration=sent.document, manager=manager, schema=schema)
        if before is None:
            return self._create(target, document=document, is_dry_run=is_dry_run, warnings=warnings)
        return self._update(target, document=document, before=before, is_dry_run=is_dry_run, warnings=warnings)

    # --- update, whichever way it was asked for

    def _update(self, target: Target, *, document: Document, before: Stored, is_dry_run: bool, warnings: list[str]) -> Outcome:
        definition = target.definition
        given = document["metadata"].get("resourceVersion")
        if given not in (None, "", "0") and given != str(before.rv):
            _check_number(given)
            raise conflict(target.name, group=definition.group, plural=definition.plural)
        old = before.decode()
        document = admission.prepare_update(document, old=old, definition=definition, subresource=target.subresource)
        admission.check(document, admission=self.admission(definition), old=old)
        document["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
        if document == old:
            return Outcome(200, before.body, before, before, warnings)
        if is_dry_run:
            return Outcome(200, msgspec.json.encode(document), before, before, warnings)
        if _is_released(document):
            answer = msgspec.json.encode(document)
            after = self.store.delete(definition.resource, key=target.key, last=document)
            return Outcome(200, answer, before, after, warnings)
        after = self.store.put(definition.resource, key=target.key, document=document)
        return Outcome(200, after.body, before, after, warnings)


def _is_released(document: Document) -> bool:
    """The last finalizer of an object that is being deleted is gone, and no grace period holds it."""
    meta = document["metadata"]
    if not meta.get("deletionTimestamp") or meta.get("finalizers") or meta.get("deletionGracePeriodSeconds"):
        return False
    return not (document["kind"] == "Namespace" and document.get("spec", {}).get("finalizers"))


def _check_number(given: str) -> None:
    if not given.isdigit():
        raise bad_request(f"strconv.ParseUint: parsing {quoted(given)}: invalid syntax")


def _check_name(document: Document, *, target: Target) -> None:
    name = document["metadata"].get("name")
    if not name:
        document["metadata"]["name"] = target.name
    elif name != target.name:
        raise bad_request(f"the name of the object ({name}) does not match the name on the URL ({target.name})")


def _check_patch_type(media_type: str, *, definition: Definition) -> None:
    accepted = (
        [patches.JSON, patches.MERGE, patches.APPLY]
        if definition.is_custom
        else [patches.JSON, patches.MERGE, patches.STRATEGIC, patches.APPLY]
    )
    if media_type not in accepted:
        raise unsupported_media_type(accepted)


def _decode_patch(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise bad_request(f"error decoding patch: {error}") from error


def _patched(document: Document, *, patch: Any, media_type: str) -> Any:
    if media_type == patches.JSON:
        return patches.apply_operations(document, operations=patch)
    if not isinstance(patch, dict):
        raise bad_request("error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}")
    if media_type == patches.STRATEGIC:
        return strategic.merge(document, patch=patch)
    return patches.merge(document, patch=patch)

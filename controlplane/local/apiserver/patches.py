"""JSON Patch and JSON Merge Patch, on dictionaries. Strategic merge is in `strategic`, server-side apply in `apply`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonpatch
import jsonpointer

from controlplane.local.apiserver.statuses import Refused, bad_request

MERGE = "application/merge-patch+json"
JSON = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"

_OPERATIONS_LIMIT = 10000
"""As the real server's."""


def merge(document: Any, *, patch: Any) -> Any:
    """RFC 7386. `document` may be changed; the result is it or replaces it."""
    if not isinstance(patch, dict):
        return patch
    merged = document if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), patch=value)
    return merged


def apply_operations(document: dict[str, Any], *, operations: Any) -> Any:
    """RFC 6902, as the Go library that Kubernetes uses: a test against null passes for an absent member, and replace adds one."""
    if not isinstance(operations, list):
        found = "object" if isinstance(operations, dict) else "string"
        raise bad_request(f"error decoding patch: json: cannot unmarshal {found} into Go value of type []handlers.jsonPatchOp")
    if any(not isinstance(operation, dict) for operation in operations):
        raise bad_request("error decoding patch: json: cannot unmarshal into Go value of type handlers.jsonPatchOp")
    if len(operations) > _OPERATIONS_LIMIT:
        message = f"The allowed maximum operations in a JSON patch is {_OPERATIONS_LIMIT}, got {len(operations)}"
        raise Refused(message, code=413, reason="RequestEntityTooLarge", details={})
    try:
        for batch in _batches(operations):
            document = _apply_batch(document, batch=batch)
    except (
        jsonpatch.JsonPatchException,
        jsonpointer.JsonPointerException,
        TypeError,
        AttributeError,
        KeyError,
        IndexError,
        ValueError,
    ) as error:
        # The real server's words; the library's own would name paths only.
        raise Refused("the server rejected our request due to an error in our request", code=422, reason="Invalid", details={}) from error
    return document


def _batches(operations: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Operations in which Go and the RFC may differ stand alone: what they mean depends on what those before them did."""
    batch: list[dict[str, Any]] = []
    for operation in operations:
        if operation.get("op") == "replace" or (operation.get("op") == "test" and operation.get("value", 0) is None):
            yield from (batch, [operation])
            batch = []
        else:
            batch.append(operation)
    yield batch


def _apply_batch(document: Any, *, batch: list[dict[str, Any]]) -> Any:
    if len(batch) == 1:
        if _is_null_test_of_absent(document, operation=batch[0]):
            return document
        batch = [_forgiven(document, operation=batch[0])]
    return jsonpatch.JsonPatch(batch).apply(document, in_place=True) if batch else document


def _is_null_test_of_absent(document: Any, *, operation: Any) -> bool:
    if not isinstance(operation, dict) or operation.get("op") != "test" or operation.get("value", 0) is not None:
        return False
    return _is_absent_member(document, path=operation["path"])


def _forgiven(document: Any, *, operation: Any) -> Any:
    if isinstance(operation, dict) and operation.get("op") == "replace" and _is_absent_member(document, path=operation["path"]):
        return operation | {"op": "add"}
    return operation


def _is_absent_member(document: Any, *, path: str) -> bool:
    """Whether the path names a member that an existing object does not have."""
    *parents, last = jsonpointer.JsonPointer(path).parts or [""]
    for part in parents:
        document = document.get(part) if isinstance(document, dict) else _item(document, part=part)
    return isinstance(document, dict) and last not in document


def _item(document: Any, *, part: str) -> Any:
    return document[int(part)] if isinstance(document, list) and part.isdigit() and int(part) < len(document) else None

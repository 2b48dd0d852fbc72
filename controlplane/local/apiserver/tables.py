"""Other shapes of the same objects: Tables for kubectl get, and metadata alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from controlplane.local.apiserver.cells import cell
from controlplane.local.apiserver.definitions import Definition
from controlplane.local.apiserver.reading import Page
from controlplane.local.apiserver.store import Stored

Document = dict[str, Any]

_NAME = {
    "name": "Name",
    "type": "string",
    "format": "name",
    "description": "Name must be unique within a namespace.",
    "priority": 0,
}


def parse_accept(accept: str) -> str:
    """`Table`, `PartialObjectMetadata`, `PartialObjectMetadataList`, `json` or "" when nothing acceptable is asked for."""
    if not accept:
        return "json"
    for choice in accept.split(","):
        media_type, *parameters = [part.strip() for part in choice.split(";")]
        if media_type not in ("application/json", "application/*", "*/*"):
            continue
        wanted = dict(parameter.partition("=")[::2] for parameter in parameters)
        if wanted.get("as") in ("Table", "PartialObjectMetadata", "PartialObjectMetadataList"):
            if wanted.get("v", "v1") == "v1":
                return wanted["as"]
        elif "as" not in wanted:
            return "json"
    return ""


def _column_definitions(definition: Definition) -> list[Document]:
    columns = [
        {"name": column.name, "type": column.type, "format": "", "description": column.description, "priority": column.priority}
        for column in definition.columns
    ]
    return [_NAME, *columns]


def _row(document: Document, *, definition: Definition, include: str) -> Document:
    cells: list[Any] = [document["metadata"].get("name", "")]
    cells += [cell(column.path, kind=column.type, document=document) for column in definition.columns]
    row: Document = {"cells": cells}
    if include == "Object":
        row["object"] = document
    elif include != "None":
        row["object"] = partial(document)
    return row


def partial(document: Document) -> Document:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": document["metadata"]}


def table(items: Sequence[Stored], *, definition: Definition, include: str, meta: Document) -> Document:
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": meta,
        "columnDefinitions": _column_definitions(definition),
        "rows": [_row(stored.decode(), definition=definition, include=include) for stored in items],
    }


def encode_page(page: Page, *, definition: Definition, form: str, include: str) -> bytes:
    """A list in the form that was asked for (not `json`)."""
    meta: Document = {"resourceVersion": str(page.rv)}
    if page.next:
        meta["continue"] = page.next
    if page.remaining is not None:
        meta["remainingItemCount"] = page.remaining
    if form == "Table":
        return msgspec.json.encode(table(page.items, definition=definition, include=include, meta=meta))
    items = [partial(stored.decode()) for stored in page.items]
    return msgspec.json.encode({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": meta, "items": items})


def encode_object(stored: Stored, *, definition: Definition, form: str, include: str) -> bytes:
    """One object in the form that was asked for (not `json`)."""
    if form == "Table":
        meta: Document = {"resourceVersion": str(stored.rv)}
        return msgspec.json.encode(table([stored], definition=definition, include=include, meta=meta))
    return msgspec.json.encode(partial(stored.decode()))


def watch_renderer(definition: Definition, *, form: str, include: str) -> Callable[[bytes], bytes] | None:
    """Turns watch lines into the form; a Table names its columns in the first event only, as the real server does."""
    if form == "json":
        return None
    columns: list[Document] | None = _column_definitions(definition)

    def render(line: bytes) -> bytes:
        nonlocal columns
        event = msgspec.json.decode(line)
        if event["type"] == "ERROR":
            return line
        document = event["object"]
        if form == "Table":
            meta = {"resourceVersion": document["metadata"].get("resourceVersion", "")}
            shown: Document = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta, "columnDefinitions": columns}
            shown["rows"] = [_row(document, definition=definition, include=include)]
            columns = None
            event["object"] = shown
        else:
            event["object"] = partial(document)
        return msgspec.json.encode(event) + b"\n"

    return render

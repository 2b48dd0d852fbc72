"""OpenAPI documents, for kubectl explain and for kubectl to learn that the server validates fields itself.

Version 3, one document per group and version; version 2 in JSON for other clients. Built-in kinds are described loosely: their
strategic merge patch is not listed on purpose, so that kubectl takes merge keys from its own compiled types.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from controlplane.local.apiserver.definitions import Definition, Registry
from controlplane.local.apiserver.discovery import VERSION

Document = dict[str, Any]

_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_QUERY = {
    "get": ("pretty",),
    "list": ("allowWatchBookmarks", "continue", "fieldSelector", "labelSelector", "limit", "resourceVersion", "resourceVersionMatch",
             "sendInitialEvents", "timeoutSeconds", "watch"),
    "post": ("dryRun", "fieldManager", "fieldValidation"),
    "put": ("dryRun", "fieldManager", "fieldValidation"),
    "patch": ("dryRun", "fieldManager", "fieldValidation", "force"),
    "delete": ("dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy"),
}  # fmt: skip
_PATCHES = ("application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml")
_UNREFERENCED = ("x-kubernetes-validations",)


class OpenApi:
    """Documents made once per change of the registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._made_for = -1
        self._documents: dict[str, bytes] = {}

    def _refresh(self) -> None:
        if self._made_for == self._registry.changes:
            return
        self._documents = {}
        for group, versions in self._registry.group_versions().items():
            for version in versions:
                path = f"apis/{group}/{version}" if group else f"api/{version}"
                self._documents[path] = msgspec.json.encode(self._document(group=group, version=version))
        self._made_for = self._registry.changes

    def index(self) -> Document:
        self._refresh()
        return {
            "paths": {
                path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={hashlib.sha256(body).hexdigest()[:32].upper()}"}
                for path, body in self._documents.items()
            }
        }

    def document(self, path: str) -> bytes | None:
        self._refresh()
        return self._documents.get(path)

    def _served(self, *, group: str, version: str) -> list[Definition]:
        return [definition for definition in self._registry if definition.group == group and definition.version == version]

    def _document(self, *, group: str, version: str) -> Document:
        served = self._served(group=group, version=version)
        schemas: Document = {_META: _metadata_schema()}
        paths: Document = {}
        for definition in served:
            schemas[_schema_name(definition)] = _schema(definition, prefix="#/components/schemas/")
            paths |= dict(_paths(definition))
        return {"openapi": "3.0.0", "info": _info(), "paths": paths, "components": {"schemas": schemas}}

    def version_2(self) -> Document:
        definitions: Document = {_META: _metadata_schema()}
        for definition in self._registry:
            definitions[_schema_name(definition)] = _schema(definition, prefix="#/definitions/")
        return {"swagger": "2.0", "info": _info(), "paths": {}, "definitions": definitions}


def _info() -> Document:
    return {"title": "kruntimes local mode", "version": VERSION["gitVersion"]}


def _metadata_schema() -> Document:
    text = {"type": "string"}
    texts = {"type": "object", "additionalProperties": text}
    return {
        "description": "ObjectMeta is metadata that all persisted resources must have.",
        "type": "object",
        "properties": {
            "name": text,
            "generateName": text,
            "namespace": text,
            "labels": texts,
            "annotations": texts,
            "finalizers": {"type": "array", "items": text},
            "ownerReferences": {"type": "array", "items": {"type": "object"}},
            "uid": text,
            "resourceVersion": text,
            "generation": {"type": "integer", "format": "int64"},
            "creationTimestamp": {"type": "string", "format": "date-time"},
            "deletionTimestamp": {"type": "string", "format": "date-time"},
        },
    }


def _schema_name(definition: Definition) -> str:
    if definition.is_custom:
        return ".".join([*reversed(definition.group.split(".")), definition.version, definition.kind])
    group = definition.group.partition(".")[0] or "core"
    return f"io.k8s.api.{group}.{definition.version}.{definition.kind}"


def _schema(definition: Definition, *, prefix: str) -> Document:
    if definition.schema is not None:
        schema: Document = _published(definition.schema.source)
    else:
        schema = {
            "description": f"{definition.kind}, as in Kubernetes. Local mode takes its fields as they come and does not describe them.",
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": True,
            "properties": {},
        }
    described = "More info: https://kubernetes.io/docs/reference/using-api/api-concepts/"
    schema["properties"] = {
        **schema.get("properties", {}),
        "apiVersion": {"type": "string", "description": f"APIVersion defines the versioned schema of this object. {described}"},
        "kind": {"type": "string", "description": f"Kind is the REST resource this object represents. {described}"},
        "metadata": {"description": f"Standard object's metadata. {described}", "allOf": [{"$ref": prefix + _META}], "default": {}},
    }
    schema["x-kubernetes-group-version-kind"] = [_kind_of(definition)]
    return schema


def _published(source: Mapping[str, Any]) -> Document:
    return {key: value for key, value in source.items() if key not in _UNREFERENCED}


def _kind_of(definition: Definition) -> Document:
    return {"group": definition.group, "kind": definition.kind, "version": definition.version}


def _paths(definition: Definition) -> Iterator[tuple[str, Document]]:
    base = f"/apis/{definition.group_version}" if definition.group else f"/api/{definition.version}"
    if definition.namespaced:
        yield f"{base}/{definition.plural}", {"get": _operation(definition, verb="list")}
        base += "/namespaces/{namespace}"
    collection = {"get": _operation(definition, verb="list"), "post": _operation(definition, verb="post")}
    item = {verb: _operation(definition, verb=verb) for verb in ("get", "put", "patch", "delete")}
    yield f"{base}/{definition.plural}", collection | {"delete": _operation(definition, verb="delete")}
    yield f"{base}/{definition.plural}/{{name}}", item
    if "status" in definition.subresources:
        yield f"{base}/{definition.plural}/{{name}}/status", {verb: item[verb] for verb in ("get", "put", "patch")}


def _operation(definition: Definition, *, verb: str) -> Document:
    reference = {"$ref": "#/components/schemas/" + _schema_name(definition)}
    operation: Document = {
        "parameters": [{"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}} for name in _QUERY[verb]],
        "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": reference}}}},
        "x-kubernetes-action": verb,
        "x-kubernetes-group-version-kind": _kind_of(definition),
    }
    if verb in ("post", "put"):
        operation["requestBody"] = {"content": {"application/json": {"schema": reference}}}
    if verb == "patch":
        operation["requestBody"] = {"content": {media_type: {"schema": {"type": "object"}} for media_type in _PATCHES}}
    return operation

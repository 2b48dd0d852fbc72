"""The HTTP side: from a request to a verb and back. aiohttp's low-level server, since Kubernetes' paths are routed by data.

What a request means is decided elsewhere; here are authentication, the choice of the verb, the forms of answers, failpoints and
the audit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from controlplane.local.apiserver import deletion, discovery, scale, tables
from controlplane.local.apiserver.audit import Audit, preconditions_of
from controlplane.local.apiserver.control import Control
from controlplane.local.apiserver.database import DiskFull
from controlplane.local.apiserver.definitions import Registry
from controlplane.local.apiserver.deletion import Deletion
from controlplane.local.apiserver.failpoints import Call, Cut, Failpoints
from controlplane.local.apiserver.logs import LogProxy
from controlplane.local.apiserver.openapi import OpenApi
from controlplane.local.apiserver.port_forward import serve_port_forward
from controlplane.local.apiserver.private import is_authorized
from controlplane.local.apiserver.reading import Reader, encode_list
from controlplane.local.apiserver.requests import Options, Target, resolve
from controlplane.local.apiserver.statuses import (
    Refused,
    bad_request,
    disk_full,
    method_not_allowed,
    not_acceptable,
    not_found,
    not_implemented,
    unauthorized,
)  # fmt: skip
from controlplane.local.apiserver.store import Store, Stored
from controlplane.local.apiserver.verbs import Outcome, Verbs
from controlplane.local.apiserver.watches import WatchEndpoint
from controlplane.local.apiserver.watching import Hub

BODY_LIMIT = 3 * 1024 * 1024
"""As the real server's limit of a request body."""

_JSON = {"Content-Type": "application/json"}
_NOT_HERE = frozenset({"exec", "attach", "portforward", "eviction", "binding", "ephemeralcontainers", "proxy", "resize"})
_ITEM_VERBS = {"GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "POST": "create"}
_COLLECTION_VERBS = {"GET": "list", "HEAD": "list", "POST": "create", "DELETE": "deletecollection"}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """All that the server stands on."""

    store: Store
    registry: Registry
    hub: Hub
    token: str
    failpoints: Failpoints
    logs: LogProxy
    audit: Audit | None
    bookmark_seconds: float


class Server:
    """`handle` answers every request."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._verbs = Verbs(parts.store, parts.registry)
        self._deletion = Deletion(parts.store)
        self._reader = Reader(parts.store)
        self._openapi = OpenApi(parts.registry)
        self._control = Control(parts.failpoints, store=parts.store, hub=parts.hub)
        self._watches = WatchEndpoint(parts.hub, store=parts.store, failpoints=parts.failpoints, bookmark_seconds=parts.bookmark_seconds)
        self._writes: dict[str, Callable[..., Outcome]] = {
            "create": self._verbs.create,
            "update": self._verbs.replace,
            "patch": self._verbs.patch,
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._answer(request)
        except Refused as refused:
            return _refuse(refused)
        except DiskFull:  # of a failpoint that compacts
            return _refuse(disk_full())
        except Cut:
            _close(request)
            return web.Response()
        except web.HTTPRequestEntityTooLarge:
            return _refuse(_too_large())
        except RecursionError:
            return _refuse(bad_request("the object is nested too deeply"))
        except Exception:
            _log.exception("a request failed", extra={"method": request.method, "path": request.path})
            return _refuse(
                Refused("Internal error occurred: a bug of local mode; its log has the details", code=500, reason="InternalError")
            )

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.rel_url.raw_path
        if path in ("/healthz", "/livez", "/readyz"):
            return web.Response(text="ok")
        if not is_authorized(request.headers, token=self._parts.token):
            raise unauthorized()
        if request.method == "CONNECT":
            # kubectl's tunnels come so, since its kubeconfig names us as the proxy; it prints the reason and nothing else.
            return web.Response(status=501, reason="Not Implemented: local mode has no exec, attach and port-forward")
        target = resolve(path, registry=self._parts.registry)
        if target is not None:
            return await self._answer_resource(request, target=target)
        if path.startswith("/failpoints"):
            return await self._control.answer(request, path=path)
        document = self._describe(request, path=path.rstrip("/"))
        if document is None:
            return web.Response(text="404 page not found\n", status=404)
        return document

    # --- what the server says of itself

    def _describe(self, request: web.BaseRequest, *, path: str) -> web.Response | None:
        if request.method not in ("GET", "HEAD"):
            return None
        if path in ("/api", "/apis") and "apidiscovery.k8s.io" in request.headers.get("Accept", ""):
            body = msgspec.json.encode(discovery.aggregated(self._parts.registry, is_core=path == "/api"))
            return web.Response(body=body, headers={"Content-Type": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"})
        if path.startswith("/openapi/v3/"):
            known = self._openapi.document(path.removeprefix("/openapi/v3/"))
            return web.Response(body=known, headers=_JSON) if known is not None else None
        document = self._document(request, path=path)
        return web.Response(body=msgspec.json.encode(document), headers=_JSON) if document is not None else None

    def _document(self, request: web.BaseRequest, *, path: str) -> Mapping[str, Any] | None:
        registry, parts = self._parts.registry, path.strip("/").split("/")
        fixed: dict[str, Callable[[], Mapping[str, Any]]] = {
            "/version": lambda: discovery.VERSION,
            "/api": lambda: discovery.api_versions(address=request.host),
            "/apis": lambda: discovery.api_groups(registry),
            "/openapi/v3": self._openapi.index,
            "/openapi/v2": self._openapi.version_2,
        }
        if path in fixed:
            return fixed[path]()
        if parts[0] == "api" and len(parts) == 2:
            return discovery.api_resources(registry, group="", version=parts[1])
        if parts[0] == "apis" and len(parts) == 2:
            return discovery.api_group(registry, group=parts[1])
        if parts[0] == "apis" and len(parts) == 3:
            return discovery.api_resources(registry, group=parts[1], version=parts[2])
        return None

    # --- objects

    async def _answer_resource(self, request: web.BaseRequest, *, target: Target) -> web.StreamResponse:
        options = Options(request.query, request.headers.get("User-Agent", ""))
        verb = _verb(request.method, target=target, options=options)
        _check_subresource(target)
        call = Call(verb, target, options.user_agent)
        if not self._parts.failpoints:
            return await self._perform(request, call=call, options=options)
        await self._parts.failpoints.strike(call, when="before")
        response = await self._perform(request, call=call, options=options)
        await self._parts.failpoints.strike(call, when="after")
        return response

    async def _perform(self, request: web.BaseRequest, *, call: Call, options: Options) -> web.StreamResponse:
        if call.verb == "watch":
            return await self._watches.serve(request, call=call, options=options)
        if call.verb == "get":
            return await self._get(request, call=call, options=options)
        if call.verb == "list":
            return self._list(request, call=call, options=options)
        body = await _read(request)
        try:
            return self._write(request, call=call, options=options, body=body)
        except Refused as refused:
            self._record(call, outcome=Outcome(refused.code, b""), request=request, body=body)
            raise

    def _write(self, request: web.BaseRequest, *, call: Call, options: Options, body: bytes) -> web.Response:
        """Raises Refused."""
        try:
            return self._carry_out(request, call=call, options=options, body=body)
        except DiskFull as error:
            raise disk_full() from error

    def _carry_out(self, request: web.BaseRequest, *, call: Call, options: Options, body: bytes) -> web.Response:
        """No await in here: what was read and what is written belong together."""
        target, content_type = call.target, request.headers.get("Content-Type", "")
        if call.verb == "delete":
            outcome = self._deletion.delete(target, wish=deletion.parse_options(body, options=options))
        elif call.verb == "deletecollection":
            return self._delete_collection(call, options=options, body=body)
        elif target.subresource == "scale":
            target, body, content_type = scale.as_patch(body, target=target)
            outcome = self._verbs.patch(target, body=body, content_type=content_type, options=options)
        else:
            outcome = self._writes[call.verb](target, body=body, content_type=content_type, options=options)
        self._record(call, outcome=outcome, request=request, body=body)
        answer = scale.scale_of(outcome.after) if call.target.subresource == "scale" and outcome.after is not None else outcome.body
        return _respond(answer, code=outcome.code, warnings=outcome.warnings)

    def _delete_collection(self, call: Call, *, options: Options, body: bytes) -> web.Response:
        definition = call.target.definition
        page = self._reader.list(call.target, options=options)
        wish = deletion.parse_options(body, options=options)
        for outcome in self._deletion.delete_many(list(page.items), wish=wish, definition=definition):
            self._record(call, outcome=outcome)
        return _respond(encode_list(page, definition=definition))

    def _record(self, call: Call, *, outcome: Outcome, request: web.BaseRequest | None = None, body: bytes = b"") -> None:
        if self._parts.audit is not None:
            target = call.target
            content_type = request.headers.get("Content-Type", "") if request is not None else ""
            self._parts.audit.record(
                user_agent=call.user_agent,
                verb=call.verb,
                resource=target.definition.resource,
                subresource=target.subresource,
                namespace=target.namespace,
                name=target.name,
                code=outcome.code,
                before=outcome.before,
                after=outcome.after,
                preconditions=preconditions_of(body, content_type=content_type),
            )

    async def _get(self, request: web.BaseRequest, *, call: Call, options: Options) -> web.StreamResponse:
        stored = self._reader.get(call.target, options=options, staleness=self._parts.failpoints.staleness(call))
        if call.target.subresource == "log":
            return await self._parts.logs.serve(request, pod=stored, options=options)
        if call.target.subresource == "portforward":
            return await serve_port_forward(request, pod=stored, options=options, node=self._parts.logs)
        if call.target.subresource == "scale":
            return _respond(scale.scale_of(stored))
        return _respond(_in_form(request, stored=stored, call=call, options=options))

    def _list(self, request: web.BaseRequest, *, call: Call, options: Options) -> web.Response:
        options.check_list_options()
        form = _form(request)
        page = self._reader.list(call.target, options=options, staleness=self._parts.failpoints.staleness(call))
        if form == "json":
            return _respond(encode_list(page, definition=call.target.definition))
        include = options.query.get("includeObject", "Metadata")
        return _respond(tables.encode_page(page, definition=call.target.definition, form=form, include=include))


def _too_large() -> Refused:
    return Refused(f"Request entity too large: limit is {BODY_LIMIT}", code=413, reason="RequestEntityTooLarge")


async def _read(request: web.BaseRequest) -> bytes:
    """The body; a client that asks first whether to send it is answered (aiohttp does so for applications only)."""
    if (request.content_length or 0) > BODY_LIMIT:
        raise _too_large()
    if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    return await request.read()


def _in_form(request: web.BaseRequest, *, stored: Stored, call: Call, options: Options) -> bytes:
    form = _form(request)
    if form == "json":
        return stored.body
    return tables.encode_object(
        stored, definition=call.target.definition, form=form, include=options.query.get("includeObject", "Metadata")
    )


def _form(request: web.BaseRequest) -> str:
    form = tables.parse_accept(request.headers.get("Accept", ""))
    if not form:
        raise not_acceptable(["application/json"])
    return form


def _refuse(refused: Refused) -> web.Response:
    return web.Response(body=refused.encode(), status=refused.code, headers=_JSON | refused.headers)


def _respond(body: bytes, *, code: int = 200, warnings: list[str] | None = None) -> web.Response:
    response = web.Response(body=body, status=code, headers=_JSON)
    for warning in warnings or ():
        escaped = warning.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{escaped}"')
    return response


def _verb(method: str, *, target: Target, options: Options) -> str:
    definition = target.definition
    verb = (_ITEM_VERBS if target.name else _COLLECTION_VERBS).get(method)
    if verb == "list" and options.is_watch:
        return "watch"
    if verb is None and definition.is_custom and not target.name:
        raise bad_request("name must be provided")
    if verb is None or (verb == "create" and target.name and not definition.is_custom and target.subresource not in _NOT_HERE):
        raise Refused("the server does not allow this method on the requested resource", code=405, reason="MethodNotAllowed", details={})
    if target.subresource and verb in ("delete", "deletecollection", "create") and target.subresource not in _NOT_HERE:
        raise method_not_allowed(group=definition.group, plural=definition.plural, action=verb)
    return verb


def _check_subresource(target: Target) -> None:
    if not target.subresource or target.subresource in target.definition.subresources:
        return
    if target.subresource in _NOT_HERE:
        raise not_implemented(f"local mode has no {target.subresource}; a cluster has")
    raise not_found(target.name, group=target.definition.group, plural=target.definition.plural)


def _close(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.abort()


def request_factory(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
    """aiohttp's own limit of a body is 1 MiB."""
    return web.BaseRequest(message, payload, protocol, writer, task, task.get_loop(), client_max_size=BODY_LIMIT)

"""The client: verbs on kinds, typed answers, one deadline a request. Decides nothing and never resends a write."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, TypeVar

import aiohttp
import msgspec

from k8s.client.connections import JSON_TYPE, Connections, Query, Stream
from k8s.client.credentials import Credentials
from k8s.client.decoding import decode_object, decode_page
from k8s.client.errors import ApiError, RequestTimeout, ServerError, Throttled, Unreachable
from k8s.client.patches import Patch
from k8s.client.resources import Resource

T = TypeVar("T")
OnRequest = Callable[[str, str, str, float], None]
"""(verb, resource as in `runs/status` or "", status code or the error's reason, seconds): a hook for metrics, quick and never raising."""

READ_VERBS = frozenset({"get", "list", "watch"})
_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
"""As Kubernetes names them, in RBAC and in its own metrics."""

MAX_CONNECTIONS = 128
"""More than one of our processes has requests in flight: 64 Runs of a Pod may end at once, the scheduler has 32 binds and 4 messages
out, and a heartbeat or a Lease must not stand behind them. Above it they wait here, first come first served: an API server takes
200 writes at a time (--max-mutating-requests-inflight), and whoever sends it more is refused there. Watches are not counted."""
MIN_RETRY_SECONDS = 0.1
"""A server that says "come back at once" again and again must not be asked in a tight loop."""
FIRST_PAGE_SIZE = 100
"""Before it is known how large the objects are: a Run may hold a script of 256 KiB."""
PAGE_BYTES = 4 << 20
"""What a page may weigh, about: thousands of small objects would fit, and `page_size` ends it before."""
CANCELLED = "Cancelled"
_UNANSWERED = frozenset({CANCELLED, RequestTimeout.reason, Unreachable.reason})
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A consistent list and the resourceVersion from which to watch."""

    items: list[T]
    resource_version: str


class ApiClient:
    """One API server. Safe to share between tasks of one event loop; use `connect`, and `async with` or `close`."""

    def __init__(self, connections: Connections, *, request_timeout_seconds: float) -> None:
        self._connections = connections
        self.request_timeout_seconds = request_timeout_seconds
        self.on_request: OnRequest | None = None
        self.requests_total = 0
        self.writes_total = 0
        self.unanswered_writes = 0
        """Of those, how many were given up after they were sent: they may still land."""

    @classmethod
    async def connect(
        cls, credentials: Credentials, *, user_agent: str, request_timeout_seconds: float = 10.0, max_connections: int = MAX_CONNECTIONS
    ) -> ApiClient:
        """A client; the first connection is made by the first request."""
        connections = Connections(credentials, user_agent=user_agent, max_connections=max_connections)
        return cls(connections, request_timeout_seconds=request_timeout_seconds)

    async def close(self) -> None:
        """Drops all connections, those of watches too."""
        await self._connections.close()

    async def __aenter__(self) -> ApiClient:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    @property
    def server(self) -> str:
        """Its address, for messages."""
        return self._connections.credentials.server

    @property
    def namespace(self) -> str:
        """The namespace that the credentials' context names."""
        return self._connections.credentials.namespace

    async def get(self, resource: Resource[T], name: str, *, namespace: str | None = None) -> T:
        """One object, read consistently."""
        return await self._verb("GET", resource, namespace=namespace, name=name)

    async def list(
        self,
        resource: Resource[T],
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        page_size: int = 500,
    ) -> Listing[T]:
        """All of them, in pages of one consistent state: never an API server's cache. Raises Gone when it takes too long.

        Pages of large objects are smaller than `page_size`, so that no answer takes much memory.
        """
        selectors = _present(labelSelector=label_selector, fieldSelector=field_selector)
        items: list[T] = []
        token = ""
        limit = min(page_size, FIRST_PAGE_SIZE)
        while True:
            query = {**selectors, "limit": str(limit), **_present(**{"continue": token})}
            path = resource.path(namespace=namespace)
            body = await self._send("GET", path, asked=("list", resource.plural), query=query, body=None)
            page, metadata = decode_page(resource, body, what=f"GET {path}")
            items += page
            # An object that cannot be read is left out of the page, but it weighs.
            limit = max(1, min(page_size, PAGE_BYTES * max(1, len(page)) // len(body)))
            token = metadata.continue_
            if not token:
                return Listing(items, metadata.resource_version)

    async def create(self, resource: Resource[T], body: Mapping[str, Any], *, namespace: str | None = None, field_manager: str = "") -> T:
        """Creates it. Raises AlreadyExists, Invalid, ..."""
        return await self._verb("POST", resource, namespace=namespace, query=_present(fieldManager=field_manager), body=_encode(body))

    async def replace(
        self,
        resource: Resource[T],
        name: str,
        body: Mapping[str, Any],
        *,
        namespace: str | None = None,
        subresource: str | None = None,
        field_manager: str = "",
    ) -> T:
        """Replaces it; Conflict when `metadata.resourceVersion` in the body is not the current one."""
        query = _present(fieldManager=field_manager)
        return await self._verb("PUT", resource, namespace=namespace, name=name, subresource=subresource, query=query, body=_encode(body))

    async def patch(
        self,
        resource: Resource[T],
        name: str,
        patch: Patch,
        *,
        namespace: str | None = None,
        subresource: str | None = None,
        field_manager: str = "",
        force: bool = False,
    ) -> T:
        """Patches it. Conflict: the resourceVersion in it is old. Invalid: a test failed, or the result breaks a rule."""
        query = _present(fieldManager=field_manager, force="true" if force else "")
        return await self._verb(
            "PATCH",
            resource,
            namespace=namespace,
            name=name,
            subresource=subresource,
            query=query,
            body=patch.body,
            content_type=patch.content_type,
        )

    async def delete(
        self,
        resource: Resource[Any],
        name: str,
        *,
        namespace: str | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation_policy: str | None = None,
        grace_period_seconds: int | None = None,
    ) -> None:
        """Deletes it; Conflict when `uid` or `resource_version` is given and differs. It may linger for its finalizers."""
        preconditions = {key: value for key, value in (("uid", uid), ("resourceVersion", resource_version)) if value}
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions"}
        options |= {"preconditions": preconditions} if preconditions else {}
        options |= {"propagationPolicy": propagation_policy} if propagation_policy else {}
        options |= {"gracePeriodSeconds": grace_period_seconds} if grace_period_seconds is not None else {}
        path = resource.path(namespace=namespace, name=name)
        await self._send("DELETE", path, asked=("delete", resource.plural), query=None, body=_encode(options))

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: bytes | None = None,
        content_type: str = JSON_TYPE,
        accept: str = JSON_TYPE,
        timeout_seconds: float | None = None,
    ) -> bytes:
        """The raw one that the others use: the body of a good answer, or an ApiError. Only GET is ever repeated."""
        asked = (_VERBS.get(method, method.lower()), "")
        return await self._send(
            method, path, asked=asked, query=query, body=body, content_type=content_type, accept=accept, timeout_seconds=timeout_seconds
        )

    @asynccontextmanager
    async def stream(
        self, path: str, *, query: Query | None = None, accept: str = JSON_TYPE, asked: tuple[str, str] = ("get", "")
    ) -> AsyncIterator[Stream]:
        """A streaming GET on a connection of its own: `async with client.stream(...) as stream: async for line in stream`.

        It is counted, as what was `asked` (verb and resource), when its head is here.
        """
        began_at = time.monotonic()
        opening = self._connections.stream(
            path, query=query, headers={"Accept": accept}, what=f"GET {path}", timeout_seconds=self.request_timeout_seconds
        )
        async with AsyncExitStack() as stack:
            try:
                stream = await stack.enter_async_context(opening)
            except ApiError as error:
                self._count(asked, _outcome_of(error), began_at)
                raise
            self._count(asked, "200", began_at)
            yield stream

    async def open_websocket(self, path: str, *, query: Query, protocol: str, max_bytes: int, what: str) -> aiohttp.ClientWebSocketResponse:
        """A connection in both directions, as port-forward needs it. Whoever opens it closes it."""
        return await self._connections.websocket(
            path,
            query=query,
            headers={"Accept": "*/*"},  # what comes is no object: a kubelet refuses one who asks for JSON
            protocol=protocol,
            max_bytes=max_bytes,
            what=what,
            timeout_seconds=self.request_timeout_seconds,
        )

    async def _verb(
        self,
        method: str,
        resource: Resource[T],
        *,
        namespace: str | None,
        name: str | None = None,
        subresource: str | None = None,
        query: Query | None = None,
        body: bytes | None = None,
        content_type: str = JSON_TYPE,
    ) -> T:
        path = resource.path(namespace=namespace, name=name, subresource=subresource)
        asked = (_VERBS[method], f"{resource.plural}/{subresource}" if subresource else resource.plural)
        answer = await self._send(method, path, asked=asked, query=query, body=body, content_type=content_type)
        return decode_object(resource, answer, what=f"{method} {path}")

    async def _send(
        self,
        method: str,
        path: str,
        *,
        asked: tuple[str, str],
        query: Query | None,
        body: bytes | None,
        content_type: str = JSON_TYPE,
        accept: str = JSON_TYPE,
        timeout_seconds: float | None = None,
    ) -> bytes:
        what = f"{method} {path}"
        headers = {"Content-Type": content_type} if body is not None else {}
        if accept != JSON_TYPE:
            headers["Accept"] = accept
        deadline_seconds = timeout_seconds or self.request_timeout_seconds
        outcome = CANCELLED
        began_at = time.monotonic()
        try:
            async with asyncio.timeout(deadline_seconds) as deadline:
                status, answer = await self._attempt(method, path, query=query, body=body, headers=headers, what=what, deadline=deadline)
            outcome = str(status)
            return answer
        except TimeoutError as error:
            outcome = RequestTimeout.reason
            raise RequestTimeout(f"{what}: no answer from {self.server} within {deadline_seconds:g} s") from error
        except ApiError as error:
            outcome = _outcome_of(error)
            raise
        finally:
            self._count(asked, outcome, began_at)

    async def _attempt(
        self,
        method: str,
        path: str,
        *,
        query: Query | None,
        body: bytes | None,
        headers: Mapping[str, str],
        what: str,
        deadline: asyncio.Timeout,
    ) -> tuple[int, bytes]:
        """Sends it; a GET again after a broken connection (once), and when the server says when to come back."""
        may_reconnect = method == "GET"
        while True:
            try:
                answer = await self._connections.send(method, path, query=query, body=body, headers=headers, what=what)
            except Unreachable:
                if not may_reconnect:
                    raise
                may_reconnect = False
                continue
            if answer.status < 300:
                return answer.status, answer.body
            error = self._connections.error(answer.status, answer.retry_after, answer.body, what=what)
            if method != "GET" or not _may_wait(error, deadline):
                raise error
            await asyncio.sleep(max(error.retry_after_seconds or 0.0, MIN_RETRY_SECONDS))

    def _count(self, asked: tuple[str, str], outcome: str, began_at: float) -> None:
        verb, resource = asked
        self.requests_total += 1
        if verb not in READ_VERBS:
            self.writes_total += 1
            self.unanswered_writes += outcome in _UNANSWERED
        if self.on_request is not None:
            self.on_request(verb, resource, outcome, time.monotonic() - began_at)


def _outcome_of(error: ApiError) -> str:
    return str(error.status or error.reason)


def _may_wait(error: ApiError, deadline: asyncio.Timeout) -> bool:
    """Whether the server named a time at which to come back that lies within our deadline."""
    is_busy = isinstance(error, Throttled) or (isinstance(error, ServerError) and error.status == 503)
    if not is_busy or error.retry_after_seconds is None:
        return False
    ends_at = deadline.when()
    return ends_at is None or asyncio.get_running_loop().time() + error.retry_after_seconds < ends_at


def _present(**parameters: str) -> dict[str, str]:
    return {name: value for name, value in parameters.items() if value}

"""The client: verbs on kinds, typed answers, one deadline a request. Decides nothing and never resends a write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, TypeVar

import msgspec

from k8s.client.connections import Connections, Query, Stream
from k8s.client.credentials import Credentials
from k8s.client.decoding import decode_object, decode_page
from k8s.client.errors import ApiError, RequestTimeout, ServerError, Throttled, Unreachable
from k8s.client.patches import Patch
from k8s.client.resources import Resource

T = TypeVar("T")
OnRequest = Callable[[str, str, str], None]
"""(method, plural or "", status or the error's reason): a hook for metrics; it must be quick and never raise."""

JSON_TYPE = "application/json"
MIN_RETRY_SECONDS = 0.1
"""A server that says "come back at once" again and again must not be asked in a tight loop."""
FIRST_PAGE_SIZE = 100
"""Before it is known how large the objects are: a Run may hold a script of 256 KiB."""
PAGE_BYTES = 4 << 20
"""What a page may weigh, about: thousands of small objects would fit, and `page_size` ends it before."""
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

    @classmethod
    async def connect(
        cls, credentials: Credentials, *, user_agent: str, request_timeout_seconds: float = 10.0, max_connections: int = 64
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
            body = await self._send("GET", path, plural=resource.plural, query=query, body=None)
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
        await self._send("DELETE", path, plural=resource.plural, query=None, body=_encode(options))

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
        return await self._send(
            method, path, plural="", query=query, body=body, content_type=content_type, accept=accept, timeout_seconds=timeout_seconds
        )

    def stream(self, path: str, *, query: Query | None = None, accept: str = JSON_TYPE) -> AbstractAsyncContextManager[Stream]:
        """A streaming GET on a connection of its own: `async with client.stream(...) as stream: async for line in stream`."""
        timeout = self.request_timeout_seconds
        return self._connections.stream(path, query=query, headers={"Accept": accept}, what=f"GET {path}", timeout_seconds=timeout)

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
        answer = await self._send(method, path, plural=resource.plural, query=query, body=body, content_type=content_type)
        return decode_object(resource, answer, what=f"{method} {path}")

    async def _send(
        self,
        method: str,
        path: str,
        *,
        plural: str,
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
        outcome = "Cancelled"
        try:
            async with asyncio.timeout(deadline_seconds) as deadline:
                status, answer = await self._attempt(method, path, query=query, body=body, headers=headers, what=what, deadline=deadline)
            outcome = str(status)
            return answer
        except TimeoutError as error:
            outcome = RequestTimeout.reason
            raise RequestTimeout(f"{what}: no answer from {self.server} within {deadline_seconds:g} s") from error
        except ApiError as error:
            outcome = str(error.status or error.reason)
            raise
        finally:
            self._count(method, plural, outcome)

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
                status, retry_after, answer = await self._connections.send(method, path, query=query, body=body, headers=headers, what=what)
            except Unreachable:
                if not may_reconnect:
                    raise
                may_reconnect = False
                continue
            if status < 300:
                return status, answer
            error = self._connections.error(status, retry_after, answer, what=what)
            if method != "GET" or not _may_wait(error, deadline):
                raise error
            await asyncio.sleep(max(error.retry_after_seconds or 0.0, MIN_RETRY_SECONDS))

    def _count(self, method: str, plural: str, outcome: str) -> None:
        self.requests_total += 1
        if method != "GET":
            self.writes_total += 1
        if self.on_request is not None:
            self.on_request(method, plural, outcome)


def _may_wait(error: ApiError, deadline: asyncio.Timeout) -> bool:
    """Whether the server named a time at which to come back that lies within our deadline."""
    is_busy = isinstance(error, Throttled) or (isinstance(error, ServerError) and error.status == 503)
    if not is_busy or error.retry_after_seconds is None:
        return False
    ends_at = deadline.when()
    return ends_at is None or asyncio.get_running_loop().time() + error.retry_after_seconds < ends_at


def _present(**parameters: str) -> dict[str, str]:
    return {name: value for name, value in parameters.items() if value}

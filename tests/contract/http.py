"""Plain HTTP against an API server, without any client library of ours between the test and the wire."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.cluster.access import Access

Json = dict[str, Any]

RUNS = "/apis/kruntimes.io/v1alpha1/namespaces/{namespace}/runs"
RUNTIMES = "/apis/kruntimes.io/v1alpha1/namespaces/{namespace}/runtimes"
PODS = "/api/v1/namespaces/{namespace}/pods"
CONFIG_MAPS = "/api/v1/namespaces/{namespace}/configmaps"
EVENTS = "/api/v1/namespaces/{namespace}/events"
DEPLOYMENTS = "/apis/apps/v1/namespaces/{namespace}/deployments"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
NAMESPACES = "/api/v1/namespaces"

MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"

DEADLINE_SECONDS = 10.0
"""For what must happen at once; generous, because the machine may be busy."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, decoded body (text where it is not JSON) and headers."""

    status: int
    body: Any
    headers: Mapping[str, str]

    def ok(self, status: int = 200) -> Json:
        """The body of an answer that must have succeeded."""
        assert self.status == status, f"{self.status}: {self.body}"
        result: Json = self.body
        return result

    def refused(self, status: int, reason: str, *, mentions: str = "") -> Json:
        """The Status of an answer that must have failed so."""
        assert self.status == status, f"{self.status}: {self.body}"
        assert isinstance(self.body, dict), f"not a Status: {self.body!r}"
        facts = {key: self.body.get(key) for key in ("kind", "apiVersion", "status", "code", "reason")}
        assert facts == {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status, "reason": reason}, self.body
        assert mentions in self.body["message"], self.body["message"]
        return self.body

    def invalid(self, *, field: str = "", mentions: str = "") -> Json:
        """422, naming `field` among its causes."""
        status = self.refused(422, "Invalid", mentions=mentions)
        fields = [cause.get("field") for cause in status["details"]["causes"]]
        assert not field or field in fields, f"{fields}: {status['message']}"
        return status


class Watch:
    """An open watch: its events, each within the deadline."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def next(self) -> tuple[str, Json]:
        """Type and object of the next event."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            line = await self._response.content.readline()
        assert line, "the watch ended"
        event = json.loads(line)
        return event["type"], event["object"]

    async def next_names(self, count: int) -> list[tuple[str, str]]:
        """Type and object name of the next events."""
        return [(kind, thing["metadata"]["name"]) for kind, thing in [await self.next() for _ in range(count)]]

    async def ends(self) -> None:
        """Waits for the server to end it, without a further event."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert await self._response.content.readline() == b""


class Api:
    """One identity at one server, working in one namespace."""

    def __init__(self, session: aiohttp.ClientSession, *, access: Access, namespace: str = "default") -> None:
        self._session = session
        self._access = access
        self._tls = access.tls()
        self.namespace = namespace

    @property
    def access(self) -> Access:
        return self._access

    def path(self, resource: str, name: str = "", *, subresource: str = "") -> str:
        """The URL path of a collection, an object or its subresource, in our namespace."""
        parts = [resource.format(namespace=self.namespace), name, subresource]
        return "/".join(part for part in parts if part)

    async def request(self, method: str, path: str, body: Any = None, *, content_type: str = "application/json",
                      headers: Mapping[str, str] | None = None, **query: Any) -> Answer:  # fmt: skip
        """Sends it as it is; a body that is not bytes goes as JSON."""
        data = body if isinstance(body, bytes | None) else json.dumps(body, ensure_ascii=False).encode()
        sent = self._access.headers | {"Accept": "application/json"} | ({"Content-Type": content_type} if data is not None else {})
        async with (
            asyncio.timeout(DEADLINE_SECONDS),
            self._session.request(
                method, self._access.url + path, data=data, headers=sent | dict(headers or {}), params=_texts(query), ssl=self._tls or False
            ) as response,
        ):
            text = await response.text()
            # By its look: the real server serves its schemas as text/plain.
            return Answer(response.status, json.loads(text) if text.startswith("{") else text, response.headers)

    async def create(self, resource: str, manifest: Json, **query: Any) -> Json:
        """The created object; the request must succeed."""
        return (await self.post(resource, manifest, **query)).ok(201)

    async def post(self, resource: str, manifest: Any, **query: Any) -> Answer:
        return await self.request("POST", self.path(resource), manifest, **query)

    async def read(self, resource: str, name: str) -> Json:
        return (await self.get(resource, name)).ok()

    async def get(self, resource: str, name: str = "", **query: Any) -> Answer:
        return await self.request("GET", self.path(resource, name), **query)

    async def names(self, resource: str, **query: Any) -> list[str]:
        """Names of a listing, sorted."""
        listing = (await self.get(resource, **query)).ok()
        return sorted(item["metadata"]["name"] for item in listing["items"])

    async def put(self, resource: str, manifest: Json, *, subresource: str = "", **query: Any) -> Answer:
        return await self.request("PUT", self.path(resource, manifest["metadata"]["name"], subresource=subresource), manifest, **query)

    async def patch(self, resource: str, name: str, patch: Any, *, kind: str = MERGE, subresource: str = "", **query: Any) -> Answer:
        return await self.request("PATCH", self.path(resource, name, subresource=subresource), patch, content_type=kind, **query)

    async def delete(self, resource: str, name: str = "", options: Json | None = None, **query: Any) -> Answer:
        return await self.request("DELETE", self.path(resource, name), options, **query)

    @asynccontextmanager
    async def watch(self, resource: str, *, headers: Mapping[str, str] | None = None, **query: Any) -> AsyncIterator[Watch]:
        """A watch that the server has accepted."""
        params = _texts(query | {"watch": True})
        url, timeout = self._access.url + self.path(resource), aiohttp.ClientTimeout(total=None)
        sent = self._access.headers | dict(headers or {})
        async with self._session.get(url, headers=sent, params=params, ssl=self._tls or False, timeout=timeout) as response:
            assert response.status == 200, f"{response.status}: {await response.text()}"
            try:
                yield Watch(response)
            finally:
                _abort(response)


def _abort(response: aiohttp.ClientResponse) -> None:
    """Cuts the line: a polite TLS goodbye to a server that is still sending would outlive the event loop of its test."""
    if response.connection is not None and response.connection.transport is not None:
        response.connection.transport.abort()


def _texts(query: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in query.items()}

"""Bare HTTP for the floor probe: a watch as lines, and a status patch. No cache, no retry, no typing beyond three fields.

Any error ends the process, and with it the benchmark: a floor that lost a Run measures nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlencode

import aiohttp
import msgspec
from yarl import URL

from bench.subjects import FLOOR_RUNS
from k8s.client import Credentials

MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}
CONNECTIONS = 64
"""As many as our own clients use."""
WATCH_SECONDS = 3600


class _Metadata(msgspec.Struct):
    name: str


class _Object(msgspec.Struct):
    metadata: _Metadata


class _Event(msgspec.Struct):
    type: str
    object: _Object


_decode = msgspec.json.Decoder(_Event).decode
_encode = msgspec.json.Encoder().encode


class Wire:
    """One namespace of one API server. Get one by `connected`."""

    def __init__(self, session: aiohttp.ClientSession, *, credentials: Credentials, namespace: str) -> None:
        self._session = session
        self._collection = credentials.server + FLOOR_RUNS.path(namespace=namespace)
        self._ssl: Any = credentials.ssl_context if credentials.ssl_context is not None else True

    @asynccontextmanager
    async def watch(self, field_selector: str) -> AsyncIterator[aiohttp.StreamReader]:
        """Its lines are events from now on, and ADDED for what is there already. One that is cut ends the block, as one that ends does."""
        query = urlencode({"watch": "true", "fieldSelector": field_selector, "timeoutSeconds": str(WATCH_SECONDS)})
        async with self._session.get(URL(f"{self._collection}?{query}", encoded=True), ssl=self._ssl) as response:
            response.raise_for_status()
            with suppress(aiohttp.ClientPayloadError):
                yield response.content

    async def patch_status(self, name: str, status: dict[str, Any]) -> None:
        url = URL(f"{self._collection}/{name}/status", encoded=True)
        async with self._session.patch(url, data=_encode({"status": status}), headers=MERGE_PATCH, ssl=self._ssl) as response:
            response.raise_for_status()
            await response.read()


def added_name(line: bytes) -> str | None:
    """The name of the object that has come into the selection; None for any other event."""
    event = _decode(line)
    return event.object.metadata.name if event.type == "ADDED" else None


@asynccontextmanager
async def connected(credentials: Credentials, *, namespace: str) -> AsyncIterator[Wire]:
    """Credentials are read by `k8s.client`, once, at start; nothing of it is on the path."""
    headers = dict(await credentials.authorize())
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS),
        headers=headers,
        skip_auto_headers=("Accept-Encoding", "Content-Type"),
        timeout=aiohttp.ClientTimeout(total=None),
        read_bufsize=1 << 18,
    ) as session:
        yield Wire(session, credentials=credentials, namespace=namespace)

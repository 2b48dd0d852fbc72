"""An API server in memory, for tests in fake time: objects, versions, conflicts, watches. It stands in for `Connections`.

Real sockets and fake time do not mix: a loop that jumps ahead would end every deadline. The same client code runs over real
sockets in the other tests, and against real API servers in the contract suite.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

from k8s.client import ApiClient, ApiError, Credentials, Unreachable
from k8s.client.connections import Connections
from k8s.client.errors import error_from_answer
from k8s.client.http1 import Answer
from tests.k8s.client.fake_api import status_body


class FakeStore:
    """Objects by path. `is_hanging` and `is_down` are the failpoints; `writes` is the log of what was accepted, and when."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.version = 0
        self.is_hanging = False
        self.is_down = False
        self.loses_answers = False
        self.writes: list[tuple[float, str, dict[str, Any]]] = []
        self.reads = 0
        self._watches: list[tuple[str, asyncio.Queue[bytes]]] = []

    def client(self) -> ApiClient:
        """A client of its own."""
        return ApiClient(cast("Connections", FakeConnections(self)), request_timeout_seconds=10.0)

    def put(self, path: str, body: dict[str, Any], *, kind: str) -> dict[str, Any]:
        """Stores and tells the watches."""
        self.version += 1
        body["metadata"]["resourceVersion"] = str(self.version)
        body["metadata"].setdefault("uid", f"uid-{self.version}")
        self.objects[path] = body
        self.writes.append((asyncio.get_running_loop().time(), path, json.loads(json.dumps(body))))
        self._tell(path, kind, body)
        return body

    def remove(self, path: str) -> None:
        self.version += 1
        body = self.objects.pop(path)
        body["metadata"]["resourceVersion"] = str(self.version)
        self._tell(path, "DELETED", body)

    def _tell(self, path: str, kind: str, body: dict[str, Any]) -> None:
        line = json.dumps({"type": kind, "object": body}).encode()
        for collection, queue in self._watches:
            if path.startswith(collection):
                queue.put_nowait(line)

    def watch(self, collection: str) -> asyncio.Queue[bytes]:
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._watches.append((collection, queue))
        return queue

    def handle(self, method: str, path: str, body: bytes | None) -> Answer:
        """What the request does and is answered."""
        sent = json.loads(body) if body else {}
        known = self.objects.get(path)
        if method == "POST":
            target = f"{path}/{sent['metadata']['name']}"
            if target in self.objects:
                return refuse(409, "AlreadyExists")
            return good(self.put(target, sent, kind="ADDED"))
        if method == "GET":
            self.reads += 1
            return good(known) if known else self._list(path)
        if known is None:
            return refuse(404, "NotFound")
        if method == "DELETE":
            self.remove(path)
            return good(known)
        if method == "PATCH":
            return good(self.put(path, {**known, **sent}, kind="MODIFIED"))
        if sent["metadata"].get("resourceVersion") not in {None, known["metadata"]["resourceVersion"]}:
            return refuse(409, "Conflict")
        return good(self.put(path, sent, kind="MODIFIED"))

    def _list(self, path: str) -> Answer:
        if not path.endswith("s"):
            return refuse(404, "NotFound")
        items = [body for name, body in self.objects.items() if name.startswith(path)]
        return good({"metadata": {"resourceVersion": str(self.version)}, "items": items})


class FakeConnections:
    """Has what `ApiClient` asks of `Connections`."""

    def __init__(self, store: FakeStore) -> None:
        self.store = store
        self.credentials = Credentials("http://in-memory")

    async def close(self) -> None: ...

    async def send(
        self, method: str, path: str, *, query: Mapping[str, str] | None, body: bytes | None, headers: Mapping[str, str], what: str
    ) -> Answer:
        await asyncio.sleep(0)
        if self.store.is_hanging:
            await asyncio.Event().wait()
        if self.store.is_down:
            raise Unreachable(f"{what}: down")
        answer = self.store.handle(method, path, body)
        if self.store.loses_answers and method != "GET":
            raise Unreachable(f"{what}: the answer is lost")
        return answer

    @asynccontextmanager
    async def stream(
        self, path: str, *, query: Mapping[str, str], headers: Mapping[str, str], what: str, timeout_seconds: float
    ) -> AsyncIterator[FakeStream]:
        if self.store.is_down or self.store.is_hanging:
            raise Unreachable(f"{what}: down")
        yield FakeStream(self.store.watch(path))

    def error(self, status: int, retry_after: str | None, body: bytes, *, what: str) -> ApiError:
        return error_from_answer(status=status, body=body, what=what, retry_after=retry_after)


class FakeStream:
    """A watch that never breaks."""

    def __init__(self, queue: asyncio.Queue[bytes]) -> None:
        self._queue = queue

    async def lines(self, *, inactivity_seconds: float | None = None, keep_partial: bool = False) -> AsyncGenerator[bytes, None]:
        while True:
            yield await self._queue.get()


def good(body: dict[str, Any]) -> Answer:
    return Answer(200, None, json.dumps(body).encode(), is_reusable=True)


def refuse(status: int, reason: str) -> Answer:
    return Answer(status, None, json.dumps(status_body(status, reason=reason)).encode(), is_reusable=True)

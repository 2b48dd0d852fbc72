"""A scripted API server in the test's event loop: Runs, Runtimes and Pod logs, with watches. The real ones are tested in
test_krt_against_the_embedded_api_server.py and by the contract suite; this one can misbehave on command.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

Json = dict[str, Any]
GROUP = "/apis/kruntimes.io/v1alpha1"


def status_answer(code: int, reason: str, message: str, *, causes: list[Json] | None = None) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason, "code": code}
    return web.json_response(body | ({"details": {"causes": causes}} if causes else {}), status=code)


@dataclass
class PodLogFile:
    """What the `runtimed` container has written: complete lines, each with the node's stamp."""

    lines: list[bytes] = field(default_factory=list)
    grown: asyncio.Condition = field(default_factory=asyncio.Condition)
    is_gone: bool = False
    cuts: int = 0
    """How many followers to cut off after one line each."""
    opened: int = 0
    refusal: web.Response | None = None

    async def append(self, *lines: str) -> None:
        for line in lines:
            number = len(self.lines)
            self.lines.append(f"2026-08-09T10:00:{number // 1000:02}.{number % 1000:03}000000Z {line}\n".encode())
        async with self.grown:
            self.grown.notify_all()


@dataclass
class FakeApiServer:
    """Its objects, by plural and name; one namespace is as good as another."""

    objects: dict[str, dict[str, Json]] = field(default_factory=lambda: {"runs": {}, "runtimes": {}})
    logs: dict[str, PodLogFile] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    refuse: dict[str, web.Response] = field(default_factory=dict)
    """Answers by `METHOD plural`, instead of doing it."""
    lose_answers: int = 0
    """How many creations to carry out and then say nothing about: the connection breaks."""
    url: str = ""
    version: int = 100
    events: list[tuple[int, str, str, Json]] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def log_of(self, pod: str) -> PodLogFile:
        return self.logs.setdefault(pod, PodLogFile())

    async def put(self, plural: str, item: Json, *, event: str = "MODIFIED") -> Json:
        self.version += 1
        item = json.loads(json.dumps(item))
        item["metadata"]["resourceVersion"] = str(self.version)
        self.objects[plural][item["metadata"]["name"]] = item
        if event == "DELETED":
            del self.objects[plural][item["metadata"]["name"]]
        self.events.append((self.version, plural, event, item))
        async with self.changed:
            self.changed.notify_all()
        return item

    async def add(self, plural: str, name: str, *, spec: Json | None = None, status: Json | None = None, **metadata: Any) -> Json:
        kind = {"runs": "Run", "runtimes": "Runtime"}[plural]
        identity = {"name": name, "namespace": "default", "uid": str(uuid.uuid4()), "creationTimestamp": "2026-08-09T10:00:00Z"}
        item: Json = {"apiVersion": "kruntimes.io/v1alpha1", "kind": kind, "metadata": identity | metadata, "spec": spec or {}}
        return await self.put(plural, item | ({"status": status} if status else {}), event="ADDED")

    async def set_status(self, name: str, **status: Any) -> Json:
        run = self.objects["runs"][name]
        return await self.put("runs", run | {"status": run.get("status", {}) | status})

    async def remove(self, plural: str, name: str) -> None:
        await self.put(plural, self.objects[plural][name], event="DELETED")

    async def run_named(self, name: str | None = None) -> Json:
        """The Run of that name (or the only one), as soon as it is created."""
        async with self.changed:
            await self.changed.wait_for(lambda: any(name in (None, known) for known in self.objects["runs"]))
        return next(run for known, run in self.objects["runs"].items() if name in (None, known))

    async def collection(self, request: web.Request) -> web.StreamResponse:
        plural = request.match_info["plural"]
        self.requests.append(f"{request.method} {request.path_qs}")
        if refusal := self.refuse.get(f"{request.method} {plural}"):
            return _copy(refusal)
        if plural not in self.objects:
            return status_answer(404, "NotFound", "the server could not find the requested resource")
        if request.method == "POST":
            answer = await self._create(plural, await request.json(), namespace=request.match_info.get("namespace", ""))
            if self.lose_answers and request.transport is not None:
                self.lose_answers -= 1
                request.transport.abort()
            return answer
        matches = _matcher(request)
        if request.query.get("watch"):
            return await self._watch(request, plural, matches)
        items = [item for item in self.objects[plural].values() if matches(item)]
        body = {"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": str(self.version)}, "items": items}
        return web.json_response(body)

    async def _create(self, plural: str, item: Json, *, namespace: str) -> web.Response:
        if item["metadata"]["name"] in self.objects[plural]:
            return status_answer(409, "AlreadyExists", "it exists")
        added = await self.add(plural, spec=item["spec"], **item["metadata"] | {"namespace": namespace})
        return web.json_response(added, status=201)

    async def _watch(self, request: web.Request, plural: str, matches: Any) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        seen = int(request.query["resourceVersion"])
        while True:
            for version, kind, event, item in [entry for entry in self.events if entry[0] > seen]:
                if kind == plural and matches(item):
                    await response.write(json.dumps({"type": event, "object": item}).encode() + b"\n")
                seen = version
            async with self.changed:
                while self.version <= seen:
                    await self.changed.wait()

    async def member(self, request: web.Request) -> web.Response:
        plural, name = request.match_info["plural"], request.match_info["name"]
        self.requests.append(f"{request.method} {request.path_qs}")
        if refusal := self.refuse.get(f"{request.method} {plural}"):
            return _copy(refusal)
        if name not in self.objects.get(plural, {}):
            return status_answer(404, "NotFound", f'{plural}.kruntimes.io "{name}" not found')
        item = self.objects[plural][name]
        if request.method == "PATCH":
            item = await self.put(plural, item | {"spec": item["spec"] | (await request.json())["spec"]})
        elif request.method == "DELETE":
            await self.remove(plural, name)
        return web.json_response(item)

    async def pod_log(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path_qs}")
        log = self.logs.get(request.match_info["pod"])
        if log is None or log.is_gone:
            return status_answer(404, "NotFound", f'pods "{request.match_info["pod"]}" not found')
        log.opened += 1
        if log.refusal is not None:
            return _copy(log.refusal)
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        since, sent = request.query.get("sinceTime", ""), 0
        while True:
            for line in log.lines[sent:]:
                sent += 1
                if line.split(b" ")[0].decode() < since:
                    continue
                await response.write(line)
                if log.cuts:
                    log.cuts -= 1
                    await response.write(line[: len(line) // 2])
                    return response
            if not request.query.get("follow"):
                return response
            async with log.grown:
                while len(log.lines) <= sent:
                    await log.grown.wait()


def _copy(answer: web.Response) -> web.Response:
    """A response object can be sent only once."""
    return web.Response(body=answer.body, status=answer.status, content_type=answer.content_type)


def _matcher(request: web.Request) -> Any:
    """Field selectors on metadata.name and status.phase, label selectors of `k=v`."""
    fields = [part for part in request.query.get("fieldSelector", "").split(",") if part]
    labels = [part for part in request.query.get("labelSelector", "").split(",") if part]

    def value(item: Json, path: str) -> str:
        current: Any = item
        for key in path.split("."):
            current = current.get(key, "") if isinstance(current, dict) else ""
        return str(current)

    def matches(item: Json) -> bool:
        for part in fields:
            path, _, wanted = part.partition("!=") if "!=" in part else part.partition("=")
            if (value(item, path) == wanted) is ("!=" in part):
                return False
        known = item["metadata"].get("labels", {})
        return all(known.get(part.partition("=")[0]) == part.partition("=")[2] for part in labels)

    return matches


@asynccontextmanager
async def serve_fake() -> AsyncIterator[FakeApiServer]:
    """Started on a free port of loopback; ended with its watches."""
    fake = FakeApiServer()
    app = web.Application()
    for prefix in (f"{GROUP}/namespaces/{{namespace}}/{{plural}}", f"{GROUP}/{{plural}}"):
        app.router.add_route("*", prefix, fake.collection)
    app.router.add_route("*", f"{GROUP}/namespaces/{{namespace}}/{{plural}}/{{name}}", fake.member)
    app.router.add_get("/api/v1/namespaces/{namespace}/pods/{pod}/log", fake.pod_log)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield fake
    finally:
        await runner.cleanup()


def write_kubeconfig(path: Path, *, url: str) -> Path:
    """A kubeconfig with one context."""
    cluster = {"name": "fake", "cluster": {"server": url}}
    user = {"name": "me", "user": {"token": "secret"}}
    context = {"name": "here", "context": {"cluster": "fake", "user": "me", "namespace": "default"}}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [cluster],
        "users": [user],
        "contexts": [context],
        "current-context": "here",
    }
    path.write_text(json.dumps(config))
    return path

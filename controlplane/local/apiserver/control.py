"""The endpoint that tests drive failpoints by; what they are and how they are written stands in `failpoints`."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from aiohttp import web

from controlplane.local.apiserver.failpoints import Call, Failpoints, Match
from controlplane.local.apiserver.requests import Target
from controlplane.local.apiserver.statuses import Refused, bad_request
from controlplane.local.apiserver.store import Store
from controlplane.local.apiserver.watching import Hub

T = TypeVar("T")


class Compact(msgspec.Struct, forbid_unknown_fields=True):
    """POST /failpoints/compact."""

    keep: int = 0


class CutNow(msgspec.Struct, forbid_unknown_fields=True):
    """POST /failpoints/cut."""

    match: Match = msgspec.field(default_factory=Match)


class Control:
    """Everything under /failpoints."""

    def __init__(self, failpoints: Failpoints, *, store: Store, hub: Hub) -> None:
        self._failpoints = failpoints
        self._store = store
        self._hub = hub

    async def answer(self, request: web.BaseRequest, *, path: str) -> web.Response:
        body = await request.read()
        parts = path.strip("/").split("/")[1:]
        match request.method, parts:
            case "GET", []:
                return _json({"failpoints": [armed.as_json() for armed in self._failpoints.all()]})
            case "POST", []:
                return _json(self._failpoints.add(body).as_json(), code=201)
            case "DELETE", []:
                self._failpoints.remove_all()
                return _json({})
            case "POST", ["compact"]:
                self._store.compact(keep=max(0, _decode(body, kind=Compact).keep))
                return _json({"compacted": self._store.compacted})
            case "POST", ["cut"]:
                return _json({"cut": self._cut(_decode(body, kind=CutNow).match)})
        return await self._answer_one(request, parts=parts)

    async def _answer_one(self, request: web.BaseRequest, *, parts: list[str]) -> web.Response:
        match request.method, parts:
            case "GET", [uid]:
                armed = self._failpoints.get(uid)
                await armed.wait_for_hits(int(request.query.get("hits", "0")))
                return _json(armed.as_json())
            case "DELETE", [uid]:
                self._failpoints.remove(uid)
                return _json({})
            case "POST", [uid, "release"]:
                self._failpoints.get(uid).released.set()
                return _json({})
        raise Refused("404 page not found", code=404, reason="NotFound", details={})

    def _cut(self, match: Match) -> int:
        chosen = [
            watcher
            for watcher in self._hub.all()
            if Call("watch", Target(watcher.definition, watcher.namespace, "", ""), watcher.user_agent).is_matched_by(match)
        ]
        for watcher in chosen:
            watcher.drop()
        return len(chosen)


def _json(document: Any, *, code: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(document), status=code, headers={"Content-Type": "application/json"})


def _decode(body: bytes, *, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise bad_request(f"failpoint: {error}") from error

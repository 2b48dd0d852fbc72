"""The HTTP side of watches: options, the first events, and the stream."""

from __future__ import annotations

import asyncio
import random

from aiohttp import web

from controlplane.local.apiserver import tables
from controlplane.local.apiserver.failpoints import TRUNCATED, Call, Cut, Failpoints
from controlplane.local.apiserver.reading import selector_of
from controlplane.local.apiserver.requests import Options, Target
from controlplane.local.apiserver.statuses import Refused, not_acceptable
from controlplane.local.apiserver.store import Store
from controlplane.local.apiserver.watching import Dropped, Hub, Watcher

_SHORTEST_SECONDS = 1800
"""Without timeoutSeconds a watch lasts between this and twice as long, as on the real server."""


class WatchEndpoint:
    """GET …?watch=true."""

    def __init__(self, hub: Hub, *, store: Store, failpoints: Failpoints, bookmark_seconds: float) -> None:
        self._hub = hub
        self._store = store
        self._failpoints = failpoints
        self._bookmark_seconds = bookmark_seconds

    async def serve(self, request: web.BaseRequest, *, call: Call, options: Options) -> web.StreamResponse:
        watcher = self._start(request, call=call, options=options)
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Cache-Control": "no-cache, private"})
        cut_seconds = self._failpoints.cut_after_seconds(call) if self._failpoints else None
        try:
            await response.prepare(request)
            async with asyncio.timeout(cut_seconds):
                await self._send(response, watcher=watcher, options=options)
        except (Dropped, TimeoutError) as error:
            raise Cut from error
        except ConnectionError:
            return response  # the reader has left
        finally:
            self._hub.remove(watcher)
        return response

    async def _send(self, response: web.StreamResponse, *, watcher: Watcher, options: Options) -> None:
        timeout_seconds = options.number("timeoutSeconds") or random.uniform(_SHORTEST_SECONDS, 2 * _SHORTEST_SECONDS)  # noqa: S311
        bookmark_seconds = self._bookmark_seconds if options.wants_bookmarks else 0.0
        async for chunk in self._hub.stream(watcher, timeout_seconds=timeout_seconds, bookmark_seconds=bookmark_seconds):
            whole, mark, _ = chunk.partition(TRUNCATED)
            await response.write(whole)
            if mark:
                raise Dropped
        await response.write_eof()

    def _start(self, request: web.BaseRequest, *, call: Call, options: Options) -> Watcher:
        options.check_list_options()
        target = _named_by_selector(call.target)
        form = tables.parse_accept(request.headers.get("Accept", ""))
        if not form:
            raise not_acceptable(["application/json", "application/json;stream=watch"])
        watcher = Watcher(
            target.definition,
            target.namespace,
            selector_of(target, options=options),
            rv=0,
            user_agent=options.user_agent,
            render=tables.watch_renderer(target.definition, form=form, include=options.query.get("includeObject", "Metadata")),
            tamper=self._failpoints.tamper_with(call),
        )
        self._begin(watcher, options=options)
        return watcher

    def _begin(self, watcher: Watcher, *, options: Options) -> None:
        rv = _parse_version(options.resource_version)
        sends = options.query.get("sendInitialEvents")
        if sends == "true" or (sends is None and rv == 0):
            self._hub.start_with_state(watcher, says_when_complete=sends == "true" and options.wants_bookmarks)
        elif sends == "false" and rv == 0:
            self._hub.start_at(watcher, rv=self._store.rv)
        else:
            self._hub.start_at(watcher, rv=rv)


def _named_by_selector(target: Target) -> Target:
    return Target(target.definition, target.namespace, "", "")


def _parse_version(text: str) -> int:
    if text and not text.isdigit():
        quoted = f'"{text}"'
        raise Refused(f"resourceVersion: Invalid value: {quoted}: strconv.ParseUint: parsing {quoted}: invalid syntax", code=500)
    return int(text or 0)

"""Faults on demand: the server misbehaves on the requests that a test names, as often as the test says.

Endpoint (same token as everything else):

    GET    /failpoints                  all, with how often each has fired, and when last
    POST   /failpoints                  adds one; answers it with its `id`
    GET    /failpoints/ID?hits=N        waits until it has fired N times (default 0: at once)
    POST   /failpoints/ID/release       lets go what a delay with `until_released` or a hang holds
    DELETE /failpoints/ID, /failpoints  removes one or all; what they hold is let go
    POST   /failpoints/compact          {"keep": N}: forgets the history but for the last N writes, now
    POST   /failpoints/cut              {"match": …}: cuts the watches that match, now

A failpoint: {"match": {…}, "action": {…}, "skip": 0, "count": 0, "probability": 1.0, "seed": 0}. It fires on matching requests
(watch lines for the actions on lines) after the first `skip`, at most `count` times (0: no limit), by chance with a generator
seeded with `seed`. All members of `match` are optional: verbs (get list watch create update patch delete deletecollection),
resources (runs.kruntimes.io, pods), subresources ("" is the object itself), and globs user_agent, namespace, name.

Actions, by `kind`:
    drop       closes the connection without an answer; `when`: "before" (nothing was written) or "after" (the write is applied)
    delay      `seconds`, or `until_released`; `when` as above
    hang       never answers (until released)
    answer     `code`, `reason`, `message`, `retry_after_seconds`: a Status instead of doing anything
    stale      reads are answered from a state `writes` writes ago
    cut        ends a watch after `seconds`
    truncate   sends half a watch line and closes the connection
    suppress, duplicate, reorder    on watch lines: none, two, and after the next one
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

import msgspec

from controlplane.local.apiserver.requests import Target
from controlplane.local.apiserver.statuses import Refused, bad_request


class Match(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Which requests. Empty members match all."""

    verbs: list[str] = []
    resources: list[str] = []
    subresources: list[str] = []
    user_agent: str = "*"
    namespace: str = "*"
    name: str = "*"


class Action(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What happens to them."""

    kind: Literal["drop", "delay", "hang", "answer", "stale", "cut", "truncate", "suppress", "duplicate", "reorder"]
    when: Literal["before", "after"] = "before"
    seconds: float = 0.0
    until_released: bool = False
    code: int = 500
    reason: str = "InternalError"
    message: str = "a failpoint answered"
    retry_after_seconds: int = 0
    writes: int = 1


class Order(msgspec.Struct, forbid_unknown_fields=True):
    """A failpoint as it is posted."""

    action: Action
    match: Match = msgspec.field(default_factory=Match)
    skip: int = 0
    count: int = 0
    probability: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """One request, as failpoints see it."""

    verb: str
    target: Target
    user_agent: str

    def is_matched_by(self, match: Match, *, name: str | None = None) -> bool:
        """`name` is that of the object in a watch line; the request's own otherwise."""
        target = self.target
        return (
            (not match.verbs or self.verb in match.verbs)
            and (not match.resources or target.definition.resource in match.resources)
            and (not match.subresources or target.subresource in match.subresources)
            and fnmatchcase(self.user_agent, match.user_agent)
            and fnmatchcase(target.namespace, match.namespace)
            and fnmatchcase(target.name if name is None else name, match.name)
        )


@dataclass(slots=True, eq=False)
class Failpoint:
    """One that is armed."""

    uid: str
    order: Order
    seen: int = 0
    hits: int = 0
    last_hit_at: float = 0.0
    """On the monotonic clock, as the audit has it."""
    randomness: random.Random = field(default_factory=random.Random)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    struck: asyncio.Event = field(default_factory=asyncio.Event)

    def fires(self) -> bool:
        """Asked once per matching request or line; counts."""
        self.seen += 1
        if self.seen <= self.order.skip or (self.order.count and self.hits >= self.order.count):
            return False
        if self.order.probability < 1 and self.randomness.random() >= self.order.probability:
            return False
        self.hits += 1
        self.last_hit_at = time.monotonic()
        self.struck.set()
        self.struck = asyncio.Event()
        return True

    async def wait_for_hits(self, wanted: int) -> None:
        while self.hits < wanted:
            await self.struck.wait()

    def as_json(self) -> dict[str, Any]:
        fired = {"seen": self.seen, "hits": self.hits, "last_hit_at": self.last_hit_at}
        return {"id": self.uid, **fired, **msgspec.to_builtins(self.order)}


_ON_REQUESTS = frozenset({"drop", "delay", "hang", "answer"})
_ON_LINES = frozenset({"truncate", "suppress", "duplicate", "reorder"})


class Cut(Exception):
    """The connection must be closed without a further word."""


class Failpoints:
    """All that are armed. With none armed every question costs one look at an empty dictionary."""

    def __init__(self) -> None:
        self._armed: dict[str, Failpoint] = {}
        self._added = 0

    def __bool__(self) -> bool:
        return bool(self._armed)

    def all(self) -> list[Failpoint]:
        return list(self._armed.values())

    def add(self, body: bytes) -> Failpoint:
        try:
            order = msgspec.json.decode(body, type=Order)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise bad_request(f"failpoint: {error}") from error
        self._added += 1
        armed = Failpoint(str(self._added), order, randomness=random.Random(order.seed))  # noqa: S311 - repeatable on purpose
        self._armed[armed.uid] = armed
        return armed

    def get(self, uid: str) -> Failpoint:
        if uid not in self._armed:
            raise Refused(f"there is no failpoint {uid}", code=404, reason="NotFound")
        return self._armed[uid]

    def remove(self, uid: str) -> None:
        self.get(uid).released.set()
        del self._armed[uid]

    def remove_all(self) -> None:
        for uid in list(self._armed):
            self.remove(uid)

    def _firing(self, call: Call, *, kinds: frozenset[str], when: str = "", name: str | None = None) -> Iterator[Failpoint]:
        for armed in list(self._armed.values()):
            action = armed.order.action
            if (
                action.kind in kinds
                and (not when or action.when == when)
                and call.is_matched_by(armed.order.match, name=name)
                and armed.fires()
            ):
                yield armed

    async def strike(self, call: Call, *, when: str) -> None:
        """Performs what is armed for this request. Raises Cut, or Refused for an answer."""
        for armed in self._firing(call, kinds=_ON_REQUESTS, when=when):
            await _perform(armed)

    def staleness(self, call: Call) -> int:
        """How many writes ago a read shall be answered from."""
        return max((armed.order.action.writes for armed in self._firing(call, kinds=frozenset({"stale"}))), default=0)

    def cut_after_seconds(self, call: Call) -> float | None:
        return min((armed.order.action.seconds for armed in self._firing(call, kinds=frozenset({"cut"}))), default=None)

    def tamper_with(self, call: Call) -> LineTamper:
        return LineTamper(self, call=call)

    def firing_on_line(self, call: Call, *, name: str) -> list[Failpoint]:
        return list(self._firing(call, kinds=_ON_LINES, name=name))


async def _perform(armed: Failpoint) -> None:
    action = armed.order.action
    if action.kind == "drop":
        raise Cut
    if action.kind == "answer":
        headers = {"Retry-After": str(action.retry_after_seconds)} if action.retry_after_seconds else {}
        details = {"retryAfterSeconds": action.retry_after_seconds} if action.retry_after_seconds else {}
        raise Refused(action.message, code=action.code, reason=action.reason, details=details, headers=headers)
    if action.kind == "hang" or action.until_released:
        await armed.released.wait()
    else:
        await asyncio.sleep(action.seconds)


TRUNCATED = b"\0"
"""Ends a half line: the sender stops there and closes the connection."""


class LineTamper:
    """Stands in one watch's way: a line in, none, one or several out."""

    def __init__(self, failpoints: Failpoints, *, call: Call) -> None:
        self._failpoints = failpoints
        self._call = call
        self._held: list[bytes] = []

    def __call__(self, line: bytes) -> list[bytes]:
        if not self._failpoints:
            return self._release(line)
        name = str(msgspec.json.decode(line)["object"].get("metadata", {}).get("name", ""))
        armed = self._failpoints.firing_on_line(self._call, name=name)
        kinds = {failpoint.order.action.kind for failpoint in armed}
        if "suppress" in kinds:
            return []
        if "truncate" in kinds:
            return [*self._held, line[: len(line) // 2], TRUNCATED]
        if "reorder" in kinds:
            self._held.append(line)
            return []
        return self._release(line) + ([line] if "duplicate" in kinds else [])

    def _release(self, line: bytes) -> list[bytes]:
        """What was held back follows the line that came after it."""
        held, self._held = self._held, []
        return [line, *held]

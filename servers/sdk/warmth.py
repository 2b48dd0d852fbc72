"""What each supervisor is told to hold ready when it starts, for how many Runs, and what it said to that. No I/O here."""

from __future__ import annotations

import asyncio
import logging
import os

from servers.sdk.command import WarmChildren
from servers.sdk.environment import allowed_part, compose_environment
from servers.sdk.limits import WARM_SLOTS_LIMIT
from servers.supervisor.spec import HoldSpec, parse_hold
from servers.supervisor.wire import Message

_log = logging.getLogger(__name__)


class Warmth:
    def __init__(self, children: WarmChildren, *, slots: int) -> None:
        self._hold: Message = {
            "op": "hold",
            "kind": children.kind,
            "executable": children.executable,
            "env": compose_environment(allowed_part(os.environ), defaults=children.env_defaults, run_env={}),
            "preload": list(children.preload),
        }
        self._slots = min(slots, WARM_SLOTS_LIMIT)
        self._is_answered = asyncio.Event()
        self.failure = ""
        """Why nothing, or not everything, is held, in the supervisor's words."""

    @property
    def spec(self) -> HoldSpec:
        return parse_hold(self._hold)

    @property
    def has_preload(self) -> bool:
        return bool(self._hold["preload"])

    def resize(self, slots: int) -> None:
        self._slots = min(slots, WARM_SLOTS_LIMIT)

    def orders(self) -> list[Message]:
        """For a new supervisor."""
        return [self._hold, self.slots_order()]

    def slots_order(self) -> Message:
        return {"op": "slots", "slots": self._slots}

    def on_ready(self) -> None:
        self.failure = ""
        self._is_answered.set()
        _log.info("children are held ready", extra={"kind": self._hold["kind"], "slots": self._slots})

    def on_failed(self, message: str) -> None:
        self.failure = message
        self._is_answered.set()
        _log.warning("Runs get fresh processes", extra={"kind": self._hold["kind"], "reason": message})

    async def until_answered(self) -> None:
        """Until the first supervisor that lives long enough has said whether it can."""
        await self._is_answered.wait()

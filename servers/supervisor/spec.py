"""What the server orders, checked. Pure: a message in, a value out or a text that says what is wrong with it.

No dataclasses in this package: what they import (inspect, ast) would be a third of what every fork shares, and tidies up at its end.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from servers.supervisor.wire import BadMessage, Message

HOLDABLE = ("bash", "python")


class StartSpec(NamedTuple):
    ticket: int
    """The server's number of this attempt; never used twice in one supervisor's life."""
    executable: str
    argv: list[str]
    env: dict[str, str]
    cwd: str


class HoldSpec(NamedTuple):
    """Which children are to be kept warm."""

    kind: str
    """One of HOLDABLE."""
    executable: str
    env: dict[str, str]
    """The part of the environment that all Runs have in common."""
    preload: list[str]
    """Python modules that are imported before children are forked."""


def ticket_of(message: Message) -> int:
    return _number(message, field="id")


def hold_of(message: Message) -> int:
    return _number(message, field="hold")


def parse_missed(message: Message) -> str:
    """The form of which the server had none ready; "" if none would have done."""
    return _text(message.get("missed", ""), field="missed")


def parse_start(message: Message) -> StartSpec:
    return StartSpec(
        ticket=ticket_of(message),
        executable=_text(message.get("executable"), field="executable"),
        argv=_arguments(message.get("argv")),
        env=_environment(message.get("env")),
        cwd=_text(message.get("cwd"), field="cwd"),
    )


def parse_hold(message: Message) -> HoldSpec:
    if message.get("kind") not in HOLDABLE:
        raise BadMessage(f"kind: must be one of {', '.join(HOLDABLE)}")
    preload = message.get("preload", [])
    if not isinstance(preload, list):
        raise BadMessage("preload: must be a list")
    return HoldSpec(
        kind=message["kind"],
        executable=_text(message.get("executable"), field="executable"),
        env=_environment(message.get("env")),
        preload=[_text(name, field="preload") for name in preload],
    )


def parse_slots(message: Message) -> int:
    slots = message.get("slots")
    if not isinstance(slots, int) or isinstance(slots, bool) or slots < 0:
        raise BadMessage("slots: must be a number of children")
    return slots


def parse_grace(message: Message) -> float:
    grace = message.get("grace_seconds")
    if not isinstance(grace, int | float) or isinstance(grace, bool) or not 0 <= grace < float("inf"):
        raise BadMessage("grace_seconds: must be a number of seconds")
    return float(grace)


def _number(message: Message, *, field: str) -> int:
    number = message.get(field)
    if not isinstance(number, int) or isinstance(number, bool):
        raise BadMessage(f"{field}: must be an integer")
    return number


def _arguments(value: Any) -> list[str]:
    if not isinstance(value, list) or not value:
        raise BadMessage("argv: must be a non-empty list")
    return [_text(item, field="argv") for item in value]


def _environment(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise BadMessage("env: must be an object")
    for name in value:
        if not name or "=" in name:
            raise BadMessage("env: a name must not be empty and not contain =")
    return {_text(name, field="env"): _text(item, field="env") for name, item in value.items()}


def _text(value: Any, *, field: str) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise BadMessage(f"{field}: must be text without NUL")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadMessage(f"{field}: must be valid Unicode") from error
    return value

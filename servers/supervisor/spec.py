"""What is to be started, checked. Pure: a message in, a StartSpec out or a text that says what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from servers.supervisor.wire import BadMessage, Message


@dataclass(frozen=True, slots=True)
class StartSpec:
    ticket: int
    """The server's number of this attempt; never used twice in one supervisor's life."""
    executable: str
    argv: list[bytes]
    env: dict[bytes, bytes]
    cwd: str


def ticket_of(message: Message) -> int:
    ticket = message.get("id")
    if not isinstance(ticket, int) or isinstance(ticket, bool):
        raise BadMessage("id: must be an integer")
    return ticket


def parse_start(message: Message) -> StartSpec:
    return StartSpec(
        ticket=ticket_of(message),
        executable=_text(message.get("executable"), field="executable"),
        argv=_arguments(message.get("argv")),
        env=_environment(message.get("env")),
        cwd=_text(message.get("cwd"), field="cwd"),
    )


def parse_grace(message: Message) -> float:
    grace = message.get("grace_seconds")
    if not isinstance(grace, int | float) or isinstance(grace, bool) or not 0 <= grace < float("inf"):
        raise BadMessage("grace_seconds: must be a number of seconds")
    return float(grace)


def _arguments(value: Any) -> list[bytes]:
    if not isinstance(value, list) or not value:
        raise BadMessage("argv: must be a non-empty list")
    return [_bytes(item, field="argv") for item in value]


def _environment(value: Any) -> dict[bytes, bytes]:
    if not isinstance(value, dict):
        raise BadMessage("env: must be an object")
    for name in value:
        if not name or "=" in name:
            raise BadMessage("env: a name must not be empty and not contain =")
    return {_bytes(name, field="env"): _bytes(item, field="env") for name, item in value.items()}


def _text(value: Any, *, field: str) -> str:
    return _bytes(value, field=field).decode()


def _bytes(value: Any, *, field: str) -> bytes:
    if not isinstance(value, str) or "\0" in value:
        raise BadMessage(f"{field}: must be text without NUL")
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise BadMessage(f"{field}: must be valid Unicode") from error

"""What the Runtime Server and the supervisor say to each other: JSON objects behind a 4-byte length.

To the supervisor: `start` (id, executable, argv, env, cwd; the form of which none was ready), `stop` (id, grace_seconds), `hold`
(kind, executable, env, preload) once at first for children that are held ready, `slots` (slots) for how many, `took` (id, hold) for
one that was let go, and `returned` (hold) for one that was recalled.
From it: `started` (id, pid, micros, warm; the read ends of stdout and stderr travel with it), `refused` (id, message),
`ended` (id or hold, status, stopped, lost, cpu_seconds, peak_rss_bytes, survivors, micros), and about held children `ready` or
`failed` (message), `lent` (hold, form, pid, offset; with it those two, the write end of its order pipe, its keeper's report socket
and perhaps its memory), `recall` (hold) and `gone` (hold). `id` is a number that the server chose, `hold` one that the supervisor
chose. What was lent the server lets go by itself, and hears its `ended` from its keeper, as the supervisor does: `took` may come later
than that, or not at all. Only that it is `lost` the supervisor tells.
The CPU time of a held child counts from its start, not from its order.
Not here: sockets (see channel).
"""

from __future__ import annotations

import json
import struct
from typing import Any

FRAME_LIMIT_BYTES = 32 * 1024 * 1024
"""A gRPC message is at most 4 MiB; JSON makes at most six bytes of one, and then there is the key of the environment."""

RECORD_BYTES = 64 * 1024
"""What keeper and supervisor read at once; a record that is cut is lost. The largest is `refused`: 1 KiB of text, escaped."""

_LENGTH = struct.Struct("!I")

Message = dict[str, Any]


class FrameTooLarge(Exception):
    """The length cannot be meant: the two sides no longer agree on where frames begin."""


class BadMessage(Exception):
    """One frame makes no sense; the next may."""


def encode(message: Message) -> bytes:
    payload = encode_payload(message)
    return _LENGTH.pack(len(payload)) + payload


def encode_payload(message: Message) -> bytes:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


def decode(payload: bytes) -> Message:
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise BadMessage("not JSON") from error
    if not isinstance(message, dict):
        raise BadMessage("not a JSON object")
    return message


class FrameReader:
    """Cuts a byte stream into payloads; holds at most one unfinished frame."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        self._buffer += data
        payloads: list[bytes] = []
        start = 0
        while (end := self._end_of_frame(start)) is not None:
            payloads.append(bytes(self._buffer[start + _LENGTH.size : end]))
            start = end
        del self._buffer[:start]
        return payloads

    def _end_of_frame(self, start: int) -> int | None:
        if len(self._buffer) - start < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer, start)
        if length > FRAME_LIMIT_BYTES:
            raise FrameTooLarge
        end = start + _LENGTH.size + int(length)
        return end if end <= len(self._buffer) else None

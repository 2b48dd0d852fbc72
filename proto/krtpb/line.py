"""A line of stream.proto, either end: frames over a plain connection, each behind its length.

By hand, and the only thing that runtimed and Runtime Servers share beside the generated code. What a frame means is theirs.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Final, cast

HOST: Final = "127.0.0.1"
READ_BYTES: Final = 64 * 1024
"""At a time, into a buffer that stays: one made for each read, as large as asyncio's, is mapped and unmapped by the kernel each time."""

_LENGTH = struct.Struct("!I")

OnFrame = Callable[[bytes], None]


class FrameTooLarge(ValueError):
    """The other side sent, or we were asked to send, more than the limit."""


class FrameReader:
    """Cuts a stream of bytes into frames."""

    def __init__(self, *, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._buffer = bytearray()
        self._start = 0

    def feed(self, data: bytes | memoryview) -> None:
        if self._start:
            del self._buffer[: self._start]
            self._start = 0
        self._buffer += data

    def next(self) -> bytes | None:
        """The next frame; None while it is not whole. Raises FrameTooLarge at a length over the limit, before its frame is here."""
        if len(self._buffer) - self._start < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer, self._start)
        if length > self._limit_bytes:
            raise FrameTooLarge(f"a frame of {length} bytes; at most {self._limit_bytes} are taken")
        begin = self._start + _LENGTH.size
        if len(self._buffer) - begin < length:
            return None
        self._start = begin + length
        return bytes(self._buffer[begin : self._start])


class Line(asyncio.BufferedProtocol):
    """One end. Frames are given to `on_frame` at once, in order; what it raises ends the line, and `closed` tells it.

    Starts held: nothing is read until `go_on`, not even the end.
    """

    def __init__(self, on_frame: OnFrame, *, limit_bytes: int) -> None:
        self.on_frame = on_frame
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.closed.add_done_callback(_look_at)
        self._reader = FrameReader(limit_bytes=limit_bytes)
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._is_held = True
        self._transport: asyncio.Transport | None = None
        self._has_room = asyncio.Event()
        self._has_room.set()

    # Sending

    def send(self, payload: bytes) -> None:
        """At once, or as soon as the other side reads: see `unsent_bytes` and `drained`. Dropped after the end."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(_LENGTH.pack(len(payload)) + payload)

    @property
    def unsent_bytes(self) -> int:
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    async def drained(self) -> None:
        """Until the other side has read enough for more to be sent; also after the end."""
        await self._has_room.wait()

    # Hearing

    def go_on(self) -> None:
        """Gives out what has come, and reads on."""
        if self._is_held:
            self._is_held = False
            self._give_out()
            if not self._is_held and self._transport is not None:
                self._transport.resume_reading()

    def hold(self) -> None:
        """Nothing more is given out, from the next frame on."""
        if not self._is_held:
            self._is_held = True
            if self._transport is not None:
                self._transport.pause_reading()

    def close(self) -> None:
        """What was sent before still goes out."""
        self._is_held = True
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """At once: who does not read would never let `close` end."""
        self._is_held = True
        if self._transport is not None:
            self._transport.abort()

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not asserted: uvloop's is none by its class.
        self._transport = cast("asyncio.Transport", transport)
        if self._is_held:
            self._transport.pause_reading()

    def get_buffer(self, size_hint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, count: int) -> None:
        self._reader.feed(self._buffer[:count])
        self._give_out()

    def connection_lost(self, error: Exception | None) -> None:
        self._has_room.set()
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        self._has_room.clear()

    def resume_writing(self) -> None:
        self._has_room.set()

    def _give_out(self) -> None:
        try:
            while not self._is_held and (frame := self._reader.next()) is not None:
                self.on_frame(frame)
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if not self.closed.done():
            self.closed.set_exception(error)
        self.close()


def _look_at(closed: asyncio.Future[None]) -> None:
    """An error that nobody waits for any more is no news."""
    if not closed.cancelled():
        closed.exception()

"""Where sessions that go on by a line are expected: a port on loopback, and who is to come with which token."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Final

from krtpb.line import HOST, Line

from servers.sdk.limits import MESSAGE_BYTES

_TOKEN_BYTES: Final = 16
_INTRODUCTION_SECONDS: Final = 5.0
"""Whoever has not sent a token by then is hung up on."""

OnArrival = Callable[[Line], None]


class Lines:
    """`expect` a client; its line is handed over held, for whoever takes it to set `on_frame` and let it go on."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._expected: dict[bytes, OnArrival] = {}

    @property
    def port(self) -> int:
        """0 before `open`."""
        return int(self._server.sockets[0].getsockname()[1]) if self._server and self._server.sockets else 0

    async def open(self) -> None:
        """Raises OSError."""
        self._server = await asyncio.get_running_loop().create_server(self._receive, HOST, 0)

    def close(self) -> None:
        if self._server:
            self._server.close()

    def expect(self, on_arrival: OnArrival) -> bytes:
        """The token, good for one line."""
        token = secrets.token_bytes(_TOKEN_BYTES)
        self._expected[token] = on_arrival
        return token

    def forget(self, token: bytes) -> None:
        self._expected.pop(token, None)

    def _receive(self) -> Line:
        def introduce(token: bytes) -> None:
            on_arrival = self._expected.pop(token, None)
            patience.cancel()
            if on_arrival is None:
                line.close()
            else:
                line.hold()
                on_arrival(line)

        line = Line(introduce, limit_bytes=MESSAGE_BYTES)
        line.go_on()
        patience = asyncio.get_running_loop().call_later(_INTRODUCTION_SECONDS, line.close)
        return line

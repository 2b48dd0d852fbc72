"""Requests with a whole answer, over kept-alive connections of our own: one at a time on each, sent once, never repeated here.

This is where the writes go. Not for streams, and not through a proxy: `connections` has aiohttp for those.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Final, cast
from urllib.parse import urlsplit

from k8s.client.http1 import Answer, AnswerReader, BadAnswer

CONNECT_SECONDS: Final = 3.0
"""For each address of a name but the last: one that does not answer must not hide the others."""
DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_HEADS: Final = 32

Headers = tuple[tuple[str, str], ...]


class Connection(asyncio.Protocol):
    """One connection, and the one answer that is awaited on it."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._transport: asyncio.Transport | None = None
        self._reader: AnswerReader | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self.is_lost = False
        self.idle_since = 0.0

    async def encrypt(self, context: ssl.SSLContext, *, server_hostname: str) -> None:
        """Before anything is asked. A step of its own, so that during the handshake there is something here to abort."""
        assert self._transport is not None
        loop = asyncio.get_running_loop()
        self._transport = await loop.start_tls(self._transport, self, context, server_hostname=server_hostname)

    async def exchange(self, request: bytes) -> Answer:
        """Raises BadAnswer and OSError. After anything but a reusable answer the connection must be aborted."""
        assert self._transport is not None
        self._reader = AnswerReader()
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await self._answer
        finally:
            self._reader = self._answer = None
            self.idle_since = self._clock()

    def abort(self) -> None:
        """At once: a TLS good-bye would keep the socket beyond the life of whoever is about to end."""
        self.is_lost = True
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio's side -----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if self.is_lost:  # the pool was closed meanwhile
            self._transport.abort()
        plain = transport.get_extra_info("socket")
        if plain is not None:
            with suppress(OSError):
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data: bytes) -> None:
        if self._reader is None:
            self.abort()  # nothing was asked
            return
        try:
            answer = self._reader.feed(data)
        except BadAnswer as error:
            self._fail(error)
            return
        if answer is not None:
            self._tell(answer)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.is_lost = True
        if self._reader is None:
            return
        if error is not None:
            self._fail(error)
            return
        try:
            self._tell(self._reader.feed_end())
        except BadAnswer as bad:
            self._fail(bad)

    def _tell(self, answer: Answer) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(answer)

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


class Pool:
    """The connections to one server. `send` may be called by any number of tasks; beyond the limit they wait, first come first served."""

    def __init__(
        self,
        server: str,
        *,
        ssl_context: ssl.SSLContext | None,
        tls_server_name: str | None,
        headers: Headers,
        max_connections: int,
        keepalive_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        url = urlsplit(server)
        self._host, self._port = url.hostname or "", url.port or DEFAULT_PORTS.get(url.scheme, 80)
        self._ssl_context = (ssl_context or ssl.create_default_context()) if url.scheme == "https" else None
        self._tls_server_name = tls_server_name or self._host
        self._prefix = url.path.rstrip("/")
        self._always = (("Host", url.netloc.rpartition("@")[2]), *headers)
        self._heads: dict[Headers, str] = {}
        """Header lines made before: the token changes once an hour, and there are four content types."""
        self._slots = asyncio.Semaphore(max_connections)
        self._keepalive_seconds = keepalive_seconds
        self._clock = clock
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()

    async def send(self, method: str, target: str, *, headers: Headers, body: bytes | None) -> Answer:
        """`target` is path and query, escaped. Raises BadAnswer, and OSError of connecting, TLS and the connection."""
        request = self._request(method, target, headers=headers, body=body)
        async with self._slots:
            connection = self._take_idle() or await self._connect()
            try:
                answer = await connection.exchange(request)
            except BaseException:
                self._drop(connection)
                raise
            if answer.is_reusable and not connection.is_lost:
                self._put_idle(connection)
            else:
                self._drop(connection)
            return answer

    async def close(self) -> None:
        """Drops all connections."""
        for connection in list(self._all):
            self._drop(connection)
        self._idle.clear()
        # Transports close in the next turn of the loop.
        await asyncio.sleep(0)

    def _request(self, method: str, target: str, *, headers: Headers, body: bytes | None) -> bytes:
        if not target.isascii() or not target.isprintable() or " " in target:
            raise ValueError("a request target must be escaped")
        length = f"Content-Length: {len(body)}\r\n" if body is not None else ""
        head = f"{method} {self._prefix}{target} HTTP/1.1\r\n{self._lines(headers)}{length}\r\n"
        return head.encode("latin-1") + (body or b"")

    def _lines(self, headers: Headers) -> str:
        lines = self._heads.get(headers)
        if lines is None:
            if len(self._heads) >= MAX_HEADS:
                self._heads.clear()
            lines = self._heads[headers] = header_lines((*self._always, *headers))
        return lines

    def _take_idle(self) -> Connection | None:
        """The one used last: those above what is needed grow old, and go."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_lost and self._clock() - connection.idle_since < self._keepalive_seconds:
                return connection
            self._drop(connection)
        return None

    def _put_idle(self, connection: Connection) -> None:
        self._idle.append(connection)
        # One a request: what a burst leaves goes while there is work, and costs no timer.
        if connection.idle_since - self._idle[0].idle_since >= self._keepalive_seconds:
            self._drop(self._idle.pop(0))

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        addresses = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        for number, (family, _, _, _, address) in enumerate(addresses, start=1):
            try:
                async with asyncio.timeout(CONNECT_SECONDS if number < len(addresses) else None):
                    return await self._connect_to(str(address[0]), family=family)
            except (OSError, TimeoutError) as error:
                # A certificate that is not trusted is so at every address.
                if number == len(addresses) or isinstance(error, ssl.SSLError):
                    raise
        raise OSError("the host name has no address")

    async def _connect_to(self, address: str, *, family: int) -> Connection:
        connection = Connection(clock=self._clock)
        # STRICTLY BEFORE it connects: a pool that is closed meanwhile would not find it, and it would outlive the loop.
        self._all.add(connection)
        try:
            await asyncio.get_running_loop().create_connection(lambda: connection, address, self._port, family=family)
            if self._ssl_context is not None and not connection.is_lost:
                await connection.encrypt(self._ssl_context, server_hostname=self._tls_server_name)
            if connection.is_lost:
                raise ConnectionResetError("the connection was closed while it was made")
        except BaseException:
            self._drop(connection)
            raise
        return connection

    def _drop(self, connection: Connection) -> None:
        connection.abort()
        self._all.discard(connection)


def header_lines(headers: Headers) -> str:
    """Raises ValueError for a line end in a value: it would begin another header."""
    for name, value in headers:
        if not value.isprintable():
            raise ValueError(f"the header {name} contains a line end or another control character")
    return "".join(f"{name}: {value}\r\n" for name, value in headers)

"""Connections and requests over real sockets, from the side of a server that does what a test says."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from k8s.client.http1 import BadAnswer
from k8s.client.pool import Headers, Pool, header_lines
from tests.cluster.processes import free_ports

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Reply = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Counts connections, keeps requests, answers by `reply`."""

    def __init__(self, reply: Reply | None = None) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.open = 0
        self.most_open = 0
        self.reply = reply or self.answer
        self.writers: list[asyncio.StreamWriter] = []

    async def answer(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        self.writers.append(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")), 0)
                request = head + await reader.readexactly(length)
                self.requests.append(request)
                await self.reply(request, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


@asynccontextmanager
async def serving(
    server: Server,
    *,
    host: str = "127.0.0.1",
    path: str = "",
    headers: Headers = (),
    max_connections: int = 4,
    clock: Callable[[], float] = lambda: 0.0,
) -> AsyncIterator[Pool]:
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    async with listener:
        url = f"http://{host}:{listener.sockets[0].getsockname()[1]}{path}"
        pool = make_pool(url, headers=headers, max_connections=max_connections, clock=clock)
        try:
            yield pool
        finally:
            await pool.close()


def make_pool(
    url: str,
    *,
    ssl_context: ssl.SSLContext | None = None,
    headers: Headers = (),
    max_connections: int = 4,
    clock: Callable[[], float] = lambda: 0.0,
) -> Pool:
    return Pool(
        url,
        ssl_context=ssl_context,
        tls_server_name=None,
        headers=headers,
        max_connections=max_connections,
        keepalive_seconds=75.0,
        clock=clock,
    )


async def send(pool: Pool, *, method: str = "GET", target: str = "/x", body: bytes | None = None) -> bytes:
    async with asyncio.timeout(5):
        return (await pool.send(method, target, headers=(("Accept", "a/b"),), body=body)).body


async def test_a_request_is_what_http_says_and_nothing_superfluous() -> None:
    server = Server()
    async with serving(server, path="/k8s/clusters/c-1/", headers=(("User-Agent", "test"),)) as pool:
        assert await send(pool, method="PATCH", target="/api?a=%20b", body=b"{}") == b"ok"
        assert await send(pool, target="/api") == b"ok"
    patched, got = server.requests
    assert patched.split(b"\r\n")[0] == b"PATCH /k8s/clusters/c-1/api?a=%20b HTTP/1.1"
    assert patched.split(b"\r\n")[1].startswith(b"Host: 127.0.0.1:")
    assert patched.split(b"\r\n")[2:] == [b"User-Agent: test", b"Accept: a/b", b"Content-Length: 2", b"", b"{}"]
    assert got.split(b"\r\n")[2:] == [b"User-Agent: test", b"Accept: a/b", b"", b""]
    assert server.connections == 1


async def test_requests_at_the_same_time_have_a_connection_each_up_to_the_limit() -> None:
    server = Server()
    async with serving(server, max_connections=4) as pool:
        assert await asyncio.gather(*(send(pool) for _ in range(20))) == [b"ok"] * 20
    assert server.connections == server.most_open <= 4


async def test_a_connection_that_the_server_closed_is_not_used_again() -> None:
    server = Server()
    async with serving(server) as pool:
        await send(pool)
        server.writers[0].close()
        await server.writers[0].wait_closed()
        async with asyncio.timeout(5):
            while server.open:  # noqa: ASYNC110 - the other end of our own socket
                await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        assert await send(pool) == b"ok"
    assert server.connections == 2


async def test_one_that_was_idle_for_too_long_is_replaced() -> None:
    server, now = Server(), 0.0
    async with serving(server, clock=lambda: now) as pool:
        await send(pool)
        now = 74.0
        await send(pool)
        now = 150.0
        await send(pool)
    assert server.connections == 2


async def test_what_a_burst_has_left_is_closed_when_it_was_idle_for_too_long() -> None:
    server, now = Server(), 0.0
    async with serving(server, clock=lambda: now) as pool:
        await asyncio.gather(*(send(pool) for _ in range(4)))
        now = 74.0
        await send(pool)
        assert server.open == 4
        now = 76.0
        for _ in range(3):
            await send(pool)
        async with asyncio.timeout(5):
            while server.open > 1:  # noqa: ASYNC110 - the other end of our own socket
                await asyncio.sleep(0)


async def test_connection_close_is_obeyed() -> None:
    async def last(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")

    server = Server(last)
    async with serving(server) as pool:
        await send(pool)
        await send(pool)
    assert server.connections == 2


async def test_a_request_that_is_given_up_takes_its_connection_along() -> None:
    """Its answer would be taken for the next one's."""
    is_slow = True

    async def reply(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"" if is_slow else OK)

    server = Server(reply)
    async with serving(server, max_connections=1) as pool:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await pool.send("GET", "/slow", headers=(), body=None)
        is_slow = False
        assert await send(pool) == b"ok"
    assert server.connections == 2


async def test_what_the_server_says_unasked_ends_the_connection() -> None:
    async def twice(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await writer.drain()
        writer.write(OK)

    server = Server(twice)
    async with serving(server) as pool:
        assert [await send(pool), await send(pool)] == [b"ok", b"ok"]
        assert len(server.requests) == 2


@pytest.mark.parametrize("garbage", [b"220 smtp.example ESMTP\r\n\r\n", b""])
async def test_a_server_of_another_kind_is_an_error_and_its_connection_is_dropped(garbage: bytes) -> None:
    async def reply(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(garbage)
        writer.close()

    server = Server(reply)
    async with serving(server) as pool:
        with pytest.raises(BadAnswer):
            await send(pool)
        with pytest.raises(BadAnswer):
            await send(pool)
    assert server.connections == 2


async def test_a_failed_connect_gives_its_turn_back() -> None:
    (port,) = free_ports(1)
    pool, server = make_pool(f"http://127.0.0.1:{port}", max_connections=1), Server()
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            await send(pool)
    async with await asyncio.start_server(server.serve, "127.0.0.1", port):
        assert await send(pool) == b"ok"
        await pool.close()


async def test_a_name_whose_first_address_refuses_is_reached_at_the_next() -> None:
    """`localhost` is ::1 first where there is IPv6; the server listens on 127.0.0.1 only."""
    async with serving(Server(), host="localhost") as pool:
        assert await send(pool) == b"ok"


async def test_closing_leaves_no_connection_behind() -> None:
    server = Server()
    async with serving(server) as pool:
        await asyncio.gather(*(send(pool) for _ in range(3)))
        await pool.close()
        async with asyncio.timeout(5):
            while server.open:  # noqa: ASYNC110 - the other end of our own sockets
                await asyncio.sleep(0.001)


async def test_a_pool_that_is_closed_during_a_tls_handshake_leaves_no_connection() -> None:
    """And whoever waits for the handshake is told at once. The server never answers it: nothing else would end it."""
    server = Server()
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listener:
        pool = make_pool(f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}", ssl_context=ssl.create_default_context())
        asking = asyncio.create_task(send(pool))
        async with asyncio.timeout(5):
            while not server.open:  # noqa: ASYNC110 - the other end of our own socket
                await asyncio.sleep(0)
        await pool.close()
        with pytest.raises(ConnectionResetError):
            await asking
        async with asyncio.timeout(5):
            while server.open:  # noqa: ASYNC110 - the other end of our own socket
                await asyncio.sleep(0)


@pytest.mark.parametrize("target", ["/a b", "/a\r\nHost: evil", "/ü", "/a\x7f"])
async def test_a_target_that_is_not_escaped_is_refused(target: str) -> None:
    async with serving(Server()) as pool:
        with pytest.raises(ValueError, match="must be escaped"):
            await send(pool, target=target)


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\rb", "a\0"])
def test_a_header_cannot_begin_another(value: str) -> None:
    with pytest.raises(ValueError, match="the header Authorization contains") as caught:
        header_lines((("Authorization", value),))
    assert value not in str(caught.value)

"""HTTP to one API server: requests, streams, deadlines, and foreign errors translated. Knows bytes and paths, no kinds.

Requests and watches have connections of their own: a hundred watches never take a write's connection. Requests go through `pool`,
which costs a tenth of aiohttp; streams, and everything through a proxy, through aiohttp.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode, urlsplit

import aiohttp
from yarl import URL

from k8s.client.credentials import Credentials
from k8s.client.errors import ApiError, RequestTimeout, Unreachable, UnreadableAnswer, cut, error_from_answer
from k8s.client.http1 import Answer, BadAnswer
from k8s.client.pool import Pool

JSON_TYPE = "application/json"
KEEPALIVE_SECONDS = 75.0
"""Shorter than the 90 s after which Go servers and most load balancers drop an idle connection."""

MAX_LINE_BYTES = 16 << 20
"""An object is at most about 1.5 MB in etcd; a line beyond this is no event, and must not eat our memory."""

READ_BUFFER_BYTES = 1 << 18

Query = Mapping[str, str]


class Stream:
    """The answer to a streaming request: chunks as they come, or whole lines."""

    def __init__(self, response: aiohttp.ClientResponse, *, what: str) -> None:
        self._response = response
        self._what = what

    @property
    def status(self) -> int:
        return self._response.status

    async def chunks(self, *, inactivity_seconds: float | None = None) -> AsyncGenerator[bytes, None]:
        """Bytes as they arrive, until the server ends the answer. Raises Unreachable, or RequestTimeout after inactivity."""
        content = self._response.content
        while True:
            try:
                async with asyncio.timeout(inactivity_seconds):
                    chunk = await content.readany()
            except TimeoutError as error:
                raise RequestTimeout(f"{self._what}: nothing came for {inactivity_seconds:g} s") from error
            except (aiohttp.ClientError, OSError) as error:
                raise Unreachable(f"{self._what}: the connection broke: {_describe(error)}") from error
            if not chunk:
                return
            yield chunk

    async def lines(self, *, inactivity_seconds: float | None = None, keep_partial: bool = False) -> AsyncGenerator[bytes, None]:
        """Lines without their end. A last line without an end is a cut: Unreachable, unless `keep_partial`."""
        rest = b""
        async for chunk in self.chunks(inactivity_seconds=inactivity_seconds):
            *complete, rest = (rest + chunk if rest else chunk).split(b"\n")
            for line in complete:
                yield line
            if len(rest) > MAX_LINE_BYTES:
                raise UnreadableAnswer(f"{self._what}: a line is longer than {MAX_LINE_BYTES >> 20} MiB")
        if rest and keep_partial:
            yield rest
        elif rest:
            raise Unreachable(f"{self._what}: the answer ends inside a line")

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self.lines()


class Connections:
    """Those to one API server."""

    def __init__(self, credentials: Credentials, *, user_agent: str, max_connections: int) -> None:
        self.credentials = credentials
        headers = (("User-Agent", user_agent), ("Accept", JSON_TYPE))
        proxy = None if _is_own_proxy(credentials) else credentials.proxy
        self._base = credentials.server
        self._streams = _session(headers, limit=0)
        self._proxied = _session(headers, limit=max_connections) if proxy else None
        self._pool = Pool(
            credentials.server,
            ssl_context=credentials.ssl_context,
            tls_server_name=credentials.tls_server_name,
            headers=headers[:1],
            max_connections=max_connections,
            keepalive_seconds=KEEPALIVE_SECONDS,
            clock=time.monotonic,
        )
        self._options: dict[str, Any] = {"allow_redirects": False}
        if credentials.ssl_context is not None:
            self._options["ssl"] = credentials.ssl_context
        if credentials.tls_server_name:
            self._options["server_hostname"] = credentials.tls_server_name
        if proxy:
            self._options["proxy"] = proxy

    async def close(self) -> None:
        """Closes them all."""
        await self._pool.close()
        await self._streams.close()
        if self._proxied is not None:
            await self._proxied.close()

    async def send(
        self, method: str, path: str, *, query: Query | None, body: bytes | None, headers: Mapping[str, str], what: str
    ) -> Answer:
        """Sends once, and gives whatever the answer is. Raises Unreachable; the deadline is the caller's."""
        try:
            if self._proxied is not None:
                return await self._send_through_proxy(self._proxied, method, path, query=query, body=body, headers=headers)
            target = f"{path}?{urlencode(query)}" if query else path
            accept = () if "Accept" in headers else (("Accept", JSON_TYPE),)
            fields = (*await self.credentials.authorize(), *accept, *headers.items())
            return await self._pool.send(method, target, headers=fields, body=body)
        except (aiohttp.ClientError, BadAnswer, OSError) as error:
            raise self._unreachable(error, what=what) from error

    async def _send_through_proxy(
        self,
        session: aiohttp.ClientSession,
        method: str,
        path: str,
        *,
        query: Query | None,
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> Answer:
        request = session.request(method, self._url(path, query), data=body, headers=await self._headers(headers), **self._options)
        async with request as response:
            return Answer(response.status, response.headers.get("Retry-After"), await response.read(), is_reusable=True)

    @asynccontextmanager
    async def stream(
        self, path: str, *, query: Query | None, headers: Mapping[str, str], what: str, timeout_seconds: float
    ) -> AsyncIterator[Stream]:
        """Opens a streaming GET. Raises the ApiError of an answer of 300 and above; `timeout_seconds` is for the head alone."""
        response = await self._open(path, query=query, headers=headers, what=what, timeout_seconds=timeout_seconds)
        try:
            yield Stream(response, what=what)
        finally:
            # Not released to the pool: what is left of the answer would be read by the next request. And at once: a TLS good-bye
            # would keep the socket for up to 30 s, beyond the life of the loop of whoever is about to end.
            if response.connection is not None and response.connection.transport is not None:
                response.connection.transport.abort()
            response.close()

    async def _open(
        self, path: str, *, query: Query | None, headers: Mapping[str, str], what: str, timeout_seconds: float
    ) -> aiohttp.ClientResponse:
        try:
            async with asyncio.timeout(timeout_seconds):
                response = await self._streams.get(self._url(path, query), headers=await self._headers(headers), **self._options)
                if response.status < 300:
                    return response
                async with response:
                    raise self.error(response.status, response.headers.get("Retry-After"), await response.read(), what=what)
        except TimeoutError as error:
            raise RequestTimeout(f"{what}: no answer from {self._base} within {timeout_seconds:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._unreachable(error, what=what) from error

    async def websocket(
        self, path: str, *, query: Query, headers: Mapping[str, str], protocol: str, max_bytes: int, what: str, timeout_seconds: float
    ) -> aiohttp.ClientWebSocketResponse:
        """Opens one. Raises the ApiError of a refusal; `timeout_seconds` is for the handshake alone."""
        try:
            async with asyncio.timeout(timeout_seconds):
                socket: aiohttp.ClientWebSocketResponse = await self._streams.ws_connect(
                    self._url(path, query),
                    protocols=(protocol,),
                    headers=await self._headers(headers),
                    max_msg_size=max_bytes,
                    timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
                    **{name: value for name, value in self._options.items() if name != "allow_redirects"},
                )
                return socket
        except TimeoutError as error:
            raise RequestTimeout(f"{what}: no answer from {self._base} within {timeout_seconds:g} s") from error
        except aiohttp.WSServerHandshakeError as error:
            # aiohttp does not keep the body of a refusal, so its code has to do.
            raise self.error(error.status, None, b"", what=what) from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._unreachable(error, what=what) from error

    def error(self, status: int, retry_after: str | None, body: bytes, *, what: str) -> ApiError:
        """The error of an answer of 300 and above."""
        if status == 401:
            self.credentials.distrust()
        return error_from_answer(status=status, body=body, what=what, retry_after=retry_after)

    async def _headers(self, headers: Mapping[str, str]) -> list[tuple[str, str]]:
        return [*await self.credentials.authorize(), *headers.items()]

    def _url(self, path: str, query: Query | None) -> URL:
        return URL(f"{self._base}{path}?{urlencode(query)}" if query else f"{self._base}{path}", encoded=True)

    def _unreachable(self, error: BaseException, *, what: str) -> Unreachable:
        return Unreachable(f"{what}: cannot reach the API server at {self._base}: {_describe(error)}; {_remedy(error)}")


def _is_own_proxy(credentials: Credentials) -> bool:
    """Local mode's server is named as its own proxy, which is how kubectl tells it the token. We need no proxy to tell it."""
    return credentials.proxy is not None and urlsplit(credentials.proxy).netloc.rpartition("@")[2] == urlsplit(credentials.server).netloc


def _session(headers: Sequence[tuple[str, str]], *, limit: int) -> aiohttp.ClientSession:
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=limit, keepalive_timeout=KEEPALIVE_SECONDS),
        headers=headers,
        # No gzip: it costs the API server's CPU, which is what bounds the whole system.
        skip_auto_headers=("Accept-Encoding", "Content-Type"),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        trust_env=False,
        read_bufsize=READ_BUFFER_BYTES,
    )
    # aiohttp resends PUT and DELETE on a dead kept-alive connection. A write is sent once: only its author may decide again.
    session._retry_connection = False
    return session


def _describe(error: BaseException) -> str:
    certificate = error.certificate_error if isinstance(error, aiohttp.ClientConnectorCertificateError) else error
    if isinstance(certificate, ssl.SSLCertVerificationError):
        return cut(f"its certificate is not trusted: {certificate}")
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, socket.gaierror):
        return f"its host name is not known: {cause.strerror}"
    if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError) and cause.errno is not None and cause.errno > 0:
        # The text that asyncio puts in its place lacks the reason.
        return os.strerror(cause.errno).lower()
    return cut(str(error) or type(error).__name__)


def _remedy(error: BaseException) -> str:
    if isinstance(error, (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError, ssl.SSLError)):
        return "check certificate-authority and server in the kubeconfig"
    if isinstance(error, (aiohttp.ClientConnectorDNSError, socket.gaierror)):
        return "check the host name in server of the kubeconfig"
    return "check that it runs, and server in the kubeconfig"

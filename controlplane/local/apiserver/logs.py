"""Pod logs: passed through from the node's unix socket, byte by byte as they come. And where on this machine a Pod's ports are."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import aiohttp
from aiohttp import web

from controlplane.local.apiserver.requests import Options
from controlplane.local.apiserver.statuses import Refused, bad_request
from controlplane.local.apiserver.store import Stored

_PASSED_ON = ("follow", "tailLines", "sinceSeconds", "sinceTime", "timestamps", "limitBytes", "previous")


class LogProxy:
    """GET …/pods/NAME/log."""

    def __init__(self, socket: Path | None) -> None:
        self._socket = socket
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _connect(self) -> aiohttp.ClientSession:
        if self._socket is None:
            raise Refused(
                "this API server was started without a node (--node-socket), so there are no logs", code=503, reason="ServiceUnavailable"
            )
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
            self._session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self._socket), limit=0), timeout=timeout)
        return self._session

    async def find_port(self, pod: Stored, *, port: int) -> int:
        """Raises Refused."""
        namespace, name = pod.key
        try:
            async with self._connect().get(f"http://node/ports/{quote(namespace)}/{quote(name)}/{port}") as answer:
                text = await answer.text()
                if answer.status != 200:
                    raise Refused(text.strip() or "the node refused", code=answer.status, reason="NotFound")
                return int(text)
        except aiohttp.ClientError as error:
            raise Refused(f"the node does not answer on its socket: {error}", code=503, reason="ServiceUnavailable") from error

    async def serve(self, request: web.BaseRequest, *, pod: Stored, options: Options) -> web.StreamResponse:
        session = self._connect()
        container = choose_container(pod, wanted=options.query.get("container", ""))
        query = {name: options.query[name] for name in _PASSED_ON if options.query.get(name)}
        namespace, name = pod.key
        url = f"http://node/containerLogs/{quote(namespace)}/{quote(name)}/{quote(container)}"
        try:
            async with session.get(url, params=query) as upstream:
                if upstream.status != 200:
                    raise Refused((await upstream.text()).strip() or "the node refused", code=upstream.status, reason="BadRequest")
                return await _pass_on(request, upstream=upstream)
        except aiohttp.ClientError as error:
            raise Refused(f"the node does not answer on its socket: {error}", code=503, reason="ServiceUnavailable") from error


async def _pass_on(request: web.BaseRequest, *, upstream: aiohttp.ClientResponse) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    try:
        async for chunk in upstream.content.iter_any():
            await response.write(chunk)
    except ConnectionError:
        return response  # the reader has left
    await response.write_eof()
    return response


def choose_container(pod: Stored, *, wanted: str) -> str:
    """The one asked for, or the only one; the messages are those of a cluster."""
    spec = pod.decode().get("spec", {})
    names = [container["name"] for group in ("initContainers", "containers") for container in spec.get(group) or ()]
    name = pod.key[1]
    if wanted:
        if wanted not in names:
            raise bad_request(f"container {wanted} is not valid for pod {name}")
        return wanted
    main = [container["name"] for container in spec.get("containers") or ()]
    if len(main) != 1:
        raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{' '.join(main)}]")
    return str(main[0])

"""Who we are to which API server: from flags, a kubeconfig, or the Pod that we run in. Kept fresh; sends nothing itself."""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from k8s.client.errors import ConfigError, Unauthorized
from k8s.client.kubeconfig import Entry, Selection, find_kubeconfig, nothing_selected, read_kubeconfig
from k8s.client.tls import make_tls_context, present_certificate, read_pem
from k8s.client.tokens import ExecToken, FileToken, FixedToken, ProviderToken, Token, TokenSource, bearer

SERVICE_ACCOUNT_FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class Credentials:
    """An API server and how to authenticate to it. `server` has no trailing slash; `ssl_context` is None for plain HTTP."""

    def __init__(
        self,
        server: str,
        *,
        namespace: str = "default",
        token: str | None = None,
        token_source: TokenSource | None = None,
        ssl_context: ssl.SSLContext | None = None,
        tls_server_name: str | None = None,
        proxy: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.server = server.rstrip("/")
        self.namespace = namespace
        self.ssl_context = ssl_context
        self.tls_server_name = tls_server_name
        self.proxy = proxy
        self._source = token_source or FixedToken(bearer(token, origin="token") if token else None)
        self._clock = clock
        self._extra_headers = tuple(headers)
        self._headers: tuple[tuple[str, str], ...] = ()
        self._fresh_until: float | None = 0.0
        self._lock = asyncio.Lock()
        self._has_token = False

    async def authorize(self) -> tuple[tuple[str, str], ...]:
        """The headers to send now. Raises Unauthorized when the token has ended and no new one is to be had."""
        if self._is_fresh():
            return self._headers
        async with self._lock:
            if not self._is_fresh():
                await self._refresh()
        return self._headers

    def distrust(self) -> None:
        """The API server said 401: ask the source again before the next request."""
        if not isinstance(self._source, FixedToken):
            self._has_token = False

    def _is_fresh(self) -> bool:
        return self._has_token and (self._fresh_until is None or self._clock() < self._fresh_until)

    async def _refresh(self) -> None:
        try:
            token = await self._source.fetch()
        except ConfigError as error:
            raise Unauthorized(f"no valid token for {self.server}: {error}") from error
        self.use(token)

    def use(self, token: Token) -> None:
        """Sends `token` from now on."""
        authorization = (("Authorization", token.authorization),) if token.authorization else ()
        self._headers = (*authorization, *self._extra_headers)
        if token.certificate is not None and token.key is not None and self.ssl_context is not None:
            present_certificate(self.ssl_context, certificate=token.certificate, key=token.key)
        self._fresh_until = None if token.lifetime_seconds is None else self._clock() + token.lifetime_seconds
        self._has_token = True


async def load_credentials(
    *,
    kubeconfig: str | None = None,
    context: str | None = None,
    cluster: str | None = None,
    user: str | None = None,
    server: str | None = None,
    token: str | None = None,
    certificate_authority: str | None = None,
    client_certificate: str | None = None,
    client_key: str | None = None,
    insecure_skip_tls_verify: bool = False,
    tls_server_name: str | None = None,
    as_user: str | None = None,
    as_groups: Sequence[str] = (),
    as_uid: str | None = None,
    environ: Mapping[str, str] = os.environ,
    service_account_folder: Path = SERVICE_ACCOUNT_FOLDER,
) -> Credentials:
    """Flags before KUBECONFIG before ~/.kube/config before the Pod's service account. Raises ConfigError.

    The first token is fetched here, so that a broken plugin or file is told at start.
    """
    files = find_kubeconfig(kubeconfig, environ=environ)
    if not files and not server and environ.get("KUBERNETES_SERVICE_HOST"):
        return await _in_cluster(environ, folder=service_account_folder)
    if not files and not server:
        raise ConfigError("no kubeconfig: neither --kubeconfig, KUBECONFIG nor ~/.kube/config names one; name one, or pass --server")
    selection = read_kubeconfig(files).select(context=context, cluster=cluster, user=user) if files else nothing_selected()
    address = _address(selection.cluster, override=server)
    is_verified = not (insecure_skip_tls_verify or selection.cluster.body.get("insecure-skip-tls-verify") is True)
    credentials = Credentials(
        address,
        namespace=selection.namespace,
        token_source=_token_source(selection.user, token=token),
        ssl_context=make_tls_context(
            authority=read_pem(selection.cluster, "certificate-authority", override=certificate_authority) if is_verified else None,
            certificate=read_pem(selection.user, "client-certificate", override=client_certificate),
            key=read_pem(selection.user, "client-key", override=client_key),
            is_verified=is_verified,
        )
        if address.startswith("https:")
        else None,
        tls_server_name=tls_server_name or selection.cluster.text("tls-server-name"),
        proxy=_proxy(selection.cluster, server=address),
        headers=_impersonation(selection, as_user=as_user, as_groups=as_groups, as_uid=as_uid),
    )
    return await _with_first_token(credentials)


async def _with_first_token(credentials: Credentials) -> Credentials:
    try:
        await credentials.authorize()
    except Unauthorized as error:
        if isinstance(error.__cause__, ConfigError):
            raise error.__cause__ from None
        raise
    return credentials


async def _in_cluster(environ: Mapping[str, str], *, folder: Path) -> Credentials:
    host, port = environ["KUBERNETES_SERVICE_HOST"], environ.get("KUBERNETES_SERVICE_PORT") or "443"
    entry = Entry(folder / "ca.crt", "cluster", "in-cluster", {"certificate-authority": "ca.crt"})
    authority = read_pem(entry, "certificate-authority", override=None)
    namespace_file = folder / "namespace"
    credentials = Credentials(
        f"https://{f'[{host}]' if ':' in host else host}:{port}",
        namespace=namespace_file.read_text().strip() if namespace_file.exists() else "default",
        token_source=FileToken(folder / "token", origin="service account token"),
        ssl_context=make_tls_context(authority=authority, certificate=None, key=None, is_verified=True),
    )
    return await _with_first_token(credentials)


def _address(cluster: Entry, *, override: str | None) -> str:
    address = override or cluster.text("server")
    if address is None:
        raise cluster.error("server", problem="is missing", remedy="write the address of the API server, as in https://host:6443")
    if "://" not in address:
        address = f"https://{address}" if override else address
    scheme, _, rest = address.partition("://")
    if scheme not in {"http", "https"} or not rest or "@" in rest:
        problem = "is not an address of an API server"
        if override:
            raise ConfigError(f"--server: {problem}; write it as in https://host:6443")
        raise cluster.error("server", problem=problem, remedy="write it as in https://host:6443")
    return address


def _proxy(cluster: Entry, *, server: str) -> str | None:
    proxy = cluster.text("proxy-url")
    if proxy is None:
        return None
    if not proxy.startswith(("http://", "https://")):
        raise cluster.error("proxy-url", problem="names a kind of proxy that is not supported", remedy="use one with http:// or https://")
    own = cluster.text("server") or ""
    if server != own.rstrip("/") and urlsplit(proxy).netloc.rpartition("@")[2] == urlsplit(own).netloc:
        # Local mode's server is named as its own proxy (that is how kubectl tells it the token): no way to any other server.
        return None
    return proxy


def _token_source(user: Entry, *, token: str | None) -> TokenSource:
    if token:
        return FixedToken(bearer(token, origin="--token"))
    if isinstance(user.body.get("auth-provider"), dict):
        return ProviderToken(user)
    # As kubectl: of several ways the file wins over the text, since it can be fresh.
    if (path := user.path("tokenFile")) is not None:
        return FileToken(path, origin=f"{user.file}: users[{user.name}].user.tokenFile")
    if (text := user.text("token")) is not None:
        return FixedToken(bearer(text, origin=f"{user.file}: users[{user.name}].user.token"))
    if user.body.get("exec") is not None:
        return ExecToken(user)
    if (name := user.text("username")) is not None:
        pair = f"{name}:{user.text('password') or ''}"
        return FixedToken("Basic " + base64.b64encode(pair.encode()).decode())
    return FixedToken(None)


def _impersonation(selection: Selection, *, as_user: str | None, as_groups: Sequence[str], as_uid: str | None) -> list[tuple[str, str]]:
    name = as_user or selection.user.text("as")
    if name is None and (as_groups or as_uid):
        raise ConfigError("--as-group and --as-uid need a user to impersonate; pass --as, too")
    uid = as_uid or selection.user.text("as-uid")
    groups = list(as_groups) or [str(group) for group in selection.user.body.get("as-groups") or []]
    headers = [("Impersonate-User", name)] if name else []
    headers += [("Impersonate-Uid", uid)] if name and uid else []
    return headers + [("Impersonate-Group", group) for group in groups if name]

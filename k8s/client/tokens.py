"""Where bearer tokens come from, and until when they hold: fixed, a file that is rotated, an exec plugin, an auth provider.

Exec plugins and auth providers are run by `kubernetes.aio.config`. It is imported here when one is needed and not before:
the import costs 20 MiB and 0.2 s, and most kubeconfigs and every Pod do without.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from k8s.api.timestamps import parse_timestamp
from k8s.client.errors import ConfigError, cut
from k8s.client.kubeconfig import Entry
from k8s.client.tls import Pem

FILE_TOKEN_SECONDS = 60.0
"""The kubelet replaces a Pod's token at 80 % of its life of an hour or less; client-go reads it every minute, too."""

PLUGIN_DEADLINE_SECONDS = 60.0
"""A plugin may ask its user to log in, so not shorter; a hanging one must not hang us for ever."""


@dataclass(frozen=True, slots=True)
class Token:
    """An Authorization header, or a client certificate instead, and how long it may be used; None means for ever."""

    authorization: str | None = None
    lifetime_seconds: float | None = None
    certificate: Pem | None = None
    key: Pem | None = None


class TokenSource(Protocol):
    """Makes a new token each time it is asked. Raises ConfigError."""

    async def fetch(self) -> Token: ...


@dataclass(frozen=True, slots=True)
class FixedToken:
    """A token, or nothing, that never changes."""

    authorization: str | None

    async def fetch(self) -> Token:
        return Token(self.authorization)


@dataclass(frozen=True, slots=True)
class FileToken:
    """A file that somebody else keeps fresh, such as a Pod's service account token."""

    path: Path
    origin: str

    async def fetch(self) -> Token:
        try:
            text = self.path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            problem = error.strerror if isinstance(error, OSError) else "it is not text"
            raise ConfigError(f"{self.origin}: {self.path} cannot be read: {problem}; check the path and its permissions") from error
        if not text:
            raise ConfigError(f"{self.origin}: {self.path} is empty; put the token there")
        return Token(bearer(text, origin=self.origin), FILE_TOKEN_SECONDS)


@dataclass(frozen=True, slots=True)
class ExecToken:
    """A program of the user's that prints an ExecCredential."""

    entry: Entry
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def fetch(self) -> Token:
        return self._read(await self._run())

    async def _run(self) -> dict[str, Any]:
        from kubernetes.aio.config.config_exception import ConfigException
        from kubernetes.aio.config.exec_provider import ExecProvider
        from kubernetes.aio.config.kube_config import ConfigNode

        settings = self._settings()
        try:
            async with asyncio.timeout(PLUGIN_DEADLINE_SECONDS):
                status: dict[str, Any] = await ExecProvider(ConfigNode("exec", settings)).run()  # type: ignore[no-untyped-call]
        except TimeoutError as error:
            raise self._error(f"gave no answer within {PLUGIN_DEADLINE_SECONDS:.0f} s", remedy="run it by hand to see why") from error
        except (ConfigException, OSError, KeyError, TypeError) as error:
            raise self._error(f"failed: {cut(str(error))}", remedy="run it by hand to see why") from error
        if not isinstance(status, dict):
            raise self._error("printed an ExecCredential without status", remedy="update the plugin")
        return status

    def _settings(self) -> dict[str, Any]:
        settings = self.entry.body["exec"]
        if not isinstance(settings, dict) or not isinstance(settings.get("command"), str):
            raise self._error("is missing", remedy="name the program that prints the credentials")
        command = settings["command"]
        resolved = str(self.entry.file.parent / command) if "/" in command else command
        if shutil.which(resolved) is None:
            hint = cut(str(settings.get("installHint") or "install it, or correct the field"))
            raise self._error(f"there is no program {command!r}", remedy=" ".join(hint.split()))
        return {"apiVersion": "client.authentication.k8s.io/v1", **settings, "command": resolved}

    def _read(self, status: dict[str, Any]) -> Token:
        lifetime = self._lifetime(status.get("expirationTimestamp"))
        origin = f"{self.entry.file}: users[{self.entry.name}].user.exec"
        certificate, key = status.get("clientCertificateData"), status.get("clientKeyData")
        pems = (Pem(certificate.encode(), origin), Pem(key.encode(), origin)) if certificate and key else (None, None)
        if not status.get("token") and pems[0] is None:
            raise self._error("printed neither a token nor a certificate with its key", remedy="update the plugin")
        authorization = bearer(status["token"], origin=origin) if status.get("token") else None
        return Token(authorization, lifetime, *pems)

    def _lifetime(self, expiration: object) -> float | None:
        """Seconds until it should be asked again: a bit before the token ends, so that no request meets a dead one."""
        if not expiration:
            return None
        try:
            left = (parse_timestamp(str(expiration)) - self.now()).total_seconds()
        except ValueError as error:
            raise self._error("printed an expirationTimestamp that is no RFC 3339 time", remedy="update the plugin") from error
        return max(left - 60.0, left * 0.8, 1.0)

    def _error(self, problem: str, *, remedy: str) -> ConfigError:
        return self.entry.error("exec.command", problem=problem, remedy=remedy)


@dataclass(frozen=True, slots=True)
class ProviderToken:
    """The old auth-provider plugins, oidc and gcp, as far as `kubernetes.aio.config` still knows them."""

    entry: Entry

    async def fetch(self) -> Token:
        from kubernetes.aio.config.kube_config import KubeConfigLoader

        context = {"name": "only", "context": {"cluster": "only", "user": "only"}}
        clusters = [{"name": "only", "cluster": {}}]
        users = [{"name": "only", "user": dict(self.entry.body)}]
        loader = KubeConfigLoader({"current-context": "only", "contexts": [context], "clusters": clusters, "users": users})  # type: ignore[no-untyped-call]
        try:
            async with asyncio.timeout(PLUGIN_DEADLINE_SECONDS):
                await loader._load_authentication()  # type: ignore[no-untyped-call]
        except Exception as error:  # it raises whatever its HTTP client and parsers raise
            problem = f"failed: {cut(str(error)) or type(error).__name__}"
            raise self.entry.error("auth-provider", problem=problem, remedy="log in again, or use an exec plugin") from error
        token = getattr(loader, "token", None)
        if not token:
            raise self.entry.error("auth-provider", problem="gave no token", remedy="use an exec plugin instead")
        return Token(str(token), FILE_TOKEN_SECONDS)


def bearer(token: str, *, origin: str) -> str:
    """The header for a token. One with a line break or a blank inside would break the request, and is refused."""
    token = token.strip()
    if not token.isascii() or any(character.isspace() or not character.isprintable() for character in token):
        raise ConfigError(f"{origin}: the token contains characters that no token has; copy it again")
    return f"Bearer {token}"

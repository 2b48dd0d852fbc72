"""What keeps the server private: a loopback address, a random token, and files that only their owner can read."""

from __future__ import annotations

import base64
import fcntl
import hmac
import ipaddress
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml

from k8s.api.errors import UsageError


def require_linux() -> None:
    if not sys.platform.startswith("linux"):
        raise UsageError(
            f"local mode runs on Linux only, and this is {sys.platform}; use a Kubernetes cluster, or Linux in a virtual machine"
        )


def parse_listen(text: str) -> tuple[str, int]:
    """Host and port of --listen; refuses every address but loopback."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"--listen {text!r}: write it as 127.0.0.1:PORT, port 0 for a free one")
    host = host.strip("[]") or "127.0.0.1"
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError as error:
        raise UsageError(f"--listen {text!r}: {host!r} is not an IP address; use 127.0.0.1") from error
    if not address.is_loopback:
        raise UsageError(
            f"--listen {text!r}: the embedded API server listens on loopback only (it has no TLS and one token); use 127.0.0.1:{port}"
        )
    return str(address), int(port)


def make_private_folder(path: Path) -> None:
    """Creates it with mode 0700, and takes others' rights away if it exists."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.stat().st_uid != os.getuid():
        raise UsageError(f"--data-dir {path}: belongs to another user; choose a folder of your own")
    path.chmod(0o700)


def lock_folder(path: Path) -> int:
    """Two servers on one store would overwrite each other: the second is refused. The lock goes with the descriptor, or the process."""
    descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise UsageError(f"--data-dir {path}: another API server already runs on it; stop that one, or choose another folder") from error
    return descriptor


def write_private_file(path: Path, *, text: str) -> None:
    """Arrives whole, by rename, with mode 0600 from its first byte on."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, 0o600)
        file.write(text)
    temporary.replace(path)


def load_or_make_token(path: Path) -> str:
    """The token of the last start, so that kubeconfigs stay valid over a restart; a new random one the first time."""
    try:
        token = path.read_text().strip()
    except FileNotFoundError:
        token = ""
    if not token:
        token = secrets.token_urlsafe(32)
        write_private_file(path, text=token + "\n")
    path.chmod(0o600)
    return token


def is_authorized(headers: Mapping[str, str], *, token: str) -> bool:
    """As a bearer token, or as the password of a proxy (see `kubeconfig`)."""
    bearer = headers.get("Authorization", "")
    if bearer:
        return hmac.compare_digest(bearer.encode(), f"Bearer {token}".encode())
    proxied = headers.get("Proxy-Authorization", "")
    expected = base64.b64encode(f"{_PROXY_USER}:{token}".encode())
    return hmac.compare_digest(proxied.encode(), b"Basic " + expected)


_PROXY_USER = "kruntimes"


def kubeconfig(*, url: str, token: str) -> str:
    """For every client. kubectl never sends a token over plain HTTP, not even to loopback, but it does send a proxy its
    password: so the server is named as its own proxy, and takes the token either way. Neither shows in kubectl's messages.
    """
    name = "kruntimes-local"
    proxy = url.replace("://", f"://{_PROXY_USER}:{token}@", 1)
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": {"server": url, "proxy-url": proxy}}],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}],
            "current-context": name,
        },
        sort_keys=False,
    )

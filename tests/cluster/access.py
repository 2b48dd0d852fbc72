"""How to reach an API server: its address, a bearer token, and the authority that signed its certificate.

Read from and written to kubeconfigs, so that kubectl, our own processes and plain HTTP tests all use the same credentials.
"""

from __future__ import annotations

import base64
import json
import ssl
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True, slots=True)
class Access:
    """One identity at one server. `authority` is a certificate in PEM, empty for plain HTTP."""

    url: str
    token: str
    authority: str = ""

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def tls(self) -> ssl.SSLContext | None:
        """What verifies the server, or None for plain HTTP."""
        return ssl.create_default_context(cadata=self.authority) if self.authority else None


def send(access: Access, method: str, path: str, body: dict[str, Any], *, content_type: str = "application/json") -> dict[str, Any]:
    """One request, for what a test needs to be there before it begins. Raises urllib's HTTPError."""
    headers = access.headers | {"Content-Type": content_type}
    request = urllib.request.Request(access.url + path, data=json.dumps(body).encode(), headers=headers, method=method)
    with urllib.request.urlopen(request, context=access.tls(), timeout=10) as answer:
        sent: dict[str, Any] = json.load(answer)
        return sent


def read_kubeconfig(path: Path) -> Access:
    """The current context of a kubeconfig that carries its credentials inside, as ours do."""
    config: dict[str, Any] = yaml.safe_load(path.read_text())
    context = _named(config["contexts"], config["current-context"])["context"]
    cluster = _named(config["clusters"], context["cluster"])["cluster"]
    user = _named(config["users"], context["user"])["user"]
    authority = base64.b64decode(cluster.get("certificate-authority-data", "")).decode()
    return Access(url=cluster["server"].rstrip("/"), token=user["token"], authority=authority)


def write_kubeconfig(path: Path, *, access: Access, user: str) -> None:
    """A kubeconfig for one identity, readable by its owner only. Written as JSON, which is YAML too."""
    authority = base64.b64encode(access.authority.encode()).decode()
    cluster = {"server": access.url} | ({"certificate-authority-data": authority} if authority else {})
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": user,
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": user, "user": {"token": access.token}}],
        "contexts": [{"name": user, "context": {"cluster": "test", "user": user}}],
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(config, indent=1))


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)

"""What all Pods of the node share: the machine, the folders, and the way to the API server."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from controlplane.local import programs
from controlplane.local.node.plan import PodFolders
from controlplane.local.node.probes import Probe, ask
from controlplane.local.ports import Ports
from controlplane.local.records import Records
from k8s.client import CONFIG_MAPS, SECRETS, ApiClient, EventRecorder, NotFound, Resource

Json = dict[str, Any]
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the machine's tmpfs
NODE_PODS: Resource[Json] = Resource("", "v1", "pods", "Pod", namespaced=True, type=dict[str, Any])
"""Pods as plain objects: the node reads far more of them than `k8s.api.pod` shows."""


def memory_root_of(root: Path) -> Path | None:
    """Ours alone among the node's of this machine: named by who we are and where our files are."""
    if not os.access(SHARED_MEMORY, os.W_OK | os.X_OK):
        return None
    return SHARED_MEMORY / f"kruntimes-{os.getuid()}-{hashlib.sha256(bytes(root)).hexdigest()[:12]}"


def folders_of(pod_uid: str, *, root: Path) -> PodFolders:
    """Where the files of a Pod are, on a node with that root."""
    memory = memory_root_of(root)
    return PodFolders(root / "pods" / pod_uid, memory / pod_uid if memory is not None else None)


@dataclass(frozen=True, slots=True)
class Host:
    """Made once at start. `environment` is the node's own, from which containers get an allow-list."""

    client: ApiClient
    probes: aiohttp.ClientSession
    root: Path
    kubeconfig: str
    node_name: str
    records: Records
    events: EventRecorder
    ports: Ports = field(default_factory=Ports)
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def folders(self, pod_uid: str, *, namespace: str) -> PodFolders:
        return replace(folders_of(pod_uid, root=self.root), claims=self.root / "claims" / namespace)

    @property
    def memory_root(self) -> Path | None:
        return memory_root_of(self.root)

    def throw_away(self, folders: PodFolders) -> Path:
        """Move a Pod's files out of sight, at once; gives where they can be deleted at leisure."""
        trash = self.root / "trash" / folders.root.name
        trash.parent.mkdir(exist_ok=True, mode=0o700)
        with suppress(FileNotFoundError):  # deleted before it was made
            folders.root.rename(trash)
        return trash

    def now(self) -> datetime:
        return datetime.now(UTC)

    def base_environment(self) -> dict[str, str]:
        return programs.base_environment(self.environment) | programs.marks(self.environment)

    def own_environment(self) -> dict[str, str]:
        return programs.own_environment(self.environment) | programs.marks(self.environment)

    def find_program(self, name: str) -> list[str]:
        return programs.program(name)

    async def ask(self, probe: Probe) -> bool:
        return await ask(probe, session=self.probes)

    async def read_references(self, names: set[tuple[str, str]], *, namespace: str) -> dict[tuple[str, str], Mapping[str, str] | None]:
        """Data of ConfigMaps and Secrets as text; None for what does not exist. Raises ApiError."""
        return {(kind, name): await self._read(kind, name, namespace=namespace) for kind, name in sorted(names)}

    async def _read(self, kind: str, name: str, *, namespace: str) -> Mapping[str, str] | None:
        try:
            if kind == "ConfigMap":
                return (await self.client.get(CONFIG_MAPS, name, namespace=namespace)).get("data") or {}
            return decode_secret(await self.client.get(SECRETS, name, namespace=namespace))
        except NotFound:
            return None


def decode_secret(secret: Json) -> dict[str, str]:
    """Its data as text. Bytes that are none cannot be an environment value and are replaced."""
    return {key: base64.b64decode(value).decode(errors="replace") for key, value in (secret.get("data") or {}).items()}

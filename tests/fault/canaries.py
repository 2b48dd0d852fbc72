"""P8: secrets that every row's Runs carry and every platform knows, and a look at all that is said for any of them.

Planted: in the env and args of every Run, in Secrets from which Runs take env, git its credentials, and runtimed those of S3.
Looked at, but for what was looked at before: every file of the platform (its logs, records, state, the audit with every status),
all events, all metrics. Not the workspaces, which are the Runs' own, nor the API server's store, which is where Secrets are.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from controlplane.local.node.host import memory_root_of
from k8s.api import names
from tests.fault.processes import metrics_at, metrics_port_of

if TYPE_CHECKING:
    from tests.fault.platform import Platform

CANARY: Final = "canary-4f7d2c-do-not-leak"
SECRET, GIT_SECRET, S3_SECRET = "canary", "canary-git", "canary-s3"
UNREACHABLE: Final = "127.0.0.1:1"
SERVING_METRICS = ("scheduler", "controllers", "runtimed")
_STORE = ("store.db", "store.db-wal", "store.db-shm")
"""Where the embedded API server keeps objects, Secrets included."""
_REAL_STORE = ("etcd", "audit.jsonl")
"""Where a real one does, and its audit log: that has whole requests and answers, for the recorder asks for them."""
_READ_BYTES = 1 << 20


def _needles() -> tuple[bytes, ...]:
    """The canary, and what of it base64 makes alike at each of the three places where it may begin."""
    plain = CANARY.encode()
    encoded = [base64.b64encode(b"x" * shift + plain)[(4 if shift else 0) : -4] for shift in range(3)]
    return (plain, *encoded)


NEEDLES: Final = _needles()


def env() -> list[dict[str, Any]]:
    """For a Run."""
    return [{"name": "CANARY", "value": CANARY}]


def env_of_secret() -> list[dict[str, Any]]:
    return [{"name": "CANARY", "valueFrom": {"secretKeyRef": {"name": SECRET, "key": "key"}}}]


def secrets() -> list[dict[str, Any]]:
    data = {
        SECRET: {"key": CANARY},
        GIT_SECRET: {".git-credentials": f"https://user:{CANARY}@{UNREACHABLE}\n"},
        S3_SECRET: {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": CANARY},
    }
    return [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": each} for name, each in data.items()]


def offers() -> dict[str, str]:
    """Of a Runtime that offers them."""
    return {names.ENV_SECRETS_ANNOTATION: SECRET, names.GIT_CREDENTIALS_ANNOTATION: GIT_SECRET}


def s3_store() -> dict[str, Any]:
    """A store that knows a secret, and that nothing is ever sent to."""
    return {"driver": "s3", "s3": {"bucket": "canary", "endpoint": f"http://{UNREACHABLE}", "credentialsSecretName": S3_SECRET}}


def is_in(text: bytes) -> bool:
    return any(needle in text for needle in NEEDLES)


class Search:
    """Of one platform. Each byte of a file is looked at once."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._read: dict[tuple[int, int], int] = {}
        """By device and inode: a log that is turned over is still the same."""
        self._metrics_ports: dict[int, int] = {}

    def in_files(self) -> list[str]:
        return [f"P8: a canary is in {path}" for path in self._files() if self._is_in_file(path)]

    def in_metrics(self) -> list[str]:
        serving = [
            (role, pid) for role, pids in self._platform.roles().items() for pid in pids if role.partition("-")[0] in SERVING_METRICS
        ]
        return [f"P8: a canary is in the metrics of {role}" for role, pid in serving if is_in(self._metrics(pid))]

    def _metrics(self, pid: int) -> bytes:
        """Where a process serves them is looked for once."""
        port = self._metrics_ports.get(pid) or metrics_port_of(pid)
        self._metrics_ports[pid] = port
        return metrics_at(port).encode() if port else b""

    def _files(self) -> Iterator[Path]:
        platform = self._platform
        memory = memory_root_of(platform.node_root)
        stores = _REAL_STORE if platform.is_real else _STORE
        for root in (platform.api.folder, platform.system.folder, *([memory] if memory else [])):
            for folder, folders, files in os.walk(root):
                folders[:] = [name for name in folders if name not in stores and not (name == "workspace" and folder.endswith("/volumes"))]
                yield from (Path(folder, name) for name in files if name not in stores)
        yield platform.workload_log

    def _is_in_file(self, path: Path) -> bool:
        try:
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                key = (status.st_dev, status.st_ino)
                before = self._read.get(key, 0)
                if status.st_size == before:
                    return False
                self._read[key] = status.st_size
                # It may have been begun before; a shorter file is another one with the number of an old one.
                file.seek(max(0, before - len(CANARY) * 2) if status.st_size > before else 0)
                return _is_in_stream(iter(lambda: file.read(_READ_BYTES), b""))
        except OSError:  # gone meanwhile
            return False


def _is_in_stream(blocks: Iterator[bytes]) -> bool:
    """Also across the border of two blocks."""
    end = b""
    for block in blocks:
        if is_in(end + block):
            return True
        end = block[-2 * len(CANARY) :]
    return False

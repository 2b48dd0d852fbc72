"""Where a benchmark takes place: an API server with the whole system around it, and one warm Bash Runtime of two Pods."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bench.scenarios import BENCHMARK_LABELS
from k8s.api.names import API_VERSION
from k8s.client import RUNTIMES, ApiClient, Changed, Listed, apply_patch, list_and_watch, load_credentials
from tests.cluster.embedded import EmbeddedApiServer
from tests.cluster.real import RealApiServer
from tests.cluster.server import ApiServer
from tests.cluster.system import System

NAMESPACE = "default"
RUNTIME = "bench-bash"
PODS = 2
SLOTS_PER_POD = 64
"""Two Pods with 64 slots: the case the figures of other systems were taken with."""
READY_SECONDS = 60


def runtime_manifest() -> dict[str, Any]:
    """The Runtime under test."""
    container = {"name": "runtime", "image": "kruntimes-bash-runtime:bench", "args": ["--port=9091", "--work-dir=/workspace"]}
    return {
        "apiVersion": API_VERSION,
        "kind": "Runtime",
        "metadata": {"name": RUNTIME, "labels": dict(BENCHMARK_LABELS)},
        "spec": {
            "replicas": PODS,
            "capacity": {"resources": {"runs": SLOTS_PER_POD}},
            "template": {"spec": {"containers": [container]}},
        },
    }


class Stage(NamedTuple):
    """Where to measure, and whose CPU time may be read."""

    server: str
    kubeconfig: Path
    processes: dict[str, int]


@contextmanager
def running_system(name: str) -> Iterator[Stage]:
    """`embedded` or `kube` with everything of ours around it."""
    server: ApiServer
    with EmbeddedApiServer() if name == "embedded" else RealApiServer() as server, System(server) as system:
        yield Stage(name, server.kubeconfig, {**server.processes, **system.processes})


@asynccontextmanager
async def connected(kubeconfig: Path) -> AsyncIterator[ApiClient]:
    """A client whose Runtime under test is applied and ready."""
    credentials = await load_credentials(kubeconfig=str(kubeconfig))
    async with await ApiClient.connect(credentials, user_agent="kruntimes-bench") as client:
        await client.patch(RUNTIMES, RUNTIME, apply_patch(runtime_manifest()), namespace=NAMESPACE, field_manager="bench", force=True)
        async with asyncio.timeout(READY_SECONDS):
            await _until_ready(client)
        yield client


async def _until_ready(client: ApiClient) -> None:
    async for event in list_and_watch(client, RUNTIMES, namespace=NAMESPACE, field_selector=f"metadata.name={RUNTIME}"):
        runtimes = event.items if isinstance(event, Listed) else [event.object] if isinstance(event, Changed) else []
        if any(runtime.status.ready_replicas >= PODS for runtime in runtimes):
            return

"""Where a benchmark takes place: an API server with the whole system around it, and the warm Runtimes that its Runs need."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bench.loads import BENCHMARK_LABELS
from bench.meters.writes import AuditWrites, MetricsWrites, WriteMeter
from bench.subjects import PODS, Subject
from k8s.api.names import API_VERSION
from k8s.client import RUNS, RUNTIMES, ApiClient, Changed, Listed, apply_patch, list_and_watch, load_credentials
from tests.cluster.embedded import EmbeddedApiServer
from tests.cluster.real import RealApiServer
from tests.cluster.server import ApiServer
from tests.cluster.system import System

ServerName = Literal["embedded", "kube"]
NAMESPACE = "default"
READY_SECONDS = 120
"""Two Pods with a pool of warm children each, on a machine that may be busy."""
LOCAL_IMAGES = "kruntimes-{image}:bench"
"""The local node runs images by their base name; on a cluster the template names real ones."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where to measure, and whose costs may be read."""

    server: str
    kubeconfig: Path
    processes: Mapping[str, int] = field(default_factory=dict)
    audit: Path | None = None
    image_template: str = LOCAL_IMAGES
    is_ours: bool = False
    """Started for this benchmark, and thrown away with everything in it."""

    def image(self, subject: Subject) -> str:
        """That of its Runtime, or of the Job."""
        return self.image_template.format(image=subject.image)

    def write_meter(self, client: ApiClient) -> WriteMeter:
        return MetricsWrites(client) if self.audit is None else AuditWrites(self.audit)


@contextmanager
def running_system(name: ServerName, *, launcher: Sequence[str] = (sys.executable, "-m")) -> Iterator[Stage]:
    """An API server with everything of ours around it."""
    server: ApiServer = RealApiServer(has_untracked_runs=True) if name == "kube" else EmbeddedApiServer(arguments=("--audit",))
    with serving(server), System(server, launcher=launcher) as system:
        audit = server.folder / "audit.jsonl" if name == "embedded" else None
        yield Stage(name, server.kubeconfig, {**server.processes, **system.processes}, audit, is_ours=True)


@contextmanager
def serving(server: ApiServer) -> Iterator[None]:
    server.start()
    try:
        yield
    finally:
        server.stop()


@asynccontextmanager
async def connected(stage: Stage) -> AsyncIterator[ApiClient]:
    """The client of the benchmark."""
    credentials = await load_credentials(kubeconfig=str(stage.kubeconfig))
    async with await ApiClient.connect(credentials, user_agent="kruntimes-bench") as client:
        yield client


@asynccontextmanager
async def warm_runtimes(client: ApiClient, subjects: Sequence[Subject], *, stage: Stage) -> AsyncIterator[None]:
    """The subjects' Runtimes exist and are ready; afterwards they and all Runs of benchmarks are deleted."""
    for subject in subjects:
        manifest = runtime_manifest(subject, image=stage.image(subject))
        await client.patch(RUNTIMES, subject.runtime, apply_patch(manifest), namespace=NAMESPACE, field_manager="bench", force=True)
    try:
        async with asyncio.timeout(READY_SECONDS):
            for subject in subjects:
                await _until_ready(client, subject.runtime)
        yield
    finally:
        if not stage.is_ours:
            await _clean_up(client, subjects)


def runtime_manifest(subject: Subject, *, image: str) -> dict[str, Any]:
    """The Runtime under test."""
    container = {
        "name": "runtime",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["--port=9091", "--work-dir=/workspace"],
    }
    return {
        "apiVersion": API_VERSION,
        "kind": "Runtime",
        "metadata": {"name": subject.runtime, "labels": dict(BENCHMARK_LABELS)},
        "spec": {
            "replicas": PODS,
            "capacity": {"resources": {"runs": subject.slots_per_pod}},
            "template": {"spec": {"containers": [container]}},
        },
    }


async def _until_ready(client: ApiClient, runtime_name: str) -> None:
    async for event in list_and_watch(client, RUNTIMES, namespace=NAMESPACE, field_selector=f"metadata.name={runtime_name}"):
        runtimes = event.items if isinstance(event, Listed) else [event.object] if isinstance(event, Changed) else []
        if any(runtime.status.ready_replicas >= PODS for runtime in runtimes):
            return


async def _clean_up(client: ApiClient, subjects: Sequence[Subject]) -> None:
    selector = ",".join(f"{key}={value}" for key, value in BENCHMARK_LABELS.items())
    for run in (await client.list(RUNS, namespace=NAMESPACE, label_selector=selector)).items:
        await client.delete(RUNS, run.metadata.name, namespace=NAMESPACE, uid=run.uid)
    for subject in subjects:
        await client.delete(RUNTIMES, subject.runtime, namespace=NAMESPACE)

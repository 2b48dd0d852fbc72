"""Row 51: a thousand Runs keep an artifact each, in both stores, and nothing of it is left when they are deleted."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from k8s.api.run import Run
from k8s.client import RUNS, ApiClient, Cache, list_and_watch, load_credentials
from tests.cluster.object_store import ObjectStore
from tests.controlplane.local.localmode import LocalMode, local_mode

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(300)]
RUNS_COUNT = 1000
PARALLEL = 25
SIZE = 1000
SCRIPT = f'head -c {SIZE} /dev/urandom > "$KRUNTIME_ARTIFACTS_DIR/data"'


class Store(NamedTuple):
    """Of a Runtime, as it is told of it, and what is in it."""

    spec: dict[str, Any]
    sizes: Callable[[], list[int]]
    """Of the artifacts that are kept, in bytes."""
    left: Callable[[], list[str]]
    """Whatever is in it, finished or not."""


def test_row_51_a_thousand_runs_leave_nothing_behind_on_a_volume() -> None:
    with local_mode() as local:
        local.krt("local", "up")
        root = local.state.node / "claims" / "default" / "artifacts"
        keep_and_delete(
            local,
            Store(
                {"driver": "filesystem", "filesystem": {"volumeClaimName": "artifacts"}},
                sizes=lambda: [path.stat().st_size for path in root.rglob("data")],
                left=lambda: [str(path) for path in root.rglob("*") if path.parent.name == "runs" or path.is_file()],
            ),
        )


def test_row_51_a_thousand_runs_leave_nothing_behind_in_a_bucket(object_store: ObjectStore, bucket: str) -> None:
    with local_mode() as local:
        local.krt("local", "up")
        data = {name: base64.b64encode(value.encode()).decode() for name, value in object_store.environment.items()}
        local.hands.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s3-credentials"}, "data": data})
        s3 = {"bucket": bucket, "endpoint": object_store.endpoint, "forcePathStyle": True, "credentialsSecretName": "s3-credentials"}
        keep_and_delete(
            local,
            Store(
                {"driver": "s3", "s3": s3},
                sizes=lambda: object_store.sizes(bucket),
                left=lambda: object_store.keys(bucket) + object_store.unfinished(bucket),
            ),
        )


def keep_and_delete(local: LocalMode, store: Store) -> None:
    spec = {
        "template": {"spec": {"containers": [{"name": "runtime", "image": "kruntimes-bash-runtime"}]}},
        "capacity": {"resources": {"runs": PARALLEL}},
        "artifactStore": store.spec,
    }
    local.hands.create({"apiVersion": "kruntimes.io/v1alpha1", "kind": "Runtime", "metadata": {"name": "keeping"}, "spec": spec})
    local.hands.wait("Runtime", "keeping", until=lambda found: found.get("status", {}).get("readyReplicas") == 1)
    asyncio.run(_keep_and_delete(local.state.kubeconfig, store))
    assert store.left() == []


async def _keep_and_delete(kubeconfig: Path, store: Store) -> None:
    credentials = await load_credentials(kubeconfig=str(kubeconfig))
    async with await ApiClient.connect(credentials, user_agent="test", request_timeout_seconds=60) as client, asyncio.TaskGroup() as group:
        seen = Seen()
        watching = group.create_task(seen.follow(client))
        turns = asyncio.Semaphore(PARALLEL)

        async def one(number: int) -> None:
            async with turns:
                ended = seen.ended[f"run-{number}"] = asyncio.Event()
                spec = {"runtime": "keeping", "mode": {"task": {}}, "source": {"inline": SCRIPT}}
                body = {"apiVersion": "kruntimes.io/v1alpha1", "kind": "Run", "metadata": {"name": f"run-{number}"}, "spec": spec}
                await client.create(RUNS, body, namespace="default")
                await ended.wait()

        await asyncio.gather(*(one(number) for number in range(RUNS_COUNT)))
        assert await asyncio.to_thread(store.sizes) == [SIZE] * RUNS_COUNT
        for number in range(RUNS_COUNT):
            await client.delete(RUNS, f"run-{number}", namespace="default")
        await seen.gone.wait()
        watching.cancel()


class Seen:
    """What one watch has shown of all of them."""

    def __init__(self) -> None:
        self.ended: dict[str, asyncio.Event] = {}
        """By name, each from before its create."""
        self.gone = asyncio.Event()
        """All were there, and none is."""

    async def follow(self, client: ApiClient) -> None:
        runs: Cache[Run] = Cache()
        async with aclosing(list_and_watch(client, RUNS, namespace="default")) as notices:
            async for notice in notices:
                for change in runs.feed(notice):
                    if change.new is not None and change.new.is_terminal:
                        assert change.new.phase == "Succeeded", change.new.status.message
                        self.ended[change.new.metadata.name].set()
                if len(self.ended) == RUNS_COUNT and not len(runs):
                    self.gone.set()

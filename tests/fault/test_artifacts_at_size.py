"""Row 51 and P7 at size: a gigabyte goes in and out of both stores without being held in memory."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

import pytest

from k8s.api.run import Run
from k8s.client import RUNS, ApiClient, Cache, list_and_watch, load_credentials
from tests.cluster.object_store import ObjectStore
from tests.controlplane.local.localmode import local_mode
from tests.runtimed.artifacts.fixtures import UID

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(400)]
REPO = Path(__file__).parents[2]
SIZE_MIB = 1024
MAX_EXTRA_MIB = 64


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    staging = tmp_path / "workspace" / UID / "artifacts"
    staging.mkdir(parents=True)
    block = os.urandom(1 << 20)
    with (staging / "big").open("wb") as file:
        for number in range(SIZE_MIB):
            file.write(number.to_bytes(8, "big") + block[8:])
    return tmp_path / "workspace"


def measure(store: str, workspace: Path, *, environment: dict[str, str]) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.runtimed.artifacts.big", store, str(workspace)]
    env = {**os.environ, **environment, "PYTHONPATH": os.pathsep.join([str(REPO), str(REPO / "proto")])}
    ended = subprocess.run(command, env=env, cwd=REPO, capture_output=True, text=True, timeout=380, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    told: dict[str, float] = json.loads(ended.stdout)
    print(store.split("|")[-1], told)
    return told


def test_row_51_a_gigabyte_on_a_volume_takes_little_memory(tmp_path: Path, workspace: Path) -> None:
    (tmp_path / "store").mkdir()
    assert measure(str(tmp_path / "store"), workspace, environment={})["extra_mib"] < MAX_EXTRA_MIB


def test_row_51_a_gigabyte_in_a_bucket_takes_little_memory(workspace: Path) -> None:
    with ObjectStore() as server:
        told = measure(f"{server.endpoint}|{server.make_bucket()}", workspace, environment=server.environment)
    assert told["extra_mib"] < MAX_EXTRA_MIB


RUNS_COUNT = 1000
PARALLEL = 25
RUNTIME = {
    "apiVersion": "kruntimes.io/v1alpha1",
    "kind": "Runtime",
    "metadata": {"name": "keeping"},
    "spec": {
        "template": {"spec": {"containers": [{"name": "runtime", "image": "kruntimes-bash-runtime"}]}},
        "capacity": {"resources": {"runs": PARALLEL}},
        "artifactStore": {"driver": "filesystem", "filesystem": {"volumeClaimName": "artifacts"}},
    },
}
SCRIPT = 'head -c 1000 /dev/urandom > "$KRUNTIME_ARTIFACTS_DIR/data"'


def test_row_51_a_thousand_runs_leave_nothing_behind_when_they_are_deleted() -> None:
    with local_mode() as local:
        local.krt("local", "up")
        local.hands.create(RUNTIME)
        local.hands.wait("Runtime", "keeping", until=lambda found: found.get("status", {}).get("readyReplicas") == 1)
        root = local.state.node / "claims" / "default" / "artifacts"
        asyncio.run(_keep_and_delete(str(local.state.kubeconfig), root))
        assert [path for path in root.rglob("*") if path.parent.name == "runs" or path.is_file()] == []


async def _keep_and_delete(kubeconfig: str, root: Path) -> None:
    credentials = await load_credentials(kubeconfig=kubeconfig)
    async with await ApiClient.connect(credentials, user_agent="test", request_timeout_seconds=60) as client:
        ended: dict[str, asyncio.Event] = {}
        gone = asyncio.Event()
        watching = asyncio.create_task(_watch(client, ended, gone))
        turns = asyncio.Semaphore(PARALLEL)

        async def one(number: int) -> None:
            async with turns:
                ended[f"run-{number}"] = asyncio.Event()
                spec = {"runtime": "keeping", "mode": {"task": {}}, "source": {"inline": SCRIPT}}
                body = {"apiVersion": "kruntimes.io/v1alpha1", "kind": "Run", "metadata": {"name": f"run-{number}"}, "spec": spec}
                await client.create(RUNS, body, namespace="default")
                await ended[f"run-{number}"].wait()

        await asyncio.gather(*(one(number) for number in range(RUNS_COUNT)))
        files = await asyncio.to_thread(lambda: [path for path in root.rglob("data") if path.stat().st_size == 1000])
        assert len(files) == RUNS_COUNT
        for number in range(RUNS_COUNT):
            await client.delete(RUNS, f"run-{number}", namespace="default")
        await gone.wait()
        watching.cancel()


async def _watch(client: ApiClient, ended: dict[str, asyncio.Event], gone: asyncio.Event) -> None:
    runs: Cache[Run] = Cache()
    async with aclosing(list_and_watch(client, RUNS, namespace="default")) as notices:
        async for notice in notices:
            for change in runs.feed(notice):
                if change.new is not None and change.new.is_terminal:
                    assert change.new.phase == "Succeeded", change.new.status.message
                    ended[change.new.metadata.name].set()
            if len(ended) == RUNS_COUNT and not len(list(runs)):
                gone.set()

"""The maintainer beside an API server: what it removes and in which order, and what it leaves alone."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from k8s.api import names
from k8s.api.artifact_store import store_hash
from k8s.api.run import Run
from k8s.client import RUNS, ApiClient, Listed, list_and_watch, load_credentials, merge_patch
from k8s.client.notices import Deleted
from k8s.manager import Tasks
from runtimed.artifacts.errors import StoreUnavailable
from runtimed.maintainer import main
from runtimed.maintainer.maintaining import Maintainer
from tests.cluster.embedded import EmbeddedApiServer
from tests.runtimed.rig import NAMESPACE

pytestmark = pytest.mark.slow
STORE = {"driver": "filesystem", "filesystem": {"volumeClaimName": "artifacts"}}


class FailingStore:
    """Notes what it is asked to delete; fails as often as told."""

    driver = "filesystem"

    def __init__(self, *, failures: int = 0) -> None:
        self.failures = failures
        self.deleted: list[str] = []

    def delete_run(self, *, namespace: str, run_uid: str) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("artifact store: delete: Input/output error")
        self.deleted.append(run_uid)


@pytest.fixture
async def client(embedded_api: EmbeddedApiServer) -> AsyncIterator[ApiClient]:
    credentials = await load_credentials(kubeconfig=str(embedded_api.kubeconfig))
    async with await ApiClient.connect(credentials, user_agent="test") as client:
        yield client


@asynccontextmanager
async def maintained(client: ApiClient, store: Any) -> AsyncIterator[None]:
    async with Tasks() as tasks:
        maintainer = Maintainer(client, namespace=NAMESPACE, store_hash=store_hash(STORE), store=store, tasks=tasks)
        tasks.start(maintainer.run(), name="maintainer")
        yield


async def create(client: ApiClient, *, phase: str = "Succeeded", store: dict[str, Any] = STORE) -> Run:
    """With the finalizer, and asked to go."""
    metadata = {
        "name": f"run-{uuid.uuid4().hex[:8]}",
        "labels": {names.ARTIFACTS_LABEL: "true"},
        "finalizers": [names.ARTIFACT_CLEANUP_FINALIZER, "example.org/theirs"],
    }
    body = {"apiVersion": names.API_VERSION, "kind": "Run", "metadata": metadata, "spec": {"runtime": "bash", "mode": {"task": {}}}}
    run = await client.create(RUNS, body, namespace=NAMESPACE)
    change = merge_patch({"status": {"phase": phase, "artifactStore": store}})
    await client.patch(RUNS, run.metadata.name, change, namespace=NAMESPACE, subresource="status")
    await client.delete(RUNS, run.metadata.name, namespace=NAMESPACE)
    return run


async def released(client: ApiClient, run: Run) -> list[str]:
    """The finalizers that are left, once ours is gone."""
    selector = f"metadata.name={run.metadata.name}"
    async with asyncio.timeout(20), aclosing(list_and_watch(client, RUNS, namespace=NAMESPACE, field_selector=selector)) as notices:
        async for notice in notices:
            if isinstance(notice, Deleted):
                continue
            for seen in notice.items if isinstance(notice, Listed) else [notice.object]:
                if names.ARTIFACT_CLEANUP_FINALIZER not in seen.metadata.finalizers:
                    return seen.metadata.finalizers
    raise AssertionError("a watch has no end")


async def test_the_artifacts_go_first_and_then_our_finalizer_alone(client: ApiClient) -> None:
    store = FailingStore(failures=2)
    async with maintained(client, store):
        run = await create(client)
        assert await released(client, run) == ["example.org/theirs"]
    assert store.failures == 0
    assert store.deleted == [run.uid]


async def test_runs_of_another_store_and_runs_that_have_not_ended_are_left_alone(client: ApiClient) -> None:
    store = FailingStore()
    other = await create(client, store={"driver": "filesystem", "filesystem": {"volumeClaimName": "other"}})
    running = await create(client, phase="Running")
    async with maintained(client, store):
        run = await create(client)
        await released(client, run)
        for kept in (other, running):
            found = await client.get(RUNS, kept.metadata.name, namespace=NAMESPACE)
            assert names.ARTIFACT_CLEANUP_FINALIZER in found.metadata.finalizers
        ended = merge_patch({"status": {"phase": "Cancelled"}})
        await client.patch(RUNS, running.metadata.name, ended, namespace=NAMESPACE, subresource="status")
        await released(client, running)
    assert store.deleted == [run.uid, running.uid]


def test_one_run_is_cleaned_by_hand(tmp_path: Path) -> None:
    for uid in ("uid-1", "uid-2"):
        folder = tmp_path / "namespaces" / "team-a" / "runs" / uid
        folder.mkdir(parents=True)
        (folder / "data").touch()
    flags = ["--run-namespace=team-a", "--run-uid=uid-1", "--driver=filesystem", "--filesystem-volume-claim=claim"]
    assert CliRunner().invoke(main, [*flags, f"--filesystem-root={tmp_path}"]).exit_code == 0
    assert [path.parent.name for path in tmp_path.rglob("data")] == ["uid-2"]


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--driver=filesystem", "--filesystem-volume-claim=c"], "--store-hash: it says which Runs to look after"),
        (["--driver=filesystem"], "--filesystem-volume-claim: a filesystem store needs"),
        (["--driver=s3"], "--s3-bucket: an s3 store needs"),
    ],
)
def test_a_flag_that_is_missing_is_named(flags: list[str], text: str) -> None:
    result = CliRunner().invoke(main, flags)
    assert result.exit_code == 2
    assert text in result.output

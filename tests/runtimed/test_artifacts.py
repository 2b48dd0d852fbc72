"""Artifacts through real processes: a Run leaves files, its status names them, and they are in the store."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from k8s.api.names import ARTIFACT_CLEANUP_FINALIZER
from tests.cluster.object_store import ObjectStore
from tests.cluster.server import ApiServer
from tests.runtimed.rig import Cluster, Rig

pytestmark = pytest.mark.slow
PATIENCE_SECONDS = 2


@pytest.fixture
def store_root(rig: Rig) -> Path:
    """Told to runtimed before it starts."""
    root = rig.folder / "store"
    root.mkdir()
    rig.runtimed_flags = (
        "--artifact-store-driver=filesystem",
        f"--artifact-store-root={root}",
        "--artifact-volume-claim=artifacts",
        "--max-artifact-bytes=100000",
        f"--artifact-store-patience={PATIENCE_SECONDS}",
    )
    return root


@pytest.fixture
async def keeping(store_root: Path, cluster: Cluster) -> Cluster:
    """A Pod whose Runtime has a filesystem store."""
    return cluster


def stored(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.is_file())


async def test_a_file_and_a_folder_are_kept_with_the_run(keeping: Cluster, store_root: Path) -> None:
    text = 'cd "$KRUNTIME_ARTIFACTS_DIR"; echo fine > report.txt; mkdir site; echo x > site/a; echo "n=1" >> "$KRUNTIME_OUTPUTS"'
    run = await keeping.wait(await keeping.script(text))
    assert (run.phase, run.status.outputs, run.status.message) == ("Succeeded", {"n": "1"}, "execution completed")
    report, site = run.status.artifact_refs
    assert (report.name, report.type, report.size_bytes, report.digest) == (
        "report.txt",
        "file",
        5,
        f"sha256:{hashlib.sha256(b'fine' + bytes([10])).hexdigest()}",
    )
    assert (site.name, site.type, site.content_type) == ("site", "directory", "application/gzip")
    assert run.status.artifact_store == {"driver": "filesystem", "filesystem": {"volumeClaimName": "artifacts"}}
    assert run.metadata.finalizers == [ARTIFACT_CLEANUP_FINALIZER]
    assert report.location.filesystem is not None
    assert (store_root / report.location.filesystem.path).read_bytes() == b"fine\n"
    await keeping.wait_until(lambda: not keeping.rig.left_of(run))


async def test_a_run_without_artifacts_has_no_finalizer_and_no_folder(keeping: Cluster, store_root: Path) -> None:
    run = await keeping.wait(await keeping.script('test -d "$KRUNTIME_ARTIFACTS_DIR"'))
    assert (run.phase, run.metadata.finalizers, run.status.artifact_store) == ("Succeeded", [], None)
    assert stored(store_root) == []
    await keeping.wait_until(lambda: not keeping.rig.left_of(run))


async def test_an_artifact_over_the_limit_fails_the_run_and_nothing_is_kept(keeping: Cluster, store_root: Path) -> None:
    text = 'cd "$KRUNTIME_ARTIFACTS_DIR"; echo fine > a; head -c 100001 /dev/zero > big'
    run = await keeping.wait(await keeping.script(text, retryPolicy={"maxAttempts": 3, "backoff": "1s"}))
    assert (run.phase, run.status.attempt, run.status.exit_code, run.status.artifact_refs) == ("Failed", 1, 0, [])
    assert run.status.conditions[-1].reason == "ArtifactInvalid"
    assert "artifact 'big': 100001 bytes, over what is left of the limit" in run.status.message
    assert stored(store_root) == []


async def test_a_link_to_what_runtimed_could_read_is_refused(keeping: Cluster, store_root: Path) -> None:
    run = await keeping.wait(await keeping.script('ln -s /etc/passwd "$KRUNTIME_ARTIFACTS_DIR/x"'))
    assert (run.phase, run.status.conditions[-1].reason) == ("Failed", "ArtifactInvalid")
    assert stored(store_root) == []


async def test_a_retry_begins_with_an_empty_staging_directory(keeping: Cluster, store_root: Path) -> None:
    text = 'cd "$KRUNTIME_ARTIFACTS_DIR"; ls | grep -q . && exit 9; [ -e ../again ] && touch second && exit; touch first ../again; exit 1'
    run = await keeping.wait(await keeping.script(text, retryPolicy={"maxAttempts": 2, "backoff": "1ms"}))
    assert (run.phase, [ref.name for ref in run.status.artifact_refs]) == ("Succeeded", ["second"])
    assert stored(store_root) == ["second"]


async def test_without_a_store_the_variable_is_not_set(shared: Cluster) -> None:
    run = await shared.wait(await shared.script('test -z "${KRUNTIME_ARTIFACTS_DIR+set}"'))
    assert run.phase == "Succeeded"


async def test_a_store_that_is_away_costs_its_patience_and_says_so(keeping: Cluster, store_root: Path) -> None:
    await asyncio.to_thread(_break, store_root)
    run = await keeping.wait(await keeping.script('touch "$KRUNTIME_ARTIFACTS_DIR/x"'))
    assert (run.phase, run.status.conditions[-1].reason, run.status.exit_code) == ("Failed", "RuntimeError", 0)
    assert run.status.message == f"artifact store: given up after {PATIENCE_SECONDS} s without progress: write: Not a directory"


def _break(root: Path) -> None:
    root.rmdir()
    root.touch()


@pytest.fixture(scope="module")
def object_store() -> Iterator[ObjectStore]:
    with ObjectStore() as store:
        yield store


@pytest.fixture
async def s3_rig(rig: Rig, object_store: ObjectStore) -> AsyncIterator[tuple[Cluster, str]]:
    bucket = object_store.make_bucket()
    rig.environment = rig.environment | object_store.environment
    rig.runtimed_flags = (
        "--artifact-store-driver=s3",
        f"--artifact-s3-bucket={bucket}",
        "--artifact-s3-prefix=team",
        f"--artifact-s3-endpoint={object_store.endpoint}",
        "--artifact-s3-force-path-style=true",
        "--artifact-s3-credentials-secret-name=s3-credentials",
    )
    cluster = await Cluster.open(rig)
    async with cluster.client:
        await cluster.create_pod()
        rig.start_runtimed()
        yield cluster, bucket


async def test_artifacts_go_to_a_bucket(s3_rig: tuple[Cluster, str], object_store: ObjectStore, api: ApiServer) -> None:
    cluster, bucket = s3_rig
    run = await cluster.wait(await cluster.script('echo hi > "$KRUNTIME_ARTIFACTS_DIR/a.txt"'))
    assert (run.phase, run.status.message) == ("Succeeded", "execution completed")
    [ref] = run.status.artifact_refs
    assert ref.location.s3 is not None
    assert ref.location.s3.key == f"team/namespaces/default/runs/{run.uid}/a.txt"
    assert object_store.keys(bucket) == [ref.location.s3.key]
    assert run.status.artifact_store is not None
    assert run.status.artifact_store["s3"]["credentialsSecretName"] == "s3-credentials"
    assert "secret-canary" not in cluster.rig.log_text()

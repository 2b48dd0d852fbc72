"""Artifacts through real processes: a Run leaves files, its status names them, and they are in the store."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from k8s.api.names import ARTIFACT_CLEANUP_FINALIZER, KEEP_LOG_ANNOTATION
from k8s.api.run import Run
from tests.cluster.object_store import SECRET_KEY, ObjectStore
from tests.fault import s3_faults
from tests.fault.s3_faults import Rule, S3Faults, faulty
from tests.runtimed.rig import Cluster, Rig

pytestmark = pytest.mark.slow
PATIENCE_SECONDS = 2
MAX_LOG_BYTES = 64 << 10
KEEP_LOG = {KEEP_LOG_ANNOTATION: "true"}


@pytest.fixture
def store_root(rig: Rig) -> Path:
    """Told to runtimed before it starts."""
    root = rig.folder / "store"
    root.mkdir()
    rig.runtimed_flags = (
        "--artifact-store-driver=filesystem",
        f"--artifact-store-root={root}",
        "--artifact-volume-claim=artifacts",
        "--max-artifact-bytes=200000",
        f"--max-log-bytes={MAX_LOG_BYTES}",
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
    text = 'cd "$KRUNTIME_ARTIFACTS_DIR"; echo fine > a; head -c 200001 /dev/zero > big'
    run = await keeping.wait(await keeping.script(text, retryPolicy={"maxAttempts": 3, "backoff": "1s"}))
    assert (run.phase, run.status.attempt, run.status.exit_code, run.status.artifact_refs) == ("Failed", 1, 0, [])
    assert run.status.conditions[-1].reason == "ArtifactInvalid"
    assert "artifact 'big': 200001 bytes, over what is left of the limit" in run.status.message
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


# -- the log among them -----------------------------------------------------------------------------------------------


async def run_keeping_its_log(cluster: Cluster, text: str, **spec: Any) -> Run:
    return await cluster.bind(await cluster.create("run", annotations=KEEP_LOG, source={"inline": text}, **spec))


def bytes_of(run: Run, root: Path) -> dict[str, bytes]:
    """What is stored, by name."""
    paths = {ref.name: ref.location.filesystem.path for ref in run.status.artifact_refs if ref.location.filesystem}
    return {name: (root / path).read_bytes() for name, path in paths.items()}


async def test_what_a_run_writes_is_kept_byte_for_byte_where_it_asks_for_that(keeping: Cluster, store_root: Path) -> None:
    text = r"""echo fine > "$KRUNTIME_ARTIFACTS_DIR/report.txt"; printf 'one\n\n\xfftwo'; printf 'oh\r\n' >&2"""
    run = await keeping.wait(await run_keeping_its_log(keeping, text))
    assert (run.phase, run.status.message) == ("Succeeded", "execution completed")
    assert bytes_of(run, store_root) == {"report.txt": b"fine\n", "stderr.log": b"oh\r\n", "stdout.log": b"one\n\n\xfftwo"}
    await keeping.wait_until(lambda: not keeping.rig.left_of(run))


async def test_output_alone_makes_an_artifact_and_a_silent_run_has_none(keeping: Cluster, store_root: Path) -> None:
    spoke, silent = await run_keeping_its_log(keeping, "echo hello"), await run_keeping_its_log(keeping, "true")
    assert bytes_of(await keeping.wait(spoke), store_root) == {"stdout.log": b"hello\n"}
    run = await keeping.wait(silent)
    assert (run.phase, run.metadata.finalizers, run.status.artifact_store, run.status.artifact_refs) == ("Succeeded", [], None, [])


async def test_a_run_that_does_not_ask_for_its_log_has_it_nowhere_but_in_ours(keeping: Cluster, store_root: Path) -> None:
    run = await keeping.wait(await keeping.script("echo hello"))
    assert (run.phase, run.metadata.finalizers, run.status.artifact_refs) == ("Succeeded", [], [])
    assert stored(store_root) == []
    assert list(keeping.rig.state_dir.glob("*.log")) == []


@pytest.mark.parametrize(
    ("end", "spec", "told"),
    [("exit 3", {}, ("Failed", "RuntimeError", 3)), ("sleep 60", {"timeout": "1s"}, ("Timeout", "Timeout", None))],
)
async def test_of_a_run_that_did_not_succeed_the_log_alone_is_kept(
    keeping: Cluster, store_root: Path, end: str, spec: dict[str, Any], told: tuple[str, str, int | None]
) -> None:
    text = f'touch "$KRUNTIME_ARTIFACTS_DIR/report"; echo "n=1" >> "$KRUNTIME_OUTPUTS"; echo hello; {end}'
    run = await keeping.wait(await run_keeping_its_log(keeping, text, **spec))
    assert (run.phase, run.status.conditions[-1].reason) == told[:2]
    assert told[2] in {None, run.status.exit_code}
    assert run.status.outputs == {"n": "1"}
    assert bytes_of(run, store_root) == {"stdout.log": b"hello\n"}
    assert stored(store_root) == ["stdout.log"]
    assert run.metadata.finalizers == [ARTIFACT_CLEANUP_FINALIZER]
    await keeping.wait_until(lambda: not keeping.rig.left_of(run))


async def test_a_store_that_is_away_changes_nothing_of_how_a_run_failed(keeping: Cluster, store_root: Path) -> None:
    await asyncio.to_thread(_break, store_root)
    run = await keeping.wait(await run_keeping_its_log(keeping, "echo hello; exit 3"))
    assert (run.phase, run.status.conditions[-1].reason, run.status.exit_code) == ("Failed", "RuntimeError", 3)
    assert (run.status.message, run.status.artifact_refs) == ("exit status 3", [])
    assert "the log of a failed attempt is not kept" in keeping.rig.log_text()


async def test_a_run_that_was_cancelled_keeps_nothing(keeping: Cluster, store_root: Path) -> None:
    run = await run_keeping_its_log(keeping, "echo hello; sleep 60")
    await keeping.wait(run, lambda seen: seen.phase == "Running")
    await keeping.cancel(run)
    ended = await keeping.wait(run)
    assert (ended.phase, ended.status.artifact_refs, ended.metadata.finalizers, stored(store_root)) == ("Cancelled", [], [], [])


async def test_only_the_last_attempt_of_a_run_has_its_log_kept(keeping: Cluster, store_root: Path) -> None:
    text = "[ -e ../again ] && echo second && exit; touch ../again; echo first; exit 1"
    run = await keeping.wait(await run_keeping_its_log(keeping, text, retryPolicy={"maxAttempts": 2, "backoff": "1ms"}))
    assert (run.phase, bytes_of(run, store_root)) == ("Succeeded", {"stdout.log": b"second\n"})
    await keeping.wait_until(lambda: not keeping.rig.left_of(run))


async def test_the_names_of_the_log_are_taken_where_it_is_kept(keeping: Cluster, store_root: Path) -> None:
    text = 'echo hello; echo mine > "$KRUNTIME_ARTIFACTS_DIR/stdout.log"'
    refused = await keeping.wait(await run_keeping_its_log(keeping, text))
    assert (refused.phase, refused.status.conditions[-1].reason) == ("Failed", "ArtifactInvalid")
    why = f"the Run's log is to be kept under this name ({KEEP_LOG_ANNOTATION}); rename it"
    assert refused.status.message == f"artifact 'stdout.log': {why}"
    assert stored(store_root) == []
    run = await keeping.wait(await keeping.script(text))
    assert bytes_of(run, store_root) == {"stdout.log": b"mine\n"}


async def test_a_log_is_bounded_and_its_end_is_there(keeping: Cluster, store_root: Path) -> None:
    run = await keeping.wait(await run_keeping_its_log(keeping, "seq 100000"))
    assert run.phase == "Succeeded", run.status.message
    kept = bytes_of(run, store_root)["stdout.log"]
    head, tail = kept.split(b"\n[output truncated]\n")
    assert (len(head), head[:4], tail[-7:]) == (MAX_LOG_BYTES, b"1\n2\n", b"100000\n")
    assert len(tail) <= 64 << 10


async def test_a_log_is_whole_though_runtimed_was_killed_in_the_middle_of_it(keeping: Cluster, store_root: Path) -> None:
    text = "for n in 1 2 3; do seq 1000; printf partial; while [ ! -e ../go-on$n ]; do sleep 0.02; done; echo; done"
    run = await run_keeping_its_log(keeping, text)
    files = keeping.rig.state_dir
    for number in (1, 2):
        expected = number * len("".join(f"{line}\n" for line in range(1, 1001))) + number * len("partial\n") - 1
        await keeping.wait_until(lambda size=expected: [path.stat().st_size for path in files.glob("*.log")] == [size])  # type: ignore[misc]
        keeping.rig.kill_runtimed()
        keeping.rig.start_runtimed()
        (keeping.rig.workspace / f"go-on{number}").touch()
    (keeping.rig.workspace / "go-on3").touch()
    ended = await keeping.wait(run)
    part = b"".join(b"%d\n" % line for line in range(1, 1001)) + b"partial\n"
    assert (ended.phase, bytes_of(ended, store_root)) == ("Succeeded", {"stdout.log": 3 * part})


# -- in a bucket ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def faults(object_store: ObjectStore) -> AsyncIterator[S3Faults]:
    async with faulty(object_store.endpoint) as faults:
        yield faults


@pytest.fixture
async def keeping_in_bucket(rig: Rig, object_store: ObjectStore, bucket: str, faults: S3Faults) -> AsyncIterator[Cluster]:
    """A Pod whose Runtime has a bucket."""
    rig.environment = rig.environment | object_store.environment
    rig.runtimed_flags = (
        "--artifact-store-driver=s3",
        f"--artifact-s3-bucket={bucket}",
        "--artifact-s3-prefix=team",
        f"--artifact-s3-endpoint={faults.endpoint}",
        "--artifact-s3-force-path-style=true",
        "--artifact-s3-credentials-secret-name=s3-credentials",
        "--artifact-s3-upload-part-size=5242880",
        f"--artifact-store-patience={PATIENCE_SECONDS}",
    )
    cluster = await Cluster.open(rig)
    async with cluster.client:
        await cluster.create_pod()
        rig.start_runtimed()
        yield cluster


async def test_artifacts_go_to_a_bucket(keeping_in_bucket: Cluster, object_store: ObjectStore, bucket: str) -> None:
    cluster = keeping_in_bucket
    run = await cluster.wait(await cluster.script('echo hi > "$KRUNTIME_ARTIFACTS_DIR/a.txt"'))
    assert (run.phase, run.status.message) == ("Succeeded", "execution completed")
    [ref] = run.status.artifact_refs
    assert ref.location.s3 is not None
    assert ref.location.s3.key == f"team/namespaces/default/runs/{run.uid}/a.txt"
    assert object_store.keys(bucket) == [ref.location.s3.key]
    assert run.status.artifact_store is not None
    assert run.status.artifact_store["s3"]["credentialsSecretName"] == "s3-credentials"
    assert SECRET_KEY not in cluster.rig.log_text()


async def test_credentials_that_expire_during_an_upload_end_the_run_with_a_reason_and_nothing_incomplete_stays(
    keeping_in_bucket: Cluster, object_store: ObjectStore, bucket: str, faults: S3Faults
) -> None:
    faults.rules = [Rule(s3_faults.EXPIRED, lambda request: "PUT part" in faults.seen[:-1])]  # from the second part on
    run = await keeping_in_bucket.wait(await keeping_in_bucket.script('head -c 12000000 /dev/urandom > "$KRUNTIME_ARTIFACTS_DIR/big"'))
    assert (run.phase, run.status.conditions[-1].reason, run.status.artifact_refs) == ("Failed", "RuntimeError", [])
    given_up = f"artifact store: given up after {PATIENCE_SECONDS} s without progress: "
    assert run.status.message.startswith(given_up)
    assert "ExpiredToken: its credentials have expired; renew them in the Secret" in run.status.message
    assert await asyncio.to_thread(object_store.unfinished, bucket) != []
    faults.rules = []  # renewed: what was begun is removed, without anybody's doing
    while await asyncio.to_thread(object_store.unfinished, bucket):  # noqa: ASYNC110 - another process's doing
        await asyncio.sleep(0.1)
    assert await asyncio.to_thread(object_store.keys, bucket) == []
    assert SECRET_KEY not in keeping_in_bucket.rig.log_text()

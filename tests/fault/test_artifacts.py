"""Rows 36, 37 and 51: what hostile user code and a failing store do to artifacts."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from k8s.api.run import ArtifactRef
from runtimed.artifacts.errors import ArtifactMissing, ArtifactRefused, StoreUnavailable
from runtimed.artifacts.filesystem import FilesystemStore
from runtimed.artifacts.s3 import S3ArtifactStore
from runtimed.artifacts.uploading import UploadGivenUp, Uploads
from tests.cluster.object_store import ObjectStore
from tests.fault import s3_faults
from tests.fault.s3_faults import Rule, S3Faults, faulty, is_kind
from tests.runtimed.artifacts.fixtures import OWNER, UID
from tests.runtimed.artifacts.jobs import job_of, uploads

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(300)]
SEED = 36
SWAPS = 10_000
SECRET = b"root:x:0:0:canary"


def keep(store: FilesystemStore, workspace: Path) -> list[ArtifactRef]:
    job = job_of(store, workspace, is_fresh=False)
    try:
        return job.run()
    except BaseException:
        job.abort(is_ours=True)
        raise


# -- row 36 -----------------------------------------------------------------------------------------------------------


def test_row_36_no_name_leads_out_of_the_workspace_or_the_store(filesystem: FilesystemStore, workspace: Path, staging: Path) -> None:
    """Whatever bytes a name has: it is kept under exactly that name, or refused; nothing else is touched."""
    chance = random.Random(SEED)
    outside = workspace.parent / "outside"
    outside.write_bytes(SECRET)
    pieces = [b"..", b".", b"\\", b"\n", b"\xff", "é".encode(), b"%2e%2e", b" ", b"-", b"~", b"$(x)", b"a" * 50, "\u202e".encode(), b"\x01"]
    for _ in range(300):
        name = b"".join(chance.choices(pieces, k=chance.randint(1, 5)))[:255]
        if name in {b".", b".."}:
            continue
        path = os.fsdecode(bytes(staging) + b"/" + name)
        Path(path).write_bytes(b"data")
        try:
            [ref] = keep(filesystem, workspace)
        except ArtifactRefused:
            pass
        else:
            assert ref.name.encode() == name
            assert (Path(filesystem.root) / f"namespaces/team-a/runs/{UID}" / ref.name).read_bytes() == b"data"
        Path(path).unlink()
    assert outside.read_bytes() == SECRET
    assert sorted(path.name for path in workspace.parent.iterdir()) == ["outside", "store", "workspace"]


# -- row 37 -----------------------------------------------------------------------------------------------------------


def test_row_37_ten_thousand_symlink_swaps_never_show_what_is_outside(
    filesystem: FilesystemStore, workspace: Path, staging: Path, tmp_path: Path
) -> None:
    """An attacker swaps files, folders and the staging directory itself for links while they are read."""
    secrets = tmp_path / "secrets"
    (secrets / "x").mkdir(parents=True)
    for name in ("file", "x/file"):
        (secrets / name).write_bytes(SECRET)
    attacker = Attacker(staging, secrets)
    kept = refused = 0
    with attacker:
        while attacker.swaps < SWAPS or kept < 20 or refused < 20:
            try:
                refs = keep(filesystem, workspace)
            except ArtifactRefused:
                refused += 1
                continue
            kept += 1
            for ref in refs:
                with filesystem.read(ref, offset=0) as data:
                    assert SECRET not in _unpacked(b"".join(data))
    assert (secrets / "file").read_bytes() == SECRET
    assert (secrets / "x" / "file").read_bytes() == SECRET


class Attacker:
    """Swaps as fast as it can, in a thread of its own, for as long as the block lasts."""

    def __init__(self, staging: Path, secrets: Path) -> None:
        self._staging, self._secrets = staging, secrets
        self._chance = random.Random(SEED)
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._attack)
        self.swaps = 0

    def __enter__(self) -> None:
        self._restore()
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def _restore(self) -> None:
        folder = self._staging / "folder"
        (folder / "x").mkdir(parents=True, exist_ok=True)
        for path in (self._staging / "file", folder / "file", folder / "x" / "file"):
            path.write_bytes(b"harmless")

    def _attack(self) -> None:
        places = [
            (self._staging / "file", self._secrets / "file"),
            (self._staging / "folder" / "file", self._secrets / "file"),
            (self._staging / "folder" / "x", self._secrets / "x"),
            (self._staging / "folder" / "x" / "file", self._secrets / "x" / "file"),
            (self._staging / "folder", self._secrets),
            (self._staging, self._secrets),
        ]
        aside = self._staging.parent / "aside"
        while not self._ends.is_set():
            path, secret = self._chance.choice(places)
            os.rename(path, aside)
            path.symlink_to(secret)
            self.swaps += 1
            if self._chance.random() < 0.5:
                time.sleep(0)  # the other thread's turn, in the middle of it
            path.unlink()
            os.rename(aside, path)
            time.sleep(self._chance.random() * 0.0004)


def _unpacked(data: bytes) -> bytes:
    import gzip

    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


# -- row 51 -----------------------------------------------------------------------------------------------------------


PART = 5 << 20
FAULTS: dict[str, list[Rule]] = {
    "slow": [Rule(s3_faults.SLOWLY)],
    "503 for a while": [Rule(s3_faults.UNAVAILABLE, count=7)],
    "a part is cut in the middle": [Rule(s3_faults.CUT_REQUEST, is_kind("part"), count=4)],
    "the small object is cut in the middle": [Rule(s3_faults.CUT_REQUEST, is_kind("object", "PUT"), count=4)],
    "the answer of the last request is lost": [Rule(s3_faults.LOST_ANSWER, is_kind("upload", "POST"), count=4)],
    "a wrong ETag of a part": [Rule(s3_faults.WRONG_ETAG, is_kind("part"), count=2)],
    "a wrong ETag of an object": [Rule(s3_faults.WRONG_ETAG, is_kind("object", "PUT"), count=2)],
    "credentials expired and renewed": [Rule(s3_faults.EXPIRED, count=3)],
}


def make_artifacts(staging: Path) -> dict[str, bytes]:
    data = {"big": os.urandom(1 << 20) * 12 + b"end", "small": b"small"}
    for name, content in data.items():
        (staging / name).write_bytes(content)
    return data


Through = Callable[..., Uploads]


@pytest.fixture
def through(object_store: ObjectStore, bucket: str, workspace: Path, pool: ThreadPoolExecutor) -> Through:
    """Uploads to the bucket, or to another, with the faults between."""

    def make(faults: S3Faults, *, patience_seconds: float = 20.0, bucket: str = bucket) -> Uploads:
        store = S3ArtifactStore(object_store.spec(bucket, endpoint=faults.endpoint, upload_part_size=PART))
        return uploads(store, workspace, pool, patience_seconds=patience_seconds)

    return make


@pytest.mark.parametrize("fault", FAULTS)
async def test_row_51_an_upload_survives_what_passes_and_leaves_nothing_incomplete(
    object_store: ObjectStore, bucket: str, staging: Path, through: Through, fault: str
) -> None:
    data = make_artifacts(staging)
    async with faulty(object_store.endpoint) as faults:
        faults.rules = [Rule(rule.fault, rule.matches, rule.count) for rule in FAULTS[fault]]
        run = through(faults).begin(OWNER, may_have_leftovers=False)
        refs = await run.run()
        if fault != "slow":
            assert all(rule.count == 0 for rule in faults.rules), f"never happened; seen: {faults.seen}"
        faults.rules = []
    client = object_store.client()
    for ref in refs:
        assert ref.location.s3 is not None
        stored = await asyncio.to_thread(client.get_object, Bucket=bucket, Key=ref.location.s3.key)
        body = await asyncio.to_thread(stored["Body"].read)
        assert body == data[ref.name]
        assert ref.digest == f"sha256:{hashlib.sha256(body).hexdigest()}"
    await run.clean_up()
    assert await asyncio.to_thread(object_store.unfinished, bucket) == []


@pytest.mark.parametrize("fault", [s3_faults.UNAVAILABLE, s3_faults.EXPIRED, s3_faults.WRONG_ETAG])
async def test_row_51_what_does_not_pass_is_given_up_with_a_reason_and_all_of_it_removed(
    object_store: ObjectStore, bucket: str, staging: Path, through: Through, fault: str
) -> None:
    make_artifacts(staging)
    (staging / "a").write_bytes(b"arrives")
    async with faulty(object_store.endpoint) as faults:
        faults.rules = [Rule(fault, lambda request: request.method in {"PUT", "POST"} and not request.path.endswith("/a"))]
        run = through(faults, patience_seconds=3.0).begin(OWNER, may_have_leftovers=False)
        with pytest.raises(UploadGivenUp, match=r"^artifact store: given up after 3 s without progress: \w+: ") as caught:
            await run.run()
        faults.rules = []
        await run.clean_up()
    assert "canary" not in str(caught.value)
    assert await asyncio.to_thread(object_store.keys, bucket) == []
    assert await asyncio.to_thread(object_store.unfinished, bucket) == []


async def test_row_51_a_bucket_that_is_gone_is_named_in_the_reason(object_store: ObjectStore, staging: Path, through: Through) -> None:
    make_artifacts(staging)
    async with faulty(object_store.endpoint) as faults:
        run = through(faults, patience_seconds=1.0, bucket="no-such-bucket").begin(OWNER, may_have_leftovers=False)
        with pytest.raises(UploadGivenUp, match="NoSuchBucket"):
            await run.run()


async def test_row_51_a_store_that_hangs_costs_no_more_than_the_patience(
    object_store: ObjectStore, bucket: str, staging: Path, through: Through, pool: ThreadPoolExecutor
) -> None:
    make_artifacts(staging)
    async with faulty(object_store.endpoint) as faults:
        hangs = Rule(s3_faults.HANGING, is_kind("part"), count=1)
        faults.rules = [hangs]
        run = through(faults, patience_seconds=2.0).begin(OWNER, may_have_leftovers=False)
        began = time.monotonic()
        with pytest.raises(UploadGivenUp, match="it does not answer"):
            await run.run()
        assert time.monotonic() - began < 12.0
        assert hangs.count == 0
    # Its connections are broken by now: the thread that was left behind ends, and what it holds goes with it.
    await asyncio.to_thread(pool.shutdown)
    await run.clean_up()
    assert await asyncio.to_thread(object_store.unfinished, bucket) == []


async def test_row_51_what_a_killed_process_left_is_removed_by_the_next_attempt_and_by_the_deletion(
    object_store: ObjectStore, bucket: str, staging: Path, through: Through
) -> None:
    client = object_store.client()
    prefix = f"namespaces/team-a/runs/{UID}/"

    def leave_something() -> None:
        client.create_multipart_upload(Bucket=bucket, Key=f"{prefix}big")
        client.put_object(Bucket=bucket, Key=f"{prefix}stale", Body=b"x")

    await asyncio.to_thread(leave_something)
    make_artifacts(staging)
    async with faulty(object_store.endpoint) as faults:
        shared = through(faults)
        await shared.begin(OWNER, may_have_leftovers=True).run()
        assert await asyncio.to_thread(object_store.keys, bucket) == [f"{prefix}big", f"{prefix}small"]
        assert await asyncio.to_thread(object_store.unfinished, bucket) == []
        await asyncio.to_thread(leave_something)
        faults.rules = [Rule(s3_faults.UNAVAILABLE, count=4)]
        for _ in range(3):
            with suppress(StoreUnavailable, ArtifactMissing):
                await asyncio.to_thread(shared.store.delete_run, namespace="team-a", run_uid=UID)
    assert await asyncio.to_thread(object_store.keys, bucket) == []
    assert await asyncio.to_thread(object_store.unfinished, bucket) == []

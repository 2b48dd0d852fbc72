"""How long a store is waited for, what is tried again, and that nothing incomplete stays behind."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from k8s.api.run import ArtifactLocation, ArtifactRef
from runtimed.artifacts.errors import ArtifactRefused, StoreUnavailable, UploadStopped
from runtimed.artifacts.filesystem import FilesystemStore
from runtimed.artifacts.guard import Guard
from runtimed.artifacts.layout import Owner
from runtimed.artifacts.source import Source, Stored
from runtimed.artifacts.stores import Upload
from runtimed.artifacts.uploading import UploadGivenUp
from tests.runtimed.artifacts.fixtures import OWNER
from tests.runtimed.artifacts.jobs import uploads


class MoodyStore:
    """A filesystem store that fails as told. What it does otherwise, the real one does."""

    driver = "filesystem"

    def __init__(self, real: FilesystemStore) -> None:
        self.real = real
        self.failures: list[str] = []
        """What the next puts do: `fail`, or `hang` until `released`."""
        self.puts: list[str] = []
        self.released = threading.Event()
        self.is_hanging = threading.Event()

    def begin(self, owner: Owner, *, may_have_leftovers: bool) -> Upload:
        return MoodyUpload(self, self.real.begin(owner, may_have_leftovers=may_have_leftovers))

    def locate(self, owner: Owner, name: str) -> ArtifactLocation:
        return self.real.locate(owner, name)

    def read(self, ref: ArtifactRef, *, offset: int) -> Any:
        return self.real.read(ref, offset=offset)

    def delete_run(self, *, namespace: str, run_uid: str) -> None:
        self.real.delete_run(namespace=namespace, run_uid=run_uid)


class MoodyUpload:
    def __init__(self, store: MoodyStore, real: Upload) -> None:
        self._store, self._real = store, real

    def put(self, source: Source, *, guard: Guard, taken_before: int) -> Stored:
        self._store.puts.append(source.name)
        failure = self._store.failures.pop(0) if self._store.failures else ""
        if failure == "fail":
            raise StoreUnavailable("artifact store: write: Input/output error")
        if failure == "hang":
            self._store.is_hanging.set()
            self._store.released.wait()
        return self._real.put(source, guard=guard, taken_before=taken_before)

    def publish(self) -> None:
        self._real.publish()

    def abort(self, *, is_ours: bool) -> None:
        self._real.abort(is_ours=is_ours)


@pytest.fixture
def moody(filesystem: FilesystemStore) -> Iterator[MoodyStore]:
    store = MoodyStore(filesystem)
    yield store
    store.released.set()


@pytest.fixture
def pool(moody: MoodyStore) -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(16)
    yield pool
    moody.released.set()
    pool.shutdown()


def files(store: MoodyStore) -> list[str]:
    return sorted(path.name for path in Path(store.real.root).rglob("*") if path.is_file())


async def test_a_failure_is_tried_again_from_where_it_was(
    moody: MoodyStore, workspace: Path, staging: Path, pool: ThreadPoolExecutor
) -> None:
    for name in ("a", "b"):
        (staging / name).write_bytes(name.encode())
    moody.failures = ["", "fail"]
    refs = await uploads(moody, workspace, pool).begin(OWNER, may_have_leftovers=False).run()
    assert [ref.name for ref in refs] == ["a", "b"]
    assert moody.puts == ["a", "b", "b"]
    assert files(moody) == ["a", "b"]


async def test_it_is_given_up_when_the_store_takes_nothing_for_too_long(
    moody: MoodyStore, workspace: Path, staging: Path, pool: ThreadPoolExecutor
) -> None:
    (staging / "a").touch()
    moody.failures = ["fail"] * 1000
    with pytest.raises(UploadGivenUp, match=r"^artifact store: given up after 0.05 s without progress: write: Input/output error$"):
        await uploads(moody, workspace, pool, patience_seconds=0.05).begin(OWNER, may_have_leftovers=False).run()


async def test_a_store_that_hangs_holds_nobody_longer_than_the_patience(
    moody: MoodyStore, workspace: Path, staging: Path, pool: ThreadPoolExecutor
) -> None:
    for name in ("a", "b"):
        (staging / name).write_bytes(b"x")
    moody.failures = ["", "hang"]
    upload = uploads(moody, workspace, pool, patience_seconds=0.05).begin(OWNER, may_have_leftovers=False)
    with pytest.raises(UploadGivenUp, match="it does not answer"):
        await upload.run()
    assert files(moody) == []
    moody.released.set()  # the thread that was left behind comes back, and stores nothing any more
    pool.shutdown()
    assert files(moody) == []


async def test_progress_is_what_patience_is_counted_from(workspace: Path, staging: Path) -> None:
    now = [0.0]
    guard = Guard(lambda: now[0])
    for taken, at, expected in ((10, 1.0, 1.0), (10, 2.0, 1.0), (5, 3.0, 1.0), (11, 4.0, 4.0)):
        now[0] = at
        guard.note(taken)
        assert guard.last_progress == expected


async def test_a_stop_ends_it_at_once_even_while_the_store_hangs(
    moody: MoodyStore, workspace: Path, staging: Path, pool: ThreadPoolExecutor
) -> None:
    (staging / "a").write_bytes(b"x")
    moody.failures = ["hang"]
    upload = uploads(moody, workspace, pool).begin(OWNER, may_have_leftovers=False)
    running = asyncio.create_task(upload.run())
    await asyncio.to_thread(moody.is_hanging.wait)
    upload.stop(removes_all=True)
    with pytest.raises(UploadStopped):
        await running
    assert files(moody) == []


async def test_a_stop_ends_a_pause_between_two_tries(moody: MoodyStore, workspace: Path, staging: Path, pool: ThreadPoolExecutor) -> None:
    (staging / "a").touch()
    moody.failures = ["fail"] * 1000
    upload = uploads(moody, workspace, pool).begin(OWNER, may_have_leftovers=False)
    running = asyncio.create_task(upload.run())
    while not moody.puts:  # noqa: ASYNC110 - another thread's doing
        await asyncio.sleep(0)
    upload.stop(removes_all=False)
    with pytest.raises(UploadStopped):
        await running
    assert moody.puts == ["a"]


async def test_what_is_refused_is_not_tried_again(moody: MoodyStore, workspace: Path, staging: Path, pool: ThreadPoolExecutor) -> None:
    (staging / "a").touch()
    os.mkfifo(staging / "b")
    with pytest.raises(ArtifactRefused):
        await uploads(moody, workspace, pool).begin(OWNER, may_have_leftovers=False).run()
    assert moody.puts == ["a"]
    assert files(moody) == []


async def test_uploads_that_hang_leave_turns_for_others(
    moody: MoodyStore, filesystem: FilesystemStore, workspace: Path, staging: Path, pool: ThreadPoolExecutor
) -> None:
    (staging / "a").write_bytes(b"x")
    moody.failures = ["hang"] * 6
    shared = uploads(moody, workspace, pool, patience_seconds=0.05)
    owners = [Owner("team-a", OWNER.run_uid, f"run-{number}", "bash", number) for number in range(6)]
    ended = await asyncio.gather(*(shared.begin(owner, may_have_leftovers=False).run() for owner in owners), return_exceptions=True)
    assert [type(end) for end in ended] == [UploadGivenUp] * 6
    assert await shared.begin(OWNER, may_have_leftovers=False).run()

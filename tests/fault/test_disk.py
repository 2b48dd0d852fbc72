"""Row 26: the disk is full. What needs it fails with a reason or waits, the rest goes on, and with room again everything does."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from controlplane.local.node.host import folders_of, memory_root_of
from k8s.client import RUNS, ServerError
from runtimed.artifacts.filesystem import FilesystemStore
from runtimed.artifacts.job import Limits
from runtimed.artifacts.layout import Owner
from runtimed.artifacts.uploading import UploadGivenUp, Uploads
from tests.cluster.embedded import EmbeddedApiServer
from tests.fault import processes
from tests.fault.disks import SmallDisk
from tests.fault.history import Made
from tests.fault.krt import ENVIRONMENT
from tests.fault.platform import NAMESPACE, Platform, Size
from tests.fault.row import Row, completed

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(120)]

NO_SPACE = "No space left on device"
CLAIM = "artifacts"
PATIENT = {"maxAttempts": 100, "backoff": "200ms"}
KEEP = 'head -c {} /dev/zero > "$KRUNTIME_ARTIFACTS_DIR/data"'


class DiskPlatform(Platform):
    """One whose API server, state folders and artifact volume are disks of their own. Start it inside `with`."""

    def __init__(self) -> None:
        super().__init__(size=Size(bash_pods=2, bash_slots=32, python_pods=0), artifact_claim=CLAIM)
        memory = memory_root_of(self.node_root)
        assert memory is not None
        self.api_disk = SmallDisk(self.folder / "api", size_kib=192 << 10)
        self.state_disk = SmallDisk(memory, size_kib=1 << 10)
        self.artifact_disk = SmallDisk(self.node_root / "claims" / NAMESPACE / CLAIM, size_kib=4 << 10)

    @property
    def disks(self) -> tuple[SmallDisk, ...]:
        return self.api_disk, self.state_disk, self.artifact_disk


@pytest.fixture(scope="module")
def shared() -> Iterator[list[DiskPlatform]]:
    """At most one, so that rows can replace one that they have broken."""
    with ExitStack() as stack:
        started: list[DiskPlatform] = []
        yield started
        for platform in started:
            stack.callback(end, platform)


@pytest.fixture
def platform(shared: list[DiskPlatform]) -> DiskPlatform:
    if shared and shared[0].is_broken:
        end(shared.pop())
    if not shared:
        shared.append(DiskPlatform())
        for disk in shared[0].disks:
            disk.__enter__()
        shared[0].start()
    for disk in shared[0].disks:
        disk.free()
    return shared[0]


def end(platform: DiskPlatform) -> None:
    platform.system.stop()
    platform.api.stop()
    for disk in platform.disks:
        disk.__exit__(None, None, None)
    platform.stop()


async def test_row_26_a_full_api_server_refuses_writes_answers_reads_and_goes_on_with_room(platform: DiskPlatform) -> None:
    async with Row.of(platform, "26") as row:
        held, gate = await row.in_flight(32)
        platform.api_disk.fill()
        began_at = time.monotonic()
        with pytest.raises(ServerError, match="the disk of the API server is full, nothing was written; make room"):
            await create_until_refused(row)
        gate.open()
        await row.until(lambda: not platform.user_processes(), seconds=20, what="they have ended")
        await asyncio.sleep(max(0.0, began_at + 4 - time.monotonic()))  # longer than leaders hold on without their leases
        assert len((await row.client.list(RUNS, namespace=NAMESPACE)).items) >= len(held)
        assert not all(map(row.is_over, held)), "their results cannot be written yet"
        assert all(map(processes.is_alive, platform.api.processes.values())), "it was there all the time"
        platform.api_disk.free()
        platform.heal()  # leaders that stepped down are started again by whoever runs them
        assert {run.phase for run in await row.over(*held)} == {"Succeeded"}
        assert [run.phase for run in await row.over(await row.create())] == ["Succeeded"]


async def create_until_refused(row: Row) -> None:
    """The page that was begun takes a few more. (This is the first row on its platform: a log that was checkpointed has room inside.)"""
    for _ in range(200):
        await row.create()


async def test_row_26_a_full_workspace_fails_its_runs_with_a_reason_and_others_go_on(platform: DiskPlatform) -> None:
    """One Pod's; the Runs that are there run on, its new ones say what is wrong, and those of the other Pod notice nothing."""
    async with Row.of(platform, "26") as row:
        full = next(iter(platform.containers("runtimed")))
        with workspace_disk(platform, full) as disk:
            held, gate = await row.in_flight(16)
            disk.fill()
            runs = await row.over(*await row.burst(24))
            assert {run.status.assigned_pod_uid == full for run in runs} == {True, False}, "both Pods had some"
            for run in runs:
                if run.status.assigned_pod_uid == full:
                    assert completed(run) == ("Failed", "PrepareSource")
                    assert NO_SPACE in run.status.message
                else:
                    assert run.phase == "Succeeded"
            patient = await row.burst(8, retryPolicy=PATIENT)
            await row.until(lambda: any(attempts(row, made) > 1 for made in patient), seconds=10, what="one is tried again")
            gate.open()
            assert {run.phase for run in await row.over(*held)} == {"Succeeded"}
            disk.free()
            assert {run.phase for run in await row.over(*patient)} == {"Succeeded"}
            await row.until(lambda: not disk.names(), seconds=10, what=lambda: f"nothing is left on the disk: {disk.names()[:4]}")


def workspace_disk(platform: DiskPlatform, pod_uid: str) -> SmallDisk:
    """For the workspaces of one Pod, from now on. Before any Run of it, for it hides what is there."""
    return SmallDisk(folders_of(pod_uid, root=platform.node_root).workspace, size_kib=512)


async def test_row_26_a_run_that_fills_the_disk_fails_and_gives_the_room_back(platform: DiskPlatform) -> None:
    async with Row.of(platform, "26") as row:
        with ExitStack() as stack:
            disks = [stack.enter_context(workspace_disk(platform, pod)) for pod in platform.containers("runtimed")]
            [run] = await row.over(await row.create("cat /dev/zero > big; exit 9"))
            assert (completed(run), run.status.exit_code) == (("Failed", "RuntimeError"), 9)
            assert run.status.message == f"exit status 9; the disk of its workspace is full: {NO_SPACE}"
            await row.until(lambda: not any(disk.names() for disk in disks), seconds=10, what="its workspace is gone")
            assert {run.phase for run in await row.over(*await row.burst(8))} == {"Succeeded"}
            await row.until(lambda: not any(disk.names() for disk in disks), seconds=10, what="nothing is left on the disks")


async def test_row_26_a_full_state_folder_starts_nothing_and_loses_no_result(platform: DiskPlatform) -> None:
    """Without room for its marker no attempt starts; those that run end as they would, also through a crash of runtimed."""
    async with Row.of(platform, "26") as row:
        held, gate = await row.in_flight(16, then="exit 3")
        platform.state_disk.fill()
        for run in await row.over(*await row.burst(4)):
            assert completed(run) == ("Failed", "PrepareSource")
            assert run.status.message == f"prepare source: state folder: {NO_SPACE}"
        for pid in platform.containers("runtimed").values():
            processes.kill(pid)
        platform.state_disk.fill()
        gate.open()
        assert {(run.phase, run.status.exit_code) for run in await row.over(*held)} == {("Failed", 3)}
        # Records of those that ended go one by one, and each gives a page back.
        async with row.again_and_again(platform.state_disk.refill, pause_seconds=0.01):
            patient = await row.burst(8, retryPolicy=PATIENT)
            await row.until(lambda: any(attempts(row, made) > 1 for made in patient), seconds=10, what="one is tried again")
        platform.state_disk.free()
        assert {run.phase for run in await row.over(*patient)} == {"Succeeded"}


async def test_row_26_a_full_artifact_volume_keeps_its_runs_waiting_and_no_others(platform: DiskPlatform) -> None:
    async with Row.of(platform, "26") as row:
        disk = platform.artifact_disk
        disk.fill()
        waiting = await row.create(KEEP.format(100_000))
        await row.until(lambda: f"artifact store: write: {NO_SPACE}" in row.said.by_all(), seconds=10, what="the log says why")
        assert {run.phase for run in await row.over(*await row.burst(8))} == {"Succeeded"}
        assert not row.is_over(waiting)
        disk.free()
        [run] = await row.over(waiting)
        assert (run.phase, [ref.size_bytes for ref in run.status.artifact_refs]) == ("Succeeded", [100_000])
        assert not [name for name in disk.names() if ".partial" in name]


async def test_row_26_an_upload_is_given_up_with_the_reason_and_leaves_nothing(tmp_path: Path) -> None:
    owner = Owner("team-a", "11111111-2222-4333-8444-555555555555", "run", "bash", 0)
    staging = tmp_path / "workspace" / owner.run_uid / "artifacts"
    staging.mkdir(parents=True)
    (staging / "data").write_bytes(bytes(1 << 20))
    with SmallDisk(tmp_path / "store", size_kib=512) as disk, ThreadPoolExecutor(2) as pool:
        store = FilesystemStore(str(disk.path), volume_claim=CLAIM)
        uploads = Uploads(store, str(tmp_path / "workspace"), Limits(), 0.5, pool, time.monotonic, lambda: datetime.now(UTC))
        with pytest.raises(UploadGivenUp, match=f"^artifact store: given up after 0.5 s without progress: write: {NO_SPACE}$"):
            await uploads.begin(owner, may_have_leftovers=False).run()
        assert not [name for name in disk.names() if owner.run_uid in name]


def test_row_26_an_api_server_without_room_does_not_start_and_says_why_and_has_lost_nothing(tmp_path: Path) -> None:
    with SmallDisk(tmp_path / "api", size_kib=4 << 10) as disk:
        server = EmbeddedApiServer(folder=disk.path)
        server.start()
        server.stop()
        names = disk.names()
        disk.fill()
        command = [sys.executable, "-m", "controlplane.local.apiserver", f"--data-dir={disk.path}"]
        refused = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=20, check=False)
        assert (refused.returncode, refused.stderr.count("\n")) == (125, 1)
        assert refused.stderr.startswith("error: ")
        assert NO_SPACE in refused.stderr
        disk.free()
        server.start()
        server.stop()
        assert disk.names() == names


def attempts(row: Row, made: Made) -> int:
    run = row.run_of(made)
    return run.attempt_number if run is not None else 0

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path

import pytest

from runtimed.core.facts import Instant, Marker, Outcome, Workspace
from runtimed.hooks.state_dir import StateDir, StateDirError, read_node_boot_id
from tests.runtimed.world import EPOCH, UID

NOW = Instant(12.5, EPOCH)


def open_dir(path: Path, *, boot: str = "boot-1", memory: Path | None = None) -> StateDir:
    state = StateDir(path, node_boot_id=boot, pod_uid="a", memory=memory)
    state.open()
    return state


def marker(attempt: int = 0, *, boot: str = "server-1") -> Marker:
    return Marker(UID, attempt, "a", boot, "boot-1", NOW, EPOCH)


def test_what_is_written_is_loaded_by_the_successor(tmp_path: Path) -> None:
    state = open_dir(tmp_path / "state")
    outcome = Outcome(0, reason="Timeout", message="timeout after 1s", exit_code=143, received=EPOCH)
    workspace = Workspace(0, "/w", "script", sends_args=True, outputs_file="/w/outputs")
    state.make_marker(marker())
    state.write_record(UID, outcome)
    state.note_workspace(UID, workspace)
    remains = open_dir(tmp_path / "state").load()[UID]
    assert (remains.markers, remains.outcomes, remains.workspace) == ([marker()], [outcome], workspace)


def test_it_is_readable_by_nobody_else(tmp_path: Path) -> None:
    state = open_dir(tmp_path / "state")
    state.make_marker(marker())
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (state.path, *state.path.glob("*.marker"))]
    assert modes == [0o700, 0o600]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_volume_that_belongs_to_somebody_else_is_used_as_it_is(tmp_path: Path) -> None:
    """As the kubelet makes an emptyDir: root's, and writable for all. Whoever is not root may not change its mode."""
    volume = tmp_path / "state"
    volume.mkdir()
    volume.chmod(0o777)
    os.chown(volume, 65534, 65534)
    state = open_dir(volume)
    state.make_marker(marker())
    assert stat.S_IMODE(volume.stat().st_mode) == 0o777
    assert open_dir(volume).load()[UID].markers == [marker()]


def test_a_marker_is_made_once_and_the_first_stays(tmp_path: Path) -> None:
    state = open_dir(tmp_path)
    state.make_marker(marker())
    assert state.make_marker(marker(boot="server-2")) == marker()
    assert open_dir(tmp_path).load()[UID].markers == [marker()]


def test_an_attempt_is_a_marker_of_its_own(tmp_path: Path) -> None:
    state = open_dir(tmp_path)
    state.make_marker(marker(0))
    state.make_marker(marker(2))
    state.drop_marker(UID, 0)
    assert open_dir(tmp_path).load()[UID].markers == [marker(2)]


def test_after_a_boot_of_the_node_nothing_is_believed_and_everything_assigned_is_lost(tmp_path: Path) -> None:
    state = open_dir(tmp_path)
    state.make_marker(marker())
    state.write_record(UID, Outcome(0))
    rebooted = open_dir(tmp_path, boot="boot-2")
    assert rebooted.was_left_by_another_boot
    assert rebooted.load() == {}
    lost = rebooted.count_as_lost([(UID, 0), ("other", 2)], now=NOW)
    assert {found.node_boot_id for found in lost} == {"another boot"}
    again = open_dir(tmp_path, boot="boot-2")
    assert not again.was_left_by_another_boot
    assert set(again.load()) == {UID, "other"}


def test_a_crash_before_the_new_boot_is_noted_does_it_all_again(tmp_path: Path) -> None:
    open_dir(tmp_path)
    open_dir(tmp_path, boot="boot-2").load()
    assert open_dir(tmp_path, boot="boot-2").was_left_by_another_boot


def test_files_in_memory_are_loaded_by_the_successor_and_disk_holds_the_boot_alone(tmp_path: Path) -> None:
    memory = tmp_path / "memory"
    state = open_dir(tmp_path / "state", memory=memory)
    state.make_marker(marker())
    state.write_record(UID, Outcome(0))
    again = open_dir(tmp_path / "state", memory=memory)
    assert not again.was_left_by_another_boot
    assert again.load()[UID].markers == [marker()]
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["node-boot-id"]


@pytest.mark.parametrize("boot", ["boot-1", "boot-2"])
def test_memory_that_came_back_empty_means_that_everything_assigned_is_lost(tmp_path: Path, boot: str) -> None:
    """After a boot of the node it always does; whatever else empties it must not look like a fresh Pod either."""
    open_dir(tmp_path / "state", memory=tmp_path / "memory").make_marker(marker())
    shutil.rmtree(tmp_path / "memory")
    successor = open_dir(tmp_path / "state", boot=boot, memory=tmp_path / "memory")
    assert successor.was_left_by_another_boot
    successor.count_as_lost([(UID, 0)], now=NOW)
    assert not open_dir(tmp_path / "state", boot=boot, memory=tmp_path / "memory").was_left_by_another_boot


def test_a_crash_before_anything_is_noted_leaves_a_fresh_folder(tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "node-boot-id").write_text("boot-1")
    assert not open_dir(tmp_path / "state", memory=tmp_path / "memory").was_left_by_another_boot


def test_an_unreadable_marker_still_counts_as_one(tmp_path: Path) -> None:
    open_dir(tmp_path)
    (tmp_path / f"{UID}@2.marker").write_bytes(b"{")
    found = open_dir(tmp_path).load()[UID].markers
    assert [(one.attempt, one.node_boot_id) for one in found] == [(2, "unreadable")]


def test_what_was_half_written_is_cleared_away(tmp_path: Path) -> None:
    open_dir(tmp_path)
    (tmp_path / f"{UID}@0.record.tmp").write_bytes(b"{")
    open_dir(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["node-boot-id"]


def test_a_folder_that_cannot_be_made_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateDirError, match=r"--state-dir .*must be a folder that runtimed can write to"):
        open_dir(tmp_path / "file" / "state")


def test_progress_of_output_survives_and_goes_with_the_marker(tmp_path: Path) -> None:
    state = open_dir(tmp_path)
    state.make_marker(marker())
    assert state.read_printed(UID, 0) == (0, 0)
    state.note_printed(UID, 0, stdout=10, stderr=3)
    state.note_printed(UID, 0, stdout=20, stderr=3)
    successor = open_dir(tmp_path)
    successor.load()
    assert successor.read_printed(UID, 0) == (20, 3)
    successor.drop_marker(UID, 0)
    assert successor.read_printed(UID, 0) == (0, 0)


def test_a_uid_that_is_no_file_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no name of a file") as refused:
        open_dir(tmp_path).write_record("../x", Outcome(0))
    assert refused.value.errno == errno.EINVAL


def test_the_node_boot_id_is_the_kernels() -> None:
    assert len(read_node_boot_id()) == 36
    assert os.path.exists("/proc/sys/kernel/random/boot_id")

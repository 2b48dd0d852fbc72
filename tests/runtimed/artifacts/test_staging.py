"""What user code may leave in its staging directory, and what is refused by name, quickly, and without being read."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from runtimed.artifacts import archive
from runtimed.artifacts.errors import ArtifactRefused
from runtimed.artifacts.filesystem import FilesystemStore
from runtimed.artifacts.job import Limits
from runtimed.artifacts.staging import has_entries
from tests.runtimed.artifacts.fixtures import UID
from tests.runtimed.artifacts.jobs import job_of, read, upload


def refused(filesystem: FilesystemStore, workspace: Path, *, limits: Limits | None = None) -> str:
    """Why; and nothing is left of it."""
    job = job_of(filesystem, workspace, limits=limits)
    with pytest.raises(ArtifactRefused) as caught:
        job.run()
    job.abort(is_ours=True)
    assert not [path for path in Path(filesystem.root).rglob("*") if path.is_file()]
    return str(caught.value)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(path.parent)  # its whole path may be too long for a socket's name
        try:
            listener.bind(path.name)
        finally:
            os.chdir(here)


SPECIAL: dict[str, Callable[[Path], object]] = {
    "link": lambda path: path.symlink_to("/etc/passwd"),
    "dangling": lambda path: path.symlink_to("nowhere"),
    "fifo": lambda path: os.mkfifo(path),
    "socket": make_socket,
}


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("folder", ["", "folder", "folder/deep"])
def test_links_and_special_files_are_refused_at_any_depth(
    filesystem: FilesystemStore, workspace: Path, staging: Path, kind: str, folder: str
) -> None:
    (staging / folder).mkdir(parents=True, exist_ok=True)
    (staging / "fine").touch()
    SPECIAL[kind](staging / folder / "x")
    assert "a link or a special file; only regular files and directories can be kept" in refused(filesystem, workspace)


@pytest.mark.parametrize(
    ("name", "text"),
    [(b"\xff\xfe", "not valid UTF-8"), (b"a\\b", "must not be empty"), (b"n" * 255, ""), (b"a\nb", ""), (b".hidden", ""), (b"...", "")],
)
def test_names(filesystem: FilesystemStore, workspace: Path, staging: Path, name: bytes, text: str) -> None:
    Path(os.fsdecode(bytes(staging) + b"/" + name)).write_bytes(b"x")
    if text:
        assert text in refused(filesystem, workspace)
    else:
        assert read(filesystem, upload(filesystem, workspace)[name.decode()]) == b"x"


def test_more_than_32_are_refused(filesystem: FilesystemStore, workspace: Path, staging: Path) -> None:
    for number in range(32):
        (staging / f"{number:02}").touch()
    assert len(upload(filesystem, workspace)) == 32
    (staging / "one more").touch()
    with pytest.raises(ArtifactRefused, match="more than 32 artifacts"):
        upload(filesystem, workspace)


def test_a_sparse_terabyte_is_refused_unread(filesystem: FilesystemStore, workspace: Path, staging: Path) -> None:
    (staging / "folder").mkdir()
    for name in ("huge", "folder/huge"):
        with (staging / name).open("wb") as file:
            file.truncate(1 << 40)
        assert "limit" in refused(filesystem, workspace)
        (staging / name).unlink()


def test_the_limit_holds_for_the_bytes_of_a_folder_before_it_is_packed(filesystem: FilesystemStore, workspace: Path, staging: Path) -> None:
    (staging / "folder").mkdir()
    (staging / "folder" / "zeros").write_bytes(bytes(2000))
    assert "the directory is larger than the limit" in refused(filesystem, workspace, limits=Limits(per_artifact=1999, per_run=5000))
    assert upload(filesystem, workspace, limits=Limits(per_artifact=2000, per_run=5000))


def test_a_folder_too_deep_is_refused_without_running_out_of_descriptors(
    filesystem: FilesystemStore, workspace: Path, staging: Path
) -> None:
    deep = staging
    for _ in range(archive.MAX_DEPTH + 2):
        deep = deep / "d"
    deep.mkdir(parents=True)
    assert "64 folders deep" in refused(filesystem, workspace)


@pytest.mark.parametrize("replacement", ["link", "file", "nothing"])
def test_a_staging_directory_that_was_replaced_is_refused(
    filesystem: FilesystemStore, workspace: Path, staging: Path, replacement: str
) -> None:
    elsewhere = workspace.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "secret").write_bytes(b"x")
    staging.rmdir()
    if replacement == "link":
        staging.symlink_to(elsewhere)
    elif replacement == "file":
        staging.touch()
    assert "$KRUNTIME_ARTIFACTS_DIR" in refused(filesystem, workspace)
    assert has_entries(str(workspace), UID) == (replacement != "nothing")


def test_a_run_folder_that_is_a_link_is_not_followed(filesystem: FilesystemStore, workspace: Path, staging: Path) -> None:
    (staging / "secret").write_bytes(b"x")
    (workspace / UID).rename(workspace / "other")
    (workspace / UID).symlink_to(workspace / "other")
    assert "$KRUNTIME_ARTIFACTS_DIR" in refused(filesystem, workspace)


def test_an_empty_staging_directory_is_seen_and_removed_in_one_step(workspace: Path, staging: Path) -> None:
    (staging / "x").touch()
    assert has_entries(str(workspace), UID)
    (staging / "x").unlink()
    assert not has_entries(str(workspace), UID)
    assert not staging.exists()
    assert not has_entries(str(workspace), UID)


def test_an_archive_on_its_way_has_no_name(filesystem: FilesystemStore, workspace: Path, staging: Path) -> None:
    (staging / "folder").mkdir()
    upload(filesystem, workspace)
    assert [path.name for path in staging.iterdir()] == ["folder"]

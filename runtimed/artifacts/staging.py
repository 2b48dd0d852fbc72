"""The staging directory of a Run, as user code left it: its entries in order, each opened safely or refused with a reason.

`<workspace root>/<Run UID>/artifacts`. Other Runs' processes may still write to the workspace while it is read, so nothing is
ever looked at by path twice: what was checked is what is read.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from runtimed.artifacts.beneath import FOLDER, READ, list_names, open_folder, open_regular
from runtimed.artifacts.errors import ArtifactRefused
from runtimed.artifacts.layout import MAX_ARTIFACTS, check_name, is_plain
from runtimed.artifacts.source import OwnFile

FOLDER_NAME: Final = "artifacts"
TEMPORARY_PREFIX: Final = ".kruntime-artifact-"
"""Of archives on their way into the store: made here for its room, without a name a moment later."""
FOLDER_MODE: Final = 0o750


@dataclass(frozen=True, slots=True)
class StagedFile:
    """An entry, open."""

    name: str
    fd: int
    is_folder: bool
    size: int


def has_entries(root: str, run_uid: str) -> bool:
    """Whether there is anything to keep. An empty staging directory is removed: that is how one call tells."""
    try:
        with open_folder(root, run_uid) as fd:
            os.rmdir(FOLDER_NAME, dir_fd=fd)
    except FileNotFoundError:
        return False
    except OSError:  # not empty; or something else stands in its place, which the upload then refuses
        return True
    return False


@contextmanager
def open_staging(root: str, run_uid: str) -> Iterator[int]:
    """A descriptor of it. Raises ArtifactRefused when user code has put something else in its place."""
    if not is_plain(run_uid):
        raise ArtifactRefused("metadata.uid is no name of a folder")
    with ExitStack() as stack:
        try:
            fd = stack.enter_context(open_folder(root, run_uid, FOLDER_NAME))
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
                raise
            raise ArtifactRefused("$KRUNTIME_ARTIFACTS_DIR is not the directory any more that the Run was given") from error
        yield fd


def staged_names(fd: int) -> Sequence[str]:
    """All of them, in order. Raises ArtifactRefused for a name that cannot be kept, and for too many."""
    names = list_names(fd, limit=MAX_ARTIFACTS)
    if len(names) > MAX_ARTIFACTS:
        raise ArtifactRefused(f"more than {MAX_ARTIFACTS} artifacts; put several into one directory")
    for name in names:
        check_name(name)
    return names


@contextmanager
def open_entry(fd: int, name: str) -> Iterator[StagedFile]:
    """A regular file or a directory. Raises ArtifactRefused for anything else."""
    try:
        # Looked at first: opening a device is an act of its own.
        is_folder = _is_folder(os.stat(name, dir_fd=fd, follow_symlinks=False), name=name)
        opened = os.open(name, FOLDER, dir_fd=fd) if is_folder else open_regular(fd, name)
    except OSError as error:
        raise ArtifactRefused(f"artifact {name!r}: {error.strerror}; only regular files and directories can be kept") from error
    try:
        status = os.fstat(opened)
        _check_owner(status, folder=os.fstat(fd), name=name)
        yield StagedFile(name, opened, is_folder, status.st_size)
    finally:
        os.close(opened)


@contextmanager
def open_own(file: OwnFile) -> Iterator[StagedFile]:
    """What nobody but us can write to. Raises ArtifactRefused where it is not complete, OSError."""
    if file.failure:
        raise ArtifactRefused(f"artifact {file.name!r}: the log could not be kept: {file.failure}")
    opened = os.open(file.path, READ)
    try:
        yield StagedFile(file.name, opened, False, os.fstat(opened).st_size)
    finally:
        os.close(opened)


def _is_folder(status: os.stat_result, *, name: str) -> bool:
    if stat.S_ISDIR(status.st_mode):
        return True
    if not stat.S_ISREG(status.st_mode):
        raise ArtifactRefused(f"artifact {name!r}: a link or a special file; only regular files and directories can be kept")
    return False


def _check_owner(status: os.stat_result, *, folder: os.stat_result, name: str) -> None:
    """A second name for somebody else's file would let a Run read it through us."""
    if stat.S_ISREG(status.st_mode) and status.st_nlink > 1 and status.st_uid not in {folder.st_uid, os.getuid()}:
        raise ArtifactRefused(f"artifact {name!r}: a hard link to a file of another user; copy it instead")


def make_unnamed(fd: int) -> int:
    """A file for reading and writing that nobody else can find, on the workspace's disk. Raises OSError."""
    name = f"{TEMPORARY_PREFIX}{os.getpid()}-{os.urandom(6).hex()}.tar.gz"
    made = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=fd)
    os.unlink(name, dir_fd=fd)
    return made

"""The folder of a Run: made before its first attempt here, reused by retries in place, removed when nothing of it is left.

That it is complete is noted in the state folder, never in the workspace: user code can write there.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from k8s.api.run import Run
from runtimed.artifacts.staging import FOLDER_MODE, FOLDER_NAME
from runtimed.core.facts import Workspace
from runtimed.hooks.env import NOTHING_RESOLVED, Resolved, build_env
from runtimed.hooks.refusals import SourceRefused
from runtimed.hooks.source import SourcePlan, plan_source

OUTPUTS_NAME = "outputs"
REPOSITORY_NAME = "repo"
"""A repository has a folder of its own, so that its files and ours cannot meet."""
MAX_SMALL_FILES = 8
"""The script, the outputs file, and what little a script may have written beside them."""
MAX_SMALL_BYTES = 1 << 20
_UID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Workspaces:
    """All of them, below one root."""

    def __init__(self, root: Path, *, has_artifacts: bool = False) -> None:
        """`has_artifacts`: every Run is given a staging directory for them."""
        self._root = str(root)
        self._has_artifacts = has_artifacts
        self._has_narrow_umask = bool(_umask() & 0o755)
        """Only then a folder that is made 0755 must be told so again."""

    def prepare(self, run: Run, *, attempt: int, is_reused: bool, resolved: Resolved = NOTHING_RESOLVED) -> Workspace:
        """Ready for `attempt`. Raises SourceRefused: what is in the way, and what to do."""
        try:
            plan = plan_source(run)
            folder = self._path(run.uid)
            outputs_file = f"{folder}/{OUTPUTS_NAME}"
            build_env(run, outputs_file=outputs_file, resolved=resolved)  # refused now rather than after the marker
            if is_reused and os.path.isdir(folder):
                _remove(outputs_file)
            else:
                self._make(run.uid, plan)
            working_dir = f"{folder}/{REPOSITORY_NAME}" if plan.repository else folder
            return Workspace(attempt, working_dir, plan.entrypoint, plan.sends_args, outputs_file, self._make_staging(folder))
        except SourceRefused as error:
            raise SourceRefused(f"prepare source: {error}") from error
        except OSError as error:
            # E.g. a full disk: `No space left on device`. The path is not the user's business.
            raise SourceRefused(f"prepare source: write inline: {error.strerror or type(error).__name__}") from error

    def uids(self) -> set[str]:
        """Of the Runs that have a folder here, whatever is in it. What has another name is not ours."""
        with suppress(FileNotFoundError), os.scandir(self._root) as entries:
            return {entry.name for entry in entries if _UID.fullmatch(entry.name)}
        return set()

    def is_disk_full(self) -> bool:
        """Whether there is no room for a byte or for a file more. One system call, for the end of what failed."""
        try:
            disk = os.statvfs(self._root)
        except OSError:
            return False
        return disk.f_bavail == 0 or (disk.f_files > 0 and disk.f_favail == 0)  # some file systems do not count their files

    def remove_if_small(self, run_uid: str) -> bool:
        """At once, what is left of a Run that made little: few, small files. False: `remove` it, away from the event loop.

        A few system calls, where a thread costs ten times that in wake-ups and in turns for the interpreter.
        """
        folder = self._path(run_uid)
        try:
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        except OSError:  # a link: never followed
            return False
        try:
            if self._has_artifacts:
                with suppress(OSError):  # gone already, or not empty: then it is not small
                    os.rmdir(FOLDER_NAME, dir_fd=fd)
            return _clear_if_small(fd) and _remove_empty(folder)
        finally:
            os.close(fd)

    def remove(self, run_uid: str) -> None:
        """All of it; links are removed, never followed. Raises OSError."""
        folder = self._path(run_uid)
        if os.path.islink(folder):
            os.unlink(folder)
        elif os.path.exists(folder):
            shutil.rmtree(folder, onerror=_make_writable_and_retry)

    def _make_staging(self, folder: str) -> str:
        """Empty, for every attempt; the path of it, if there is one."""
        if not self._has_artifacts:
            return ""
        path = f"{folder}/{FOLDER_NAME}"
        try:
            os.mkdir(path, FOLDER_MODE)
        except FileExistsError:
            _remove(path)
            os.mkdir(path, FOLDER_MODE)
        return path

    def _path(self, run_uid: str) -> str:
        if not run_uid or "/" in run_uid or run_uid in {".", ".."}:
            raise SourceRefused("metadata.uid is no name of a folder")
        return f"{self._root}/{run_uid}"

    def _make(self, run_uid: str, plan: SourcePlan) -> None:
        folder = self._path(run_uid)
        try:
            os.mkdir(folder, 0o755)
        except FileExistsError:
            self.remove(run_uid)
            os.mkdir(folder, 0o755)
        if self._has_narrow_umask:
            os.chmod(folder, 0o755)  # noqa: S103 - the Runtime Server may be another user
        if plan.file_name:
            target = f"{folder}/{plan.file_name}"
            if "/" in plan.file_name:
                os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
            _write_new(target, plan.text)


def _write_new(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        rest = memoryview(text.encode())
        while rest:
            rest = rest[os.write(fd, rest) :]
    finally:
        os.close(fd)


def _clear_if_small(fd: int) -> bool:
    """True once the folder is empty."""
    with os.scandir(fd) as entries:
        names = [entry.name for entry in itertools.islice(entries, MAX_SMALL_FILES + 1) if _is_small(entry)]
    if len(names) > MAX_SMALL_FILES:
        return False
    try:
        for name in names:
            os.unlink(name, dir_fd=fd)
    except OSError:
        return False
    return True


def _is_small(entry: os.DirEntry[str]) -> bool:
    """Freeing a big file takes as long as deleting many."""
    return not entry.is_dir(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_size <= MAX_SMALL_BYTES


def _remove_empty(folder: str) -> bool:
    try:
        os.rmdir(folder)
    except OSError:  # what was not small is still in it
        return False
    return True


def _remove(path: str) -> None:
    """Whatever user code put there: a file, a link, or even a folder."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        with suppress(FileNotFoundError):
            os.unlink(path)


def _make_writable_and_retry(function: object, path: str, error: object) -> None:
    """A Run may leave folders without write permission behind; they are ours all the same."""
    parent = os.path.dirname(path)
    for name in (parent, path):
        if not os.path.islink(name):
            os.chmod(name, stat.S_IRWXU)
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def _umask() -> int:
    """It can only be read by setting it; called before there are threads."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask

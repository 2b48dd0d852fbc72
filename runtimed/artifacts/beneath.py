"""Files beneath a folder, by file descriptors: one name at a time, links never followed.

A path is checked once and used later; in between another process may swap a folder for a link. A descriptor is what was checked.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""O_NONBLOCK: opening a FIFO would wait for a writer for ever."""
NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def open_folder(root: str, *parts: str, makes_mode: int | None = None) -> Iterator[int]:
    """A descriptor of root/parts. `root` is trusted and may be a link; no part may. Missing ones are made with `makes_mode`."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts:
            below = _step(fd, part, makes_mode=makes_mode)
            os.close(fd)
            fd = below
        yield fd
    finally:
        os.close(fd)


def _step(fd: int, part: str, *, makes_mode: int | None) -> int:
    try:
        return os.open(part, FOLDER, dir_fd=fd)
    except FileNotFoundError:
        if makes_mode is None:
            raise
    with suppress(FileExistsError):
        os.mkdir(part, makes_mode, dir_fd=fd)
    return os.open(part, FOLDER, dir_fd=fd)


def open_regular(fd: int, name: str) -> int:
    """A regular file for reading. Raises OSError; ELOOP for a link, EINVAL for anything else that is no regular file."""
    found = os.open(name, READ, dir_fd=fd)
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        raise OSError(errno.EINVAL, "not a regular file")
    return found


def remove_tree(fd: int, name: str) -> None:
    """Whatever `name` is, and all below it. Absent is fine. Raises OSError. An open folder a level, so with a limit of depth."""
    try:
        is_folder = stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)
        if not is_folder:
            os.unlink(name, dir_fd=fd)
            return
        _empty(fd, name)
        os.rmdir(name, dir_fd=fd)
    except FileNotFoundError:
        return


def _empty(fd: int, name: str) -> None:
    folder = os.open(name, FOLDER, dir_fd=fd)
    try:
        for entry in list_names(folder):
            remove_tree(folder, entry)
    finally:
        os.close(folder)


def list_names(fd: int, *, limit: int | None = None) -> Sequence[str]:
    """Sorted as bytes are, which does not depend on a locale; at most `limit` + 1 of them."""
    names: list[str] = []
    with os.scandir(fd) as entries:
        for entry in entries:
            names.append(entry.name)
            if limit is not None and len(names) > limit:
                break
    return sorted(names, key=os.fsencode)

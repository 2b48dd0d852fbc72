"""A directory as a deterministic tar.gz: the same files give the same bytes, whoever packs them and when.

Entries in lexical order, zero times, owner 0, gzip time 0. Links and special files are refused, at any depth. Read through
descriptors alone, so nothing outside the directory is ever opened.
"""

from __future__ import annotations

import gzip
import os
import stat
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Final

from runtimed.artifacts.beneath import FOLDER, list_names, open_regular
from runtimed.artifacts.errors import ArtifactRefused

MAX_DEPTH: Final = 64
"""An open folder a level."""
MAX_ENTRIES: Final = 100_000
"""About a minute of packing, and tar readers hold a list of all of them."""
CONTENT_TYPE: Final = "application/gzip"
_COMPRESSION: Final = 6
_CHUNK: Final = 1 << 16


@dataclass(slots=True)
class _Limits:
    """What is left of the directory's allowance."""

    artifact: str
    bytes: int
    entries: int = MAX_ENTRIES

    def take(self, size: int) -> None:
        self.bytes -= size
        self.entries -= 1
        if self.bytes < 0:
            raise ArtifactRefused(f"artifact {self.artifact!r}: the directory is larger than the limit for one artifact; make it smaller")
        if self.entries < 0:
            raise ArtifactRefused(f"artifact {self.artifact!r}: more than {MAX_ENTRIES} entries; pack them into one file")


def check_folder(fd: int, *, artifact: str, max_bytes: int) -> None:
    """Its kind of entries and their sizes, before a byte is packed. Raises ArtifactRefused, OSError."""
    _walk(fd, prefix="", depth=0, limits=_Limits(artifact, max_bytes), visit=lambda path, status, opened: None)


def write_archive(fd: int, target: IO[bytes], *, artifact: str, max_bytes: int, check: Callable[[], None]) -> None:
    """Packs the folder `fd`. `check` is called now and then, and raises to stop. Raises ArtifactRefused, OSError."""
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=_COMPRESSION, fileobj=target, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w|", format=tarfile.PAX_FORMAT, bufsize=_CHUNK) as tar,
    ):

        def add(path: str, status: os.stat_result, opened: int | None) -> None:
            check()
            _add(tar, path, status=status, opened=opened, artifact=artifact)

        _walk(fd, prefix="", depth=0, limits=_Limits(artifact, max_bytes), visit=add)


def _walk(fd: int, *, prefix: str, depth: int, limits: _Limits, visit: Callable[[str, os.stat_result, int | None], None]) -> None:
    if depth > MAX_DEPTH:
        raise ArtifactRefused(f"artifact {limits.artifact!r}: more than {MAX_DEPTH} folders deep; pack it into one file")
    for name in list_names(fd, limit=limits.entries):
        path = f"{prefix}{name}"
        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        is_folder = stat.S_ISDIR(status.st_mode)
        if not is_folder and not stat.S_ISREG(status.st_mode):
            raise _refused_entry(limits.artifact, path)
        opened = os.open(name, FOLDER, dir_fd=fd) if is_folder else open_regular(fd, name)
        try:
            status = os.fstat(opened)
            limits.take(0 if is_folder else status.st_size)
            visit(path, status, None if is_folder else opened)
            if is_folder:
                _walk(opened, prefix=f"{path}/", depth=depth + 1, limits=limits, visit=visit)
        finally:
            os.close(opened)


def _refused_entry(artifact: str, path: str) -> ArtifactRefused:
    return ArtifactRefused(
        f"artifact {artifact!r}: {path[:128]!a} is a link or a special file; only regular files and directories can be kept"
    )


def _add(tar: tarfile.TarFile, path: str, *, status: os.stat_result, opened: int | None, artifact: str) -> None:
    entry = tarfile.TarInfo(path)
    entry.mode = stat.S_IMODE(status.st_mode) & 0o777
    if opened is None:
        entry.type = tarfile.DIRTYPE
        tar.addfile(entry)
        return
    entry.size = status.st_size
    with open(opened, "rb", closefd=False) as file:
        try:
            tar.addfile(entry, file)
        except OSError as error:
            if str(error) == "unexpected end of data":  # tarfile's words for a file that is shorter than it was
                raise ArtifactRefused(f"artifact {artifact!r}: {path[:128]!a} became shorter while it was packed") from error
            raise

"""One attempt's upload, as its thread does it: entry after entry, and after a failure of the store from there on."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from k8s.api.names import KEEP_LOG_ANNOTATION
from k8s.api.run import ArtifactRef
from runtimed.artifacts import archive
from runtimed.artifacts.content_types import SNIFFED_BYTES, content_type_of
from runtimed.artifacts.errors import ArtifactRefused
from runtimed.artifacts.guard import Guard
from runtimed.artifacts.layout import MAX_ARTIFACTS, Owner
from runtimed.artifacts.source import DIRECTORY, FILE, OwnFile, Source
from runtimed.artifacts.staging import StagedFile, make_unnamed, open_entry, open_own, open_staging, staged_names
from runtimed.artifacts.stores import ArtifactStore, Upload

_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True)
class Limits:
    """In bytes, as stored; a directory's files are held to the first before they are packed, too."""

    per_artifact: int = 1 << 30
    per_run: int = 10 << 30


class Job:
    """`run` until it returns; it may be called again after StoreUnavailable. `abort` once it is given up."""

    def __init__(
        self,
        store: ArtifactStore,
        owner: Owner,
        workspace_root: str,
        limits: Limits,
        guard: Guard,
        now: Callable[[], datetime],
        *,
        may_have_leftovers: bool,
        own: Sequence[OwnFile] = (),
        has_staging: bool = True,
    ) -> None:
        """`own`: files of ours, beside what was staged; instead of it without `has_staging`."""
        self._store, self._owner, self._workspace_root = store, owner, workspace_root
        self._limits, self.guard, self._now = limits, guard, now
        self._may_have_leftovers = may_have_leftovers
        self._own = {file.name: file for file in own}
        self._has_staging = has_staging
        self._upload: Upload | None = None
        self._kept: dict[str, ArtifactRef] = {}
        self._lock = threading.Lock()

    def run(self) -> list[ArtifactRef]:
        """Raises ArtifactRefused, StoreUnavailable, UploadStopped."""
        with self._lock:  # a try that was given up may still hang in its thread
            self.guard.check()
            if self._upload is None:
                self._upload = self._store.begin(self._owner, may_have_leftovers=self._may_have_leftovers)
            with _readable(), self._staging() as staging:
                names = self._all_names(staged_names(staging) if staging is not None else ())
                for name in names:
                    if name not in self._kept:
                        self._kept[name] = self._keep(staging, name, self._upload)
            self.guard.check()
            self._upload.publish()
            return [self._kept[name] for name in names]

    def abort(self, *, is_ours: bool) -> None:
        """Raises StoreUnavailable."""
        if self._upload is not None:
            self._upload.abort(is_ours=is_ours)

    def _all_names(self, staged: Sequence[str]) -> Sequence[str]:
        for name in staged:
            if name in self._own:
                raise ArtifactRefused(f"artifact {name!r}: the Run's log is to be kept under this name ({KEEP_LOG_ANNOTATION}); rename it")
        if len(staged) + len(self._own) > MAX_ARTIFACTS:
            raise ArtifactRefused(f"more than {MAX_ARTIFACTS} artifacts, with those of the log; put several into one directory")
        return sorted([*staged, *self._own], key=os.fsencode)

    def _staging(self) -> AbstractContextManager[int | None]:
        return open_staging(self._workspace_root, self._owner.run_uid) if self._has_staging else nullcontext()

    def _open(self, staging: int | None, name: str) -> AbstractContextManager[StagedFile]:
        own = self._own.get(name)
        if own is not None:
            return open_own(own)
        assert staging is not None
        return open_entry(staging, name)

    def _keep(self, staging: int | None, name: str, upload: Upload) -> ArtifactRef:
        taken = sum(ref.size_bytes for ref in self._kept.values())
        with self._open(staging, name) as entry, self._as_file(staging, entry, room=self._room(taken)) as source:
            stored = upload.put(source, guard=self.guard, taken_before=taken)
        return ArtifactRef(
            name=name,
            driver=self._store.driver,
            type=source.type,
            location=self._store.locate(self._owner, name),
            size_bytes=stored.size,
            digest=stored.digest,
            content_type=source.content_type,
            created_at=self._now(),
        )

    def _room(self, taken: int) -> int:
        return max(0, min(self._limits.per_artifact, self._limits.per_run - taken))

    @contextmanager
    def _as_file(self, staging: int | None, entry: StagedFile, *, room: int) -> Iterator[Source]:
        if not entry.is_folder:
            kind = content_type_of(entry.name, head=os.pread(entry.fd, SNIFFED_BYTES, 0))
            yield Source(entry.name, FILE, kind, entry.fd, entry.size, room)
            return
        assert staging is not None  # what is ours is no folder
        archive.check_folder(entry.fd, artifact=entry.name, max_bytes=self._limits.per_artifact)
        fd = make_unnamed(staging)
        try:
            with open(fd, "wb", closefd=False) as target:
                archive.write_archive(entry.fd, target, artifact=entry.name, max_bytes=self._limits.per_artifact, check=self.guard.check)
            yield Source(entry.name, DIRECTORY, archive.CONTENT_TYPE, fd, os.fstat(fd).st_size, room)
        finally:
            os.close(fd)


@contextmanager
def _readable() -> Iterator[None]:
    """Trouble with the workspace itself: its disk is full, or user code left what cannot be read."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise ArtifactRefused("artifacts: the workspace has no room to pack a directory: No space left on device") from error
        raise ArtifactRefused(f"artifacts: an entry cannot be read: {error.strerror or type(error).__name__}") from error

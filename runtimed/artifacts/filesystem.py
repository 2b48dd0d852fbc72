"""Artifacts on a mounted volume: `<root>/namespaces/<namespace>/runs/<Run UID>/<artifact name>`.

A Run's artifacts appear all at once: they are written to a hidden folder beside it, which is then renamed. Others mount the
volume too, so every step below the root goes by descriptor and follows no link.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Final

from k8s.api.artifact_store import FILESYSTEM
from k8s.api.run import ArtifactLocation, ArtifactRef, FilesystemLocation
from runtimed.artifacts.beneath import NEW, list_names, open_folder, open_regular, remove_tree
from runtimed.artifacts.errors import ArtifactMissing, ArtifactRefused, StoreUnavailable
from runtimed.artifacts.guard import Guard
from runtimed.artifacts.kernel_copy import CannotCopy, copied
from runtimed.artifacts.layout import NAMESPACES, RUNS, Owner, artifact_path, run_parts
from runtimed.artifacts.source import CHUNK_BYTES, Intake, Source, Stored
from runtimed.artifacts.stores import READ_BYTES
from runtimed.artifacts.writeback import begin_writeback

FOLDER_MODE: Final = 0o750
FILE_MODE: Final = 0o640
WRITEBACK_BYTES: Final = 32 << 20
"""So much is given to the volume at a time while the rest is still copied: else it had nothing to do before, and we nothing after."""


class FilesystemStore:
    """An `ArtifactStore`."""

    driver = FILESYSTEM

    def __init__(self, root: str, *, volume_claim: str) -> None:
        self.root = root
        self._volume_claim = volume_claim

    def begin(self, owner: Owner, *, may_have_leftovers: bool) -> FilesystemUpload:
        # Its hidden folder is made anew anyway, and publishing replaces: there is nothing else to remove.
        return FilesystemUpload(self.root, owner)

    def locate(self, owner: Owner, name: str) -> ArtifactLocation:
        path = artifact_path(owner.namespace, owner.run_uid, name)
        return ArtifactLocation(filesystem=FilesystemLocation(path=path, volume_claim_name=self._volume_claim))

    @contextmanager
    def read(self, ref: ArtifactRef, *, offset: int) -> Iterator[Iterator[bytes]]:
        fd = self._open(ref)
        try:
            yield _pieces(fd, offset)
        finally:
            os.close(fd)

    def delete_run(self, *, namespace: str, run_uid: str) -> None:
        *folder, name = run_parts(namespace, run_uid)
        with _explained("delete"), suppress(FileNotFoundError), open_folder(self.root, *folder) as runs:
            remove_tree(runs, name)
            for hidden in [entry for entry in list_names(runs) if entry.startswith(_hidden_prefix(run_uid))]:
                remove_tree(runs, hidden)

    def _open(self, ref: ArtifactRef) -> int:
        location = ref.location.filesystem
        parts = location.path.split("/") if location is not None else []
        if location is None or location.volume_claim_name not in {None, self._volume_claim} or not _is_ours(parts):
            raise ArtifactRefused(f"artifact {ref.name!r}: its location is not in the store of this Runtime")
        try:
            with open_folder(self.root, *parts[:-1]) as folder:
                return open_regular(folder, parts[-1])
        except FileNotFoundError as error:
            raise ArtifactMissing(f"artifact {ref.name!r}: the store does not hold it any more") from error
        except OSError as error:
            raise StoreUnavailable(f"artifact store: open: {error.strerror}") from error


class FilesystemUpload:
    """An `Upload`: a hidden folder until `publish`."""

    def __init__(self, root: str, owner: Owner) -> None:
        self._root = root
        *self._folder, self._name = run_parts(owner.namespace, owner.run_uid)
        self._hidden = f"{_hidden_prefix(owner.run_uid)}{owner.attempt}.partial"
        self._is_begun = False
        self._is_published = False

    def put(self, source: Source, *, guard: Guard, taken_before: int) -> Stored:
        intake = Intake(source)
        with _explained("write"):
            self._begin()
            with open_folder(self._root, *self._folder, self._hidden) as folder:
                remove_tree(folder, source.name)  # of a try that failed
                _copy(intake, folder=folder, guard=guard, taken_before=taken_before)
        return intake.stored

    def _begin(self) -> None:
        if self._is_begun:
            return
        with open_folder(self._root, *self._folder, makes_mode=FOLDER_MODE) as runs:
            remove_tree(runs, self._hidden)  # of a process before this one
            os.mkdir(self._hidden, FOLDER_MODE, dir_fd=runs)
        self._is_begun = True

    def publish(self) -> None:
        with _explained("publish"), open_folder(self._root, *self._folder) as runs:
            if self._is_published:
                return
            with open_folder(self._root, *self._folder, self._hidden) as folder:
                os.fsync(folder)
            # A folder can only be renamed onto an empty one. A crash in between leaves nothing, and nobody was told of it yet.
            remove_tree(runs, self._name)
            os.rename(self._hidden, self._name, src_dir_fd=runs, dst_dir_fd=runs)
            self._is_published = True
            os.fsync(runs)

    def abort(self, *, is_ours: bool) -> None:
        with _explained("remove"), suppress(FileNotFoundError), open_folder(self._root, *self._folder) as runs:
            remove_tree(runs, self._hidden)
            if is_ours:
                remove_tree(runs, self._name)


def _hidden_prefix(run_uid: str) -> str:
    return f".{run_uid}."


def _copy(intake: Intake, *, folder: int, guard: Guard, taken_before: int) -> None:
    target = os.open(intake.source.name, NEW, FILE_MODE, dir_fd=folder)
    try:
        on_its_way = 0
        with closing(_pieces_copied(intake, target)) as pieces:
            for _ in pieces:
                guard.note(taken_before + intake.size)
                if intake.size - on_its_way >= WRITEBACK_BYTES:
                    begin_writeback(target, on_its_way, intake.size)
                    on_its_way = intake.size
        # What a Run's status says is kept outlives a crash of the node.
        os.fsync(target)
    finally:
        os.close(target)


def _pieces_copied(intake: Intake, target: int) -> Generator[None]:
    if intake.source.size >= CHUNK_BYTES:  # a thread would cost more than it saves
        with suppress(CannotCopy):
            yield from copied(intake, target)
            return
    with closing(intake.chunks()) as chunks:
        for chunk in chunks:
            _write(target, chunk)
            yield


def _write(target: int, chunk: memoryview) -> None:
    while chunk:
        chunk = chunk[os.write(target, chunk) :]


def _pieces(fd: int, offset: int) -> Iterator[bytes]:
    while True:
        try:
            piece = os.pread(fd, READ_BYTES, offset)
        except OSError as error:
            raise StoreUnavailable(f"artifact store: read: {error.strerror}") from error
        if not piece:
            return
        offset += len(piece)
        yield piece


def _is_ours(parts: list[str]) -> bool:
    """namespaces/<namespace>/runs/<uid>/<name>, and nothing that leads elsewhere."""
    return len(parts) == 5 and parts[0] == NAMESPACES and parts[2] == RUNS and all(part not in {"", ".", ".."} for part in parts)


@contextmanager
def _explained(operation: str) -> Iterator[None]:
    """Trouble with the volume, in words of ours."""
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(f"artifact store: {operation}: {error.strerror or type(error).__name__}") from error

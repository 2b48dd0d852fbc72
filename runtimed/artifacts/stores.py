"""What a store of artifacts is: the interface that filesystem and S3 stores have in common. All of it blocks: call it in a thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from k8s.api.run import ArtifactLocation, ArtifactRef
from runtimed.artifacts.guard import Guard
from runtimed.artifacts.layout import Owner
from runtimed.artifacts.source import Source, Stored

READ_BYTES = 1 << 16
"""A piece of a download: the most that a frame may carry."""


class Upload(Protocol):
    """One attempt's artifacts on their way in. Every method raises StoreUnavailable, and may be called again then."""

    def put(self, source: Source, *, guard: Guard, taken_before: int) -> Stored:
        """Also raises ArtifactRefused and UploadStopped. `taken_before`: bytes of the artifacts before this one."""
        ...

    def publish(self) -> None:
        """All are in: from here on they can be read under their names."""
        ...

    def abort(self, *, is_ours: bool) -> None:
        """Removes what is incomplete; and if the attempt is still ours, everything of the Run. Otherwise another may be writing there."""
        ...


class ArtifactStore(Protocol):
    """One store, as configured."""

    @property
    def driver(self) -> str: ...

    def begin(self, owner: Owner, *, may_have_leftovers: bool) -> Upload:
        """`may_have_leftovers`: an earlier process or attempt may have left something of this Run, which is removed."""
        ...

    def locate(self, owner: Owner, name: str) -> ArtifactLocation: ...

    def read(self, ref: ArtifactRef, *, offset: int) -> AbstractContextManager[Iterator[bytes]]:
        """Pieces of at most READ_BYTES. Raises ArtifactMissing, StoreUnavailable; ArtifactRefused for what is not in this store."""
        ...

    def delete_run(self, *, namespace: str, run_uid: str) -> None:
        """Everything of that Run, complete or not; nothing there is fine. Raises StoreUnavailable."""
        ...

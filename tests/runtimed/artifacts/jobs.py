"""An upload without the loop around it, as the tests of stores and of safety need it."""

from __future__ import annotations

import time
from pathlib import Path

from k8s.api.run import ArtifactRef
from runtimed.artifacts.guard import Guard
from runtimed.artifacts.job import Job, Limits
from runtimed.artifacts.layout import Owner
from runtimed.artifacts.stores import ArtifactStore
from tests.runtimed.artifacts.conftest import NOW, OWNER


def job_of(store: ArtifactStore, workspace: Path, *, owner: Owner = OWNER, limits: Limits | None = None, is_fresh: bool = True) -> Job:
    guard = Guard(time.monotonic)
    return Job(store, owner, str(workspace), limits or Limits(), guard, lambda: NOW, may_have_leftovers=not is_fresh)


def upload(store: ArtifactStore, workspace: Path, *, limits: Limits | None = None, owner: Owner = OWNER) -> dict[str, ArtifactRef]:
    return {ref.name: ref for ref in job_of(store, workspace, owner=owner, limits=limits).run()}


def read(store: ArtifactStore, ref: ArtifactRef, *, offset: int = 0) -> bytes:
    with store.read(ref, offset=offset) as pieces:
        return b"".join(pieces)

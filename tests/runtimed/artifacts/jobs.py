"""Uploads of one Run as the tests need them: with the loop around, and without it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from k8s.api.run import ArtifactRef
from runtimed.artifacts.guard import Guard
from runtimed.artifacts.job import Job, Limits
from runtimed.artifacts.layout import Owner
from runtimed.artifacts.stores import ArtifactStore
from runtimed.artifacts.uploading import Uploads
from tests.runtimed.artifacts.fixtures import NOW, OWNER


def job_of(store: ArtifactStore, workspace: Path, *, owner: Owner = OWNER, limits: Limits | None = None, is_fresh: bool = True) -> Job:
    guard = Guard(time.monotonic)
    return Job(store, owner, str(workspace), limits or Limits(), guard, lambda: NOW, may_have_leftovers=not is_fresh)


def uploads(store: ArtifactStore, workspace: Path, pool: ThreadPoolExecutor, *, patience_seconds: float = 60.0) -> Uploads:
    return Uploads(store, str(workspace), Limits(), patience_seconds, pool, time.monotonic, lambda: NOW)


def upload(store: ArtifactStore, workspace: Path, *, limits: Limits | None = None, owner: Owner = OWNER) -> dict[str, ArtifactRef]:
    return {ref.name: ref for ref in job_of(store, workspace, owner=owner, limits=limits).run()}


def read(store: ArtifactStore, ref: ArtifactRef, *, offset: int = 0) -> bytes:
    with store.read(ref, offset=offset) as pieces:
        return b"".join(pieces)

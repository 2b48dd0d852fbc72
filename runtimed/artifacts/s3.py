"""Artifacts in an S3 bucket: `[<prefix>/]namespaces/<namespace>/runs/<Run UID>/<artifact name>`.

Small files go in one request, larger ones in parts, a few at a time from buffers of a fixed number. Every request carries the MD5
of its bytes and the answer's ETag is compared with it: what the store says that it has is what we read.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

from k8s.api.artifact_store import S3
from k8s.api.run import ArtifactLocation, ArtifactRef, S3Location
from k8s.api.runtime import S3Store
from runtimed.artifacts.errors import ArtifactRefused
from runtimed.artifacts.layout import NAMESPACES, Owner, artifact_path, clean_prefix, run_parts
from runtimed.artifacts.s3_client import check_endpoint, explained, make_client
from runtimed.artifacts.s3_upload import Bucket, S3Upload
from runtimed.artifacts.stores import READ_BYTES

DEFAULT_PART_BYTES: Final = 8 << 20
DEFAULT_CONCURRENCY: Final = 3
BUFFER_BYTES: Final = 32 << 20
"""What all parts in flight may hold together, whatever the Runtime asks for: runtimed's container has 256 MiB."""


class S3ArtifactStore:
    """An `ArtifactStore`. One a process: it owns the threads and buffers of all uploads."""

    driver = S3

    def __init__(self, store: S3Store) -> None:
        check_endpoint(store.endpoint)
        self._store = store
        self._prefix = clean_prefix(store.prefix or "")
        self._part_bytes = store.upload_part_size or DEFAULT_PART_BYTES
        wanted = store.upload_concurrency or DEFAULT_CONCURRENCY
        self._concurrency = max(1, min(wanted, BUFFER_BYTES // self._part_bytes))
        self._buffers = threading.BoundedSemaphore(self._concurrency)
        self._pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="artifact part")
        self._client: Any = None
        self._client_lock = threading.Lock()

    def begin(self, owner: Owner, *, may_have_leftovers: bool) -> S3Upload:
        if may_have_leftovers:
            self.delete_run(namespace=owner.namespace, run_uid=owner.run_uid)
        return S3Upload(self._bucket(), owner, prefix=self._run_prefix(owner.namespace, owner.run_uid))

    def locate(self, owner: Owner, name: str) -> ArtifactLocation:
        key = self._prefix + artifact_path(owner.namespace, owner.run_uid, name)
        return ArtifactLocation(s3=S3Location(bucket=self._store.bucket, key=key))

    @contextmanager
    def read(self, ref: ArtifactRef, *, offset: int) -> Iterator[Iterator[bytes]]:
        location = ref.location.s3
        if location is None or location.bucket != self._store.bucket or not location.key.startswith(f"{self._prefix}{NAMESPACES}/"):
            raise ArtifactRefused(f"artifact {ref.name!r}: its location is not in the store of this Runtime")
        if offset >= ref.size_bytes:  # a range that begins at the end is an error to S3
            yield iter(())
            return
        with explained("GetObject"):
            answer = self._s3().get_object(Bucket=location.bucket, Key=location.key, Range=f"bytes={offset}-")
        body = answer["Body"]
        try:
            yield _pieces(body)
        finally:
            body.close()

    def delete_run(self, *, namespace: str, run_uid: str) -> None:
        self._bucket().delete_all(self._run_prefix(namespace, run_uid))

    def _run_prefix(self, namespace: str, run_uid: str) -> str:
        return self._prefix + "/".join(run_parts(namespace, run_uid)) + "/"

    def _bucket(self) -> Bucket:
        return Bucket(self._s3(), self._store.bucket, part_bytes=self._part_bytes, pool=self._pool, buffers=self._buffers)

    def _s3(self) -> Any:
        """Made at first use, in a thread: importing boto3 would stop the event loop for half a second."""
        with self._client_lock:
            if self._client is None:
                with explained("connect"):
                    self._client = make_client(self._store, connections=self._concurrency + 4)
            return self._client


def _pieces(body: Any) -> Iterator[bytes]:
    with explained("GetObject"):
        while piece := body.read(READ_BYTES):
            yield piece

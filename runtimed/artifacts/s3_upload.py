"""One attempt's artifacts on their way into a bucket, and what is removed of them when they do not arrive."""

from __future__ import annotations

import base64
import hashlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from runtimed.artifacts.errors import ArtifactMissing, ArtifactRefused, StoreUnavailable
from runtimed.artifacts.guard import Guard
from runtimed.artifacts.layout import Owner
from runtimed.artifacts.s3_client import explained, is_md5_etag
from runtimed.artifacts.source import Intake, Source, Stored

MAX_PARTS: Final = 10_000
"""S3's own limit for one object."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """The bucket, and the threads and buffers that all uploads to it share."""

    client: Any
    name: str
    part_bytes: int
    pool: ThreadPoolExecutor
    buffers: threading.BoundedSemaphore

    def delete_all(self, prefix: str) -> None:
        """Every object and every unfinished upload below `prefix`. Raises StoreUnavailable."""
        for key, upload_id in self.unfinished(prefix):
            self.abort(key, upload_id)
        with explained("ListObjectsV2"):
            for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix):
                for entry in page.get("Contents", ()):
                    self.client.delete_object(Bucket=self.name, Key=entry["Key"])

    def unfinished(self, prefix: str) -> list[tuple[str, str]]:
        """Key and id of the uploads in parts that were neither completed nor aborted."""
        with explained("ListMultipartUploads"):
            pages = self.client.get_paginator("list_multipart_uploads").paginate(Bucket=self.name, Prefix=prefix)
            return [(entry["Key"], entry["UploadId"]) for page in pages for entry in page.get("Uploads", ())]

    def abort(self, key: str, upload_id: str) -> None:
        try:
            with explained("AbortMultipartUpload"):
                self.client.abort_multipart_upload(Bucket=self.name, Key=key, UploadId=upload_id)
        except StoreUnavailable as error:
            if error.code != "NoSuchUpload":  # gone is what we want
                raise
        except ArtifactMissing:
            return


class S3Upload:
    """An `Upload`. What is complete can be read at once; nobody is told of it before all are."""

    def __init__(self, bucket: Bucket, owner: Owner, *, prefix: str) -> None:
        self._bucket, self._owner, self._prefix = bucket, owner, prefix
        self._unfinished: dict[str, str] = {}
        """Id to key of our own uploads in parts."""
        self._has_begun_parts = False

    def put(self, source: Source, *, guard: Guard, taken_before: int) -> Stored:
        guard.check()
        if source.size <= self._bucket.part_bytes:
            return self._put_whole(source, guard=guard, taken_before=taken_before)
        return self._put_in_parts(source, guard=guard, taken_before=taken_before)

    def publish(self) -> None:
        """Each was published as it was completed: S3 has no rename. What is left is what we never heard of.

        The answer to the beginning of an upload in parts may be lost; repeated, it begins another one.
        """
        if self._has_begun_parts:
            for key, upload_id in self._bucket.unfinished(self._prefix):
                self._bucket.abort(key, upload_id)

    def abort(self, *, is_ours: bool) -> None:
        for upload_id in list(self._unfinished):
            self._abort(upload_id)
        if is_ours:
            self._bucket.delete_all(self._prefix)

    def _put_whole(self, source: Source, *, guard: Guard, taken_before: int) -> Stored:
        with self._bucket.buffers:
            intake = Intake(source)
            body = bytearray(source.size)
            if intake.read_into(memoryview(body)) < source.size or os.pread(source.fd, 1, source.size):
                raise _changed(source)
            md5 = hashlib.md5(body, usedforsecurity=False)
            with explained("PutObject"):
                answer = self._bucket.client.put_object(
                    **self._target(source), **self._attributes(source, intake.stored), Body=body, ContentMD5=_encoded(md5)
                )
            _check_etag(answer, md5.hexdigest(), operation="PutObject")
        guard.note(taken_before + intake.size)
        return intake.stored

    def _put_in_parts(self, source: Source, *, guard: Guard, taken_before: int) -> Stored:
        stored = _digest(source, guard=guard)  # goes into the metadata, which is sent first
        self._has_begun_parts = True
        with explained("CreateMultipartUpload"):
            answer = self._bucket.client.create_multipart_upload(**self._target(source), **self._attributes(source, stored))
        upload_id = answer["UploadId"]
        self._unfinished[upload_id] = self._prefix + source.name
        try:
            parts, sent = self._send_parts(source, upload_id, guard=guard, taken_before=taken_before)
            if sent != stored:
                raise _changed(source)
            guard.check()
            with explained("CompleteMultipartUpload"):
                self._bucket.client.complete_multipart_upload(**self._target(source), UploadId=upload_id, MultipartUpload={"Parts": parts})
        except BaseException:
            # At once; where the store is away it stays known to `abort`.
            with suppress(StoreUnavailable):
                self._abort(upload_id)
            raise
        del self._unfinished[upload_id]
        self._check_size(source, stored)
        return stored

    def _abort(self, upload_id: str) -> None:
        self._bucket.abort(self._unfinished[upload_id], upload_id)
        del self._unfinished[upload_id]

    def _send_parts(self, source: Source, upload_id: str, *, guard: Guard, taken_before: int) -> tuple[list[dict[str, Any]], Stored]:
        """Reads in order, sends a few at a time; the first failure ends it, once those on the wire have ended."""
        intake = Intake(source)
        sending: dict[Future[str], int] = {}
        etags: dict[int, str] = {}
        try:
            for number, part in enumerate(self._parts(intake, guard=guard), start=1):
                sending[self._bucket.pool.submit(self._send_part, source, upload_id, number, part)] = number
                self._gather(sending, etags, until_room=True)
                guard.note(taken_before + len(etags) * self._part_size(source))
            while sending:
                self._gather(sending, etags, until_room=False)
                guard.note(taken_before + min(len(etags) * self._part_size(source), source.size))
        finally:
            wait(sending)
        return [{"PartNumber": number, "ETag": etags[number]} for number in sorted(etags)], intake.stored

    def _parts(self, intake: Intake, *, guard: Guard) -> Iterator[bytearray]:
        """Each holds one of the shared buffers, which whoever sends it gives back."""
        size = self._part_size(intake.source)
        while True:
            guard.check()
            self._bucket.buffers.acquire()
            part = bytearray(size)
            try:
                filled = intake.read_into(memoryview(part))
            except BaseException:
                self._bucket.buffers.release()
                raise
            if not filled:
                self._bucket.buffers.release()
                return
            yield part if filled == size else part[:filled]

    def _send_part(self, source: Source, upload_id: str, number: int, part: bytearray) -> str:
        try:
            md5 = hashlib.md5(part, usedforsecurity=False)
            with explained("UploadPart"):
                answer = self._bucket.client.upload_part(
                    **self._target(source), UploadId=upload_id, PartNumber=number, Body=part, ContentMD5=_encoded(md5)
                )
            _check_etag(answer, md5.hexdigest(), operation="UploadPart")
            return str(answer["ETag"])
        finally:
            self._bucket.buffers.release()

    def _gather(self, sending: dict[Future[str], int], etags: dict[int, str], *, until_room: bool) -> None:
        """Takes the answers that are there; waits for one only at the end, for the buffers themselves hold the reader back."""
        done, _ = wait(sending, timeout=0 if until_room else None, return_when=FIRST_COMPLETED)
        for future in done:
            number = sending.pop(future)
            etags[number] = future.result()

    def _part_size(self, source: Source) -> int:
        return max(self._bucket.part_bytes, -(-source.size // MAX_PARTS))

    def _check_size(self, source: Source, stored: Stored) -> None:
        with explained("HeadObject"):
            found = self._bucket.client.head_object(**self._target(source))["ContentLength"]
        if found != stored.size:
            raise StoreUnavailable(f"artifact store: CompleteMultipartUpload: it holds {found} bytes instead of {stored.size}")

    def _target(self, source: Source) -> dict[str, Any]:
        return {"Bucket": self._bucket.name, "Key": self._prefix + source.name}

    def _attributes(self, source: Source, stored: Stored) -> dict[str, Any]:
        owner = self._owner
        metadata = {
            "kruntimes-run-name": owner.run_name,
            "kruntimes-run-uid": owner.run_uid,
            "kruntimes-namespace": owner.namespace,
            "kruntimes-runtime": owner.runtime,
            "kruntimes-artifact-name": source.name,
            "kruntimes-artifact-type": source.type,
            "kruntimes-digest": stored.digest,
        }
        # Headers are ASCII; a name that is not is in the key anyway.
        return {"ContentType": source.content_type, "Metadata": {key: text for key, text in metadata.items() if text.isascii()}}


def _digest(source: Source, *, guard: Guard) -> Stored:
    intake = Intake(source)
    for _ in intake.chunks():
        guard.check()
    return intake.stored


def _encoded(md5: Any) -> str:
    return base64.b64encode(md5.digest()).decode()


def _check_etag(answer: dict[str, Any], expected: str, *, operation: str) -> None:
    """Some stores answer with an ETag of another kind; what has the form of an MD5 must be ours."""
    etag = str(answer.get("ETag", "")).strip('"')
    if is_md5_etag(answer) and len(etag) == len(expected) and etag != expected:
        raise StoreUnavailable(f"artifact store: {operation}: the store has other bytes than were sent (ETag)")


def _changed(source: Source) -> ArtifactRefused:
    return ArtifactRefused(f"artifact {source.name!r}: it changed while it was uploaded")

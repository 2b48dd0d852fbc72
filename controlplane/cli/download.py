"""Getting one artifact from runtimed: checked against its digest, continued where it broke off, in place only when it is whole."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from krtpb.artifact.v1 import artifact_pb2, artifact_pb2_grpc

from controlplane.cli.failures import CommandFailed
from controlplane.cli.transfer_progress import TransferProgress
from controlplane.cli.tunnel import tunnel_to
from k8s.api import names

if TYPE_CHECKING:
    from controlplane.cli.connection import Session

MAX_PIECE_BYTES = 1 << 16
SHA256 = "sha256:"
TRIES_WITHOUT_PROGRESS = 4
FIRST_PAUSE_SECONDS = 0.2
_BROKEN = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN})
"""What may be better at the next try: the way broke, or the store did for a moment."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An artifact, as the Run's status describes it."""

    namespace: str
    run: str
    name: str
    size: int
    digest: str


@dataclass(slots=True)
class Part:
    """What is there of it so far: a hidden file beside its place, named by the digest, so that it is continued with the same bytes only."""

    path: Path
    wanted: Wanted
    fd: int = -1
    size: int = 0
    _hash: Any = field(default_factory=hashlib.sha256)

    @classmethod
    def open(cls, target: Path, *, wanted: Wanted) -> Part:
        mark = hashlib.sha256(f"{wanted.run}/{wanted.name}/{wanted.digest}".encode()).hexdigest()[:16]
        part = cls(target.parent / f".{target.name[:200]}.part-{mark}", wanted)
        try:
            part.fd = os.open(part.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
            fcntl.flock(part.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(part.fd)
            raise CommandFailed(f"another krt is downloading to {target}; wait for it, or choose another --output") from error
        except OSError as error:
            raise CommandFailed(f"--output: {target.parent} cannot be written to: {error.strerror}") from error
        part._take_in_what_is_there()
        return part

    def _take_in_what_is_there(self) -> None:
        if not self.wanted.digest.startswith(SHA256):
            os.ftruncate(self.fd, 0)  # nothing could tell whether it is the beginning of the same
            return
        while data := os.read(self.fd, 1 << 20):
            self._hash.update(data)
            self.size += len(data)
        if self.size > self.wanted.size:
            self.start_over()

    def start_over(self) -> None:
        os.ftruncate(self.fd, 0)
        self.size, self._hash = 0, hashlib.sha256()

    def append(self, data: bytes) -> None:
        if self.size + len(data) > self.wanted.size:
            raise CommandFailed(f"artifact {self.wanted.name}: more bytes came than its Run says it has; it was not saved")
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self.fd, rest, self.size + len(data) - len(rest))
            rest = rest[written:]
        self._hash.update(data)
        self.size += len(data)

    def put_in_place(self, target: Path) -> None:
        """Atomic. Raises CommandFailed where it is not what was promised; then nothing of it stays."""
        is_whole = self.size == self.wanted.size
        is_right = not self.wanted.digest.startswith(SHA256) or f"{SHA256}{self._hash.hexdigest()}" == self.wanted.digest
        if not is_whole or not is_right:
            self.path.unlink(missing_ok=True)
            what = "its digest is not the one in the Run's status" if is_whole else f"{self.size} of {self.wanted.size} bytes came"
            raise CommandFailed(f"artifact {self.wanted.name}: {what}; it was not saved, download it again")
        os.replace(self.path, target)

    def close(self) -> None:
        """What there is stays for the next time; nothing need not."""
        if not self.size and self.path.exists():
            self.path.unlink()
        os.close(self.fd)


async def download(session: Session, wanted: Wanted, *, path: Path, runtime: str, assigned_pod: str) -> None:
    """Raises CommandFailed."""
    pod = await _choose_pod(session, runtime=runtime, assigned_pod=assigned_pod)
    part = Part.open(path, wanted=wanted)
    progress = TransferProgress(total_bytes=wanted.size, begins_at=part.size)
    try:
        failures = 0
        async with tunnel_to(session, pod=pod, port=names.RUNTIMED_STATUS_PORT) as tunnel:
            while True:
                before = part.size
                try:
                    await _receive(tunnel.address, wanted, part, progress)
                    break
                except grpc.aio.AioRpcError as error:
                    failures = 0 if part.size > before else failures + 1
                    if error.code() not in _BROKEN or failures >= TRIES_WITHOUT_PROGRESS:
                        raise _explain(error, pod=pod, failure=tunnel.failure) from error
                await asyncio.sleep(FIRST_PAUSE_SECONDS * 2**failures)
        part.put_in_place(path)
    finally:
        progress.end()
        part.close()


async def _receive(address: str, wanted: Wanted, part: Part, progress: TransferProgress) -> None:
    request = artifact_pb2.DownloadRequest(namespace=wanted.namespace, run_name=wanted.run, artifact_name=wanted.name, offset=part.size)
    async with grpc.aio.insecure_channel(address, options=[("grpc.default_authority", "localhost")]) as channel:
        frames = artifact_pb2_grpc.ArtifactServiceStub(channel).Download(request)
        await _take_metadata(frames, wanted, part)
        async for frame in frames:
            if frame.HasField("metadata") or len(frame.data) > MAX_PIECE_BYTES:
                raise CommandFailed(f"artifact {wanted.name}: runtimed does not keep to the protocol; it was not saved")
            part.append(frame.data)
            progress.show(part.size)


async def _take_metadata(frames: AsyncIterator[artifact_pb2.DownloadResponse], wanted: Wanted, part: Part) -> None:
    """An older runtimed knows no offset and begins at the beginning: then so do we."""
    first = await anext(aiter(frames), None)
    if first is None or not first.HasField("metadata") or first.data or first.metadata.name != wanted.name:
        raise CommandFailed(f"artifact {wanted.name}: runtimed does not keep to the protocol; it was not saved")
    if (first.metadata.size_bytes, first.metadata.digest) != (wanted.size, wanted.digest):
        raise CommandFailed(f"artifact {wanted.name}: it has changed since its Run was read; run the same command again")
    if first.metadata.offset != part.size:
        part.start_over()


async def _choose_pod(session: Session, *, runtime: str, assigned_pod: str) -> str:
    """The one that executed the Run, else any of its Runtime: they share the store."""
    from k8s.client import PODS

    listing = await session.client.list(PODS, namespace=session.namespace, label_selector=f"{names.RUNTIME_LABEL}={runtime}")
    able = sorted(
        pod.metadata.name for pod in listing.items if pod.is_ready and pod.heartbeat is not None and pod.heartbeat.status == "True"
    )
    if not able:
        raise CommandFailed(f"no Pod of Runtime {runtime} is ready to hand out artifacts; see: krt runtime get {runtime}")
    return assigned_pod if assigned_pod in able else able[0]


def _explain(error: grpc.aio.AioRpcError, *, pod: str, failure: str) -> CommandFailed:
    if failure:
        return CommandFailed(f"{failure}; port-forward needs the permission `create` on `pods/portforward`")
    return CommandFailed(f"Pod {pod} does not hand it out: {error.details() or error.code().name}")

"""gRPC `artifact.v1.ArtifactService`: hands out what Runs of this Runtime have left in its store (interface.md 2.4).

On the port of the status proxy, for the same reason without authentication: whoever may forward a port to this Pod may read it. The
Run is read from the API server at each call; bytes go from the store to the wire in pieces, and a reader that stops is waited for.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, Final

import grpc
from krtpb.artifact.v1 import artifact_pb2, artifact_pb2_grpc

from k8s.api.errors import KrtError
from k8s.api.run import ArtifactRef, Run
from k8s.client import RUNS, ApiClient, ApiError, NotFound
from runtimed.artifacts.errors import ArtifactMissing
from runtimed.artifacts.stores import ArtifactStore

logger = logging.getLogger(__name__)
PIECES_A_TURN: Final = 16
"""A megabyte from the store before the event loop has to do with it."""


class _Refused(Exception):
    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class ArtifactService(artifact_pb2_grpc.ArtifactServiceServicer):
    """`store` None: this Runtime keeps no artifacts."""

    def __init__(self, client: ApiClient, *, namespace: str, runtime: str, store: ArtifactStore | None, pool: ThreadPoolExecutor) -> None:
        self._client, self._namespace, self._runtime = client, namespace, runtime
        self._store, self._pool = store, pool

    async def Download(  # noqa: N802 - gRPC's name
        self, request: artifact_pb2.DownloadRequest, context: Any
    ) -> AsyncIterator[artifact_pb2.DownloadResponse]:
        try:
            store, ref = await self._find(request)
            offset = min(max(0, request.offset), ref.size_bytes)
            yield artifact_pb2.DownloadResponse(metadata=_metadata(ref, offset=offset))
            async for piece in self._pieces(store, ref, offset=offset):
                yield artifact_pb2.DownloadResponse(data=piece)
        except _Refused as error:
            await context.abort(error.code, str(error))
        except ArtifactMissing as error:
            await context.abort(grpc.StatusCode.NOT_FOUND, str(error))
        except KrtError as error:
            logger.warning("an artifact cannot be handed out", extra={"artifact": request.artifact_name[:64], "error": str(error)[:256]})
            await context.abort(grpc.StatusCode.INTERNAL, str(error))

    async def _find(self, request: artifact_pb2.DownloadRequest) -> tuple[ArtifactStore, ArtifactRef]:
        for name in ("namespace", "run_name", "artifact_name"):
            if not getattr(request, name):
                raise _Refused(grpc.StatusCode.INVALID_ARGUMENT, f"{name} is empty")
        if self._store is None:
            raise _Refused(grpc.StatusCode.FAILED_PRECONDITION, f"Runtime {self._runtime} has no artifact store (spec.artifactStore)")
        if request.namespace != self._namespace:
            raise _Refused(grpc.StatusCode.PERMISSION_DENIED, f"this Pod serves Runs of namespace {self._namespace} only")
        run = await self._read(request.run_name)
        if run.spec.runtime != self._runtime:
            raise _Refused(grpc.StatusCode.PERMISSION_DENIED, f"this Pod serves Runs of Runtime {self._runtime} only")
        for ref in run.status.artifact_refs:
            if ref.name == request.artifact_name:
                return self._store, ref
        raise _Refused(grpc.StatusCode.NOT_FOUND, f"Run {request.run_name} has no artifact of that name")

    async def _read(self, name: str) -> Run:
        try:
            return await self._client.get(RUNS, name, namespace=self._namespace)
        except NotFound as error:
            raise _Refused(grpc.StatusCode.NOT_FOUND, f"there is no Run {name}") from error
        except ApiError as error:
            raise _Refused(grpc.StatusCode.UNAVAILABLE, f"Run {name} cannot be read: {error}") from error

    async def _pieces(self, store: ArtifactStore, ref: ArtifactRef, *, offset: int) -> AsyncIterator[bytes]:
        """Never more than a turn of them in memory: gRPC takes the next when the last is on its way."""
        loop = asyncio.get_running_loop()
        reading = store.read(ref, offset=offset)
        pieces = await loop.run_in_executor(self._pool, reading.__enter__)
        try:
            while turn := await loop.run_in_executor(self._pool, _take, pieces):
                for piece in turn:
                    yield piece
        finally:
            await loop.run_in_executor(self._pool, _leave, reading)


def _take(pieces: Iterator[bytes]) -> list[bytes]:
    return list(itertools.islice(pieces, PIECES_A_TURN))


def _leave(reading: AbstractContextManager[Iterator[bytes]]) -> None:
    reading.__exit__(None, None, None)


def _metadata(ref: ArtifactRef, *, offset: int) -> artifact_pb2.ArtifactMetadata:
    return artifact_pb2.ArtifactMetadata(
        name=ref.name,
        type=ref.type,
        content_type=ref.content_type or "",
        size_bytes=ref.size_bytes,
        digest=ref.digest or "",
        offset=offset,
    )

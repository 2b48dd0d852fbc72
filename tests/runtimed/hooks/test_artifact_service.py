"""The artifact service over a real channel, with the Run it asks for from a small stand-in of the API client."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from krtpb.artifact.v1 import artifact_pb2, artifact_pb2_grpc

from k8s.api.run import ArtifactRef, Run
from k8s.client import ApiClient, NotFound
from runtimed.artifacts.filesystem import FilesystemStore
from runtimed.hooks.artifact_service import ArtifactService
from tests.runtimed.artifacts.fixtures import UID
from tests.runtimed.artifacts.jobs import upload
from tests.runtimed.world import run_body, to_run

DATA = os.urandom(200_000)


class OneRun:
    """What the service asks of the API server; the whole of it is asked in tests/controlplane/local/test_artifacts.py."""

    def __init__(self, run: Run) -> None:
        self.run = run

    async def get(self, resource: object, name: str, *, namespace: str) -> Run:
        if name != self.run.metadata.name:
            raise NotFound("runs not found", status=404)
        return self.run


def run_with(refs: list[ArtifactRef], *, runtime: str = "bash") -> Run:
    import msgspec

    body = run_body()
    body["spec"]["runtime"] = runtime
    body["status"] = {"phase": "Succeeded", "artifactRefs": [msgspec.to_builtins(ref) for ref in refs]}
    return to_run(body)


@pytest.fixture
def store(tmp_path: Path) -> FilesystemStore:
    (tmp_path / "store").mkdir()
    return FilesystemStore(str(tmp_path / "store"), volume_claim="claim")


@pytest.fixture
def ref(store: FilesystemStore, tmp_path: Path) -> ArtifactRef:
    staging = tmp_path / "workspace" / UID / "artifacts"
    staging.mkdir(parents=True)
    (staging / "data").write_bytes(DATA)
    return upload(store, tmp_path / "workspace")["data"]


class Serving:
    def __init__(self) -> None:
        self.run: OneRun
        self.stub: Any

    async def download(self, **fields: Any) -> tuple[Any, bytes]:
        request = artifact_pb2.DownloadRequest(**{"namespace": "team-a", "run_name": "sum-1", "artifact_name": "data", **fields})
        first, *rest = [frame async for frame in self.stub.Download(request)]
        assert not first.data
        assert all(not frame.HasField("metadata") and 0 < len(frame.data) <= 65536 for frame in rest)
        return first.metadata, b"".join(frame.data for frame in rest)

    async def refusal(self, **fields: Any) -> tuple[grpc.StatusCode, str]:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.download(**fields)
        return caught.value.code(), caught.value.details() or ""


@pytest.fixture
async def serving(store: FilesystemStore, ref: ArtifactRef) -> AsyncIterator[Serving]:
    serving = Serving()
    serving.run = OneRun(run_with([ref]))
    server = grpc.aio.server()
    with ThreadPoolExecutor(2) as pool:
        service = ArtifactService(cast("ApiClient", serving.run), namespace="team-a", runtime="bash", store=store, pool=pool)
        artifact_pb2_grpc.add_ArtifactServiceServicer_to_server(service, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            serving.stub = artifact_pb2_grpc.ArtifactServiceStub(channel)
            yield serving
        await server.stop(grace=None)


async def test_metadata_come_first_and_then_the_bytes(serving: Serving, ref: ArtifactRef) -> None:
    metadata, data = await serving.download()
    assert data == DATA
    assert (metadata.name, metadata.type, metadata.size_bytes, metadata.digest) == ("data", "file", len(DATA), ref.digest)


@pytest.mark.parametrize("offset", [1, 65536, len(DATA) - 1, len(DATA), len(DATA) + 5])
async def test_an_offset_is_kept_to_and_told(serving: Serving, offset: int) -> None:
    metadata, data = await serving.download(offset=offset)
    assert (metadata.offset, data) == (min(offset, len(DATA)), DATA[offset:])


@pytest.mark.parametrize(
    ("fields", "code", "text"),
    [
        ({"namespace": ""}, grpc.StatusCode.INVALID_ARGUMENT, "namespace is empty"),
        ({"artifact_name": ""}, grpc.StatusCode.INVALID_ARGUMENT, "artifact_name is empty"),
        ({"namespace": "team-b"}, grpc.StatusCode.PERMISSION_DENIED, "namespace team-a only"),
        ({"run_name": "other"}, grpc.StatusCode.NOT_FOUND, "there is no Run other"),
        ({"artifact_name": "../data"}, grpc.StatusCode.NOT_FOUND, "no artifact of that name"),
    ],
)
async def test_refusals(serving: Serving, fields: dict[str, str], code: grpc.StatusCode, text: str) -> None:
    told, details = await serving.refusal(**fields)
    assert told is code
    assert text in details


async def test_a_run_of_another_runtime_is_refused(serving: Serving, ref: ArtifactRef) -> None:
    serving.run.run = run_with([ref], runtime="python")
    assert (await serving.refusal())[0] is grpc.StatusCode.PERMISSION_DENIED


async def test_an_artifact_that_the_store_lost_is_not_found(serving: Serving, store: FilesystemStore) -> None:
    store.delete_run(namespace="team-a", run_uid=UID)
    assert (await serving.refusal())[0] is grpc.StatusCode.NOT_FOUND

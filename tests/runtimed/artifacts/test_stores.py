"""What is claimed of every store of artifacts, on a folder and on a real S3 server."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from k8s.api.run import ArtifactLocation, FilesystemLocation, S3Location
from runtimed.artifacts.errors import ArtifactMissing, ArtifactRefused
from runtimed.artifacts.filesystem import FilesystemStore
from runtimed.artifacts.job import Limits
from runtimed.artifacts.s3 import S3ArtifactStore
from runtimed.artifacts.source import CHUNK_BYTES
from runtimed.artifacts.stores import READ_BYTES, ArtifactStore
from tests.cluster.object_store import ObjectStore
from tests.runtimed.artifacts.fixtures import NOW, OWNER, UID
from tests.runtimed.artifacts.jobs import job_of, read, upload

PATH = f"namespaces/team-a/runs/{UID}"


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_files_and_folders_arrive_with_size_digest_and_kind(store: ArtifactStore, workspace: Path, staging: Path) -> None:
    (staging / "report.txt").write_bytes(b"all is well\n")
    (staging / "empty").touch()
    (staging / "übersicht.json").write_bytes(b"{}")
    (staging / "site" / "css").mkdir(parents=True)
    (staging / "site" / "index.html").write_bytes(b"<p>")
    refs = upload(store, workspace)
    assert list(refs) == ["empty", "report.txt", "site", "übersicht.json"]
    report = refs["report.txt"]
    assert (report.type, report.size_bytes, report.digest) == ("file", 12, digest(b"all is well\n"))
    assert (report.content_type, report.created_at) == ("text/plain; charset=utf-8", NOW)
    assert (refs["empty"].size_bytes, read(store, refs["empty"])) == (0, b"")
    assert read(store, refs["übersicht.json"]) == b"{}"
    site = refs["site"]
    packed = read(store, site)
    assert (site.type, site.content_type, site.digest, site.size_bytes) == ("directory", "application/gzip", digest(packed), len(packed))
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        assert tar.getnames() == ["css", "index.html"]


def test_a_download_goes_on_from_any_offset(store: ArtifactStore, workspace: Path, staging: Path) -> None:
    data = os.urandom(3 * READ_BYTES + 17)
    (staging / "data").write_bytes(data)
    ref = upload(store, workspace)["data"]
    for offset in (0, 1, READ_BYTES, len(data) - 1, len(data)):
        assert read(store, ref, offset=offset) == data[offset:]
    with store.read(ref, offset=0) as pieces:
        assert max(len(piece) for piece in pieces) <= READ_BYTES


def test_a_later_attempt_replaces_all_that_an_earlier_one_left(store: ArtifactStore, workspace: Path, staging: Path) -> None:
    (staging / "first").write_bytes(b"1")
    (staging / "both").write_bytes(b"1")
    old = upload(store, workspace)
    (staging / "first").unlink()
    (staging / "both").write_bytes(b"2")
    new = {ref.name: ref for ref in job_of(store, workspace, owner=replace(OWNER, attempt=2), is_fresh=False).run()}
    assert read(store, new["both"]) == b"2"
    with pytest.raises(ArtifactMissing):
        read(store, old["first"])


def test_the_deletion_of_a_run_leaves_nothing_of_it_and_all_of_others(store: ArtifactStore, workspace: Path, staging: Path) -> None:
    (staging / "data").write_bytes(b"x")
    ours = upload(store, workspace)["data"]
    other = replace(OWNER, run_uid=f"{UID}x")
    (workspace / other.run_uid).mkdir()
    staging.rename(workspace / other.run_uid / "artifacts")
    theirs = upload(store, workspace, owner=other)["data"]
    for _ in range(2):  # what is gone is no error
        store.delete_run(namespace="team-a", run_uid=UID)
    with pytest.raises(ArtifactMissing):
        read(store, ours)
    assert read(store, theirs) == b"x"


def test_an_aborted_upload_leaves_nothing(store: ArtifactStore, workspace: Path, staging: Path, request: pytest.FixtureRequest) -> None:
    for name in ("a", "b"):
        (staging / name).write_bytes(b"x" * 100)
    job = job_of(store, workspace, limits=Limits(per_artifact=1000, per_run=150))
    with pytest.raises(ArtifactRefused, match="'b': 100 bytes, over what is left of the limit, 50 bytes"):
        job.run()
    job.abort(is_ours=True)
    assert left_in(store, request) == []


def left_in(store: ArtifactStore, request: pytest.FixtureRequest) -> list[str]:
    if isinstance(store, FilesystemStore):
        return [str(path) for path in Path(store.root).rglob("*") if path.is_file()]
    server: ObjectStore = request.getfixturevalue("object_store")
    bucket: str = request.getfixturevalue("bucket")
    return server.keys(bucket) + server.unfinished(bucket)


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "namespaces/../../../etc", f"{PATH}/../../x", f"{PATH}/a/b", ""])
def test_a_reference_that_leads_out_of_the_store_is_refused(store: ArtifactStore, workspace: Path, staging: Path, path: str) -> None:
    (staging / "a").write_bytes(b"x")
    ref = upload(store, workspace)["a"]
    location = ref.location
    if location.filesystem is not None:
        moved = ArtifactLocation(filesystem=FilesystemLocation(path=path, volume_claim_name="artifacts-pvc"))
        elsewhere = ArtifactLocation(filesystem=FilesystemLocation(path=location.filesystem.path, volume_claim_name="other"))
    else:
        assert location.s3 is not None
        moved = ArtifactLocation(s3=S3Location(bucket=location.s3.bucket, key=path))
        elsewhere = ArtifactLocation(s3=S3Location(bucket="other", key=location.s3.key))
    for wrong in (moved, elsewhere):
        fake = type(ref)(
            name="a", driver=ref.driver, type="file", location=wrong, size_bytes=1, created_at=NOW, digest=ref.digest, content_type=None
        )
        with pytest.raises((ArtifactRefused, ArtifactMissing)):
            read(store, fake)


def test_the_layout_on_disk_and_its_modes(filesystem: FilesystemStore, store_root: Path, workspace: Path, staging: Path) -> None:
    (staging / "a").write_bytes(b"x")
    ref = upload(filesystem, workspace)["a"]
    assert ref.location == ArtifactLocation(filesystem=FilesystemLocation(path=f"{PATH}/a", volume_claim_name="artifacts-pvc"))
    assert (store_root / PATH / "a").read_bytes() == b"x"
    assert (store_root / PATH).stat().st_mode & 0o777 == 0o750
    assert [path.name for path in (store_root / PATH).parent.iterdir()] == [UID]


def test_a_link_in_the_store_is_not_followed(filesystem: FilesystemStore, store_root: Path, workspace: Path, staging: Path) -> None:
    (staging / "a").write_bytes(b"x")
    elsewhere = store_root.parent / "elsewhere"
    elsewhere.mkdir()
    (store_root / "namespaces").mkdir()
    (store_root / "namespaces" / "team-a").symlink_to(elsewhere)
    with pytest.raises(Exception, match="artifact store: write"):
        upload(filesystem, workspace)
    assert list(elsewhere.iterdir()) == []


@pytest.mark.slow
def test_the_key_and_the_metadata_in_the_bucket(
    s3: S3ArtifactStore, object_store: ObjectStore, bucket: str, workspace: Path, staging: Path
) -> None:
    (staging / "a.json").write_bytes(b"{}")
    ref = upload(s3, workspace)["a.json"]
    key = f"some/prefix/{PATH}/a.json"
    assert ref.location == ArtifactLocation(s3=S3Location(bucket=bucket, key=key))
    head = object_store.client().head_object(Bucket=bucket, Key=key)
    assert head["ContentType"] == "application/json"
    assert head["Metadata"] == {
        "kruntimes-run-name": "sum-1",
        "kruntimes-run-uid": UID,
        "kruntimes-namespace": "team-a",
        "kruntimes-runtime": "bash",
        "kruntimes-artifact-name": "a.json",
        "kruntimes-artifact-type": "file",
        "kruntimes-digest": digest(b"{}"),
    }


@pytest.mark.slow
def test_a_large_file_goes_in_parts_and_comes_back_whole(
    s3: S3ArtifactStore, object_store: ObjectStore, bucket: str, workspace: Path, staging: Path
) -> None:
    data = os.urandom(1 << 20) * 17 + b"end"
    (staging / "big").write_bytes(data)
    ref = upload(s3, workspace)["big"]
    assert (ref.size_bytes, ref.digest) == (len(data), digest(data))
    assert read(s3, ref, offset=1 << 20) == data[1 << 20 :]
    head = object_store.client().head_object(Bucket=bucket, Key=ref.location.s3.key if ref.location.s3 else "")
    assert head["ETag"].endswith('-4"')
    assert head["Metadata"]["kruntimes-digest"] == ref.digest
    assert object_store.unfinished(bucket) == []


def test_the_same_folder_packs_to_the_same_bytes(filesystem: FilesystemStore, workspace: Path, staging: Path) -> None:
    def make(name: str, order: list[str]) -> bytes:
        for file in order:
            path = staging / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.encode())
            os.utime(path, (order.index(file), order.index(file)))
        return read(filesystem, upload(filesystem, workspace)[name])

    files = ["b/c", "a", "b-", "b/a", "é" * 100]
    packed = make("one", files)
    assert packed == make("two", list(reversed(files)))
    assert packed[4:8] == b"\0\0\0\0"  # time
    assert packed[9] == 255  # operating system: none
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(packed))) as tar:
        entries = tar.getmembers()
    assert [entry.name for entry in entries] == ["a", "b", "b/a", "b/c", "b-", "é" * 100]
    assert {(entry.uid, entry.gid, entry.mtime, entry.uname) for entry in entries} == {(0, 0, 0, "")}


def test_a_file_of_many_chunks_has_the_right_digest(filesystem: FilesystemStore, workspace: Path, staging: Path) -> None:
    data = os.urandom(CHUNK_BYTES) * 9 + b"end"  # more than is written back at a time, too
    (staging / "large").write_bytes(data)
    ref = upload(filesystem, workspace)["large"]
    assert (ref.size_bytes, ref.digest) == (len(data), digest(data))
    assert read(filesystem, ref, offset=0) == data

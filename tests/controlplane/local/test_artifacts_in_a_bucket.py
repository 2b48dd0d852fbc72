"""A Runtime of local mode whose artifacts go to S3, a real server behind a proxy: kept, downloaded, and gone with their Run."""

from __future__ import annotations

import base64
import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.cluster.object_store import SECRET_KEY, ObjectStore
from tests.controlplane.local.localmode import LocalMode, local_mode
from tests.fault import s3_faults
from tests.fault.s3_faults import Rule, S3Faults, faulty_beside

Json = dict[str, Any]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
SCRIPT = """cd "$KRUNTIME_ARTIFACTS_DIR"
head -c 9000000 /dev/urandom > noise.bin
mkdir site && echo hello > site/index.html
"""


@pytest.fixture(scope="module")
def bucket(object_store: ObjectStore) -> str:
    return object_store.make_bucket()


@pytest.fixture(scope="module")
def faults(object_store: ObjectStore) -> Iterator[S3Faults]:
    with faulty_beside(object_store.endpoint) as faults:
        yield faults


@pytest.fixture(scope="module")
def local(object_store: ObjectStore, bucket: str, faults: S3Faults) -> Iterator[LocalMode]:
    with local_mode() as local:
        local.krt("local", "up")
        data = {name: base64.b64encode(value.encode()).decode() for name, value in object_store.environment.items()}
        local.hands.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s3-credentials"}, "data": data})
        store = {"bucket": bucket, "prefix": "team", "endpoint": faults.endpoint, "forcePathStyle": True}
        spec = {
            "template": {"spec": {"containers": [{"name": "runtime", "image": "kruntimes-bash-runtime"}]}},
            "artifactStore": {"driver": "s3", "s3": {**store, "credentialsSecretName": "s3-credentials"}},
        }
        runtime = {"apiVersion": "kruntimes.io/v1alpha1", "kind": "Runtime", "metadata": {"name": "keeping"}, "spec": spec}
        local.hands.create(runtime)
        local.hands.wait("Runtime", "keeping", until=lambda found: found.get("status", {}).get("readyReplicas") == 1)
        yield local


def create_run(local: LocalMode, **spec: Any) -> str:
    body = {
        "apiVersion": "kruntimes.io/v1alpha1",
        "kind": "Run",
        "metadata": {"generateName": "test-"},
        "spec": {"runtime": "keeping", "mode": {"task": {}}, "source": {"inline": SCRIPT}, **spec},
    }
    name: str = local.hands.create(body)["metadata"]["name"]
    return name


@pytest.fixture(scope="module")
def run(local: LocalMode) -> Json:
    """Ended, with a file and a directory."""
    name = create_run(local)
    ended = local.hands.wait("Run", name, until=lambda found: "completionTime" in found.get("status", {}))
    assert ended["status"]["phase"] == "Succeeded", ended["status"]
    return ended


def is_read(request: web.Request) -> bool:
    """Of an object; the rest is asked for in lists."""
    return request.method == "GET" and "list-type" not in request.query and "uploads" not in request.query


def test_a_file_and_a_folder_are_in_the_bucket_and_are_downloaded(
    local: LocalMode, run: Json, object_store: ObjectStore, bucket: str, tmp_path: Path
) -> None:
    uid, name = run["metadata"]["uid"], run["metadata"]["name"]
    assert object_store.keys(bucket) == [f"team/namespaces/default/runs/{uid}/{each}" for each in ("noise.bin", "site")]
    local.krt("artifact", "download", name, "noise.bin", "-o", str(tmp_path))
    local.krt("artifact", "download", name, "site", "-o", str(tmp_path))
    [key, _] = object_store.keys(bucket)
    stored = object_store.client().get_object(Bucket=bucket, Key=key)["Body"].read()
    assert (tmp_path / "noise.bin").read_bytes() == stored
    assert len(stored) == 9_000_000
    with tarfile.open(fileobj=io.BytesIO((tmp_path / "site.tar.gz").read_bytes())) as tar:
        member = tar.extractfile("index.html")
        assert member is not None
        assert member.read() == b"hello\n"


def test_a_download_with_expired_credentials_says_so_and_leaves_nothing(
    local: LocalMode, run: Json, faults: S3Faults, tmp_path: Path
) -> None:
    faults.rules = [Rule(s3_faults.EXPIRED, is_read)]
    refused = local.krt("artifact", "download", run["metadata"]["name"], "noise.bin", "-o", str(tmp_path / "noise"), code=125)
    assert "artifact store: GetObject: ExpiredToken: its credentials have expired; renew them" in refused.stderr
    assert os.listdir(tmp_path) == []
    faults.rules = []
    local.krt("artifact", "download", run["metadata"]["name"], "noise.bin", "-o", str(tmp_path / "noise"))
    assert (tmp_path / "noise").stat().st_size == 9_000_000


def test_a_download_that_a_store_cuts_again_and_again_goes_on_until_it_is_whole(
    local: LocalMode, run: Json, faults: S3Faults, tmp_path: Path
) -> None:
    cuts = Rule(s3_faults.CUT_ANSWER, is_read, count=3)
    faults.rules = [cuts]
    local.krt("artifact", "download", run["metadata"]["name"], "noise.bin", "-o", str(tmp_path / "noise"))
    assert cuts.count == 0
    assert (tmp_path / "noise").stat().st_size == 9_000_000
    assert os.listdir(tmp_path) == ["noise"]


def test_with_the_time_to_live_of_a_run_its_objects_go(local: LocalMode, run: Json, object_store: ObjectStore, bucket: str) -> None:
    """By a maintainer that the cleanup controller has started, with the credentials of the Secret."""
    before = object_store.keys(bucket)
    assert [each for each in local.hands.list("Deployment") if each["metadata"]["name"].startswith("runtime-maintainer-")] == []
    name = create_run(local, ttlSecondsAfterFinished=1)
    local.hands.wait_for_deletion("Run", name)
    assert object_store.keys(bucket) == before
    assert object_store.unfinished(bucket) == []
    maintainers = [each for each in local.hands.list("Deployment") if each["metadata"]["name"].startswith("runtime-maintainer-")]
    assert len(maintainers) == 1


def test_a_store_that_is_away_keeps_the_run_until_it_is_back(
    local: LocalMode, run: Json, faults: S3Faults, object_store: ObjectStore, bucket: str
) -> None:
    """The last that uses `run`."""
    name = run["metadata"]["name"]
    faults.rules = [Rule(s3_faults.UNAVAILABLE)]
    local.krt("delete", name)
    faults.wait_until_spoilt(faults.spoilt + 3)  # one of its requests, with the SDK's own repetitions
    assert "deletionTimestamp" in local.hands.get("Run", name)["metadata"]
    assert object_store.keys(bucket) != []
    faults.rules = []
    local.hands.wait_for_deletion("Run", name)
    assert object_store.keys(bucket) == []


def test_no_log_has_the_credentials(local: LocalMode, run: Json) -> None:
    for path in local.state.root.rglob("*.log"):
        assert SECRET_KEY not in path.read_text(errors="replace"), path

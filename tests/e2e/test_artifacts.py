"""Files that Runs leave: kept on a volume or in a bucket, fetched through the API server, and gone with their Run by a maintainer Pod."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.s3_pod import start_s3

pytestmark = [pytest.mark.node, pytest.mark.slow, pytest.mark.timeout(300)]

CLAIM = "artifacts"
ROOT = "/var/lib/kruntimes/artifacts"
LEAVE_A_FILE_AND_A_FOLDER = 'cd "$KRUNTIME_ARTIFACTS_DIR" && echo fine > report.txt && mkdir -p site/deep && echo x > site/deep/a'


@pytest.fixture
def claim(cluster: Cluster, tmp_path: Path) -> Iterator[str]:
    """Of the default StorageClass; where there is none, of a folder of this machine, which then is the node."""
    requests = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "100Mi"}}}
    if has_default_class(cluster):
        cluster.apply(claim_of(requests))
        yield CLAIM
        return
    folder = tmp_path / "volume"
    folder.mkdir()
    folder.chmod(0o777)  # the kubelet gives no group to a folder of the host
    volume = f"{cluster.namespace}-{CLAIM}"
    spec = {
        "capacity": {"storage": "100Mi"},
        "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": str(folder)},
        "storageClassName": "e2e",
    }
    # STRICTLY before the claim: one that finds no volume is tried again after 15 s.
    cluster.apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume}, "spec": spec})
    try:
        cluster.apply(claim_of({**requests, "storageClassName": "e2e", "volumeName": volume}))
        yield CLAIM
    finally:
        cluster.kubectl("delete", "persistentvolume", volume, "--wait=false")


def has_default_class(cluster: Cluster) -> bool:
    classes = cluster.get("storageclasses")["items"]
    return any((one["metadata"].get("annotations") or {}).get("storageclass.kubernetes.io/is-default-class") == "true" for one in classes)


def claim_of(spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": CLAIM}, "spec": spec}


def test_artifacts_on_a_volume(cluster: Cluster, claim: str, tmp_path: Path) -> None:
    store = {"driver": "filesystem", "filesystem": {"volumeClaimName": claim}}
    cluster.apply_runtime("keeping", kind="bash", replicas=1, artifactStore=store)
    (pod,) = cluster.pods("keeping")

    def stored() -> list[str]:
        return cluster.execute(pod["metadata"]["name"], "runtimed", "find", ROOT, "-type", "f").stdout.split()

    assert_kept_until_the_run_goes(cluster, "keeping", stored=stored, folder=tmp_path)


def test_artifacts_in_a_bucket(cluster: Cluster, tmp_path: Path) -> None:
    s3 = start_s3(cluster)
    cluster.apply_runtime("sending", kind="bash", replicas=1, artifactStore=s3.store)
    assert_kept_until_the_run_goes(cluster, "sending", stored=s3.keys, folder=tmp_path)


def assert_kept_until_the_run_goes(cluster: Cluster, runtime: str, *, stored: Callable[[], list[str]], folder: Path) -> None:
    run = cluster.create_run(LEAVE_A_FILE_AND_A_FOLDER, runtime=runtime)
    status = cluster.wait_for_phase(run, "Succeeded")
    assert [(ref["name"], ref["type"]) for ref in status["artifactRefs"]] == [("report.txt", "file"), ("site", "directory")]
    uid = cluster.get("run", run)["metadata"]["uid"]
    assert sorted(path.rpartition(f"/runs/{uid}/")[2] for path in stored()) == ["report.txt", "site"]

    download(cluster, run, "report.txt", folder / "report.txt")
    download(cluster, run, "site", folder / "site.tar.gz")
    assert (folder / "report.txt").read_text() == "fine\n"
    with tarfile.open(folder / "site.tar.gz") as site:
        deep = site.extractfile(next(member for member in site if member.name.endswith("deep/a")))
        assert deep is not None
        assert deep.read() == b"x\n"

    cluster.kubectl("patch", "run", run, "--type=merge", '--patch={"spec":{"ttlSecondsAfterFinished":1}}')
    cluster.wait("delete", f"run/{run}")
    assert stored() == []
    assert cluster.get("deployments", "--selector=app.kubernetes.io/component=runtime-maintainer")["items"]


def download(cluster: Cluster, run: str, name: str, target: Path) -> None:
    done = cluster.krt("artifact", "download", run, name, f"--output={target}")
    assert done.returncode == 0, done.stderr

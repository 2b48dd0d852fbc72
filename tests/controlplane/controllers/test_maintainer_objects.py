from __future__ import annotations

from controlplane.controllers.maintainer_objects import MaintainerSettings, maintainer_objects
from k8s.api.runtime import ArtifactStore, FilesystemStore, S3Store

SETTINGS = MaintainerSettings("kruntimes-controller:1", ("regcred",))


def test_a_filesystem_store_is_mounted_and_owned() -> None:
    store = ArtifactStore(driver="filesystem", filesystem=FilesystemStore(volume_claim_name="claim"))
    account, role, binding, deployment = maintainer_objects(store, namespace="team-a", store_hash="0123456789abcdef", settings=SETTINGS)
    assert [item["metadata"]["name"] for item in (account, role, binding)] == ["kruntimes-runtime-maintainer"] * 3
    assert {item["metadata"]["labels"]["kruntimes.io/artifact-store-hash"] for item in (account, role, binding)} == {"rbac"}
    assert deployment["metadata"]["name"] == "runtime-maintainer-0123456789abcdef"
    assert deployment["spec"]["selector"]["matchLabels"] == deployment["metadata"]["labels"]
    pod = deployment["spec"]["template"]["spec"]
    assert pod["volumes"] == [{"name": "artifact-store", "persistentVolumeClaim": {"claimName": "claim"}}]
    assert pod["securityContext"] == {"fsGroup": 65532, "fsGroupChangePolicy": "OnRootMismatch"}
    assert pod["imagePullSecrets"] == [{"name": "regcred"}]
    [container] = pod["containers"]
    assert (container["name"], container["command"]) == ("cleaner", ["/runtime-maintainer"])
    assert container["args"] == [
        "--run-namespace=team-a",
        "--store-hash=0123456789abcdef",
        "--driver=filesystem",
        "--filesystem-root=/var/lib/kruntimes/artifacts",
        "--filesystem-volume-claim=claim",
    ]
    assert "ownerReferences" not in deployment["metadata"]


def test_an_s3_store_has_its_flags_and_its_secret_by_environment_alone() -> None:
    s3 = S3Store(bucket="b", prefix="p", region="r", endpoint="https://s3.example.org", force_path_style=True, credentials_secret_name="s")
    *_, deployment = maintainer_objects(
        ArtifactStore(driver="s3", s3=s3), namespace="n", store_hash="h", settings=MaintainerSettings("image")
    )
    pod = deployment["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert container["args"][3:] == [
        "--s3-bucket=b",
        "--s3-prefix=p",
        "--s3-region=r",
        "--s3-endpoint=https://s3.example.org",
        "--s3-force-path-style=true",
    ]
    assert container["envFrom"] == [{"secretRef": {"name": "s"}}]
    assert "volumes" not in pod

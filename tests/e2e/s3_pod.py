"""A real S3 server as a Pod: SeaweedFS, whose one program is copied into a container of an image that is there anyway."""

from __future__ import annotations

import json
from typing import Any

from tests.cluster.object_store import ACCESS_KEY, SECRET_KEY, WEED, identities, server_command
from tests.e2e.cluster import Cluster
from tests.e2e.recorder import RESTRICTED

NAME = "s3"
SECRET = "s3-credentials"
FOLDER = "/data"
PORT = 8333
BUCKET = "results"
# Until the program is there; its name appears by a rename, so never half of it.
WAIT_THEN_SERVE = f"until [ -x {FOLDER}/weed ]; do sleep 0.2; done; exec {' '.join(server_command(f'{FOLDER}/weed', folder=FOLDER))}"
BOTO = f"import boto3, json; s3 = boto3.client('s3', endpoint_url='http://127.0.0.1:{PORT}', region_name='us-east-1')\n"


class S3Pod:
    """Get one by `start_s3`. It has one bucket, and the Secret with the credentials lies beside it."""

    def __init__(self, cluster: Cluster, *, endpoint: str) -> None:
        self._cluster = cluster
        self.store = {
            "driver": "s3",
            "s3": {"bucket": BUCKET, "prefix": "e2e", "endpoint": endpoint, "forcePathStyle": True, "credentialsSecretName": SECRET},
        }

    def keys(self) -> list[str]:
        """Of all objects in the bucket."""
        listing = f"print(json.dumps([one['Key'] for one in s3.list_objects_v2(Bucket='{BUCKET}').get('Contents', [])]))"
        found: list[str] = json.loads(_execute(self._cluster, "python3", "-c", BOTO + listing))
        return found


def start_s3(cluster: Cluster) -> S3Pod:
    """In the cluster's namespace, from which it goes with everything else."""
    cluster.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": _credentials()},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME}, "data": {"s3.json": identities()}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME}, "spec": _pod(cluster.image("runtimed"))},
    )
    cluster.wait("jsonpath={.status.containerStatuses[0].state.running}", f"pod/{NAME}")
    cluster.kubectl("cp", str(WEED), f"{NAME}:{FOLDER}/weed.part", f"--container={NAME}")
    _execute(cluster, "sh", "-c", f"chmod +x {FOLDER}/weed.part && mv {FOLDER}/weed.part {FOLDER}/weed")
    cluster.wait("condition=Ready", f"pod/{NAME}")
    _execute(cluster, "python3", "-c", BOTO + f"s3.create_bucket(Bucket='{BUCKET}')")
    return S3Pod(cluster, endpoint=f"http://{cluster.get('pod', NAME)['status']['podIP']}:{PORT}")


def _pod(image: str) -> dict[str, Any]:
    container = {
        "name": NAME,
        "image": image,  # for its boto3
        "command": ["sh", "-c", f"cp /config/s3.json {FOLDER} && {WAIT_THEN_SERVE} -ip=$POD_IP -ip.bind=0.0.0.0"],
        "env": [
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            *({"name": name, "value": value} for name, value in _credentials().items()),
        ],
        "securityContext": RESTRICTED,
        "volumeMounts": [
            {"name": "config", "mountPath": "/config"},
            {"name": "data", "mountPath": FOLDER},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
        "resources": {"requests": {"cpu": "10m", "memory": "128Mi"}},
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
    }
    volumes = [{"name": "config", "configMap": {"name": NAME}}, {"name": "data", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}]
    return {"containers": [container], "automountServiceAccountToken": False, "volumes": volumes}


def _credentials() -> dict[str, str]:
    return {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_EC2_METADATA_DISABLED": "true"}


def _execute(cluster: Cluster, *command: str) -> str:
    done = cluster.execute(NAME, NAME, *command)
    assert done.returncode == 0, done.stderr
    return done.stdout

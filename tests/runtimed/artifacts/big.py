"""One upload and one download in a process of its own, as runtimed does them or as plainly as can be: what they took, in JSON.

python -m tests.runtimed.artifacts.big ours|plain STORE WORKSPACE        STORE: a folder, or endpoint|bucket

Plain is `cp` and reading the copy, or boto3's `upload_file` and `get_object`: what anybody would do who need not say what arrived.
Nothing that is said here is hashed again: a reader's digest is the reader's to compute.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from k8s.api.runtime import S3Store
from runtimed.artifacts.filesystem import FilesystemStore
from runtimed.artifacts.s3 import S3ArtifactStore
from runtimed.artifacts.stores import ArtifactStore
from tests.runtimed.artifacts.fixtures import OWNER, UID
from tests.runtimed.artifacts.jobs import job_of

NAME = "big"
READ_BYTES = 1 << 20


def peak_mib() -> float:
    """The most that this process has had in memory."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024


def open_store(text: str) -> ArtifactStore:
    if "|" not in text:
        return FilesystemStore(text, volume_claim="claim")
    endpoint, bucket = text.split("|")
    store = S3ArtifactStore(S3Store(bucket=bucket, endpoint=endpoint, force_path_style=True))
    store.delete_run(namespace="team-a", run_uid="warm-up")  # boto3 is there: what follows is the upload's own
    return store


def warm_up(folder: Path, source: Path) -> None:
    """What is freed here is what the timed copy is given a moment later.

    In a virtual machine, pages that nobody has used for seconds belong to the host again: whoever comes first pays for them, five times
    what the copy itself costs.
    """
    subprocess.run(["cp", source, folder / "warm"], check=True)
    (folder / "warm").unlink()


def do_ours(store: ArtifactStore, workspace: Path) -> dict[str, float]:
    before = peak_mib()
    began = time.monotonic()
    [ref] = job_of(store, workspace).run()
    uploaded = time.monotonic()
    with store.read(ref, offset=0) as pieces:
        size = sum(map(len, pieces))
    ended = time.monotonic()
    extra_mib = peak_mib() - before
    digest = hashlib.sha256()
    with store.read(ref, offset=0) as pieces:
        for piece in pieces:
            digest.update(piece)
    assert (size, ref.digest) == (ref.size_bytes, f"sha256:{digest.hexdigest()}")
    store.delete_run(namespace=OWNER.namespace, run_uid=UID)
    return {"upload": uploaded - began, "download": ended - uploaded, "extra_mib": extra_mib, "base_mib": before}


def copy_and_read(folder: Path, source: Path) -> dict[str, float]:
    target = folder / NAME
    began = time.monotonic()
    subprocess.run(["cp", source, target], check=True)
    copied = time.monotonic()
    with target.open("rb") as file:
        os.fsync(file)
    synced = time.monotonic()
    buffer = memoryview(bytearray(READ_BYTES))
    with target.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    ended = time.monotonic()
    target.unlink()
    return {"upload": copied - began, "synced upload": synced - began, "download": ended - synced}


def send_and_get(client: Any, bucket: str, source: Path) -> dict[str, float]:
    client.list_objects_v2(Bucket=bucket)  # connected
    began = time.monotonic()
    client.upload_file(str(source), bucket, NAME)
    sent = time.monotonic()
    body = client.get_object(Bucket=bucket, Key=NAME)["Body"]
    while body.read(READ_BYTES):
        pass
    ended = time.monotonic()
    client.delete_object(Bucket=bucket, Key=NAME)
    return {"upload": sent - began, "download": ended - sent}


def do_plainly(store: str, source: Path) -> dict[str, float]:
    if "|" not in store:
        return copy_and_read(Path(store), source)
    import boto3
    from botocore.config import Config

    endpoint, bucket = store.split("|")
    config = Config(s3={"addressing_style": "path"})
    return send_and_get(boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", config=config), bucket, source)


def main() -> None:
    how, store, workspace = sys.argv[1:]
    source = Path(workspace) / UID / "artifacts" / NAME
    if "|" not in store:
        warm_up(Path(store), source)
    told = do_plainly(store, source) if how == "plain" else do_ours(open_store(store), Path(workspace))
    os.sync()  # what one leaves to be written must not be the next one's to wait for
    print(json.dumps(told))


if __name__ == "__main__":
    main()

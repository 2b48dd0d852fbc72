"""One upload and one download in a process of its own, as runtimed does them: what they took, as a line of JSON.

python -m tests.runtimed.artifacts.big STORE WORKSPACE        STORE: a folder, or endpoint|bucket
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path

from k8s.api.runtime import S3Store
from runtimed.artifacts.filesystem import FilesystemStore
from runtimed.artifacts.s3 import S3ArtifactStore
from runtimed.artifacts.stores import ArtifactStore
from tests.runtimed.artifacts.jobs import job_of


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


def main() -> None:
    store = open_store(sys.argv[1])
    before = peak_mib()
    began = time.monotonic()
    [ref] = job_of(store, Path(sys.argv[2])).run()
    uploaded = time.monotonic()
    digest = hashlib.sha256()
    with store.read(ref, offset=0) as pieces:
        for piece in pieces:
            digest.update(piece)
    ended = time.monotonic()
    assert ref.digest == f"sha256:{digest.hexdigest()}"
    print(json.dumps({"upload": uploaded - began, "download": ended - uploaded, "extra_mib": peak_mib() - before, "base_mib": before}))


if __name__ == "__main__":
    main()

"""Artifacts as a user of local mode meets them: a Runtime with a claim, a Run that leaves files, krt artifact."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.controlplane.local.localmode import LocalMode, local_mode

Json = dict[str, Any]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
RUNTIME: Json = {
    "apiVersion": "kruntimes.io/v1alpha1",
    "kind": "Runtime",
    "metadata": {"name": "keeping"},
    "spec": {
        "template": {"spec": {"containers": [{"name": "runtime", "image": "kruntimes-bash-runtime"}]}},
        "artifactStore": {"driver": "filesystem", "filesystem": {"volumeClaimName": "artifacts"}},
    },
}
SCRIPT = """cd "$KRUNTIME_ARTIFACTS_DIR"
echo fine > report.txt
mkdir site && echo hello > site/index.html
head -c 3000000 /dev/urandom > noise.bin
"""


@pytest.fixture(scope="module")
def local() -> Iterator[LocalMode]:
    with local_mode() as local:
        local.krt("local", "up")
        local.hands.create(RUNTIME)
        local.hands.wait("Runtime", "keeping", until=lambda found: found.get("status", {}).get("readyReplicas") == 1)
        yield local


@pytest.fixture(scope="module")
def run(local: LocalMode) -> Json:
    """Ended, with three artifacts."""
    body = {
        "apiVersion": "kruntimes.io/v1alpha1",
        "kind": "Run",
        "metadata": {"generateName": "test-"},
        "spec": {"runtime": "keeping", "mode": {"task": {}}, "source": {"inline": SCRIPT}},
    }
    name = local.hands.create(body)["metadata"]["name"]
    ended = local.hands.wait("Run", name, until=lambda found: "completionTime" in found.get("status", {}))
    assert ended["status"]["phase"] == "Succeeded", ended["status"]
    return ended


def name_of(run: Json) -> str:
    name: str = run["metadata"]["name"]
    return name


def part_of(run: Json, artifact: str, target: Path) -> Path:
    """Where krt keeps what it has of a download."""
    [ref] = [ref for ref in run["status"]["artifactRefs"] if ref["name"] == artifact]
    mark = hashlib.sha256(f"{name_of(run)}/{artifact}/{ref['digest']}".encode()).hexdigest()[:16]
    return target.parent / f".{target.name}.part-{mark}"


def test_they_are_listed(local: LocalMode, run: Json) -> None:
    lines = local.krt("artifact", "list", name_of(run)).stdout.splitlines()
    assert lines[0].split() == ["NAME", "TYPE", "SIZE", "CONTENT-TYPE", "DIGEST"]
    assert lines[1].split()[:3] == ["noise.bin", "file", "3000000"]
    assert local.krt("artifact", "list", name_of(run), "-o", "name").stdout.split() == ["noise.bin", "report.txt", "site"]


def test_a_file_is_downloaded_and_checked(local: LocalMode, run: Json, tmp_path: Path) -> None:
    said = local.krt("artifact", "download", name_of(run), "noise.bin", "-o", str(tmp_path / "here")).stdout
    assert said == f"Downloaded noise.bin (file, 3000000 bytes) to {tmp_path / 'here'}\n"
    data = (tmp_path / "here").read_bytes()
    [ref] = [ref for ref in run["status"]["artifactRefs"] if ref["name"] == "noise.bin"]
    assert ref["digest"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert os.listdir(tmp_path) == ["here"]


def test_a_folder_comes_as_an_archive_into_a_folder(local: LocalMode, run: Json, tmp_path: Path) -> None:
    local.krt("artifact", "download", name_of(run), "site", "-o", str(tmp_path))
    with tarfile.open(fileobj=io.BytesIO((tmp_path / "site.tar.gz").read_bytes())) as tar:
        assert tar.getnames() == ["index.html"]


def test_a_download_goes_on_where_it_was_and_what_was_spoilt_meanwhile_is_not_put_in_place(
    local: LocalMode, run: Json, tmp_path: Path
) -> None:
    local.krt("artifact", "download", name_of(run), "noise.bin", "-o", str(tmp_path / "whole"))
    data = (tmp_path / "whole").read_bytes()
    part = part_of(run, "noise.bin", tmp_path / "again")
    part.write_bytes(data[:2_000_000])
    local.krt("artifact", "download", name_of(run), "noise.bin", "-o", str(tmp_path / "again"))
    assert (tmp_path / "again").read_bytes() == data
    # That it goes on, rather than beginning anew, shows where what is there is wrong.
    spoilt = part_of(run, "noise.bin", tmp_path / "third")
    spoilt.write_bytes(b"other" + data[5:2_000_000])
    refused = local.krt("artifact", "download", name_of(run), "noise.bin", "-o", str(tmp_path / "third"), code=125)
    assert "its digest is not the one in the Run's status; it was not saved" in refused.stderr
    assert sorted(os.listdir(tmp_path)) == ["again", "whole"]


def test_what_is_not_there_is_named(local: LocalMode, run: Json) -> None:
    refused = local.krt("artifact", "download", name_of(run), "nothing", code=125)
    assert "has no artifact 'nothing'; there are: noise.bin, report.txt, site" in refused.stderr


def test_with_the_run_its_artifacts_go(local: LocalMode, run: Json) -> None:
    """The last of this file: it deletes the Run, a maintainer comes, and the folder is gone before the Run is."""
    path = local.state.node / "claims" / "default" / "artifacts" / run["status"]["artifactRefs"][0]["location"]["filesystem"]["path"]
    assert path.exists()
    local.krt("delete", name_of(run))
    local.hands.wait_for_deletion("Run", name_of(run))
    assert not path.parent.exists()


def test_a_run_past_its_time_to_live_takes_its_artifacts_along(local: LocalMode) -> None:
    body = {
        "apiVersion": "kruntimes.io/v1alpha1",
        "kind": "Run",
        "metadata": {"generateName": "test-"},
        "spec": {
            "runtime": "keeping",
            "mode": {"task": {}},
            "source": {"inline": 'echo x > "$KRUNTIME_ARTIFACTS_DIR/x"'},
            "ttlSecondsAfterFinished": 1,
        },
    }
    local.hands.wait_for_deletion("Run", local.hands.create(body)["metadata"]["name"])
    runs = local.state.node / "claims" / "default" / "artifacts" / "namespaces" / "default" / "runs"
    assert os.listdir(runs) == []

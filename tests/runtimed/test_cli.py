from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from runtimed.cli import main
from tests.runtimed.rig import REPO

ARTIFACT_FLAGS = (
    "--artifact-store-driver",
    "--artifact-store-root",
    "--artifact-volume-claim",
    "--artifact-s3-bucket",
    "--artifact-s3-prefix",
    "--artifact-s3-region",
    "--artifact-s3-endpoint",
    "--artifact-s3-force-path-style",
    "--artifact-s3-credentials-secret-name",
    "--artifact-s3-upload-part-size",
    "--artifact-s3-upload-concurrency",
    "--max-artifact-bytes",
    "--max-artifacts-bytes",
)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--artifact-store-driver=s3"], "--artifact-s3-bucket: an s3 store needs"),
        (["--artifact-store-driver=tape"], "--artifact-store-driver: 'tape' is neither filesystem nor s3"),
        (["--artifact-store-root=/x"], "--artifact-volume-claim: a filesystem store needs"),
        (["--artifact-store-root=x", "--artifact-volume-claim=c"], "--artifact-store-root: a filesystem store needs the absolute path"),
        (["--artifact-store-root=/x", "--artifact-volume-claim=c"], "--runtime-name: an artifact store needs"),
        (
            ["--artifact-store-driver=s3", "--artifact-s3-bucket=b", "--artifact-s3-endpoint=nowhere"],
            "spec.artifactStore.s3.endpoint: it must have a scheme and a host",
        ),
        (["--status-addr=nonsense"], "'nonsense' is no address"),
        (["--workers=many"], "'many' is not a valid integer"),
    ],
)
def test_a_flag_that_cannot_be_is_refused_naming_it(arguments: list[str], text: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert text in result.output


def test_every_flag_of_the_interface_is_known() -> None:
    known = {flag for parameter in main.params for flag in parameter.opts}
    ours = {"--runtime-endpoint", "--runtime-name", "--workers", "--status-addr", "--metrics-bind-address", "--health-probe-bind-address"}
    assert known >= {*ours, *ARTIFACT_FLAGS, "--kubeconfig", "-v", "--workspace", "--state-dir"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("files", "flags", "text"),
    [
        ({"kubeconfig": "{"}, [], "kubeconfig"),
        ({}, [], "kubeconfig"),
    ],
    ids=["broken", "missing"],
)
def test_a_broken_kubeconfig_ends_it_with_2_and_a_clear_line(tmp_path: Path, files: dict[str, str], flags: list[str], text: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    command = [sys.executable, "-m", "runtimed", f"--kubeconfig={tmp_path / 'kubeconfig'}", f"--state-dir={tmp_path / 'state'}", *flags]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(REPO), str(REPO / "proto")])}
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 2
    assert text in ended.stderr
    assert "Traceback" not in ended.stderr

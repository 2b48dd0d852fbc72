from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from runtimed.cli import main
from tests.runtimed.rig import REPO


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--artifact-store-driver=s3"], "--artifact-store-driver: this version of runtimed has no artifact store yet"),
        (["--artifact-store-root=/x"], "remove spec.artifactStore from the Runtime"),
        (["--status-addr=nonsense"], "'nonsense' is no address"),
        (["--workers=many"], "'many' is not a valid integer"),
    ],
)
def test_a_flag_that_cannot_be_is_refused_naming_it(arguments: list[str], text: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert text in result.output


def test_every_flag_of_the_interface_is_known() -> None:
    from runtimed.cli import _ARTIFACT_TEXT_FLAGS

    known = {flag for parameter in main.params for flag in parameter.opts}
    ours = {"--runtime-endpoint", "--runtime-name", "--workers", "--status-addr", "--metrics-bind-address", "--health-probe-bind-address"}
    assert known >= {*ours, *_ARTIFACT_TEXT_FLAGS, "--kubeconfig", "-v", "--workspace", "--state-dir"}


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

"""`make kind-up` where what it needs is missing: the real script, on a PATH that lacks it. With kind it was never run (docs/install.md)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).parents[3]
SHELL = ("bash", "dirname", "env")


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A PATH with a shell and nothing else."""
    for name in SHELL:
        (tmp_path / name).symlink_to(Path("/usr/bin") / name)
    return tmp_path


def kind_up(programs: Path) -> subprocess.CompletedProcess[str]:
    command = ["/usr/bin/env", "-i", f"PATH={programs}", str(REPO / "k8s/kind-up.sh")]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


def add(programs: Path, name: str, *, exit_code: int = 0) -> None:
    program = programs / name
    program.write_text(f"#!/usr/bin/env bash\nexit {exit_code}\n")
    program.chmod(0o755)


def assert_refused(done: subprocess.CompletedProcess[str], *, missing: str) -> None:
    assert (done.returncode, done.stdout) == (1, "")
    what, remedy = done.stderr.splitlines()
    assert what.startswith(missing)
    assert "make install" in remedy


def test_without_docker_it_says_what_needs_none(programs: Path) -> None:
    assert_refused(kind_up(programs), missing="docker is not there: install Docker")


def test_a_docker_without_its_daemon_is_told_from_none(programs: Path) -> None:
    add(programs, "docker", exit_code=1)
    assert_refused(kind_up(programs), missing="docker does not answer: start it")


@pytest.mark.parametrize("missing", ["kind", "kubectl"])
def test_what_is_missing_is_named_before_anything_is_built(programs: Path, missing: str) -> None:
    for name in {"docker", "kind", "kubectl"} - {missing}:
        add(programs, name)
    assert_refused(kind_up(programs), missing=f"{missing} is not there: install it")

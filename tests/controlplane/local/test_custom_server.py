"""The custom server in examples/, used word for word as its README says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.binaries import binaries_folder
from tests.cluster.fixtures import need_binaries
from tests.cluster.processes import free_ports
from tests.controlplane.local.localmode import REPO, LocalMode, local_mode

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
README = REPO / "examples" / "custom-server" / "README.md"
COMMAND_SECONDS = 90
KRT = f'#!/bin/sh\nexec {sys.executable} -m controlplane.cli "$@"\n'
STAND_IN = f"""#!{sys.executable}
import os, pathlib, sys, tempfile
from tests.controlplane.local.hands import Hands
assert sys.argv[1:] == ["apply", "-f", "-"]
with tempfile.TemporaryDirectory() as folder:
    pathlib.Path(folder, "it.yaml").write_text(sys.stdin.read())
    Hands(pathlib.Path(os.environ["KUBECONFIG"])).apply(pathlib.Path(folder))
"""
"""`make test` has Python and nothing else."""


@pytest.fixture(scope="module")
def local() -> Iterator[LocalMode]:
    with local_mode() as local:
        # As in an environment that is activated: the node finds `python3` there.
        local.environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), local.environment["PATH"]])
        local.krt("local", "up")
        yield local


@pytest.fixture(params=["stand-in", pytest.param("real", marks=pytest.mark.kube)])
def kubectl(request: pytest.FixtureRequest) -> str:
    """The text of a program."""
    if request.param == "stand-in":
        return STAND_IN
    need_binaries()
    return f'#!/bin/sh\nexec {binaries_folder()}/kubectl "$@"\n'


def block(number: int) -> str:
    """Of the shell in the README."""
    return str(re.findall(r"```sh\n(.*?)```", README.read_text(), re.DOTALL)[number])


def execute(commands: str, *, folder: Path, programs: dict[str, str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    for name, text in {"krt": KRT, "python": f'#!/bin/sh\nexec {sys.executable} "$@"\n', **programs}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    path = os.pathsep.join([str(folder), environment["PATH"]])
    # Job control, for `%1`.
    return subprocess.run(
        ["bash", "-emc", commands],
        env=environment | {"PATH": path},
        cwd=REPO,
        text=True,
        capture_output=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )


def test_a_run_of_the_custom_runtime_works_as_the_readme_says(local: LocalMode, kubectl: str, tmp_path: Path) -> None:
    ended = execute(block(1), folder=tmp_path, programs={"kubectl": kubectl}, environment=local.environment)
    assert ended.returncode == 0, f"{ended}\n{local.logs()}"
    assert ended.stdout.splitlines()[-1].startswith("hello from "), ended
    (run,) = [run for run in local.hands.list("Run") if run["spec"]["runtime"] == "sh"]
    assert (run["status"]["phase"], run["status"]["outputs"], run["status"]["exitCode"]) == ("Succeeded", {"answer": "42"}, 0)
    local.hands.delete("Run", run["metadata"]["name"])


def test_the_check_says_that_it_keeps_the_contract_as_the_readme_says(tmp_path: Path) -> None:
    commands = block(0).replace("9191", str(free_ports(1)[0])).replace("/tmp &", f"{tmp_path} &")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([str(REPO), str(REPO / "proto")])}
    ended = execute(commands, folder=tmp_path, programs={}, environment=environment)
    assert ended.returncode == 0, ended
    assert ended.stdout.endswith("the server keeps the contract\n"), ended

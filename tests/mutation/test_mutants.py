"""For each rule of the protocol: the code without it, in a copy of the tree, makes the test of that name fail.

That the same tests pass on the code as it is, the rest of the suite says.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mutation.mutants import MUTANTS, Mutant

_REPO = Path(__file__).parents[2]
_COPIED = ("k8s", "controlplane", "runtimed", "servers", "proto", "tests", "pyproject.toml")

_PASSED, _FAILED = 0, 1
"""pytest's exit codes. Others mean that the test was not found or could not run, which proves nothing."""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the code that may be spoilt."""
    folder = tmp_path_factory.mktemp("tree")
    ignored = shutil.ignore_patterns("__pycache__")
    for name in _COPIED:
        source = _REPO / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy(source, folder / name)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.mutation
@pytest.mark.timeout(200)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_without_the_rule_its_test_fails(mutant: Mutant, tree: Path) -> None:
    path = tree / mutant.file
    code = path.read_text()
    assert code.count(mutant.old) == 1, f"the place that {mutant.rule!r} names in {mutant.file} is gone, or there are several: name it anew"
    path.write_text(code.replace(mutant.old, mutant.new))
    try:
        ended, output = _run(mutant.test, folder=tree)
    finally:
        path.write_text(code)
    assert ended == _FAILED, f"without {mutant.rule!r} {mutant.test} ended with {ended}:\n{output}"


def test_the_table_in_the_docs_names_the_same_tests() -> None:
    table = (_REPO / "docs" / "ownership.md").read_text().rsplit("| without |", 1)[1]
    documented = set(re.findall(r"`(test_\w+)`", table))
    assert documented == {mutant.test.rpartition("::")[2].partition("[")[0] for mutant in MUTANTS}


def _run(test: str, *, folder: Path) -> tuple[int, str]:
    """pytest's exit code and what it printed."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(folder / "proto")]), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", test]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=150, check=False)
    return done.returncode, (done.stdout + done.stderr)[-4000:]

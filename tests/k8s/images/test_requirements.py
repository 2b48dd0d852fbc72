from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[3]


def required(*names: str) -> str:
    script = REPO / "k8s/images/requirements.py"
    constraints = (REPO / "constraints.txt").read_text()
    done = subprocess.run([sys.executable, "-S", script, *names], input=constraints, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def names_in(requirements: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+)==", requirements, re.MULTILINE))


def test_what_a_distribution_needs_comes_with_it_and_nothing_else() -> None:
    assert names_in(required("hatchling", "grpcio")) == {
        "grpcio", "hatchling", "packaging", "pathspec", "pluggy", "tomlkit", "trove-classifiers", "typing-extensions"
    }  # fmt: skip


def test_every_entry_has_its_hashes() -> None:
    entries = re.split(r"\n(?=[a-z])", required("aiohttp", "kubernetes"))
    assert len(entries) > 10
    assert all("--hash=sha256:" in entry for entry in entries)


def test_a_name_that_is_not_constrained_is_an_error() -> None:
    with pytest.raises(AssertionError, match="KeyError: 'no-such-thing'"):
        required("no-such-thing")


def test_every_target_of_the_dockerfile_is_built() -> None:
    targets = set(re.findall(r"^FROM final AS (\S+)$", (REPO / "k8s/images/Dockerfile").read_text(), re.MULTILINE))
    built = re.search(r"\$\{TARGETS:-([^}]*)\}", (REPO / "k8s/images/build.sh").read_text())
    assert built is not None
    assert set(built[1].split()) == targets == {"scheduler", "controller", "runtimed", "bash-runtime", "python-runtime"}

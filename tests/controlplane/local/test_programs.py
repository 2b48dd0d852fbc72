"""Our own programs, and what they are given of the environment."""

from __future__ import annotations

import os
import subprocess

import pytest

from controlplane.local import programs


def test_only_the_allow_list_is_passed_on() -> None:
    environment = programs.base_environment({"PATH": "/mine", "HOME": "/home/me", "AWS_SECRET_ACCESS_KEY": "s3cret", "LD_PRELOAD": "x.so"})
    assert environment == {"PATH": "/mine", "HOME": "/home/me"}


def test_there_is_always_a_path() -> None:
    assert "/bin" in programs.base_environment({})["PATH"].split(":")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["krt-server-bash", "krt-server-python"])
def test_our_programs_run_in_that_environment(name: str) -> None:
    environment = programs.own_environment(os.environ)
    result = subprocess.run([*programs.program(name), "--help"], env=environment, capture_output=True, text=True, cwd="/", check=False)
    assert result.returncode == 0, result.stderr
    assert "--port" in result.stdout

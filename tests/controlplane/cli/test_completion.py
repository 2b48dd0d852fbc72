"""Completion: scripts that the shells accept, and suggestions that a real bash asks for."""

from __future__ import annotations

import asyncio
import sys

import pytest

from tests.controlplane.cli.conftest import KrtStarter
from tests.controlplane.cli.fake_apiserver import FakeApiServer, status_answer

pytestmark = pytest.mark.slow

ASK_BASH = """
krt() { "$KRT_PYTHON" -m controlplane.cli "$@"; }
export -f krt
source <(krt completion bash)
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
# The script runs its first argument through env, which knows no functions: a program of that name is needed.
_krt_completion "$KRT_PROGRAM"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_every_shell_has_a_script(krt_alone: KrtStarter, shell: str) -> None:
    code, script, stderr = await krt_alone("completion", shell)
    assert (code, stderr) == (0, "")
    assert f"_KRT_COMPLETE={shell}_complete" in script


async def test_bash_accepts_its_script(krt_alone: KrtStarter) -> None:
    _, script, _ = await krt_alone("completion", "bash")
    process = await asyncio.create_subprocess_exec("bash", "-n", stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    _, complaints = await process.communicate(script.encode())
    assert (process.returncode, complaints) == (0, b"")


async def test_powershell_has_a_script_too(krt_alone: KrtStarter) -> None:
    assert (await krt_alone("completion", "powershell"))[1].startswith("Register-ArgumentCompleter -Native -CommandName krt")


async def ask_bash(krt: KrtStarter, *words: str) -> list[str]:
    """What bash would offer for the last word."""
    program = krt.folder / "krt"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m controlplane.cli "$@"\n')
    program.chmod(0o755)
    environment = krt.environment | {"KRT_PYTHON": sys.executable, "KRT_PROGRAM": str(program)}
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", ASK_BASH, "bash", *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment
    )
    stdout, stderr = await asyncio.wait_for(process.communicate(), 20)
    assert stderr == b""
    return stdout.decode().split()


async def test_bash_is_offered_commands_options_and_the_names_of_objects(server: FakeApiServer, krt: KrtStarter) -> None:
    await server.add("runs", "alpha")
    await server.add("runs", "beta")
    await server.add("runtimes", "bash")
    assert await ask_bash(krt, "krt", "c") == ["cancel", "conformance", "completion"]
    assert await ask_bash(krt, "krt", "logs", "al") == ["alpha"]
    assert await ask_bash(krt, "krt", "ex") == ["explain"]
    assert await ask_bash(krt, "krt", "explain", "be") == ["beta"]
    assert await ask_bash(krt, "krt", "-n", "default", "get", "alpha", "run/") == ["run/alpha", "run/beta"]
    assert await ask_bash(krt, "krt", "get", "rt/") == ["rt/bash"]
    assert await ask_bash(krt, "krt", "run", "-r", "") == ["bash"]
    assert await ask_bash(krt, "krt", "runtime", "get", "") == ["bash"]
    assert await ask_bash(krt, "krt", "run", "--ret") == ["--retry-attempts", "--retry-backoff"]
    assert await ask_bash(krt, "krt", "--context", "") == ["here"]
    assert await ask_bash(krt, "krt", "list", "-o", "j") == ["json", "jsonpath="]


async def test_without_an_api_server_bash_is_offered_nothing_and_told_nothing(
    server: FakeApiServer, krt: KrtStarter, krt_alone: KrtStarter
) -> None:
    assert await ask_bash(krt_alone, "krt", "logs", "") == []
    server.refuse["GET runs"] = status_answer(403, "Forbidden", "no")
    assert await ask_bash(krt, "krt", "logs", "") == []

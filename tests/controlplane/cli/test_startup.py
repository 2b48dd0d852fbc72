"""krt answers at once: nothing heavy is imported before it is needed."""

from __future__ import annotations

import tomllib

import pytest

from controlplane.cli.version import VERSION
from tests.controlplane.cli.conftest import ROOT, KrtStarter

pytestmark = pytest.mark.slow

HEAVY = ("aiohttp", "yaml", "kubernetes", "grpc", "msgspec", "k8s.client", "boto3", "uvloop", "cel")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("version",),
        ("run", "--help"),
        ("completion", "zsh"),
        ("conformance", "--help"),
        ("run",),
        ("get", "pod/x"),
        ("explain", "--help"),
    ],
)
async def test_what_needs_no_api_server_imports_no_client(krt_alone: KrtStarter, arguments: tuple[str, ...]) -> None:
    krt = await krt_alone.start(*arguments, PYTHONPROFILEIMPORTTIME="1")
    await krt.end()
    imported = {line.rpartition("|")[2].strip() for line in krt.stderr.splitlines() if line.startswith("import time:")}
    assert "click" in imported
    assert imported.isdisjoint(HEAVY)


async def test_version_prints_three_lines_and_agrees_with_the_package(krt_alone: KrtStarter) -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION
    assert await krt_alone("version") == (0, f"krt {VERSION}\ncommit: unknown\nbuilt: unknown\n", "")

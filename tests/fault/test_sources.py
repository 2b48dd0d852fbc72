"""Row 39: repositories and addresses that want to run something here, or to take more than they may. Nothing of them is executed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtimed.hooks.git import Git, GitLimits, size_of
from runtimed.hooks.git_credentials import GitCredentials
from runtimed.hooks.objects import Objects
from runtimed.hooks.refusals import SourceRefused
from runtimed.hooks.source import Repository
from tests.fault.platform import Platform
from tests.fault.row import Row
from tests.runtimed.git_server import GitServer, git_server

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(120)]

ADDRESSES = {
    "an option": "--upload-pack=touch {witness}",
    "a helper": "ext::sh -c touch% {witness}",
    "a helper in front of https": "ext::https://git.example/x",
    "a local path": "{folder}",
    "a file": "file://{folder}",
    "plain http": "http://git.example/x",
    "the git protocol": "git://git.example/x",
    "an option of ssh as host": "ssh://-oProxyCommand=touch${{IFS}}{witness}/x",
    "an option of ssh as user": "ssh://-oProxyCommand=x@git.example/x",
    "an option of ssh, short": "git@-oProxyCommand=touch:x",
    "a second line": "https://git.example/x\n--upload-pack=touch",
}


@pytest.mark.parametrize("address", ADDRESSES.values(), ids=ADDRESSES.keys())
async def test_row_39_an_address_that_is_none_is_refused_and_runs_nothing(platform: Platform, tmp_path: Path, address: str) -> None:
    async with Row.of(platform, "39") as row:
        witness = tmp_path / "witness"
        source = {"repoURL": address.format(witness=witness, folder=tmp_path)}
        made = await row.create_raw({"runtime": "bash", "mode": {"task": {}}, "source": source})
        [run] = await row.over(made)
        reason = next(condition.reason for condition in run.status.conditions if condition.type == "Completed")
        assert (run.phase, reason) == ("Failed", "PrepareSource")
        assert run.status.message.startswith("prepare source: spec.source.repoURL: must be https://HOST/PATH")
        assert not witness.exists()


async def test_row_39_a_ref_that_is_an_option_is_refused(platform: Platform, tmp_path: Path) -> None:
    async with Row.of(platform, "39") as row:
        source = {"repoURL": "https://git.example/x", "commitSHA": f"--exec=touch {tmp_path}/witness"}
        [run] = await row.over(await row.create_raw({"runtime": "bash", "mode": {"task": {}}, "source": source}))
        assert "spec.source.commitSHA: " in run.status.message
        assert not (tmp_path / "witness").exists()


@pytest.fixture(scope="module")
def server() -> Iterator[GitServer]:
    with git_server() as server:
        yield server


async def fetch(server: GitServer, folder: Path, name: str, *, where: str = "public", limits: GitLimits | None = None) -> Path:
    """As runtimed does it, without credentials."""
    (folder / "state").mkdir()
    nobody: Objects = None  # type: ignore[assignment]
    git = Git(GitCredentials(nobody, secret="", folder=folder / "state"), own_environment=server.environment, limits=limits)
    await git.fetch(Repository(server.url(name, where=where)), into=folder / "repo")
    return folder / "repo"


async def test_row_39_a_redirect_is_not_followed(server: GitServer, tmp_path: Path) -> None:
    server.repository("moved", {"a": "1"})
    with pytest.raises(SourceRefused, match="redirects are not followed; use the address"):
        await fetch(server, tmp_path, "moved", where="moved")
    assert not [path for path in server.requests if path.startswith("/public/moved")]


async def test_row_39_submodules_filters_and_hooks_of_a_repository_do_nothing(server: GitServer, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    server.repository("inner", {"a": "1"})
    touch = f"touch {witness}"
    server.repository(
        "hostile",
        {
            ".gitmodules": f'[submodule "inner"]\n\tpath = inner\n\turl = {server.url("inner")}\n\tupdate = !{touch}\n',
            ".gitattributes": "* filter=lfs\n*.txt filter=evil diff=evil merge=evil\n",
            ".gitconfig": f'[filter "evil"]\n\tsmudge = {touch}\n\trequired = true\n',
            "big.bin": "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 12345\n",
            "note.txt": "x",
            ".githooks/post-checkout": f"#!/bin/sh\n{touch}\n",
            "hooks/post-checkout": f"#!/bin/sh\n{touch}\n",
            "link": "-> /etc/passwd",
        },
    )
    repo = await fetch(server, tmp_path, "hostile")
    assert not witness.exists()
    assert (repo / "note.txt").read_text() == "x"
    assert (repo / "big.bin").read_text().startswith("version https://git-lfs"), "a pointer stays a pointer"
    assert not (repo / "inner").exists()
    assert not list(repo.glob(".git/hooks/*"))
    assert not [path for path in server.requests if "/inner" in path]


async def test_row_39_a_large_repository_is_stopped_while_it_comes(server: GitServer, tmp_path: Path) -> None:
    """Once for what is sent, once for what comes out of it."""
    server.repository("large", {"a": random.Random(39).randbytes(6 << 20)})
    server.repository("bomb", {f"{number}": b"\0" * (4 << 20) for number in range(8)})
    limits = GitLimits(max_bytes=4 << 20)
    for name in ("large", "bomb"):
        folder = tmp_path / name
        folder.mkdir()
        with pytest.raises(SourceRefused, match="the repository has more than 4194304 bytes, the limit"):
            await fetch(server, folder, name, limits=limits)
        assert size_of(folder) < 40 << 20

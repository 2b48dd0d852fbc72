"""Fetching from a real server over HTTPS: what arrives, what is refused, and that no hook, filter or submodule of it runs."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtimed.hooks.git import Git, GitLimits, size_of
from runtimed.hooks.git_credentials import GitCredentials
from runtimed.hooks.refusals import SourceRefused
from runtimed.hooks.source import Repository
from tests.runtimed.git_server import PASSWORD, USER, GitServer, git_server

pytestmark = pytest.mark.slow


class FakeObjects:
    """The one Secret that it has, or none. Beside it: `test_git_sources.py`, with an API server."""

    def __init__(self, **data: str) -> None:
        self.secret = {"data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}} if data else None

    async def read(self, resource: Any, name: str, *, field: str) -> Any:
        return self.secret


@pytest.fixture(scope="module")
def server() -> Iterator[GitServer]:
    with git_server() as server:
        server.repository("app", {"job.sh": "one"}, {"job.sh": "two", "lib/x": "y"})
        server.publish("app", "tag", "v1", "HEAD~1")
        server.publish("app", "branch", "side", "HEAD~1")
        yield server


def git_of(
    server: GitServer, folder: Path, *, limits: GitLimits | None = None, environment: dict[str, str] | None = None, **secret: str
) -> Git:
    (folder / "state").mkdir(exist_ok=True)
    credentials = GitCredentials(FakeObjects(**secret), secret="git" if secret else "", folder=folder / "state")  # type: ignore[arg-type]
    return Git(credentials, own_environment=server.environment | (environment or {}), limits=limits)


async def fetched(server: GitServer, folder: Path, url: str, ref: str = "", **more: Any) -> Path:
    await git_of(server, folder, **more).fetch(Repository(url, ref), into=folder / "repo")
    return folder / "repo"


async def refusal(server: GitServer, folder: Path, url: str, ref: str = "", **more: Any) -> str:
    with pytest.raises(SourceRefused) as refused:
        await fetched(server, folder, url, ref, **more)
    assert os.listdir(folder / "state") == [], "credentials go with the fetch"
    return str(refused.value)


def files_with(text: str, *, below: Path) -> list[Path]:
    return [path for path in below.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def modes_of(*paths: Path) -> list[int]:
    return [path.stat().st_mode & 0o777 for path in paths]


async def test_without_a_ref_the_default_branch_arrives_without_its_history(server: GitServer, tmp_path: Path) -> None:
    repo = await fetched(server, tmp_path, server.url("app"))
    assert (repo / "job.sh").read_text() == "two"
    assert "shallow" in os.listdir(repo / ".git")
    assert modes_of(repo, repo / "job.sh") == [0o755, 0o755], "for another user, too"


@pytest.mark.parametrize(("ref", "text"), [("main", "two"), ("v1", "one"), ("side", "one"), ("HEAD~1", "one")])
async def test_a_ref_is_checked_out(server: GitServer, tmp_path: Path, ref: str, text: str) -> None:
    assert (await fetched(server, tmp_path, server.url("app"), ref) / "job.sh").read_text() == text


async def test_a_commit_is_checked_out_by_its_hash_also_abbreviated(server: GitServer, tmp_path: Path) -> None:
    first, _ = server.repository("hashes", {"a": "1"}, {"a": "2"})
    assert (await fetched(server, tmp_path, server.url("hashes"), first) / "a").read_text() == "1"
    (tmp_path / "short").mkdir()
    assert (await fetched(server, tmp_path / "short", server.url("hashes"), first[:9]) / "a").read_text() == "1"


@pytest.mark.parametrize(
    ("name", "ref", "text"),
    [
        ("nowhere", "", "git clone: fatal: repository"),
        ("app", "no-such-ref", "git checkout: fatal: invalid reference: no-such-ref"),
        ("app", "job.sh", "git checkout: fatal: invalid reference: job.sh"),
    ],
)
async def test_what_git_says_is_told_with_the_step(server: GitServer, tmp_path: Path, name: str, ref: str, text: str) -> None:
    assert (await refusal(server, tmp_path, server.url(name), ref)).startswith(text)


async def test_a_private_repository_is_fetched_with_the_runtimes_credentials_which_stay_nowhere(server: GitServer, tmp_path: Path) -> None:
    secret = {".git-credentials": f"https://{USER}:{PASSWORD}@{server.host}\n"}
    repo = await fetched(server, tmp_path, server.url("app", where="private"), **secret)
    assert (repo / "job.sh").read_text() == "two"
    assert files_with(PASSWORD, below=tmp_path) == []


async def test_without_credentials_a_private_repository_names_the_remedy(server: GitServer, tmp_path: Path) -> None:
    text = await refusal(server, tmp_path, server.url("app", where="private"))
    assert "terminal prompts disabled; for a private repository the Runtime names a Secret" in text


async def test_credentials_are_given_to_their_host_alone(server: GitServer, tmp_path: Path) -> None:
    secret = {".git-credentials": f"https://{USER}:{PASSWORD}@git.example\n"}
    assert "terminal prompts disabled" in await refusal(server, tmp_path, server.url("app", where="private"), **secret)


async def test_a_password_in_an_address_is_not_repeated(server: GitServer, tmp_path: Path) -> None:
    text = await refusal(server, tmp_path, server.url("app", where="private", userinfo="robot:wrong-secret@"))
    assert "Authentication failed" in text
    assert "wrong-secret" not in text


async def test_a_secret_without_our_keys_is_refused_naming_them(server: GitServer, tmp_path: Path) -> None:
    text = await refusal(server, tmp_path, server.url("app"), password="x")
    assert text.endswith("must have the key .git-credentials, or ssh-privatekey and known_hosts")


async def test_ssh_talks_to_known_hosts_alone_and_prompts_nobody(server: GitServer, tmp_path: Path) -> None:
    """Nobody listens there; what counts is how ssh is called."""
    (tmp_path / "bin").mkdir()
    ssh = tmp_path / "bin" / "ssh"
    ssh.write_text(f'#!/bin/bash\nprintf "%s\\n" "$@" > {tmp_path}/asked; cat "${{@: -3:1}}" > {tmp_path}/key; exit 255\n')
    ssh.chmod(0o755)
    secret = {"ssh-privatekey": "the key", "known_hosts": "git.example ssh-ed25519 AAAA"}
    path = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    await refusal(server, tmp_path, "git@git.example:team/x", environment=path, **secret)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert {"BatchMode=yes", "StrictHostKeyChecking=yes", "GlobalKnownHostsFile=/dev/null"} <= set(asked)
    assert asked[-2:] == ["git@git.example", "git-upload-pack 'team/x'"]
    assert asked[asked.index("-i") + 1].endswith("/ssh-privatekey")


async def test_a_clone_that_takes_too_long_ends(server: GitServer, tmp_path: Path) -> None:
    text = await refusal(server, tmp_path, server.url("app", where="slow"), limits=GitLimits(clone_seconds=0.5))
    assert text == "git clone: not done within 0.5 s"


async def test_a_cancelled_fetch_leaves_no_process_and_no_credentials(server: GitServer, tmp_path: Path) -> None:
    secret = {".git-credentials": f"https://{USER}:{PASSWORD}@{server.host}\n"}
    server.is_asked_slowly.clear()
    task = asyncio.create_task(fetched(server, tmp_path, server.url("app", where="slow"), **secret))
    await asyncio.to_thread(server.is_asked_slowly.wait, 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert os.listdir(tmp_path / "state") == []


async def test_a_machine_without_git_says_so(server: GitServer, tmp_path: Path) -> None:
    text = await refusal(server, tmp_path, server.url("app"), environment={"PATH": str(tmp_path)})
    assert text == "git clone: the image of runtimed has no git; the operator must choose one that has"


def test_a_size_is_that_of_regular_files(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x").write_bytes(b"x" * 1000)
    (tmp_path / "y").write_bytes(b"y" * 24)
    (tmp_path / "link").symlink_to("/usr")
    os.mkfifo(tmp_path / "fifo")
    assert size_of(tmp_path) == 1024
    assert size_of(tmp_path / "nowhere") == 0

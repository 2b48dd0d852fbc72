"""Fetches a repository for a Run: clone, then checkout, within limits of time and size (interface.md 6.4).

Both are processes of their own, so nothing here holds up the loop; a cancelled fetch leaves no process. What is admitted as an
address is decided in `git_address`, what git may do in `git_environment`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from k8s.api.names import GIT_CREDENTIALS_ANNOTATION
from runtimed.hooks.child import Ended, run_child
from runtimed.hooks.git_address import tidy
from runtimed.hooks.git_credentials import GitCredentials
from runtimed.hooks.git_environment import git_environment
from runtimed.hooks.launcher import NOT_FOUND
from runtimed.hooks.refusals import SourceRefused
from runtimed.hooks.source import Repository

_GLANCE_SECONDS: Final = 0.25
"""Nothing tells how large a folder has become but looking at it."""
_NO_ROOM_LEFT: Final = "File too large"
"""EFBIG: a single file would exceed it. git has removed what there was by then."""
_SPARE_BYTES: Final = 1 << 20
"""A file may be so much over the limit, so that it is seen to be over it."""
_HINTS: Final[Mapping[str, str]] = {
    "terminal prompts disabled": f"for a private repository the Runtime names a Secret in its annotation {GIT_CREDENTIALS_ANNOTATION}",
    "Authentication failed": f"the Secret that the Runtime names in {GIT_CREDENTIALS_ANNOTATION} has no valid credential for this host",
    "returned error: 30": "redirects are not followed; use the address that it redirects to",
}


@dataclass(frozen=True, slots=True)
class GitLimits:
    """The contract's."""

    clone_seconds: float = 30.0
    checkout_seconds: float = 15.0
    max_output_bytes: int = 64 << 10
    max_bytes: int = 100 << 20
    """Of all regular files, those of git itself included."""


class _TooLargeError(Exception):
    """The clone has outgrown the limit."""


class Git:
    """`fetch` for one Run; any number at a time."""

    def __init__(self, credentials: GitCredentials, *, own_environment: Mapping[str, str], limits: GitLimits | None = None) -> None:
        self._credentials, self._own_environment, self._limits = credentials, own_environment, limits or GitLimits()

    async def fetch(self, repository: Repository, *, into: Path) -> None:
        """`into` must not exist yet. Raises SourceRefused: the step, what git said, and what to do."""
        limits = self._limits
        clone = ["clone", "--quiet", "--no-checkout", "--no-recurse-submodules", "--template="]
        depth = [] if repository.ref else ["--depth=1", "--single-branch"]
        checkout = ["-C", str(into), "checkout", "--quiet", "--force", *([repository.ref, "--"] if repository.ref else [])]
        async with self._credentials.files() as (home, files):
            environment = git_environment(self._own_environment, home=home, credentials=files)
            steps = (
                ("git clone", [*clone, *depth, "--", repository.url, str(into)], limits.clone_seconds),
                ("git checkout", checkout, limits.checkout_seconds),
            )
            for step, arguments, seconds in steps:
                await self._run(step, arguments, environment=environment, into=into, seconds=seconds)

    @property
    def _too_large(self) -> str:
        return f"the repository has more than {self._limits.max_bytes} bytes, the limit"

    async def _run(self, step: str, arguments: list[str], *, environment: Mapping[str, str], into: Path, seconds: float) -> None:
        try:
            ended = await self._run_within_size(arguments, environment=environment, into=into, seconds=seconds)
        except TimeoutError as error:
            raise SourceRefused(f"{step}: not done within {seconds:g} s") from error
        except _TooLargeError as error:
            raise SourceRefused(f"{step}: {self._too_large}") from error
        except OSError as error:
            raise SourceRefused(f"{step}: {error.strerror or type(error).__name__}") from error
        if ended.exit_code == NOT_FOUND:
            raise SourceRefused(f"{step}: the image of runtimed has no git; the operator must choose one that has")
        if ended.exit_code != 0 and _NO_ROOM_LEFT in ended.output:
            raise SourceRefused(f"{step}: {self._too_large}")
        if ended.exit_code != 0:
            raise SourceRefused(f"{step}: {_explain(ended)}")

    async def _run_within_size(self, arguments: list[str], *, environment: Mapping[str, str], into: Path, seconds: float) -> Ended:
        """Raises _TooLargeError, as soon as it is seen to be."""
        limits = self._limits
        work = run_child(
            ["git", *arguments],
            environment=environment,
            directory=str(into.parent),
            seconds=seconds,
            max_output_bytes=limits.max_output_bytes,
            max_file_bytes=limits.max_bytes + _SPARE_BYTES,
        )
        running = asyncio.create_task(work, name="git")
        try:
            while not (await asyncio.wait({running}, timeout=_GLANCE_SECONDS))[0]:
                await self._check_size(into)
            await self._check_size(into)
            return running.result()
        finally:
            running.cancel()
            await asyncio.wait({running})

    async def _check_size(self, folder: Path) -> None:
        # A big tree takes long to look at: not on the loop.
        if await asyncio.to_thread(size_of, folder) > self._limits.max_bytes:
            raise _TooLargeError


def size_of(folder: Path) -> int:
    """Of its regular files, at any depth; links are not followed. What vanishes meanwhile counts for nothing."""
    total = 0
    folders = [str(folder)]
    while folders:
        with suppress(FileNotFoundError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        total += entry.stat(follow_symlinks=False).st_size
    return total


def _explain(ended: Ended) -> str:
    said = tidy(ended.output) or (f"killed by signal {-ended.exit_code}" if ended.exit_code < 0 else f"exit code {ended.exit_code}")
    hint = next((hint for text, hint in _HINTS.items() if text in said), "")
    return f"{said}; {hint}" if hint else said

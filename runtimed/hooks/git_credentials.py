"""The credentials with which repositories are fetched: from a Secret that the Runtime names, as files for the time of one fetch.

They are the Runtime's, not the Run's: a Run names an address only, so each credential must say itself which host it is for. The
files lie where user code cannot reach, and go with the fetch.
"""

from __future__ import annotations

import base64
import binascii
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from k8s.client import SECRETS
from runtimed.hooks.git_environment import CredentialFiles
from runtimed.hooks.objects import Objects
from runtimed.hooks.refusals import SourceRefused

STORE_KEY: Final = ".git-credentials"
SSH_KEY: Final = "ssh-privatekey"
KNOWN_HOSTS_KEY: Final = "known_hosts"
_FIELD: Final = "spec.source.repoURL"
_PREFIX: Final = "git-"


class GitCredentials:
    """`folder` is of runtimed alone; what an earlier process left of ours there is removed."""

    def __init__(self, objects: Objects, *, secret: str, folder: Path) -> None:
        self._objects, self._secret, self._folder = objects, secret, folder
        for leftover in folder.glob(f"{_PREFIX}*"):
            shutil.rmtree(leftover, ignore_errors=True)

    @asynccontextmanager
    async def files(self) -> AsyncIterator[tuple[str, CredentialFiles]]:
        """An empty home, and what there is. Raises SourceRefused."""
        data = await self._read() if self._secret else {}
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=_PREFIX) as home:
            yield (
                home,
                CredentialFiles(
                    store=_write(home, STORE_KEY, data),
                    ssh_key=_write(home, SSH_KEY, data),
                    known_hosts=_write(home, KNOWN_HOSTS_KEY, data),
                ),
            )

    async def _read(self) -> dict[str, Any]:
        what = f"the Runtime's Secret {self._secret!r} for repositories"
        secret = await self._objects.read(SECRETS, self._secret, field=_FIELD)
        if secret is None:
            raise SourceRefused(f"{_FIELD}: {what} does not exist; the owner of the Runtime creates it")
        data = secret.get("data") or {}
        if STORE_KEY not in data and not {SSH_KEY, KNOWN_HOSTS_KEY} <= set(data):
            raise SourceRefused(f"{_FIELD}: {what} must have the key {STORE_KEY}, or {SSH_KEY} and {KNOWN_HOSTS_KEY}")
        try:
            return {key: base64.b64decode(data[key], validate=True) for key in (STORE_KEY, SSH_KEY, KNOWN_HOSTS_KEY) if key in data}
        except (TypeError, binascii.Error) as error:
            raise SourceRefused(f"{_FIELD}: {what} cannot be decoded") from error


def _write(home: str, name: str, data: dict[str, Any]) -> str:
    if name not in data:
        return ""
    path = f"{home}/{name}"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data[name])
    return path

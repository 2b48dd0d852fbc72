"""The real kubectl as people type it: one kubeconfig, one namespace, answers as text, JSON or table rows."""

from __future__ import annotations

import json
import os
import re
import subprocess
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.access import send
from tests.cluster.binaries import binaries_folder
from tests.cluster.server import ApiServer

DEADLINE_SECONDS = 30
"""kubectl asks for all of discovery when its cache is cold, on a machine that may be busy."""
_numbers = count(1)


class Kubectl:
    """kubectl with one kubeconfig, one namespace, and a discovery cache of its own."""

    def __init__(self, server: ApiServer, *, folder: Path) -> None:
        self.folder = folder
        self.namespace = f"kubectl-{next(_numbers)}"
        self._program = [str(binaries_folder() / "kubectl"), f"--kubeconfig={server.kubeconfig}", f"--cache-dir={folder / 'cache'}"]
        self._env = {"HOME": str(folder), "PATH": os.environ["PATH"], "EDITOR": "false"}
        self._access = server.admin
        # Not by kubectl: what only has to be there costs a request so, and a process of a quarter of a second otherwise.
        self.send("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}})

    def send(self, method: str, path: str, body: dict[str, Any]) -> None:
        """Without kubectl, to a path of the API; a PATCH is a merge."""
        send(self._access, method, path, body, content_type="application/merge-patch+json" if method == "PATCH" else "application/json")

    @property
    def runs_path(self) -> str:
        return f"/apis/kruntimes.io/v1alpha1/namespaces/{self.namespace}/runs"

    def command(self, *arguments: str) -> list[str]:
        return [*self._program, f"--namespace={self.namespace}", *arguments]

    def run(self, *arguments: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            input=stdin,
            env=self._env | env,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )

    def ok(self, *arguments: str, stdin: str = "", **env: str) -> str:
        """Its output; it must exit with 0 and warn of nothing."""
        done = self.run(*arguments, stdin=stdin, **env)
        assert done.returncode == 0, done.stderr
        assert "Warning" not in done.stderr, done.stderr
        return done.stdout

    def fails(self, *arguments: str, stdin: str = "", **env: str) -> str:
        """Its complaint; it must exit with something else than 0."""
        done = self.run(*arguments, stdin=stdin, **env)
        assert done.returncode != 0, done.stdout
        return done.stderr

    def create(self, *manifests: dict[str, Any]) -> str:
        return self.ok("create", "-f", "-", stdin=yaml.safe_dump_all(manifests))

    def apply(self, *manifests: dict[str, Any]) -> str:
        return self.ok("apply", "-f", "-", stdin=yaml.safe_dump_all(manifests))

    def json(self, *arguments: str) -> Any:
        return json.loads(self.ok("get", *arguments, "-o", "json"))

    def rows(self, *arguments: str) -> list[list[str]]:
        """A printed table, cells split at two or more blanks."""
        return [re.split(r"\s{2,}", line.strip()) for line in self.ok("get", *arguments).splitlines()]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(self.command(*arguments), env=self._env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

"""The embedded API server as a process of its own, behind the same verbs as the real one (`tests.cluster.real`)."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.cluster.access import Access, read_kubeconfig
from tests.cluster.processes import Child, ServerFailed

_REPO = Path(__file__).parents[2]


class EmbeddedApiServer:
    """`python -m controlplane.local.apiserver` as a child of this process. Use as a context manager, or start and stop it."""

    name = "embedded"

    def __init__(self, *, folder: Path | None = None, arguments: tuple[str, ...] = ()) -> None:
        self._is_own_folder = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="kruntimes-embedded-"))
        self._arguments = arguments
        self._listen = "127.0.0.1:0"
        self._process: Child | None = None
        self.url = ""

    @property
    def admin(self) -> Access:
        return read_kubeconfig(self.kubeconfig)

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    @property
    def processes(self) -> dict[str, int]:
        """Pid by program, for those who measure CPU time."""
        return {"apiserver": self._process.pid} if self._process is not None else {}

    def access(self, user: str) -> Access:
        """It knows one identity only, whatever the component."""
        return self.admin

    def kubeconfig_of(self, user: str) -> Path:
        return self.kubeconfig

    def start(self) -> None:
        """Returns when it says that it is ready. Stops it again when it cannot be."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        command = [sys.executable, "-m", "controlplane.local.apiserver", "--data-dir", str(self.folder), "--listen", self._listen]
        env = os.environ | {"PYTHONPATH": os.pathsep.join([str(_REPO), str(_REPO / "proto")])}
        self._process = Child([*command, *self._arguments], log=self.folder / "apiserver.log", env=env, capture_stdout=True)
        line = self._process.first_line()
        if not line:
            process = self._process
            process.stop()
            complaint = process.log_tail()
            self.stop()
            raise ServerFailed(f"the embedded API server did not start:\n{complaint}")
        self.url = json.loads(line)["url"].rstrip("/")
        self._listen = self.url.partition("://")[2]

    def stop(self) -> None:
        """Ends it by pid and removes the folder if it was our own."""
        if self._process is not None:
            self._process.stop()
            self._process = None
        if self._is_own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def restart(self, *, kill: bool = False) -> None:
        """It ends (at once with `kill`) and comes back at the same address with the same objects."""
        assert self._process is not None
        self._process.stop(kill=kill)
        self.start()

    def compact(self) -> None:
        """Makes it forget all history but the newest."""
        self._call("/failpoints/compact", {})

    def bind_runtimed(self, namespace: str) -> None:
        """Nothing to do: it has one identity, which may do everything."""

    def __enter__(self) -> EmbeddedApiServer:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.stop()

    def _call(self, path: str, body: Any) -> bytes:
        access = self.admin
        headers = access.headers | {"Content-Type": "application/json"}
        request = urllib.request.Request(access.url + path, data=json.dumps(body).encode(), headers=headers, method="POST")
        with urllib.request.urlopen(request, context=access.tls(), timeout=10) as answer:
            content: bytes = answer.read()
            return content

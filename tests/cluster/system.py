"""The whole system around one API server: scheduler, controllers, and a node that runs Runtime Pods as processes.

The same on the embedded server and on a real kube-apiserver: local mode's node plays kubelet on both, so that a Run travels the
whole path where no cluster is.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from tests.cluster.processes import Child
from tests.cluster.server import ApiServer

_REPO = Path(__file__).parents[2]


class System:
    """Everything of ours but the API server, as children of this process, each with its own identity."""

    def __init__(self, server: ApiServer, *, node_socket: Path | None = None, launcher: Sequence[str] = (sys.executable, "-m")) -> None:
        """`launcher`: the words before the module that a component is."""
        self._server = server
        self._launcher = launcher
        self.folder = Path(tempfile.mkdtemp(prefix="kruntimes-system-"))
        self.node_socket = node_socket or self.folder / "node.sock"
        """Where the node serves container logs."""
        self._children: dict[str, Child] = {}

    @property
    def processes(self) -> dict[str, int]:
        """Pid by component."""
        return {name: child.pid for name, child in self._children.items()}

    def start(self) -> None:
        """Returns at once; whoever needs a ready Runtime waits for its status."""
        listen = ["--metrics-bind-address=127.0.0.1:0", "--health-probe-bind-address=127.0.0.1:0"]
        self._start("controlplane.scheduler", *listen, user="kruntimes-scheduler")
        self._start("controlplane.controllers", *listen, user="kruntimes-controller")
        node = self.folder / "node"
        self._start("controlplane.local.node", f"--socket={self.node_socket}", f"--root={node}", user="admin")

    def stop(self) -> None:
        """Ends all by pid, the node first: it ends its Pods."""
        for name in reversed(self._children):
            self._children[name].stop()
        self._children.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def check(self) -> None:
        """Raises ServerFailed with the end of its log when a component has ended."""
        for child in self._children.values():
            child.check()

    def logs(self) -> Mapping[str, str]:
        """The last lines of each component's log, for a failed test."""
        return {name: child.log_tail() for name, child in self._children.items()}

    def __enter__(self) -> System:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.stop()

    def _start(self, module: str, *arguments: str, user: str) -> None:
        name = module.rpartition(".")[2]
        kubeconfig = f"--kubeconfig={self._server.kubeconfig_of(user)}"
        env = os.environ | {"PYTHONPATH": os.pathsep.join([str(_REPO), str(_REPO / "proto")])}
        self._children[name] = Child([*self._launcher, module, kubeconfig, *arguments], log=self.folder / f"{name}.log", env=env)

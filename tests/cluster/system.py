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
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tests.cluster.processes import Child
from tests.cluster.server import ApiServer

_REPO = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Shape:
    """How much of everything, and with which flags. As it is: one of each, as `krt local` has it."""

    schedulers: int = 1
    controllers: int = 1
    scheduler_flags: tuple[str, ...] = ()
    controller_flags: tuple[str, ...] = ()
    node_flags: tuple[str, ...] = ()


class System:
    """Everything of ours but the API server, as children of this process, each with its own identity.

    Components are named `scheduler`, `controllers`, `node`; further replicas are `scheduler-2` and so on.
    """

    def __init__(
        self,
        server: ApiServer,
        *,
        node_socket: Path | None = None,
        shape: Shape | None = None,
        launcher: Sequence[str] = (sys.executable, "-m"),
    ) -> None:
        """`launcher`: the words before the module that a component is."""
        self._server = server
        self._launcher = launcher
        self._shape = shape or Shape()
        self.folder = Path(tempfile.mkdtemp(prefix="kruntimes-system-"))
        self.node_socket = node_socket or self.folder / "node.sock"
        """Where the node serves container logs."""
        self._children: dict[str, Child] = {}

    @property
    def processes(self) -> dict[str, int]:
        """Pid by component."""
        return {name: child.pid for name, child in self._children.items()}

    @property
    def names(self) -> list[str]:
        """Of all components, in the order of their start."""
        shape = self._shape
        return [*_replicas("scheduler", shape.schedulers), *_replicas("controllers", shape.controllers), "node"]

    def start(self) -> None:
        """Returns at once; whoever needs a ready Runtime waits for its status."""
        for name in self.names:
            self.start_one(name)

    def start_one(self, name: str) -> None:
        """Unless it runs."""
        child = self._children.get(name)
        if child is None or not child.is_running:
            module, arguments, user = self._command(name.partition("-")[0])
            self._start(name, module, *arguments, user=user)

    def stop_one(self, name: str, *, kill: bool = False) -> None:
        """By pid; it is not started again."""
        self._children[name].stop(kill=kill)

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

    def _command(self, kind: str) -> tuple[str, tuple[str, ...], str]:
        """Module, arguments and identity."""
        listen = ("--metrics-bind-address=127.0.0.1:0", "--health-probe-bind-address=127.0.0.1:0")
        if kind == "scheduler":
            return "controlplane.scheduler", (*listen, *self._shape.scheduler_flags), "kruntimes-scheduler"
        if kind == "controllers":
            return "controlplane.controllers", (*listen, *self._shape.controller_flags), "kruntimes-controller"
        place = (f"--socket={self.node_socket}", f"--root={self.folder / 'node'}")
        return "controlplane.local.node", (*place, *self._shape.node_flags), "admin"

    def _start(self, name: str, module: str, *arguments: str, user: str) -> None:
        kubeconfig = f"--kubeconfig={self._server.kubeconfig_of(user)}"
        env = os.environ | {"PYTHONPATH": os.pathsep.join([str(_REPO), str(_REPO / "proto")])}
        self._children[name] = Child([*self._launcher, module, kubeconfig, *arguments], log=self.folder / f"{name}.log", env=env)


def _replicas(name: str, count: int) -> list[str]:
    return [name, *(f"{name}-{number}" for number in range(2, count + 1))][:count]

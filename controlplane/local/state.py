"""What local mode keeps on disk, and what it says of itself: the state folder, the lock, and the daemon's snapshot.

The folder and all in it are private to the user: it holds the token of the API server.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from controlplane.local.processes import Identity, is_alive
from k8s.api.errors import PlatformError, UsageError

HOME_VARIABLE = "KRUNTIMES_HOME"
_MAX_SOCKET_PATH_BYTES = 107
"""Linux's limit of a unix socket's address."""


class LocalModeError(PlatformError):
    """Local mode could not do what it was told; the message says what to look at."""

    reason = "LocalMode"


class ComponentStatus(msgspec.Struct, kw_only=True, frozen=True, rename="camel"):
    """One supervised process. `state` is Starting, Running, Restarting or Stopped."""

    name: str
    state: str
    pid: int | None = None
    since: datetime | None = None
    restarts: int = 0


class Snapshot(msgspec.Struct, kw_only=True, frozen=True, rename="camel"):
    """What the daemon last said. `phase` is Starting, Up or Stopping."""

    pid: int
    started: int
    boot_id: str
    phase: str
    since: datetime
    url: str = ""
    components: list[ComponentStatus] = []

    @property
    def identity(self) -> Identity:
        return Identity(self.pid, self.started, self.boot_id)


@dataclass(frozen=True, slots=True)
class StateFolder:
    """Paths of local mode's files."""

    root: Path

    @classmethod
    def locate(cls, environment: Mapping[str, str]) -> StateFolder:
        """`$KRUNTIMES_HOME`, or `$XDG_STATE_HOME/kruntimes/local` with its usual default."""
        if home := environment.get(HOME_VARIABLE):
            return cls(Path(home).expanduser().absolute())
        base = environment.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
        return cls(Path(base) / "kruntimes" / "local")

    @property
    def kubeconfig(self) -> Path:
        return self.root / "kubeconfig"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def node(self) -> Path:
        """The node's folder."""
        return self.root / "node"

    @property
    def processes(self) -> Path:
        """Records of the daemon's components."""
        return self.root / "processes"

    @property
    def node_socket(self) -> Path:
        return self.root / "node.sock"

    @property
    def snapshot_path(self) -> Path:
        return self.root / "daemon.json"

    def create(self) -> None:
        """Make it, private. Raises UsageError when it cannot be what it must be."""
        if len(os.fsencode(self.node_socket)) > _MAX_SOCKET_PATH_BYTES:
            raise UsageError(f"{self.root}: the path is too long for a unix socket; set {HOME_VARIABLE} to a shorter one")
        try:
            self.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.root.chmod(0o700)
        except OSError as error:
            raise UsageError(f"{self.root}: cannot be used as state folder ({error.strerror}); set {HOME_VARIABLE} to another") from error

    def write_snapshot(self, snapshot: Snapshot) -> None:
        """Whole or not at all, whoever reads meanwhile."""
        temporary = self.snapshot_path.with_suffix(".new")
        temporary.write_bytes(msgspec.json.encode(snapshot))
        os.replace(temporary, self.snapshot_path)

    def read_snapshot(self) -> Snapshot | None:
        """Of a daemon that lives; None when there is none."""
        try:
            snapshot = msgspec.json.decode(self.snapshot_path.read_bytes(), type=Snapshot)
        except (FileNotFoundError, NotADirectoryError, msgspec.MsgspecError):
            return None
        return snapshot if is_alive(snapshot.identity) else None

    @contextmanager
    def locked(self, name: str, *, wait: bool) -> Iterator[bool]:
        """Hold `<name>.lock` while inside; False when another process has it and we do not wait. The kernel frees it with its holder."""
        fd = os.open(self.root / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(fd)

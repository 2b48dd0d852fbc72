"""What one runtimed is told: its flags and its Pod. Frozen; no defaults hidden anywhere else."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from runtimed.artifacts.flags import DEFAULT_PATIENCE_SECONDS
from runtimed.artifacts.job import Limits
from runtimed.artifacts.settings import StoreSettings


@dataclass(frozen=True, slots=True)
class PodIdentity:
    """The Pod that we are in."""

    name: str
    namespace: str
    uid: str


@dataclass(frozen=True, slots=True)
class Offers:
    """What the Runtime offers to its Runs, by its annotations (`k8s.api.grants`)."""

    env_secrets: frozenset[str] = frozenset()
    env_config_maps: frozenset[str] = frozenset()
    git_credentials_secret: str = ""


@dataclass(frozen=True, slots=True)
class RuntimedSettings:
    """The flags of interface.md 6.1, and ours."""

    runtime_endpoint: str = "localhost:9091"
    """The Runtime Server, in this Pod."""
    runtime_name: str = ""
    """The Runtime served: a label of logs and metrics."""
    workers: int = 2
    """How many Runs may be at it at a time; those above wait, Scheduled."""
    status_addr: str = "127.0.0.1:9093"
    """gRPC status for old clients. Without a host: loopback only, for a port-forward dials localhost in the Pod."""
    workspace: Path = Path("/workspace")
    """Shared with the Runtime Server: one folder a Run."""
    artifact_store: StoreSettings | None = None
    """Where artifacts of Runs are kept; None for nowhere."""
    artifact_limits: Limits = field(default_factory=Limits)
    artifact_patience_seconds: float = DEFAULT_PATIENCE_SECONDS
    """How long the store may take nothing new of an upload before the Run fails for it."""
    state_dir: Path = Path("/var/run/kruntimes/state")
    """Markers and result records: ours alone, mounted nowhere else."""
    memory_dir: Path | None = None
    """A tmpfs for their files, with the life of the Pod; None leaves them in `state_dir`."""
    max_log_bytes: int = 64 << 20
    """Of our log, for the output of one attempt; then the last 64 KiB of each stream at its end."""
    offers: Offers = Offers()

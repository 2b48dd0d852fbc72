"""The Run: one execution. Field by field what `crds/run.yaml` admits (a test holds the two together)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from msgspec import Struct, field

from k8s.api import phases
from k8s.api.meta import Condition, KubernetesObject, View


class Attempt(NamedTuple):
    """What owns a Run for a while, and is started at most once. Number 0 is the first; then 2, 3, ..."""

    run_uid: str
    number: int
    pod_uid: str


class Source(View, frozen=True, kw_only=True):
    """What to execute. An empty inline source is a source; an absent one is none."""

    inline: str | None = None
    inline_path: str | None = None
    repo_url: str | None = field(default=None, name="repoURL")
    commit_sha: str | None = field(default=None, name="commitSHA")


class TaskMode(View, frozen=True, kw_only=True):
    entrypoint: str | None = None
    args: list[str] = field(default_factory=list)


class FunctionMode(View, frozen=True, kw_only=True):
    handler: str | None = None
    idle_timeout_seconds: int | None = None


class Mode(View, frozen=True, kw_only=True):
    task: TaskMode | None = None
    function: FunctionMode | None = None


class WorkspaceReference(View, frozen=True, kw_only=True):
    name: str = ""
    kind: str = "PersistentWorkspace"
    api_group: str = "kruntimes.io/v1alpha1"


class LabelSelectorRequirement(View, frozen=True, kw_only=True):
    key: str
    operator: str
    values: list[str] = field(default_factory=list)


class LabelSelector(View, frozen=True, kw_only=True):
    match_labels: dict[str, str] = field(default_factory=dict)
    match_expressions: list[LabelSelectorRequirement] = field(default_factory=list)


class RunAffinityTerm(View, frozen=True, kw_only=True):
    label_selector: LabelSelector
    topology_key: str


class WeightedRunAffinityTerm(View, frozen=True, kw_only=True):
    weight: int
    run_affinity_term: RunAffinityTerm


class RunAffinity(View, frozen=True, kw_only=True):
    required: list[RunAffinityTerm] = field(default_factory=list, name="requiredDuringSchedulingIgnoredDuringExecution")
    preferred: list[WeightedRunAffinityTerm] = field(default_factory=list, name="preferredDuringSchedulingIgnoredDuringExecution")


class Affinity(View, frozen=True, kw_only=True):
    run_affinity: RunAffinity | None = None
    run_anti_affinity: RunAffinity | None = None


class Resources(View, frozen=True, kw_only=True):
    requests: dict[str, str | int] = field(default_factory=dict)


class EnvVar(View, frozen=True, kw_only=True):
    """`value_from` is kept as it came: whoever resolves it knows its forms."""

    name: str
    value: str = ""
    value_from: dict[str, Any] | None = None


class RetryPolicy(View, frozen=True, kw_only=True):
    max_attempts: int | None = None
    backoff: str | None = None
    retryable_reasons: list[str] = field(default_factory=list)


class RunSpec(View, frozen=True, kw_only=True):
    runtime: str = ""
    source: Source | None = None
    mode: Mode = field(default_factory=Mode)
    workspace: WorkspaceReference | None = None
    affinity: Affinity | None = None
    resources: Resources | None = None
    env: list[EnvVar] = field(default_factory=list)
    timeout: str | None = None
    cancel_requested: bool = False
    retry_policy: RetryPolicy | None = None
    ttl_seconds_after_finished: int | None = None


class Endpoint(View, frozen=True, kw_only=True):
    protocol: str
    url: str
    ca_bundle: str | None = None


class FilesystemLocation(View, frozen=True, kw_only=True):
    path: str
    volume_claim_name: str | None = None


class S3Location(View, frozen=True, kw_only=True):
    bucket: str
    key: str


class ArtifactLocation(View, frozen=True, kw_only=True):
    filesystem: FilesystemLocation | None = None
    s3: S3Location | None = None


class ArtifactRef(View, frozen=True, kw_only=True):
    name: str
    driver: str
    type: str
    location: ArtifactLocation
    size_bytes: int
    created_at: datetime
    digest: str | None = None
    content_type: str | None = None


class Timings(View, frozen=True, kw_only=True):
    """The latency ledger: when each step of the terminal attempt happened."""

    observed: datetime | None = None
    """The scheduler saw the Run."""
    assigned: datetime | None = None
    """The scheduler bound it."""
    received: datetime | None = None
    """runtimed saw the assignment."""
    started: datetime | None = None
    """User code started."""
    first_output: datetime | None = None
    finished: datetime | None = None
    """The main process ended."""
    recorded: datetime | None = None
    """runtimed sent the terminal write."""


class RunStatus(View, frozen=True, kw_only=True):
    phase: str = phases.PENDING
    assigned_pod: str = ""
    assigned_pod_uid: str = field(default="", name="assignedPodUID")
    endpoint: Endpoint | None = None
    message: str = ""
    start_time: datetime | None = None
    completion_time: datetime | None = None
    exit_code: int | None = None
    timings: Timings | None = None
    outputs: dict[str, str] = field(default_factory=dict)
    artifact_refs: list[ArtifactRef] = field(default_factory=list)
    artifact_store: dict[str, Any] | None = None
    attempt: int | None = None
    """None when the binder wrote none: the attempt is then 0, and a fencing test is for its absence."""
    conditions: list[Condition] = field(default_factory=list)


class Run(KubernetesObject, frozen=True, kw_only=True):
    """One execution. A fresh Run has no status: its phase is then Pending."""

    spec: RunSpec = field(default_factory=RunSpec)
    status: RunStatus = field(default_factory=RunStatus)

    @property
    def phase(self) -> str:
        """Never empty: older clients create with an empty phase, which means Pending."""
        return self.status.phase or phases.PENDING

    @property
    def attempt_number(self) -> int:
        """0 during the first attempt, then 2, 3, ..."""
        return self.status.attempt or 0

    @property
    def attempt(self) -> Attempt:
        """The identity of what may execute this Run now."""
        return Attempt(self.uid, self.attempt_number, self.status.assigned_pod_uid)

    @property
    def is_terminal(self) -> bool:
        return self.phase in phases.TERMINAL_PHASES

    @property
    def is_active(self) -> bool:
        return self.phase in phases.ACTIVE_PHASES


class RunList(Struct, frozen=True, kw_only=True):
    """A page of Runs."""

    items: list[Run] = field(default_factory=list)

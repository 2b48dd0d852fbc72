"""A Run as the scheduler keeps it: without what it executes and what came out. 10,000 Runs with scripts of 256 KiB must fit into memory.

A field that is left out is looked for under a key that no object has: the decoder then skips the real one without making it.
"""

from __future__ import annotations

from typing import Any

from msgspec import field

from k8s.api.meta import ObjectMeta, OwnerReference
from k8s.api.run import ArtifactRef, EnvVar, Mode, Run, RunSpec, RunStatus, Source, Timings, WorkspaceReference
from k8s.client import RUNS, Resource


class KeptMeta(ObjectMeta, frozen=True, kw_only=True):
    """kubectl keeps a copy of the whole object in an annotation."""

    annotations: dict[str, str] = field(default_factory=dict, name="-annotations")
    finalizers: list[str] = field(default_factory=list, name="-finalizers")
    owner_references: list[OwnerReference] = field(default_factory=list, name="-ownerReferences")


class KeptSpec(RunSpec, frozen=True, kw_only=True):
    source: Source | None = field(default=None, name="-source")
    mode: Mode = field(default=Mode(), name="-mode")
    workspace: WorkspaceReference | None = field(default=None, name="-workspace")
    env: list[EnvVar] = field(default_factory=list, name="-env")


class KeptStatus(RunStatus, frozen=True, kw_only=True):
    timings: Timings | None = field(default=None, name="-timings")
    outputs: dict[str, str] = field(default_factory=dict, name="-outputs")
    artifact_refs: list[ArtifactRef] = field(default_factory=list, name="-artifactRefs")
    artifact_store: dict[str, Any] | None = field(default=None, name="-artifactStore")


class KeptRun(Run, frozen=True, kw_only=True):
    """Everything that decides where a Run goes."""

    metadata: KeptMeta = field(default_factory=KeptMeta)
    spec: KeptSpec = field(default_factory=KeptSpec)
    status: KeptStatus = field(default_factory=KeptStatus)


KEPT_RUNS = Resource(RUNS.group, RUNS.version, RUNS.plural, RUNS.kind, namespaced=True, type=KeptRun)

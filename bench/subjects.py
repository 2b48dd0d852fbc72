"""Who is measured: kruntimes with one of its Runtimes, plain Jobs, or the floor probe. Each is a kind of object, a Runtime, a program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench import workloads
from k8s.api.names import VERSION
from k8s.api.run import Run
from k8s.client import RUNS, JsonObject, Resource

PODS = 2
SLOTS_PER_POD = 64
"""Two Pods with 64 slots: the case the figures of other systems were taken with."""
BACKLOG_SLOTS = 8
BACKLOG_RUN_SECONDS = 0.5

FLOOR_GROUP = "floor.kruntimes.io"
FLOOR_RUNS: Resource[Run] = Resource(FLOOR_GROUP, VERSION, "runs", "Run", namespaced=True, type=Run)
"""The floor's Runs have the schema of ours and a group of their own: neither side's watchers ever see, or pay for, the other's."""


JOBS: Resource[JsonObject] = Resource("batch", "v1", "jobs", "Job", namespaced=True, type=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Subject:
    """What a Run of it looks like."""

    name: str
    runtime: str
    source: str
    image: str = ""
    """Base name of the image of its Runtime, or of the Job; empty for the floor."""
    slots_per_pod: int = SLOTS_PER_POD
    resource: Resource[Any] = RUNS

    @property
    def is_floor(self) -> bool:
        return self.resource is FLOOR_RUNS

    @property
    def is_job(self) -> bool:
        return self.resource is JOBS


BASH = Subject("bash", runtime="bench-bash", source=workloads.BASH_NOOP, image="bash-runtime")
PYTHON = Subject("python", runtime="bench-python", source=workloads.PYTHON_NOOP, image="python-runtime")
EIGHT_SLOTS = Subject(
    "bash, 8 slots",
    runtime="bench-eight",
    source=workloads.bash_sleep(BACKLOG_RUN_SECONDS),
    image="bash-runtime",
    slots_per_pod=BACKLOG_SLOTS // PODS,
)
BASH_JOB = Subject("Job, bash", runtime="bash", source=workloads.BASH_NOOP, image="bash-runtime", resource=JOBS)
PYTHON_JOB = Subject("Job, python", runtime="python3", source=workloads.PYTHON_NOOP, image="python-runtime", resource=JOBS)
"""Plain Kubernetes Jobs: the same program in the same image, in a Pod of its own. `runtime` is the interpreter."""
FLOOR = Subject("floor", runtime="floor", source=workloads.BASH_NOOP, resource=FLOOR_RUNS)

"""Exact strings that other programs depend on: labels, annotations, environment names, ports, lease names."""

from __future__ import annotations

GROUP = "kruntimes.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

RUNTIME_LABEL = "runtime"
"""On Pods, Deployments and NetworkPolicies: the Runtime's name."""
APP_LABEL = "app"
"""On the same objects: `kruntimes-<Runtime name>`, shortened by hash where that exceeds 63 characters."""

CAPACITY_ANNOTATION_PREFIX = f"{GROUP}/capacity."
"""On Pods: one annotation a logical resource, value a quantity."""
RUNTIMED_READY_CONDITION = f"{GROUP}/RuntimedReady"
"""Pod condition: runtimed's heartbeat. True and probed within the freshness limit, or the Pod takes no Runs."""
DRAINED_CONDITION = f"{GROUP}/Drained"
"""Pod condition: True on one that is being deleted, from runtimed: nothing of it is or will be started any more (ownership rule 26)."""
RUNTIME_POD_TOPOLOGY = f"{GROUP}/runtime-pod"
ARTIFACT_CLEANUP_FINALIZER = f"{GROUP}/artifact-cleanup"
ARTIFACTS_LABEL = f"{GROUP}/artifacts"
"""On Runs that have that finalizer, as `true`: by it they are watched, so that those without artifacts cost nobody anything."""
KEEP_LOG_ANNOTATION = f"{GROUP}/keep-log"
"""On Runs, as `true`: what they write to stdout and stderr is kept with their artifacts."""
FUNCTION_CLEANUP_FINALIZER = f"{GROUP}/function-cleanup"

ENV_SECRETS_ANNOTATION = f"{GROUP}/env-secrets"
ENV_CONFIG_MAPS_ANNOTATION = f"{GROUP}/env-config-maps"
"""On Runtimes: names, with commas between them, of what the env of their Runs may refer to."""
GIT_CREDENTIALS_ANNOTATION = f"{GROUP}/git-credentials-secret"
"""On Runtimes: the Secret with which repositories are fetched for their Runs."""

SCHEDULER_LEASE = "kruntimes-scheduler.kruntimes.com"
CONTROLLER_LEASE = "kruntimes-controller.kruntimes.com"

OUTPUTS_ENV = "KRUNTIME_OUTPUTS"
ARTIFACTS_DIR_ENV = "KRUNTIME_ARTIFACTS_DIR"
RESERVED_ENV_NAMES = frozenset({OUTPUTS_ENV, ARTIFACTS_DIR_ENV})
"""Ours alone: krt refuses them, and in a Run made otherwise runtimed's values win."""

RUNS_RESOURCE = "runs"
"""The logical resource every Run takes one of by default."""
DEFAULT_RUNS_CAPACITY = 2
"""Runs at a time in a Pod whose Runtime declares no capacity."""

RUNTIME_CONTAINER = "runtime"
RUNTIMED_CONTAINER = "runtimed"
DEFAULT_RUNTIME_PORT = 9091
RUNTIMED_STATUS_PORT = 9093
RUNTIMED_METRICS_PORT = 9090
RUNTIMED_HEALTH_PORT = 9094

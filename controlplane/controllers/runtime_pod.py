"""The Pods of a Runtime: the user's template with runtimed beside it. Pure; raises ValueError("field: what is wrong").

User code runs in the container `runtime`. Everything that it must not reach (the Kubernetes token, runtimed's own state) is
mounted into the container `runtimed` alone.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from controlplane.controllers.runtimed_container import (
    MEMORY_VOLUME,
    STATE_VOLUME,
    TOKEN_VOLUME,
    runtimed_container,
    state_volumes,
    token_volume,
)
from k8s.api import names
from k8s.api.capacity import capacity_key
from k8s.api.quantities import parse_count, parse_quantity
from k8s.api.runtime import Runtime

Json = dict[str, Any]

WORKSPACE_VOLUME = "workspace"
WORKSPACE_PATH = "/workspace"
TMP_VOLUME = "tmp"
ARTIFACT_VOLUME = "artifact-store"
OUR_VOLUMES = frozenset({WORKSPACE_VOLUME, ARTIFACT_VOLUME, STATE_VOLUME, MEMORY_VOLUME, TOKEN_VOLUME})
"""A user's volume of such a name is dropped."""
CLOSED_VOLUMES = OUR_VOLUMES - {WORKSPACE_VOLUME}
"""No container but runtimed may mount these."""
GRACE_SECONDS = 600
"""For the Runs of a Pod that is to go, where the template says nothing: a Pod that holds none goes at once, so a long time costs
nothing. Longer than ten minutes a node that is scaled away is not waited for anyway (the cluster autoscaler's default)."""
NOBODY = 65532
"""The user of our images."""
RUNTIMED_PORTS = frozenset({names.RUNTIMED_STATUS_PORT, names.RUNTIMED_METRICS_PORT, names.RUNTIMED_HEALTH_PORT})
DEFAULT_REQUESTS = {"cpu": "250m", "memory": "256Mi"}
DEFAULT_LIMITS = {"cpu": "2", "memory": "2Gi"}
DEFAULT_SECURITY: Json = {
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def pod_template(
    runtime: Runtime, *, labels: Mapping[str, str], service_account: str, runtimed_image: str, runtimed_memory_limit: str
) -> Json:
    """The Deployment's `spec.template`. Whatever the user wrote and we do not own passes through."""
    _check_ports(runtime)
    _check_quantities(runtime)
    template = copy.deepcopy(runtime.spec.template)
    written = template.get("metadata") or {}
    spec = template.get("spec") or {}
    sidecar = runtimed_container(
        runtime, image=runtimed_image, workers=declared_workers(runtime), memory_limit=runtimed_memory_limit, security=DEFAULT_SECURITY
    )
    spec["containers"] = [*_user_containers(runtime, spec.get("containers") or []), sidecar]
    if spec.get("initContainers"):
        spec["initContainers"] = _init_containers(spec["initContainers"])
    spec["volumes"] = _volumes(runtime, spec.get("volumes") or [])
    spec["serviceAccountName"] = service_account
    spec.pop("serviceAccount", None)
    # The token is projected into runtimed's container alone: user code must not be able to write to its own Run.
    _fill_in(spec, "automountServiceAccountToken", False)
    _fill_in(spec, "terminationGracePeriodSeconds", GRACE_SECONDS)
    _own_shared_files(runtime, spec)
    return {
        "metadata": {
            "labels": {**(written.get("labels") or {}), **labels},
            "annotations": {**(written.get("annotations") or {}), **capacity_annotations(runtime)},
        },
        "spec": spec,
    }


def capacity_annotations(runtime: Runtime) -> dict[str, str]:
    """What the scheduler reads from each Pod. Raises ValueError on what is no count, and on two names that share a key."""
    annotations: dict[str, str] = {}
    for resource, quantity in _declared(runtime).items():
        field = f"spec.capacity.resources[{resource}]"
        key = names.CAPACITY_ANNOTATION_PREFIX + capacity_key(resource)
        if key in annotations:
            raise ValueError(f"{field}: shares the annotation {key} with another resource; rename one of them")
        try:
            count = parse_count(quantity)
        except ValueError as error:
            raise ValueError(f"{field}: {error}") from error
        if count > 0:
            annotations[key] = str(quantity)
    return annotations


def declared_workers(runtime: Runtime) -> int | None:
    """Runs at a time, where the Runtime says so."""
    quantity = _declared(runtime).get(names.RUNS_RESOURCE)
    return (parse_count(quantity) or None) if quantity is not None else None


def _declared(runtime: Runtime) -> dict[str, str | int]:
    return runtime.spec.capacity.resources if runtime.spec.capacity is not None else {}


def _user_containers(runtime: Runtime, containers: list[Json]) -> list[Json]:
    """`runtime` first, completed; then the user's others. One named `runtimed` would take our place, and is dropped."""
    stripped = [_without_closed_mounts(container) for container in containers if container.get("name") != names.RUNTIMED_CONTAINER]
    servers = [container for container in stripped if container.get("name") == names.RUNTIME_CONTAINER]
    if not servers:
        raise ValueError(f"spec.template.spec.containers: the first must be named {names.RUNTIME_CONTAINER}")
    return [_runtime_container(runtime, servers[0]), *(container for container in stripped if container not in servers)]


def _runtime_container(runtime: Runtime, container: Json) -> Json:
    port = runtime.spec.port
    others = [declared for declared in container.get("ports") or [] if not _is_server_port(declared, port=port)]
    container["ports"] = [*others, {"name": "grpc", "containerPort": port, "protocol": "TCP"}]
    socket = {"tcpSocket": {"port": port}}
    _fill_in(container, "livenessProbe", {**socket, "initialDelaySeconds": 5, "periodSeconds": 10})
    _fill_in(container, "readinessProbe", {**socket, "initialDelaySeconds": 1, "periodSeconds": 5})
    _fill_in(container, "securityContext", copy.deepcopy(DEFAULT_SECURITY))
    container["resources"] = _with_default_resources(container.get("resources") or {})
    mounts = [mount for mount in container.get("volumeMounts") or [] if mount.get("name") != WORKSPACE_VOLUME]
    mounts.append({"name": WORKSPACE_VOLUME, "mountPath": WORKSPACE_PATH})
    if not any(str(mount.get("mountPath", "")).rstrip("/") == "/tmp" for mount in mounts):  # noqa: S108 - the folder in the Pod
        # The root is read-only by default, and hardly a program does without /tmp.
        mounts.append({"name": TMP_VOLUME, "mountPath": "/tmp"})  # noqa: S108
    container["volumeMounts"] = mounts
    return container


def _is_server_port(declared: Json, *, port: int) -> bool:
    is_same = declared.get("containerPort") == port and declared.get("protocol", "TCP") == "TCP"
    return declared.get("name") == "grpc" or is_same


def _with_default_resources(resources: Json) -> Json:
    """Each map is ours only where the user wrote none, and then never at odds with the one that he did write."""
    requests, limits = resources.get("requests"), resources.get("limits")
    if requests is None:
        requests = {name: _smaller(value, (limits or {}).get(name)) for name, value in DEFAULT_REQUESTS.items()}
    if limits is None:
        limits = {name: _larger(value, requests.get(name)) for name, value in DEFAULT_LIMITS.items()}
    return {**resources, "requests": requests, "limits": limits}


def _smaller(ours: str, theirs: str | int | None) -> str:
    return ours if theirs is None or parse_quantity(ours) <= parse_quantity(theirs) else str(theirs)


def _larger(ours: str, theirs: str | int | None) -> str:
    return ours if theirs is None or parse_quantity(ours) >= parse_quantity(theirs) else str(theirs)


def _volumes(runtime: Runtime, volumes: list[Json]) -> list[Json]:
    kept = [volume for volume in volumes if volume.get("name") not in OUR_VOLUMES]
    ours: list[Json] = [
        {"name": WORKSPACE_VOLUME, **(runtime.spec.workspace or {"emptyDir": {}})},
        *state_volumes(),
        token_volume(),
    ]
    if not any(volume.get("name") == TMP_VOLUME for volume in kept):
        ours.append({"name": TMP_VOLUME, "emptyDir": {}})
    claim = artifact_claim(runtime)
    if claim is not None:
        ours.append({"name": ARTIFACT_VOLUME, "persistentVolumeClaim": {"claimName": claim}})
    return [*kept, *ours]


def artifact_claim(runtime: Runtime) -> str | None:
    """The volume claim of a filesystem store."""
    store = runtime.spec.artifact_store
    return store.filesystem.volume_claim_name if store is not None and store.filesystem is not None else None


def _own_shared_files(runtime: Runtime, spec: Json) -> None:
    """A volume of a filesystem store belongs to root at first; our images run as somebody else."""
    if artifact_claim(runtime) is None:
        return
    _fill_in(spec, "securityContext", {})
    if spec["securityContext"].get("fsGroup") is None:
        spec["securityContext"] |= {"fsGroup": NOBODY, "fsGroupChangePolicy": "OnRootMismatch"}


def _init_containers(containers: list[Json]) -> list[Json]:
    for index, container in enumerate(containers):
        if container.get("name") == names.RUNTIMED_CONTAINER:
            field = f"spec.template.spec.initContainers[{index}].name"
            raise ValueError(f"{field}: {names.RUNTIMED_CONTAINER} is the name of our own container; choose another")
    return [_without_closed_mounts(container) for container in containers]


def _check_ports(runtime: Runtime) -> None:
    """The containers of a Pod share their ports."""
    if runtime.spec.port in RUNTIMED_PORTS:
        raise ValueError(f"spec.port: {runtime.spec.port} is a port of runtimed's in the same Pod; choose another")


def _check_quantities(runtime: Runtime) -> None:
    """An API server refuses a wrong one too, but does not say which."""
    for index, container in enumerate(runtime.spec.template["spec"]["containers"]):
        resources = container.get("resources") or {}
        for kind in ("requests", "limits"):
            for name, quantity in (resources.get(kind) or {}).items():
                try:
                    parse_quantity(quantity)
                except ValueError as error:
                    raise ValueError(f"spec.template.spec.containers[{index}].resources.{kind}[{name}]: {error}") from error


def _fill_in(owner: Json, key: str, value: Any) -> None:
    """A null is as good as absent, to Kubernetes too."""
    if owner.get(key) is None:
        owner[key] = value


def _without_closed_mounts(container: Json) -> Json:
    if container.get("volumeMounts"):
        container["volumeMounts"] = [mount for mount in container["volumeMounts"] if mount.get("name") not in CLOSED_VOLUMES]
    return container

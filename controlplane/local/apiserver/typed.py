"""The few rules of built-in kinds that mistakes run into: types of the fields that people write, containers with names, and
Deployments that select their own Pods. Everything else of them is taken as it comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from controlplane.local.apiserver.metadata import LABEL_MESSAGE, is_label
from controlplane.local.apiserver.paths import quoted
from controlplane.local.apiserver.statuses import Cause, bad_request

Document = Mapping[str, Any]
Texts = dict[str, str]


class EnvVar(msgspec.Struct):
    """core/v1 EnvVar."""

    name: str | None = None
    value: str | None = None
    valueFrom: dict[str, Any] | None = None  # noqa: N815 - Kubernetes' name


class Container(msgspec.Struct):
    """core/v1 Container."""

    name: str | None = None
    image: str | None = None
    command: list[str] | None = None
    args: list[str] | None = None
    env: list[EnvVar] | None = None
    ports: list[dict[str, Any]] | None = None
    volumeMounts: list[dict[str, Any]] | None = None  # noqa: N815
    workingDir: str | None = None  # noqa: N815


class PodSpec(msgspec.Struct):
    """core/v1 PodSpec."""

    containers: list[Container] | None = None
    initContainers: list[Container] | None = None  # noqa: N815
    volumes: list[dict[str, Any]] | None = None
    nodeName: str | None = None  # noqa: N815
    restartPolicy: str | None = None  # noqa: N815
    serviceAccountName: str | None = None  # noqa: N815
    terminationGracePeriodSeconds: int | None = None  # noqa: N815


class ContainerStatus(msgspec.Struct):
    """core/v1 ContainerStatus."""

    name: str | None = None
    ready: bool | None = None
    restartCount: int | None = None  # noqa: N815
    state: dict[str, dict[str, Any] | None] | None = None


class PodStatus(msgspec.Struct):
    """core/v1 PodStatus."""

    phase: str | None = None
    reason: str | None = None
    conditions: list[dict[str, Any]] | None = None
    containerStatuses: list[ContainerStatus] | None = None  # noqa: N815


class Labelled(msgspec.Struct):
    """The metadata of a template."""

    labels: Texts | None = None
    annotations: Texts | None = None


class Pod(msgspec.Struct):
    """core/v1 Pod, and the template of one."""

    metadata: Labelled | None = None
    spec: PodSpec | None = None
    status: PodStatus | None = None


class Selector(msgspec.Struct):
    """meta/v1 LabelSelector."""

    matchLabels: Texts | None = None  # noqa: N815
    matchExpressions: list[dict[str, Any]] | None = None  # noqa: N815


class ReplicatedSpec(msgspec.Struct):
    """apps/v1 DeploymentSpec and ReplicaSetSpec."""

    replicas: int | None = None
    selector: Selector | None = None
    template: Pod | None = None


class Replicated(msgspec.Struct):
    """apps/v1 Deployment and ReplicaSet."""

    spec: ReplicatedSpec | None = None
    status: dict[str, Any] | None = None


class Data(msgspec.Struct):
    """core/v1 ConfigMap and Secret."""

    data: Texts | None = None
    stringData: Texts | None = None  # noqa: N815
    binaryData: Texts | None = None  # noqa: N815
    type: str | None = None


class LeaseSpec(msgspec.Struct):
    """coordination.k8s.io/v1 LeaseSpec."""

    holderIdentity: str | None = None  # noqa: N815
    leaseDurationSeconds: int | None = None  # noqa: N815
    leaseTransitions: int | None = None  # noqa: N815
    acquireTime: str | None = None  # noqa: N815
    renewTime: str | None = None  # noqa: N815


class Lease(msgspec.Struct):
    """coordination.k8s.io/v1 Lease."""

    spec: LeaseSpec | None = None


class Loose(msgspec.Struct):
    """Any other kind: what is always an object."""

    spec: dict[str, Any] | None = None
    status: dict[str, Any] | None = None


_TYPES: dict[str, Any] = {
    "pods": Pod,
    "deployments.apps": Replicated,
    "replicasets.apps": Replicated,
    "configmaps": Data,
    "secrets": Data,
    "leases.coordination.k8s.io": Lease,
}


def check_types(document: Document, *, resource: str) -> None:
    """Raises 400 when a field has the wrong type."""
    try:
        msgspec.convert(document, _TYPES.get(resource, Loose))
    except msgspec.ValidationError as error:
        kind = document["kind"]
        version = document["apiVersion"].rpartition("/")[2]
        raise bad_request(f'{kind} in version "{version}" cannot be handled as a {kind}: {error}') from error


def problems(document: Document, *, resource: str, old: Document | None) -> list[Cause]:
    """The broken rules of a built-in kind."""
    check = _CHECKS.get(resource)
    return list(check(document, old)) if check is not None else []


def _check_pod(pod: Document, _old: Document | None) -> Iterator[Cause]:
    yield from _check_containers(pod.get("spec") or {}, where="spec")


def _check_containers(spec: Document, *, where: str) -> Iterator[Cause]:
    if not spec.get("containers"):
        yield _required(f"{where}.containers")
    seen: set[str] = set()
    for group in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(group) or ()):
            yield from _check_container_name(container.get("name"), where=f"{where}.{group}[{index}].name", seen=seen)


def _check_container_name(name: str | None, *, where: str, seen: set[str]) -> Iterator[Cause]:
    if not name:
        yield _required(where)
    elif not is_label(name):
        yield Cause("FieldValueInvalid", f"Invalid value: {quoted(name)}: {LABEL_MESSAGE}", where)
    elif name in seen:
        yield Cause("FieldValueDuplicate", f"Duplicate value: {quoted(name)}", where)
    seen.add(name or "")


def _check_replicated(document: Document, old: Document | None) -> Iterator[Cause]:
    spec = document.get("spec") or {}
    template = spec.get("template") or {}
    selector = spec.get("selector") or {}
    if not selector:
        yield _required("spec.selector")
    wanted: Texts = selector.get("matchLabels") or {}
    labels: Texts = (template.get("metadata") or {}).get("labels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        message = f"Invalid value: {quoted(labels)}: `selector` does not match template `labels`"
        yield Cause("FieldValueInvalid", message, "spec.template.metadata.labels")
    yield from _check_containers(template.get("spec") or {}, where="spec.template.spec")
    if isinstance(spec.get("replicas"), int) and spec["replicas"] < 0:
        yield Cause("FieldValueInvalid", f"Invalid value: {spec['replicas']}: must be greater than or equal to 0", "spec.replicas")
    if old is not None and selector != (old.get("spec") or {}).get("selector"):
        yield Cause("FieldValueInvalid", f"Invalid value: {quoted(selector)}: field is immutable", "spec.selector")


def _required(field: str) -> Cause:
    return Cause("FieldValueRequired", "Required value", field)


_CHECKS: dict[str, Callable[[Document, Document | None], Iterator[Cause]]] = {
    "pods": _check_pod,
    "deployments.apps": _check_replicated,
    "replicasets.apps": _check_replicated,
}

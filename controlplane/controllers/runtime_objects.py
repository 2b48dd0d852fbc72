"""What a Runtime means: the objects that are to exist for it, as a pure function. Nobody is asked and nothing is written here.

Each object holds exactly the fields we own; the API server fills in the rest, and server-side apply keeps the two apart. So
nothing here is ever compared with a live object as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from controlplane.controllers.runtime_access import SERVICE_ACCOUNT, access_objects, account_of, make_object, shorten
from controlplane.controllers.runtime_pod import pod_template
from k8s.api import names
from k8s.api.errors import KrtError
from k8s.api.runtime import Runtime

Json = dict[str, Any]

DAEMON_IMAGE = "kruntimes-runtimed:latest"
DAEMON_MEMORY = "256Mi"
ROLLING_UPDATE: Json = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}}
"""A change takes no warm Pod away before another is ready in its place. (By default a quarter may be missing.)"""
_PREFIX = "runtime-"
_LONGEST_LABEL = 63
_DNS_PORT = 53


class InvalidRuntime(KrtError):
    """The Runtime can't be brought about as it is written. `field` names where."""

    reason = "InvalidRuntime"

    def __init__(self, *, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


@dataclass(frozen=True, slots=True)
class RuntimeSettings:
    """What the operator chooses for all Runtimes."""

    default_daemon_image: str = DAEMON_IMAGE
    """Image of runtimed where the Runtime names none."""
    service_account_name: str = SERVICE_ACCOUNT
    """ServiceAccount of the Pods where the Runtime's template names none."""
    runtimed_memory_limit: str = DAEMON_MEMORY
    """A quantity. 64Mi of it may go to the records that runtimed keeps in memory."""
    has_metrics_ingress: bool = False
    """Whether anybody may connect to runtimed's metrics port; to all other ports nobody may, ever."""
    egress_cidrs: tuple[str, ...] = ()
    """Where the Pods may connect to, beside DNS: the API server must be in it. Empty is everywhere."""


def desired_objects(runtime: Runtime, settings: RuntimeSettings) -> list[Json]:
    """In the order in which they are to be made: a Pod must find its rights, and its isolation, when it starts.

    Raises InvalidRuntime.
    """
    if len(runtime.metadata.name) > _LONGEST_LABEL:
        raise InvalidRuntime(
            field="metadata.name", message=f"has more than {_LONGEST_LABEL} characters and cannot be a label; choose a shorter name"
        )
    account = account_of(runtime, default=settings.service_account_name)
    return [
        *access_objects(account, namespace=runtime.metadata.namespace),
        _network_policy(runtime, settings),
        _deployment(runtime, settings, account=account),
    ]


def selector_labels(runtime_name: str) -> dict[str, str]:
    """The two labels by which a Runtime's Pods are found."""
    return {names.RUNTIME_LABEL: runtime_name, names.APP_LABEL: shorten(f"kruntimes-{runtime_name}", hashed=runtime_name)}


def deployment_name(runtime_name: str) -> str:
    """Other programs depend on it."""
    return f"{_PREFIX}{runtime_name}"


def named_runtime(object_name: str) -> str:
    """The Runtime whose Deployment or NetworkPolicy has that name; empty for what no Runtime's is named."""
    return object_name.removeprefix(_PREFIX) if object_name.startswith(_PREFIX) else ""


def _network_policy(runtime: Runtime, settings: RuntimeSettings) -> Json:
    """Nobody may connect to the Pods; they may connect to anybody, unless the operator says otherwise.

    `ingress` is named though it is empty: a rule that somebody adds would be theirs otherwise, and would stay.
    """
    metrics_port = [{"port": names.RUNTIMED_METRICS_PORT, "protocol": "TCP"}]
    spec: Json = {
        "podSelector": {"matchLabels": selector_labels(runtime.metadata.name)},
        "policyTypes": ["Ingress"],
        "ingress": [{"ports": metrics_port}] if settings.has_metrics_ingress else [],
    }
    if settings.egress_cidrs:
        dns = [{"port": _DNS_PORT, "protocol": protocol} for protocol in ("UDP", "TCP")]
        blocks = [{"ipBlock": {"cidr": cidr}} for cidr in settings.egress_cidrs]
        spec |= {"policyTypes": ["Ingress", "Egress"], "egress": [{"to": blocks}, {"ports": dns}]}
    return {**_owned(runtime, "networking.k8s.io/v1", "NetworkPolicy"), "spec": spec}


def _deployment(runtime: Runtime, settings: RuntimeSettings, *, account: str) -> Json:
    labels = selector_labels(runtime.metadata.name)
    image = runtime.spec.daemon_image or settings.default_daemon_image
    try:
        template = pod_template(
            runtime, labels=labels, service_account=account, runtimed_image=image, runtimed_memory_limit=settings.runtimed_memory_limit
        )
    except ValueError as error:
        field, _, message = str(error).partition(": ")
        raise InvalidRuntime(field=field, message=message) from error
    except (AttributeError, KeyError, TypeError) as error:
        # The CRD takes a template as it comes. What we look into may be a list where an object belongs, and the other way round.
        message = "something in it is no list or no object where it must be one; compare it with `kubectl explain pod.spec`"
        raise InvalidRuntime(field="spec.template", message=message) from error
    spec = {
        "replicas": max(1, runtime.spec.replicas),
        "strategy": ROLLING_UPDATE,
        "selector": {"matchLabels": labels},
        "template": template,
    }
    return {**_owned(runtime, "apps/v1", "Deployment"), "spec": spec}


def _owned(runtime: Runtime, api_version: str, kind: str) -> Json:
    """An object that goes with its Runtime."""
    name, labels = deployment_name(runtime.metadata.name), selector_labels(runtime.metadata.name)
    owned = make_object(api_version, kind, name=name, namespace=runtime.metadata.namespace, labels=labels)
    owned["metadata"]["ownerReferences"] = [
        {
            "apiVersion": names.API_VERSION,
            "kind": "Runtime",
            "name": runtime.metadata.name,
            "uid": runtime.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    return owned

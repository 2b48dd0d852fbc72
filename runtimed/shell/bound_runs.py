"""The Runs that are bound to this Pod, as the API server selects them: by the Pod's name, and only while they are not over."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from k8s.api.phases import NOT_TERMINAL_SELECTOR
from k8s.api.run import Run
from k8s.client import RUNS, ApiClient, Notice, Wider, list_and_watch
from runtimed.settings import PodIdentity


def bound_to(pod_name: str) -> str:
    """A field selector: also what is over."""
    return f"status.assignedPod={pod_name}"


def follow_bound(client: ApiClient, pod: PodIdentity) -> AsyncGenerator[Notice[Run], None]:
    """For ever. A finished Run costs nothing here."""
    wider: Wider[Run] = Wider(bound_to(pod.name), keeps=lambda run: not run.is_terminal)
    return list_and_watch(client, RUNS, namespace=pod.namespace, field_selector=_held_by(pod.name), wider=wider)


async def list_bound(client: ApiClient, *, namespace: str, pod_name: str) -> list[Run]:
    """Consistent. Raises ApiError."""
    return (await client.list(RUNS, namespace=namespace, field_selector=_held_by(pod_name))).items


def _held_by(pod_name: str) -> str:
    return f"{bound_to(pod_name)},{NOT_TERMINAL_SELECTOR}"

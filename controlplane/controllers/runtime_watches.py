"""What the controllers of Runtimes look at: one watch a kind, shared by all of them. It decides nothing."""

from __future__ import annotations

from typing import Any

from controlplane.controllers import runtime_access
from controlplane.controllers.pod_troubles import RuntimePod
from controlplane.controllers.reconciling import Informer
from k8s.api import names
from k8s.api.meta import KubernetesObject
from k8s.client import (
    DEPLOYMENTS,
    NETWORK_POLICIES,
    ROLE_BINDINGS,
    ROLES,
    RUNTIMES,
    SERVICE_ACCOUNTS,
    ApiClient,
    JsonObject,
    Resource,
)
from k8s.manager import Tasks

ACCOUNTS = Resource(
    SERVICE_ACCOUNTS.group,
    SERVICE_ACCOUNTS.version,
    SERVICE_ACCOUNTS.plural,
    SERVICE_ACCOUNTS.kind,
    namespaced=True,
    type=KubernetesObject,
)
"""All of a cluster are watched, for one that is not ours may be deleted under a Runtime: hence no more of each than its metadata."""
OWNED = (NETWORK_POLICIES, DEPLOYMENTS)
"""Each Runtime has its own, and they go with it by garbage collection."""
SHARED = (ROLES, ROLE_BINDINGS)
"""The Runtimes of a namespace have them together."""


class RuntimeWatches:
    """Made first, then told whom to tell, then run."""

    def __init__(self, client: ApiClient, *, pods: Informer[RuntimePod]) -> None:
        """`pods` are those of Runtimes; whoever made it runs it."""
        self.pods = pods
        self.runtimes = Informer(client, RUNTIMES)
        self.accounts = Informer(client, ACCOUNTS)
        self.objects: dict[str, Informer[JsonObject]] = {
            resource.kind: Informer(client, resource, label_selector=names.RUNTIME_LABEL if resource in OWNED else runtime_access.SELECTOR)
            for resource in (*OWNED, *SHARED)
        }

    def start(self, tasks: Tasks) -> None:
        """When everybody has said what they want to be told."""
        for informer in self._own():
            tasks.start(informer.run(), name=informer.name)

    async def are_complete(self) -> None:
        """Returns when everything has been listed: before that, absence means nothing."""
        for informer in (self.pods, *self._own()):
            await informer.is_complete.wait()

    def _own(self) -> list[Informer[Any]]:
        return [self.runtimes, self.accounts, *self.objects.values()]

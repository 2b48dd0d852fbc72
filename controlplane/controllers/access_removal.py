"""Takes away what runtimed was allowed, where nobody needs it any more. Keys are namespaces.

A binding, and a ServiceAccount that we have made, go when no Runtime, Deployment or Pod of their namespace names the account. The
Role goes when there is nothing of ours left at all, and no Run whose artifacts still wait for their maintainer. A ServiceAccount
of others never goes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

from controlplane.controllers.reconciling import Reconciler
from controlplane.controllers.runtime_access import account_of, bound_accounts, is_ours
from controlplane.controllers.runtime_objects import RuntimeSettings
from controlplane.controllers.runtime_watches import ACCOUNTS, RuntimeWatches
from k8s.api import names
from k8s.api.meta import KubernetesObject
from k8s.api.pod import Pod
from k8s.api.runtime import Runtime
from k8s.client import (
    DEPLOYMENTS,
    ROLE_BINDINGS,
    ROLES,
    RUNS,
    ApiClient,
    Cache,
    Change,
    Conflict,
    Deleted,
    JsonObject,
    Listed,
    NotFound,
    Resource,
    identify,
    list_and_watch,
)
from k8s.manager import Tasks

logger = logging.getLogger(__name__)

RUN_METADATA = Resource(RUNS.group, RUNS.version, RUNS.plural, RUNS.kind, namespaced=True, type=KubernetesObject)


class AccessRemoval:
    """Level-triggered: a namespace's look finds out everything anew."""

    def __init__(self, client: ApiClient, *, watches: RuntimeWatches, settings: RuntimeSettings) -> None:
        self._client = client
        self._watches = watches
        self._settings = settings
        self._reconciler = Reconciler("access removal", self.reconcile, keys=self._namespaces)
        self._vigils: dict[str, asyncio.Task[None]] = {}
        """By namespace: done when no Run there has artifacts any more."""
        self._tasks: Tasks | None = None
        watches.runtimes.tell(self._when_released(self._account_of_runtime))
        watches.objects[DEPLOYMENTS.kind].tell(self._when_released(_account_of_deployment))
        watches.pods.tell(self._when_released(_account_of_pod))

    async def run(self) -> None:
        """Until cancelled."""
        await self._watches.are_complete()
        async with Tasks() as self._tasks:
            await self._reconciler.run()

    # ---- wake-ups

    def _when_released(self, account_of: Callable[[Any], str]) -> Callable[[Change[Any]], None]:
        """Of all changes, those after which an object names its account no more."""

        def told(change: Change[Any]) -> None:
            if change.old is not None and (change.new is None or account_of(change.new) != account_of(change.old)):
                self._reconciler.add(identify(change.old).namespace)

        return told

    def _namespaces(self) -> set[str]:
        bindings = (identify(binding).namespace for binding in self._watches.objects[ROLE_BINDINGS.kind].cache)
        roles = (identify(role).namespace for role in self._watches.objects[ROLES.kind].cache)
        accounts = (account.metadata.namespace for account in self._watches.accounts.cache if is_ours(account))
        return {*bindings, *roles, *accounts}

    # ---- one look

    async def reconcile(self, key: str) -> float | None:
        needed = self._needed_accounts(key)
        if needed:
            self._end_vigil(key)
        elif not self._has_anything(key) or not self._are_artifacts_gone(key):
            return None
        for binding in self._of(key, self._watches.objects[ROLE_BINDINGS.kind].cache):
            if not bound_accounts(binding) & needed:
                await self._delete(ROLE_BINDINGS, binding)
        for account in self._of(key, self._watches.accounts.cache):
            if is_ours(account) and account.metadata.name not in needed:
                await self._delete(ACCOUNTS, account)
        if not needed:
            for role in self._of(key, self._watches.objects[ROLES.kind].cache):
                await self._delete(ROLES, role)
            self._end_vigil(key)
        return None

    def _needed_accounts(self, namespace: str) -> set[str]:
        wanted = {self._account_of_runtime(runtime) for runtime in self._of(namespace, self._watches.runtimes.cache)}
        deployments = self._of(namespace, self._watches.objects[DEPLOYMENTS.kind].cache)
        deployed = {_account_of_deployment(deployment) for deployment in deployments}
        in_use = {_account_of_pod(pod) for pod in self._of(namespace, self._watches.pods.cache)}
        return wanted | deployed | in_use

    def _account_of_runtime(self, runtime: Runtime) -> str:
        return account_of(runtime, default=self._settings.service_account_name)

    def _has_anything(self, namespace: str) -> bool:
        return namespace in self._namespaces()

    def _of(self, namespace: str, cache: Cache[Any]) -> list[Any]:
        return [seen for seen in cache if identify(seen).namespace == namespace]

    async def _delete(self, resource: Resource[Any], seen: KubernetesObject | JsonObject) -> None:
        identity = identify(seen)
        try:
            # As it was seen: one that a new Runtime has just made is another, and one that somebody took over has changed.
            await self._client.delete(
                resource,
                identity.name,
                namespace=identity.namespace,
                uid=identity.uid,
                resource_version=str(identity.resource_version),
            )
        except NotFound:
            return
        except Conflict:
            self._reconciler.add(identity.namespace)
            return
        fields = {"kind": resource.kind, "namespace": identity.namespace, "object": identity.name}
        logger.info("object is not needed any more", extra=fields)

    # ---- the vigil

    def _are_artifacts_gone(self, namespace: str) -> bool:
        """Whether they are known to be; until then somebody watches, and comes back."""
        vigil = self._vigils.get(namespace)
        if vigil is None and self._tasks is not None:
            vigil = self._vigils[namespace] = self._tasks.start(self._keep_vigil(namespace), name=f"vigil in {namespace}")
        return vigil is not None and vigil.done()

    def _end_vigil(self, namespace: str) -> None:
        vigil = self._vigils.pop(namespace, None)
        if vigil is not None:
            vigil.cancel()

    async def _keep_vigil(self, namespace: str) -> None:
        """Returns when no Run there has our finalizer."""
        runs: Cache[KubernetesObject] = Cache()
        async with aclosing(list_and_watch(self._client, RUN_METADATA, namespace=namespace)) as notices:
            async for notice in notices:
                if isinstance(notice, Listed):
                    runs.feed(Listed([run for run in notice.items if _has_artifacts(run)], notice.resource_version))
                elif isinstance(notice, Deleted) or _has_artifacts(notice.object):
                    runs.feed(notice)
                else:
                    runs.feed(Deleted(notice.object))
                if runs.is_synced and not len(runs):
                    break
        # After this task is done: `reconcile` asks for that.
        asyncio.get_running_loop().call_soon(self._reconciler.add, namespace)


def _has_artifacts(run: KubernetesObject) -> bool:
    return names.ARTIFACT_CLEANUP_FINALIZER in run.metadata.finalizers


def _account_of_deployment(deployment: JsonObject) -> str:
    return str((deployment.get("spec") or {}).get("template", {}).get("spec", {}).get("serviceAccountName", ""))


def _account_of_pod(pod: Pod) -> str:
    return pod.spec.service_account_name

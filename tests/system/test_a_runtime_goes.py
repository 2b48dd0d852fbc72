"""A deleted Runtime: what its Pods hold comes to its end, and then nothing of it is left. Garbage is collected in local mode only."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from k8s.api.run import Run
from k8s.client import (
    DEPLOYMENTS,
    NETWORK_POLICIES,
    PODS,
    ROLE_BINDINGS,
    ROLES,
    RUNS,
    RUNTIMES,
    SERVICE_ACCOUNTS,
    ApiClient,
    Changed,
    Deleted,
    Listed,
    Resource,
    list_and_watch,
    load_credentials,
)
from tests.system.stage import NAMESPACE, RUNTIME, Stage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120), pytest.mark.parametrize("stage", ["embedded"], indirect=True)]

SECONDS = 40
LEFT: tuple[Resource[Any], ...] = (DEPLOYMENTS, NETWORK_POLICIES, PODS, ROLE_BINDINGS, ROLES, SERVICE_ACCOUNTS)


async def is_empty(client: ApiClient, resource: Resource[Any]) -> None:
    """Returns when the namespace holds none."""
    left: set[str] = set()
    async with asyncio.timeout(SECONDS), aclosing(list_and_watch(client, resource, namespace=NAMESPACE)) as notices:
        async for notice in notices:
            if isinstance(notice, Listed):
                left = {name_of(each) for each in notice.items}
            elif isinstance(notice, Deleted):
                left.discard(name_of(notice.object))
            elif isinstance(notice, Changed):
                left.add(name_of(notice.object))
            if not left:
                return


def name_of(seen: Any) -> str:
    return str(seen["metadata"]["name"] if isinstance(seen, dict) else seen.metadata.name)


async def is_running(client: ApiClient) -> None:
    async with asyncio.timeout(SECONDS), aclosing(list_and_watch(client, RUNS, namespace=NAMESPACE)) as notices:
        async for notice in notices:
            if isinstance(notice, Changed) and notice.object.phase == "Running":
                return


async def delete_under_load(stage: Stage) -> list[Run]:
    async with await ApiClient.connect(await load_credentials(kubeconfig=str(stage.server.kubeconfig)), user_agent="test") as client:
        running = asyncio.create_task(is_running(client))
        load = asyncio.create_task(asyncio.to_thread(stage.run_all, count=1, parallel=1, source={"inline": "sleep 3"}))
        await running
        await client.delete(RUNTIMES, RUNTIME, namespace=NAMESPACE, propagation_policy="Background")
        runs = await load
        for resource in LEFT:
            await is_empty(client, resource)
        return runs


def test_a_run_of_a_deleted_runtime_ends_well_and_then_nothing_is_left(stage: Stage) -> None:
    (run,) = asyncio.run(delete_under_load(stage))
    assert (run.phase, run.attempt_number) == ("Succeeded", 1)

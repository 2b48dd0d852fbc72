"""A change of a Runtime replaces its Pods one after the other, and no Run is lost, doubled or tried again for it."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from k8s.api.pod import Pod
from k8s.api.run import Run
from k8s.api.runtime import Runtime
from k8s.client import PODS, RUNTIMES, ApiClient, Changed, Deleted, Listed, list_and_watch, load_credentials, merge_patch
from tests.system.stage import NAMESPACE, RUNTIME, Stage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]

SHORT_RUNS = 200
SECONDS = 60
LONG_SECONDS = 8
"""More than the Pods need to be replaced; the long Run keeps its old Pod from going."""


async def connect(stage: Stage) -> ApiClient:
    return await ApiClient.connect(await load_credentials(kubeconfig=str(stage.server.kubeconfig)), user_agent="test")


def is_ready(runtime: Runtime) -> bool:
    conditions = {each.type: each.status for each in runtime.status.conditions}
    return runtime.status.observed_generation == runtime.metadata.generation and conditions.get("Ready") == "True"


async def replaced(client: ApiClient, pods: set[str]) -> None:
    """Returns when the Pods with these UIDs are gone."""
    left = set(pods)
    async with asyncio.timeout(SECONDS), aclosing(list_and_watch(client, PODS, namespace=NAMESPACE)) as notices:
        async for notice in notices:
            if isinstance(notice, Listed):
                left &= {pod.uid for pod in notice.items}
            elif isinstance(notice, Deleted):
                left.discard(notice.object.uid)
            if not left:
                return


async def became_ready(client: ApiClient) -> None:
    async with asyncio.timeout(SECONDS), aclosing(list_and_watch(client, RUNTIMES, namespace=NAMESPACE)) as notices:
        async for notice in notices:
            seen = notice.items if isinstance(notice, Listed) else [notice.object] if isinstance(notice, Changed) else []
            if any(runtime.metadata.name == RUNTIME and is_ready(runtime) for runtime in seen):
                return


async def change_under_load(stage: Stage, recorder: Path) -> tuple[list[Run], set[str], list[Pod]]:
    """The Runs as they ended, UIDs of the Pods before, and the Pods after."""
    record: dict[str, Any] = {"env": [{"name": "RECORDER", "value": str(recorder)}]}
    short = {**record, "source": {"inline": 'echo "$KRUNTIME_OUTPUTS" >> "$RECORDER"; sleep 0.1'}}
    long = {**record, "source": {"inline": f'echo "$KRUNTIME_OUTPUTS" >> "$RECORDER"; sleep {LONG_SECONDS}'}}
    async with await connect(stage) as client:
        before = {pod.uid for pod in (await client.list(PODS, namespace=NAMESPACE, label_selector=f"runtime={RUNTIME}")).items}
        loads = [asyncio.to_thread(stage.run_all, count=SHORT_RUNS, parallel=4, **short)]
        loads.append(asyncio.to_thread(stage.run_all, count=2, parallel=2, **long))
        running = asyncio.gather(*loads)
        change = {"spec": {"template": {"metadata": {"annotations": {"version": "2"}}}}}
        await client.patch(RUNTIMES, RUNTIME, merge_patch(change), namespace=NAMESPACE)
        await became_ready(client)
        runs = [run for load in await running for run in load]
        await replaced(client, before)
        return runs, before, (await client.list(PODS, namespace=NAMESPACE, label_selector=f"runtime={RUNTIME}")).items


def test_a_change_of_a_runtime_loses_no_run(stage: Stage, tmp_path: Path) -> None:
    recorder = tmp_path / "starts"
    runs, before, after = asyncio.run(change_under_load(stage, recorder))
    assert Counter((run.phase, run.attempt_number) for run in runs) == {("Succeeded", 1): SHORT_RUNS + 2}
    starts = Counter(recorder.read_text().split())
    assert (len(starts), set(starts.values())) == (SHORT_RUNS + 2, {1})
    assert before.isdisjoint(pod.uid for pod in after)
    assert {run.status.assigned_pod_uid in before for run in runs} == {True, False}, "no Run met a Pod of each version"

"""Runs at a steady rate for as long as something is done to the cluster, and what became of them: by their status, and by an outside
recorder of starts."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager

from k8s.api.run import Run
from k8s.client import RUNS, ApiClient, Listed, list_and_watch, load_credentials
from tests.e2e.cluster import Cluster
from tests.e2e.recorder import Recorder

THIRTY_A_SECOND = {"runs_a_second": 30.0, "run_seconds": 0.5}
END_SECONDS = 60.0
SETTLE_SECONDS = 1.0


def assert_each_runs_once_during(
    action: Callable[[], None],
    recorder: Recorder,
    *,
    namespace: str,
    runtime: str = "bash",
    runs_a_second: float = 4.0,
    run_seconds: float = 0.3,
) -> int:
    """Creates Runs of `run_seconds`, without a retry policy, from a second before `action` until a second after it; returns how many.

    Each must have succeeded in its first attempt, and the recorder must have seen it start once.
    """
    script = recorder.script(run_seconds=run_seconds)
    runs = asyncio.run(_run_during(action, namespace=namespace, runtime=runtime, rate=runs_a_second, script=script))
    ends = Counter((run.status.phase, max(1, run.status.attempt or 0), run.status.message) for run in runs)
    assert set(ends) == {("Succeeded", 1, "execution completed")}, (ends, [run.metadata.name for run in runs if run.phase != "Succeeded"])
    starts = recorder.starts()
    not_once = {run.metadata.name: starts[run.metadata.name] for run in runs if starts[run.metadata.name] != 1}
    assert not not_once, not_once
    return len(runs)


@contextmanager
def wide_runtime(cluster: Cluster) -> Iterator[str]:
    """The name of one that has room for thirty Runs of half a second each second, also while a Pod of it goes."""
    cluster.apply_runtime("wide", kind="bash", replicas=2, capacity={"resources": {"runs": "16"}})
    yield "wide"
    cluster.kubectl("delete", "runtime", "wide")


def again_and_again(action: Callable[[], None], *, seconds: float) -> Callable[[], None]:
    """Begins it anew for that long."""

    def repeat() -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            action()

    return repeat


async def _run_during(action: Callable[[], None], *, namespace: str, runtime: str, rate: float, script: str) -> list[Run]:
    credentials = await load_credentials(kubeconfig=os.environ["KUBECONFIG"])
    async with await ApiClient.connect(credentials, user_agent="e2e load") as client:
        load = _Load(client, namespace=namespace, runtime=runtime, script=script)
        watching = asyncio.create_task(load.watch())
        creating = asyncio.create_task(load.create(rate=rate))
        try:
            await asyncio.sleep(SETTLE_SECONDS)
            await asyncio.to_thread(action)
            await asyncio.sleep(SETTLE_SECONDS)
            load.is_over.set()
            await creating
            return await asyncio.wait_for(asyncio.gather(*load.ends.values()), END_SECONDS)
        finally:
            for task in (creating, watching):
                task.cancel()
            await asyncio.gather(creating, watching, return_exceptions=True)


class _Load:
    def __init__(self, client: ApiClient, *, namespace: str, runtime: str, script: str) -> None:
        self._client, self._namespace, self._label = client, namespace, secrets.token_hex(4)
        self._runtime, self._script = runtime, script
        self.ends: dict[str, asyncio.Future[Run]] = {}
        self.is_over = asyncio.Event()

    async def create(self, *, rate: float) -> None:
        """By the clock, not by the answers: a slow answer does not thin the load out."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.TaskGroup() as requests:
            while not self.is_over.is_set():
                requests.create_task(self._create_one())
                await asyncio.sleep(max(0.0, began + len(self.ends) / rate - loop.time()))

    async def _create_one(self) -> None:
        name = f"load-{self._label}-{len(self.ends)}"
        self.ends[name] = asyncio.get_running_loop().create_future()
        metadata = {"name": name, "labels": {"load": self._label}}
        spec = {"runtime": self._runtime, "mode": {"task": {"args": [name]}}, "source": {"inline": self._script}}
        body = {"apiVersion": "kruntimes.io/v1alpha1", "kind": "Run", "metadata": metadata, "spec": spec}
        await self._client.create(RUNS, body, namespace=self._namespace)

    async def watch(self) -> None:
        selector = f"load={self._label}"
        async with aclosing(list_and_watch(self._client, RUNS, namespace=self._namespace, label_selector=selector)) as notices:
            async for notice in notices:
                for run in notice.items if isinstance(notice, Listed) else [notice.object]:
                    end = self.ends.get(run.metadata.name)
                    if run.is_terminal and end is not None and not end.done():
                        end.set_result(run)

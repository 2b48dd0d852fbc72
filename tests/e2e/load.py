"""Runs at a steady rate for as long as something is done to the cluster, and what became of them."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections import Counter
from collections.abc import Callable
from contextlib import aclosing

from k8s.api.run import Run
from k8s.client import RUNS, ApiClient, Listed, list_and_watch, load_credentials

END_SECONDS = 60.0
SETTLE_SECONDS = 1.0


def run_during(action: Callable[[], None], *, namespace: str, runtime: str, runs_a_second: float, run_seconds: float = 0.3) -> list[Run]:
    """Creates Runs of `run_seconds` from a second before `action` until a second after it; returns them as they ended."""
    return asyncio.run(_run_during(action, namespace=namespace, runtime=runtime, rate=runs_a_second, run_seconds=run_seconds))


def assert_each_ran_once(runs: list[Run]) -> None:
    """Nobody had a retry policy: a Run that succeeded in its first attempt was started once."""
    ends = Counter((run.status.phase, max(1, run.status.attempt or 0), run.status.message) for run in runs)
    assert set(ends) == {("Succeeded", 1, "execution completed")}, ends


async def _run_during(action: Callable[[], None], *, namespace: str, runtime: str, rate: float, run_seconds: float) -> list[Run]:
    credentials = await load_credentials(kubeconfig=os.environ["KUBECONFIG"])
    async with await ApiClient.connect(credentials, user_agent="e2e load") as client:
        load = _Load(client, namespace=namespace, runtime=runtime, run_seconds=run_seconds)
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
    def __init__(self, client: ApiClient, *, namespace: str, runtime: str, run_seconds: float) -> None:
        self._client, self._namespace, self._label = client, namespace, secrets.token_hex(4)
        self._spec = {"runtime": runtime, "mode": {"task": {}}, "source": {"inline": f"sleep {run_seconds}"}}
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
        body = {"apiVersion": "kruntimes.io/v1alpha1", "kind": "Run", "metadata": metadata, "spec": self._spec}
        await self._client.create(RUNS, body, namespace=self._namespace)

    async def watch(self) -> None:
        selector = f"load={self._label}"
        async with aclosing(list_and_watch(self._client, RUNS, namespace=self._namespace, label_selector=selector)) as notices:
            async for notice in notices:
                for run in notice.items if isinstance(notice, Listed) else [notice.object]:
                    end = self.ends.get(run.metadata.name)
                    if run.is_terminal and end is not None and not end.done():
                        end.set_result(run)

"""A whole system on one API server with a warm Bash Runtime of two Pods, and many Runs through it, awaited by one watch."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Any

from k8s.api.run import Run
from k8s.client import RUNS, RUNTIMES, ApiClient, Changed, Listed, list_and_watch, load_credentials
from tests.cluster.server import ApiServer
from tests.cluster.system import System

NAMESPACE = "default"
RUNTIME = "bash"
PODS = 2
END_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Stage:
    server: ApiServer

    def run_all(self, *, count: int, parallel: int, **spec: Any) -> list[Run]:
        """`count` Runs, no-op ones unless `spec` says otherwise, `parallel` at a time, as they ended."""

        async def run() -> list[Run]:
            async with await _connect(self.server) as client:
                return await _Load(client, spec=spec).run_all(count=count, parallel=parallel)

        return asyncio.run(run())


@contextmanager
def staged(server: ApiServer) -> Iterator[Stage]:
    """`server` runs already."""
    with System(server):
        server.bind_runtimed(NAMESPACE)
        asyncio.run(_make_ready(server))
        yield Stage(server)


async def _connect(server: ApiServer) -> ApiClient:
    return await ApiClient.connect(await load_credentials(kubeconfig=str(server.kubeconfig)), user_agent="test")


async def _make_ready(server: ApiServer) -> None:
    container = {"name": "runtime", "image": "kruntimes-bash-runtime:test"}
    spec = {"replicas": PODS, "capacity": {"resources": {"runs": 64}}, "template": {"spec": {"containers": [container]}}}
    body = {"apiVersion": "kruntimes.io/v1alpha1", "kind": "Runtime", "metadata": {"name": RUNTIME}, "spec": spec}
    async with await _connect(server) as client:
        await client.create(RUNTIMES, body, namespace=NAMESPACE)
        async with asyncio.timeout(40), aclosing(list_and_watch(client, RUNTIMES, namespace=NAMESPACE)) as notices:
            async for notice in notices:
                if isinstance(notice, Changed) and notice.object.status.ready_replicas == PODS:
                    return


class _Load:
    def __init__(self, client: ApiClient, *, spec: dict[str, Any]) -> None:
        self._client, self._spec, self._label = client, spec, secrets.token_hex(4)
        self._ends: dict[str, asyncio.Future[Run]] = {}

    async def run_all(self, *, count: int, parallel: int) -> list[Run]:
        watching = asyncio.create_task(self._watch())
        numbers = iter(range(count))

        async def creator() -> list[Run]:
            return [await self._run(number) for number in numbers]

        try:
            batches = await asyncio.gather(*(creator() for _ in range(parallel)))
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        return [run for batch in batches for run in batch]

    async def _run(self, number: int) -> Run:
        name = f"load-{self._label}-{number}"
        ended = self._ends[name] = asyncio.get_running_loop().create_future()
        body = {
            "apiVersion": "kruntimes.io/v1alpha1",
            "kind": "Run",
            "metadata": {"name": name, "labels": {"load": self._label}},
            "spec": {"runtime": RUNTIME, "mode": {"task": {}}, "source": {"inline": "exit 0"}, **self._spec},
        }
        await self._client.create(RUNS, body, namespace=NAMESPACE)
        return await asyncio.wait_for(ended, END_SECONDS)

    async def _watch(self) -> None:
        async with aclosing(list_and_watch(self._client, RUNS, namespace=NAMESPACE, label_selector=f"load={self._label}")) as notices:
            async for notice in notices:
                for run in notice.items if isinstance(notice, Listed) else [notice.object]:
                    end = self._ends.get(run.metadata.name)
                    if run.is_terminal and end is not None and not end.done():
                        end.set_result(run)

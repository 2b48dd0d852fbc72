"""The soak's harm: one fault after the other, drawn from a seed. Each one ends by itself or is healed before the next."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

from k8s.api.errors import KrtError
from k8s.api.names import CONTROLLER_LEASE, RUNTIME_LABEL, SCHEDULER_LEASE
from k8s.client import PODS
from tests.cluster.real import RealApiServer
from tests.fault.platform import NAMESPACE
from tests.fault.processes import kill
from tests.fault.row import OURS, Row

PAUSE_SECONDS = (2.0, 6.0)


class Faults:
    """`strike` does one harm; `counts` says how often each was done."""

    def __init__(self, row: Row, *, seed: int) -> None:
        self._row, self._platform = row, row.platform
        self._chance = random.Random(seed)
        self.counts: Counter[str] = Counter()
        everywhere: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (4, self.kill_scheduler),
            (3, self.kill_controllers),
            (5, self.kill_runtimed),
            (3, self.kill_server),
            (3, self.kill_supervisor),
            (4, self.kill_workload),
            (3, self.delete_pod),
            (2, self.delete_pod_by_force),
            (1, self.kill_node),
            (2, self.kill_api_server),
        ]
        embedded: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (4, self.cut_watches),
            (8, self.storm),
            (2, self.hang),
            (2, self.stop_api_server_for_a_while),
            (2, self.lose_history),
        ]
        real: list[tuple[int, Callable[[], Awaitable[None]]]] = [(2, self.kill_etcd)]
        self._all = everywhere + (real if self._platform.is_real else embedded)

    async def go_on(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(self._chance.uniform(*PAUSE_SECONDS))
            weights = [weight for weight, _ in self._all]
            await self.strike(self._chance.choices([fault for _, fault in self._all], weights=weights)[0])

    async def strike(self, fault: Callable[[], Awaitable[None]]) -> None:
        self.counts[fault.__name__] += 1
        with suppress(KrtError, TimeoutError, AssertionError):  # a fault may meet what the last one left
            await fault()
        self._platform.heal()

    async def kill_scheduler(self) -> None:
        self._platform.system.stop_one(await self._row.leader(SCHEDULER_LEASE), kill=True)

    async def kill_controllers(self) -> None:
        self._platform.system.stop_one(await self._row.leader(CONTROLLER_LEASE), kill=True)

    async def kill_runtimed(self) -> None:
        self._kill_one_of(list(self._platform.containers("runtimed").values()))

    async def kill_server(self) -> None:
        self._kill_one_of(list(self._platform.containers("runtime").values()))

    async def kill_supervisor(self) -> None:
        self._kill_one_of(list(self._platform.supervisors().values()))

    async def kill_workload(self) -> None:
        self._kill_one_of(list(self._platform.user_processes()))

    async def delete_pod(self) -> None:
        await self._delete_a_pod(grace_seconds=None)

    async def delete_pod_by_force(self) -> None:
        await self._delete_a_pod(grace_seconds=0)

    async def kill_node(self) -> None:
        """A machine that resets: all Pods and all of user code are gone."""
        self._platform.system.stop_one("node", kill=True)

    async def kill_api_server(self) -> None:
        self._platform.api.restart(kill=True)

    async def stop_api_server_for_a_while(self) -> None:
        self._platform.api.stop()
        await asyncio.sleep(self._chance.uniform(1, 6))
        self._platform.api.start()

    async def kill_etcd(self) -> None:
        assert isinstance(self._platform.api, RealApiServer)
        self._platform.api.restart_etcd(kill=True)

    async def cut_watches(self) -> None:
        for _ in range(10):
            await self._row.cut_watches()
            await asyncio.sleep(0.1)

    async def storm(self) -> None:
        """Half of all requests are answered with the same error for a while."""
        code = self._chance.choice((409, 410, 429, 500, 503))
        self.counts[f"storm of {code}"] += 1
        answer = {"kind": "answer", "code": code, "reason": "Storm", "retry_after_seconds": 1 if code in (429, 503) else 0}
        for who in OURS:
            await self._row.fail({"user_agent": who}, answer, probability=0.5, seed=self._chance.randrange(2**31))
        await asyncio.sleep(self._chance.uniform(1, 3))
        await self._row.relent()

    async def hang(self) -> None:
        for who in OURS:
            await self._row.fail({"user_agent": who}, {"kind": "hang"}, count=10)
        await asyncio.sleep(3)
        await self._row.relent()

    async def lose_history(self) -> None:
        await self._row.make_all_list_anew()

    def _kill_one_of(self, pids: list[int]) -> None:
        if pids:
            kill(self._chance.choice(sorted(pids)))

    async def _delete_a_pod(self, *, grace_seconds: int | None) -> None:
        pods = sorted(pod.metadata.name for pod in self._row.watching.pods.values() if RUNTIME_LABEL in pod.metadata.labels)
        if pods:
            await self._row.client.delete(PODS, self._chance.choice(pods), namespace=NAMESPACE, grace_period_seconds=grace_seconds)

"""The stale Run reaper: takes Runs away from Pods that are gone, replaced, ended or silent. To it, Scheduled is as good as Running.
But what is bound to a Pod that has drained was never started there: that is handed back, and costs no attempt.

Keys are `namespace/pod name`. Of a Pod that is well, what it holds is not even watched (`trust`, `doubtful_runs`). The watch of Pods
wakes it at once when one goes; what `pod_health` waits for is a timer. Every judgement stands on a read of the Pod, every take-away is
written under the Run's resourceVersion.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from controlplane.controllers.doubtful_runs import DoubtfulRuns
from controlplane.controllers.pod_health import GONE, REPLACED, PodHealth, Verdict, is_replaced
from controlplane.controllers.pod_troubles import RuntimePod
from controlplane.controllers.reconciling import Informer, Reconciler, run_together
from controlplane.controllers.trust import Trust
from k8s.api import transitions
from k8s.api.pod import Pod
from k8s.api.retry import may_retry
from k8s.api.run import Run
from k8s.client import (
    PODS,
    RUNS,
    ApiClient,
    ApiError,
    Change,
    EventRecorder,
    NotFound,
    conditional_status,
    message_of,
)
from k8s.manager import Tasks

logger = logging.getLogger(__name__)

FIELD_MANAGER = "kruntimes-controller"
COMPONENT = "stale-reaper"
HANDED_BACK_MESSAGE = "runtime pod has drained"
DRAINED_PODS = 4096
"""So many are remembered when they are gone: a bind that was on its way comes within seconds."""


class StaleRunReaper:
    """Level-triggered: a key's look finds out everything anew."""

    def __init__(
        self,
        client: ApiClient,
        *,
        runs: DoubtfulRuns,
        pods: Informer[RuntimePod],
        threshold_seconds: float,
        events: EventRecorder,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`pods` are those of Runtimes. Whoever made them and `runs` runs them."""
        self._client = client
        self._threshold_seconds = threshold_seconds
        self._events = events
        self._clock = clock
        self._now = now
        self._health: dict[str, PodHealth] = {}
        self._held: dict[str, set[str]] = {}
        """Key of a Pod -> UIDs of the Runs that it holds."""
        self._drained: dict[str, None] = {}
        """UIDs of Pods that said so, the newest last. What we did not see said is not known, and then it counts as lost."""
        self._pods = pods
        pods.tell(self._pod_changed)
        self._runs = runs
        runs.tell(self._run_changed)
        self._trust = Trust(runs, pods=pods, deserves=self._deserves_trust, seconds_left=self._seconds_of_trust, clock=clock)
        self._reconciler = Reconciler("reaper", self.reconcile, keys=lambda: list(self._held))

    async def run(self) -> None:
        """Until cancelled."""
        async with Tasks() as tasks:
            tasks.start(self._trust.run(), name="trust in pods")
            await run_together(self._reconciler, [], shared=[self._runs, self._pods])

    # ---- wake-ups

    def _run_changed(self, change: Change[Run]) -> None:
        before, after = _seat(change.old), _seat(change.new)
        if before == after:
            return
        if before is not None and change.old is not None:
            self._held[before].discard(change.old.uid)
            if not self._held[before]:
                del self._held[before]
                self._trust.weigh_namesakes(before.partition("/")[2])
        if after is not None and change.new is not None:
            self._held.setdefault(after, set()).add(change.new.uid)
            self._reconciler.add(after)

    def _pod_changed(self, change: Change[RuntimePod]) -> None:
        pod = change.new
        if pod is None:
            assert change.old is not None
            self._health.pop(change.old.uid, None)
            self._trust.forget(change.old)
            self._wake(change.old.key)
            return
        if pod.has_drained and pod.uid not in self._drained:
            self._remember_drained(pod.uid)
            self._wake(pod.key)
        is_new = pod.uid not in self._health
        health = self._health_of(pod)
        before = health.trouble()
        health.see(pod, now=self._clock())
        # A heartbeat puts trouble off, and the timer finds that out; only what brings it nearer must be looked at.
        if is_new or health.trouble()[0] < before[0]:
            self._wake(pod.key)
        self._trust.weigh(pod)

    def _remember_drained(self, uid: str) -> None:
        self._drained[uid] = None
        if len(self._drained) > DRAINED_PODS:
            del self._drained[next(iter(self._drained))]

    def _wake(self, key: str) -> None:
        if key in self._held:
            self._reconciler.add(key)

    def _health_of(self, pod: Pod) -> PodHealth:
        health = self._health.get(pod.uid)
        if health is None:
            health = self._health[pod.uid] = PodHealth(pod.uid, self._threshold_seconds, alive_at=self._clock())
        return health

    # ---- trust

    def _deserves_trust(self, pod: RuntimePod) -> bool:
        """Nothing that is bound to its name is any of our business."""
        if pod.uid in self._drained or self._seconds_of_trust(pod) <= 0 or self._has_strangers(pod.key, pod):
            return False
        ending = f"/{pod.metadata.name}"
        return not any(key.endswith(ending) and key != pod.key for key in self._held)

    def _seconds_of_trust(self, pod: RuntimePod) -> float:
        return self._health_of(pod).seconds_until_read(now=self._clock())

    # ---- one look

    async def reconcile(self, key: str) -> float | None:
        for run in self._runs_of(key):
            if run.status.assigned_pod_uid in self._drained:
                await self._hand_back(run)
        if key not in self._held:
            return None
        namespace, _, name = key.partition("/")
        pod = self._pods.cache.by_name(namespace, name)
        if pod is not None and not self._has_strangers(key, pod):
            wait_seconds = self._health_of(pod).seconds_until_read(now=self._clock())
            if wait_seconds > 0:
                return wait_seconds
        return await self._judge(key, await self._read(namespace, name, health=self._health_of(pod) if pod is not None else None))

    async def _read(self, namespace: str, name: str, *, health: PodHealth | None) -> Pod | None:
        """The Pod as the API server has it; None when there is none. Raises ApiError."""
        try:
            return await self._client.get(PODS, name, namespace=namespace)
        except NotFound:
            return None
        except ApiError:
            if health is not None:
                health.was_not_answered()
            raise

    async def _judge(self, key: str, pod: Pod | None) -> float | None:
        runs = self._runs_of(key)
        verdict: Verdict | None = GONE
        if pod is not None:
            health = self._health_of(pod)
            health.see(pod, now=self._clock())
            verdict = health.was_read(now=self._clock())
        for run in runs:
            for_this = REPLACED if pod is not None and is_replaced(run, pod) else verdict
            if for_this is not None:
                await self._take_away(run, for_this)
        if pod is None or key not in self._held:
            return None
        return max(0.0, self._health_of(pod).seconds_until_read(now=self._clock()))

    def _has_strangers(self, key: str, pod: Pod) -> bool:
        """Runs whose Pod had this name and is not this one."""
        return any(is_replaced(run, pod) for run in self._runs_of(key))

    def _runs_of(self, key: str) -> list[Run]:
        """What the Pod holds."""
        return [run for uid in self._held.get(key, set()) if (run := self._runs.cache.get(uid)) is not None]

    async def _hand_back(self, run: Run) -> None:
        await self._write(run, transitions.handed_back(run, message=HANDED_BACK_MESSAGE))
        logger.info("run is handed back: its pod has drained", extra={"run": run.key, "uid": run.uid, "pod": run.status.assigned_pod})

    async def _take_away(self, run: Run, verdict: Verdict) -> None:
        will_retry = may_retry(run, reason=verdict.reason)
        await self._write(run, transitions.taken_away(run, reason=verdict.reason, message=verdict.message, now=self._now()))
        fields = {"run": run.key, "uid": run.uid, "attempt": run.attempt_number, "pod": run.status.assigned_pod, "reason": verdict.reason}
        logger.warning("run is taken away from its pod", extra=fields | {"will_retry": will_retry})
        reason = "StaleRunRetrying" if will_retry else "StaleRunFailed"
        self._events.record(run, type="Warning", reason=reason, message=f"{verdict.reason}: {verdict.message}")

    async def _write(self, run: Run, change: transitions.StatusChange) -> None:
        patch = conditional_status(change, resource_version=run.metadata.resource_version)
        try:
            answer = await self._client.patch(
                RUNS, run.metadata.name, patch, namespace=run.metadata.namespace, subresource="status", field_manager=FIELD_MANAGER
            )
        except ApiError as error:
            logger.info("run was not taken away", extra={"run": run.key, "uid": run.uid} | message_of(error))
            await self._read_again(run)
            raise
        self._runs.take(answer)

    async def _read_again(self, run: Run) -> None:
        """Ownership rule 2: on nothing but what was read is it decided again (by the retry of this key)."""
        try:
            seen = await self._client.get(RUNS, run.metadata.name, namespace=run.metadata.namespace)
        except NotFound:
            self._runs.drop(run.uid)
            return
        self._runs.take(seen)


def _seat(run: Run | None) -> str | None:
    """Key of the Pod that holds the Run."""
    if run is None or not run.is_active or not run.status.assigned_pod:
        return None
    return f"{run.metadata.namespace}/{run.status.assigned_pod}"

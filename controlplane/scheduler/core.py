"""The scheduler's decisions: `(state, event) -> decisions`. No I/O, no clock of its own.

Usage is derived from Runs: an assigned Run takes of its Pod, and so does one whose bind is out (an assumed reservation). Each
Run has one write in flight at most, and each decided write is answered by one `Settled` with what a read showed afterwards.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import assert_never

from controlplane.scheduler import affinity, model, policy
from controlplane.scheduler.affinity import rules_of
from controlplane.scheduler.announcements import Announcements
from controlplane.scheduler.model import CoreSettings, Decision, Event, NobodyCounts, Place, QueueKey, Recorder, RuntimePod, TrackedRun
from controlplane.scheduler.pods import PodPool, is_ready, probe_of, seat_of
from controlplane.scheduler.queues import Queue
from controlplane.scheduler.timers import Timers
from k8s.api import names
from k8s.api.errors import InvalidRun
from k8s.api.phases import Reason
from k8s.api.pod import Pod
from k8s.api.run import Run

_RETRY = "retry"
POD_CHANGED = "runtime_pod"
CAPACITY_RELEASED = "capacity_released"


class SchedulerCore:
    """Fed with events in the order in which they were seen."""

    def __init__(
        self,
        *,
        settings: CoreSettings | None = None,
        recorder: Recorder | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.settings = settings or CoreSettings()
        self.runs: dict[str, TrackedRun] = {}
        self.pods = PodPool()
        self.queues: dict[QueueKey, Queue] = {}
        self.in_flight: set[str] = set()
        self.binds_in_flight: set[str] = set()
        self.is_listed = False
        self._recorder = recorder or NobodyCounts()
        self.jitter = jitter
        self._round: deque[Queue] = deque()
        self._arrivals = 0
        self._freshness = Timers()
        self.holds = Timers()
        self._net = Timers()
        self._announcements = Announcements(self.settings)
        self._decisions: list[Decision] = []
        self._now = 0.0
        self._wall = datetime.min

    def handle(self, event: Event, *, now: float, wall: datetime) -> list[Decision]:
        """What to do, now that `event` was seen at monotonic `now`. Each decision is to be answered by one Settled."""
        self._now, self._wall = now, wall
        self._take_in(event)
        self._fire_timers()
        if self.is_listed:
            self._bind_what_fits()
            self._announce()
        decisions, self._decisions = self._decisions, []
        return decisions

    def next_deadline(self) -> float | None:
        """When a Ticked is due, monotonic; None when nothing waits for time."""
        timers = (self._freshness, self.holds, self._net, self._announcements.timers)
        return min((deadline for timer in timers if (deadline := timer.next_deadline()) is not None), default=None)

    # ---- events

    def _take_in(self, event: Event) -> None:
        match event:
            case model.PodSeen(pod):
                self._pod_seen(pod)
            case model.PodGone(uid):
                self._pod_gone(uid)
            case model.RunSeen(run):
                self._run_seen(run)
            case model.RunGone(uid):
                self._run_gone(uid)
            case model.Settled():
                self._settled(event)
            case model.Listed():
                self.is_listed = True
                self._net.start(_RETRY, at=self._now + self.settings.retry_seconds)
            case model.Ticked():
                pass
            case _:
                assert_never(event)

    def _pod_seen(self, pod: Pod) -> None:
        known = self.pods.get(pod.uid)
        runtime = pod.metadata.labels.get(names.RUNTIME_LABEL, "")
        if known is not None and known.queue != (pod.metadata.namespace, runtime):
            self._pod_gone(pod.uid)
            known = None
        if known is None:
            if runtime:
                self._pod_added(pod)
            return
        before = (known.is_available, known.capacity)
        probe = probe_of(pod)
        if probe != known.probe:
            known.probe, known.seen_at, known.is_fresh = probe, self._now, True
            self._freshness.start(known.uid, at=self._now + self.settings.heartbeat_freshness_seconds)
        known.is_ready, known.capacity = is_ready(pod), pod.capacity
        # A heartbeat alone wakes nobody: with 1,000 Pods there are 200 a second.
        if before != (known.is_available, known.capacity):
            self._pod_changed(known, source=POD_CHANGED)

    def _pod_added(self, pod: Pod) -> None:
        added = self.pods.add(pod, now=self._now)
        self._queue(added.queue).pods[added.uid] = added
        self._freshness.start(added.uid, at=self._now + self.settings.heartbeat_freshness_seconds)
        self._pod_changed(added, source=POD_CHANGED)

    def _pod_gone(self, uid: str) -> None:
        self._freshness.stop(uid)
        pod = self.pods.remove(uid)
        if pod is not None:
            queue = self._queue(pod.queue)
            queue.pod_removed(uid)
            self._forget_if_idle(queue)

    def _run_seen(self, run: Run) -> None:
        if run.is_terminal:
            self._run_gone(run.uid)
            return
        tracked = self.runs.get(run.uid)
        if tracked is None:
            tracked = self.runs[run.uid] = self._track(run)
        elif tracked.attempt != run.attempt_number:
            tracked.observed, tracked.attempt, tracked.back_off_until = self._wall, run.attempt_number, None
        tracked.run = run
        if run.is_active and tracked.place in (Place.BINDING, Place.SEATED) and tracked.seat == seat_of(run):
            tracked.place = Place.SEATED
            self._relabel(tracked)
        elif run.is_active or run.uid not in self.in_flight:
            self._displace(tracked)
            self._place(tracked)
        # Else a write is out that may yet land: what it reserved stays reserved until the answer is here.

    def _relabel(self, tracked: TrackedRun) -> None:
        """Others may want its neighbourhood by labels that it has only now."""
        pod = self.pods.get(tracked.seat)
        holder = pod.holders.get(tracked.run.uid) if pod is not None else None
        if pod is not None and holder is not None and holder.labels != tracked.run.metadata.labels:
            pod.holders[tracked.run.uid] = holder._replace(labels=tracked.run.metadata.labels)
            self._pod_changed(pod, source=POD_CHANGED)

    def _run_gone(self, uid: str) -> None:
        tracked = self.runs.pop(uid, None)
        if tracked is not None:
            self._displace(tracked)

    def _settled(self, event: model.Settled) -> None:
        self.in_flight.discard(event.uid)
        self.binds_in_flight.discard(event.uid)
        self._announcements.settled(event.uid)
        tracked = self.runs.get(event.uid)
        if event.run is None:
            self._run_gone(event.uid)
            return
        if tracked is not None:
            tracked.failures = 0 if event.has_landed else tracked.failures + 1
            tracked.held_until = self._now + self._write_backoff_seconds(tracked.failures)
        self._run_seen(event.run)

    def _write_backoff_seconds(self, failures: int) -> float:
        """A write that did not land is not repeated at once; jitter keeps two schedulers from meeting again and again."""
        if not failures:
            return 0.0
        doubled: float = self.settings.write_backoff_seconds * 2 ** min(failures - 1, 16)
        return min(doubled, self.settings.write_backoff_cap_seconds) * (0.5 + self.jitter())

    # ---- the place of a Run

    def _track(self, run: Run) -> TrackedRun:
        self._arrivals += 1
        created = run.metadata.creation_timestamp
        order = (created.timestamp() if created is not None else 0.0, self._arrivals)
        return TrackedRun(run=run, order=order, observed=self._wall, attempt=run.attempt_number)

    def _displace(self, tracked: TrackedRun) -> None:
        """Take it out of wherever it is. A slot that it held wakes the queue that can use it, and no other."""
        place, tracked.place = tracked.place, Place.NOWHERE
        uid = tracked.run.uid
        if place in (Place.SEATED, Place.BINDING):
            pod = self.pods.unseat(uid, seat=tracked.seat)
            if pod is not None:
                self._pod_changed(pod, source=CAPACITY_RELEASED)
        elif place is Place.WAITING:
            queue = self.queues[tracked.queue]
            queue.remove_run(uid, key=tracked.lane)
            self._make_due(queue)
            self._forget_if_idle(queue)
            self._announcements.withdraw(uid)
        elif place is Place.HELD:
            self.holds.stop(uid)

    def _place(self, tracked: TrackedRun) -> None:
        run = tracked.run
        if run.is_active:
            self._seat(tracked)
        elif run.metadata.deletion_timestamp is not None or not run.spec.runtime:
            tracked.place = Place.NOWHERE
        elif (held_seconds := self._held_seconds(tracked)) > 0:
            tracked.place = Place.HELD
            self.holds.start(run.uid, at=self._now + held_seconds)
        elif run.spec.cancel_requested:
            self._write(tracked, model.Cancel(run))
        else:
            self._place_by_request(tracked)

    def _held_seconds(self, tracked: TrackedRun) -> float:
        """Until it may be written to again. A retry's back-off does not delay its cancel."""
        after_failure = tracked.held_until - self._now
        if tracked.run.spec.cancel_requested:
            return after_failure
        if tracked.back_off_until is None:
            # Once an attempt: asked again and again, a clock that is behind the writer's would never let it go.
            tracked.back_off_until = self._now + policy.back_off_seconds(tracked.run, wall=self._wall)
        return max(after_failure, tracked.back_off_until - self._now)

    def _place_by_request(self, tracked: TrackedRun) -> None:
        try:
            tracked.shape = policy.request_of(tracked.run)
            tracked.rules = rules_of(tracked.run)
        except InvalidRun as error:
            self._write(tracked, model.Refuse(tracked.run, reason=Reason.INVALID_RESOURCES, message=str(error)))
            return
        tracked.place, tracked.queue = Place.WAITING, (tracked.run.metadata.namespace, tracked.run.spec.runtime)
        queue = self._queue(tracked.queue)
        lane = queue.add_run(tracked.run.uid, key=tracked.lane, order=tracked.order)
        if lane.is_blocked:
            self._count_waiting(tracked)
        self._make_due(queue)
        self._expect_announcement(tracked)

    def _seat(self, tracked: TrackedRun) -> None:
        try:
            tracked.shape = policy.request_of(tracked.run)
        except InvalidRun:
            tracked.shape = policy.ONE_RUN  # another scheduler let it through: it takes a slot at least
        tracked.seat, tracked.place, tracked.has_waited = seat_of(tracked.run), Place.SEATED, False
        self._take_seat(tracked)

    def _take_seat(self, tracked: TrackedRun) -> None:
        pod = self.pods.seat(tracked.run.uid, seat=tracked.seat, holder=model.Holder(tracked.shape, tracked.run.metadata.labels))
        if pod is not None:
            queue = self._queue(pod.queue)
            queue.pod_changed(pod)
            self._make_due(queue)

    def _count_waiting(self, tracked: TrackedRun) -> None:
        if not tracked.has_waited:
            tracked.has_waited = True
            self._recorder.no_pods(tracked.run.spec.runtime)

    def _expect_announcement(self, tracked: TrackedRun) -> None:
        if not self._is_told(tracked):
            self._announcements.expect(tracked.run.uid, at=self._now + self.settings.announce_after_seconds)

    def _is_told(self, tracked: TrackedRun) -> bool:
        return tracked.run.status.message == self._message_for(tracked)

    def _message_for(self, tracked: TrackedRun) -> str:
        rejections = self.queues[tracked.queue].lanes[tracked.lane].rejections
        return policy.waiting_message(tracked.run.spec.runtime, rejections=rejections)

    # ---- deciding

    def _bind_what_fits(self) -> None:
        """One bind a queue and turn: a queue of 10,000 delays another's first Run by one bind."""
        while self._round and len(self.binds_in_flight) < self.settings.max_binds_in_flight:
            queue = self._round.popleft()
            queue.is_due = False
            had_work = queue.has_work
            bind = queue.next_bind()
            if bind is not None:
                self._bind(self.runs[bind[0]], bind[1])
                self._make_due(queue)
            elif had_work:
                self._nothing_fits(queue)
            else:
                self._forget_if_idle(queue)

    def _bind(self, tracked: TrackedRun, pod: RuntimePod) -> None:
        self._displace(tracked)
        tracked.place, tracked.seat = Place.BINDING, pod.uid
        self._take_seat(tracked)
        self.in_flight.add(tracked.run.uid)
        self.binds_in_flight.add(tracked.run.uid)
        self._decisions.append(model.Bind(tracked.run, pod_name=pod.name, pod_uid=pod.uid, observed=tracked.observed))

    def _nothing_fits(self, queue: Queue) -> None:
        for lane in queue.waiting_lanes():
            for reason, count in lane.rejections.items():
                self._recorder.rejected(count, plugin=affinity.PLUGIN, reason=reason)
            without_room = len(queue.pods) - lane.rejections.total()
            self._recorder.rejected(without_room, plugin=policy.AVAILABILITY_PLUGIN, reason=policy.UNAVAILABLE_REASON)
            oldest = lane.oldest()
            if oldest is not None:
                self._count_waiting(self.runs[oldest[1]])

    def _write(self, tracked: TrackedRun, decision: Decision) -> None:
        tracked.place = Place.WRITING
        self.in_flight.add(tracked.run.uid)
        self._decisions.append(decision)

    def _announce(self) -> None:
        self._announcements.ripen(now=self._now)
        while (uid := self._announcements.next_due()) is not None:
            tracked = self.runs.get(uid)
            if tracked is None or tracked.place is not Place.WAITING or self._is_told(tracked):
                continue
            if not self.queues[tracked.queue].lanes[tracked.lane].is_blocked:
                self._expect_announcement(tracked)  # there may be room, only its turn has not come
                continue
            self._count_waiting(tracked)
            message = self._message_for(tracked)
            self._displace(tracked)
            self._announcements.sent(uid)
            self._write(tracked, model.Announce(tracked.run, message=message))

    # ---- wake-ups

    def _pod_changed(self, pod: RuntimePod, *, source: str) -> None:
        queue = self._queue(pod.queue)
        if queue.pod_changed(pod):
            self._recorder.woken(source)
        self._make_due(queue)

    def _make_due(self, queue: Queue) -> None:
        if not queue.is_due and queue.has_work:
            queue.is_due = True
            self._round.append(queue)

    def _fire_timers(self) -> None:
        while (uid := self._freshness.fire_next(now=self._now)) is not None:
            pod = self.pods.get(uid)
            if pod is not None:
                pod.is_fresh = False
                self._pod_changed(pod, source=POD_CHANGED)
        while (uid := self.holds.fire_next(now=self._now)) is not None:
            self._displace(self.runs[uid])
            self._place(self.runs[uid])
        if self._net.fire_next(now=self._now) is not None:
            self._net.start(_RETRY, at=self._now + self.settings.retry_seconds)
            for queue in self.queues.values():
                queue.retry_all()
                self._make_due(queue)

    def _queue(self, key: QueueKey) -> Queue:
        queue = self.queues.get(key)
        if queue is None:
            queue = self.queues[key] = Queue(key, neighbours=lambda: self._pods_of(key[0]))
        return queue

    def _pods_of(self, namespace: str) -> Iterable[RuntimePod]:
        return (pod for pod in self.pods if pod.queue[0] == namespace)

    def _forget_if_idle(self, queue: Queue) -> None:
        if queue.is_idle and not queue.is_due:
            self.queues.pop(queue.key, None)

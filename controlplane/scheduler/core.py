"""The scheduler's decisions: `(state, event) -> decisions`. No I/O, no clock of its own.

Usage is derived from Runs: an assigned Run takes of its Pod, and so does one whose bind is out (an assumed reservation). Each
Run has one write in flight at most, and each decided write is answered by one `Settled` with what a read showed afterwards.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import assert_never

from controlplane.scheduler import model, policy
from controlplane.scheduler.affinity import Neighbours, rules_of
from controlplane.scheduler.announcements import Announcements, is_told, message_for
from controlplane.scheduler.lanes import Lane
from controlplane.scheduler.model import CoreSettings, Decision, Event, NobodyCounts, Place, Recorder, RuntimePod, TrackedRun
from controlplane.scheduler.neighbourhood import Neighbourhoods, Sitting, Targets
from controlplane.scheduler.pods import PodPool, Sight, seat_of
from controlplane.scheduler.queues import Queue
from controlplane.scheduler.timers import Timers
from controlplane.scheduler.turns import Turns
from k8s.api.errors import InvalidRun
from k8s.api.phases import Reason
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
        self.pods = PodPool(freshness_seconds=self.settings.heartbeat_freshness_seconds)
        self.turns = Turns(self.settings, open_lane=self._open_lane, close_lane=self._close_lane)
        self.neighbourhoods = Neighbourhoods(sittings=self._sittings)
        self.in_flight: set[str] = set()
        self.is_listed = False
        self._recorder = recorder or NobodyCounts()
        self.jitter = jitter
        self._arrivals = 0
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
            # STRICTLY AFTER announcing: who leaves its lane to be told something may give up a claim that others wait for.
            self._announce()
            self._bind_what_fits()
        decisions, self._decisions = self._decisions, []
        return decisions

    def next_deadline(self) -> float | None:
        """When a Ticked is due, monotonic; None when nothing waits for time."""
        timers = (self.pods.freshness, self.holds, self._net, self._announcements.timers, self.turns)
        return min((deadline for timer in timers if (deadline := timer.next_deadline()) is not None), default=None)

    # ---- events

    def _take_in(self, event: Event) -> None:
        match event:
            case model.RunSeen(run):
                self._run_seen(run)
            case model.Settled():
                self._settled(event)
            case model.RunGone(uid):
                self._run_gone(uid)
            case model.PodSeen(pod):
                self._pods_changed(self.pods.see(pod, now=self._now))
            case model.PodGone(uid):
                self._pods_changed(Sight(gone=self.pods.remove(uid)))
            case model.Ticked():
                pass
            case model.Listed():
                self.is_listed = True
                self.turns.backlog_ends_at = self._arrivals
                self._net.start(_RETRY, at=self._now + self.settings.retry_seconds)
            case _:
                assert_never(event)

    def _pods_changed(self, sight: Sight) -> None:
        if sight.gone is not None:
            queue = self.turns.queue(sight.gone.queue)
            queue.pod_removed(sight.gone)
            self.turns.has_changed(queue)
        if sight.updated is not None:
            queue = self.turns.queue(sight.updated.queue)
            self._woken(queue, is_woken=queue.pod_updated(sight.updated), source=POD_CHANGED)

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

    def _run_gone(self, uid: str) -> None:
        tracked = self.runs.pop(uid, None)
        if tracked is not None:
            self._displace(tracked)

    def _settled(self, event: model.Settled) -> None:
        self.in_flight.discard(event.uid)
        tracked = self.runs.get(event.uid)
        self.turns.bind_ends(event.uid, now=self._now)
        is_told = self._announcements.settled(event.uid) and event.has_landed
        if event.run is None:
            self._run_gone(event.uid)
            return
        if tracked is not None:
            tracked.failures = 0 if event.has_landed else tracked.failures + 1
            tracked.held_until = self._now + self._write_backoff_seconds(tracked.failures)
            tracked.told += (event.run.status.message,) if is_told else ()
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
            self._leave_seat(tracked)
        elif place is Place.WAITING:
            self._leave_lane(tracked)
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
        run = tracked.run
        try:
            tracked.shape = policy.request_of(run)
        except InvalidRun as error:
            self._write(tracked, model.Refuse(run, reason=Reason.INVALID_RESOURCES, message=str(error)))
            return
        try:
            rules = rules_of(run)
        except InvalidRun as error:
            self._recorder.selection_failed(run.spec.runtime)
            self._write(tracked, model.Refuse(run, reason=Reason.INVALID_RESOURCES, message=f"pod selection failed: {error}"))
            return
        queue = self.turns.queue((run.metadata.namespace, run.spec.runtime))
        tracked.place = Place.WAITING
        tracked.lane = queue.add_run(run.uid, key=(tracked.shape, rules), order=tracked.order)
        if tracked.lane.is_blocked:
            self._count_waiting(tracked)
        self.turns.has_changed(queue)
        self._announcements.expect(tracked, now=self._now)

    def _leave_lane(self, tracked: TrackedRun) -> None:
        assert tracked.lane is not None
        queue = tracked.lane.queue
        queue.remove_run(tracked.run.uid, lane=tracked.lane)
        self._announcements.withdraw(tracked.run.uid)
        self.turns.has_changed(queue)

    def _seat(self, tracked: TrackedRun) -> None:
        try:
            tracked.shape = policy.request_of(tracked.run)
        except InvalidRun:
            tracked.shape = policy.ONE_RUN  # another scheduler let it through: it takes a slot at least
        tracked.place, tracked.has_waited, tracked.told = Place.SEATED, False, ()
        self._take_seat(tracked, seat=seat_of(tracked.run))

    def _take_seat(self, tracked: TrackedRun, *, seat: str) -> None:
        tracked.seat = seat
        run = tracked.run
        pod = self.pods.seat(run.uid, holder=model.Holder(tracked.shape, seat))
        if pod is not None:
            self.turns.queue(pod.queue).pod_filled(pod)
        self._neighbours_changed(self.neighbourhoods.take(run.metadata.namespace, sitting=_sitting(tracked)), has_grown=True)

    def _leave_seat(self, tracked: TrackedRun) -> None:
        run = tracked.run
        pod = self.pods.unseat(run.uid, seat=tracked.seat)
        if pod is not None:
            queue = self.turns.queue(pod.queue)
            self._woken(queue, is_woken=queue.pod_freed(pod), source=CAPACITY_RELEASED)
        self._neighbours_changed(self.neighbourhoods.leave(run.metadata.namespace, run_uid=run.uid), has_grown=False)

    # ---- neighbours

    def _relabel(self, tracked: TrackedRun) -> None:
        """Others may want its neighbourhood, or avoid it, by labels that it has only now."""
        namespace, sitting = tracked.run.metadata.namespace, _sitting(tracked)
        if self.neighbourhoods.has_moved(namespace, sitting=sitting):
            self._neighbours_changed(self.neighbourhoods.leave(namespace, run_uid=sitting.run_uid), has_grown=False)
            self._neighbours_changed(self.neighbourhoods.take(namespace, sitting=sitting), has_grown=True)

    def _neighbours_changed(self, changed: list[Targets], *, has_grown: bool) -> None:
        for targets in changed:
            for lane in list(targets.watchers):
                lane.queue.neighbours_changed(lane, targets=targets, has_grown=has_grown)
                self.turns.has_changed(lane.queue)

    def _sittings(self, namespace: str) -> Iterator[Sitting]:
        for tracked in self.runs.values():
            if tracked.place in (Place.SEATED, Place.BINDING) and tracked.run.metadata.namespace == namespace:
                yield _sitting(tracked)

    def _open_lane(self, lane: Lane) -> Neighbours | None:
        if lane.rules is None:
            return None
        targets = self.neighbourhoods.watch(lane.queue.key[0], selectors=lane.rules.selectors, lane=lane)
        return Neighbours.of(lane.rules, targets=targets)

    def _close_lane(self, lane: Lane) -> None:
        if lane.neighbours is not None:
            self.neighbourhoods.forget(lane.queue.key[0], watched=lane.neighbours.targets, lane=lane)

    # ---- deciding

    def _bind_what_fits(self) -> None:
        while (queue := self.turns.next_queue()) is not None:
            bind = queue.next_bind()
            self._count_blocked(queue)
            if bind is not None:
                self._bind(self.runs[bind[0]], bind[1], queue=queue)
            self.turns.has_changed(queue)

    def _bind(self, tracked: TrackedRun, pod: RuntimePod, *, queue: Queue) -> None:
        # The seat first: leaving the lane offers what the Pod still has to the next.
        self._take_seat(tracked, seat=pod.uid)
        self._leave_lane(tracked)
        tracked.place = Place.BINDING
        self.in_flight.add(tracked.run.uid)
        self.turns.bind_begins(tracked.run.uid, queue=queue, order=tracked.order, now=self._now)
        self._decisions.append(model.Bind(tracked.run, pod_name=pod.name, pod_uid=pod.uid, observed=tracked.observed))

    def _write(self, tracked: TrackedRun, decision: Decision) -> None:
        tracked.place = Place.WRITING
        self.in_flight.add(tracked.run.uid)
        self._decisions.append(decision)

    # ---- who waits, and is told so

    def _count_blocked(self, queue: Queue) -> None:
        lanes, queue.newly_blocked = queue.newly_blocked, []
        for lane in lanes:
            for reason, count in lane.rejections.items():
                self._recorder.rejected(count, plugin=policy.AFFINITY_PLUGIN, reason=reason)
            without_room = len(queue.pods) - lane.rejections.total()
            self._recorder.rejected(without_room, plugin=policy.AVAILABILITY_PLUGIN, reason=policy.UNAVAILABLE)
            oldest = lane.oldest()
            if oldest is not None:
                self._count_waiting(self.runs[oldest[1]])
            self._note_reason(lane)

    def _note_reason(self, lane: Lane) -> None:
        """A lane that waits for something else than before has more to say, to those who were told already as well."""
        message = message_for(lane)
        if lane.messages and message not in lane.messages:
            for uid in lane:
                self._announcements.expect(self.runs[uid], now=self._now)
        lane.messages.add(message)

    def _count_waiting(self, tracked: TrackedRun) -> None:
        if not tracked.has_waited:
            tracked.has_waited = True
            self._recorder.no_pods(tracked.run.spec.runtime)

    def _announce(self) -> None:
        self._announcements.ripen(now=self._now)
        while (uid := self._announcements.next_due()) is not None:
            tracked = self.runs.get(uid)
            if tracked is None or tracked.place is not Place.WAITING or is_told(tracked):
                continue
            assert tracked.lane is not None
            if not tracked.lane.is_blocked:
                self._announcements.expect(tracked, now=self._now)  # there may be room, only its turn has not come
                continue
            self._count_waiting(tracked)
            message = message_for(tracked.lane)
            self._displace(tracked)
            self._announcements.sent(uid)
            self._write(tracked, model.Announce(tracked.run, message=message))

    # ---- wake-ups

    def _woken(self, queue: Queue, *, is_woken: bool, source: str) -> None:
        if is_woken:
            self._recorder.woken(source)
        self.turns.has_changed(queue)

    def _fire_timers(self) -> None:
        while (pod := self.pods.next_stale(now=self._now)) is not None:
            self._pods_changed(Sight(updated=pod))
        while (uid := self.holds.fire_next(now=self._now)) is not None:
            self._displace(self.runs[uid])
            self._place(self.runs[uid])
        self.turns.note_slow_binds(now=self._now)
        if self._net.fire_next(now=self._now) is not None:
            self._net.start(_RETRY, at=self._now + self.settings.retry_seconds)
            self.turns.retry_all()


def _sitting(tracked: TrackedRun) -> Sitting:
    return Sitting(tracked.run.uid, tracked.seat, tracked.run.metadata.labels)

"""The small world as a whole: who may bind, take away, lose and crash, the promises, and how it comes to rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from k8s.api import phases, transitions
from k8s.api.phases import Reason
from k8s.api.run import Run
from k8s.client.notices import Deleted
from runtimed.core import Exit, Instant, WriteKind, decisions, events
from runtimed.core.facts import Timer
from tests.runtimed.world.api import EPOCH, SUCCESS, UID, Api, PromiseBroken, run_body
from tests.runtimed.world.pod import PodWorld, Request


class World:
    """The API server and its Pods. `reaper` and `scheduler` act on what there is now, as resourceVersion makes them."""

    def __init__(self, body: dict[str, Any] | None = None, *, pods: dict[str, str] | None = None) -> None:
        self.api = Api(body or run_body())
        self.clock = 0.0
        self.requests: list[Request] = []
        self.starts: list[tuple[str, int]] = []
        self.pods = {uid: PodWorld(self, uid=uid, name=name) for uid, name in (pods or {"a": "pod-a", "b": "pod-b"}).items()}

    def now(self) -> Instant:
        self.clock += 0.000_1
        return Instant(self.clock, EPOCH + timedelta(seconds=self.clock))

    def note_start(self, pod: PodWorld, attempt: int) -> None:
        if pod.alive:
            raise PromiseBroken(f"attempt {attempt} starts beside {pod.alive}")
        if (pod.uid, attempt) in self.starts:
            raise PromiseBroken(f"second start of attempt {attempt} in Pod {pod.uid}")
        self.starts.append((pod.uid, attempt))
        if len(self.starts) > 1 + self.api.retries_written:
            raise PromiseBroken(f"{len(self.starts)} starts with {self.api.retries_written} recorded retries")

    # -- others ------------------------------------------------------------------------------------------------------

    def bind(self, pod_uid: str) -> None:
        run = self.api.run
        assert run is not None
        if run.spec.cancel_requested:
            self.api.change(transitions.cancelled_before_bind(run, now=self.now().wall))
            return
        pod = self.pods[pod_uid]
        self.api.change(transitions.bind(run, pod_name=pod.name, pod_uid=pod.uid, observed=None, now=self.now().wall))

    def reap(self) -> None:
        run = self.api.run
        assert run is not None
        self.api.change(transitions.taken_away(run, reason=Reason.POD_UNHEALTHY, message="not ready", now=self.now().wall))

    def cancel(self) -> None:
        self.api.change_spec(cancelRequested=True)

    def delete(self) -> None:
        self.api.put(None)

    # -- requests ----------------------------------------------------------------------------------------------------

    def answer(self, request: Request, *, is_lost: bool = False) -> None:
        """The API server handles the request; its answer reaches whoever sent it, if they live."""
        self.requests.remove(request)
        pod = request.pod
        is_alive = pod.is_up and pod.incarnation == request.incarnation
        if request.decision is None:
            if is_alive:
                self._answer_read(pod, is_lost=is_lost)
            return
        result = self.api.patch(request.decision, request.change)
        if not is_alive:
            return
        if is_lost:
            pod.tell(events.WriteUnanswered())
        elif isinstance(result, Run):
            pod.cache.take(result)
            pod.tell(events.WriteAnswered(pod.cache.get(UID)))
        else:
            pod.tell(result)

    def _answer_read(self, pod: PodWorld, *, is_lost: bool) -> None:
        if is_lost:
            pod.tell(events.RunReadFailed())
            return
        run = self.api.run
        if run is None:
            pod.cache.drop(UID)
        elif run.status.assigned_pod_uid == pod.uid:
            pod.cache.take(run)
        else:
            pod.cache.feed(Deleted(run))
        pod.tell(events.RunRead(pod.cache.get(UID)))

    def lose(self, request: Request) -> None:
        """It never arrives; its sender gives up waiting."""
        self.requests.remove(request)
        if request.pod.is_up and request.pod.incarnation == request.incarnation:
            request.pod.tell(events.RunReadFailed() if request.decision is None else events.WriteUnanswered())

    def delay(self, request: Request) -> None:
        """Its sender gives up waiting, and it arrives all the same, later."""
        if request.decision is not None and request.pod.is_up and request.pod.incarnation == request.incarnation:
            request.incarnation = -1
            request.pod.tell(events.WriteUnanswered())

    # -- rest --------------------------------------------------------------------------------------------------------

    def hops(self, *, exit_: Exit = SUCCESS, may_end: bool = True) -> Iterator[tuple[str, Callable[[], None]]]:
        """Every step that needs no fault, in a fixed order."""
        run = self.api.run
        if run is not None and run.phase == phases.PENDING:
            uid = next(iter(self.pods))
            yield f"bind to {uid}", lambda: self.bind(uid)
        for request in self.requests:
            yield "API answers", lambda request=request: self.answer(request)  # type: ignore[misc]
        for pod in self.pods.values():
            yield from self._pod_hops(pod, exit_=exit_, may_end=may_end)

    def _pod_hops(self, pod: PodWorld, *, exit_: Exit, may_end: bool) -> Iterator[tuple[str, Callable[[], None]]]:
        if not pod.is_up:
            yield f"{pod.uid} restarts", pod.start
            return
        if not pod.is_listed:
            yield f"{pod.uid} lists", pod.list
            return
        if not pod.is_connected:
            yield f"{pod.uid} connects", pod.connect
            return
        if pod.messages:
            yield f"{pod.uid} hears", pod.deliver_message
        if pod.frames:
            yield f"{pod.uid} server acts", pod.handle_frame
        if pod.seen < len(self.api.history) - 1:
            yield f"{pod.uid} sees", pod.deliver_view
        for timer in (Timer.READ, Timer.WRITE, Timer.BACKOFF, Timer.RUNNING):
            if timer in pod.timers:
                yield f"{pod.uid} {timer.name}", lambda timer=timer: pod.fire(timer)  # type: ignore[misc]
        for attempt in pod.alive if may_end else []:
            yield f"{pod.uid} ends {attempt}", lambda attempt=attempt: pod.end(attempt, exit_)  # type: ignore[misc]

    def settle(self, *, exit_: Exit = SUCCESS, may_end: bool = True, limit: int = 2_000) -> None:
        """Runs on without faults until nothing is left to do. Fair: hops are taken in turn."""
        for _ in range(limit):
            hops = list(self.hops(exit_=exit_, may_end=may_end))
            if not hops:
                return
            hops[0][1]()
        raise PromiseBroken("it does not come to rest: " + "; ".join(label for label, _ in self.hops()))

    def settle_without(self, request: Request) -> None:
        """To rest, with one request still on the wire."""
        self.requests.remove(request)
        self.settle()
        self.requests.append(request)

    def check_rest(self) -> None:
        """P1 and what follows from the rules: terminal or gone, nothing runs, nothing is left."""
        run = self.api.run
        if run is not None and not run.is_terminal:
            raise PromiseBroken(f"at rest in {run.phase}")
        for pod in self.pods.values():
            if pod.alive:
                raise PromiseBroken(f"attempts {pod.alive} live on in Pod {pod.uid}")
            left = {"markers": pod.markers, "records": pod.records, "note": pod.workspace, "folder": pod.has_folder}
            if pod.server.held or any(left.values()):
                raise PromiseBroken(f"left in Pod {pod.uid}: {pod.server.held} {left}")


def performed(pod: PodWorld, kind: type) -> list[Any]:
    """What the core of that Pod decided, of one kind, in order."""
    return [decision for decision in pod.log if isinstance(decision, kind)]


def writes(pod: PodWorld) -> list[WriteKind]:
    return [decision.kind for decision in performed(pod, decisions.SendStatus)]

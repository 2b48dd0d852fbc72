"""A small, obvious world around the real core: one Run, an API server, and Pods with a disk, a Runtime Server and a runtimed.

Every hop is a step of its own, so that a test can reorder, lose, double and crash between any two of them. Promises are
checked as the steps happen (`broken`), and `settle` runs everything to rest without faults.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonpatch
import msgspec

from k8s.api import phases, transitions
from k8s.api.names import ARTIFACT_CLEANUP_FINALIZER, ARTIFACTS_LABEL
from k8s.api.phases import Reason
from k8s.api.run import ArtifactLocation, ArtifactRef, FilesystemLocation, Run
from k8s.client.cache import Cache
from k8s.client.notices import Changed, Deleted, Listed
from k8s.client.patches import Patch, fenced_finalizer, fenced_status
from runtimed.core import Exit, ExitReason, Held, Instant, Marker, Outcome, RunMachine, Workspace, WriteKind, decisions, events
from runtimed.core.decisions import Decision, SendStatus
from runtimed.core.facts import Timer
from runtimed.core.ledger import status_change

UID = "run-1"
EPOCH = datetime(2026, 8, 9, 10, tzinfo=UTC)

SUCCESS = Exit(ExitReason.EXITED)
FAILURE = Exit(ExitReason.EXITED, exit_code=1, stderr_tail="boom")
CANCELLED = Exit(ExitReason.CANCELLED, exit_code=143, signal=15)


class PromiseBroken(AssertionError):
    """What the system promises to its users does not hold."""


def to_run(body: dict[str, Any]) -> Run:
    return msgspec.convert(body, Run)


def run_body(*, max_attempts: int | None = None, timeout: str | None = None, reasons: list[str] | None = None) -> dict[str, Any]:
    spec: dict[str, Any] = {"runtime": "bash", "mode": {"task": {"args": ["true"]}}}
    if max_attempts is not None:
        spec["retryPolicy"] = {"maxAttempts": max_attempts, "backoff": "1s", "retryableReasons": reasons or []}
    if timeout is not None:
        spec["timeout"] = timeout
    return {"metadata": {"uid": UID, "name": "sum-1", "namespace": "team-a", "resourceVersion": "1"}, "spec": spec}


def artifact_ref(name: str = "report.txt") -> ArtifactRef:
    location = ArtifactLocation(filesystem=FilesystemLocation(path=f"namespaces/team-a/runs/{UID}/{name}", volume_claim_name="artifacts"))
    return ArtifactRef(name=name, driver="filesystem", type="file", location=location, size_bytes=3, created_at=EPOCH)


class Api:
    """Every version of the one Run, in order; None once deleted."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.history: list[dict[str, Any] | None] = [body]
        self.invalid_keys: set[str] = set()
        """Status keys that the schema refuses, for whoever writes them."""
        self.retries_written = 0

    @property
    def body(self) -> dict[str, Any] | None:
        return self.history[-1]

    @property
    def run(self) -> Run | None:
        return to_run(self.body) if self.body is not None else None

    def put(self, body: dict[str, Any] | None) -> None:
        old, new = self.run, to_run(body) if body is not None else None
        if old is not None and new is not None:
            if old.is_terminal and body is not None and self.body is not None and body["status"] != self.body["status"]:
                raise PromiseBroken(f"terminal {old.phase} became {new.phase}")
            if new.attempt_number < old.attempt_number:
                raise PromiseBroken("the attempt went back")
            # max(1, 0) = 1 at the end of the first attempt opens nothing
            self.retries_written += new.attempt_number > max(1, old.attempt_number)
        if body is not None:
            body = {**body, "metadata": {**body["metadata"], "resourceVersion": str(len(self.history) + 1)}}
        self.history.append(body)

    def change(self, change: dict[str, Any]) -> None:
        """A write of scheduler, reaper or controllers: under resourceVersion, so on what there is now."""
        assert self.body is not None
        status = {**self.body.get("status", {}), **change}
        self.put({**self.body, "status": {key: value for key, value in status.items() if value is not None}})

    def change_spec(self, **fields: Any) -> None:
        assert self.body is not None
        self.put({**self.body, "spec": {**self.body["spec"], **fields}})

    def patch(self, decision: SendStatus, change: dict[str, Any]) -> events.Event | Run:
        """The real fence, on the real bytes."""
        if self.body is None:
            return events.WriteRefused()
        operations = msgspec.json.decode(_patch_of(decision, change).body)
        # A test of an absent key against null holds on an API server, and not in this library.
        body = {
            **self.body,
            "metadata": {"finalizers": None, "labels": None, **self.body["metadata"]},
            "status": dict(self.body.get("status", {})),
        }
        try:
            new = jsonpatch.apply_patch(body, operations)
        except (jsonpatch.JsonPatchTestFailed, jsonpatch.JsonPatchConflict):
            return events.WriteRefused(is_invalid=True)
        bad = self.invalid_keys & {key for key, value in change.items() if value is not None}
        if bad:
            return events.WriteRefused(is_invalid=True, field=f"status.{min(bad)}", detail="Too many: 65: must have at most 64 items")
        self.put({**new, "metadata": {key: value for key, value in new["metadata"].items() if value is not None}})
        answer = self.run
        assert answer is not None
        return answer


def _patch_of(decision: SendStatus, change: dict[str, Any]) -> Patch:
    run = decision.run
    if decision.kind is WriteKind.FINALIZER:
        return fenced_finalizer(ARTIFACT_CLEANUP_FINALIZER, label=ARTIFACTS_LABEL, run=run, expected_phase=run.phase)
    return fenced_status(change, run=run, expected_phase=run.phase)


@dataclass
class Request:
    """On the wire to the API server. It may be applied after its sender died, and its answer may be lost."""

    pod: PodWorld
    incarnation: int
    decision: SendStatus | None
    change: dict[str, Any] = field(default_factory=dict)


@dataclass
class Server:
    """The Runtime Server of one Pod."""

    boot: int = 1
    held: dict[int, Exit | None] = field(default_factory=dict)
    session: int = 0


class PodWorld:
    """One Pod: disk, Runtime Server, and a runtimed that may crash and come back."""

    def __init__(self, world: World, *, uid: str, name: str) -> None:
        self.world, self.uid, self.name = world, uid, name
        self.server = Server()
        self.markers: dict[int, Marker] = {}
        self.records: dict[int, Outcome] = {}
        self.workspace: Workspace | None = None
        self.incarnation = 0
        self.session = 0
        self.is_connected = False
        self.frames: builtins.list[tuple[int, Decision]] = []
        """To the server, with the session that each was sent in."""
        self.messages: builtins.list[events.Event] = []
        """From the server, of the session that stands."""
        self.machine: RunMachine | None = None
        self.cache: Cache[Run] = Cache()
        self.seen = 0
        self.timers: dict[Timer, tuple[int | None, float]] = {}
        self.is_up = False
        self.is_listed = False
        self.log: builtins.list[Decision] = []
        self.fenced = 0
        self.broken_disk = False
        self.slow_outputs = False
        self.slow_workspace = False
        """Their reading is answered by the test."""
        self.artifact_store: dict[str, Any] | None = None
        """Every Run that succeeds here leaves artifacts for it."""
        self.slow_upload = False
        """The upload is answered by the test."""
        self.crash_after: int | None = None
        self.on_crash: Callable[[], None] = lambda: None
        self.start()

    # -- runtimed's process ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """The process is there; nothing is known yet."""
        self.is_up, self.is_listed, self.is_connected = True, False, False
        self.incarnation += 1
        self.cache, self.machine, self.timers, self.messages = Cache(), None, {}, []

    def crash(self) -> None:
        self.is_up = self.is_connected = False
        self.machine, self.timers, self.messages, self.crash_after = None, {}, [], None
        self.on_crash()

    def list(self) -> None:
        """The consistent list, at start."""
        self.is_listed = True
        self.seen = len(self.world.api.history) - 1
        run = self.world.api.run
        mine = [run] if run is not None and run.status.assigned_pod == self.name else []
        self.cache.feed(Listed(mine, str(self.seen + 1)))
        self._wake()
        self.tell(events.ViewSynced(self.cache.get(UID)))

    def connect(self) -> None:
        """Hello: the server drops the frames of older sessions, then names what it holds."""
        self.session += 1
        self.server.session = self.session
        self.frames = [(session, frame) for session, frame in self.frames if session == self.session]
        self.is_connected = True
        held = {attempt: Held(EPOCH, exit_) for attempt, exit_ in self.server.held.items()}
        self.messages = [events.SessionWelcomed(f"boot-{self.server.boot}", held)]

    def break_session(self) -> None:
        self.is_connected = False
        self.messages = []
        self.tell(events.SessionLost())

    def _wake(self) -> None:
        if self.machine is not None and not self.machine.state.is_retired:
            return
        self.machine = RunMachine(
            uid=UID,
            pod_uid=self.uid,
            node_boot_id="node-1",
            markers=self.markers.values(),
            outcomes=self.records.values(),
            workspace=self.workspace,
        )

    def tell(self, event: events.Event) -> None:
        """Hands the event to the core and performs what it decides; a crash may come between any two decisions."""
        if not self.is_up or not self.is_listed or self.machine is None:
            return
        incarnation = self.incarnation
        queue = [event]
        while queue and self.is_up and self.incarnation == incarnation:
            machine = self.machine
            decided = machine.handle(queue.pop(0), now=self.world.now())
            machine.validate()
            for decision in decided:
                if self.crash_after is not None:
                    self.crash_after -= 1
                    if self.crash_after < 0:
                        self.crash()
                        return
                self.log.append(decision)
                queue += self._perform(decision, machine=machine)

    def _perform(self, decision: Decision, *, machine: RunMachine) -> builtins.list[events.Event]:
        match decision:
            case decisions.AskSlot():
                return [events.SlotGranted()]
            case decisions.PrepareWorkspace() if self.slow_workspace:
                return []
            case decisions.PrepareWorkspace(attempt=attempt):
                self.workspace = Workspace(attempt, "/w", "script", sends_args=True, outputs_file="/w/outputs")
                return [events.WorkspacePrepared(self.workspace)]
            case decisions.StopPreparing():
                return [events.WorkspaceFailed(machine.state.preparing or 0, "prepare source: stopped")]
            case decisions.CleanWorkspace():
                self.workspace = None
                return [events.WorkspaceCleaned()]
            case decisions.MakeMarker(marker=marker):
                if self.broken_disk:
                    return [events.MarkerFailed(marker.attempt, "no space left on device")]
                if marker.attempt in self.markers:
                    raise PromiseBroken("a second marker for the same attempt")
                self.markers[marker.attempt] = marker
                return [events.MarkerMade(marker)]
            case decisions.DropMarker(attempt=attempt):
                del self.markers[attempt]
            case decisions.WriteRecord(outcome=outcome):
                if self.broken_disk:
                    return [events.RecordFailed(outcome.attempt)]
                self.records[outcome.attempt] = outcome
                return [events.RecordWritten(outcome.attempt)]
            case decisions.DropRecord(attempt=attempt):
                self.records.pop(attempt, None)
            case decisions.SendExecute() | decisions.SendCancel() | decisions.SendForget() | decisions.SendAttach():
                if self.is_connected:
                    self.frames.append((self.session, decision))
            case decisions.ReadOutputs(attempt=attempt):
                return [] if self.slow_outputs else [events.OutputsRead(attempt, {}, artifact_store=self.artifact_store)]
            case decisions.UploadArtifacts(attempt=attempt):
                return [] if self.slow_upload else [events.ArtifactsUploaded(attempt, [artifact_ref()])]
            case decisions.SendStatus():
                change = status_change(decision, now=self.world.now().wall)
                self.world.requests.append(Request(self, self.incarnation, decision, change))
            case decisions.ReadRun():
                self.world.requests.append(Request(self, self.incarnation, None))
            case decisions.StartTimer(timer=timer, attempt=attempt, seconds=seconds):
                self.timers[timer] = (attempt, seconds)
            case decisions.StopTimer(timer=timer):
                self.timers.pop(timer, None)
            case decisions.CountFencedWrite():
                self.fenced += 1
            case decisions.Retire():
                self.timers.clear()
        return []

    # -- hops --------------------------------------------------------------------------------------------------------

    def deliver_view(self) -> None:
        """The watch brings the next version."""
        self.seen += 1
        body, before = self.world.api.history[self.seen], self.world.api.history[self.seen - 1]
        if body is not None and body.get("status", {}).get("assignedPod") == self.name:
            changes = self.cache.feed(Changed(to_run(body)))
        else:
            gone = body or before
            assert gone is not None
            gone = {**gone, "metadata": {**gone["metadata"], "resourceVersion": str(self.seen + 1)}}
            changes = self.cache.feed(Deleted(to_run(gone)))
        for change in changes:
            was_retired = self.machine is None or self.machine.state.is_retired
            self._wake()
            self.tell(events.ViewSynced(change.new) if was_retired else events.ViewChanged(change.new))
            if was_retired and self.is_connected and not any(isinstance(m, events.SessionWelcomed) for m in self.messages):
                held = {attempt: Held(EPOCH, exit_) for attempt, exit_ in self.server.held.items()}
                self.tell(events.SessionWelcomed(f"boot-{self.server.boot}", held))

    def deliver_message(self) -> None:
        self.tell(self.messages.pop(0))

    def fire(self, timer: Timer) -> None:
        attempt, seconds = self.timers.pop(timer)
        self.world.clock += seconds
        self.tell(events.TimerFired(timer, attempt))

    # -- Runtime Server ----------------------------------------------------------------------------------------------

    def restart_server(self) -> None:
        self.server = Server(boot=self.server.boot + 1)
        self.frames = []
        if self.is_connected:
            self.break_session()

    def handle_frame(self) -> None:
        """The server acts on the oldest frame, also on one whose sender died, until a new Hello."""
        _, frame = self.frames.pop(0)
        held = self.server.held
        match frame:
            case decisions.SendExecute(attempt=attempt):
                if attempt in held:
                    self.say(events.ExecutionAccepted(attempt, is_duplicate=True))
                    return
                self.world.note_start(self, attempt)
                held[attempt] = None
                self.say(events.ExecutionAccepted(attempt))
                self.say(events.ExecutionStarted(attempt, Held(EPOCH)))
            case decisions.SendCancel(attempt=attempt):
                if attempt not in held:
                    self.say(events.ExecutionForgotten(attempt))
                elif held[attempt] is None:
                    self.end(attempt, CANCELLED)
            case decisions.SendForget(attempt=attempt):
                held.pop(attempt, None)
                self.say(events.ExecutionForgotten(attempt))
            case decisions.SendAttach(attempt=attempt):
                exit_ = held.get(attempt)
                if exit_ is not None:
                    self.say(events.ExecutionExited(attempt, exit_))

    def end(self, attempt: int, exit_: Exit) -> None:
        """The process of that attempt ends."""
        self.server.held[attempt] = exit_
        self.say(events.ExecutionExited(attempt, exit_))

    def say(self, event: events.Event) -> None:
        if self.is_connected:
            self.messages.append(event)

    @property
    def alive(self) -> builtins.list[int]:
        return [attempt for attempt, exit_ in self.server.held.items() if exit_ is None]


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
            if pod.server.held or pod.markers or pod.records or pod.workspace:
                raise PromiseBroken(f"left in Pod {pod.uid}: {pod.server.held} {pod.markers} {pod.records} {pod.workspace}")


def performed(pod: PodWorld, kind: type) -> list[Any]:
    """What the core of that Pod decided, of one kind, in order."""
    return [decision for decision in pod.log if isinstance(decision, kind)]


def writes(pod: PodWorld) -> list[WriteKind]:
    return [decision.kind for decision in performed(pod, decisions.SendStatus)]

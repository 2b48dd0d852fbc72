"""A Pod of the small world: its disk, its Runtime Server, its runtimed, and what is on its way between them."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from k8s.api.run import Run
from k8s.client.cache import Cache
from k8s.client.notices import Changed, Deleted, Listed
from runtimed.core import Exit, Held, Marker, Outcome, RunMachine, Workspace, decisions, events
from runtimed.core.decisions import Decision, SendStatus
from runtimed.core.facts import Timer
from runtimed.core.ledger import status_change
from tests.runtimed.world.api import CANCELLED, EPOCH, UID, PromiseBroken, artifact_ref, to_run

if TYPE_CHECKING:
    from tests.runtimed.world.whole import World


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
        """What the state folder knows of it."""
        self.has_folder = False
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
        self.keeps_log = False
        """And asks for its log to be kept, however it ends."""
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
            has_folder=self.has_folder,
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
                        self._half_perform(decision)
                        self.crash()
                        return
                self.log.append(decision)
                queue += self._perform(decision, machine=machine)

    def _half_perform(self, decision: Decision) -> None:
        """Of those that are more than one system call, the first; then comes the crash."""
        match decision:
            case decisions.PrepareWorkspace():
                self.has_folder = True
            case decisions.CleanWorkspace():
                self.workspace = None

    def _perform(self, decision: Decision, *, machine: RunMachine) -> builtins.list[events.Event]:
        match decision:
            case decisions.AskSlot():
                return [events.SlotGranted()]
            case decisions.PrepareWorkspace(attempt=attempt):
                self.has_folder = True
                if self.slow_workspace:
                    return []
                self.workspace = Workspace(attempt, "/w", "script", sends_args=True, outputs_file="/w/outputs")
                return [events.WorkspacePrepared(self.workspace)]
            case decisions.StopPreparing():
                return [events.WorkspaceFailed(machine.state.preparing or 0, "prepare source: stopped")]
            case decisions.CleanWorkspace():
                self.workspace, self.has_folder = None, False
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
                log_store = self.artifact_store if self.keeps_log else None
                read = events.OutputsRead(attempt, {}, artifact_store=self.artifact_store, log_store=log_store)
                return [] if self.slow_outputs else [read]
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

"""All actors of this Pod: who exists, and who is told of what. One for each Run that is wanted, held, or left on disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from krtpb.executor.v1 import stream_pb2

from k8s.api import phases
from k8s.api.run import Run
from k8s.client import Cache, Change
from runtimed.core import events
from runtimed.core.facts import Held
from runtimed.core.machine import RunMachine
from runtimed.hooks.state_dir import Remains
from runtimed.shell import frames
from runtimed.shell.actor import RunActor
from runtimed.shell.services import Services


class Actors:
    """The session's Listener, and the cache's. `begin` comes first, with the first consistent list."""

    def __init__(self, cache: Cache[Run], *, services: Callable[[], Services]) -> None:
        self._cache = cache
        self._services_of = services
        self._actors: dict[str, RunActor] = {}
        self._boot_id: str | None = None
        self._is_intake_open = True
        self.is_empty = asyncio.Event()
        self.is_empty.set()
        self.on_session: Callable[[bool], None] = lambda _: None

    def __len__(self) -> int:
        return len(self._actors)

    @property
    def _services(self) -> Services:
        return self._services_of()

    def begin(self, remains: dict[str, Remains]) -> None:
        """The first list is in: one actor for each Run of it that is ours, and for each that left something here."""
        folders = self._services.workspaces.uids()
        wanted = [run.uid for run in self._cache if self._is_ours(run)]
        for uid in dict.fromkeys([*remains, *folders, *wanted]):
            self._spawn(uid, remains=remains.get(uid), has_folder=uid in folders)

    def on_changes(self, changes: list[Change[Run]]) -> None:
        """The watch told of something newer."""
        for change in changes:
            run = change.new or change.old
            assert run is not None
            actor = self._actors.get(run.uid)
            if actor is not None:
                actor.handle(events.ViewChanged(change.new))
            elif change.new is not None and self._is_ours(change.new):
                self._spawn(run.uid)

    def on_welcome(self, boot_id: str, held: frames.HeldRuns) -> None:
        self._boot_id = boot_id
        unknown = [uid for uid in held if uid not in self._actors]
        for uid, actor in list(self._actors.items()):
            actor.handle(events.SessionWelcomed(boot_id, held.get(uid, {})))
        for uid in unknown:
            # Wanted or not: it is the actor that finds out, and lets go of it.
            self._spawn(uid, held=held[uid])
        self.on_session(True)

    def on_lost(self) -> None:
        self._boot_id = None
        for actor in list(self._actors.values()):
            actor.handle(events.SessionLost())
        self.on_session(False)

    def on_response(self, response: stream_pb2.SessionResponse) -> None:
        if response.WhichOneof("event") == "output":
            actor = self._actors.get(response.output.key.run_uid)
            if actor is not None:
                actor.on_output(response.output)
            return
        told = frames.read_event(response)
        if told is None:
            return
        uid, event = told
        actor = self._actors.get(uid)
        if actor is not None:
            actor.handle(self._with_disk(event))
        elif isinstance(event, (events.ExecutionAccepted, events.ExecutionStarted)):
            # Nobody here asked for it: an actor is needed to let go of it.
            self._spawn(uid, held={event.attempt: Held()})

    def _with_disk(self, event: events.Event) -> events.Event:
        """Looked at now, before the workspace of whoever filled it is removed."""
        if isinstance(event, events.ExecutionExited) and not event.exit.is_success and self._services.workspaces.is_disk_full():
            return replace(event, exit=replace(event.exit, is_disk_full=True))
        return event

    def stop_intake(self) -> None:
        """This Pod is being deleted: what has not started goes back, what runs may finish."""
        self._is_intake_open = False
        for actor in list(self._actors.values()):
            actor.handle(events.IntakeStopped())

    def end_grace(self) -> None:
        for actor in list(self._actors.values()):
            actor.handle(events.GraceOver())

    def stop(self) -> None:
        for actor in self._actors.values():
            actor.stop()

    def _is_ours(self, run: Run) -> bool:
        """The UID counts: a Pod of our name may have been another."""
        return run.phase in (phases.SCHEDULED, phases.RUNNING) and run.status.assigned_pod_uid == self._services.pod.uid

    def _spawn(
        self, uid: str, *, remains: Remains | None = None, has_folder: bool = False, held: dict[int, Held] | None = None
    ) -> RunActor:
        services = self._services
        remains = remains or Remains()
        machine = RunMachine(
            uid=uid,
            pod_uid=services.pod.uid,
            node_boot_id=services.state_dir.node_boot_id,
            markers=remains.markers,
            outcomes=remains.outcomes,
            workspace=remains.workspace,
            has_folder=has_folder,
        )
        actor = self._actors[uid] = RunActor(machine, services=services, on_retired=self._forget)
        self.is_empty.clear()
        if not self._is_intake_open:
            actor.handle(events.IntakeStopped())
        if self._boot_id is not None:
            # What the server holds has an actor since its Welcome: of this Run it holds nothing else.
            actor.handle(events.SessionWelcomed(self._boot_id, held or {}))
        actor.handle(events.ViewSynced(self._cache.get(uid)))
        return actor

    def _forget(self, actor: RunActor) -> None:
        del self._actors[actor.uid]
        if not self._actors:
            self.is_empty.set()
        run = self._cache.get(actor.uid)
        if run is not None and self._is_ours(run):
            self._spawn(actor.uid)  # bound to us again in the same moment

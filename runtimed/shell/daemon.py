"""The process: what starts in which order, and how it ends.

STRICTLY in this order (ownership.md, rule 10): state folder, consistent list, actors, then the session's Hello; only then
anything is decided that depends on what the Runtime Server holds.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Final

import grpc

from k8s.api.run import Run
from k8s.client import RUNS, ApiClient, Cache, EventRecorder, Listed, load_credentials
from k8s.client.metrics import RequestMetrics
from k8s.manager import Lifecycle, ManagerSettings, StatusServer, make_registry
from runtimed.artifacts.settings import open_store
from runtimed.artifacts.uploading import THREADS, Uploads
from runtimed.core.facts import Instant
from runtimed.hooks.artifact_service import ArtifactService
from runtimed.hooks.artifacts import ArtifactKeeper
from runtimed.hooks.git import Git
from runtimed.hooks.git_credentials import GitCredentials
from runtimed.hooks.heartbeat import Heartbeat
from runtimed.hooks.metrics import Metrics
from runtimed.hooks.objects import Objects
from runtimed.hooks.references import References
from runtimed.hooks.state_dir import Remains, StateDir, read_node_boot_id
from runtimed.hooks.status_proxy import serve_status
from runtimed.hooks.stdout import LineWriter
from runtimed.hooks.workspace import Workspaces
from runtimed.settings import PodIdentity, RuntimedSettings
from runtimed.shell.actors import Actors
from runtimed.shell.bound_runs import bound_to, follow_bound
from runtimed.shell.draining import drain
from runtimed.shell.own_pod import read_if_deleted, read_own_pod
from runtimed.shell.preparing import Preparing
from runtimed.shell.services import Services
from runtimed.shell.session import CHANNEL_OPTIONS, Session
from runtimed.shell.slots import Slots
from runtimed.shell.writes import StatusWriter

logger = logging.getLogger(__name__)

USER_AGENT: Final = "runtimed"
HELD_SECONDS: Final = 0.5
"""How long the goodbye may take when nothing is left to do: a Pod that holds nothing goes within a second."""


def read_clock() -> Instant:
    """CLOCK_MONOTONIC is the node's: a marker made by an earlier process of this Pod compares with it."""
    return Instant(time.monotonic(), datetime.now(UTC))


class Daemon:
    """One runtimed. `run` until the life cycle stops."""

    def __init__(self, settings: RuntimedSettings, *, manager: ManagerSettings, lifecycle: Lifecycle) -> None:
        self._settings, self._manager, self._lifecycle = settings, manager, lifecycle
        self._registry = make_registry()
        self._cache: Cache[Run] = Cache()
        self._listed = asyncio.Event()
        self._is_leaving = False
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines = LineWriter()
        self._downloads = ThreadPoolExecutor(THREADS, thread_name_prefix="artifact downloads")

    async def run(self) -> None:
        credentials = await load_credentials(kubeconfig=self._manager.kubeconfig)
        async with await ApiClient.connect(credentials, user_agent=USER_AGENT) as client:
            client.on_request = RequestMetrics(self._registry).note
            own_pod = await read_own_pod(client)
            pod = PodIdentity(own_pod.metadata.name, own_pod.metadata.namespace, own_pod.uid)
            # Deleted before we started: no second SIGTERM will come, and nothing new may start here.
            self._is_leaving = own_pod.metadata.deletion_timestamp is not None
            async with (
                grpc.aio.insecure_channel(self._settings.runtime_endpoint, options=CHANNEL_OPTIONS) as channel,
                EventRecorder(client, component="runtimed", instance=pod.name) as recorder,
            ):
                await self._serve(client, pod=pod, channel=channel, recorder=recorder)

    async def _serve(self, client: ApiClient, *, pod: PodIdentity, channel: grpc.aio.Channel, recorder: EventRecorder) -> None:
        self._lines.open()
        state_dir = StateDir(self._settings.state_dir, node_boot_id=read_node_boot_id(), pod_uid=pod.uid, memory=self._settings.memory_dir)
        state_dir.open()
        heartbeat = Heartbeat(client, pod=pod, now=lambda: datetime.now(UTC))
        actors = Actors(self._cache, services=lambda: services)
        actors.on_session = heartbeat.set_ready
        session = Session(channel, listener=actors, slots=self._settings.workers, log_bytes=self._settings.max_log_bytes)
        artifacts = self._make_keeper()
        services = self._make_services(client, pod=pod, state_dir=state_dir, session=session, recorder=recorder, artifacts=artifacts)
        checks = {"kubernetes-api": lambda: self._check_api(client, pod), "runtime": session.check}
        async with StatusServer(
            health_bind=self._manager.health_probe_bind_address,
            metrics_bind=self._manager.metrics_bind_address,
            checks=checks,
            registry=self._registry,
        ):
            served = ArtifactService(
                client,
                namespace=pod.namespace,
                runtime=self._settings.runtime_name,
                store=artifacts.uploads.store if artifacts is not None else None,
                pool=self._downloads,
            )
            status_server = await serve_status(self._settings.status_addr, channel=channel, artifacts=served)
            try:
                await self._work(client, pod=pod, actors=actors, session=session, heartbeat=heartbeat, state_dir=state_dir)
            finally:
                actors.stop()
                if status_server is not None:
                    await status_server.stop(grace=None)
                self._lines.close()

    def _make_services(
        self,
        client: ApiClient,
        *,
        pod: PodIdentity,
        state_dir: StateDir,
        session: Session,
        recorder: EventRecorder,
        artifacts: ArtifactKeeper | None,
    ) -> Services:
        metrics = Metrics(self._registry, runtime=self._settings.runtime_name)
        workspaces = Workspaces(self._settings.workspace, has_artifacts=self._settings.artifact_store is not None)
        objects, offers = Objects(client, namespace=pod.namespace), self._settings.offers
        credentials = GitCredentials(objects, secret=offers.git_credentials_secret, folder=state_dir.files)
        preparing = Preparing(
            workspaces,
            state_dir=state_dir,
            references=References(objects, pod=pod, offers=offers),
            git=Git(credentials, own_environment=os.environ),
        )
        return Services(
            pod=pod,
            clock=read_clock,
            state_dir=state_dir,
            workspaces=workspaces,
            preparing=preparing,
            slots=Slots(self._settings.workers, on_change=metrics.set_active),
            writer=StatusWriter(client, cache=self._cache, pod_uid=pod.uid, now=lambda: datetime.now(UTC)),
            session=session,
            lines=self._lines,
            max_log_bytes=self._settings.max_log_bytes,
            metrics=metrics,
            recorder=recorder,
            artifacts=artifacts,
            start=self._start,
            fail=self._fail,
        )

    def _make_keeper(self) -> ArtifactKeeper | None:
        settings = self._settings
        if settings.artifact_store is None:
            return None
        uploads = Uploads(
            store=open_store(settings.artifact_store),
            workspace_root=str(settings.workspace),
            limits=settings.artifact_limits,
            patience_seconds=settings.artifact_patience_seconds,
            pool=ThreadPoolExecutor(THREADS, thread_name_prefix="artifacts"),
            clock=time.monotonic,
            now=lambda: datetime.now(UTC),
        )
        return ArtifactKeeper(uploads, settings.artifact_store.snapshot)

    async def _work(
        self, client: ApiClient, *, pod: PodIdentity, actors: Actors, session: Session, heartbeat: Heartbeat, state_dir: StateDir
    ) -> None:
        tasks = self._lifecycle.tasks
        tasks.start(self._watch_runs(client, pod=pod, actors=actors, session=session, state_dir=state_dir), name="watch Runs")
        stopping: asyncio.Future[Any] = asyncio.ensure_future(self._lifecycle.stopping.wait())
        listed: asyncio.Future[Any] = asyncio.ensure_future(self._listed.wait())
        try:
            await asyncio.wait({stopping, listed}, return_when=asyncio.FIRST_COMPLETED)
            if not listed.done():
                return
            holding = tasks.start(session.run(), name="session")
            beating = tasks.start(heartbeat.beat(), name="heartbeat")
            if not self._is_leaving:
                await asyncio.wait({stopping, self._failure}, return_when=asyncio.FIRST_COMPLETED)
            if self._failure.done():
                self._failure.result()
            deleted = await read_if_deleted(client, pod=pod)
            if deleted is not None:
                actors.stop_intake()
            beating.cancel()
            await heartbeat.stop(within_seconds=HELD_SECONDS)
            if deleted is not None:
                await drain(client, actors, cache=self._cache, pod=deleted)
            holding.cancel()
        finally:
            stopping.cancel()
            listed.cancel()

    async def _watch_runs(self, client: ApiClient, *, pod: PodIdentity, actors: Actors, session: Session, state_dir: StateDir) -> None:
        async for notice in follow_bound(client, pod):
            changes = self._cache.feed(notice)
            if self._listed.is_set():
                actors.on_changes(changes)
            elif isinstance(notice, Listed):
                self._begin(actors, pod=pod, session=session, state_dir=state_dir)
                self._listed.set()

    def _begin(self, actors: Actors, *, pod: PodIdentity, session: Session, state_dir: StateDir) -> None:
        remains = state_dir.load()
        if state_dir.was_left_by_another_boot:
            assigned = [(run.uid, run.attempt_number) for run in self._cache if run.status.assigned_pod_uid == pod.uid and run.is_active]
            logger.warning("the node has booted: what was assigned counts as lost", extra={"runs": len(assigned)})
            state_dir.count_as_lost(assigned, now=read_clock())
            remains = state_dir.load()
        for left in remains.values():
            _remember(left, session=session, node_boot_id=state_dir.node_boot_id)
        if self._is_leaving:
            actors.stop_intake()
        actors.begin(remains)

    async def _check_api(self, client: ApiClient, pod: PodIdentity) -> None:
        query = {"limit": "1", "fieldSelector": bound_to(pod.name)}
        await client.request("GET", RUNS.path(namespace=pod.namespace), query=query)

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        return self._lifecycle.tasks.start(work, name=name)

    def _fail(self, error: BaseException) -> None:
        if not self._failure.done():
            self._failure.set_exception(error)


def _remember(left: Remains, *, session: Session, node_boot_id: str) -> None:
    """For a Runtime Server that knows no attempts: what our predecessor may have sent it."""
    ended = {outcome.attempt for outcome in left.outcomes if outcome.exit_code is not None}
    for marker in left.markers:
        if marker.node_boot_id == node_boot_id:
            session.remember(marker.run_uid, marker.attempt, has_arrived=marker.attempt in ended)

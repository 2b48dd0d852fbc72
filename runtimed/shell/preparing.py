"""What comes before the marker: env from elsewhere, source, workspace. At once where nothing has to be waited for, else as a task."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from k8s.api.errors import KrtError
from k8s.api.run import Run
from runtimed.core import events
from runtimed.core.decisions import PrepareWorkspace
from runtimed.core.facts import Workspace
from runtimed.hooks.env import NOTHING_RESOLVED, Resolved, asks_elsewhere
from runtimed.hooks.git import Git
from runtimed.hooks.references import References
from runtimed.hooks.refusals import SourceRefused
from runtimed.hooks.source import plan_source
from runtimed.hooks.state_dir import StateDir
from runtimed.hooks.workspace import Workspaces

T = TypeVar("T")


class Preparing:
    """Of all Runs of one Pod; each is on its own."""

    def __init__(self, workspaces: Workspaces, *, state_dir: StateDir, references: References, git: Git) -> None:
        self._workspaces, self._state_dir, self._references, self._git = workspaces, state_dir, references, git

    def is_quick(self, run: Run) -> bool:
        """Most are: a few system calls, and no turn of the loop."""
        return not _is_repository(run) and not asks_elsewhere(run)

    def prepare_quickly(self, order: PrepareWorkspace, *, resolved: Resolved = NOTHING_RESOLVED) -> events.Event:
        try:
            return self._note(order, self._prepare(order, resolved=resolved))
        except KrtError as error:
            return events.WorkspaceFailed(order.attempt, str(error))

    async def prepare_slowly(self, order: PrepareWorkspace) -> tuple[events.Event, Resolved]:
        """Never raises but when it is cancelled; then nothing of it goes on."""
        try:
            resolved = await self._references.resolve(order.run)
            if not _is_repository(order.run):
                return self.prepare_quickly(order, resolved=resolved), resolved
            return self._note(order, await self._fetch(order, resolved=resolved)), resolved
        except SourceRefused as error:
            text = str(error)
            message = text if text.startswith("prepare source: ") else f"prepare source: {text}"
            return events.WorkspaceFailed(order.attempt, message), NOTHING_RESOLVED

    async def _fetch(self, order: PrepareWorkspace, *, resolved: Resolved) -> Workspace:
        if not order.is_reused:
            self._state_dir.drop_workspace(order.run.uid)  # STRICTLY BEFORE: what is half fetched must not be taken for whole
        # What an earlier attempt left in its place may be large.
        workspace = await _to_the_end(lambda: self._prepare(order, resolved=resolved))
        repository = plan_source(order.run).repository
        if repository is not None and not _is_fetched(workspace):
            await self._git.fetch(repository, into=Path(workspace.working_dir))
        return workspace

    def _prepare(self, order: PrepareWorkspace, *, resolved: Resolved) -> Workspace:
        return self._workspaces.prepare(order.run, attempt=order.attempt, is_reused=order.is_reused, resolved=resolved)

    def _note(self, order: PrepareWorkspace, workspace: Workspace) -> events.Event:
        """That it is complete."""
        try:
            self._state_dir.note_workspace(order.run.uid, workspace)
        except OSError as error:
            return events.WorkspaceFailed(order.attempt, f"prepare source: state folder: {error.strerror}")
        return events.WorkspacePrepared(workspace)


def _is_repository(run: Run) -> bool:
    return run.spec.source is not None and bool(run.spec.source.repo_url)


def _is_fetched(workspace: Workspace) -> bool:
    """By an earlier attempt: what was not fetched to its end was removed before."""
    return os.path.isdir(workspace.working_dir)


async def _to_the_end(work: Callable[[], T]) -> T:
    """In a thread, which cannot be cancelled: so it is awaited even then, or it would go on beside what comes next."""
    task = asyncio.create_task(asyncio.to_thread(work), name="prepare workspace")
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise

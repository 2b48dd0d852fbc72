"""What comes before the marker: env from elsewhere, source, workspace. At once where nothing has to be waited for, else as a task."""

from __future__ import annotations

from k8s.api.errors import KrtError
from k8s.api.run import Run
from runtimed.core import events
from runtimed.core.decisions import PrepareWorkspace
from runtimed.hooks.env import NOTHING_RESOLVED, Resolved, asks_elsewhere
from runtimed.hooks.references import References
from runtimed.hooks.source import SourceRefused
from runtimed.hooks.state_dir import StateDir
from runtimed.hooks.workspace import Workspaces


class Preparing:
    """Of all Runs of one Pod; each is on its own."""

    def __init__(self, workspaces: Workspaces, *, state_dir: StateDir, references: References) -> None:
        self._workspaces, self._state_dir, self._references = workspaces, state_dir, references

    def is_quick(self, run: Run) -> bool:
        """Most are: a few system calls, and no turn of the loop."""
        return not asks_elsewhere(run)

    def prepare_quickly(self, order: PrepareWorkspace, *, resolved: Resolved = NOTHING_RESOLVED) -> events.Event:
        try:
            workspace = self._workspaces.prepare(order.run, attempt=order.attempt, is_reused=order.is_reused, resolved=resolved)
            self._state_dir.note_workspace(order.run.uid, workspace)
        except KrtError as error:
            return events.WorkspaceFailed(order.attempt, str(error))
        except OSError as error:
            return events.WorkspaceFailed(order.attempt, f"prepare source: state folder: {error.strerror}")
        return events.WorkspacePrepared(workspace)

    async def prepare_slowly(self, order: PrepareWorkspace) -> tuple[events.Event, Resolved]:
        """Never raises but when it is cancelled."""
        try:
            resolved = await self._references.resolve(order.run)
        except SourceRefused as error:
            return events.WorkspaceFailed(order.attempt, f"prepare source: {error}"), NOTHING_RESOLVED
        return self.prepare_quickly(order, resolved=resolved), resolved

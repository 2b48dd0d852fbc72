"""The folder of a Run: made before its first attempt here, reused by retries in place, removed when nothing of it is left.

That it is complete is noted in the state folder, never in the workspace: user code can write there.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from k8s.api.run import Run
from runtimed.core.facts import Workspace
from runtimed.hooks.env import build_env
from runtimed.hooks.source import SourcePlan, SourceRefused, plan_source

OUTPUTS_NAME = "outputs"


class Workspaces:
    """All of them, below one root."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def prepare(self, run: Run, *, attempt: int, is_reused: bool) -> Workspace:
        """Ready for `attempt`. Raises SourceRefused: what is in the way, and what to do."""
        try:
            plan = plan_source(run)
            folder = self.folder(run.uid)
            outputs_file = folder / OUTPUTS_NAME
            build_env(run, outputs_file=str(outputs_file))  # refused now rather than after the marker
            if is_reused and folder.is_dir():
                _remove(outputs_file)
            else:
                self._make(folder, plan)
            return Workspace(attempt, str(folder), plan.entrypoint, plan.sends_args, str(outputs_file))
        except SourceRefused as error:
            raise SourceRefused(f"prepare source: {error}") from error
        except OSError as error:
            # E.g. a full disk: `No space left on device`. The path is not the user's business.
            raise SourceRefused(f"prepare source: write inline: {error.strerror or type(error).__name__}") from error

    def folder(self, run_uid: str) -> Path:
        if not run_uid or "/" in run_uid or run_uid in {".", ".."}:
            raise SourceRefused("metadata.uid is no name of a folder")
        return self._root / run_uid

    def remove(self, run_uid: str) -> None:
        """All of it; links are removed, never followed. Raises OSError."""
        folder = self.folder(run_uid)
        if folder.is_symlink():
            folder.unlink()
        elif folder.exists():
            shutil.rmtree(folder, onerror=_make_writable_and_retry)

    def _make(self, folder: Path, plan: SourcePlan) -> None:
        self.remove(folder.name)
        folder.mkdir(mode=0o755, parents=False)
        folder.chmod(0o755)  # whatever the umask
        if plan.file_name:
            target = folder / plan.file_name
            target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            with open(
                os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644), "w", encoding="utf-8", newline=""
            ) as file:
                file.write(plan.text)


def _remove(path: Path) -> None:
    """Whatever user code put there: a file, a link, or even a folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _make_writable_and_retry(function: object, path: str, error: object) -> None:
    """A Run may leave folders without write permission behind; they are ours all the same."""
    parent = os.path.dirname(path)
    for name in (parent, path):
        if not os.path.islink(name):
            os.chmod(name, stat.S_IRWXU)
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)

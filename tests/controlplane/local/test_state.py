"""What local mode keeps on disk."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from controlplane.local.processes import identify
from controlplane.local.shells import export_line
from controlplane.local.state import ComponentStatus, Snapshot, StateFolder
from controlplane.local.statusview import LocalStatus, PodLine, describe, to_json
from k8s.api.errors import UsageError

NOW = datetime(2026, 8, 9, 10, 0, 0, tzinfo=UTC)


def snapshot(*, pid: int = 0, started: int | None = None) -> Snapshot:
    mine = identify(pid or os.getpid())
    assert mine is not None
    return Snapshot(
        pid=mine.pid,
        started=mine.started if started is None else started,
        boot_id=mine.boot_id,
        phase="Up",
        since=NOW,
        url="http://127.0.0.1:7001",
        components=[
            ComponentStatus(name="node", state="Running", pid=12, since=NOW, restarts=2),
            ComponentStatus(name="x", state="Restarting"),
        ],
    )


@pytest.mark.parametrize(
    ("environment", "root"),
    [
        ({"KRUNTIMES_HOME": "/srv/krt"}, "/srv/krt"),
        ({"XDG_STATE_HOME": "/state"}, "/state/kruntimes/local"),
        ({"KRUNTIMES_HOME": "/srv/krt", "XDG_STATE_HOME": "/state"}, "/srv/krt"),
        ({}, str(Path.home() / ".local/state/kruntimes/local")),
    ],
)
def test_the_folder_is_where_the_user_says(environment: dict[str, str], root: str) -> None:
    assert StateFolder.locate(environment).root == Path(root)


def test_the_folder_is_private(tmp_path: Path) -> None:
    state = StateFolder(tmp_path / "home")
    state.create()
    state.create()
    assert state.root.stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_used_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="KRUNTIMES_HOME"):
        StateFolder(tmp_path / "file" / "home").create()
    with pytest.raises(UsageError, match="too long for a unix socket"):
        StateFolder(tmp_path / ("x" * 100)).create()


def test_a_snapshot_is_believed_while_its_daemon_lives(tmp_path: Path) -> None:
    state = StateFolder(tmp_path)
    assert state.read_snapshot() is None
    state.write_snapshot(snapshot())
    assert state.read_snapshot() == snapshot()
    state.write_snapshot(snapshot(started=1))
    assert state.read_snapshot() is None, "the pid belongs to another process now"
    state.snapshot_path.write_text("{")
    assert state.read_snapshot() is None


def test_a_lock_is_held_by_one_process_and_freed_by_its_end(tmp_path: Path) -> None:
    state = StateFolder(tmp_path)
    script = "flock -n 9 || exit 1; echo locked; read _"
    holder = subprocess.Popen(["bash", "-c", f"exec 9>{tmp_path}/daemon.lock; {script}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdin is not None
    with holder.stdout, holder.stdin:
        assert holder.stdout.readline() == b"locked\n"
        with state.locked("daemon", wait=False) as is_ours:
            assert not is_ours
        holder.kill()
        holder.wait()
    with state.locked("daemon", wait=False) as is_ours:
        assert is_ours


def test_status_for_humans_and_programs(tmp_path: Path) -> None:
    status = LocalStatus(StateFolder(tmp_path), snapshot(), pods=[PodLine("default", "runtime-bash-x", "Running", True)])
    text = describe(status, pods=True)
    assert "node        Running      12    2" in text
    assert "default     runtime-bash-x   Running   yes" in text
    assert '"up": true' in to_json(status)
    assert '"restarts": 2' in to_json(status)


def test_status_when_nothing_runs(tmp_path: Path) -> None:
    status = LocalStatus(StateFolder(tmp_path), None)
    assert not status.is_up
    assert describe(status, pods=True) == f"Local mode is not up (state folder {tmp_path}).\n"
    assert '"up": false' in to_json(status)


def test_pods_that_are_not_known_are_not_called_none(tmp_path: Path) -> None:
    assert "Pods are not known: no answer" in describe(LocalStatus(StateFolder(tmp_path), snapshot(), problem="no answer"), pods=True)


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("bash", "export KUBECONFIG='/a b/it'\"'\"'s'"),
        ("zsh", "export KUBECONFIG='/a b/it'\"'\"'s'"),
        ("fish", "set -gx KUBECONFIG '/a b/it\\'s'"),
        ("powershell", "$Env:KUBECONFIG = '/a b/it''s'"),
    ],
)
def test_each_shell_gets_its_own_words(shell: str, line: str) -> None:
    assert export_line("KUBECONFIG", "/a b/it's", shell=shell) == line


def test_the_words_for_bash_are_understood_by_bash() -> None:
    line = export_line("KUBECONFIG", "/a b/it's", shell="bash")
    assert (
        subprocess.run(["bash", "-c", f'{line}; printf %s "$KUBECONFIG"'], capture_output=True, check=True, text=True).stdout == "/a b/it's"
    )

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from k8s.api.run import Run
from runtimed.hooks.env import build_env
from runtimed.hooks.refusals import SourceRefused
from runtimed.hooks.source import clean_path, plan_source
from runtimed.hooks.workspace import Workspaces
from tests.runtimed.world import UID, run_body, to_run


def run_with(**spec: Any) -> Run:
    body = run_body()
    return to_run({**body, "spec": {**body["spec"], **spec}})


@pytest.mark.parametrize(
    ("spec", "entrypoint", "sends_args", "file_name"),
    [
        ({"mode": {"task": {}}}, "script", True, ""),
        ({"mode": {"task": {"entrypoint": "a/../b.sh"}}}, "b.sh", True, ""),
        ({"source": {"inline": "true"}, "mode": {"task": {"entrypoint": "ignored"}}}, "script", True, "script"),
        ({"source": {"inline": ""}}, "script", True, "script"),
        (
            {"source": {"inline": "x", "inlinePath": "pkg/mod.py"}, "mode": {"function": {"handler": "pkg.mod.f"}}},
            "script",
            False,
            "pkg/mod.py",
        ),
    ],
)
def test_the_source_table(spec: dict[str, Any], entrypoint: str, sends_args: bool, file_name: str) -> None:
    plan = plan_source(run_with(**spec))
    assert (plan.entrypoint, plan.sends_args, plan.file_name) == (entrypoint, sends_args, file_name)


@pytest.mark.parametrize("path", [".", "/etc/passwd", "..", "../x", "a/../..", "a\0b", "./."])
def test_a_path_that_leaves_the_working_directory_is_refused(path: str) -> None:
    with pytest.raises(SourceRefused, match=r"^field: "):
        clean_path(path, field="field")


def test_a_repository_has_a_folder_of_its_own(tmp_path: Path) -> None:
    run = run_with(
        source={"repoURL": "https://git.example/x", "commitSHA": "v1"}, mode={"task": {"entrypoint": "bin/job.sh", "args": ["a"]}}
    )
    workspace = Workspaces(tmp_path).prepare(run, attempt=0, is_reused=False)
    assert (workspace.working_dir, workspace.entrypoint, workspace.sends_args) == (f"{tmp_path}/{UID}/repo", "bin/job.sh", True)
    assert workspace.outputs_file == f"{tmp_path}/{UID}/outputs"


def test_the_workspace_is_made_and_reused(tmp_path: Path) -> None:
    workspaces = Workspaces(tmp_path)
    run = run_with(source={"inline": "écho\r\n"})
    workspace = workspaces.prepare(run, attempt=0, is_reused=False)
    folder = tmp_path / UID
    assert (folder.stat().st_mode & 0o777, (folder / "script").stat().st_mode & 0o777) == (0o755, 0o644)
    assert (folder / "script").read_bytes() == "écho\r\n".encode()
    (folder / "kept").write_text("by attempt 0")
    Path(workspace.outputs_file).write_text("a=1")
    again = workspaces.prepare(run, attempt=2, is_reused=True)
    assert again.attempt == 2
    assert (folder / "kept").exists()
    assert not Path(again.outputs_file).exists()
    workspaces.prepare(run, attempt=3, is_reused=False)
    assert not (folder / "kept").exists()


def test_an_outputs_folder_that_user_code_made_is_cleared_too(tmp_path: Path) -> None:
    workspaces = Workspaces(tmp_path)
    run = run_with()
    workspace = workspaces.prepare(run, attempt=0, is_reused=False)
    (Path(workspace.outputs_file) / "deep").mkdir(parents=True)
    workspaces.prepare(run, attempt=2, is_reused=True)
    assert not Path(workspace.outputs_file).exists()


def test_a_link_in_place_of_the_workspace_is_removed_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / UID).symlink_to(outside)
    Workspaces(tmp_path / "root").remove(UID)
    assert (outside / "precious").exists()
    assert not (tmp_path / "root" / UID).exists()


def made(workspaces: Workspaces, root: Path) -> Path:
    workspaces.prepare(run_with(source={"inline": "true"}), attempt=0, is_reused=False)
    return root / UID


def test_what_a_small_run_leaves_is_removed_at_once(tmp_path: Path) -> None:
    workspaces = Workspaces(tmp_path)
    folder = made(workspaces, tmp_path)
    (folder / "outputs").write_text("a=1")
    (folder / "dangling").symlink_to("nowhere")
    assert workspaces.remove_if_small(UID)
    assert list(tmp_path.iterdir()) == []
    assert workspaces.remove_if_small(UID), "nothing to remove is removed"


@pytest.mark.parametrize("left", ["a folder", "a big file", "many files"])
def test_what_takes_longer_is_left_for_the_long_way(tmp_path: Path, left: str) -> None:
    workspaces = Workspaces(tmp_path)
    folder = made(workspaces, tmp_path)
    if left == "a folder":
        (folder / "deep").mkdir()
    elif left == "a big file":
        with (folder / "sparse").open("wb") as file:
            file.truncate(1 << 30)
    else:
        for number in range(9):
            (folder / str(number)).touch()
    assert not workspaces.remove_if_small(UID)
    assert folder.exists()
    workspaces.remove(UID)
    assert not folder.exists()


def test_the_short_way_follows_no_link_either(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("")
    (tmp_path / UID).symlink_to(outside)
    assert not Workspaces(tmp_path).remove_if_small(UID)
    assert (outside / "precious").exists()


def test_a_folder_that_is_in_the_way_is_replaced(tmp_path: Path) -> None:
    workspaces = Workspaces(tmp_path)
    (made(workspaces, tmp_path) / "left").touch()
    assert [path.name for path in made(workspaces, tmp_path).iterdir()] == ["script"]


def test_a_narrow_umask_does_not_make_the_folder_narrow(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        assert made(Workspaces(tmp_path), tmp_path).stat().st_mode & 0o777 == 0o755
    finally:
        os.umask(before)


def test_folders_without_write_permission_are_removed(tmp_path: Path) -> None:
    workspaces = Workspaces(tmp_path)
    workspaces.prepare(run_with(), attempt=0, is_reused=False)
    locked = tmp_path / UID / "locked"
    locked.mkdir()
    (locked / "file").write_text("")
    locked.chmod(0o500)
    workspaces.remove(UID)
    assert not (tmp_path / UID).exists()


def test_a_workspace_root_that_is_missing_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match=r"^prepare source: write inline: No such file or directory$"):
        Workspaces(tmp_path / "nowhere").prepare(run_with(), attempt=0, is_reused=False)


def test_ours_wins_and_of_equal_names_the_last() -> None:
    env = [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}, {"name": "KRUNTIME_ARTIFACTS_DIR", "value": "x"}, {"name": "E"}]
    assert build_env(run_with(env=env), outputs_file="/w/outputs") == {"A": "2", "E": "", "KRUNTIME_OUTPUTS": "/w/outputs"}


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ({"name": "A=B", "value": "x"}, r"spec\.env\[1\]"),
        ({"name": "A", "value": "secret\0"}, r"spec\.env\[1\]"),
    ],
)
def test_a_variable_that_cannot_be_is_named_without_its_value(variable: dict[str, Any], text: str) -> None:
    with pytest.raises(SourceRefused, match=text) as refused:
        build_env(run_with(env=[{"name": "FIRST", "value": "x"}, variable]), outputs_file="/o")
    assert "secret" not in str(refused.value)


def test_folders_of_runs_are_known_by_their_names_whatever_is_in_them(tmp_path: Path) -> None:
    body = run_body()
    uid = "11111111-2222-4333-8444-555555555555"
    workspaces = Workspaces(tmp_path)
    workspaces.prepare(to_run({**body, "metadata": {**body["metadata"], "uid": uid}}), attempt=0, is_reused=False)
    (tmp_path / "lost+found").mkdir()
    assert workspaces.uids() == {uid}
    workspaces.remove(uid)
    assert workspaces.uids() == Workspaces(tmp_path / "not yet there").uids() == set()

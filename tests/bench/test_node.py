from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from bench.node import NodeIsDown, node_stage, running_daemons


def test_daemons_are_known_by_their_files_and_only_while_they_live(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    (tmp_path / "kubelet.pid").write_text(f"{os.getpid()}\n")
    (tmp_path / "etcd.pid").write_text(f"{gone.pid}\n")
    (tmp_path / "sysctl.saved").write_text("kernel.panic=0\n")
    assert running_daemons(tmp_path) == {"kubelet": os.getpid()}


def test_the_stage_is_what_the_environment_names(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/kubelet.pid").write_text(str(os.getpid()))
    stage = node_stage({"KUBECONFIG": str(tmp_path / "admin.kubeconfig"), "E2E_TAG": "abc"})
    assert (stage.server, stage.is_ours, stage.processes) == ("node", False, {"kubelet": os.getpid()})
    assert stage.image_template.format(image="bash-runtime") == "kruntimes-bash-runtime:abc"


@pytest.mark.parametrize("environment", [{}, {"KUBECONFIG": "/nowhere/admin.kubeconfig", "E2E_TAG": "abc"}])
def test_without_a_node_the_remedy_is_named(environment: dict[str, str]) -> None:
    with pytest.raises(NodeIsDown, match="make install"):
        node_stage(environment)

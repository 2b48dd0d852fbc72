"""The one-node cluster of `make node-up` as a stage: which processes its daemons are, so that it is known what a Run costs them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.stages import Stage

IMAGES = "kruntimes-{image}:"


class NodeIsDown(RuntimeError):
    """Nothing to measure."""


def node_stage(environment: Mapping[str, str]) -> Stage:
    """By what tests/node/access.sh prints. Raises NodeIsDown."""
    kubeconfig, tag = environment.get("KUBECONFIG", ""), environment.get("E2E_TAG", "")
    processes = running_daemons(Path(kubeconfig).parent / "run") if kubeconfig else {}
    if not processes or not tag:
        raise NodeIsDown("there is no node with kruntimes on it: make install, then make bench-node")
    return Stage("node", Path(kubeconfig), processes, image_template=IMAGES + tag)


def running_daemons(folder: Path) -> dict[str, int]:
    """By name, from the files that tests/node/daemons.sh leaves."""
    pids = {path.stem: int(path.read_text()) for path in sorted(folder.glob("*.pid"))}
    return {name: pid for name, pid in pids.items() if Path(f"/proc/{pid}").exists()}

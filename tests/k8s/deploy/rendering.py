"""What kubectl and helm make of k8s/deploy, as objects."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.fixtures import need_binaries

Json = dict[str, Any]
DEPLOY = Path(__file__).parents[3] / "k8s" / "deploy"
NAMESPACE = "kruntimes-system"


def kustomized(folder: str) -> list[Json]:
    return _render([str(need_binaries() / "kubectl"), "kustomize", str(DEPLOY / folder)])


def charted(chart: str, *flags: str, release: str = "kruntimes", namespace: str = NAMESPACE) -> list[Json]:
    helm = str(need_binaries("--helm") / "helm")
    return _render([helm, "template", release, str(DEPLOY / "charts" / chart), f"--namespace={namespace}", "--kube-version=1.36", *flags])


def by_kind(objects: list[Json], kind: str) -> dict[str, Json]:
    return {made["metadata"]["name"]: made for made in objects if made["kind"] == kind}


def _render(command: list[str]) -> list[Json]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]

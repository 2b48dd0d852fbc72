"""A cluster under test, through the kubectl that a person would use: any cluster with kruntimes on it, named by KUBECONFIG.

Everything that a test makes lies in one namespace. Waiting is `kubectl wait`, which watches.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from k8s.api.phases import TERMINAL_PHASES
from tests.cluster.binaries import BinariesMissing, binaries_folder

SYSTEM = "kruntimes-system"
WAIT_SECONDS = 60
REPO = Path(__file__).parents[2]
VERSION = "0.1.0"

Json = dict[str, Any]


class Cluster:
    """One namespace of it; others by `namespace=`."""

    def __init__(self, *, namespace: str, tag: str, registry: str) -> None:
        self.namespace = namespace
        self._tag = tag
        self._registry = registry
        self._kubectl = _find_kubectl()

    def image(self, component: str) -> str:
        """As the platform's own images are named here."""
        return f"{self._registry}kruntimes-{component}:{self._tag}"

    # ---- kubectl

    def try_kubectl(self, *arguments: str, stdin: str = "", namespace: str = "") -> subprocess.CompletedProcess[str]:
        command = [self._kubectl, f"--namespace={namespace or self.namespace}", *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=4 * WAIT_SECONDS, check=False)

    def kubectl(self, *arguments: str, stdin: str = "", namespace: str = "") -> str:
        done = self.try_kubectl(*arguments, stdin=stdin, namespace=namespace)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def get(self, *arguments: str, namespace: str = "") -> Any:
        return json.loads(self.kubectl("get", *arguments, "--output=json", namespace=namespace))

    def apply(self, *manifests: Json) -> None:
        self.kubectl("apply", "--server-side", "--filename=-", stdin=yaml.safe_dump_all(manifests))

    def wait(self, condition: str, *what: str, seconds: int = WAIT_SECONDS, namespace: str = "") -> None:
        self.kubectl("wait", f"--for={condition}", f"--timeout={seconds}s", *what, namespace=namespace)

    def execute(self, pod: str, container: str, *command: str) -> subprocess.CompletedProcess[str]:
        return self.try_kubectl("exec", pod, f"--container={container}", "--", *command)

    def krt(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "controlplane.cli", *arguments, f"--namespace={self.namespace}"]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False)

    # ---- Runs

    def create_run(self, script: str, *, runtime: str = "bash", args: tuple[str, ...] = (), **spec: Any) -> str:
        """Its name."""
        run: Json = {
            "apiVersion": "kruntimes.io/v1alpha1",
            "kind": "Run",
            "metadata": {"name": f"e2e-{secrets.token_hex(4)}"},
            "spec": {"runtime": runtime, "mode": {"task": {"args": list(args)}}, "source": {"inline": script}, **spec},
        }
        self.kubectl("create", "--filename=-", stdin=json.dumps(run))
        name: str = run["metadata"]["name"]
        return name

    def status(self, run: str) -> Json:
        status: Json = self.get("run", run).get("status") or {}
        return status

    def wait_for_phase(self, run: str, phase: str, *, seconds: int = WAIT_SECONDS) -> Json:
        done = self.try_kubectl("wait", f"--for=jsonpath={{.status.phase}}={phase}", f"--timeout={seconds}s", f"run/{run}")
        status = self.status(run)
        # A Run that runs may have ended before anybody looked.
        is_past = phase not in TERMINAL_PHASES and status.get("phase") in TERMINAL_PHASES
        is_seen = done.returncode == 0 and not is_past
        assert is_seen, f"{run} did not become {phase}: {json.dumps(status, indent=1)}"
        return status

    def reason(self, run: str) -> str:
        """Why it ended."""
        reasons = [condition["reason"] for condition in self.status(run)["conditions"] if condition["type"] == "Completed"]
        return str(reasons[0])

    # ---- Runtimes

    def apply_runtime(self, name: str, **spec: Any) -> None:
        """One of the two built-in Runtimes as it is installed, under `name`, with `spec` on top; returns when it is Ready."""
        kind = spec.pop("kind", name)
        runtime = yaml.safe_load((REPO / f"k8s/deploy/runtimes/{kind}.yaml").read_text())
        runtime["metadata"]["name"] = name
        runtime["spec"] |= spec
        container = runtime["spec"]["template"]["spec"]["containers"][0]
        container["image"] = self.image(f"{kind}-runtime")
        container["resources"]["requests"] = {"cpu": "10m", "memory": "64Mi"}  # a node of two cores holds all tests
        self.apply(runtime)
        self.wait_until_rolled_out(name)

    def wait_until_rolled_out(self, runtime: str) -> None:
        """As the Runtime itself tells."""
        self.wait("condition=Ready", f"runtime/{runtime}", seconds=2 * WAIT_SECONDS)
        self.kubectl("rollout", "status", f"deployment/runtime-{runtime}", f"--timeout={2 * WAIT_SECONDS}s")

    def report(self) -> str:
        """For whoever reads of a failure: the Pods, and what the kubelet and our components said of them last."""
        asked = (("get", "runs,runtimes,pods", "--output=wide"), ("get", "events", "--sort-by=.lastTimestamp"))
        return "\n".join("\n".join(self.try_kubectl(*arguments).stdout.splitlines()[-25:]) for arguments in asked)

    def pods(self, runtime: str) -> list[Json]:
        """Those that are not on their way out."""
        items: list[Json] = self.get("pods", f"--selector=runtime={runtime}")["items"]
        return [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]


def connect(*, namespace: str) -> Cluster:
    """The cluster of KUBECONFIG, with the images of E2E_TAG from E2E_REGISTRY."""
    registry = os.environ.get("E2E_REGISTRY", "")
    return Cluster(namespace=namespace, tag=os.environ.get("E2E_TAG") or VERSION, registry=registry)


def _find_kubectl() -> str:
    try:
        return str(binaries_folder() / "kubectl")
    except BinariesMissing:
        return shutil.which("kubectl") or "kubectl"

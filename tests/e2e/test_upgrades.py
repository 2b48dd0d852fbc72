"""The platform is replaced under Runs, and taken away, by Helm. Skipped where Helm did not install it.

Names sort this module last: its last test takes the platform away for a moment.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.binaries import BinariesMissing, binaries_folder
from tests.e2e.cluster import REPO, SYSTEM, Cluster
from tests.e2e.load import THIRTY_A_SECOND, again_and_again, assert_each_runs_once_during, wide_runtime
from tests.e2e.recorder import Recorder

pytestmark = [pytest.mark.node, pytest.mark.slow, pytest.mark.timeout(400)]

RELEASE = "kruntimes"
CHART = str(REPO / "k8s/deploy/charts/kruntimes")


def helm(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    try:
        program = str(binaries_folder("--helm") / "helm")
    except BinariesMissing:
        program = shutil.which("helm") or pytest.skip("there is no helm (make helm)")
    command = [program, *arguments, f"--namespace={SYSTEM}"]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=180, check=False)


def helm_does(*arguments: str, stdin: str = "") -> str:
    done = helm(*arguments, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def release() -> str:
    if helm("status", RELEASE).returncode != 0:
        pytest.skip("the platform was not installed by Helm")
    return RELEASE


def runtimed_image(cluster: Cluster, runtime: str) -> str:
    containers = cluster.get("deployment", f"runtime-{runtime}")["spec"]["template"]["spec"]["containers"]
    return str(next(container["image"] for container in containers if container["name"] == "runtimed"))


def wait_for_runtimed(cluster: Cluster, runtime: str, *, image: str) -> None:
    """The controllers roll the Runtimes when the image that they give them is another one."""
    path = "{.spec.template.spec.containers[?(@.name=='runtimed')].image}"
    cluster.wait(f"jsonpath={path}={image}", f"deployment/runtime-{runtime}", seconds=90)
    cluster.wait_until_rolled_out(runtime)


def test_an_upgrade_of_the_whole_platform_and_back(cluster: Cluster, recorder: Recorder, release: str) -> None:
    there_and_back = upgrade_and_rollback(cluster, release, runtime="bash")
    assert_each_runs_once_during(there_and_back, recorder, namespace=cluster.namespace)


@pytest.mark.long
def test_two_minutes_of_upgrades_and_rollbacks_at_thirty_runs_a_second(cluster: Cluster, recorder: Recorder, release: str) -> None:
    with wide_runtime(cluster) as runtime:
        there_and_back = again_and_again(upgrade_and_rollback(cluster, release, runtime=runtime), seconds=120)
        count = assert_each_runs_once_during(there_and_back, recorder, namespace=cluster.namespace, runtime=runtime, **THIRTY_A_SECOND)
    assert count >= 3600


def upgrade_and_rollback(cluster: Cluster, release: str, *, runtime: str) -> Callable[[], None]:
    """To other images where E2E_OTHER_TAG names some, else to the same in new Pods. Over when the Pods of `runtime` have followed twice."""
    before = runtimed_image(cluster, runtime)
    other = os.environ.get("E2E_OTHER_TAG", "")
    after = f"{before.rpartition(':')[0]}:{other}" if other else before
    flags = [f"--set={component}.podAnnotations.e2e=upgraded" for component in ("scheduler", "controller")]
    if other:
        prefix = before.rpartition("kruntimes-")[0]
        flags += [f"--set={component}.image={prefix}kruntimes-{component}:{other}" for component in ("scheduler", "controller", "runtimed")]

    def upgrade_and_roll_back() -> None:
        helm_does("upgrade", release, CHART, "--reuse-values", "--wait", "--timeout=2m", *flags)
        wait_for_runtimed(cluster, runtime, image=after)
        helm_does("rollback", release, "--wait", "--timeout=2m")
        wait_for_runtimed(cluster, runtime, image=before)

    return upgrade_and_roll_back


def test_an_uninstall_keeps_runs_and_their_kinds(cluster: Cluster, release: str, tmp_path: Path) -> None:
    run = cluster.create_run("exit 0")
    uid = cluster.wait_for_phase(run, "Succeeded") and cluster.get("run", run)["metadata"]["uid"]
    values = tmp_path / "values.json"
    values.write_text(json.dumps(json.loads(helm_does("get", "values", release, "--output=json")) or {}))
    helm_does("uninstall", release, "--wait", "--timeout=2m")
    try:
        assert cluster.get("run", run)["metadata"]["uid"] == uid
        assert cluster.get("deployments", namespace=SYSTEM)["items"] == []
    finally:
        helm_does("install", release, CHART, f"--values={values}", "--wait", "--timeout=2m")
    cluster.wait_for_phase(cluster.create_run("exit 0"), "Succeeded")

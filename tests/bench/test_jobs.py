"""Plain Jobs: what their conditions mean, and the load on a real API server where this test plays the Job controller."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bench.jobs import end_of, job_load, job_manifest, start_of
from bench.scenarios import Serial
from bench.stages import Stage, connected
from bench.subjects import BASH_JOB, JOBS, PYTHON_JOB, Subject
from k8s.api.timestamps import format_timestamp
from k8s.client import ApiClient, Changed, list_and_watch, merge_patch
from tests.cluster.fixtures import real_server  # noqa: F401
from tests.cluster.real import RealApiServer

NAMESPACE = "default"


def job(*conditions: tuple[str, str]) -> dict[str, Any]:
    return {"status": {"conditions": [{"type": kind, "status": status} for kind, status in conditions]}}


@pytest.mark.parametrize(
    ("given", "end"),
    [
        ({}, ""),
        ({"status": {}}, ""),
        (job(("SuccessCriteriaMet", "True")), ""),
        (job(("SuccessCriteriaMet", "True"), ("Complete", "True")), "Succeeded"),
        (job(("Complete", "False")), ""),
        (job(("FailureTarget", "True"), ("Failed", "True")), "Failed"),
    ],
)
def test_a_job_has_ended_by_its_condition(given: dict[str, Any], end: str) -> None:
    assert end_of(given) == end


def test_a_job_is_one_container_that_is_not_tried_again() -> None:
    spec = job_manifest("one", BASH_JOB, image="example", load_id="abc")["spec"]
    assert (spec["backoffLimit"], spec["template"]["spec"]["restartPolicy"]) == (0, "Never")
    assert [container["image"] for container in spec["template"]["spec"]["containers"]] == ["example"]


@pytest.mark.parametrize("subject", [BASH_JOB, PYTHON_JOB])
def test_the_program_of_a_job_tells_its_start_as_that_of_a_run_does(subject: Subject, tmp_path: Path) -> None:
    (container,) = job_manifest("one", subject, image="example", load_id="abc")["spec"]["template"]["spec"]["containers"]
    outputs = tmp_path / "outputs"
    before = time.time()
    subprocess.run(container["command"], env=os.environ | {"KRUNTIME_OUTPUTS": str(outputs)}, check=True)
    told = start_of(terminated(outputs.read_text()))
    assert told is not None
    assert before <= told <= time.time()


def terminated(message: str) -> dict[str, Any]:
    """A Pod whose container left that message."""
    return {"status": {"containerStatuses": [{"state": {"terminated": {"message": message}}}]}}


@pytest.mark.parametrize("pod", [{}, {"status": {"containerStatuses": [{"state": {"running": {}}}]}}, terminated("no start")])
def test_a_pod_that_has_not_told_has_no_start(pod: dict[str, Any]) -> None:
    assert start_of(pod) is None


@pytest.mark.slow
@pytest.mark.kube
async def test_jobs_are_measured_from_create_to_complete(real_server: RealApiServer) -> None:  # noqa: F811
    async with connected(Stage("kube", real_server.kubeconfig)) as client:
        controller = asyncio.create_task(complete_jobs(client))
        async with job_load(client, BASH_JOB, image="example", namespace=NAMESPACE) as load:
            samples = await Serial(2).run(load)
        left = await client.list(JOBS, namespace=NAMESPACE)
        controller.cancel()
        await asyncio.gather(controller, return_exceptions=True)
    assert [sample.phase for sample in samples] == ["Succeeded", "Succeeded"]
    assert all(0 < sample.created_ms < sample.terminal_ms and sample.started_ms is None for sample in samples)
    assert left.items == []


async def complete_jobs(client: ApiClient) -> None:
    """What kube-controller-manager would do, without Pods."""
    async for notice in list_and_watch(client, JOBS, namespace=NAMESPACE):
        if isinstance(notice, Changed) and not notice.object["status"]:
            now = format_timestamp(datetime.now(UTC))
            about = {"status": "True", "lastTransitionTime": now, "lastProbeTime": now}
            conditions = [{"type": kind, **about} for kind in ("SuccessCriteriaMet", "Complete")]
            status = {"conditions": conditions, "startTime": now, "completionTime": now, "succeeded": 1, "uncountedTerminatedPods": {}}
            name = notice.object["metadata"]["name"]
            await client.patch(JOBS, name, merge_patch({"status": status}), namespace=NAMESPACE, subresource="status")

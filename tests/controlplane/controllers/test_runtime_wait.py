"""`kubectl wait` on a Runtime, as people type it: it returns when the Pods of the present spec are ready, and not for the past's."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from k8s.client import RUNTIMES, merge_patch
from tests.cluster.fixtures import need_binaries
from tests.cluster.kubectl import Kubectl
from tests.cluster.server import ApiServer
from tests.controlplane.controllers.runtimes import condition, play_deployment_controller, reconciling
from tests.controlplane.plane import World, controllers

pytestmark = [pytest.mark.slow, pytest.mark.kube]
"""Also on the embedded server it takes a kubectl."""


async def test_kubectl_waits_for_a_runtime(server: ApiServer, world: World, tmp_path: Path) -> None:
    need_binaries()
    kubectl = Kubectl(server, folder=tmp_path)
    world.namespace = kubectl.namespace
    with controllers(server):
        await world.create_runtime("bash")
        await reconciling(world, "bash")
        waiting = kubectl.start("wait", "--for=condition=Ready", "runtime/bash", "--timeout=20s")
        await play_deployment_controller(world, "runtime-bash", ready=1)
        output, _ = await asyncio.to_thread(waiting.communicate)
        assert (waiting.returncode, output.strip()) == (0, "runtime.kruntimes.io/bash condition met")
    # Nobody has seen this change yet: Ready is still True, and of the spec before.
    await world.client.patch(RUNTIMES, "bash", merge_patch({"spec": {"replicas": 2}}), namespace=world.namespace)
    stale = await world.object_that(RUNTIMES, "bash", lambda runtime: condition(runtime, "Ready") == "True")
    assert stale.status.observed_generation == 1
    refused = await asyncio.to_thread(kubectl.fails, "wait", "--for=condition=Ready", "runtime/bash", "--timeout=1s")
    assert "timed out" in refused


async def test_kubectl_waits_for_what_is_wrong_with_a_runtime(server: ApiServer, world: World, tmp_path: Path) -> None:
    need_binaries()
    kubectl = Kubectl(server, folder=tmp_path)
    world.namespace = kubectl.namespace
    with controllers(server):
        await world.create_runtime("bash", port=9094)
        await asyncio.to_thread(kubectl.ok, "wait", "--for=condition=Stalled", "runtime/bash", "--timeout=20s")
        path = "{.status.conditions[?(@.type=='Stalled')].message}"
        told = await asyncio.to_thread(kubectl.ok, "get", "runtime", "bash", "-o", f"jsonpath={path}")
        assert told == "spec.port: 9094 is a port of runtimed's in the same Pod; choose another"

"""Runs from repositories, through real processes: API server, runtimed, Bash server, and a forge on loopback."""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from k8s.client import SECRETS
from tests.cluster.server import ApiServer
from tests.runtimed.git_server import PASSWORD, USER, GitServer, git_server
from tests.runtimed.rig import NAMESPACE, Cluster, Rig

pytestmark = pytest.mark.slow
SECRET = f"git-{uuid.uuid4().hex[:6]}"


@pytest.fixture(scope="module")
def server() -> Iterator[GitServer]:
    with git_server() as server:
        script = 'echo "seen=$1 $(cat data.txt) $PWD" >> $KRUNTIME_OUTPUTS; [ ! -e outputs ]'
        server.repository("app", {"bin/job.sh": script, "data.txt": "old"}, {"data.txt": "new"})
        yield server


@pytest.fixture(scope="module")
def git_rig(server: GitServer, embedded_api: ApiServer) -> Iterator[Rig]:
    with Rig(embedded_api) as rig:
        rig.environment |= server.environment
        rig.runtimed_flags = (f"--git-credentials-secret={SECRET}",)
        rig.start_server()
        yield rig


@pytest.fixture
async def cluster(git_rig: Rig, server: GitServer) -> AsyncIterator[Cluster]:
    cluster = await Cluster.open(git_rig)
    async with cluster.client:
        if git_rig.runtimed is None:
            await cluster.create_pod()
            line = base64.b64encode(f"https://{USER}:{PASSWORD}@{server.host}\n".encode()).decode()
            secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "data": {".git-credentials": line}}
            await cluster.client.create(SECRETS, secret, namespace=NAMESPACE)
            git_rig.start_runtimed()
        yield cluster


@pytest.mark.parametrize(("where", "ref", "data"), [("public", None, "new"), ("private", "HEAD~1", "old")])
async def test_a_run_executes_the_entrypoint_of_its_repository(
    cluster: Cluster, git_rig: Rig, server: GitServer, where: str, ref: str | None, data: str
) -> None:
    source = {"repoURL": server.url("app", where=where), **({"commitSHA": ref} if ref else {})}
    run = await cluster.create("git", source=source, mode={"task": {"entrypoint": "./bin/job.sh", "args": ["you"]}})
    run = await cluster.wait(await cluster.bind(run))
    assert (run.phase, run.status.message) == ("Succeeded", "execution completed")
    assert run.status.outputs == {"seen": f"you {data} {git_rig.workspace}/{run.uid}/repo"}
    await cluster.wait_until(lambda: not git_rig.left_of(run))
    assert PASSWORD not in git_rig.log_text()


async def test_a_retry_in_place_uses_the_checkout_that_is_there(cluster: Cluster, server: GitServer) -> None:
    server.repository("tries", {"script": 'echo x >> tries; echo "n=$(wc -l < tries)" > $KRUNTIME_OUTPUTS; [ $(wc -l < tries) = 2 ]'})
    source = {"repoURL": server.url("tries")}
    run = await cluster.create("git", source=source, retryPolicy={"maxAttempts": 2, "backoff": "50ms"})
    run = await cluster.wait(await cluster.bind(run))
    assert (run.phase, run.status.attempt, run.status.outputs) == ("Succeeded", 2, {"n": "2"})
    assert sum(path.startswith("/public/tries/info/refs") for path in server.requests) == 1


async def test_a_clone_that_hangs_delays_no_other_run_and_ends_with_a_cancel(cluster: Cluster, git_rig: Rig, server: GitServer) -> None:
    server.is_asked_slowly.clear()
    slow = await cluster.bind(await cluster.create("slow", source={"repoURL": server.url("app", where="slow")}))
    await cluster.wait_until(server.is_asked_slowly.is_set)
    began = time.monotonic()
    assert (await cluster.wait(await cluster.script("true"))).phase == "Succeeded"
    assert time.monotonic() - began < 5
    assert (await cluster.get(slow)).phase == "Scheduled"
    await cluster.cancel(slow)
    slow = await cluster.wait(slow)
    assert (slow.phase, slow.status.message) == ("Cancelled", "cancelled by user")
    await cluster.wait_until(lambda: not git_rig.left_of(slow))


async def test_a_restart_during_a_clone_fetches_again(cluster: Cluster, git_rig: Rig, server: GitServer) -> None:
    server.is_asked_slowly.clear()
    run = await cluster.bind(await cluster.create("again", source={"repoURL": server.url("app", where="slow")}))
    await cluster.wait_until(server.is_asked_slowly.is_set)
    git_rig.kill_runtimed()
    server.is_asked_slowly.clear()
    git_rig.start_runtimed()
    await cluster.wait_until(server.is_asked_slowly.is_set)
    await cluster.cancel(run)
    assert (await cluster.wait(run)).phase == "Cancelled"


async def test_what_cannot_be_fetched_fails_with_the_step_and_what_git_said(cluster: Cluster, server: GitServer) -> None:
    run = await cluster.wait(await cluster.bind(await cluster.create("none", source={"repoURL": server.url("nowhere")})))
    assert run.phase == "Failed"
    assert run.status.message.startswith("prepare source: git clone: fatal: repository")

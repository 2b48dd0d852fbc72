"""The server as a process: what it keeps over a restart and a kill, how it ends, and who may read its files."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
import yaml

from tests.cluster.embedded import EmbeddedApiServer
from tests.contract.http import CONFIG_MAPS, DEADLINE_SECONDS, RUNS, Api
from tests.contract.objects import config_map, run

REPO = Path(__file__).parents[4]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[EmbeddedApiServer]:
    """A server for one test, which may end it."""
    with EmbeddedApiServer(folder=tmp_path / "data") as server:
        yield server


@pytest.mark.slow
@pytest.mark.parametrize("kill", [False, True], ids=["sigterm", "kill-9"])
async def test_a_restart_loses_nothing_and_versions_only_grow(own: EmbeddedApiServer, kill: bool) -> None:
    async with aiohttp.ClientSession() as session:
        api = Api(session, access=own.admin)
        for number in range(20):
            await api.create(RUNS, run(f"run-{number}"))
        await api.patch(RUNS, "run-0", {"status": {"phase": "Running"}}, subresource="status")
        before = (await api.get(RUNS)).ok()

    own.restart(kill=kill)

    async with aiohttp.ClientSession() as session:
        api = Api(session, access=own.admin)
        after = (await api.get(RUNS)).ok()
        assert after["items"] == before["items"]
        async with api.watch(RUNS, resourceVersion=before["metadata"]["resourceVersion"]) as watch:
            created = await api.create(RUNS, run("later"))
            assert (await watch.next())[1] == created
        assert int(created["metadata"]["resourceVersion"]) > int(before["metadata"]["resourceVersion"])


@pytest.mark.slow
async def test_every_answered_write_survives_a_kill_in_the_middle(own: EmbeddedApiServer) -> None:
    answered: list[str] = []

    async def write(api: Api, *, worker: int) -> None:
        for number in range(10_000):
            name = f"c-{worker}-{number}"
            await api.create(CONFIG_MAPS, config_map(name))
            answered.append(name)

    async with aiohttp.ClientSession() as session:
        api = Api(session, access=own.admin)
        writers = [asyncio.create_task(write(api, worker=worker)) for worker in range(8)]
        while len(answered) < 100:
            await asyncio.wait(writers, timeout=0.001, return_when=asyncio.FIRST_COMPLETED)
        own.restart(kill=True)
        results = await asyncio.gather(*writers, return_exceptions=True)
    assert all(isinstance(result, aiohttp.ClientError) for result in results)

    async with aiohttp.ClientSession() as session:
        kept = set(await Api(session, access=own.admin).names(CONFIG_MAPS))
    assert set(answered) <= kept
    # At most the one write of each writer that was under way has come in without its answer.
    assert len(kept - set(answered)) <= len(writers)


@pytest.mark.slow
async def test_it_ends_within_a_second_with_open_watches(own: EmbeddedApiServer) -> None:
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession() as session:
        api = Api(session, access=own.admin)
        async with api.watch(RUNS) as one, api.watch(CONFIG_MAPS):
            (pid,) = own.processes.values()
            began = loop.time()
            os.kill(pid, 15)
            await one.ends()
            async with asyncio.timeout(DEADLINE_SECONDS):
                descriptor = os.pidfd_open(pid)
                ended = asyncio.Event()
                loop.add_reader(descriptor, ended.set)
                await ended.wait()
            took = loop.time() - began
            loop.remove_reader(descriptor)
            os.close(descriptor)

    assert took < 1.0


@pytest.mark.slow
def test_its_files_are_private(own: EmbeddedApiServer) -> None:
    def mode(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    assert mode(own.folder) == 0o700
    assert {path.name: mode(path) for path in own.folder.iterdir() if path.name in ("kubeconfig", "token", "store.db")} == {
        "kubeconfig": 0o600,
        "token": 0o600,
        "store.db": 0o600,
    }


@pytest.mark.slow
async def test_without_the_token_there_is_no_answer(own: EmbeddedApiServer) -> None:
    kubeconfig = yaml.safe_load(own.kubeconfig.read_text())
    url, token = kubeconfig["clusters"][0]["cluster"]["server"], kubeconfig["users"][0]["user"]["token"]

    async def status(headers: dict[str, str]) -> int:
        async with aiohttp.ClientSession() as session, session.get(url + "/api/v1/namespaces", headers=headers) as response:
            return response.status

    assert [await status({}), await status({"Authorization": "Bearer wrong"}), await status({"Authorization": f"Bearer {token}"})] == [
        401,
        401,
        200,
    ]
    own.restart()
    assert yaml.safe_load(own.kubeconfig.read_text()) == kubeconfig


def start(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "controlplane.local.apiserver", *arguments]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(REPO), str(REPO / "proto")])}
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=30, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "mentions"),
    [
        (("--listen", "0.0.0.0:0"), "loopback only"),
        (("--listen", "192.0.2.1:8080"), "use 127.0.0.1:8080"),
        (("--listen", "example.com:1"), "not an IP address"),
        (("--listen", "8080"), "127.0.0.1:PORT"),
    ],
)
def test_a_wrong_address_is_refused_with_the_remedy(tmp_path: Path, arguments: tuple[str, ...], mentions: str) -> None:
    ended = start("--data-dir", str(tmp_path), *arguments)

    assert ended.returncode == 2
    assert mentions in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


@pytest.mark.slow
def test_a_broken_crd_is_named_with_its_problem(tmp_path: Path) -> None:
    folder = tmp_path / "crds"
    folder.mkdir()
    (folder / "thing.yaml").write_text(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: x}\nspec: {}\n"
    )

    ended = start("--data-dir", str(tmp_path / "data"), "--crds", str(folder))

    assert ended.returncode == 2
    assert "thing.yaml" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
def test_a_second_server_on_the_same_folder_is_refused(own: EmbeddedApiServer) -> None:
    ended = start("--data-dir", str(own.folder))

    assert ended.returncode == 2
    assert "already" in ended.stderr

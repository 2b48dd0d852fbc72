"""Every check can fail: each finds the server that is broken in its way."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from controlplane.cli.conformance.catalogue import load_catalogue
from controlplane.cli.conformance.judgement import Outcome, Verdict
from controlplane.cli.conformance.programs import texts_of
from controlplane.cli.conformance.running import run_check
from controlplane.cli.conformance.subject import Subject, Workspace
from tests.cluster.processes import Child
from tests.controlplane.cli.conformance.mutants import MUTANTS
from tests.controlplane.cli.conformance.stream_mutants import STREAM_MUTANTS, UNCHANGED

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[4]
CHECKS = {check.name: check for check in load_catalogue()}
WHAT = {mutant.check: mutant.what for mutant in MUTANTS} | {mutant.check: mutant.what for mutant in STREAM_MUTANTS}
AT_ONCE = 4
"""Broken servers mostly let one wait."""


@contextmanager
def serving_mutants(folder: Path) -> Iterator[Mapping[str, int]]:
    """Their ports, by their checks."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "proto")])}
    command = [sys.executable, "-m", "tests.controlplane.cli.conformance.serve_mutants", str(folder)]
    servers = Child(command, log=folder / "log", env=environment, capture_stdout=True)
    try:
        line = servers.first_line()
        assert line, servers.log_tail()
        yield json.loads(line)
    finally:
        servers.stop(kill=True)


async def verdict_of(address: str, check: str, folder: Path) -> Verdict:
    options = [("grpc.max_receive_message_length", 16 << 20), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        subject = Subject(channel, Workspace(folder, str(folder)), texts_of("sh", own={}), parallel=3, patience_seconds=2.0)
        return await run_check(subject, CHECKS[check])


async def ask_all(ports: Mapping[str, int], folder: Path) -> dict[str, Verdict]:
    turns = asyncio.Semaphore(AT_ONCE)

    async def ask(check: str) -> Verdict:
        async with turns:
            return await verdict_of(f"127.0.0.1:{ports[check]}", check, folder)

    return dict(zip(CHECKS, await asyncio.gather(*map(ask, CHECKS)), strict=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mutants")


@pytest.fixture(scope="module")
def ports(folder: Path) -> Iterator[Mapping[str, int]]:
    with serving_mutants(folder) as ports:
        yield ports


@pytest.fixture(scope="module")
def verdicts(ports: Mapping[str, int], folder: Path) -> dict[str, Verdict]:
    """What each check says of its mutant."""
    return asyncio.run(ask_all(ports, folder))


@pytest.mark.parametrize(("check", "what"), WHAT.items())
def test_a_broken_server_is_found_by_its_check(verdicts: dict[str, Verdict], check: str, what: str) -> None:
    assert verdicts[check].outcome is (Outcome.ADVICE if CHECKS[check].is_advice else Outcome.FAILED), what
    assert verdicts[check].broken


async def test_the_stream_that_the_mutants_change_is_not_broken_otherwise(ports: Mapping[str, int], folder: Path) -> None:
    """Else they would be found whatever was changed. (The example without changes is krt conformance's own test.)"""
    address = f"127.0.0.1:{ports[UNCHANGED.check]}"
    outcomes = {name: (await verdict_of(address, name, folder)).outcome for name, check in CHECKS.items() if check.is_of_stream}
    assert set(outcomes.values()) == {Outcome.OK}, outcomes


def test_every_check_has_a_mutant() -> None:
    assert sorted(CHECKS) == sorted(WHAT)

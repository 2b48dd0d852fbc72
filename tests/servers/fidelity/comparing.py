"""One script, run by a child that was held ready and by a fresh process: all that can be observed of both, to be found equal."""

from __future__ import annotations

import contextlib
import difflib
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.processes import ServerProcess
from tests.servers.sessions import Session, new_uid, open_session

_TRIES = 10
"""For the warm one: after a Run the next child may not be ready yet."""


@dataclass(frozen=True, slots=True)
class Observed:
    stdout: bytes
    stderr: bytes
    reason: int
    exit_code: int
    signal: int
    error_message: str
    files: dict[str, bytes] = field(default_factory=dict)
    """What it left in its working directory."""


@dataclass(frozen=True, slots=True)
class Case:
    """`files` lie in the working directory, one of them maybe `script`."""

    files: Mapping[str, str | bytes] = field(default_factory=dict)
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    entrypoint: str = ""
    handler: str = ""


def scripts_in(name: str) -> dict[str, str | bytes]:
    """By name, from a file beside this one: a line `=== NAME`, then the script."""
    text = Path(__file__).with_name(name).read_text()
    parts = text.removeprefix("=== ").split("\n=== ")
    return {title: script for title, _, script in (part.partition("\n") for part in parts)}


def assert_equal(warm: Observed, cold: Observed) -> None:
    differences = [
        f"{name}: {line}"
        for name in ("stdout", "stderr")
        for line in difflib.unified_diff(_lines(getattr(warm, name)), _lines(getattr(cold, name)), "warm", "cold", lineterm="", n=0)
    ]
    assert not differences, "\n".join(differences)
    assert warm == cold


def _without_addresses(data: bytes) -> bytes:
    """Where in memory an object lies differs between two fresh processes too."""
    return re.sub(rb"\b0x[0-9a-f]{6,}", b"0x...", data)


def _lines(data: bytes) -> list[str]:
    return data.decode(errors="backslashreplace").splitlines()


class Comparison:
    def __init__(self, *, warm: ServerProcess, cold: ServerProcess, folder: Path) -> None:
        self._warm = warm
        self._cold = cold
        self._folder = folder

    async def assert_equal(self, case: Case) -> None:
        """Also fails if the one was not warm, or the other was."""
        assert_equal(await self.warm(case), await self.cold(case))

    async def assert_fresh(self, case: Case) -> None:
        """For what only a fresh process can run as asked, on the warm server too. Fails if a held child was given it."""
        async with open_session(self._warm.port) as session:
            run_uid, observed = await self._run(session, case)
            assert not self._warm.was_warm(run_uid)
        assert_equal(observed, await self.cold(case))

    async def warm(self, case: Case) -> Observed:
        async with open_session(self._warm.port) as session:
            for _ in range(_TRIES):
                run_uid, observed = await self._run(session, case)
                if self._warm.was_warm(run_uid):
                    return observed
        raise AssertionError("it never ran in a child that was held ready")

    async def cold(self, case: Case) -> Observed:
        async with open_session(self._cold.port) as session:
            run_uid, observed = await self._run(session, case)
            assert not self._cold.was_warm(run_uid)
            return observed

    async def _run(self, session: Session, case: Case) -> tuple[str, Observed]:
        """In the same place each time, so that what names it can be compared."""
        folder = self._folder / "w"
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(folder)
        for name, content in case.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        run_uid = new_uid()
        fields = {"env": dict(case.env), "entrypoint": case.entrypoint, "handler": case.handler, "working_dir": str(folder)}
        heard = await session.run(*case.args, run_uid=run_uid, **fields)
        outcome = heard.outcome
        left = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name not in case.files}
        return run_uid, Observed(
            _without_addresses(heard.stdout),
            _without_addresses(heard.stderr),
            outcome.reason,
            outcome.exit_code,
            outcome.signal,
            outcome.error_message,
            files=left,
        )

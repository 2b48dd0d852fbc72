"""krt as a process of its own, against an API server in the test's event loop."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from controlplane.cli.app import run_krt
from tests.controlplane.cli.fake_apiserver import FakeApiServer, serve_fake, write_kubeconfig

ROOT = Path(__file__).resolve().parents[3]
DEADLINE_SECONDS = 20.0


@dataclass
class Krt:
    """One started krt."""

    process: asyncio.subprocess.Process
    stdout: str = ""
    stderr: str = ""

    async def end(self) -> int:
        """Its exit code, once it has ended; then its output is complete."""
        out, err = await asyncio.wait_for(self.process.communicate(), DEADLINE_SECONDS)
        self.stdout += out.decode()
        self.stderr += err.decode()
        assert self.process.returncode is not None
        assert "Traceback" not in self.stderr, self.stderr
        return self.process.returncode

    async def stdout_line(self) -> str:
        assert self.process.stdout is not None
        line = (await asyncio.wait_for(self.process.stdout.readline(), DEADLINE_SECONDS)).decode()
        self.stdout += line
        return line.rstrip("\n")

    async def stderr_line(self) -> str:
        assert self.process.stderr is not None
        line = (await asyncio.wait_for(self.process.stderr.readline(), DEADLINE_SECONDS)).decode()
        self.stderr += line
        return line.rstrip("\n")

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)


@dataclass
class KrtStarter:
    """Starts krts, and ends those that a failed test leaves."""

    environment: dict[str, str]
    folder: Path
    started: list[asyncio.subprocess.Process] = field(default_factory=list)

    async def start(self, *arguments: str, stdin: bytes | None = None, **environment: str) -> Krt:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "controlplane.cli", *arguments,
            stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env=self.environment | environment, cwd=self.folder,
        )  # fmt: skip
        self.started.append(process)
        if stdin is not None:
            assert process.stdin is not None
            process.stdin.write(stdin)
            process.stdin.close()
        return Krt(process)

    async def start_shell(self, arguments: str) -> Krt:
        """krt at the head of a bash command line."""
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", f"{sys.executable} -m controlplane.cli {arguments}",
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env=self.environment, cwd=self.folder, start_new_session=True,
        )  # fmt: skip
        self.started.append(process)
        return Krt(process)

    async def __call__(self, *arguments: str, stdin: bytes | None = None, **environment: str) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        krt = await self.start(*arguments, stdin=stdin, **environment)
        return await krt.end(), krt.stdout, krt.stderr

    async def end_all(self) -> None:
        for process in self.started:
            if process.returncode is None:
                process.kill()
                await process.wait()


def environment_for(kubeconfig: Path | None) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    return kept | {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}",
        "TZ": "UTC",
        "KUBECONFIG": str(kubeconfig or "/nonexistent"),
        "HOME": "/nonexistent",
    }


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    async with serve_fake() as fake:
        yield fake


@pytest.fixture
async def krt(server: FakeApiServer, tmp_path: Path) -> AsyncIterator[KrtStarter]:
    starter = KrtStarter(environment_for(write_kubeconfig(tmp_path / "kubeconfig", url=server.url)), tmp_path)
    yield starter
    await starter.end_all()


@pytest.fixture
async def krt_alone(tmp_path: Path) -> AsyncIterator[KrtStarter]:
    """Without any kubeconfig."""
    starter = KrtStarter(environment_for(None), tmp_path)
    yield starter
    await starter.end_all()


@dataclass
class KrtHere:
    """krt in a thread of the test's process: a tenth of the time. For what does not depend on being a process."""

    captured: pytest.CaptureFixture[str]

    async def __call__(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        code = await asyncio.wait_for(asyncio.to_thread(run_krt, arguments), DEADLINE_SECONDS)
        stdout, stderr = self.captured.readouterr()
        assert "Traceback" not in stderr, stderr
        return code, stdout, stderr


@pytest.fixture
async def krt_here(server: FakeApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> KrtHere:
    monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path / "kubeconfig", url=server.url)))
    monkeypatch.chdir(tmp_path)
    return KrtHere(capfd)

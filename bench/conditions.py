"""Under which conditions figures were taken: without these beside it, a time means nothing."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import msgspec
import psutil
from msgspec import Struct, field

from k8s.client import ApiClient, ApiError

_LIBRARIES = ("kruntimes", "aiohttp", "grpcio", "msgspec", "uvloop")


class Conditions(Struct, frozen=True, kw_only=True):
    """Machine, versions, commit, load."""

    taken: str
    commit: str
    machine: str
    load_before: float
    """Load average over the minute before the first Run."""
    load_after: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)


def look_around() -> Conditions:
    """Before the first Run."""
    return Conditions(
        taken=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=_git("describe", "--always", "--dirty", "--exclude=*") or "unknown",
        machine=f"{os.cpu_count()} cores, {psutil.virtual_memory().total / (1 << 30):.0f} GiB, {platform.system()} {platform.release()}",
        load_before=round(os.getloadavg()[0], 2),
        versions={"Python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}},
    )


def look_back(before: Conditions, *, servers: Sequence[tuple[str, str]]) -> Conditions:
    """After the last."""
    return msgspec.structs.replace(before, load_after=round(os.getloadavg()[0], 2), versions={**before.versions, **dict(servers)})


async def server_version(client: ApiClient) -> str:
    """What the API server says of itself; what it is not willing to say is unknown."""
    try:
        answer = msgspec.json.decode(await client.request("GET", "/version"))
    except ApiError:
        return "unknown"
    return str(answer.get("gitVersion", "unknown"))


def _git(*arguments: str) -> str:
    answer = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    return answer.stdout.strip()

"""Where in a store an artifact lies (interface.md 8.1), and what may be a name there. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from runtimed.artifacts.errors import ArtifactRefused

MAX_ARTIFACTS: Final = 32
MAX_NAME_BYTES: Final = 255
NAMESPACES: Final = "namespaces"
RUNS: Final = "runs"


@dataclass(frozen=True, slots=True)
class Owner:
    """The attempt that artifacts are kept for. Only namespace and UID are in the path: a retry replaces."""

    namespace: str
    run_uid: str
    run_name: str
    runtime: str
    attempt: int


def check_name(name: str) -> None:
    """Raises ArtifactRefused. `name` as the operating system gave it: undecodable bytes are surrogates."""
    shown = ascii(name[:64])
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        raise ArtifactRefused(f"artifact {shown}: its name is not valid UTF-8; rename it") from None
    if length > MAX_NAME_BYTES:
        raise ArtifactRefused(f"artifact {shown}...: its name has {length} bytes, over the limit of {MAX_NAME_BYTES}; rename it")
    if name in {"", ".", ".."} or any(character in name for character in "/\\\0"):
        raise ArtifactRefused(f"artifact {shown}: its name must not be empty, `.` or `..`, nor contain / \\ or NUL; rename it")


def is_plain(part: str) -> bool:
    """Whether `part` can be one component of a path of ours: a namespace or a UID."""
    return bool(part) and part not in {".", ".."} and not part.startswith(".") and "/" not in part and "\0" not in part and len(part) <= 253


def run_parts(namespace: str, run_uid: str) -> tuple[str, ...]:
    """Raises ValueError where one of them could lead elsewhere."""
    if not is_plain(namespace) or not is_plain(run_uid):
        raise ValueError("metadata.namespace or metadata.uid is no name of a folder")
    return NAMESPACES, namespace, RUNS, run_uid


def artifact_path(namespace: str, run_uid: str, name: str) -> str:
    """Relative to the store's root."""
    return "/".join((*run_parts(namespace, run_uid), name))


def clean_prefix(prefix: str) -> str:
    """With a slash at its end, or empty."""
    trimmed = prefix.strip().strip("/").strip()
    return f"{trimmed}/" if trimmed else ""

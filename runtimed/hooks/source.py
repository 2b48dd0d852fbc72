"""Where a Run's program comes from: nothing, an inline script, or a repository. Interface.md 6.4; writes nothing itself."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from k8s.api.run import Run
from runtimed.hooks.git_address import check_address, check_ref
from runtimed.hooks.refusals import SourceRefused

DEFAULT_ENTRYPOINT = "script"


@dataclass(frozen=True, slots=True)
class Repository:
    """What to fetch: an address that `git_address` has admitted, and a ref, or none for the default branch."""

    url: str
    ref: str = ""


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """What to write into the working directory, and what to send."""

    entrypoint: str
    sends_args: bool = True
    file_name: str = ""
    """Relative to the working directory; empty for none."""
    text: str = ""
    repository: Repository | None = None


def plan_source(run: Run) -> SourcePlan:
    """Raises SourceRefused."""
    source, mode = run.spec.source, run.spec.mode
    if source is not None and source.repo_url:
        repository = Repository(check_address(source.repo_url), check_ref(source.commit_sha or ""))
        return SourcePlan(
            clean_path((mode.task.entrypoint if mode.task else "") or "", field="spec.mode.task.entrypoint"), repository=repository
        )
    if source is not None and source.inline is not None:
        if mode.function is None:
            # `args` reach inline scripts too: ours, a superset of the Go implementation.
            return SourcePlan(DEFAULT_ENTRYPOINT, file_name=DEFAULT_ENTRYPOINT, text=source.inline)
        name = clean_path(source.inline_path or "", field="spec.source.inlinePath")
        return SourcePlan(DEFAULT_ENTRYPOINT, sends_args=False, file_name=name, text=source.inline)
    return SourcePlan(clean_path((mode.task.entrypoint if mode.task else "") or "", field="spec.mode.task.entrypoint"))


def clean_path(path: str, *, field: str) -> str:
    """Cleaned, relative, inside the working directory; the default for an empty one. Raises SourceRefused."""
    if not path:
        return DEFAULT_ENTRYPOINT
    cleaned = posixpath.normpath(path)
    if "\0" in cleaned or cleaned == "." or cleaned.startswith("/") or cleaned.split("/")[0] == "..":
        raise SourceRefused(f"{field}: {path[:128]!r} must be a relative path that stays inside the working directory")
    return cleaned

"""What a concrete server decides: which program an Execute request means. The rest of the SDK is the same for all of them."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

DEFAULT_ENTRYPOINT = "script"


class CannotRun(Exception):
    """Nothing can be started; the text becomes the execution's error_message, some of them are part of the contract."""


@dataclass(frozen=True, slots=True)
class Request:
    run_uid: str
    args: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    working_dir: str = ""
    entrypoint: str = ""
    handler: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    executable: str
    """Absolute: a Run that sets PATH changes what its program finds, not which interpreter it gets."""
    argv: list[str]
    env_defaults: Mapping[str, str] = field(default_factory=dict)
    """Weaker than the Run's own env."""


@dataclass(frozen=True, slots=True)
class WarmChildren:
    """Which processes are worth holding ready: those that most commands of this server turn out to be."""

    kind: str
    """What the supervisor knows how to hold: bash or python."""
    executable: str
    env_defaults: Mapping[str, str] = field(default_factory=dict)
    """As in the commands."""
    preload: Sequence[str] = ()
    """Modules that are imported once, for all."""


class ChooseCommand(Protocol):
    def __call__(self, request: Request, *, working_dir: str) -> Command:
        """Raises CannotRun."""


class Commands(ChooseCommand, Protocol):
    """All that makes one server different from another."""

    @property
    def warm_children(self) -> WarmChildren: ...


def script_in(working_dir: str, *, entrypoint: str) -> str | None:
    """The script to run as a path relative to the working directory, None if there is no such file. Raises CannotRun."""
    path = clean_entrypoint(entrypoint)
    if not os.path.isfile(os.path.join(working_dir, path)):
        return None
    # A name like "-c" would be taken for an option by the interpreter.
    return f"./{path}" if path.startswith("-") else path


def clean_entrypoint(entrypoint: str) -> str:
    if not entrypoint:
        return DEFAULT_ENTRYPOINT
    path = posixpath.normpath(entrypoint)
    if "\0" in path or path == "." or path.startswith("/") or path.split("/")[0] == "..":
        raise CannotRun("entrypoint: must be the path of a file below the working directory, relative and without ..")
    return path

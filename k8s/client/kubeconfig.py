"""Reads kubeconfig files and resolves which cluster and user are meant. What is wrong is said with file, field and remedy.

It goes beyond `kubernetes.aio.config`, which logs or raises KeyError where a user made a mistake; the plugins are run by that
library all the same (see `tokens`). Does no network I/O and makes no credentials.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from k8s.client.errors import ConfigError

_LISTS = ("clusters", "contexts", "users")


@dataclass(frozen=True, slots=True)
class Entry:
    """A named cluster, context or user, and the file that it stands in."""

    file: Path
    kind: str
    name: str
    body: Mapping[str, Any]

    def error(self, field_name: str, *, problem: str, remedy: str) -> ConfigError:
        """The error about one field of it."""
        return ConfigError(f"{self.file}: {self.kind}s[{self.name}].{self.kind}.{field_name}: {problem}; {remedy}")

    def text(self, field_name: str) -> str | None:
        """The field, if it is set; a value of another type is an error."""
        value = self.body.get(field_name)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise self.error(field_name, problem=f"must be text, not {type(value).__name__}", remedy="put it in quotes")
        return value

    def path(self, field_name: str) -> Path | None:
        """A file that the field names: relative ones are relative to the kubeconfig."""
        text = self.text(field_name)
        return None if text is None else self.file.parent / Path(text).expanduser()


@dataclass(frozen=True, slots=True)
class Selection:
    """The cluster and the user to use. Without a kubeconfig both are empty and flags must say it all."""

    cluster: Entry
    user: Entry
    namespace: str = "default"


@dataclass(slots=True)
class KubeConfig:
    """One or more files, merged as kubectl does: the first that defines a name or the current context wins."""

    files: list[Path]
    current_context: str = ""
    entries: dict[str, dict[str, Entry]] = field(default_factory=lambda: {kind: {} for kind in _LISTS})

    def select(self, *, context: str | None, cluster: str | None, user: str | None) -> Selection:
        """What `context` (or the current one) names, with `cluster` and `user` in their place when given."""
        chosen = self._context(context, is_needed=not (cluster and user))
        cluster_name = cluster or chosen.text("cluster")
        if cluster_name is None:
            raise chosen.error("cluster", problem="is missing", remedy=self._choose_one_of("clusters"))
        user_name = user or chosen.text("user")
        return Selection(
            cluster=self._find("clusters", cluster_name, named_by=None if cluster else chosen),
            user=self._find("users", user_name, named_by=None if user else chosen) if user_name else self._nobody(),
            namespace=chosen.text("namespace") or "default",
        )

    def _context(self, name: str | None, *, is_needed: bool) -> Entry:
        wanted = name or self.current_context
        if wanted:
            return self._find("contexts", wanted, named_by=None, field_name=None if name else "current-context")
        if is_needed:
            remedy = self._choose_one_of("contexts")
            raise ConfigError(f"{self._names}: current-context is not set; {remedy}, or pass --context")
        return Entry(self.files[0], "context", "", {})

    def _find(self, kind: str, name: str, *, named_by: Entry | None, field_name: str | None = None) -> Entry:
        entry = self.entries[kind].get(name)
        if entry is not None:
            return entry
        singular, remedy = kind.removesuffix("s"), self._choose_one_of(kind)
        if named_by is not None:
            raise named_by.error(singular, problem=f"there is no {singular} named {name!r}", remedy=remedy)
        where = f"{field_name}: " if field_name else ""
        raise ConfigError(f"{self._names}: {where}there is no {singular} named {name!r}; {remedy}")

    def _choose_one_of(self, kind: str) -> str:
        known = sorted(self.entries[kind])[:8]
        return f"use one of: {', '.join(known)}" if known else f"add one under {kind}:"

    def _nobody(self) -> Entry:
        return Entry(self.files[0], "user", "", {})

    @property
    def _names(self) -> str:
        return os.pathsep.join(str(file) for file in self.files)


def nothing_selected() -> Selection:
    """Where there is no kubeconfig and flags say it all."""
    nowhere = Path("flags")
    return Selection(Entry(nowhere, "cluster", "", {}), Entry(nowhere, "user", "", {}))


def find_kubeconfig(explicit: str | None, *, environ: Mapping[str, str]) -> list[Path]:
    """Which files to read: an explicit one, those of KUBECONFIG, ~/.kube/config if it is there, else none."""
    if explicit:
        return [_existing(Path(explicit).expanduser(), named_by="--kubeconfig")]
    if environ.get("KUBECONFIG"):
        files = [Path(part).expanduser() for part in environ["KUBECONFIG"].split(os.pathsep) if part]
        # kubectl skips those of several that are missing; when none is there, the variable is wrong.
        present = [file for file in files if file.exists()]
        return present or [_existing(file, named_by="the variable KUBECONFIG") for file in files]
    default = Path(environ.get("HOME", "~")).expanduser() / ".kube" / "config"
    return [default] if default.exists() else []


def read_kubeconfig(files: Sequence[Path]) -> KubeConfig:
    """The merged content. Raises ConfigError on what is no kubeconfig."""
    config = KubeConfig(files=list(files))
    for file in files:
        content = _read_yaml(file)
        config.current_context = config.current_context or _current_context(content, file=file)
        for kind in _LISTS:
            for entry in _named_entries(content.get(kind), kind=kind, file=file):
                config.entries[kind].setdefault(entry.name, entry)
    return config


def _existing(file: Path, *, named_by: str) -> Path:
    if not file.exists():
        raise ConfigError(f"{file}: there is no such file; correct {named_by}, which names it")
    return file


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError) as error:
        problem = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise ConfigError(f"{file}: cannot be read: {problem}; check the path and its permissions") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        # Not the library's text: it quotes the line, which may hold a token.
        raise ConfigError(f"{file}: is not valid YAML{where}; correct the file or pass another one with --kubeconfig") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{file}: is not a kubeconfig; it must be a mapping with clusters, contexts and users")
    return content


def _current_context(content: Mapping[str, Any], *, file: Path) -> str:
    value = content.get("current-context") or ""
    if not isinstance(value, str):
        raise ConfigError(f"{file}: current-context: must be text, not {type(value).__name__}; put it in quotes")
    return value


def _named_entries(value: object, *, kind: str, file: Path) -> list[Entry]:
    singular = kind.removesuffix("s")
    if value is None:
        return []
    if not isinstance(value, list):
        raise ConfigError(f"{file}: {kind}: must be a list; write '- name: ...' and '{singular}: ...' items under it")
    entries = []
    for index, item in enumerate(value):
        name = item.get("name") if isinstance(item, dict) else None
        if not isinstance(name, str) or not name:
            raise ConfigError(f"{file}: {kind}[{index}].name: is missing; give the {singular} a name")
        body = item.get(singular)
        if body is not None and not isinstance(body, dict):
            raise ConfigError(f"{file}: {kind}[{name}].{singular}: must be a mapping, not {type(body).__name__}; see `kubectl config view`")
        entries.append(Entry(file, singular, name, body or {}))
    return entries

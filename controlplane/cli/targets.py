"""Which objects a command line names: NAME, TYPE/NAME or TYPE NAME..., with kubectl's singular, plural and short names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from k8s.api.errors import UsageError

if TYPE_CHECKING:
    from k8s.client import Resource


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind as users name it."""

    singular: str
    plural: str
    short: str
    title: str

    @property
    def aliases(self) -> frozenset[str]:
        return frozenset({self.singular, self.plural, self.short, f"{self.plural}.kruntimes.io", f"{self.singular}.kruntimes.io"})

    def resource(self) -> Resource[dict[str, Any]]:
        """Decoded as it came: `-o json` prints the object as the server has it, so nothing may pass through a typed view."""
        from dataclasses import replace

        from k8s.client import RUNS, RUNTIMES

        known: Any = RUNS if self is RUN else RUNTIMES
        as_it_came: Resource[dict[str, Any]] = replace(known, type=dict[str, Any])
        return as_it_came


RUN = Kind("run", "runs", "rn", "Run")
RUNTIME = Kind("runtime", "runtimes", "rt", "Runtime")
KINDS = (RUN, RUNTIME)


@dataclass(frozen=True, slots=True)
class Target:
    """One object."""

    kind: Kind
    name: str


def parse_targets(words: Sequence[str], *, default: Kind) -> list[Target]:
    """The objects that `words` name. Raises UsageError for unknown types and missing names."""
    if len(words) > 1 and "/" not in words[0] and (kind := _find_kind(words[0])):
        return [_parse_target(word, default=kind) for word in words[1:]]
    return [_parse_target(word, default=default) for word in words]


def parse_target(word: str, *, kind: Kind) -> str:
    """The name in `word` where only one kind makes sense. Raises UsageError for another type."""
    target = _parse_target(word, default=kind)
    if target.kind is not kind:
        raise UsageError(f"{word!r} names a {target.kind.title}; this command takes a {kind.title}")
    return target.name


def _parse_target(word: str, *, default: Kind) -> Target:
    type_name, slash, name = word.rpartition("/")
    kind = _find_kind(type_name) if slash else default
    if kind is None:
        known = ", ".join(f"{kind.singular} ({kind.short})" for kind in KINDS)
        raise UsageError(f"{word!r}: unknown type {type_name!r}; the types are {known}")
    if not name:
        raise UsageError(f"{word!r} has no name; write it as in {kind.singular}/NAME")
    return Target(kind, name)


def _find_kind(type_name: str) -> Kind | None:
    return next((kind for kind in KINDS if type_name.lower() in kind.aliases), None)

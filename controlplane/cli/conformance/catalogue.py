"""Which checks there are: a name, the rule of the contract behind it, and the function that asks. In the order they are run."""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from controlplane.cli.conformance import checks
from controlplane.cli.conformance.judgement import Claim

if TYPE_CHECKING:
    from controlplane.cli.conformance.subject import Subject

Ask = Callable[["Subject"], Awaitable[Sequence[Claim]]]


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    rule: str
    """`FILE SYMBOL: words`, the words as they stand in that proto file."""
    programs: tuple[str, ...]
    """What it has the server execute."""
    is_advice: bool
    is_of_stream: bool
    ask: Ask


_registered: dict[str, Check] = {}


def check(name: str, *, rule: str, programs: Sequence[str] = (), is_advice: bool = False) -> Callable[[Ask], Ask]:
    """Puts a function into the catalogue."""

    def register(ask: Ask) -> Ask:
        _registered[name] = Check(name, rule, tuple(programs), is_advice, rule.startswith("stream.proto"), ask)
        return ask

    return register


def load_catalogue() -> list[Check]:
    """All of them: each module of `checks` registers its own when it is imported."""
    names = [f"{checks.__name__}.{module}" for module in checks.MODULES]
    for name in names:
        importlib.import_module(name)
    return sorted(_registered.values(), key=lambda check: names.index(check.ask.__module__))


def select(known: Sequence[Check], *, only: Sequence[str]) -> list[Check]:
    """Those whose name is one of `only`, or begins with it; all without. Raises KeyError with a word that fits none."""
    for word in only:
        if not any(one.name.startswith(word) for one in known):
            raise KeyError(word)
    return [one for one in known if not only or any(one.name.startswith(word) for word in only)]

"""What a watcher tells of a kind: the whole of it, or one change. Values only; `watching` makes them, `cache` takes them in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Listed(Generic[T]):
    """Everything there is, as of `resource_version`: what is not in it is gone."""

    items: list[T]
    resource_version: str


@dataclass(frozen=True, slots=True)
class Changed(Generic[T]):
    """An object was created or changed."""

    object: T


@dataclass(frozen=True, slots=True)
class Deleted(Generic[T]):
    """An object was deleted, or left the selection. It carries the resourceVersion at which that happened."""

    object: T


Notice = Listed[T] | Changed[T] | Deleted[T]

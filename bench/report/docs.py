"""Puts measured tables into a page written by hand: only what stands between two marks is replaced. Pure."""

from __future__ import annotations


class MarksMissing(ValueError):
    """The page has no place for the tables."""


def replace_marked(page: str, body: str, *, name: str) -> str:
    """`page` with `body` between `<!-- NAME: begin -->` and `<!-- NAME: end -->`."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise MarksMissing(f"the page needs the lines {begin!r} and {end!r}")
    return f"{before}{begin}\n{body.strip()}\n{end}{after}"

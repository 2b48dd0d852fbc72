"""Prints what the named distributions need, out of constraints.txt on stdin: versions and hashes, dependencies included.

So that an image holds what its program imports and no more. Who needs whom is what `uv pip compile` noted behind `# via`.
Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator

NAME = re.compile(r"^([a-z0-9-]+)==", re.MULTILINE)


def entries(constraints: str) -> Iterator[tuple[str, str, set[str]]]:
    """Name, text and dependents of each distribution."""
    for text in re.split(r"\n(?=[a-z0-9])", constraints):
        found = NAME.match(text)
        if found:
            comments = re.findall(r"^ +# +(?:via )?(.*)$", text, re.MULTILINE)
            yield found[1], text, {comment.strip() for comment in comments}


def needed(constraints: str, names: Iterable[str]) -> list[str]:
    """The texts of `names` and all that they depend on. Raises KeyError for a name that is not constrained."""
    by_name = {name: (text, dependents) for name, text, dependents in entries(constraints)}
    wanted, found = set(names), set[str]()
    while wanted:
        found |= wanted
        wanted = {name for name, (_, dependents) in by_name.items() if dependents & wanted} - found
    return [by_name[name][0] for name in sorted(found)]


if __name__ == "__main__":
    print("\n".join(needed(sys.stdin.read(), sys.argv[1:])))

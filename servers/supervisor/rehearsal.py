"""Does in a held child, while it waits, what it is about to do once it has its order: read, compile, run, fail.

A fork shares its parent's memory until it writes to it, and each page that it touches first costs a fault: most of the time from
the order to the first instruction. So they are touched before. Leaves nothing behind that a script could find.
"""

from __future__ import annotations

import contextlib
import os
import sys

from servers.supervisor import wire

_SOURCE = """
import sys
def function(*args, **kwargs):
    return [str(item) for item in args], {name: f"{value}" for name, value in kwargs.items()}
class Class:
    text = "".join(["a", "b"])
if function(1, x=2):
    raise ImportError
"""


def rehearse() -> None:
    with contextlib.suppress(ImportError):
        exec(compile(_SOURCE, "rehearsal", "exec", dont_inherit=True), {"__name__": "rehearsal"})  # noqa: S102  our own text
    for hook in sys.path_hooks:
        # As with every script: is it an archive or a folder?
        with contextlib.suppress(ImportError):
            hook(__file__)
    with open(__file__, "rb") as file:
        file.read()
    wire.decode(wire.encode_payload({"args": ["a"], "env": dict(os.environ)}))
    os.environ.update(os.environ)

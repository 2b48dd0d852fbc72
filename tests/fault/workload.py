"""User code that writes its own history, and gates that hold many of it at no cost.

How does a workload know which attempt it is, when the contract does not tell it? On a node of ours it can look into the folder
of its Pod, and there lies the marker that runtimed made before it asked for this very start (ownership.md, rule 14). So the
script lists the markers of its Run: under the protocol there is exactly one. What it finds is evidence, not what anybody told it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

_BASH = """\
w=${{KRUNTIME_OUTPUTS%/outputs}} p=${{KRUNTIME_OUTPUTS%/volumes/*}}
u=${{w##*/}} p=${{p##*/}}
m=({markers}/"$u"@*.marker)
note() {{ echo "$1 $u $p $$ $EPOCHREALTIME ${{m[*]##*/}}" >> {log}; }}
note start
a=${{m[0]##*@}} && echo "attempt=${{a%.marker}}" >> "$KRUNTIME_OUTPUTS"
trap 'note end' EXIT
{body}
"""

_PYTHON = """\
import atexit, glob, os, time
_outputs = os.environ["KRUNTIME_OUTPUTS"]
_uid, _pod = _outputs.split("/")[-2], os.path.basename(_outputs.partition("/volumes/")[0])
_markers = [os.path.basename(path) for path in glob.glob(f"{markers}/{{_uid}}@*.marker")]
def _note(what):
    line = f"{{what}} {{_uid}} {{_pod}} {{os.getpid()}} {{time.time():.6f}} {{' '.join(_markers)}}\\n"
    fd = os.open({log!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, line.encode())
    os.close(fd)
_note("start")
if _markers:
    with open(_outputs, "a") as _file:
        _file.write(f"attempt={{_markers[0].rpartition('@')[2].partition('.')[0]}}\\n")
atexit.register(_note, "end")
{body}
"""


MarkersOf = Callable[[str], Path]
"""Given a Pod's UID, the folder of its markers."""


def bash(body: str, *, log: Path, markers_of: MarkersOf) -> str:
    """A script that notes its start and its end, and which attempt it is; `$m` are the markers."""
    return _BASH.format(log=log, body=body, markers=markers_of("$p"))


def python(body: str, *, log: Path, markers_of: MarkersOf) -> str:
    return _PYTHON.format(log=str(log), body=body, markers=markers_of("{_pod}"))


class Gate:
    """A FIFO that scripts wait at (`wait`) without using any CPU, until `open`."""

    def __init__(self, folder: Path, *, name: str = "gate") -> None:
        self.path = folder / name
        os.mkfifo(self.path)
        # Both ends: whoever opens it to read gets in at once, and then waits for a byte or the end.
        self._fd = os.open(self.path, os.O_RDWR)
        self.is_open = False

    @property
    def wait(self) -> str:
        """A line of bash."""
        return f"read -r _ < {self.path}"

    def open(self) -> None:
        """All go on, also those who come later. Safe to repeat."""
        if self.is_open:
            return
        opened = self.path.with_suffix(".open")
        opened.write_text("\n" * 4)
        opened.replace(self.path)
        # Bytes, and the descriptor stays: a reader between its look at the name and its open would otherwise wait for ever.
        os.write(self._fd, b"\n" * 4096)
        self.is_open = True

    def close(self) -> None:
        """When nobody of its readers is left."""
        os.close(self._fd)

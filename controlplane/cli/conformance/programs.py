"""What the checks have a server execute: small programs, each in every language that we know, or in the user's own.

They are told things by their environment: `$NOTES` is a folder for notes, `$CODE` an exit code, `$VALUE` a text. A program that
waits does so until there is `$NOTES/gate`, and meanwhile adds to a file `$NOTES/alive.<name of its own>` about every 20 ms, so
that one can see from outside how often it was started and whether it still lives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# Also ended by a folder that is gone: whatever a server leaves behind, it does not outlive the check for long.
_SH_WAIT = 'n="$NOTES/alive.$$"; echo x >> "$n"; echo started; until [ -e "$NOTES/gate" ]; do echo x >> "$n" || exit; sleep 0.02; done'
_SH_TICK = 'until [ -e "$NOTES/gate" ]; do echo x >> "$NOTES/alive.child" || exit; sleep 0.02; done'
_SH_UNTIL_TICKING = 'until ls "$NOTES"/alive.* > /dev/null 2>&1; do sleep 0.02; done'

_PYTHON_WAIT = """
import os, time
notes = os.environ["NOTES"]
def tick():
    with open(f"{notes}/alive.{os.getpid()}", "a") as file:
        file.write("x")
tick()
print("started", flush=True)
while not os.path.exists(f"{notes}/gate"):
    tick()
    time.sleep(0.02)
"""
_PYTHON_CHILD = """
import glob, os, subprocess, sys, time
TICK = '''
import os, time
notes = os.environ["NOTES"]
while not os.path.exists(notes + "/gate"):
    with open(notes + "/alive.child", "a") as file:
        file.write("x")
    time.sleep(0.02)
'''
SPAWN = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]]).wait()"
def until_ticking():
    while not glob.glob(os.environ["NOTES"] + "/alive.*"):
        time.sleep(0.02)
"""


@dataclass(frozen=True, slots=True)
class Program:
    """`does` is what it must do, for whoever writes it in another language."""

    does: str
    sh: str
    python: str


PROGRAMS: Mapping[str, Program] = {
    "hello": Program(
        "print `hello` and a line end to standard output, `oops` and a line end to standard error",
        sh="echo hello; echo oops >&2",
        python="import sys; print('hello'); print('oops', file=sys.stderr)",
    ),
    "exit": Program(
        "exit with the code $CODE",
        sh='exit "$CODE"',
        python="import os, sys; sys.exit(int(os.environ['CODE']))",
    ),
    "kill": Program(
        "kill itself with signal 9",
        sh="kill -9 $$",
        python="import os; os.kill(os.getpid(), 9)",
    ),
    "wait": Program(
        "add to $NOTES/alive.<own pid>, print `started`, then add to it every 20 ms until there is $NOTES/gate; print `ended`",
        sh=f"{_SH_WAIT}; echo ended",
        python=f"{_PYTHON_WAIT}print('ended')",
    ),
    "stubborn": Program(
        "the same as `wait`, ignoring signal 15",
        sh=f"trap '' TERM; {_SH_WAIT}; echo ended",
        python=f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN){_PYTHON_WAIT}print('ended')",
    ),
    "tree": Program(
        "start a child that starts another, which adds to $NOTES/alive.child as `wait` does; when it does, print `started`, wait for both",
        sh=f"( ( {_SH_TICK} ) & wait ) & {_SH_UNTIL_TICKING}; echo started; wait",
        python=f"{_PYTHON_CHILD}child = subprocess.Popen([sys.executable, '-c', SPAWN, TICK])\n"
        "until_ticking()\nprint('started', flush=True)\nchild.wait()",
    ),
    "escape": Program(
        "the same as `tree`, but with one child, in a session of its own (setsid)",
        sh=f"setsid sh -c '{_SH_TICK}' & {_SH_UNTIL_TICKING}; echo started; wait",
        python=f"{_PYTHON_CHILD}child = subprocess.Popen([sys.executable, '-c', TICK], start_new_session=True)\n"
        "until_ticking()\nprint('started', flush=True)\nchild.wait()",
    ),
    "leave": Program(
        "start a child that adds to $NOTES/alive.child as `wait` does and keeps the output open; when it does, exit with 0",
        sh=f"( {_SH_TICK} ) & {_SH_UNTIL_TICKING}; exit 0",
        python=f"{_PYTHON_CHILD}subprocess.Popen([sys.executable, '-c', TICK])\nuntil_ticking()\nos._exit(0)",
    ),
    "args": Program(
        "print each argument in brackets on a line of its own",
        sh='for a in "$@"; do printf \'[%s]\\n\' "$a"; done',
        python="import sys\nfor argument in sys.argv[1:]: print(f'[{argument}]')",
    ),
    "env": Program(
        "print the variables $VALUE and $HOME, in brackets, on a line of its own each",
        sh='printf \'[%s]\\n[%s]\\n\' "$VALUE" "$HOME"',
        python="import os, sys\nfor name in ('VALUE', 'HOME'):\n    sys.stdout.buffer.write(b'[' + os.environb[name.encode()] + b']\\n')",
    ),
    "folder": Program(
        "print the working directory and a line end",
        sh="pwd -P",
        python="import os; print(os.getcwd())",
    ),
    "stdin": Program(
        "read standard input to its end, then print `end` and a line end",
        sh="cat > /dev/null; echo end",
        python="import sys; sys.stdin.read(); print('end')",
    ),
    "bytes": Program(
        "write the four bytes 0x61 0xff 0x62 0x0a to standard output",
        sh="printf 'a\\377b\\n'",
        python="import sys; sys.stdout.buffer.write(b'a\\xffb\\n')",
    ),
    "halves": Program(
        "write the bytes 0xe2 0x82, wait for $NOTES/gate, then write 0xac",
        sh="printf '\\342\\202'; until [ -e \"$NOTES/gate\" ]; do [ -d \"$NOTES\" ] || exit; sleep 0.02; done; printf '\\254'",
        python="import os, sys, time\nout = sys.stdout.buffer\nout.write(b'\\xe2\\x82')\nout.flush()\n"
        "while not os.path.exists(os.environ['NOTES'] + '/gate'):\n    time.sleep(0.02)\nout.write(b'\\xac')",
    ),
    "flood": Program(
        "write 3,000,000 times `x` to standard output and to standard error",
        sh="head -c 3000000 /dev/zero | tr '\\0' x; head -c 3000000 /dev/zero | tr '\\0' x >&2",
        python="import sys; sys.stdout.write('x' * 3000000); sys.stderr.write('x' * 3000000)",
    ),
}
FLOOD_BYTES = 3_000_000


def texts_of(language: str, *, own: Mapping[str, str]) -> dict[str, str]:
    """By name; `own` replaces ours. Of the language `other` there are only the user's own."""
    known = {} if language == "other" else {name: getattr(program, _DIALECT[language]) + "\n" for name, program in PROGRAMS.items()}
    return {**known, **own}


LANGUAGES = ("sh", "bash", "python", "other")
_DIALECT = {"sh": "sh", "bash": "sh", "python": "python"}

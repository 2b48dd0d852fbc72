"""A few lines between runtimed and a program that it runs: it dies with runtimed, writes no big files, leaves no core. Then exec.

Started as a file, with the standard library alone: `python -I -S launcher.py PARENT MAX_FILE_BYTES PROGRAM ARGUMENTS…`. Not a
sandbox, and never for user code: the supervisor runs that.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1
NOT_FOUND = 127


def main() -> None:
    parent, max_file_bytes, *command = sys.argv[1:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # STRICTLY AFTER: had the parent died before, nobody would tell us any more.
    if os.getppid() != int(parent):
        sys.exit(1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(max_file_bytes), int(max_file_bytes)))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        os.execvp(command[0], command)  # noqa: S606 - this is what it is for
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        sys.exit(NOT_FOUND)


if __name__ == "__main__":
    main()

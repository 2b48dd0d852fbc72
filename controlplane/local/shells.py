"""Setting an environment variable in the words of a shell."""

from __future__ import annotations

import shlex

SHELLS = ["bash", "zsh", "fish", "powershell"]


def export_line(name: str, value: str, *, shell: str) -> str:
    """One line for `eval`. Unknown shells get the POSIX form."""
    if shell == "fish":
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"set -gx {name} '{escaped}'"
    if shell in ("powershell", "pwsh"):
        doubled = value.replace("'", "''")
        return f"$Env:{name} = '{doubled}'"
    return f"export {name}={shlex.quote(value)}"

"""Reads the script that a Run carries inline: a file, or stdin."""

from __future__ import annotations

import sys
from pathlib import Path

from k8s.api.errors import UsageError
from k8s.api.validation import MAX_INLINE_LENGTH

MAX_BYTES = 4 * MAX_INLINE_LENGTH
"""No text of the permitted length takes more in UTF-8."""


def read_source(path: str | None) -> str | None:
    """The text of a script; stdin for `-`. Reads little more than the limit: the file may be a device or huge."""
    if path is None:
        return None
    where = "stdin" if path == "-" else path
    try:
        if path == "-":
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(path).open("rb") as file:
                data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"--file {where}: {error.strerror or error}; give a readable file, or - for stdin") from error
    if len(data) > MAX_BYTES:
        raise UsageError(
            f"spec.source.inline: --file {where} is larger than {MAX_INLINE_LENGTH} characters, the limit; "
            "keep large sources in git (--repo-url)"
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"--file {where}: byte {error.start} is not UTF-8; a source is text") from error

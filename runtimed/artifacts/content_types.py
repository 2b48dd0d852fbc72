"""What an artifact is, for whoever downloads it: by the ending of its name, else by its first bytes. Pure.

The same on every machine, so the system's own tables of endings are left alone.
"""

from __future__ import annotations

import mimetypes
from typing import Final

SNIFFED_BYTES: Final = 512
UNKNOWN: Final = "application/octet-stream"
PLAIN_TEXT: Final = "text/plain; charset=utf-8"
_ENDINGS = mimetypes.MimeTypes(filenames=())
_MAGIC: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b\x08", "application/gzip"),
)
_TEXT_CONTROLS: Final = frozenset(b"\t\n\f\r\x1b")


def content_type_of(name: str, *, head: bytes) -> str:
    """`head` is how the file begins, up to SNIFFED_BYTES."""
    guessed, encoding = _ENDINGS.guess_type(name)
    if encoding is not None:  # report.csv.gz is gzip, whatever is in it
        return {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}.get(encoding, UNKNOWN)
    if guessed is not None:
        return f"{guessed}; charset=utf-8" if guessed.startswith("text/") else guessed
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    return PLAIN_TEXT if head and _is_text(head) else UNKNOWN


def _is_text(head: bytes) -> bool:
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # a character cut off at the end is none of the file's faults
            return False
    return all(byte >= 0x20 or byte in _TEXT_CONTROLS for byte in head)

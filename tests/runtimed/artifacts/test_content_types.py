from __future__ import annotations

import pytest

from runtimed.artifacts.content_types import content_type_of


@pytest.mark.parametrize(
    ("name", "head", "kind"),
    [
        ("report.html", b"", "text/html; charset=utf-8"),
        ("data.json", b"\0\0", "application/json"),
        ("table.csv.gz", b"", "application/gzip"),
        ("README", b"hello\n", "text/plain; charset=utf-8"),
        ("cut", b"a" * 510 + "é".encode()[:1], "text/plain; charset=utf-8"),
        ("picture", b"\x89PNG\r\n\x1a\n\0", "image/png"),
        ("noise", b"\x01\x02\xff", "application/octet-stream"),
        ("empty", b"", "application/octet-stream"),
    ],
)
def test_the_ending_counts_and_then_how_it_begins(name: str, head: bytes, kind: str) -> None:
    assert content_type_of(name, head=head) == kind

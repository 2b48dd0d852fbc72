"""What is read of a source: all of it, in order, hashed beside; and never more than was allowed."""

from __future__ import annotations

import hashlib
import os
import threading
from contextlib import closing
from pathlib import Path

import pytest

from runtimed.artifacts.errors import ArtifactRefused
from runtimed.artifacts.source import CHUNK_BYTES, FILE, Intake, Source


def source_of(path: Path, *, max_bytes: int = 1 << 30) -> Source:
    fd = os.open(path, os.O_RDONLY)
    return Source("data", FILE, "", fd, os.fstat(fd).st_size, max_bytes)


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, 4 * CHUNK_BYTES + 7])
def test_chunks_are_the_file_and_the_digest_is_theirs(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "data").write_bytes(data)
    intake = Intake(source_of(tmp_path / "data"))
    assert b"".join(bytes(chunk) for chunk in intake.chunks()) == data
    assert (intake.stored.size, intake.stored.digest) == (size, f"sha256:{hashlib.sha256(data).hexdigest()}")
    os.close(intake.source.fd)


@pytest.mark.parametrize("size", [10, 2 * CHUNK_BYTES])
def test_a_file_that_grows_is_taken_up_to_the_limit_and_no_further(tmp_path: Path, size: int) -> None:
    (tmp_path / "data").write_bytes(b"x" * size)
    intake = Intake(source_of(tmp_path / "data", max_bytes=size + 5))
    before = threading.active_count()
    with closing(intake.chunks()) as chunks, (tmp_path / "data").open("ab") as file:
        next(chunks)
        file.write(b"y" * 6)
        file.flush()
        with pytest.raises(ArtifactRefused, match=f"{size + 6} bytes, over what is left of the limit, {size + 5} bytes"):
            list(chunks)
    assert threading.active_count() == before
    os.close(intake.source.fd)


def test_whoever_leaves_early_leaves_no_thread_behind(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"x" * (5 * CHUNK_BYTES))
    intake = Intake(source_of(tmp_path / "data"))
    before = threading.active_count()
    with closing(intake.chunks()) as chunks:
        next(chunks)
        next(chunks)
    assert threading.active_count() == before
    os.close(intake.source.fd)

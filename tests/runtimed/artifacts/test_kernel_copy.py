"""What the kernel copies to a volume: all of it, with the digest of what arrived; never more than was allowed; or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from runtimed.artifacts.beneath import NEW
from runtimed.artifacts.errors import ArtifactRefused
from runtimed.artifacts.filesystem import FilesystemStore
from runtimed.artifacts.kernel_copy import PIECE_BYTES, CannotCopy, copied
from runtimed.artifacts.source import CHUNK_BYTES, Intake
from tests.runtimed.artifacts.jobs import job_of
from tests.runtimed.artifacts.test_source import source_of


@pytest.fixture
def target(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "copy", NEW, 0o600)
    yield fd
    os.close(fd)


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.mark.parametrize("size", [1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES + 7])
def test_the_copy_is_the_file_and_the_digest_is_the_copys(tmp_path: Path, target: int, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "data").write_bytes(data)
    intake = Intake(source_of(tmp_path / "data"))
    for _ in copied(intake, target):
        assert os.fstat(target).st_size == intake.size
    assert (tmp_path / "copy").read_bytes() == data
    assert (intake.stored.size, intake.stored.digest) == (size, digest_of(data))
    os.close(intake.source.fd)


def test_a_file_that_changes_behind_the_copy_leaves_the_digest_of_what_arrived(tmp_path: Path, target: int) -> None:
    data = os.urandom(2 * PIECE_BYTES)
    (tmp_path / "data").write_bytes(data)
    intake = Intake(source_of(tmp_path / "data"))
    with closing(copied(intake, target)) as pieces, (tmp_path / "data").open("r+b") as file:
        next(pieces)
        file.write(b"other")
        file.flush()
        for _ in pieces:
            pass
    assert intake.stored.digest == digest_of(data) == digest_of((tmp_path / "copy").read_bytes())
    os.close(intake.source.fd)


def test_a_file_that_grows_is_taken_up_to_the_limit_and_no_further(tmp_path: Path, target: int) -> None:
    size = 2 * PIECE_BYTES
    (tmp_path / "data").write_bytes(b"x" * size)
    intake = Intake(source_of(tmp_path / "data", max_bytes=size + 5))
    before = threading.active_count()
    with closing(copied(intake, target)) as pieces, (tmp_path / "data").open("ab") as file:
        next(pieces)
        file.write(b"y" * 6)
        file.flush()
        with pytest.raises(ArtifactRefused, match=f"{size + 6} bytes, over what is left of the limit, {size + 5} bytes"):
            list(pieces)
    assert threading.active_count() == before
    os.close(intake.source.fd)


def test_whoever_leaves_early_leaves_no_thread_behind(tmp_path: Path, target: int) -> None:
    (tmp_path / "data").write_bytes(b"x" * (4 * PIECE_BYTES))
    intake = Intake(source_of(tmp_path / "data"))
    before = threading.active_count()
    with closing(copied(intake, target)) as pieces:
        next(pieces)
    assert threading.active_count() == before
    os.close(intake.source.fd)


def test_a_copy_that_is_cut_short_is_an_error_and_not_another_digest(tmp_path: Path, target: int, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").write_bytes(b"x" * PIECE_BYTES)
    intake = Intake(source_of(tmp_path / "data"))
    send = os.sendfile

    def send_and_cut(out: int, source: int, offset: int, count: int) -> int:
        sent = send(out, source, offset, count)
        os.ftruncate(out, 0)
        return sent

    monkeypatch.setattr(os, "sendfile", send_and_cut)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        list(copied(intake, target))
    os.close(intake.source.fd)


def refuse(*_: object) -> int:
    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


def test_file_systems_that_cannot_are_known_before_anything_is_taken(tmp_path: Path, target: int, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").write_bytes(b"x" * PIECE_BYTES)
    intake = Intake(source_of(tmp_path / "data"))
    monkeypatch.setattr(os, "sendfile", refuse)
    with pytest.raises(CannotCopy):
        list(copied(intake, target))
    assert intake.size == 0
    os.close(intake.source.fd)


def test_on_such_a_volume_the_file_goes_through_us(
    filesystem: FilesystemStore, workspace: Path, staging: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(2 * CHUNK_BYTES + 3)
    (staging / "data").write_bytes(data)
    monkeypatch.setattr(os, "sendfile", refuse)
    [ref] = job_of(filesystem, workspace).run()
    assert (ref.size_bytes, ref.digest) == (len(data), digest_of(data))
    with filesystem.read(ref, offset=0) as pieces:
        assert b"".join(pieces) == data


def test_an_error_on_the_way_is_none_of_that_kind(tmp_path: Path, target: int, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").write_bytes(b"x" * (2 * PIECE_BYTES))
    intake = Intake(source_of(tmp_path / "data"))
    with closing(copied(intake, target)) as pieces:
        next(pieces)
        monkeypatch.setattr(os, "sendfile", refuse)
        with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
            next(pieces)
    os.close(intake.source.fd)

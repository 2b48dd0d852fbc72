"""The output of an attempt in files: byte for byte at its offset, bounded, and no different for what is given twice."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimed.hooks.kept_log import KeptLog
from runtimed.hooks.logs import LAST_BYTES

LIMIT = 1000


def kept_log(folder: Path, *, taken: tuple[int, int] = (0, 0), max_bytes: int = LIMIT) -> KeptLog:
    return KeptLog(lambda stream: f"{folder}/{stream}", taken=taken, max_bytes=max_bytes)


def finished(log: KeptLog) -> dict[str, bytes]:
    return {file.name: Path(file.path).read_bytes() for file in log.finish()}


def test_every_byte_is_there_and_each_stream_has_a_file_of_its_own(tmp_path: Path) -> None:
    log = kept_log(tmp_path)
    log.feed("stdout", b"one\n\n\xfftwo", offset=0, is_truncated=False)
    log.feed("stderr", b"oh", offset=0, is_truncated=False)
    log.feed("stdout", b"\r\n", offset=9, is_truncated=False)
    assert finished(log) == {"stdout.log": b"one\n\n\xfftwo\r\n", "stderr.log": b"oh"}
    assert finished(log) == {"stdout.log": b"one\n\n\xfftwo\r\n", "stderr.log": b"oh"}


def test_a_stream_without_output_has_no_file(tmp_path: Path) -> None:
    log = kept_log(tmp_path)
    assert not log.has_any
    log.feed("stderr", b"x", offset=0, is_truncated=False)
    assert log.has_any
    assert finished(log) == {"stderr.log": b"x"}
    assert os.listdir(tmp_path) == ["stderr"]


@given(cuts=st.lists(st.tuples(st.integers(0, 99), st.integers(0, 60)), max_size=12), restarts_at=st.integers(0, 12))
def test_what_is_given_twice_or_again_to_a_successor_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[tuple[int, int]], restarts_at: int
) -> None:
    data = bytes(range(1, 101))
    folder = tmp_path_factory.mktemp("log")
    log = kept_log(folder)
    taken = 0
    for number, (start, length) in enumerate([*cuts, (0, 100)]):
        if number == restarts_at:
            log = kept_log(folder, taken=(taken, 0))
        start = min(start, taken)  # a session goes on where it was, or before
        log.feed("stdout", data[start : start + length], offset=start, is_truncated=False)
        taken = max(taken, min(100, start + length))
    assert finished(log) == {"stdout.log": data}


def test_what_is_missing_is_told_in_its_place(tmp_path: Path) -> None:
    log = kept_log(tmp_path)
    log.feed("stdout", b"begin\n", offset=0, is_truncated=False)
    log.feed("stdout", b"end\n", offset=106, is_truncated=False)
    text = finished(log)["stdout.log"]
    assert text.startswith(b"begin\n[100 bytes of output are missing]\n\0")
    assert (text.endswith(b"\0end\n"), len(text)) == (True, 110)


def test_both_together_keep_to_the_limit_and_the_end_of_each_is_there(tmp_path: Path) -> None:
    log = kept_log(tmp_path, max_bytes=LIMIT)
    lines = b"".join(b"%06d\n" % number for number in range(30_000))
    log.feed("stderr", b"e" * 400, offset=0, is_truncated=False)
    for at in range(0, len(lines), 1000):
        log.feed("stdout", lines[at : at + 1000], offset=at, is_truncated=False)
    log.feed("stderr", b"E" * 10, offset=400, is_truncated=False)
    kept = finished(log)
    head, tail = kept["stdout.log"].split(b"\n[output truncated]\n")
    assert head == lines[: LIMIT - 400]
    assert lines.endswith(tail)
    assert LAST_BYTES - 7 <= len(tail) <= LAST_BYTES
    assert tail[6:7] == b"\n"  # it begins with a whole line
    assert kept["stderr.log"] == b"e" * 400 + b"\n[output truncated]\n" + b"E" * 10


def test_what_the_server_did_not_keep_is_told(tmp_path: Path) -> None:
    log = kept_log(tmp_path)
    log.feed("stdout", b"as far as it goes", offset=0, is_truncated=True)
    assert finished(log) == {"stdout.log": b"as far as it goes\n[output truncated]\n"}


def test_a_disk_without_room_is_told_and_not_tried_again(tmp_path: Path) -> None:
    log = kept_log(tmp_path / "gone")
    log.feed("stdout", b"x", offset=0, is_truncated=False)
    (tmp_path / "gone").mkdir()
    log.feed("stdout", b"y", offset=1, is_truncated=False)
    [file] = log.finish()
    assert (file.name, file.failure) == ("stdout.log", "No such file or directory")
    assert os.listdir(tmp_path / "gone") == []

from __future__ import annotations

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from runtimed.hooks.logs import AttemptLog, LineSplitter
from tests.runtimed.world import run_body, to_run


def lines_of(chunks: list[bytes]) -> list[str]:
    splitter = LineSplitter()
    lines: list[str] = []
    for chunk in chunks:
        lines += splitter.feed(chunk, offset=splitter.offset, is_truncated=False)
    return lines + splitter.finish()


def test_complete_lines_come_at_once_and_the_partial_one_at_the_end() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"one\ntw", offset=0, is_truncated=False) == ["one"]
    assert splitter.printed == 4
    assert splitter.feed(b"o\r\n\nthree", offset=6, is_truncated=False) == ["two"]
    assert splitter.finish() == ["three"]


def test_invalid_bytes_are_replaced() -> None:
    assert lines_of([b"a\xff", b"b\n\xc3", b"\xbc\n"]) == ["a�b", "ü"]


def test_what_was_seen_already_is_skipped() -> None:
    splitter = LineSplitter()
    splitter.feed(b"one\ntwo\n", offset=0, is_truncated=False)
    assert splitter.feed(b"one\ntwo\nthree\n", offset=0, is_truncated=False) == ["three"]


def test_a_truncated_stream_says_so_once() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"abc", offset=0, is_truncated=True) == ["abc", "[output truncated]"]
    assert splitter.feed(b"", offset=3, is_truncated=True) == []


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=8))
def test_chunks_do_not_matter(data: bytes, cuts: list[int]) -> None:
    marks = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    chunks = [data[a:b] for a, b in pairwise(marks)]
    assert lines_of(chunks) == lines_of([data])


def test_a_successor_goes_on_where_the_printed_lines_end() -> None:
    printed: list[tuple[int, int]] = []
    out: list[str] = []
    run = to_run(run_body())
    log = AttemptLog(run, attempt=0, pod="p", write=out.append, note_printed=lambda a, b: printed.append((a, b)))
    log.feed("stdout", b"one\ntw", offset=0, is_truncated=False)
    assert printed == [(4, 0)]
    successor = AttemptLog(run, attempt=0, pod="p", write=out.append, printed=printed[-1])
    assert successor.offset("stdout") == 4
    successor.feed("stdout", b"two\n", offset=4, is_truncated=False)
    successor.end()
    assert [json.loads(line).get("message") for line in out] == ["one", "two", None]
    assert json.loads(out[-1]) == {"ended_run_uid": "run-1", "attempt": 1}

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimed.hooks.logs import LAST_BYTES, LINES_A_WRITE, MAX_LINE_BYTES, AttemptLog, LineSplitter
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


def messages_of(out: list[str]) -> list[tuple[str, str]]:
    lines = [json.loads(line) for text in out for line in text.split("\n")]
    return [(line["stream"], line["message"]) for line in lines if "stream" in line]


def small_log(out: list[str], *, max_bytes: int) -> AttemptLog:
    return AttemptLog(to_run(run_body()), attempt=0, pod="p", write=out.append, max_bytes=max_bytes)


def test_beyond_the_limit_the_log_has_the_marker_at_once_and_the_last_lines_at_the_end() -> None:
    out: list[str] = []
    log = small_log(out, max_bytes=1000)
    for number in range(20_000):
        log.feed("stdout", b"%05d\n" % number, offset=number * 6, is_truncated=False)
    before = messages_of(out)
    assert before[-1] == ("stdout", "[output truncated]")
    log.feed("stderr", b"oh\nno", offset=0, is_truncated=False)
    assert messages_of(out) == before, "the rest is counted, not printed"
    log.end()
    after = messages_of(out)[len(before) :]
    assert after[-3:] == [("stdout", "19999"), ("stderr", "oh"), ("stderr", "no")]
    assert LAST_BYTES - 6 <= 6 * len([1 for stream, _ in after if stream == "stdout"]) <= LAST_BYTES
    assert sum(len(text) for text in out[: len(before)]) < 1400


def test_what_the_limit_cuts_in_the_middle_of_a_chunk_is_among_the_last_lines() -> None:
    out: list[str] = []
    log = small_log(out, max_bytes=100)
    log.feed("stdout", b"".join(b"%d\n" % number for number in range(200)) + b"partial", offset=0, is_truncated=False)
    log.end()
    texts = [text for _, text in messages_of(out)]
    cut = texts.index("[output truncated]")
    assert texts[:cut] + texts[cut + 1 :] == [*map(str, range(200)), "partial"]


@pytest.mark.parametrize("lines", [1, LINES_A_WRITE, LINES_A_WRITE + 1, 3 * LINES_A_WRITE])
def test_a_limit_that_is_the_servers_too_is_told_once(lines: int) -> None:
    out: list[str] = []
    log = small_log(out, max_bytes=10)
    log.feed("stdout", b"line\n" * lines, offset=0, is_truncated=True)
    log.end()
    texts = [text for _, text in messages_of(out)]
    assert sorted(texts) == sorted([*["line"] * lines, "[output truncated]"])
    assert texts.index("[output truncated]") == min(lines, LINES_A_WRITE)


def test_output_that_came_faster_than_it_could_be_taken_is_told_as_missing() -> None:
    splitter = LineSplitter()
    splitter.feed(b"one\ntw", offset=0, is_truncated=False)
    assert splitter.feed(b"ee\nfour\n", offset=1000, is_truncated=False) == ["tw", "[994 bytes of output are missing]", "ee", "four"]


def test_a_line_without_an_end_does_not_grow_for_ever() -> None:
    splitter = LineSplitter()
    lines: list[str] = []
    for number in range(100):
        lines += splitter.feed(b"x" * 65536, offset=number * 65536, is_truncated=False)
        assert splitter.offset - splitter.printed < MAX_LINE_BYTES
    assert "".join([*lines, *splitter.finish()]) == "x" * 6553600


def test_lines_that_the_log_refuses_are_told_as_missing_and_the_last_of_them_come_at_the_end() -> None:
    out: list[str] = []
    kept = iter([True, False, True, False])

    def write_output(text: str) -> bool:
        is_kept = next(kept)
        if is_kept:
            out.append(text)
        return is_kept

    log = AttemptLog(to_run(run_body()), attempt=0, pod="p", write=out.append, write_output=write_output)
    for number in range(4):
        log.feed("stdout", b"%d\n" % number, offset=2 * number, is_truncated=False)
    log.feed("stdout", b"partial", offset=8, is_truncated=False)
    log.end()
    texts = [text for _, text in messages_of(out)]
    missing = "[output is missing: the log was not written fast enough]"
    assert texts == ["0", missing, "2", missing, "3", "partial"]


def test_while_the_log_has_no_room_no_lines_are_made_and_the_end_is_kept_all_the_same() -> None:
    out: list[str] = []
    has_room = True

    def write_output(text: str) -> bool:
        if has_room:
            out.append(text)
        return has_room

    log = AttemptLog(to_run(run_body()), attempt=0, pod="p", write=out.append, write_output=write_output, has_room=lambda: has_room)
    data = b"".join(b"%d\n" % number for number in range(40))
    pieces = [data[start : start + 7] for start in range(0, len(data), 7)]  # cut within lines
    for number, piece in enumerate(pieces):
        has_room = number < 3 or number > 12
        log.feed("stdout", piece, offset=7 * number, is_truncated=False)
    log.end()
    texts = [text for _, text in messages_of(out)]
    missing = texts.index("[output is missing: the log was not written fast enough]")
    assert texts[:missing] == [str(number) for number in range(len(texts[:missing]))]
    assert texts[missing + 2 :] == [str(number) for number in range(40)][-len(texts[missing + 2 :]) :], (
        "after it a line that lacks its start"
    )
    assert len(texts) < 40


def test_what_was_passed_over_last_comes_at_the_end() -> None:
    out: list[str] = []
    log = AttemptLog(to_run(run_body()), attempt=0, pod="p", write=out.append, write_output=lambda _: False, has_room=lambda: False)
    for number in range(5):
        log.feed("stdout", b"%d\n%d" % (number, number), offset=3 * number, is_truncated=False)
    log.end()
    assert [text for _, text in messages_of(out)][1:] == ["0", "01", "12", "23", "34", "4"]

"""What is kept of output, and the text that is made of it, for any bytes in any chunks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from servers.sdk.limits import TRUNCATION_MARKER
from servers.sdk.retained import RetainedOutput, decode_start

LIMIT = 16


def filled(*chunks: bytes) -> RetainedOutput:
    output = RetainedOutput(limit_bytes=LIMIT, tail_bytes=4)
    for chunk in chunks:
        output.write(memoryview(chunk))
    return output


@given(st.lists(st.binary(max_size=12), max_size=6))
def test_the_start_the_tail_and_the_count_are_right_however_it_was_written(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    output = filled(*chunks)
    assert output.slice(0, size=100) == whole[:LIMIT]
    assert output.tail == whole[-4:]
    assert output.total_bytes == len(whole)
    assert output.is_truncated == (len(whole) > LIMIT)


@given(st.binary(max_size=40), st.integers(0, 40))
def test_text_is_valid_and_within_the_limit_and_marked_when_cut(data: bytes, limit: int) -> None:
    text = filled(data).text(limit_bytes=limit)
    body = text.removesuffix(TRUNCATION_MARKER)
    assert len(body.encode()) <= min(limit, LIMIT)
    whole = data.decode(errors="replace")
    assert text == whole or text.endswith(TRUNCATION_MARKER)
    assert whole.startswith(body)


@given(st.text(max_size=10), st.integers(0, 40))
def test_a_character_is_never_cut_in_two(text: str, size: int) -> None:
    data = text.encode()
    assert text.startswith(decode_start(data[:size], is_cut=size < len(data)))


@given(st.lists(st.binary(max_size=12), max_size=12), st.integers(0, 60), st.integers(1, 9))
def test_a_live_reader_gets_what_is_there_and_where_it_begins(chunks: list[bytes], offset: int, size: int) -> None:
    whole = b"".join(chunks)
    output = RetainedOutput(limit_bytes=LIMIT, tail_bytes=4, recent_bytes=8)
    for chunk in chunks:
        output.write(chunk)
    begin, data = output.read_live(offset, size=size)
    assert data == whole[begin : begin + len(data)]
    assert begin == offset or (begin > offset >= LIMIT and begin <= max(LIMIT, len(whole) - 8))
    assert data or offset >= len(whole)


def test_memory_is_bounded_by_twice_what_is_recent() -> None:
    output = RetainedOutput(limit_bytes=LIMIT, tail_bytes=4, recent_bytes=8)
    for _ in range(1000):
        output.write(b"x" * 7)
        assert output.total_bytes - output.read_live(LIMIT, size=1000)[0] <= 16

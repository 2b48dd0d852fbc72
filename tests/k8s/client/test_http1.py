"""One answer from bytes, however they are cut, and everything that is none."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8s.client.http1 import MAX_HEAD_BYTES, Answer, AnswerReader, BadAnswer

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n"
WITH_TRAILERS = CHUNKED.removesuffix(b"\r\n") + b"Grpc-Status: 0\r\nX: y\r\n\r\n"
REFUSED = b"HTTP/1.1 429 Too Many Requests\r\nretry-AFTER:  7 \r\ncontent-length: 0\r\n\r\n"
ANNOUNCED = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + PLAIN
EMPTY = b"HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n"
LAST = b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 2\r\n\r\nok"
OLD = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"
OLD_KEPT = b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nok"

ANSWERS = {
    PLAIN: Answer(200, None, b"hello", is_reusable=True),
    CHUNKED: Answer(201, None, b"hello0123456789", is_reusable=True),
    WITH_TRAILERS: Answer(201, None, b"hello0123456789", is_reusable=True),
    REFUSED: Answer(429, "7", b"", is_reusable=True),
    ANNOUNCED: Answer(200, None, b"hello", is_reusable=True),
    EMPTY: Answer(204, None, b"", is_reusable=True),
    LAST: Answer(200, None, b"ok", is_reusable=False),
    OLD: Answer(200, None, b"ok", is_reusable=False),
    OLD_KEPT: Answer(200, None, b"ok", is_reusable=True),
}


@pytest.mark.parametrize("data", ANSWERS)
def test_an_answer_is_read_as_it_is_meant(data: bytes) -> None:
    assert AnswerReader().feed(data) == ANSWERS[data]


@given(data=st.sampled_from(list(ANSWERS)), cuts=st.lists(st.integers(0, 200)))
def test_however_it_is_cut_it_is_the_same_and_not_there_before_its_last_byte(data: bytes, cuts: list[int]) -> None:
    edges = sorted({0, *(cut for cut in cuts if cut < len(data)), len(data)})
    reader = AnswerReader()
    answers = [reader.feed(data[start:end]) for start, end in pairwise(edges)]
    assert answers == [None] * (len(answers) - 1) + [ANSWERS[data]]


def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    reader = AnswerReader()
    assert reader.feed(b"HTTP/1.1 200 OK\r\n\r\nhel") is None
    assert reader.feed(b"lo") is None
    assert reader.feed_end() == Answer(200, None, b"hello", is_reusable=False)


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200 OK\r\nContent-L", PLAIN[:-1], CHUNKED[:-1], CHUNKED[:-4], ANNOUNCED[:30]])
def test_a_connection_that_ends_too_early_leaves_no_answer(data: bytes) -> None:
    reader = AnswerReader()
    assert reader.feed(data) is None
    with pytest.raises(BadAnswer, match=r"closed without an answer|cut short"):
        reader.feed_end()


def test_what_comes_after_the_answer_spoils_the_connection_and_not_the_answer() -> None:
    answer = AnswerReader().feed(PLAIN + b"HTTP/1.1 200 OK\r\n")
    assert answer == Answer(200, None, b"hello", is_reusable=False)


def test_the_same_length_twice_is_one() -> None:
    answer = AnswerReader().feed(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok")
    assert answer is not None
    assert answer.body == b"ok"


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nName : x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n folded: c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello12\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * (MAX_HEAD_BYTES + 1),
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * MAX_HEAD_BYTES,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * MAX_HEAD_BYTES,
    ],
)  # fmt: skip
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    with pytest.raises(BadAnswer):
        AnswerReader().feed(data)


@given(st.binary())
def test_no_bytes_break_the_reader(data: bytes) -> None:
    reader = AnswerReader()
    try:
        if reader.feed(data) is None:
            reader.feed_end()
    except BadAnswer:
        pass


def test_a_long_answer_in_many_pieces_is_read_in_time_that_grows_with_its_length() -> None:
    """A list of 10 MB in pieces of 1 KB: joined anew each time it would be 50 GB."""
    size = 10_000_000
    reader = AnswerReader()
    assert reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size) is None
    answers = [reader.feed(b"x" * 1000) for _ in range(size // 1000)]
    assert answers[-1] is not None
    assert len(answers[-1].body) == size

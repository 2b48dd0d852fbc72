"""Frames on a line: cut as they were sent, however the bytes arrive, and held back as long as asked."""

from __future__ import annotations

import asyncio
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from krtpb.line import FrameReader, FrameTooLarge, Line


@given(payloads=st.lists(st.binary(max_size=50)), cuts=st.lists(st.integers(1, 20), min_size=1))
def test_frames_are_the_same_however_they_are_cut(payloads: list[bytes], cuts: list[int]) -> None:
    sent = b"".join(struct.pack("!I", len(payload)) + payload for payload in payloads)
    reader, found = FrameReader(limit_bytes=50), list[bytes]()
    for turn in range(len(sent)):
        size = cuts[turn % len(cuts)]
        reader.feed(sent[:size])
        sent = sent[size:]
        while (frame := reader.next()) is not None:
            found.append(frame)
    assert found == payloads


def test_a_length_over_the_limit_is_refused_before_its_frame_is_here() -> None:
    reader = FrameReader(limit_bytes=3)
    reader.feed(struct.pack("!I", 3) + b"abc" + struct.pack("!I", 4))
    assert reader.next() == b"abc"
    with pytest.raises(FrameTooLarge):
        reader.next()


async def pair() -> tuple[Line, Line, asyncio.Queue[bytes], asyncio.Server]:
    """Two ends, and what the second has heard."""
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    ends: asyncio.Queue[Line] = asyncio.Queue()

    def take() -> Line:
        line = Line(heard.put_nowait, limit_bytes=1 << 20)
        ends.put_nowait(line)
        return line

    loop = asyncio.get_running_loop()
    server = await loop.create_server(take, "127.0.0.1", 0)
    first = Line(heard.put_nowait, limit_bytes=1 << 20)
    await loop.create_connection(lambda: first, *server.sockets[0].getsockname())
    return first, await ends.get(), heard, server


async def test_a_line_starts_held_and_gives_out_in_order() -> None:
    first, second, heard, server = await pair()
    for number in range(10):
        first.send(b"%d" % number)

    def hear(frame: bytes) -> None:
        heard.put_nowait(frame)
        if frame == b"4":
            second.hold()

    second.on_frame = hear
    for expected in (range(5), range(5, 10)):
        assert heard.empty()
        second.go_on()
        async with asyncio.timeout(5):
            assert [await heard.get() for _ in expected] == [b"%d" % number for number in expected]
    first.close()
    await second.closed
    server.close()


async def test_what_the_hearer_raises_ends_the_line_and_is_told() -> None:
    first, second, _, server = await pair()

    def refuse(frame: bytes) -> None:
        raise ValueError(frame.decode())

    second.on_frame = refuse
    second.go_on()
    first.go_on()
    first.send(b"no")
    with pytest.raises(ValueError, match="no"):
        await second.closed
    await first.closed
    first.send(b"dropped")
    server.close()

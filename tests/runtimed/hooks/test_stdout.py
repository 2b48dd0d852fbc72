from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest

from runtimed.hooks.stdout import LineWriter


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    for fd in (reading, writing):
        try:
            os.close(fd)
        except OSError:
            continue


async def test_a_reader_that_does_not_read_never_stops_the_writer(pipe: tuple[int, int]) -> None:
    _, writing = pipe
    writer = LineWriter(writing, max_pending_bytes=100_000)
    writer.open()
    for _ in range(300):
        writer.write("x" * 999)
    assert writer.dropped_lines_total > 0
    assert os.get_blocking(writing)  # the flag is ours alone
    writer.close()


async def test_output_is_refused_while_there_is_still_room_for_its_end(pipe: tuple[int, int]) -> None:
    _, writing = pipe
    writer = LineWriter(writing, max_pending_bytes=100_000)
    writer.open()
    kept = [writer.write_output("x" * 999) for _ in range(300)]
    assert (kept[0], kept[-1], writer.dropped_lines_total) == (True, False, kept.count(False))
    writer.write("the end")
    assert writer.dropped_lines_total == kept.count(False)
    writer.close()


async def test_what_the_pipe_did_not_take_comes_later_and_in_order(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    writer = LineWriter(writing)
    writer.open()
    expected = b"".join(b"%d\n" % n for n in range(40_000))
    for n in range(40_000):
        writer.write(str(n))
    assert writer.dropped_lines_total == 0
    found = bytearray()
    os.set_blocking(reading, False)
    readable = asyncio.Event()
    asyncio.get_running_loop().add_reader(reading, readable.set)
    async with asyncio.timeout(5):
        while len(found) < len(expected):
            await readable.wait()
            readable.clear()
            try:
                found += os.read(reading, 65536)
            except BlockingIOError:
                continue
    asyncio.get_running_loop().remove_reader(reading)
    assert bytes(found) == expected
    writer.close()


async def test_a_reader_that_is_gone_costs_lines_and_nothing_else(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    writer = LineWriter(writing)
    writer.open()
    os.close(reading)
    writer.write("nobody")
    assert writer.dropped_lines_total == 1
    writer.close()

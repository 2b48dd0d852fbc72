"""Container output on disk and back."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from controlplane.local.node.logfile import MAX_LINE_BYTES, LogFile, PipeReader
from controlplane.local.node.logreader import LogOptions, read_log
from k8s.api.errors import UsageError

START = datetime(2026, 8, 9, 10, 0, 0, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(tmp_path: Path, clock: Clock) -> LogFile:
    return LogFile(tmp_path / "0.log", now=clock)


async def read(log: LogFile, **options: object) -> bytes:
    return b"".join([block async for block in read_log(log, options=LogOptions(**options))])  # type: ignore[arg-type]


async def test_lines_are_stored_as_container_runtimes_do(log: LogFile) -> None:
    log.write("stdout", b"one\ntwo\n")
    log.write("stderr", b"oops\n")
    stamp = b"2026-08-09T10:00:00.000000Z"
    assert log.path.read_bytes() == stamp + b" stdout F one\n" + stamp + b" stdout F two\n" + stamp + b" stderr F oops\n"
    assert await read(log) == b"one\ntwo\noops\n"
    assert await read(log, timestamps=True) == stamp + b" one\n" + stamp + b" two\n" + stamp + b" oops\n"


async def test_a_line_is_whole_however_it_arrives(log: LogFile) -> None:
    log.write("stdout", b"he")
    log.write("stderr", b"between\n")
    log.write("stdout", b"llo\nrest")
    assert await read(log) == b"between\nhello\n"
    log.close()
    assert await read(log) == b"between\nhello\nrest\n"


async def test_bytes_come_back_as_they_were(log: LogFile) -> None:
    data = b"\x00\xff\r\x1b[31mred\r\n\n  spaces  \n" + bytes(range(11, 256)) + b"\n"
    log.write("stdout", data)
    assert await read(log) == data


async def test_a_huge_line_is_kept_in_parts_and_shown_as_one(log: LogFile) -> None:
    data = b"x" * (3 * MAX_LINE_BYTES + 7)
    log.write("stdout", data[:100])
    log.write("stdout", data[100:] + b"\nnext\n")
    assert max(len(line) for line in log.path.read_bytes().splitlines()) < MAX_LINE_BYTES + 64
    assert await read(log) == data + b"\nnext\n"


async def test_a_line_without_end_does_not_grow_in_memory(log: LogFile) -> None:
    for _ in range(100):
        log.write("stdout", b"y" * 5000)
    assert sum(len(rest) for rest in log._partial.values()) < MAX_LINE_BYTES
    log.close()
    assert await read(log) == b"y" * 500_000 + b"\n"


@pytest.mark.parametrize(
    ("lines", "shown"),
    [(0, b""), (1, b"9\n"), (3, b"7\n8\n9\n"), (10, b"0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n"), (99, b"0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n")],
)
async def test_the_last_lines_are_chosen(log: LogFile, lines: int, shown: bytes) -> None:
    log.write("stdout", b"".join(b"%d\n" % number for number in range(10)))
    assert await read(log, tail_lines=lines) == shown


async def test_the_tail_spans_blocks_and_files(tmp_path: Path, clock: Clock) -> None:
    log = LogFile(tmp_path / "0.log", now=clock, max_bytes=400_000)
    for number in range(8000):
        log.write("stdout", b"line %d\n" % number)
    assert log.generation >= 1
    assert await read(log, tail_lines=5000) == b"".join(b"line %d\n" % number for number in range(3000, 8000))


async def test_what_is_kept_is_bounded_and_the_newest(tmp_path: Path, clock: Clock) -> None:
    log = LogFile(tmp_path / "0.log", now=clock, max_bytes=100_000)
    for number in range(20_000):
        log.write("stdout", b"line %d\n" % number)
    assert sum(path.stat().st_size for path in log.paths) <= 100_000
    lines = (await read(log)).splitlines()
    assert lines[-1] == b"line 19999"
    assert lines == [b"line %d" % number for number in range(20_000 - len(lines), 20_000)]


async def test_older_output_is_left_out(log: LogFile, clock: Clock) -> None:
    log.write("stdout", b"old\n")
    clock.advance(60)
    log.write("stdout", b"new\n")
    assert await read(log, since=START + timedelta(seconds=30)) == b"new\n"
    assert await read(log, since=START) == b"old\nnew\n"


async def test_bytes_are_limited(log: LogFile) -> None:
    log.write("stdout", b"0123456789\nabc\n")
    assert await read(log, limit_bytes=13) == b"0123456789\nab"


def follow(log: LogFile) -> AsyncGenerator[bytes, None]:
    return read_log(log, options=LogOptions(follow=True))


async def test_a_follower_sees_what_comes_and_ends_with_the_container(log: LogFile) -> None:
    log.write("stdout", b"before\n")
    follower = follow(log)
    assert await anext(follower) == b"before\n"
    waiting = asyncio.ensure_future(anext(follower))
    await asyncio.sleep(0)
    assert not waiting.done()
    log.write("stdout", b"during\n")
    assert await waiting == b"during\n"
    log.write("stdout", b"last")
    log.close()
    assert [block async for block in follower] == [b"last\n"]


async def test_a_follower_crosses_from_file_to_file_without_a_gap(tmp_path: Path, clock: Clock) -> None:
    log = LogFile(tmp_path / "0.log", now=clock, max_bytes=20_000)
    seen: list[bytes] = []

    async def collect() -> None:
        async for block in follow(log):
            seen.extend(block.splitlines())

    collecting = asyncio.create_task(collect())
    for number in range(2000):
        log.write("stdout", b"line %d\n" % number)
        if number % 20 == 0:
            await asyncio.sleep(0)
    log.close()
    await collecting
    assert log.generation > 5
    assert seen == [b"line %d" % number for number in range(2000)]


async def test_a_follower_that_never_reads_holds_nobody_up(log: LogFile) -> None:
    follower = follow(log)
    log.write("stdout", b"first\n")
    await anext(follower)
    for _ in range(1000):
        log.write("stdout", b"z" * 1000 + b"\n")
    await follower.aclose()
    assert not log._waiting


async def test_a_full_disk_costs_output_only(tmp_path: Path, clock: Clock) -> None:
    log = LogFile(tmp_path / "0.log", now=clock)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, log._fd)
    os.close(full)
    log.write("stdout", b"lost\n")
    log.close()


async def test_a_pipe_is_drained_to_its_end(log: LogFile) -> None:
    reader = PipeReader(log, "stdout", loop=asyncio.get_running_loop())
    os.write(reader.write_end, b"a\nb\n")
    escaped = os.dup(reader.write_end)
    reader.close_write_end()
    reader.finish()
    assert await read(log) == b"a\nb\n"
    assert not reader.is_open
    os.close(escaped)


def test_options_come_from_a_query() -> None:
    query = {"follow": "true", "tailLines": "5", "sinceSeconds": "10", "timestamps": "1", "limitBytes": "100", "previous": "false"}
    expected = LogOptions(follow=True, tail_lines=5, since=START - timedelta(seconds=10), timestamps=True, limit_bytes=100)
    assert LogOptions.from_query(query, now=START) == expected
    assert LogOptions.from_query({"sinceTime": "2026-08-09T10:00:00Z"}, now=START).since == START


@pytest.mark.parametrize(("name", "value"), [("tailLines", "-1"), ("tailLines", "x"), ("limitBytes", "1.5"), ("sinceTime", "yesterday")])
def test_a_wrong_option_is_named(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=name):
        LogOptions.from_query({name: value}, now=START)

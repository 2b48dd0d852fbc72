"""Reading what an attempt writes: all of it, a flood no faster than its neighbours can bear."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

from servers.sdk import pipes
from servers.sdk.limits import FLOOD_BYTES, FLOOD_PORTION_BYTES, READ_BYTES
from servers.sdk.pipes import PipeReader
from servers.sdk.retained import RetainedOutput

SIZE = FLOOD_BYTES + 4 * FLOOD_PORTION_BYTES


class Flood:
    """Writes `SIZE` bytes, as fast as they are taken, and closes; `reader` takes them until all is there or nothing comes any more."""

    def __init__(self) -> None:
        read_fd, self._write_fd = os.pipe()
        self.output = RetainedOutput()
        self.has_all = asyncio.Event()
        self.has_begun = asyncio.Event()
        self.reader = PipeReader(read_fd, into=self.output, on_data=self._note)
        self._writer = threading.Thread(target=self._write)
        self._writer.start()

    def _note(self) -> None:
        if self.output.total_bytes > FLOOD_BYTES:
            self.has_begun.set()
        if self.output.total_bytes == SIZE:
            self.has_all.set()

    def _write(self) -> None:
        with open(self._write_fd, "wb", buffering=0) as pipe:
            left = SIZE
            try:
                while left:
                    left -= pipe.write(bytes(min(left, READ_BYTES)))
            except BrokenPipeError:
                pass

    def end(self) -> None:
        self.reader.finish()
        self._writer.join()


async def test_a_flood_comes_whole() -> None:
    flood = Flood()
    try:
        async with asyncio.timeout(20):
            await flood.has_all.wait()
    finally:
        flood.end()
    assert flood.output.total_bytes == SIZE


async def test_a_flood_rests_after_each_portion_and_its_end_waits_for_no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipes, "FLOOD_REST_SECONDS", 3600.0)
    flood = Flood()
    try:
        async with asyncio.timeout(20):
            await flood.has_begun.wait()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await flood.has_all.wait()
        before = flood.output.total_bytes
        assert before <= FLOOD_BYTES + FLOOD_PORTION_BYTES + READ_BYTES
    finally:
        flood.end()
    assert flood.output.total_bytes > before, "what was in the pipe at the end"


async def test_the_end_does_not_wait_for_who_still_holds_the_pipe() -> None:
    read_fd, write_fd = os.pipe()
    output = RetainedOutput()
    reader = PipeReader(read_fd, into=output, on_data=lambda: None)
    os.write(write_fd, b"last words")
    reader.finish()
    os.close(write_fd)
    assert output.total_bytes == len(b"last words")

"""Reading the log of a `runtimed` container: what is printed, what is never printed twice, and when it is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from controlplane.cli.run_output import CLOCK_MARGIN, LogInterrupted, LogUnavailable, OutputReader
from controlplane.cli.tail import Tail
from k8s.api.run_log import OutputLine, PartialLine, format_end_line, format_output_line, format_partial_line

CREATED = datetime(2026, 8, 9, 10, 0, 0, tzinfo=UTC)


def line(text: str, *, at: str, uid: str = "u1", stream: str = "stdout") -> bytes:
    body = format_output_line(text, run_uid=uid, run_name="r", namespace="ns", runtime="bash", pod="p", stream=stream)  # type: ignore[arg-type]
    return f"2026-08-09T10:00:{at}Z {body}".encode()


def end(*, at: str, attempt: int = 1) -> bytes:
    return f"2026-08-09T10:00:{at}Z {format_end_line(run_uid='u1', attempt=attempt)}".encode()


def part(text: str, *, at: str, begins: int = 0) -> bytes:
    return f"2026-08-09T10:00:{at}Z {format_partial_line(run_uid='u1', stream='stdout', at=begins, text=text)}".encode()


@dataclass
class ScriptedLog:
    """Serves one script an opening; `None` in it keeps the stream open for ever, an error breaks it."""

    scripts: Sequence[Sequence[object]]
    previous: Sequence[bytes] = ()
    asked: list[str] = field(default_factory=list)
    exhausted: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def open(self, *, since: str, is_following: bool, is_previous: bool = False) -> AsyncIterator[AsyncIterator[bytes]]:
        if is_previous:
            if not self.previous:
                raise LogInterrupted("no previous container")
            yield self._serve(self.previous)
            return
        self.asked.append(since)
        yield self._serve(self.scripts[len(self.asked) - 1])

    async def _serve(self, script: Sequence[object]) -> AsyncIterator[bytes]:
        for item in script:
            if item is None:
                self.exhausted.set()
                await asyncio.Event().wait()
            elif isinstance(item, Exception):
                raise item
            else:
                assert isinstance(item, bytes)
                yield item


def reader_of(log: ScriptedLog, printed: list[str], *, quiet_seconds: float = 0.01) -> OutputReader:
    def emit(line: OutputLine | PartialLine) -> None:
        printed.append(line.message if isinstance(line, OutputLine) else f"{line.text}...")

    return OutputReader(log, run_uid="u1", since=CREATED - CLOCK_MARGIN, emit=emit, quiet_seconds=quiet_seconds)


async def follow_until_exhausted(log: ScriptedLog, printed: list[str]) -> OutputReader:
    reader = reader_of(log, printed)
    task = asyncio.create_task(reader.follow())
    await asyncio.wait_for(log.exhausted.wait(), 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return reader


async def test_only_the_lines_of_the_run_are_printed() -> None:
    printed: list[str] = []
    log = ScriptedLog(
        [[b"2026-08-09T10:00:01Z plain", line("a", at="01"), line("x", at="02", uid="other"), b"garbage", line("b", at="03"), None]]
    )
    await follow_until_exhausted(log, printed)
    assert printed == ["a", "b"]
    assert log.asked == ["2026-08-09T09:59:45.000000Z"], "the node's clock may be a little behind"


async def test_a_broken_stream_goes_on_where_it_stopped_and_prints_nothing_twice() -> None:
    printed: list[str] = []
    first = [line("a", at="01.5"), line("b", at="02.25"), line("c", at="02.25"), LogInterrupted("cut")]
    second = [line("a", at="01.5"), line("b", at="02.25"), line("c", at="02.25"), line("d", at="02.25"), line("e", at="03"), None]
    log = ScriptedLog([first, second])
    await follow_until_exhausted(log, printed)
    assert printed == ["a", "b", "c", "d", "e"]
    assert log.asked[1] == "2026-08-09T10:00:02.25Z"


async def test_a_clock_that_was_set_back_hides_nothing() -> None:
    printed: list[str] = []
    await follow_until_exhausted(ScriptedLog([[line("a", at="30"), line("b", at="10"), line("c", at="11"), None]]), printed)
    assert printed == ["a", "b", "c"]


async def test_what_a_restarted_container_wrote_before_is_printed_too() -> None:
    printed: list[str] = []
    log = ScriptedLog(
        [[line("a", at="01")], [line("d", at="05"), None]], previous=[line("a", at="01"), line("b", at="02"), line("c", at="02")]
    )
    await follow_until_exhausted(log, printed)
    assert printed == ["a", "b", "c", "d"]


async def test_a_log_that_is_gone_ends_the_following() -> None:
    printed: list[str] = []
    with pytest.raises(LogUnavailable, match="gone"):
        await reader_of(ScriptedLog([[line("a", at="01"), LogUnavailable("gone")]]), printed).follow()
    assert printed == ["a"]


@pytest.mark.parametrize(
    "last",
    [end(at="01"), line("of another Run", at="04.1", uid="other"), b"2026-08-09T10:00:09Z a line of runtimed itself"],
    ids=["end line", "another Run's line long after the end", "any line long after the end"],
)
async def test_reading_ends_without_waiting_once_the_log_shows_that_the_run_is_over(last: bytes) -> None:
    printed: list[str] = []
    log = ScriptedLog([[line("a", at="01"), last, None]])
    reader = reader_of(log, printed, quiet_seconds=1000)
    task = asyncio.create_task(reader.follow())
    await asyncio.wait_for(reader.finish(task, attempt=1, completed=CREATED.replace(second=2)), 5)
    assert printed == ["a"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_output_that_reaches_the_log_long_after_the_end_is_read_to_its_end() -> None:
    printed: list[str] = []
    log = ScriptedLog([[line("a", at="01"), line("b", at="09"), line("c", at="20"), end(at="21"), None]])
    reader = reader_of(log, printed, quiet_seconds=1000)
    task = asyncio.create_task(reader.follow())
    await asyncio.wait_for(reader.finish(task, attempt=1, completed=CREATED.replace(second=2)), 5)
    assert printed == ["a", "b", "c"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_end_line_of_an_earlier_attempt_is_not_the_end() -> None:
    printed: list[str] = []
    log = ScriptedLog([[line("first", at="01"), end(at="01", attempt=1), line("second", at="02"), end(at="02", attempt=2), None]])
    reader = reader_of(log, printed, quiet_seconds=1000)
    task = asyncio.create_task(reader.follow())
    await asyncio.wait_for(reader.finish(task, attempt=2, completed=None), 5)
    assert printed == ["first", "second"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_log_without_end_lines_is_over_when_it_is_quiet() -> None:
    printed: list[str] = []
    lines = [line("a", at="01"), line("b", at="02")]
    log = ScriptedLog([[*lines, None], lines])
    reader = reader_of(log, printed, quiet_seconds=0.01)
    task = asyncio.create_task(reader.follow())
    await asyncio.wait_for(reader.finish(task, attempt=1, completed=None), 5)
    assert printed == ["a", "b"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_silence_ends_with_all_that_the_log_holds() -> None:
    """A server that skips a long log before our first line is silent too."""
    printed: list[str] = []
    log = ScriptedLog([[line("a", at="01"), None], [line("a", at="01"), line("b", at="02"), end(at="02")]])
    reader = reader_of(log, printed, quiet_seconds=0.01)
    task = asyncio.create_task(reader.follow())
    await asyncio.wait_for(reader.finish(task, attempt=1, completed=None), 5)
    assert printed == ["a", "b"]
    assert task.cancelled()


async def test_finishing_takes_a_failed_following_for_the_end() -> None:
    reader = reader_of(ScriptedLog([[LogUnavailable("gone")]]), [])
    task = asyncio.create_task(reader.follow())
    await asyncio.wait_for(reader.finish(task, attempt=1, completed=None), 5)
    assert isinstance(task.exception(), LogUnavailable)


def test_a_tail_counts_each_stream_apart_and_keeps_the_order() -> None:
    tail = Tail(2)
    for stream, text in [("stdout", "1"), ("stderr", "a"), ("stdout", "2"), ("stdout", "3"), ("stderr", "b"), ("stdout", "4")]:
        tail.add(OutputLine("u", stream, text))
    assert [line.message for line in tail.lines() if isinstance(line, OutputLine)] == ["a", "3", "b", "4"]


def test_a_tail_ends_with_what_is_not_complete() -> None:
    tail = Tail(1)
    begun = PartialLine("u", "stdout", 0, "Na")
    for said in (begun, OutputLine("u", "stdout", "Name? "), begun, OutputLine("u", "stderr", "oh"), PartialLine("u", "stdout", 2, "me? ")):
        tail.add(said)
    assert tail.lines() == [
        OutputLine("u", "stdout", "Name? "),
        OutputLine("u", "stderr", "oh"),
        begun,
        PartialLine("u", "stdout", 2, "me? "),
    ]


async def test_parts_of_lines_are_handed_on_and_a_broken_stream_repeats_none() -> None:
    printed: list[str] = []
    first = [part("Na", at="01"), part("me? ", at="02", begins=2), LogInterrupted("cut")]
    second = [part("me? ", at="02", begins=2), line("Name? Ann", at="03"), None]
    await follow_until_exhausted(ScriptedLog([first, second]), printed)
    assert printed == ["Na...", "me? ...", "Name? Ann"]


async def test_following_after_a_tail_starts_where_the_tail_ended() -> None:
    printed: list[str] = []
    log = ScriptedLog([[line(str(number), at=f"0{number}") for number in range(1, 6)], [line("5", at="05"), line("6", at="06"), None]])
    reader = reader_of(log, printed)
    await reader.read_tail(2)
    assert printed == ["4", "5"]
    task = asyncio.create_task(reader.follow())
    await asyncio.wait_for(log.exhausted.wait(), 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert printed == ["4", "5", "6"]

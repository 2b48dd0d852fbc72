"""What the attempts of one Run write: into our log as it comes, and into files where the Run asks for its log to be kept."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from krtpb.executor.v1 import stream_pb2

from k8s.api.run import Run
from runtimed.artifacts.source import OwnFile
from runtimed.hooks.kept_log import KeptLog, keeps_log
from runtimed.hooks.logs import STREAMS, AttemptLog
from runtimed.hooks.previews import Outlet, StreamName
from runtimed.shell.services import Services

_STREAMS: dict[int, StreamName] = {stream_pb2.OUTPUT_STREAM_STDOUT: "stdout", stream_pb2.OUTPUT_STREAM_STDERR: "stderr"}


class RunOutput:
    """An attempt is opened by the first look at it. `run` is its Run as last seen; without one nothing can be said of it."""

    def __init__(self, run_uid: str, *, services: Services) -> None:
        self._run_uid = run_uid
        self._services = services
        self._logs: dict[int, AttemptLog] = {}
        self._kept: dict[int, KeptLog] = {}
        self._begun_here: set[int] = set()
        """Attempts whose marker this process made: nothing of their output was printed before."""

    def begin(self, attempt: int) -> None:
        """It starts now, in this process."""
        self._begun_here.add(attempt)

    def feed(self, output: stream_pb2.Output, *, run: Run | None) -> bool:
        """Whether it is the first of its attempt."""
        attempt = output.key.attempt
        stream, log = _STREAMS.get(output.stream), self._open(attempt, run)
        if stream is None or log is None:
            return False
        is_first = not log.offset("stdout") and not log.offset("stderr")
        log.feed(stream, output.data, offset=output.offset, is_truncated=output.truncated)
        if (kept := self._kept.get(attempt)) is not None:
            kept.feed(stream, output.data, offset=output.offset, is_truncated=output.truncated)
        return is_first

    def offsets(self, attempt: int, *, run: Run | None) -> tuple[int, int]:
        """How much of both streams is here."""
        log = self._open(attempt, run)
        return (log.offset("stdout"), log.offset("stderr")) if log else (0, 0)

    def end(self, attempt: int, *, run: Run | None) -> None:
        """Nothing more comes of it."""
        log = self._open(attempt, run)
        if log is not None:
            log.end()
            del self._logs[attempt]

    def stop(self) -> None:
        """Nothing is printed any more."""
        for log in self._logs.values():
            log.stop()

    # What is kept

    def has_kept(self, attempt: int, *, run: Run | None) -> bool:
        """Whether its log is to be kept, and there is any."""
        self._open(attempt, run)  # of a process before this one, if nothing of it came here
        kept = self._kept.get(attempt)
        return kept is not None and kept.has_any

    def kept_files(self, attempt: int) -> Sequence[OwnFile]:
        """As they are to be stored."""
        kept = self._kept.get(attempt)
        return kept.finish() if kept is not None else ()

    def drop(self, attempt: int, *, run: Run | None) -> None:
        """The files, when nothing of the attempt is wanted any more."""
        self._kept.pop(attempt, None)
        if self._is_kept(run):
            for stream in STREAMS:
                self._services.state_dir.drop_log(self._run_uid, attempt, stream)

    def _is_kept(self, run: Run | None) -> bool:
        return self._services.artifacts is not None and run is not None and keeps_log(run)

    def _open(self, attempt: int, run: Run | None) -> AttemptLog | None:
        log = self._logs.get(attempt)
        if log is not None or run is None:
            return log
        state_dir, lines, uid = self._services.state_dir, self._services.lines, self._run_uid
        printed = (0, 0) if attempt in self._begun_here else state_dir.read_printed(uid, attempt)
        if self._is_kept(run):
            max_bytes = self._services.max_log_bytes
            self._kept[attempt] = KeptLog(lambda stream: state_dir.log_path(uid, attempt, stream), taken=printed, max_bytes=max_bytes)
        log = self._logs[attempt] = AttemptLog(
            run,
            attempt=attempt,
            pod=self._services.pod.name,
            write=lines.write,
            write_output=lines.write_output,
            has_room=lines.has_room,
            max_bytes=self._services.max_log_bytes,
            printed=printed,
            note_printed=lambda stdout, stderr: state_dir.note_printed(uid, attempt, stdout=stdout, stderr=stderr),
            previews=Outlet(asyncio.get_running_loop().call_later, lines.is_free, lines.write),
        )
        return log

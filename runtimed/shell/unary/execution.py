"""One id at a unary server, from Execute until it is forgotten: one task, so that nothing of it overtakes anything else of it.

The server has no fence and no boot id. So an Execute that was not answered leaves a doubt: it may still arrive. Until its deadline
has passed, "not found" means nothing; after it, Cancel and Forget make sure, and then it is lost (ownership.md, rule 27).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from enum import IntEnum, auto
from typing import Final

from krtpb.executor.v1 import runtime_pb2, stream_pb2

from runtimed.core.verdicts import EXECUTE_FAILED_PREFIX
from runtimed.shell.unary import answers
from runtimed.shell.unary.calls import FORGET_SECONDS, Calls, Refused, Unanswered

logger = logging.getLogger(__name__)

FORGET_PAUSE_SECONDS: Final = 0.1
Tell = Callable[[stream_pb2.SessionResponse], None]


class Aim(IntEnum):
    """What is wanted of it; within a session it only ever rises."""

    FOLLOW = auto()
    CANCEL = auto()
    FORGET = auto()


class UnaryExecution:
    """Remembered across sessions; `run` belongs to one of them, and ends with it or once the id is forgotten.

    `request` is sent once. Without one it was sent before, by this process or by an earlier one.
    """

    def __init__(
        self,
        key: stream_pb2.AttemptKey,
        *,
        calls: Calls,
        tell: Tell,
        request: runtime_pb2.ExecuteRequest | None = None,
        is_id_used: bool = False,
        doubtful_until: float = 0.0,
    ) -> None:
        self.key = key
        self.doubtful_until = doubtful_until
        """Of the monotonic clock, in seconds: until then an Execute under this id may arrive at the server."""
        self._calls, self._tell, self._request = calls, tell, request
        self._is_id_used = is_id_used
        self._is_start_told = request is None
        self._refusal = ""
        """What the server said no to Execute with."""
        self._failure = ""
        """What Execute failed with, while nothing is known to have come of it."""
        self._aim = Aim.FOLLOW
        self._changed = asyncio.Event()
        self._has_ended = False
        # As on the stream: of what an older session started, output is told on request only.
        self._output = answers.OutputReader() if request else None
        self._is_unanswered_told = False

    @property
    def is_sent(self) -> bool:
        """Whether the server may know it. If not, a new session owes it nothing."""
        return self._request is None

    def attach(self, *, stdout_offset: int, stderr_offset: int) -> None:
        """Output from there on, and the end again if it is over."""
        self._output = answers.OutputReader(stdout_offset=stdout_offset, stderr_offset=stderr_offset)
        self._has_ended = False
        self._changed.set()

    def turn_to(self, aim: Aim) -> None:
        self._aim = max(self._aim, aim)
        self._changed.set()

    def rest(self) -> None:
        """The session is over: what is wanted of it, the next one tells."""
        self._aim = Aim.FOLLOW
        self._failure = ""  # another server may be there by now: what it does not know is lost

    async def run(self) -> None:
        if self._request is not None:
            await self._execute(self._request)
        pauses = answers.Pauses()
        while self._aim is not Aim.FORGET:
            await self._wait(None if self._has_ended else pauses.next())
            if not self._has_ended:
                await self._look()
        if not self._has_ended:
            await self._look()
        await self._forget()
        self._tell(answers.forgotten(self.key))

    async def _execute(self, request: runtime_pb2.ExecuteRequest) -> None:
        if self._is_id_used:
            await self._clear()
        # STRICTLY BEFORE it is sent: whatever happens from here on, it is never sent again.
        self.doubtful_until = time.monotonic() + self._calls.execute_seconds
        self._request = None
        try:
            await self._calls.execute(request)
        except Refused as error:
            self.doubtful_until = 0.0
            self._refusal = str(error)
        except Unanswered as error:
            self._failure = str(error)
            logger.warning("Execute is not answered, asking for its Status", extra={"uid": self.key.run_uid, "error": str(error)})
        else:
            self.doubtful_until = 0.0
            self._tell_start()

    async def _look(self) -> None:
        """One step towards its end: asks how it is, or makes an end of it where more is wanted than to follow it."""
        if self._refusal:
            await self._clear()  # what it may have begun nevertheless, or has of somebody else under this id
            self._tell_end(answers.not_started(self.key, EXECUTE_FAILED_PREFIX + self._refusal, unix_micros=_unix_micros()))
        elif self._aim is not Aim.FOLLOW:
            await self._end()
        elif await self._is_denied():
            await self._clear()
            self._tell_end(self._loss())

    async def _is_denied(self) -> bool:
        """Whether the server does not know it and never will again. What it does know is told."""
        try:
            status = await self._ask()
        except Unanswered as error:
            self._log_unanswered(error)
            return False
        if status is not None:
            self._take(status)
        return status is None and not self._is_doubtful

    async def _ask(self) -> runtime_pb2.StatusResponse | None:
        """Raises Unanswered."""
        status = await self._calls.status(self.key.run_uid)
        if status is not None:
            self.doubtful_until, self._failure = 0.0, ""  # it has arrived, and was sent once
        return status

    def _take(self, status: runtime_pb2.StatusResponse) -> None:
        """Output first: an end comes after all of it."""
        self._tell_start()
        for output in self._output.read(status, key=self.key) if self._output else []:
            self._tell(output)
        if answers.has_ended(status):
            self._tell_end(answers.exited(status, key=self.key, unix_micros=_unix_micros()))

    def _loss(self) -> stream_pb2.SessionResponse:
        """An Execute that failed and that nothing came of has failed; what the server once took is lost."""
        if self._failure:
            return answers.not_started(self.key, EXECUTE_FAILED_PREFIX + self._failure, unix_micros=_unix_micros())
        return answers.lost(self.key, unix_micros=_unix_micros())

    async def _end(self) -> None:
        """Cancel takes the output along, so what there is of it is read first."""
        await self._is_denied()
        if self._has_ended:
            return
        status = await self._kill()
        if status is not None:
            self._take(status)
        else:
            self._tell_end(answers.cancelled(self.key, unix_micros=_unix_micros()))

    async def _kill(self) -> runtime_pb2.StatusResponse | None:
        """Until the server says that it has ended, or knows it no more and never will again (None)."""
        pauses = answers.Pauses()
        while True:
            await self._calls.cancel(self.key.run_uid)
            try:
                status = await self._ask()
            except Unanswered as error:
                self._log_unanswered(error)
            else:
                if status is not None and answers.has_ended(status):
                    return status
                if status is None and not self._is_doubtful:
                    return None
            await asyncio.sleep(pauses.next())

    async def _clear(self) -> None:
        """Nothing runs under this id afterwards, and nothing is retained. Tells nobody: it may be another attempt's."""
        await self._kill()
        await self._forget()

    async def _forget(self) -> None:
        """The server may refuse for a moment after the end; one that goes on refusing keeps a dead entry."""
        give_up_at = time.monotonic() + FORGET_SECONDS
        while not await self._calls.forget(self.key.run_uid):
            if time.monotonic() >= give_up_at:
                logger.warning("the Runtime Server refuses to forget an execution that has ended", extra={"uid": self.key.run_uid})
                return
            await asyncio.sleep(FORGET_PAUSE_SECONDS)

    @property
    def _is_doubtful(self) -> bool:
        return time.monotonic() < self.doubtful_until

    def _tell_start(self) -> None:
        if not self._is_start_told:
            self._is_start_told = True
            self._tell(answers.accepted(self.key))
            self._tell(answers.started(self.key, unix_micros=_unix_micros()))

    def _tell_end(self, response: stream_pb2.SessionResponse) -> None:
        self._has_ended = True
        self._tell(response)

    async def _wait(self, seconds: float | None) -> None:
        """Cut short when something else is wanted."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return
        self._changed.clear()

    def _log_unanswered(self, error: Unanswered) -> None:
        """Once an execution: it goes on being asked."""
        if not self._is_unanswered_told:
            self._is_unanswered_told = True
            logger.warning("Status is not answered, asking again", extra={"uid": self.key.run_uid, "error": str(error)})


def _unix_micros() -> int:
    return time.time_ns() // 1000

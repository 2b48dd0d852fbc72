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

from runtimed.core.verdicts import EXECUTE_REFUSED_PREFIX
from runtimed.shell.unary import answers
from runtimed.shell.unary.calls import EXECUTE_SECONDS, FORGET_SECONDS, Calls, Refused, Unanswered

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

    `doubtful_until` is of the monotonic clock, in seconds: until then an Execute of it may arrive at the server.
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
        self._calls, self._tell, self._request = calls, tell, request
        self._is_id_used = is_id_used
        self._doubtful_until = doubtful_until
        self._aim = Aim.FOLLOW
        self._turned = asyncio.Event()
        self._forget_asked = asyncio.Event()
        self._has_ended = False
        self._output = answers.OutputReader()
        self._is_unanswered_told = False

    @property
    def is_sent(self) -> bool:
        """Whether the server may know it. If not, a new session owes it nothing."""
        return self._request is None

    def attach(self, *, stdout_offset: int, stderr_offset: int) -> None:
        """Output from there on, and the end again if it is over."""
        self._output = answers.OutputReader(stdout_offset=stdout_offset, stderr_offset=stderr_offset)
        self._has_ended = False

    def turn_to(self, aim: Aim) -> None:
        self._aim = max(self._aim, aim)
        self._turned.set()
        if aim is Aim.FORGET:
            self._forget_asked.set()

    def rest(self) -> None:
        """The session is over: what is wanted of it, the next one tells."""
        self._aim = Aim.FOLLOW
        self._turned.clear()
        self._forget_asked.clear()

    async def run(self) -> None:
        """Raises ConnectionLost."""
        if self._request is not None:
            await self._execute(self._request)
        if not self._has_ended:
            await self._follow()
        if not self._has_ended:
            await self._end()
        await self._forget_asked.wait()
        await self._forget()
        self._tell(answers.forgotten(self.key))

    async def _execute(self, request: runtime_pb2.ExecuteRequest) -> None:
        if self._is_id_used:
            await self._clear()
        # STRICTLY BEFORE it is sent: whatever happens from here on, it is never sent again.
        self._doubtful_until = time.monotonic() + EXECUTE_SECONDS
        self._request = None
        try:
            await self._calls.execute(request)
        except Refused as error:
            self._doubtful_until = 0.0
            await self._clear()  # what it may have begun nevertheless, or has of somebody else under this id
            self._tell_end(answers.not_started(self.key, f"{EXECUTE_REFUSED_PREFIX}{error}", unix_micros=_unix_micros()))
        except Unanswered as error:
            logger.warning("Execute is not answered, asking for its Status", extra={"uid": self.key.run_uid, "code": error.code})
        else:
            self._doubtful_until = 0.0
            self._tell(answers.accepted(self.key))
            self._tell(answers.started(self.key, unix_micros=_unix_micros()))

    async def _follow(self) -> None:
        """Until it has ended, or something else is wanted of it."""
        pauses = answers.Pauses()
        while self._aim is Aim.FOLLOW and not self._has_ended:
            await self._pause(pauses.next())
            try:
                status = await self._calls.status(self.key.run_uid)
            except Unanswered as error:
                self._log_unanswered(error)
                continue
            if status is not None:
                self._doubtful_until = 0.0
                self._take(status)
            elif not self._is_doubtful:
                await self._clear()
                self._tell_end(answers.lost(self.key, unix_micros=_unix_micros()))

    def _take(self, status: runtime_pb2.StatusResponse) -> None:
        """Output first: an end comes after all of it."""
        for output in self._output.read(status, key=self.key):
            self._tell(output)
        if answers.has_ended(status):
            self._tell_end(answers.exited(status, key=self.key, unix_micros=_unix_micros()))

    async def _end(self) -> None:
        """Cancel takes the output along, so what there is of it is read first."""
        try:
            status = await self._calls.status(self.key.run_uid)
        except Unanswered as error:
            self._log_unanswered(error)
        else:
            if status is not None:
                self._take(status)
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
                status = await self._calls.status(self.key.run_uid)
            except Unanswered as error:
                self._log_unanswered(error)
            else:
                if status is not None and answers.has_ended(status):
                    return status
                if status is None and not self._is_doubtful:
                    return None
            await asyncio.sleep(pauses.next())

    async def _clear(self) -> None:
        """Nothing runs under this id afterwards, and nothing is retained."""
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
        return time.monotonic() < self._doubtful_until

    def _tell_end(self, response: stream_pb2.SessionResponse) -> None:
        self._has_ended = True
        self._tell(response)

    async def _pause(self, seconds: float) -> None:
        """Cut short when something else is wanted."""
        try:
            async with asyncio.timeout(seconds):
                await self._turned.wait()
        except TimeoutError:
            pass

    def _log_unanswered(self, error: Unanswered) -> None:
        """Once an execution: it goes on being asked."""
        if not self._is_unanswered_told:
            self._is_unanswered_told = True
            logger.warning("Status is not answered, asking again", extra={"uid": self.key.run_uid, "code": error.code})


def _unix_micros() -> int:
    return time.time_ns() // 1000

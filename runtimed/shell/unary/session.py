"""A session with a Runtime Server that has no stream: the same frames in, the same responses out.

What the stream's server does is done here: remember which attempt an id stands for, push what has changed, name what is held.
Knows nothing of Runs.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from typing import Final

import grpc
from krtpb.executor.v1 import stream_pb2

from runtimed.core.facts import Held
from runtimed.shell.listener import Listener
from runtimed.shell.unary import answers
from runtimed.shell.unary.calls import EXECUTE_SECONDS, Calls
from runtimed.shell.unary.execution import Aim, UnaryExecution

logger = logging.getLogger(__name__)

NOBODYS_ATTEMPT: Final = -1
"""Of an id that nobody here asked for: never wanted, so it is let go of before anything is started under it."""


class UnarySession:
    """`hold` for one session after the other; `send` at any time. What was sent to the server is remembered across them."""

    def __init__(self, channel: grpc.aio.Channel, *, listener: Listener, execute_seconds: float = EXECUTE_SECONDS) -> None:
        self._channel = channel
        self._calls = Calls(channel, execute_seconds=execute_seconds)
        self._listener = listener
        # The server has no boot id. Ours must not be a new one each session: an Execute that was never sent may still be sent.
        # What was sent is named as held until the server itself denies it, so that nothing is sent twice.
        self._boot_id = f"unary-{secrets.token_hex(8)}"
        self._executions: dict[str, UnaryExecution] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None

    @property
    def is_standing(self) -> bool:
        return self._group is not None

    def remember(self, run_uid: str, attempt: int, *, has_arrived: bool) -> None:
        """What an earlier process of this Pod meant to execute. Unless it is known to have arrived, its Execute still may.

        That process is dead and sent it at some time after its marker, maybe in its last moment: so the doubt counts from now.
        """
        known = self._executions.get(run_uid)
        if known is not None and known.key.attempt > attempt:
            return  # the server has one entry an id: the latest
        key = stream_pb2.AttemptKey(run_uid=run_uid, attempt=attempt)
        doubtful_until = 0.0 if has_arrived else time.monotonic() + self._calls.execute_seconds
        self._executions[run_uid] = UnaryExecution(key, calls=self._calls, tell=self._tell, doubtful_until=doubtful_until)

    async def check_health(self) -> str:
        """What is wrong with the server, by its own word; empty for nothing. Raises AioRpcError."""
        health = await self._calls.health()
        return "" if health.healthy else health.message or "it does not say why"

    async def hold(self) -> None:
        """From List until the connection is lost. Raises AioRpcError when it does not come to that."""
        for run_uid in await self._list():
            self._executions.setdefault(run_uid, self._leftover(run_uid))
        try:
            async with asyncio.TaskGroup() as group:
                try:
                    await self._stand(group)
                finally:
                    # STRICTLY BEFORE the group ends its tasks: it takes no new ones meanwhile.
                    self._group = None
                    for task in self._tasks.values():
                        task.cancel()
        finally:
            self._tasks.clear()
            self._executions = {uid: execution for uid, execution in self._executions.items() if execution.is_sent}
            for execution in self._executions.values():
                execution.rest()
            self._listener.on_lost()

    async def _stand(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        held = {uid: {execution.key.attempt: Held()} for uid, execution in self._executions.items()}
        logger.info("session stands, unary", extra={"held": len(held)})
        self._listener.on_welcome(self._boot_id, held)
        # The connection is the session. Its loss is an event: also a server that holds nothing is missed at once.
        ready = grpc.ChannelConnectivity.READY
        if self._channel.get_state() is ready:
            await self._channel.wait_for_state_change(ready)
        logger.warning("the connection to the Runtime Server is lost")

    async def _list(self) -> list[str]:
        try:
            return await self._calls.list_run_uids()
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
            # It carries all output. What we asked for ourselves is remembered by its markers, and found by Status.
            logger.error("List is larger than a message may be: executions that nobody here asked for are not found")
            return []

    def _leftover(self, run_uid: str) -> UnaryExecution:
        key = stream_pb2.AttemptKey(run_uid=run_uid, attempt=NOBODYS_ATTEMPT)
        return UnaryExecution(key, calls=self._calls, tell=self._tell)

    # -- frames in ----------------------------------------------------------------------------------------------------

    def send(self, frame: stream_pb2.SessionRequest) -> None:
        """Dropped without a session that stands: the next Welcome tells what is still to be sent."""
        if self._group is None:
            return
        match frame.WhichOneof("event"):
            case "execute":
                self._execute(frame.execute)
            case "attach":
                self._attach(frame.attach)
            case "cancel":
                self._turn(frame.cancel.key, Aim.CANCEL)
            case "forget":
                self._turn(frame.forget.key, Aim.FORGET)

    def _execute(self, execute: stream_pb2.Execute) -> None:
        key = execute.key
        old = self._executions.get(key.run_uid)
        if old is not None and old.key == key:
            self._tell(stream_pb2.SessionResponse(accepted=stream_pb2.Accepted(key=key, duplicate=True)))
            return
        self._executions[key.run_uid] = UnaryExecution(
            key,
            calls=self._calls,
            tell=self._tell,
            request=answers.request_of(execute),
            # The protocol knows no attempts: whatever the server has of an earlier one goes first, also what is on its way to it.
            is_id_used=key.attempt > 0 or old is not None,
            doubtful_until=old.doubtful_until if old is not None else 0.0,
        )
        if task := self._tasks.pop(key.run_uid, None):
            task.cancel()
        self._start(self._executions[key.run_uid])

    def _attach(self, attach: stream_pb2.Attach) -> None:
        execution = self._find(attach.key)
        if execution is not None:
            execution.attach(stdout_offset=attach.stdout_offset, stderr_offset=attach.stderr_offset)
            self._start(execution)

    def _turn(self, key: stream_pb2.AttemptKey, aim: Aim) -> None:
        execution = self._find(key)
        if execution is not None:
            execution.turn_to(aim)
            self._start(execution)

    def _find(self, key: stream_pb2.AttemptKey) -> UnaryExecution | None:
        """Of an unknown key the answer is Forgotten, as the stream's."""
        execution = self._executions.get(key.run_uid)
        if execution is not None and execution.key == key:
            return execution
        self._tell(answers.forgotten(key))
        return None

    # -- responses out ------------------------------------------------------------------------------------------------

    def _start(self, execution: UnaryExecution) -> None:
        run_uid = execution.key.run_uid
        if run_uid not in self._tasks and self._group is not None:
            self._tasks[run_uid] = self._group.create_task(execution.run(), name=f"unary execution {run_uid}")

    def _tell(self, response: stream_pb2.SessionResponse) -> None:
        if response.WhichOneof("event") == "forgotten":
            # STRICTLY BEFORE the telling: it may be answered by the Execute of the next attempt.
            key = response.forgotten.key
            known = self._executions.get(key.run_uid)
            if known is not None and known.key == key:
                del self._executions[key.run_uid]
                self._tasks.pop(key.run_uid, None)
        self._listener.on_response(response)

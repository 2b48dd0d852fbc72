"""The one table of executions behind both services, keyed by (run_uid, attempt), and the only place that starts and stops them.

Everything here is synchronous in the event loop: a request is acted on entirely, or (fenced) not at all. Whoever wants to wait
awaits `Execution.ended`. Not here: gRPC, and who is told what (an Observer is).
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Iterator
from typing import Protocol

from servers.sdk import exits
from servers.sdk.command import CannotRun, ChooseCommand, Command, Request
from servers.sdk.environment import allowed_part, compose_environment
from servers.sdk.execution import AttemptId, Execution
from servers.sdk.exits import Exit, ExitReason
from servers.sdk.limits import ERROR_MESSAGE_CHARACTERS
from servers.sdk.pipes import PipeReader
from servers.sdk.supervisor_link import SupervisorLink
from servers.sdk.warmth import Warmth
from servers.supervisor.channel import OutputFds, close_fds
from servers.supervisor.spec import StartSpec
from servers.supervisor.wire import Message

_log = logging.getLogger(__name__)


class Observer(Protocol):
    """Told at once, in the event loop; must only take note."""

    def on_started(self, execution: Execution) -> None: ...
    def on_output(self, execution: Execution) -> None: ...
    def on_ended(self, execution: Execution) -> None: ...
    def on_forgotten(self, attempt: AttemptId) -> None: ...


class Registry:
    def __init__(self, *, choose_command: ChooseCommand, work_dir: str, observer: Observer, warmth: Warmth | None = None) -> None:
        self._choose_command = choose_command
        # The supervisor's own working directory is another one.
        self._work_dir = os.path.abspath(work_dir)
        self._observer = observer
        self._own_environment = allowed_part(os.environ)
        self._executions: dict[AttemptId, Execution] = {}
        self._by_ticket: dict[int, Execution] = {}
        self._pipes: dict[int, list[PipeReader]] = {}
        self._last_ticket = 0
        self._emptied = asyncio.Event()
        self.supervisor = SupervisorLink(self, warmth=warmth)

    # Looking

    def get(self, attempt: AttemptId) -> Execution | None:
        return self._executions.get(attempt)

    def latest(self, run_uid: str) -> Execution | None:
        """What unary requests mean by an id: the highest attempt of the Run."""
        return max(self.attempts_of(run_uid), key=lambda execution: execution.id, default=None)

    def attempts_of(self, run_uid: str) -> list[Execution]:
        return [execution for execution in self._executions.values() if execution.id.run_uid == run_uid]

    def __iter__(self) -> Iterator[Execution]:
        return iter(list(self._executions.values()))

    def __len__(self) -> int:
        return len(self._executions)

    @property
    def running(self) -> list[Execution]:
        return [execution for execution in self._executions.values() if not execution.is_over]

    async def wait_until_empty(self) -> None:
        while self._executions:
            self._emptied.clear()
            await self._emptied.wait()

    # Acting

    def execute(self, attempt: AttemptId, request: Request) -> Execution:
        """Starts it, or ends it at once as NOT_STARTED. The id must be unknown: ask `get` first."""
        assert attempt not in self._executions, "an attempt is executed at most once"
        self._last_ticket += 1
        execution = Execution(attempt, ticket=self._last_ticket, received_micros=_now_micros())
        self._executions[attempt] = execution
        try:
            order = self._prepare(request, ticket=execution.ticket)
        except CannotRun as refusal:
            self._end(execution, exits.not_started(str(refusal)[:ERROR_MESSAGE_CHARACTERS], micros=_now_micros()))
            return execution
        self._by_ticket[execution.ticket] = execution
        self.supervisor.start(order)
        return execution

    def stop(self, execution: Execution, *, grace_seconds: float, reason: str = exits.CANCELLED) -> None:
        """SIGTERM to its tree, SIGKILL after the grace. The first reason counts; a shorter grace always does."""
        if execution.is_over:
            return
        execution.stop_reason = execution.stop_reason or reason
        self.supervisor.stop(execution.ticket, grace_seconds=grace_seconds)

    def forget(self, execution: Execution) -> None:
        """Drops it; one that still runs is killed first and dropped when all of it is gone."""
        if execution.is_over:
            self._drop(execution)
            return
        execution.is_forgotten = True
        self.stop(execution, grace_seconds=0)

    # What the supervisor says

    def on_started(self, message: Message, *, output: OutputFds | None) -> None:
        execution = self._by_ticket.get(message["id"])
        if execution is None:
            close_fds(output)
            return
        is_first = not execution.has_started
        execution.pid = message["pid"]
        execution.started_micros = message["micros"]
        if is_first:
            # A second time: the process that was held ready for it was killed, and had not begun.
            self._observer.on_started(execution)
        _log.debug(
            "started",
            extra={
                "run_uid": execution.id.run_uid,
                "attempt": execution.id.attempt,
                "pid": execution.pid,
                "warm": message["warm"],
                "received_micros": execution.received_micros,
                "started_micros": execution.started_micros,
            },
        )
        if output is None:
            _log.error("output cannot be read: too many open files", extra={"run_uid": execution.id.run_uid})
            return
        self._pipes.setdefault(execution.ticket, []).extend(
            PipeReader(fd, into=retained, on_data=lambda: self._observer.on_output(execution))
            for fd, retained in zip(output, (execution.stdout, execution.stderr), strict=True)
        )

    def on_refused(self, message: Message) -> None:
        execution = self._by_ticket.get(message["id"])
        if execution is not None:
            self._end(execution, exits.not_started(message["message"], micros=_now_micros()))

    def on_ended(self, message: Message) -> None:
        execution = self._by_ticket.get(message["id"])
        if execution is None:
            return
        if message.get("survivors"):
            extra = {"run_uid": execution.id.run_uid, "attempt": execution.id.attempt, "survivors": message["survivors"]}
            _log.error("processes survived SIGKILL", extra=extra)
        self._end(execution, self._judge(execution, message))

    def on_supervisor_lost(self) -> None:
        for execution in list(self._by_ticket.values()):
            self._end(execution, exits.lost("the supervisor died, and with it the process tree", micros=_now_micros()))

    # Inside

    def _prepare(self, request: Request, *, ticket: int) -> StartSpec:
        working_dir = self._working_dir(request)
        command = self._choose_command(request, working_dir=working_dir)
        for index, argument in enumerate(request.args):
            if "\0" in argument:
                raise CannotRun(f"args[{index}]: contains NUL, which no argument can hold")
        return self._order(command, request, ticket=ticket, working_dir=working_dir)

    def _order(self, command: Command, request: Request, *, ticket: int, working_dir: str) -> StartSpec:
        env = compose_environment(self._own_environment, defaults=command.env_defaults, run_env=request.env)
        return StartSpec(ticket, command.executable, list(command.argv), env, working_dir)

    def _working_dir(self, request: Request) -> str:
        if "\0" in request.working_dir:
            raise CannotRun("working_dir: contains NUL")
        path = os.path.join(self._work_dir, request.working_dir or _directory_name(request.run_uid))
        try:
            if not os.path.isdir(path):
                os.makedirs(path, exist_ok=True)
        except OSError as error:
            raise CannotRun(f"mkdir: {path}: {error.strerror}") from error
        return path

    @staticmethod
    def _judge(execution: Execution, message: Message) -> Exit:
        micros = message["micros"]
        if message["lost"] and not message["stopped"]:
            return exits.lost("the keeper of its processes was killed, and with it the process tree", micros=micros)
        code, number, text = exits.describe_status(9 if message["lost"] else message["status"])
        return Exit(
            ExitReason.CANCELLED if message["stopped"] else ExitReason.EXITED,
            exit_code=code,
            signal=number,
            error_message=(execution.stop_reason or exits.CANCELLED) if message["stopped"] else text,
            micros=micros,
            cpu_seconds=message.get("cpu_seconds", 0.0),
            peak_rss_bytes=message.get("peak_rss_bytes", 0),
        )

    def _end(self, execution: Execution, outcome: Exit) -> None:
        # STRICTLY BEFORE the end is told: output still in the pipes belongs before it.
        for pipe in self._pipes.pop(execution.ticket, ()):
            pipe.finish()
        self._by_ticket.pop(execution.ticket, None)
        execution.end(outcome)
        if execution.is_forgotten:
            self._drop(execution)
        else:
            self._observer.on_ended(execution)

    def _drop(self, execution: Execution) -> None:
        del self._executions[execution.id]
        if not self._executions:
            self._emptied.set()
        self._observer.on_forgotten(execution.id)


def _directory_name(run_uid: str) -> str:
    if not run_uid or run_uid in {".", ".."} or "/" in run_uid or "\0" in run_uid:
        raise CannotRun("working_dir: is absent, and the id cannot name a directory")
    return run_uid


def _now_micros() -> int:
    return time.time_ns() // 1000

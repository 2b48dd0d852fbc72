"""`python -m bench.slowed STEP -- PROGRAM …`: a program of ours with 5 ms more in one step of a Run's path, to test the gate.

The program itself knows nothing of it: before it starts, the function that the step goes through is wrapped. The node hosts no
step, but starts the containers of its Pods through this module. A function that is not there any more is an error, not silence.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import runpy
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from controlplane.local import programs
from controlplane.scheduler.model import RunSeen
from k8s.api import phases
from k8s.client import RUNS

EXTRA_SECONDS = 0.005
NODE = "controlplane.local.node"
_SCHEDULER, _RUNTIMED, _SERVER = "controlplane.scheduler", "runtimed", "servers.bash"
_MODULES = {"runtimed": _RUNTIMED, "krt-server-bash": _SERVER, "krt-server-python": "servers.python"}


class Step(NamedTuple):
    """Where a Run passes, once each."""

    what: str
    program: str
    """The module that is executed."""
    target: str
    """`module:attribute` of the function."""
    concerns: Callable[..., bool] = lambda *_, **__: True
    """Whether this call is part of the step; called with the function's arguments."""


def _sees_new_run(_: object, event: object, **__: object) -> bool:
    return isinstance(event, RunSeen) and event.run.phase == phases.PENDING


def _writes_run(_: object, resource: object, *__: object, **___: object) -> bool:
    return resource is RUNS


STEPS = {
    "client-scheduler": Step("client → scheduler", _SCHEDULER, "controlplane.scheduler.core:SchedulerCore.handle", _sees_new_run),
    "decision-patch": Step("scheduler: decision → patch", _SCHEDULER, "k8s.client.transport:ApiClient.patch", _writes_run),
    "receive-execute": Step("runtimed: receive → execute", _RUNTIMED, "runtimed.shell.frames:execute"),
    "execute-start": Step("server: execute → start", _SERVER, "servers.sdk.registry:Registry.execute"),
    "exit-report": Step("server: exit → runtimed", _SERVER, "servers.sdk.registry:Registry.on_ended"),
    "report-patch": Step("runtimed: exit → terminal patch", _RUNTIMED, "k8s.client.transport:ApiClient.patch", _writes_run),
}


def launcher(step: str) -> tuple[str, ...]:
    """The words before a module that start it slowed."""
    return (sys.executable, "-P", "-m", "bench.slowed", step, "--")


def slow(function: Callable[..., Any], *, concerns: Callable[..., bool], extra_seconds: float) -> Callable[..., Any]:
    """The same function, later. A coroutine waits without keeping others from their turn, a plain function can only block."""
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def waiting(*arguments: Any, **named: Any) -> Any:
            if concerns(*arguments, **named):
                await asyncio.sleep(extra_seconds)
            return await function(*arguments, **named)

        return waiting

    @functools.wraps(function)
    def blocking(*arguments: Any, **named: Any) -> Any:
        if concerns(*arguments, **named):
            time.sleep(extra_seconds)
        return function(*arguments, **named)

    return blocking


def slow_down(step: Step, *, extra_seconds: float = EXTRA_SECONDS) -> None:
    """Wraps the step's function where it lives. Raises AttributeError or ImportError when it does not live there."""
    module_name, _, path = step.target.partition(":")
    *owners, name = path.split(".")
    owner: Any = functools.reduce(getattr, owners, importlib.import_module(module_name))
    setattr(owner, name, slow(getattr(owner, name), concerns=step.concerns, extra_seconds=extra_seconds))


def main(arguments: list[str]) -> None:
    """STEP -- PROGRAM and its own arguments."""
    step_name, separator, program, *rest = arguments
    assert separator == "--", "usage: python -m bench.slowed STEP -- PROGRAM [ARGUMENT ...]"
    step, module = STEPS[step_name], _MODULES.get(program, program)
    if module == step.program:
        slow_down(step)
    if module == NODE:
        programs.program = lambda name: [*launcher(step_name), name]
    sys.argv = [program, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Which Python process a request means (interface.md 7.2). Pure but for a look at whether the script is there."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from servers.sdk import CannotRun, CannotServe, Command, Request, WarmChildren, script_in

NOTHING_TO_RUN = "no script or args provided"
"""Other words than the Bash server's, on purpose: runtimed classifies by the text, and this one is in the contract too."""

_CALL_HANDLER = str(Path(__file__).with_name("call_handler.py"))

# Output reaches the reader when it is printed, not when a buffer is full. A Run that sets it, also to "", decides itself.
_ENV_DEFAULTS = {"PYTHONUNBUFFERED": "1"}


@dataclass(frozen=True, slots=True)
class PythonCommands:
    interpreter: str
    preload: tuple[str, ...] = ()

    @classmethod
    def find(cls, preload: tuple[str, ...] = ()) -> PythonCommands:
        if not sys.executable:
            raise CannotServe("python: the interpreter of this server does not know its own path")
        return cls(sys.executable, preload)

    @property
    def warm_children(self) -> WarmChildren:
        return WarmChildren("python", executable=self.interpreter, env_defaults=_ENV_DEFAULTS, preload=self.preload)

    def __call__(self, request: Request, *, working_dir: str) -> Command:
        if request.handler:
            return self._python(_CALL_HANDLER, checked_handler(request.handler), *request.args)
        if script := script_in(working_dir, entrypoint=request.entrypoint):
            return self._python(script, *request.args)
        if request.args:
            return self._python(*request.args)
        raise CannotRun(NOTHING_TO_RUN)

    def _python(self, *arguments: str) -> Command:
        return Command(executable=self.interpreter, argv=[self.interpreter, *arguments], env_defaults=_ENV_DEFAULTS)


def checked_handler(handler: str) -> str:
    parts = handler.split(".")
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        raise CannotRun("handler: must be module.function, each part a Python identifier")
    return handler

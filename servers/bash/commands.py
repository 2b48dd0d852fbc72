"""Which bash process a request means (interface.md 7.1). Pure but for a look at whether the script is there."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from servers.sdk import CannotRun, CannotServe, Command, Request, WarmChildren, script_in

NOTHING_TO_RUN = "no args or script provided"
"""Exactly this: runtimed classifies by it."""

_SHELLS = ("sh", "bash")


@dataclass(frozen=True, slots=True)
class BashCommands:
    """The shells' own paths, found once: a Run that sets PATH still gets these."""

    paths: dict[str, str]

    @classmethod
    def find(cls) -> BashCommands:
        paths = {name: path for name in _SHELLS if (path := shutil.which(name))}
        if "bash" not in paths:
            raise CannotServe("bash: not found on PATH; the Bash Runtime Server needs it")
        return cls(paths)

    @property
    def warm_children(self) -> WarmChildren:
        return WarmChildren("bash", executable=self.paths["bash"])

    def __call__(self, request: Request, *, working_dir: str) -> Command:
        if script := script_in(working_dir, entrypoint=request.entrypoint):
            return self._shell("bash", script, *request.args)
        return self._from_args(list(request.args))

    def _from_args(self, args: list[str]) -> Command:
        if len(args) >= 3 and args[0] in _SHELLS and args[1] == "-c":
            return self._shell(*args)
        if not args:
            raise CannotRun(NOTHING_TO_RUN)
        return self._shell("bash", "-c", args[0] if len(args) == 1 else "\n".join(args) + "\n")

    def _shell(self, *argv: str) -> Command:
        return Command(executable=self.paths.get(argv[0], argv[0]), argv=list(argv))

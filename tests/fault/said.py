"""What components have logged since a row began."""

from __future__ import annotations

from pathlib import Path

from tests.fault.platform import Platform


class Said:
    """From the moment at which it is made."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._ends = {log: log.stat().st_size for log in self._logs()}

    def by(self, component: str) -> str:
        """By a process of the system."""
        return self._new_text(self._platform.system.folder / f"{component}.log")

    def by_all(self) -> str:
        """By those in Pods too."""
        return "".join(map(self._new_text, self._logs()))

    def errors(self) -> list[str]:
        """Tracebacks, and lines of level error or above."""
        signs = ('"level":"error"', '"level":"critical"', "Traceback")
        return [
            f"{log.name}: {line[:400]}"
            for log in self._logs()
            for line in self._new_text(log).splitlines()
            if any(sign in line for sign in signs)
        ]

    def _new_text(self, log: Path) -> str:
        with log.open("rb") as file:
            file.seek(self._ends.get(log, 0))
            return file.read().decode(errors="replace")

    def _logs(self) -> list[Path]:
        return [*self._platform.system.folder.glob("*.log"), *self._platform.node_root.glob("pods/*/logs/*/*.log")]

"""One step of the core: the state, the instant, and the decisions gathered so far."""

from __future__ import annotations

from dataclasses import dataclass, field

from runtimed.core.decisions import Decision, StartTimer, StopTimer
from runtimed.core.facts import Instant, Timer
from runtimed.core.state import Progress, RunState


@dataclass(slots=True)
class Step:
    state: RunState
    now: Instant
    decisions: list[Decision] = field(default_factory=list)

    def decide(self, decision: Decision) -> None:
        self.decisions.append(decision)

    def start_once(self, progress: Progress, timer: Timer, *, seconds: float) -> None:
        """Starts a timer of the wanted attempt, once."""
        if timer not in progress.timers:
            progress.timers.add(timer)
            self.decide(StartTimer(timer, progress.number, seconds))

    def stop(self, progress: Progress, timer: Timer) -> None:
        """Stops it, and it will not be started again for this attempt."""
        if timer in progress.timers:
            self.decide(StopTimer(timer))
        progress.timers.add(timer)

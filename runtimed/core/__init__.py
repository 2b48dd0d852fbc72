"""The pure core of runtimed: one state machine a Run (`machine`), the rules of ownership.md made code (`course`, `writing`)."""

from runtimed.core.facts import Exit, ExitReason, Held, Instant, Marker, Outcome, Timer, Workspace, WriteKind
from runtimed.core.machine import RunMachine

__all__ = ["Exit", "ExitReason", "Held", "Instant", "Marker", "Outcome", "RunMachine", "Timer", "Workspace", "WriteKind"]

"""RFC 3339 in microseconds: the one form in which we write instants."""

from __future__ import annotations

from datetime import UTC, datetime


def format_timestamp(instant: datetime) -> str:
    """UTC with six fractional digits and `Z`, e.g. `2026-08-09T10:00:01.000250Z`. Whole-second readers parse it too."""
    # A quarter of what strftime takes, ten times a Run.
    return instant.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def parse_timestamp(text: str) -> datetime:
    """Any RFC 3339 instant, as aware datetime. Raises ValueError."""
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; write it as in 2026-08-09T10:00:01Z")
    return instant


def from_unix_micros(micros: int) -> datetime:
    """Microseconds since 1970-01-01 UTC as aware datetime."""
    return datetime.fromtimestamp(micros // 1_000_000, tz=UTC).replace(microsecond=micros % 1_000_000)

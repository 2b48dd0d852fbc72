"""How long things took and when they were, for humans."""

from __future__ import annotations

from datetime import UTC, datetime

NONE = "-"
"""What an empty cell shows."""


def human_age(seconds: float) -> str:
    """The way kubectl shortens it: 12s, 5m, 3h5m, 2d. Two units only where the smaller one still says something."""
    whole = int(seconds)
    if whole < 0:
        return "0s"
    if whole < 120:
        return f"{whole}s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if minutes < 10:
        return _joined(minutes, "m", whole % 60, "s")
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return _joined(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _joined(days, "d", hours % 24, "h")
    if days < 2 * 365:
        return f"{days}d"
    return _joined(days // 365, "y", days % 365, "d") if days < 8 * 365 else f"{days // 365}y"


def human_duration(seconds: float) -> str:
    """To the precision that matters: 12ms, 1.53s, 2m5s."""
    if seconds < 0.001:
        return f"{seconds * 1000:.1f}ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    return f"{seconds:.2f}s" if seconds < 60 else human_age(seconds)


def exact_duration(seconds: float) -> str:
    """To the precision of the latency ledger: 85µs, 3.21ms, 41.7ms, 417ms, 1.53s, 2m5s."""
    sign, size = ("-", -seconds) if seconds < 0 else ("", seconds)
    if not size:
        return "0s"
    if size < 0.001:
        return f"{sign}{size * 1e6:.0f}µs"
    if size < 1:
        return f"{sign}{size * 1000:.{2 if size < 0.01 else 1 if size < 0.1 else 0}f}ms"
    return f"{sign}{size:.2f}s" if size < 60 else sign + human_age(size)


def age_of(text: str | None, *, now: datetime) -> str:
    """The age of a timestamp as objects carry it; `-` when there is none."""
    instant = parse_instant(text)
    return NONE if instant is None else human_age((now - instant).total_seconds())


def parse_instant(text: str | None) -> datetime | None:
    """None for an absent or broken timestamp: what is shown must not fail on it."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC) if text else None
    except ValueError:
        return None


def local_time(text: str | None) -> str:
    """`2006-01-02 15:04:05`, in the time zone of the person."""
    instant = parse_instant(text)
    return NONE if instant is None else instant.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _joined(count: int, unit: str, rest: int, rest_unit: str) -> str:
    return f"{count}{unit}{rest}{rest_unit}" if rest else f"{count}{unit}"

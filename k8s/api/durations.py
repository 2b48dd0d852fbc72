"""Go duration strings (`1m30s`, `500ms`), the form of every duration in our objects and flags."""

from __future__ import annotations

import re
from datetime import timedelta

_NANOSECONDS = {"ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": 1_000_000, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")


def parse_duration(text: str) -> timedelta:
    """`text` as Go's time.ParseDuration reads it, to the microsecond. Raises ValueError naming the accepted form."""
    sign, body = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if body == "0":
        return timedelta()
    parts = list(_PART.finditer(body))
    if not parts or "".join(part.group() for part in parts) != body:
        raise ValueError(f"{text[:64]!r} is not a duration; write it as in 1m30s, 2s or 500ms")
    nanoseconds = sum(float(part[1]) * _NANOSECONDS[part[2]] for part in parts)
    try:
        return sign * timedelta(microseconds=nanoseconds / 1000)
    except OverflowError as error:
        raise ValueError(f"{text[:64]!r} is too long a duration") from error


def format_duration(duration: timedelta) -> str:
    """The way Go prints it: `1m30s`, `1.5s`, `250ms`, `0s`."""
    microseconds = duration // timedelta(microseconds=1)
    if microseconds < 0:
        return "-" + format_duration(-duration)
    if microseconds == 0:
        return "0s"
    if microseconds < 1_000_000:
        return f"{microseconds}µs" if microseconds < 1000 else f"{_trimmed(microseconds, 1000)}ms"
    minutes, microseconds = divmod(microseconds, 60_000_000)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{_trimmed(microseconds, 1_000_000)}s"
    if hours:
        return f"{hours}h{minutes}m{seconds}"
    return f"{minutes}m{seconds}" if minutes else seconds


def _trimmed(count: int, unit: int) -> str:
    whole, rest = divmod(count, unit)
    digits = len(str(unit)) - 1
    return f"{whole}.{rest:0{digits}d}".rstrip("0") if rest else str(whole)

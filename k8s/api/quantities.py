"""Kubernetes quantities, as far as logical resources need them: whole, non-negative numbers."""

from __future__ import annotations

import re
from fractions import Fraction

_QUANTITY = re.compile(r"^([+-]?)(\d+\.?\d*|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d{1,2})?$")
_BINARY = {suffix: 1024**power for power, suffix in enumerate(["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"], start=1)}
_DECIMAL = {suffix: Fraction(10) ** power for suffix, power in zip("numkMGTPE", (-9, -6, -3, 3, 6, 9, 12, 15, 18), strict=True)}


def parse_quantity(value: str | int) -> Fraction:
    """Its exact value. Raises ValueError when it is not a quantity."""
    match = _QUANTITY.match(str(value))
    if not match:
        raise ValueError(f"{str(value)[:64]!r} is not a quantity; write it as in 4, 500m or 2Gi")
    number = Fraction(match[2]) * (-1 if match[1] == "-" else 1)
    suffix = match[3] or ""
    if suffix in _BINARY:
        return number * _BINARY[suffix]
    if suffix in _DECIMAL:
        return number * _DECIMAL[suffix]
    return number * Fraction(10) ** int(suffix[1:]) if suffix else number


def parse_count(value: str | int) -> int:
    """A whole, non-negative quantity. Raises ValueError otherwise."""
    quantity = parse_quantity(value)
    if quantity.denominator != 1 or quantity < 0:
        raise ValueError(f"{str(value)[:64]!r} must be a whole number, zero or more")
    return int(quantity)

"""Kubernetes quantities, as far as logical resources need them: whole, non-negative numbers."""

from __future__ import annotations

import re
from fractions import Fraction

_QUANTITY = re.compile(r"^([+-]?)(\d+\.?\d*|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d{1,2})?$")
_BINARY = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "Pi": 1 << 50, "Ei": 1 << 60}
_EXPONENTS = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}


def parse_quantity(value: str | int) -> Fraction:
    """Its exact value. Raises ValueError when it is not a quantity."""
    match = _QUANTITY.match(str(value))
    if not match:
        raise ValueError(f"{str(value)[:64]!r} is not a quantity; write it as in 4, 500m or 2Gi")
    number = -Fraction(match[2]) if match[1] == "-" else Fraction(match[2])
    suffix = match[3] or ""
    if suffix in _BINARY:
        return number * _BINARY[suffix]
    exponent = _EXPONENTS[suffix] if suffix in _EXPONENTS else int(suffix[1:] or 0)
    power: int = 10 ** abs(exponent)
    return number * power if exponent >= 0 else number / power


def parse_count(value: str | int) -> int:
    """A whole, non-negative quantity. Raises ValueError otherwise."""
    quantity = parse_quantity(value)
    if quantity.denominator != 1 or quantity < 0:
        raise ValueError(f"{str(value)[:64]!r} must be a whole number, zero or more")
    return int(quantity)

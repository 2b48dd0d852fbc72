from __future__ import annotations

from fractions import Fraction

import pytest

from k8s.api.quantities import parse_count, parse_quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4", 4),
        (7, 7),
        ("500m", Fraction(1, 2)),
        ("2Gi", 2 * 1024**3),
        ("1k", 1000),
        ("1e3", 1000),
        ("2E", 2 * 10**18),
        ("1E2", 100),
        ("-1", -1),
        ("1.5", Fraction(3, 2)),
        ("10n", Fraction(1, 10**8)),
    ],
)
def test_quantities_have_exact_values(text: str | int, value: Fraction | int) -> None:
    assert parse_quantity(text) == value


@pytest.mark.parametrize("text", ["", "x", "1 Gi", "1GiB", "--1", "1e999", "0x10", "1,5", "NaN"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        parse_quantity(text)


@pytest.mark.parametrize("text", ["-1", "500m", "0.5"])
def test_a_count_is_whole_and_not_negative(text: str) -> None:
    with pytest.raises(ValueError, match="whole number"):
        parse_count(text)


def test_a_count_may_be_written_in_any_way_that_is_whole() -> None:
    assert [parse_count(text) for text in ("0", "3", "2k", "1000m")] == [0, 3, 2000, 1]

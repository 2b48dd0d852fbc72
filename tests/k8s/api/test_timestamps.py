from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from k8s.api.timestamps import format_timestamp, from_unix_micros, parse_timestamp


def test_instants_are_written_in_utc_with_microseconds() -> None:
    assert format_timestamp(datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))) == "2026-01-02T01:04:05.000000Z"


def test_whole_seconds_of_older_writers_are_read() -> None:
    assert parse_timestamp("2026-08-09T10:00:01Z") == datetime(2026, 8, 9, 10, 0, 1, tzinfo=UTC)


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        parse_timestamp("2026-08-09T10:00:01")


def test_unix_microseconds_keep_every_digit() -> None:
    assert format_timestamp(from_unix_micros(1_700_000_000_123_456)) == "2023-11-14T22:13:20.123456Z"

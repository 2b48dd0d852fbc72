"""Log lines are JSON, one a line, whatever is logged."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from k8s.manager import configure_logging


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logging("info", stream=stream)
    yield stream
    root.handlers[:], root.level = before
    logging.captureWarnings(False)


def line(stream: io.StringIO) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(stream.getvalue())
    return parsed


def test_a_line_has_message_level_logger_time_and_the_fields(stream: io.StringIO) -> None:
    extra = {"run": "default/hello", "attempt": 2, "pod": None}
    logging.getLogger("some.module").warning("run is bound", extra=extra)
    fields = line(stream)
    time = datetime.fromisoformat(fields.pop("time"))
    assert abs(datetime.now(UTC) - time).total_seconds() < 60
    assert fields == {
        "message": "run is bound",
        "level": "warning",
        "logger": "some.module",
        "run": "default/hello",
        "attempt": 2,
        "pod": None,
    }


def test_line_breaks_and_strange_values_stay_inside_the_line(stream: io.StringIO) -> None:
    logging.getLogger("x").error("odd", extra={"text": "a\nb\u2028", "value": {1: object()}, "set": {3}, "number": float("inf")})
    assert stream.getvalue().count("\n") == 1
    assert line(stream)["text"] == "a\nb\u2028"


def test_an_error_comes_with_its_traceback(stream: io.StringIO) -> None:
    try:
        raise ZeroDivisionError("x")
    except ZeroDivisionError:
        logging.getLogger("x").exception("broken")
    assert "ZeroDivisionError" in line(stream)["exc_info"]


def test_debug_is_off_unless_asked_for(stream: io.StringIO) -> None:
    logging.getLogger("x").debug("hidden")
    assert stream.getvalue() == ""
    configure_logging("debug", stream=stream)
    logging.getLogger("x").debug("shown")
    assert line(stream)["message"] == "shown"

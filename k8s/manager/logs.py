"""JSON lines on stderr: a constant message and fields, one object a line."""

from __future__ import annotations

import logging
import sys
from typing import Any, TextIO

import msgspec
from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

_encode = msgspec.json.Encoder(enc_hook=repr).encode


class MicrosecondFormatter(JsonFormatter):
    """Adds the time in UTC with microseconds, as in all of our objects, so that logs and statuses can be laid side by side."""

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        super().add_fields(log_data, record, message_dict)
        log_data["level"] = record.levelname.lower()
        log_data["logger"] = record.name


def configure_logging(level: str | int = "info", *, stream: TextIO | None = None) -> None:
    """Replaces all handlers of the root logger by one that writes JSON lines to `stream` (stderr)."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(make_formatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper() if isinstance(level, str) else level)
    # Libraries speak up only when something is wrong; their debug lines show payloads.
    for noisy in ("aiohttp.access", "asyncio", "kubernetes", "urllib3", "botocore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.captureWarnings(True)


def make_formatter() -> logging.Formatter:
    """The formatter on its own, for handlers of others."""
    return MicrosecondFormatter(
        ["message"],
        timestamp="time",
        reserved_attrs=[*RESERVED_ATTRS, "taskName"],
        json_serializer=_serialize,
    )


def _serialize(fields: Any, **_: Any) -> str:
    return _encode(fields).decode()

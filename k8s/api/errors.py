"""The root of every error that kruntimes raises on purpose, and its branches by who must act.

Foreign exceptions are translated at the border where they arise (``k8s.client`` for the API server, ``runtimed`` for the
Runtime Server), with ``raise ... from``.
"""

from __future__ import annotations


class KrtError(Exception):
    """What went wrong, with which object, and what to do. Never carries payload text or env values."""

    reason = "Error"
    """CamelCase, documented as API; goes into conditions and logs."""
    retryable = False
    """Whether the same request may succeed later without anybody changing it."""
    exit_code = 125
    """What `krt` exits with: 125 is a failure of krt or the platform."""


class UsageError(KrtError):
    """The user must change the command or the input."""

    reason = "Usage"
    exit_code = 2


class InvalidRun(KrtError):
    """A Run, or what it is to be made from, breaks a rule. `field` names where, as in `spec.env[2].name`."""

    reason = "Invalid"
    exit_code = 2

    def __init__(self, *, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class PlatformError(KrtError):
    """The operator or the platform must act."""

    reason = "Platform"


class InternalError(KrtError):
    """This is our bug."""

    reason = "Internal"

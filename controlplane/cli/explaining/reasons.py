"""The reasons of a Run that did not succeed, each in one sentence (docs/states.md has them all in a table)."""

from __future__ import annotations

from typing import Final

from k8s.api.phases import Reason

MEANINGS: Final = {
    Reason.RUNTIME_ERROR: "the program ended with another code than 0, or by a signal (128+N)",
    Reason.TIMEOUT: "spec.timeout was over; each attempt has it anew",
    Reason.PREPARE_SOURCE: "workspace, source or environment could not be prepared; nothing was executed",
    Reason.RUNTIME_EXECUTE: "the Runtime Server refused to execute it",
    Reason.EXECUTION_LOST: "the Runtime Server restarted under it; how far it came is not known",
    Reason.POD_GONE: "its Pod was deleted or replaced before it ended",
    Reason.POD_TERMINATING: "its Pod was told to stop before it ended",
    Reason.POD_UNHEALTHY: "its Pod was not ready, or runtimed silent, for too long",
    Reason.CANCELLED: "on request, or because it is being deleted",
    Reason.OUTPUTS_INVALID: "the program succeeded, but left outputs that cannot be read",
    Reason.OUTPUTS_TOO_LARGE: "the program succeeded, but left more outputs than a Run may have",
    Reason.ARTIFACT_INVALID: "the program succeeded, but left an artifact that cannot be stored",
    Reason.INVALID_RESOURCES: "spec.resources or spec.affinity can never be satisfied; the message names the field",
}

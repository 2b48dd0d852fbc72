"""What is wrong with what a Run asks to be prepared."""

from __future__ import annotations

from k8s.api.errors import KrtError


class SourceRefused(KrtError):
    """The source cannot be prepared: names the field and the remedy."""

    reason = "PrepareSource"

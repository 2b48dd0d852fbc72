"""The two ways in which artifacts fail: user code made something that cannot be kept, or the store does not take it."""

from __future__ import annotations

from k8s.api.errors import KrtError, PlatformError


class ArtifactRefused(KrtError):
    """Names the artifact and the rule. The Run fails with ArtifactInvalid and is not retried."""

    reason = "ArtifactInvalid"


class StoreUnavailable(PlatformError):
    """Names the store, the operation and its error code; never a payload or a credential. The same may succeed later."""

    reason = "ArtifactStore"
    retryable = True

    def __init__(self, message: str, *, code: str = "") -> None:
        """`code` is the store's own word for it, where it has one."""
        super().__init__(message)
        self.code = code


class ArtifactMissing(KrtError):
    """The store holds no such artifact (any more)."""

    reason = "ArtifactMissing"


class UploadStopped(Exception):
    """Ends an upload in its thread."""

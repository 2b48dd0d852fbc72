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


class ArtifactMissing(KrtError):
    """The store holds no such artifact (any more)."""

    reason = "ArtifactMissing"


class UploadStopped(Exception):
    """Ends an upload in its thread."""

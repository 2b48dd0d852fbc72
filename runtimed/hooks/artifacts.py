"""What the life cycle of a Run asks of its artifacts: are there any, and keep them. How is the matter of `runtimed.artifacts`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from k8s.api.phases import Reason
from runtimed.artifacts.errors import ArtifactRefused, UploadStopped
from runtimed.artifacts.layout import Owner
from runtimed.artifacts.source import OwnFile
from runtimed.artifacts.staging import has_entries
from runtimed.artifacts.uploading import UploadGivenUp, UploadOfRun, Uploads
from runtimed.core import events
from runtimed.core.decisions import UploadArtifacts


@dataclass(frozen=True, slots=True)
class ArtifactKeeper:
    """Of one process."""

    uploads: Uploads
    snapshot: Mapping[str, Any]
    """The store, for `status.artifactStore`."""

    def has_any(self, run_uid: str) -> bool:
        """Three system calls; of an attempt that is over."""
        return has_entries(self.uploads.workspace_root, run_uid)

    def begin(self, decision: UploadArtifacts, *, own: Sequence[OwnFile]) -> KeptArtifacts:
        """`own`: the log, where it is to be kept."""
        run = decision.run
        owner = Owner(run.metadata.namespace, run.uid, run.metadata.name, run.spec.runtime, decision.attempt)
        upload = self.uploads.begin(owner, may_have_leftovers=decision.may_have_leftovers, own=own, has_staging=not decision.is_log_only)
        return KeptArtifacts(upload, attempt=decision.attempt)


class KeptArtifacts:
    """Those of one attempt, on their way."""

    def __init__(self, upload: UploadOfRun, *, attempt: int) -> None:
        self._upload, self._attempt = upload, attempt

    def stop(self, *, removes_all: bool) -> None:
        self._upload.stop(removes_all=removes_all)

    async def run(self, tell: Callable[[events.Event], None]) -> None:
        """Tells how it ended, then removes what could not be removed before."""
        try:
            refs = await self._upload.run()
        except UploadStopped:
            pass  # whoever stopped it has concluded without us
        except ArtifactRefused as error:
            tell(events.ArtifactsRefused(self._attempt, Reason.ARTIFACT_INVALID, str(error)))
        except UploadGivenUp as error:
            # No reason of its own: what policies list as retryable must keep meaning what it means.
            tell(events.ArtifactsRefused(self._attempt, Reason.RUNTIME_ERROR, str(error)))
        else:
            tell(events.ArtifactsUploaded(self._attempt, refs))
            return
        await self._upload.clean_up()

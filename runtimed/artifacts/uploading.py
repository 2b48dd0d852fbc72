"""One Run's artifacts from its staging directory into the store: tried again while that may help, given up while that is certain.

The work is done in a few threads that all Runs share; the loop only waits, so a store or a volume that hangs holds nobody but the
Runs that need it, and those no longer than the patience given. Whatever does not arrive as a whole is removed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final

from k8s.api.errors import KrtError
from k8s.api.run import ArtifactRef
from runtimed.artifacts.errors import StoreUnavailable, UploadStopped
from runtimed.artifacts.guard import Guard
from runtimed.artifacts.job import Job, Limits
from runtimed.artifacts.layout import Owner
from runtimed.artifacts.source import OwnFile
from runtimed.artifacts.stores import ArtifactStore

logger = logging.getLogger(__name__)

TURNS: Final = 4
"""Uploads at a time; what is more waits its turn, and its patience does not begin before."""
THREADS: Final = 16
"""More than there are turns: a thread that hangs in the store takes no turn with it."""
FIRST_PAUSE_SECONDS: Final = 0.2
MAX_PAUSE_SECONDS: Final = 5.0
CLEANING_SECONDS: Final = 5.0
"""How long the end of a Run may wait for what it left in the store to be removed."""
CLEANING_TRIES: Final = 8
"""About half a minute. What is left then goes with the Run: the maintainer removes all of it."""


class UploadGivenUp(KrtError):
    """The store did not take it for as long as we wait. Says why, for the Run's message."""


@dataclass(frozen=True, slots=True)
class Uploads:
    """Of one process. `patience_seconds`: how long the store may take nothing new of an upload before it is given up."""

    store: ArtifactStore
    workspace_root: str
    limits: Limits
    patience_seconds: float
    pool: ThreadPoolExecutor
    clock: Callable[[], float]
    now: Callable[[], datetime]
    cleaning_pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(TURNS, thread_name_prefix="artifact cleaning"))
    """Of its own: the threads of uploads may all be waiting for the same store, and nobody else's may be kept waiting by it."""
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(TURNS))

    def begin(self, owner: Owner, *, may_have_leftovers: bool, own: Sequence[OwnFile] = (), has_staging: bool = True) -> UploadOfRun:
        """`own`: files of ours, beside what user code has staged; instead of it without `has_staging`."""
        return UploadOfRun(self, owner, may_have_leftovers=may_have_leftovers, own=own, has_staging=has_staging)


class UploadOfRun:
    """One attempt's. `run` once; `stop` at any time."""

    def __init__(self, uploads: Uploads, owner: Owner, *, may_have_leftovers: bool, own: Sequence[OwnFile], has_staging: bool) -> None:
        self._uploads, self._owner = uploads, owner
        self._guard = Guard(uploads.clock)
        self._job = Job(
            uploads.store,
            owner,
            uploads.workspace_root,
            uploads.limits,
            self._guard,
            uploads.now,
            may_have_leftovers=may_have_leftovers,
            own=own,
            has_staging=has_staging,
        )
        self._stopped = asyncio.Event()
        self._removes_all = True
        self._last_failure = ""
        """What the store said before it fell silent."""

    def stop(self, *, removes_all: bool) -> None:
        """`removes_all` False: another attempt may be writing by now, so only what is incomplete goes."""
        self._removes_all = removes_all
        self._guard.stop()
        self._stopped.set()

    async def run(self) -> Sequence[ArtifactRef]:
        """Raises ArtifactRefused, UploadGivenUp or UploadStopped; before that, what it had stored is removed, if the store lets us."""
        try:
            async with self._uploads.turns:
                self._guard.begin()
                return await self._try_patiently()
        except asyncio.CancelledError:
            self._guard.stop()  # the process ends: its successor begins anew, and removes what is left
            raise
        except BaseException:
            self._guard.stop()
            await self._remove(removes_all=self._removes_all, within_seconds=CLEANING_SECONDS)
            raise

    async def clean_up(self) -> None:
        """After a failure: what could not be removed at once. Only what is incomplete, for the Run may be tried again by now."""
        for number, pause in enumerate(_pauses(), start=1):
            if number > CLEANING_TRIES or await self._remove(removes_all=False, within_seconds=None):
                return
            await asyncio.sleep(pause)

    async def _try_patiently(self) -> Sequence[ArtifactRef]:
        for pause in _pauses():
            try:
                return await self._one_try()
            except StoreUnavailable as error:
                if self._remaining_seconds() <= pause:
                    raise self._given_up(str(error)) from error
                self._last_failure = str(error)
                logger.warning("artifacts are not stored yet", extra={"uid": self._owner.run_uid, "error": str(error)[:256]})
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopped.wait()
        raise AssertionError("the pauses never end")

    async def _one_try(self) -> Sequence[ArtifactRef]:
        """The thread is left behind where it does not come back: it ends at its next step."""
        running = asyncio.get_running_loop().run_in_executor(self._uploads.pool, self._job.run)
        running.add_done_callback(_retrieve)
        stopped = asyncio.ensure_future(self._stopped.wait())
        try:
            while True:
                seconds = max(0.0, self._remaining_seconds())
                waited: set[asyncio.Future[Any]] = {running, stopped}
                done, _ = await asyncio.wait(waited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
                if running in done:
                    return running.result()
                if stopped in done:
                    raise UploadStopped
                if self._remaining_seconds() <= 0:
                    raise self._given_up(self._last_failure or "it does not answer")
        finally:
            stopped.cancel()

    def _remaining_seconds(self) -> float:
        return self._guard.last_progress + self._uploads.patience_seconds - self._uploads.clock()

    def _given_up(self, why: str) -> UploadGivenUp:
        patience = f"{self._uploads.patience_seconds:g} s"
        return UploadGivenUp(f"artifact store: given up after {patience} without progress: {why.removeprefix('artifact store: ')}")

    async def _remove(self, *, removes_all: bool, within_seconds: float | None) -> bool:
        """Whether it is done."""
        abort = partial(self._job.abort, is_ours=removes_all)
        removing = asyncio.get_running_loop().run_in_executor(self._uploads.cleaning_pool, abort)
        removing.add_done_callback(_retrieve)
        try:
            async with asyncio.timeout(within_seconds):
                await removing
        except (KrtError, TimeoutError) as error:
            logger.warning("an upload is not removed yet", extra={"uid": self._owner.run_uid, "error": str(error)[:256]})
            return False
        return True


def _retrieve(running: asyncio.Future[Any]) -> None:
    """So that the end of a thread left behind is not reported as an exception that nobody saw."""
    if not running.cancelled():
        running.exception()


def _pauses() -> Iterator[float]:
    pause = FIRST_PAUSE_SECONDS
    while True:
        yield pause
        pause = min(2 * pause, MAX_PAUSE_SECONDS)

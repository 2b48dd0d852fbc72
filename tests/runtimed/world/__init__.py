"""A small, obvious world around the real core: one Run, an API server, and Pods with a disk, a Runtime Server and a runtimed.

Every hop is a step of its own, so that a test can reorder, lose, double and crash between any two of them. Promises are
checked as the steps happen (`broken`), and `settle` runs everything to rest without faults.
"""

from tests.runtimed.world.api import CANCELLED, EPOCH, FAILURE, SUCCESS, UID, Api, PromiseBroken, artifact_ref, run_body, to_run
from tests.runtimed.world.pod import PodWorld
from tests.runtimed.world.whole import World, performed, writes

__all__ = [
    "CANCELLED",
    "EPOCH",
    "FAILURE",
    "SUCCESS",
    "UID",
    "Api",
    "PodWorld",
    "PromiseBroken",
    "World",
    "artifact_ref",
    "performed",
    "run_body",
    "to_run",
    "writes",
]

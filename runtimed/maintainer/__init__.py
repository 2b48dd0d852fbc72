"""krt-maintainer: removes the artifacts of Runs that are being deleted from one store, in one namespace (interface.md 8.3).

It has the store's credentials, which the controllers must not have, and no part in the life of a Run. A controller starts it when
there is something to remove and ends it when there is nothing more.
"""

from runtimed.maintainer.cli import main

__all__ = ["main"]

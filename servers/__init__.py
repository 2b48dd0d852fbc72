"""Runtime Servers: what runs user code beside runtimed. Never imports a Kubernetes client, nor the control plane, nor runtimed."""

from __future__ import annotations

import os
import signal

if os.getpid() == 1:
    # The first process of a container has no default for SIGTERM: a Pod that is deleted while Python still imports would stay until its
    # grace is over. Until the server listens to signals itself there is nothing to finish.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))

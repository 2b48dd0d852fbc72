"""The life cycle that all of our processes share: start and stop order, signals, JSON logs, health and metrics, settings.

A process is `run_process("name", main)`; `main(lifecycle)` opens a `StatusServer`, starts its loops in `lifecycle.tasks` and
waits for `lifecycle.stopping`. Leader election is `k8s.client.LeaderElector`.
"""

from k8s.manager.http import Check, Ports, StatusServer
from k8s.manager.logs import configure_logging, make_formatter
from k8s.manager.process import Lifecycle, run_process
from k8s.manager.registry import make_registry
from k8s.manager.settings import (
    BindAddress,
    BindAddressType,
    ManagerSettings,
    SecondsType,
    manager_options,
    parse_bind_address,
    take_settings,
)
from k8s.manager.tasks import TaskCrashed, Tasks
from k8s.manager.watchdog import LoopWatchdog

__all__ = [
    "BindAddress",
    "BindAddressType",
    "Check",
    "Lifecycle",
    "LoopWatchdog",
    "ManagerSettings",
    "Ports",
    "SecondsType",
    "StatusServer",
    "TaskCrashed",
    "Tasks",
    "configure_logging",
    "make_formatter",
    "make_registry",
    "manager_options",
    "parse_bind_address",
    "run_process",
    "take_settings",
]

"""What all of our processes can be told: bind addresses, kubeconfig, leader election, verbosity. Shared click options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import click

from k8s.api.durations import parse_duration
from k8s.api.errors import UsageError
from k8s.client.leases import LeaseTimes

F = TypeVar("F", bound=Callable[..., Any])
DISABLED = "0"
_LEASE_FLAGS = ("leader_elect_lease_duration", "leader_elect_renew_deadline", "leader_elect_retry_period")


@dataclass(frozen=True, slots=True)
class BindAddress:
    """Where to listen. An empty host is every address; port 0 is any free one."""

    host: str
    port: int


def parse_bind_address(text: str, *, field: str) -> BindAddress | None:
    """`:8081`, `127.0.0.1:0`, `[::1]:9090`; `0` is None: do not listen. Raises UsageError naming `field`."""
    if text.strip() == DISABLED:
        return None
    host, separator, port = text.strip().rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    if not separator or not port.isdecimal() or int(port) > 65535 or (":" in host and not is_bracketed):
        raise UsageError(f"{field}: {text[:64]!r} is no address; write it as in :8081 or 127.0.0.1:8081, or 0 to listen nowhere")
    return BindAddress(host[1:-1] if is_bracketed else host, int(port))


class BindAddressType(click.ParamType[str]):
    """A click type: checks the address on the command line, and passes the text on."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            parse_bind_address(str(value), field=param.opts[0] if param else "address")
        except UsageError as error:
            self.fail(str(error), param, ctx)
        return str(value)


class SecondsType(click.ParamType[float]):
    """A Go duration above zero, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            seconds = parse_duration(str(value)).total_seconds()
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if seconds <= 0:
            self.fail(f"{value!r} must be longer than nothing; write it as in 30s", param, ctx)
        return seconds


@dataclass(frozen=True, slots=True)
class ManagerSettings:
    """The shared flags of one process."""

    kubeconfig: str | None = None
    """Path; None looks at KUBECONFIG, ~/.kube/config and the Pod's service account."""
    metrics_bind_address: str = ":8080"
    """Where /metrics is served."""
    health_probe_bind_address: str = ":8081"
    """Where /healthz and /readyz are served."""
    leader_elect: bool = False
    """Whether to wait for the Lease: needed with more than one replica."""
    lease_times: LeaseTimes = field(default_factory=LeaseTimes)
    verbosity: int = 0

    @property
    def log_level(self) -> str:
        return "debug" if self.verbosity > 0 else "info"


def manager_options(*, metrics: str, health: str, has_leader_election: bool = True) -> Callable[[F], F]:
    """click options for the shared flags; the command turns them into one value with `take_settings`."""

    def decorate(command: F) -> F:
        for option in reversed(_options(metrics=metrics, health=health, has_leader_election=has_leader_election)):
            command = option(command)
        return command

    return decorate


def take_settings(parameters: dict[str, Any]) -> ManagerSettings:
    """Removes the shared flags from a command's parameters and returns them as one value. Raises click.UsageError."""
    fields = ("kubeconfig", "metrics_bind_address", "health_probe_bind_address", "leader_elect", "verbosity")
    settings = ManagerSettings(**{name: parameters.pop(name) for name in fields if name in parameters})
    if _LEASE_FLAGS[0] not in parameters:
        return settings
    try:
        return replace(settings, lease_times=LeaseTimes(*(parameters.pop(flag) for flag in _LEASE_FLAGS)))
    except ValueError as error:
        raise click.UsageError(f"--leader-elect-*: {error}") from error


def _options(*, metrics: str, health: str, has_leader_election: bool) -> list[Callable[[Any], Any]]:
    texts: dict[str, Any] = {"type": BindAddressType(), "show_default": True}
    options = [
        click.option("--kubeconfig", help="Path of a kubeconfig; by default KUBECONFIG, ~/.kube/config, or the Pod's own account."),
        click.option("--metrics-bind-address", default=metrics, help="Where to serve /metrics; 0: nowhere.", **texts),
        click.option("--health-probe-bind-address", default=health, help="Where to serve /healthz and /readyz; 0: nowhere.", **texts),
        click.option("-v", "--verbosity", type=click.IntRange(min=0), default=0, show_default=True, help="Above 0: debug logs."),
    ]
    if has_leader_election:
        options.append(click.option("--leader-elect/--no-leader-elect", default=False, help="Work only while holding the Lease."))
        seconds: dict[str, Any] = {"type": SecondsType(), "show_default": True}
        options += [
            click.option(
                "--leader-elect-lease-duration", default="15s", help="After so long without a renewal others take the Lease.", **seconds
            ),
            click.option("--leader-elect-renew-deadline", default="10s", help="After so long without one the leader stops.", **seconds),
            click.option("--leader-elect-retry-period", default="2s", help="Between two renewals.", **seconds),
        ]
    return options

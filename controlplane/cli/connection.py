"""kubectl's connection flags, accepted before and after the command, and the API client they lead to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from k8s.api.errors import UsageError

if TYPE_CHECKING:
    from k8s.client import ApiClient

_Command = TypeVar("_Command", bound=Callable[..., Any])
_Result = TypeVar("_Result")

_SETTINGS_KEY = "controlplane.cli.connection"
DEFAULT_REQUEST_TIMEOUT_SECONDS = 10.0
"""Long enough for a loaded API server, short enough that a person does not wonder."""


@dataclass(slots=True)
class ConnectionSettings:
    """What the flags said; None where the kubeconfig decides."""

    namespace: str | None = None
    all_namespaces: bool = False
    context: str | None = None
    kubeconfig: str | None = None
    cluster: str | None = None
    user: str | None = None
    server: str | None = None
    token: str | None = None
    as_user: str | None = None
    as_group: tuple[str, ...] = ()
    certificate_authority: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None
    insecure_skip_tls_verify: bool = False
    tls_server_name: str | None = None
    request_timeout: str | None = None
    verbosity: int = 0


@dataclass(frozen=True, slots=True)
class Session:
    """An open connection and the namespace that the command works in."""

    client: ApiClient
    namespace: str


def settings_of(ctx: click.Context) -> ConnectionSettings:
    """The settings of this command line: those after the command win over those before it."""
    settings = ctx.meta.setdefault(_SETTINGS_KEY, ConnectionSettings())
    assert isinstance(settings, ConnectionSettings)
    return settings


def _keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Options callback: what was not given leaves alone what was given before the command."""
    if value not in (None, (), False, 0):
        setattr(settings_of(ctx), str(param.name), value)


def _complete_context(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from controlplane.cli.suggestions import kubeconfig_names

    return kubeconfig_names(str(param.name), settings=settings_of(ctx), incomplete=incomplete)


def _complete_namespace(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from controlplane.cli.suggestions import namespace_names

    return namespace_names(settings=settings_of(ctx), incomplete=incomplete)


_OPTIONS: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (
        ("-n", "--namespace"),
        {"metavar": "NAME", "help": "Namespace; the context's, else `default`.", "shell_complete": _complete_namespace},
    ),
    (("-A", "--all-namespaces"), {"is_flag": True, "help": "All namespaces (list)."}),
    (("--context",), {"metavar": "NAME", "help": "Context of the kubeconfig.", "shell_complete": _complete_context}),
    (("--kubeconfig",), {"type": click.Path(), "help": "Path of the kubeconfig; else $KUBECONFIG, else ~/.kube/config."}),
    (("--cluster",), {"metavar": "NAME", "help": "Cluster of the kubeconfig.", "shell_complete": _complete_context}),
    (("--user",), {"metavar": "NAME", "help": "User of the kubeconfig.", "shell_complete": _complete_context}),
    (("-s", "--server"), {"metavar": "URL", "help": "Address of the API server."}),
    (("--token",), {"metavar": "TOKEN", "help": "Bearer token."}),
    (("--as", "as_user"), {"metavar": "USER", "help": "User to impersonate."}),
    (("--as-group",), {"metavar": "GROUP", "multiple": True, "help": "Group to impersonate; repeatable."}),
    (("--certificate-authority",), {"type": click.Path(), "help": "File with the authority of the server's certificate."}),
    (("--client-certificate",), {"type": click.Path(), "help": "File with the client certificate."}),
    (("--client-key",), {"type": click.Path(), "help": "File with the client's key."}),
    (("--insecure-skip-tls-verify",), {"is_flag": True, "help": "Do not check the server's certificate."}),
    (("--tls-server-name",), {"metavar": "NAME", "help": "Name expected in the server's certificate."}),
    (("--request-timeout",), {"metavar": "DURATION", "help": "Limit of one request, as in 30s; 0 for none. Default 10s."}),
    (("-v", "--verbose", "verbosity"), {"count": True, "help": "Details of what is done and of errors."}),
)


def connection_options(*, hidden: bool) -> Callable[[_Command], _Command]:
    """Adds the flags to a command. Hidden ones keep the help of each command to what is its own."""

    def decorate(command: _Command) -> _Command:
        for names, attributes in reversed(_OPTIONS):
            option = click.option(*names, expose_value=False, callback=_keep, hidden=hidden and "-n" not in names, **attributes)
            command = option(command)
        return command

    return decorate


def request_timeout_seconds(text: str | None) -> float:
    """As kubectl reads it: a duration, or a bare number of seconds; 0 means no limit."""
    from k8s.api.durations import parse_duration

    if text is None:
        return DEFAULT_REQUEST_TIMEOUT_SECONDS
    try:
        seconds = float(text) if text.replace(".", "", 1).isdigit() else parse_duration(text).total_seconds()
    except ValueError as error:
        raise UsageError(f"--request-timeout: {error}") from error
    if seconds < 0:
        raise UsageError(f"--request-timeout: {text} is negative; give a duration as in 30s, or 0 for no limit")
    return seconds or float("inf")


@asynccontextmanager
async def connect(settings: ConnectionSettings, *, spans_namespaces: bool = False) -> AsyncIterator[Session]:
    """Loads credentials, connects, and closes at the end."""
    if settings.all_namespaces and not spans_namespaces:
        raise UsageError("-A: this command works in one namespace; name it with -n")
    from controlplane.cli.version import VERSION
    from k8s.client import ApiClient, load_credentials

    timeout_seconds = request_timeout_seconds(settings.request_timeout)
    credentials = await load_credentials(
        kubeconfig=settings.kubeconfig,
        context=settings.context,
        cluster=settings.cluster,
        user=settings.user,
        server=settings.server,
        token=settings.token,
        as_user=settings.as_user,
        as_groups=settings.as_group,
        certificate_authority=settings.certificate_authority,
        client_certificate=settings.client_certificate,
        client_key=settings.client_key,
        insecure_skip_tls_verify=settings.insecure_skip_tls_verify,
        tls_server_name=settings.tls_server_name,
    )
    client = await ApiClient.connect(credentials, user_agent=f"krt/{VERSION}", request_timeout_seconds=timeout_seconds)
    async with client:
        yield Session(client, settings.namespace or credentials.namespace)


def run_async(main: Coroutine[Any, Any, _Result], *, settings: ConnectionSettings, is_silent: bool = False) -> _Result:
    """Runs the coroutine of a command. What our client has to say meanwhile goes to stderr; silently for completion."""
    import asyncio

    with _shown_logs(settings.verbosity, is_silent=is_silent):
        return asyncio.run(main)


@contextmanager
def _shown_logs(verbosity: int, *, is_silent: bool) -> Iterator[None]:
    """Log lines of our packages as text. asyncio's and aiohttp's own are none of the user's business."""
    import logging

    class Lines(logging.Formatter):
        """The message, and what went wrong: the fields are for machines."""

        def format(self, record: logging.LogRecord) -> str:
            error = getattr(record, "error", None)
            return f"{record.levelname.lower()}: {record.getMessage()}" + (f": {error}" if error else "")

    handler = logging.StreamHandler()
    handler.setFormatter(Lines())
    logger = logging.getLogger("k8s")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1 if is_silent else (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbosity, 2)])
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)

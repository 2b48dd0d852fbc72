"""What every Runtime Server shares: both gRPC services over one registry, limits, output, the life of the process.

A concrete server is one function from a Request to a Command, handed to `server_command`.
"""

from servers.sdk.command import CannotRun, Command, Commands, Request, WarmChildren, script_in
from servers.sdk.commandline import server_command
from servers.sdk.serving import CannotServe, Settings, serve

__all__ = [
    "CannotRun",
    "CannotServe",
    "Command",
    "Commands",
    "Request",
    "Settings",
    "WarmChildren",
    "script_in",
    "serve",
    "server_command",
]

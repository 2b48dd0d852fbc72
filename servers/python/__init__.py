"""The Python Runtime Server: handlers, scripts and command lines, one interpreter each."""

from servers.python.commands import PythonCommands
from servers.python.preload import PRELOAD
from servers.sdk import server_command

main = server_command(
    PythonCommands.find,
    options=[PRELOAD],
    name="krt-server-python",
    default_port=9092,
    summary="Runs Python handlers, scripts and command lines for runtimed, which is the only one it answers.",
)
"""Entry point of the console script `krt-server-python`."""

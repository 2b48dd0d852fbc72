"""The Bash Runtime Server: scripts and command lines, one bash each."""

from servers.bash.commands import BashCommands
from servers.sdk import server_command

main = server_command(
    BashCommands.find,
    name="krt-server-bash",
    default_port=9091,
    summary="Runs bash scripts and command lines for runtimed, which is the only one it answers.",
)
"""Entry point of the console script `krt-server-bash`."""

"""The environment that git runs in: nothing of the machine's configuration, no prompt, no hook, no other transport. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

PASSED_ON: Final = ("PATH", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO")
"""What the operator may set for runtimed: how the network is reached, and which authorities are trusted."""

_CONFIG: Final[Mapping[str, str]] = {
    "protocol.allow": "never",
    "protocol.https.allow": "always",
    "protocol.ssh.allow": "always",
    # A public address could send us to one inside of the cluster, and the credentials along.
    "http.followRedirects": "false",
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.askPass": "",
    "submodule.recurse": "false",
    "fetch.recurseSubmodules": "false",
    "transfer.bundleURI": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "advice.detachedHead": "false",
}


@dataclass(frozen=True, slots=True)
class CredentialFiles:
    """Paths; empty for none."""

    store: str = ""
    """In the format of git-credential-store, which binds each entry to a host."""
    ssh_key: str = ""
    known_hosts: str = ""


def git_environment(own: Mapping[str, str], *, home: str, credentials: CredentialFiles) -> dict[str, str]:
    config = [*_CONFIG.items(), ("credential.helper", "")]
    if credentials.store:
        config.append(("credential.helper", f"store --file={shlex.quote(credentials.store)}"))
    environment = {name: own[name] for name in PASSED_ON if name in own} | {
        "HOME": home,
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_ALLOW_PROTOCOL": "https:ssh",
        "GIT_PROTOCOL_FROM_USER": "0",
        "GIT_SSH_VARIANT": "ssh",
        "GIT_SSH_COMMAND": _ssh_command(credentials),
        "GIT_CONFIG_COUNT": str(len(config)),
    }
    for index, (key, value) in enumerate(config):
        environment |= {f"GIT_CONFIG_KEY_{index}": key, f"GIT_CONFIG_VALUE_{index}": value}
    return environment


def _ssh_command(credentials: CredentialFiles) -> str:
    """A host that is not known is not talked to: the key would be offered to whoever answers."""
    options = ["BatchMode=yes", "StrictHostKeyChecking=yes", "IdentitiesOnly=yes", "ForwardAgent=no", "UpdateHostKeys=no"]
    if credentials.known_hosts:
        options += [f"UserKnownHostsFile={credentials.known_hosts}", "GlobalKnownHostsFile=/dev/null"]
    words = ["ssh", "-F", "/dev/null", *(word for option in options for word in ("-o", option))]
    return shlex.join([*words, *(["-i", credentials.ssh_key] if credentials.ssh_key else [])])

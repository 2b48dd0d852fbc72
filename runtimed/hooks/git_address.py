"""Which repositories a Run may name, and which refs: an allow-list, so that neither can be an option or a program. Pure.

An address goes to git as an argument, and git has addresses that run programs (`ext::`), read local files, or reach ssh as an
option. What is admitted here is also all that git is told to allow (`git_environment`).
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

from runtimed.hooks.refusals import SourceRefused

MAX_URL_LENGTH: Final = 2048
MAX_REF_LENGTH: Final = 256
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\]")
_USER: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_SCP_LIKE: Final = re.compile(r"git@(?P<host>[^/:@]+):(?P<path>[^-:].*)")
_USERINFO: Final = re.compile(r"(?<=://)[^/@\s]+@")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]+")
_NOT_ADMITTED: Final = "spec.source.repoURL: must be https://HOST/PATH, ssh://[USER@]HOST/PATH or git@HOST:PATH"


def check_address(url: str) -> str:
    """As it came. Raises SourceRefused, which does not repeat it: it may carry a password."""
    if len(url) > MAX_URL_LENGTH or _CONTROL.search(url) or " " in url:
        raise SourceRefused(_NOT_ADMITTED)
    scp_like = _SCP_LIKE.fullmatch(url)
    if not (_HOST.fullmatch(scp_like["host"]) if scp_like else _is_admitted_url(url)):
        raise SourceRefused(_NOT_ADMITTED)
    return url


def _is_admitted_url(url: str) -> bool:
    if not url.startswith(("https://", "ssh://")):
        return False
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    is_host = bool(_HOST.fullmatch(f"[{host}]" if ":" in host else host))
    return is_host and len(parts.path) > 1 and (parts.scheme == "https" or _has_plain_user(parts))


def _has_plain_user(parts: SplitResult) -> bool:
    """ssh would take a user that begins with a dash for an option."""
    return parts.username is None or (_USER.fullmatch(parts.username) is not None and parts.password is None)


def check_ref(ref: str) -> str:
    """A branch, a tag, or a commit. Raises SourceRefused."""
    if len(ref) > MAX_REF_LENGTH or ref.startswith("-") or _CONTROL.search(ref) or " " in ref:
        raise SourceRefused(f"spec.source.commitSHA: {ref[:64]!r} must be a branch, a tag or a commit; it may not begin with '-'")
    return ref


def tidy(output: str) -> str:
    """What git said, on one line, without users and passwords of addresses and without control characters."""
    lines = (_CONTROL.sub(" ", line).strip() for line in _USERINFO.sub("***@", output).splitlines())
    return "; ".join(filter(None, lines))

"""Makes the TLS context for an API server. Private keys that come as data never touch a disk."""

from __future__ import annotations

import base64
import binascii
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from k8s.client.errors import ConfigError
from k8s.client.kubeconfig import Entry


@dataclass(frozen=True, slots=True)
class Pem:
    """PEM text, and where it came from, for messages."""

    data: bytes
    origin: str


def read_pem(entry: Entry, field_name: str, *, override: str | None) -> Pem | None:
    """The certificate or key that a flag, `<field>-data` or `<field>` gives; None when nothing does."""
    if override:
        return _read_file(Path(override).expanduser(), origin=f"--{field_name}")
    encoded = entry.text(f"{field_name}-data")
    if encoded is not None:
        return Pem(_decode(entry, f"{field_name}-data", encoded), f"{_place(entry)}.{field_name}-data")
    path = entry.path(field_name)
    return None if path is None else _read_file(path, origin=f"{_place(entry)}.{field_name}")


def _decode(entry: Entry, field_name: str, encoded: str) -> bytes:
    try:
        return base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise entry.error(field_name, problem="is not base64", remedy="copy it again, or name a file") from error


def _place(entry: Entry) -> str:
    return f"{entry.file}: {entry.kind}s[{entry.name}].{entry.kind}"


def _read_file(path: Path, *, origin: str) -> Pem:
    try:
        return Pem(path.read_bytes(), f"{origin}: {path}")
    except OSError as error:
        raise ConfigError(f"{origin}: {path} cannot be read: {error.strerror}; check the path and its permissions") from error


def make_tls_context(*, authority: Pem | None, certificate: Pem | None, key: Pem | None, is_verified: bool) -> ssl.SSLContext:
    """Verifies by `authority`, or by the system's roots without one, unless `is_verified` is False."""
    context = _verifying_context(authority) if is_verified else _trusting_context()
    if certificate is not None and key is None:
        raise ConfigError(f"{certificate.origin}: there is no client-key for this client-certificate; give both or none")
    if certificate is not None and key is not None:
        present_certificate(context, certificate=certificate, key=key)
    return context


def present_certificate(context: ssl.SSLContext, *, certificate: Pem, key: Pem) -> None:
    """Makes `context` authenticate with this client certificate."""
    try:
        with _readable_path(certificate.data) as certificate_path, _readable_path(key.data) as key_path:
            # Without a password callback OpenSSL would ask for one on the terminal.
            context.load_cert_chain(certificate_path, key_path, password=lambda: b"")
    except (ssl.SSLError, OSError, ValueError) as error:
        raise ConfigError(
            f"{certificate.origin}: the client certificate and its key cannot be used together; "
            "check that both are PEM, belong together and have no passphrase"
        ) from error


def _verifying_context(authority: Pem | None) -> ssl.SSLContext:
    try:
        if authority is not None and not authority.data.strip():
            # Python takes an empty authority for none, and would trust the system's roots instead.
            raise ValueError("empty")
        context = ssl.create_default_context(cadata=authority.data.decode("ascii") if authority else None)
    except (ssl.SSLError, UnicodeDecodeError, ValueError) as error:
        origin = authority.origin if authority else "system roots"
        raise ConfigError(f"{origin}: the certificate authority cannot be read; it must be PEM certificates") from error
    # Python 3.13 made this the default; many clusters' authorities lack the extensions it asks for, and kubectl accepts them.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _trusting_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@contextmanager
def _readable_path(data: bytes) -> Iterator[str]:
    """A path under which OpenSSL can read `data` that lives in memory only."""
    fd = os.memfd_create("pem", os.MFD_CLOEXEC)
    try:
        os.write(fd, data)
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)

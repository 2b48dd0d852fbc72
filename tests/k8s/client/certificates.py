"""An authority, a server and a client certificate, made with the openssl program."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True, slots=True)
class Certificates:
    """A folder with ca.crt, server.crt, server.key, client.crt, client.key; and other.crt, an authority that signed nothing."""

    folder: Path

    def path(self, name: str) -> Path:
        return self.folder / name

    def server_context(self) -> ssl.SSLContext:
        """Of a server that admits only clients with a certificate of ours."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self.path("ca.crt")))
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_cert_chain(self.path("server.crt"), self.path("server.key"))
        return context


def make_certificates(folder: Path) -> Certificates:
    """For 127.0.0.1 and api.test."""
    for name in ("ca", "other"):
        _openssl(folder, "req", "-x509", *_CURVE, "-days", "2", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.crt")
    _sign(folder, "server", extensions="subjectAltName=IP:127.0.0.1,DNS:api.test\nextendedKeyUsage=serverAuth")
    _sign(folder, "client", extensions="extendedKeyUsage=clientAuth")
    return Certificates(folder)


def _sign(folder: Path, name: str, *, extensions: str) -> None:
    (folder / f"{name}.ext").write_text(extensions)
    _openssl(folder, "req", *_CURVE, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
    authority = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2")
    _openssl(folder, "x509", "-req", "-in", f"{name}.csr", *authority, "-extfile", f"{name}.ext", "-out", f"{name}.crt")


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=30)

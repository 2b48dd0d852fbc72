"""A certificate authority and a server certificate for loopback, made with the openssl program."""

from __future__ import annotations

import subprocess
from pathlib import Path

_EXTENSIONS = """basicConstraints=CA:FALSE
keyUsage=critical,digitalSignature,keyEncipherment
extendedKeyUsage=serverAuth
subjectAltName=DNS:localhost,DNS:kubernetes.default.svc,IP:127.0.0.1
"""
_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
"""Elliptic keys: made in milliseconds, where an RSA key takes up to a second."""


def make_certificates(folder: Path) -> None:
    """Writes ca.crt, server.crt, server.key, and sa.key with sa.pub (the key that signs service account tokens)."""
    (folder / "server.ext").write_text(_EXTENSIONS)
    _openssl(folder, "req", "-x509", *_CURVE, "-days", "3650", "-subj", "/CN=kruntimes-test-ca", "-keyout", "ca.key", "-out", "ca.crt",
             "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
    _openssl(folder, "req", *_CURVE, "-subj", "/CN=kube-apiserver", "-keyout", "server.key", "-out", "server.csr")
    _openssl(folder, "x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "3650",
             "-extfile", "server.ext", "-out", "server.crt")  # fmt: skip
    _openssl(folder, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "sa.key")
    _openssl(folder, "ec", "-in", "sa.key", "-pubout", "-out", "sa.pub")


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

"""Repositories over HTTPS on loopback, as a forge serves them: `git http-backend` behind a small server, with a CA of its own.

runtimed is told of that CA as an operator tells it of theirs (`GIT_SSL_CAINFO`), so nothing in the product knows of tests.
"""

from __future__ import annotations

import base64
import http.server
import os
import shutil
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

from tests.cluster.certificates import make_certificates

USER, PASSWORD = "robot", "canary-7c2f-do-not-leak"
_AUTHORS = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in (("NAME", "t"), ("EMAIL", "t@example.com"))}


class GitServer:
    """`/public/NAME`; `/private/NAME` behind a password; `/moved/NAME` redirects; `/slow/NAME` is never answered."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="kruntimes-git-"))
        (self.folder / "repositories").mkdir()
        make_certificates(self.folder)
        self.requests: list[str] = []
        self.is_asked_slowly = threading.Event()
        self._release = threading.Event()
        server = self

        class Handler(_Handler):
            git = server

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "server.crt", self.folder / "server.key")
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._http.server_address[1]}"

    @property
    def environment(self) -> dict[str, str]:
        """For runtimed."""
        return {"GIT_SSL_CAINFO": str(self.folder / "ca.crt"), "PATH": os.environ["PATH"]}

    def url(self, name: str, *, where: str = "public", userinfo: str = "") -> str:
        return f"https://{userinfo}{self.host}/{where}/{name}"

    def repository(self, name: str, *commits: dict[str, str | bytes | None]) -> list[str]:
        """A bare repository with these commits on main, each files by path (None removes, `-> x` links); gives their hashes."""
        work = self.folder / "work" / name
        work.mkdir(parents=True)
        self._git(work, "init", "-q", "-b", "main")
        hashes = []
        for files in commits:
            for path, content in files.items():
                _write(work / path, content)
            self._git(work, "add", "-A")
            self._git(work, "commit", "-q", "--allow-empty", "-m", "x")
            hashes.append(self._git(work, "rev-parse", "HEAD").strip())
        self.publish(name)
        return hashes

    def publish(self, name: str, *git: str) -> None:
        """After more of `git` in its work tree."""
        if git:
            self._git(self.folder / "work" / name, *git)
        bare = self.folder / "repositories" / name
        shutil.rmtree(bare, ignore_errors=True)
        self._git(self.folder, "clone", "-q", "--bare", str(self.folder / "work" / name), str(bare))

    def _git(self, folder: Path, *arguments: str) -> str:
        environment = {**_AUTHORS, "PATH": os.environ["PATH"], "HOME": str(self.folder), "GIT_CONFIG_NOSYSTEM": "1"}
        return subprocess.run(["git", *arguments], cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout

    def hold(self) -> None:
        self.is_asked_slowly.set()
        self._release.wait(30)

    def __enter__(self) -> GitServer:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._release.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        shutil.rmtree(self.folder, ignore_errors=True)


class _Handler(http.server.BaseHTTPRequestHandler):
    git: GitServer

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        where = self.path.split("/")[1]
        self.git.requests.append(self.path)
        if where == "slow":
            self.git.hold()
            self.send_error(503)
        elif where == "moved":
            self.send_response(302)
            self.send_header("Location", f"https://{self.git.host}{self.path.replace('/moved/', '/public/', 1)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif where == "private" and self.headers.get("Authorization") != _basic():
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._serve()

    do_POST = do_GET  # noqa: N815 - the library's name

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.git.folder / "repositories"),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": "/" + parts.path.split("/", 2)[2],
            "QUERY_STRING": parts.query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(length),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run(["git", "http-backend"], env=environment, input=self.rfile.read(length), capture_output=True, check=False)
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        self.send_response(int(headers.pop("Status", "200").split()[0]))
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass


def _basic() -> str:
    return "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


def _write(path: Path, content: str | bytes | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        path.unlink()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    elif content.startswith("-> "):
        path.symlink_to(content.removeprefix("-> "))
    else:
        path.write_text(content)
        path.chmod(0o755)


@contextmanager
def git_server() -> Iterator[GitServer]:
    with GitServer() as server:
        yield server

"""Notes lines and says them back: `recorder_server.py FILE`, on port 8080. Whoever has got its line back has been noted.

Runs in a Pod of its own (tests/e2e/recorder.py); of kruntimes it knows nothing.
"""

from __future__ import annotations

import socketserver
import sys
from pathlib import Path

PORT = 8080


class Noting(socketserver.StreamRequestHandler):
    """One connection, one line."""

    def handle(self) -> None:
        line = self.rfile.readline()
        # A single write in append mode: lines of several connections do not mix.
        with Path(sys.argv[1]).open("ab", buffering=0) as notes:
            notes.write(line)
        self.wfile.write(line)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 256


if __name__ == "__main__":
    with Server(("0.0.0.0", PORT), Noting) as server:
        server.serve_forever()

"""Every bound that all Runtime Servers share, with its reason, and what of it gRPC must be told."""

from __future__ import annotations

RETAINED_BYTES = 1024 * 1024
"""Kept of each output stream, from its start. Part of the contract (interface.md 2.2)."""

TRUNCATION_MARKER = "\n[output truncated]\n"

STDERR_TAIL_BYTES = 1024
"""As much as a Run's status.message may hold."""

RECENT_BYTES = 256 * 1024
"""Of each stream beyond what is retained: how far behind a reader may be that follows live. At times twice as much is held."""

LAST_BYTES = 64 * 1024
"""Of each stream, sent at the end where a follower's limit was reached before."""

CHUNK_BYTES = 64 * 1024
"""Of output in one message: what a pipe holds, so a chunk is usually one read; small enough that Runs take turns."""

READ_BYTES = 64 * 1024
"""One read of one pipe per turn of the event loop: a flood cannot hold up the others."""

FLOOD_BYTES = RETAINED_BYTES
"""A stream that wrote more is a flood."""

FLOOD_PORTION_BYTES = 512 * 1024
FLOOD_REST_SECONDS = 0.004
"""After each portion: about 85 MiB/s. Without it a gigabyte took a second, and the p99 of the Runs beside it up to 2.9 times as long as
without a flood; with 2 ms past 8 MiB up to 2.0, with this up to 1.85, and up to 1.5 since the local node writes its log faster (row 33)."""

LIST_OUTPUT_BYTES = 3 * 1024 * 1024
"""Of output in one List answer, over all entries: clients refuse messages over 4 MiB by default, and the rest needs room."""

WELCOME_TAILS_LIMIT = 1000
"""Entries in one Welcome that may carry their KiB of standard error."""

ERROR_MESSAGE_CHARACTERS = 1024

PENDING_REPLIES_LIMIT = 1024
"""Of a session that does not read: beyond it no more of its requests are taken."""

COMPANY_SECONDS = 0.002
"""How long Accepted waits for Started, to be sent with it: that a process takes to start where all goes well."""

MESSAGE_BYTES = 4 * 1024 * 1024
"""gRPC's default, written down because List and Status are built to fit it."""

WARM_SLOTS_LIMIT = 64
"""Runs at a time for which children are held ready; beyond it they get fresh processes. A child takes a few MiB."""

CANCEL_GRACE_SECONDS = 2.0
"""Between SIGTERM and SIGKILL, unless the request says otherwise. Part of the contract."""

GRPC_OPTIONS: list[tuple[str, int]] = [
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    # A port in use must be an error, not two servers that share its connections.
    ("grpc.so_reuseport", 0),
    # A session is kept open for days and may be silent: notice a dead peer, and let a client ping as often as every 5 s.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
]

"""The session with the Runtime Server of this Pod: opened again whenever it ends, for ever. Knows nothing of Runs.

It is one stream. A server without it is served through the unary protocol (`unary.session`), which is chosen anew each time.
What is sent belongs to the session that stands; without one it is dropped, for the next Welcome tells what is still to be sent.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import Any, Final

import grpc
from krtpb.executor.v1 import stream_pb2, stream_pb2_grpc
from krtpb.line import FrameTooLarge

from k8s.api.errors import PlatformError
from runtimed.shell import frames
from runtimed.shell.carriers import MESSAGE_BYTES, Carrier, LineCarrier, NoLine, ProtocolError, StreamCarrier, raise_status
from runtimed.shell.listener import Listener
from runtimed.shell.unary.calls import EXECUTE_SECONDS
from runtimed.shell.unary.session import UnarySession

logger = logging.getLogger(__name__)

GREETINGS: Final = 20
"""One in 30 is lost with a server that has no stream, and others have seen half of them lost."""
FIRST_PAUSE_SECONDS: Final = 0.05
MAX_PAUSE_SECONDS: Final = 2.0

CHANNEL_OPTIONS: Final = (
    # Execute is never sent twice by a layer that we do not see (ownership.md, rule 21).
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    # The Pod's proxy settings are for user code; the server is in this Pod.
    ("grpc.enable_http_proxy", 0),
    # Without the stream the connection itself is the session, and may be silent for long: 2^31 - 1 is never.
    ("grpc.client_idle_timeout_ms", 2**31 - 1),
)


class NotConnected(PlatformError):
    """Readiness: no session with the Runtime Server stands, or the server is not well by its own word."""


class Session:
    """`run` for ever; `send` at any time. `execute_seconds` is the contract's, but for tests."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        *,
        listener: Listener,
        slots: int = 0,
        log_bytes: int = 0,
        execute_seconds: float = EXECUTE_SECONDS,
    ) -> None:
        self._stub = stream_pb2_grpc.RuntimeStreamStub(channel)
        self._listener = listener
        self._slots = slots
        self._log_bytes = log_bytes
        self._unary = UnarySession(channel, listener=listener, execute_seconds=execute_seconds)
        self._is_unary = False
        self._carrier: Carrier | None = None
        """Of the session that stands."""
        self._takes_line = True
        self._failures = 0

    @property
    def is_standing(self) -> bool:
        return self._carrier is not None or self._unary.is_standing

    def remember(self, run_uid: str, attempt: int, *, has_arrived: bool) -> None:
        """What an earlier process of this Pod meant to execute; `has_arrived` if the server is known to have begun it.

        Only the unary protocol needs to know: a server with the stream names attempts itself, and drops what is late.
        """
        self._unary.remember(run_uid, attempt, has_arrived=has_arrived)

    async def check(self) -> None:
        """For readiness. Raises NotConnected."""
        if not self.is_standing:
            raise NotConnected("no session with the Runtime Server stands")
        if not self._unary.is_standing:
            return  # the stream is its own proof
        try:
            complaint = await self._unary.check_health()
        except grpc.aio.AioRpcError as error:
            raise NotConnected(f"the Runtime Server does not answer Health: {error.code().name}") from error
        if complaint:
            raise NotConnected(f"the Runtime Server is not healthy: {complaint[:256]}")

    def send(self, frame: stream_pb2.SessionRequest) -> None:
        """In order, within the session that stands; dropped without one."""
        if self._unary.is_standing:
            self._unary.send(frame)
        elif self._carrier is not None:
            self._carrier.send(frame)

    async def run(self) -> None:
        """Session after session."""
        while True:
            try:
                await self._hold_either()
                logger.info("the Runtime Server ended the session")
            except grpc.aio.AioRpcError as error:
                self._log_failure(error)
            except (ProtocolError, FrameTooLarge) as error:
                logger.error("the Runtime Server breaks the protocol", extra={"error": str(error)})
            except NoLine as error:
                logger.warning("the Runtime Server's line cannot be reached; sessions go on by the stream", extra={"error": str(error)})
                self._takes_line = False
            # Waiting for the server to listen needs no pause: `wait_for_ready` does it. This is for one that accepts and refuses.
            if self._failures:
                await asyncio.sleep(min(FIRST_PAUSE_SECONDS * 2 ** min(self._failures, 10), MAX_PAUSE_SECONDS))
            self._failures += 1

    async def _hold_either(self) -> None:
        try:
            await self._hold()
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
                raise
            self._note_unary(is_unary=True)
            await self._unary.hold()
            # Unlike the stream, it stands as soon as List is answered, which a server may do that answers nothing else.
            self._failures = 1

    def _note_unary(self, *, is_unary: bool) -> None:
        """Once, unless it changes."""
        if is_unary and not self._is_unary:
            logger.warning("the Runtime Server does not offer executor.v1.RuntimeStream: it is asked for Status, 5 to 500 ms apart")
        self._is_unary = is_unary

    async def _hold(self) -> None:
        """One session, from Hello until it ends."""
        call = await self._greet()
        carrier: Carrier | None = None
        try:
            welcome = await _welcomed(call)
            carrier = await self._choose_carrier(call, welcome)
            self._failures = 0
            self._note_unary(is_unary=False)
            self._carrier = carrier
            held = frames.read_held(welcome.held)
            logger.info("session stands", extra={"boot_id": welcome.boot_id[:64], "held": sum(map(len, held.values()))})
            self._listener.on_welcome(welcome.boot_id, held)
            await carrier.listen()
        finally:
            self._carrier = None
            if carrier is not None:
                await carrier.close()
                self._listener.on_lost()
            call.cancel()

    async def _choose_carrier(self, call: Any, welcome: stream_pb2.Welcome) -> Carrier:
        if welcome.HasField("line"):
            return await LineCarrier.connect(call, offer=welcome.line, listener=self._listener)
        return StreamCarrier(call, listener=self._listener, takes_batches=welcome.takes_batches)

    def _hello(self) -> stream_pb2.SessionRequest:
        return frames.hello(secrets.token_hex(4), slots=self._slots, log_bytes=self._log_bytes, takes_line=self._takes_line)

    async def _greet(self) -> Any:
        """A call that has taken Hello.

        A write that fails because the server has ended the call already loses what it ended it with (grpc/grpc#36066), and that may be
        UNIMPLEMENTED: so again at once, until it is seen.
        """
        for greetings_left in reversed(range(GREETINGS)):
            call = self._stub.Session(wait_for_ready=True)
            try:
                await call.write(self._hello())
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.INTERNAL or not greetings_left:
                    raise
            except asyncio.CancelledError:
                call.cancel()
                raise
            else:
                return call
        raise AssertionError("the last greeting is returned or raises")

    def _log_failure(self, error: grpc.aio.AioRpcError) -> None:
        fields = {"code": error.code().name, "error": (error.details() or "")[:256]}
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            logger.error(
                "the Runtime Server offers neither executor.v1.RuntimeStream nor executor.v1.Runtime",
                extra=fields,
            )
        else:
            logger.warning("session with the Runtime Server is interrupted", extra=fields)


async def _welcomed(call: Any) -> stream_pb2.Welcome:
    response = await call.read()
    if response is grpc.aio.EOF:
        # The status says why, as an AioRpcError; a good one without a Welcome is a server that does not keep the protocol.
        await raise_status(call)
        raise ProtocolError("the session ended before Welcome")
    if response.WhichOneof("event") != "welcome":
        raise ProtocolError("the first response of a session must be Welcome")
    welcome: stream_pb2.Welcome = response.welcome
    return welcome

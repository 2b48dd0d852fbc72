from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OutputStream(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTPUT_STREAM_UNSPECIFIED: _ClassVar[OutputStream]
    OUTPUT_STREAM_STDOUT: _ClassVar[OutputStream]
    OUTPUT_STREAM_STDERR: _ClassVar[OutputStream]

class ExitReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EXIT_REASON_UNSPECIFIED: _ClassVar[ExitReason]
    EXIT_REASON_EXITED: _ClassVar[ExitReason]
    EXIT_REASON_CANCELLED: _ClassVar[ExitReason]
    EXIT_REASON_NOT_STARTED: _ClassVar[ExitReason]
    EXIT_REASON_LOST: _ClassVar[ExitReason]
OUTPUT_STREAM_UNSPECIFIED: OutputStream
OUTPUT_STREAM_STDOUT: OutputStream
OUTPUT_STREAM_STDERR: OutputStream
EXIT_REASON_UNSPECIFIED: ExitReason
EXIT_REASON_EXITED: ExitReason
EXIT_REASON_CANCELLED: ExitReason
EXIT_REASON_NOT_STARTED: ExitReason
EXIT_REASON_LOST: ExitReason

class AttemptKey(_message.Message):
    __slots__ = ("run_uid", "attempt")
    RUN_UID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    run_uid: str
    attempt: int
    def __init__(self, run_uid: _Optional[str] = ..., attempt: _Optional[int] = ...) -> None: ...

class SessionRequest(_message.Message):
    __slots__ = ("hello", "execute", "cancel", "forget", "attach", "batch")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    EXECUTE_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    FORGET_FIELD_NUMBER: _ClassVar[int]
    ATTACH_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    execute: Execute
    cancel: Cancel
    forget: Forget
    attach: Attach
    batch: RequestBatch
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., execute: _Optional[_Union[Execute, _Mapping]] = ..., cancel: _Optional[_Union[Cancel, _Mapping]] = ..., forget: _Optional[_Union[Forget, _Mapping]] = ..., attach: _Optional[_Union[Attach, _Mapping]] = ..., batch: _Optional[_Union[RequestBatch, _Mapping]] = ...) -> None: ...

class RequestBatch(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[SessionRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[SessionRequest, _Mapping]]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("session", "slots", "takes_batches", "takes_line", "log_bytes")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    TAKES_BATCHES_FIELD_NUMBER: _ClassVar[int]
    TAKES_LINE_FIELD_NUMBER: _ClassVar[int]
    LOG_BYTES_FIELD_NUMBER: _ClassVar[int]
    session: str
    slots: int
    takes_batches: bool
    takes_line: bool
    log_bytes: int
    def __init__(self, session: _Optional[str] = ..., slots: _Optional[int] = ..., takes_batches: _Optional[bool] = ..., takes_line: _Optional[bool] = ..., log_bytes: _Optional[int] = ...) -> None: ...

class Execute(_message.Message):
    __slots__ = ("key", "args", "env", "working_dir", "entrypoint", "handler")
    class EnvEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    KEY_FIELD_NUMBER: _ClassVar[int]
    ARGS_FIELD_NUMBER: _ClassVar[int]
    ENV_FIELD_NUMBER: _ClassVar[int]
    WORKING_DIR_FIELD_NUMBER: _ClassVar[int]
    ENTRYPOINT_FIELD_NUMBER: _ClassVar[int]
    HANDLER_FIELD_NUMBER: _ClassVar[int]
    key: AttemptKey
    args: _containers.RepeatedScalarFieldContainer[str]
    env: _containers.ScalarMap[str, str]
    working_dir: str
    entrypoint: str
    handler: str
    def __init__(self, key: _Optional[_Union[AttemptKey, _Mapping]] = ..., args: _Optional[_Iterable[str]] = ..., env: _Optional[_Mapping[str, str]] = ..., working_dir: _Optional[str] = ..., entrypoint: _Optional[str] = ..., handler: _Optional[str] = ...) -> None: ...

class Cancel(_message.Message):
    __slots__ = ("key", "grace_millis")
    KEY_FIELD_NUMBER: _ClassVar[int]
    GRACE_MILLIS_FIELD_NUMBER: _ClassVar[int]
    key: AttemptKey
    grace_millis: int
    def __init__(self, key: _Optional[_Union[AttemptKey, _Mapping]] = ..., grace_millis: _Optional[int] = ...) -> None: ...

class Forget(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: AttemptKey
    def __init__(self, key: _Optional[_Union[AttemptKey, _Mapping]] = ...) -> None: ...

class Attach(_message.Message):
    __slots__ = ("key", "stdout_offset", "stderr_offset")
    KEY_FIELD_NUMBER: _ClassVar[int]
    STDOUT_OFFSET_FIELD_NUMBER: _ClassVar[int]
    STDERR_OFFSET_FIELD_NUMBER: _ClassVar[int]
    key: AttemptKey
    stdout_offset: int
    stderr_offset: int
    def __init__(self, key: _Optional[_Union[AttemptKey, _Mapping]] = ..., stdout_offset: _Optional[int] = ..., stderr_offset: _Optional[int] = ...) -> None: ...

class SessionResponse(_message.Message):
    __slots__ = ("welcome", "accepted", "started", "output", "exited", "forgotten", "batch")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    EXITED_FIELD_NUMBER: _ClassVar[int]
    FORGOTTEN_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    accepted: Accepted
    started: Started
    output: Output
    exited: Exited
    forgotten: Forgotten
    batch: ResponseBatch
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., accepted: _Optional[_Union[Accepted, _Mapping]] = ..., started: _Optional[_Union[Started, _Mapping]] = ..., output: _Optional[_Union[Output, _Mapping]] = ..., exited: _Optional[_Union[Exited, _Mapping]] = ..., forgotten: _Optional[_Union[Forgotten, _Mapping]] = ..., batch: _Optional[_Union[ResponseBatch, _Mapping]] = ...) -> None: ...

class ResponseBatch(_message.Message):
    __slots__ = ("responses",)
    RESPONSES_FIELD_NUMBER: _ClassVar[int]
    responses: _containers.RepeatedCompositeFieldContainer[SessionResponse]
    def __init__(self, responses: _Optional[_Iterable[_Union[SessionResponse, _Mapping]]] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("boot_id", "held", "takes_batches", "line")
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    TAKES_BATCHES_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    boot_id: str
    held: _containers.RepeatedCompositeFieldContainer[Held]
    takes_batches: bool
    line: Line
    def __init__(self, boot_id: _Optional[str] = ..., held: _Optional[_Iterable[_Union[Held, _Mapping]]] = ..., takes_batches: _Optional[bool] = ..., line: _Optional[_Union[Line, _Mapping]] = ...) -> None: ...

class Line(_message.Message):
    __slots__ = ("port", "token")
    PORT_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    port: int
    token: bytes
    def __init__(self, port: _Optional[int] = ..., token: _Optional[bytes] = ...) -> None: ...

class Held(_message.Message):
    __slots__ = ("key", "started_unix_micros", "exited")
    KEY_FIELD_NUMBER: _ClassVar[int]
    STARTED_UNIX_MICROS_FIELD_NUMBER: _ClassVar[int]
    EXITED_FIELD_NUMBER: _ClassVar[int]
    key: AttemptKey
    started_unix_micros: int
    exited: Exited
    def __init__(self, key: _Optional[_Union[AttemptKey, _Mapping]] = ..., started_unix_micros: _Optional[int] = ..., exited: _Optional[_Union[Exited, _Mapping]] = ...) -> None: ...

class Accepted(_message.Message):
    __slots__ = ("key", "duplicate")
    KEY_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    key: AttemptKey
    duplicate: bool
    def __init__(self, key: _Optional[_Union[AttemptKey, _Mapping]] = ..., duplicate: _Optional[bool] = ...) -> None: ...

class Started(_message.Message):
    __slots__ = ("key", "pid", "started_unix_micros")
    KEY_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    STARTED_UNIX_MICROS_FIELD_NUMBER: _ClassVar[int]
    key: AttemptKey
    pid: int
    started_unix_micros: int
    def __init__(self, key: _Optional[_Union[AttemptKey, _Mapping]] = ..., pid: _Optional[int] = ..., started_unix_micros: _Optional[int] = ...) -> None: ...

class Output(_message.Message):
    __slots__ = ("key", "stream", "offset", "data", "truncated")
    KEY_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    key: AttemptKey
    stream: OutputStream
    offset: int
    data: bytes
    truncated: bool
    def __init__(self, key: _Optional[_Union[AttemptKey, _Mapping]] = ..., stream: _Optional[_Union[OutputStream, str]] = ..., offset: _Optional[int] = ..., data: _Optional[bytes] = ..., truncated: _Optional[bool] = ...) -> None: ...

class Exited(_message.Message):
    __slots__ = ("key", "reason", "exit_code", "signal", "error_message", "stderr_tail", "stdout_bytes", "stderr_bytes", "cpu_seconds", "peak_rss_bytes", "exited_unix_micros")
    KEY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    ERROR_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    STDERR_TAIL_FIELD_NUMBER: _ClassVar[int]
    STDOUT_BYTES_FIELD_NUMBER: _ClassVar[int]
    STDERR_BYTES_FIELD_NUMBER: _ClassVar[int]
    CPU_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PEAK_RSS_BYTES_FIELD_NUMBER: _ClassVar[int]
    EXITED_UNIX_MICROS_FIELD_NUMBER: _ClassVar[int]
    key: AttemptKey
    reason: ExitReason
    exit_code: int
    signal: int
    error_message: str
    stderr_tail: bytes
    stdout_bytes: int
    stderr_bytes: int
    cpu_seconds: float
    peak_rss_bytes: int
    exited_unix_micros: int
    def __init__(self, key: _Optional[_Union[AttemptKey, _Mapping]] = ..., reason: _Optional[_Union[ExitReason, str]] = ..., exit_code: _Optional[int] = ..., signal: _Optional[int] = ..., error_message: _Optional[str] = ..., stderr_tail: _Optional[bytes] = ..., stdout_bytes: _Optional[int] = ..., stderr_bytes: _Optional[int] = ..., cpu_seconds: _Optional[float] = ..., peak_rss_bytes: _Optional[int] = ..., exited_unix_micros: _Optional[int] = ...) -> None: ...

class Forgotten(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: AttemptKey
    def __init__(self, key: _Optional[_Union[AttemptKey, _Mapping]] = ...) -> None: ...

from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DownloadRequest(_message.Message):
    __slots__ = ("namespace", "run_name", "artifact_name", "offset")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    RUN_NAME_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_NAME_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    run_name: str
    artifact_name: str
    offset: int
    def __init__(self, namespace: _Optional[str] = ..., run_name: _Optional[str] = ..., artifact_name: _Optional[str] = ..., offset: _Optional[int] = ...) -> None: ...

class ArtifactMetadata(_message.Message):
    __slots__ = ("name", "type", "content_type", "size_bytes", "digest", "offset")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    name: str
    type: str
    content_type: str
    size_bytes: int
    digest: str
    offset: int
    def __init__(self, name: _Optional[str] = ..., type: _Optional[str] = ..., content_type: _Optional[str] = ..., size_bytes: _Optional[int] = ..., digest: _Optional[str] = ..., offset: _Optional[int] = ...) -> None: ...

class DownloadResponse(_message.Message):
    __slots__ = ("metadata", "data")
    METADATA_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    metadata: ArtifactMetadata
    data: bytes
    def __init__(self, metadata: _Optional[_Union[ArtifactMetadata, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

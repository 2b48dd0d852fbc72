"""boto3 as we use it: imported late, timeouts on everything, and its errors in words that name the operation and the code.

Credentials are the SDK's own chain (environment, web identity, instance role) and are never looked at here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

from k8s.api.errors import UsageError
from k8s.api.runtime import S3Store
from runtimed.artifacts.errors import ArtifactMissing, StoreUnavailable

CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 30.0
"""For one answer. A store that takes longer for a part is as good as away: the upload's own patience decides."""
ATTEMPTS: Final = 3
"""Of one request, with the SDK's short pauses. Everything longer is the upload's to repeat."""
_MISSING: Final = frozenset({"NoSuchKey", "404", "NotFound"})
_RENEW: Final = "renew them in the Secret of spec.artifactStore.s3.credentialsSecretName and restart the Runtime's Pods"
_REMEDIES: Final = {
    "ExpiredToken": f"its credentials have expired; {_RENEW}",
    "InvalidAccessKeyId": f"it does not know its credentials; {_RENEW}",
    "SignatureDoesNotMatch": f"its credentials are wrong; {_RENEW}",
    "AccessDenied": "its credentials do not allow this; grant them reading, writing, listing and deleting in the bucket",
    "NoSuchBucket": "make the bucket of spec.artifactStore.s3.bucket",
    "NoCredentialsError": "there are no credentials; name a Secret with them in spec.artifactStore.s3.credentialsSecretName",
}
"""What somebody can do about it, for whoever reads the Run's message."""
DEFAULT_REGION: Final = "us-east-1"
"""A signature needs one; stores of one's own do not care which."""


def make_client(store: S3Store, *, connections: int) -> Any:
    """A low-level client. Takes half a second and 30 MiB, once. Raises UsageError."""
    check_endpoint(store.endpoint)
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
        max_pool_connections=connections,
        tcp_keepalive=True,
        s3={"addressing_style": "path" if store.force_path_style else "auto"},
        # We send Content-MD5 and compare digests; the SDK's newer trailing checksums are refused by stores of other makers.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    region = store.region or boto3.session.Session().region_name or DEFAULT_REGION
    return boto3.client("s3", region_name=region, endpoint_url=store.endpoint or None, config=config)


def check_endpoint(endpoint: str | None) -> None:
    """Raises UsageError."""
    if not endpoint:
        return
    parts = urlsplit(endpoint)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError("spec.artifactStore.s3.endpoint: it must have a scheme and a host, as in https://storage.example.org")


@contextmanager
def explained(operation: str) -> Iterator[None]:
    """Foreign errors end here. Raises StoreUnavailable or ArtifactMissing."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "Unknown"))[:64]
        if code in _MISSING:
            raise ArtifactMissing("the store does not hold it any more") from error
        raise _unavailable(operation, code) from error
    except (BotoCoreError, Boto3Error, OSError) as error:
        # Their texts name addresses and may name more: the kind says what there is to do.
        raise _unavailable(operation, type(error).__name__) from error


def _unavailable(operation: str, code: str) -> StoreUnavailable:
    remedy = _REMEDIES.get(code)
    return StoreUnavailable(f"artifact store: {operation}: {code}{f': {remedy}' if remedy else ''}", code=code)


def is_md5_etag(answer: Mapping[str, Any]) -> bool:
    """Whether the ETag of this answer is the MD5 of the bytes: not under a key of the customer's or of a key service."""
    return not answer.get("SSECustomerAlgorithm") and answer.get("ServerSideEncryption") in {None, "AES256"}

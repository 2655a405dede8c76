"""A store in an S3 bucket. `s3_client` connects to it; boto3 is imported only when a store is opened.

`create` rests on one primitive: a put of one part with `If-None-Match: *`, which fails if the key is taken. AWS, Ceph,
MinIO and R2 have this condition in common. `If-Match`, multipart uploads, versioning and locks are not used. A server
that ignores the condition would lose ledger entries silently. Before its first `create`, a store therefore creates one
key twice, and refuses to write if the server accepts the second one.
"""

import base64
import builtins
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from threading import Event
from typing import Any, ClassVar, TypeVar

from fair_distill.errors import ConfigError
from fair_distill.storage.s3_client import open_client, server_name
from fair_distill.storage.store import (
    CHUNK_BYTES,
    Absent,
    Options,
    Store,
    StoredObject,
    TooLarge,
    Unanswered,
    check_clock,
    check_size,
)
from fair_distill.storage.urls import StoreUrl, write_address

T = TypeVar("T")

# What S3's error codes mean. Other codes are shown as S3 returned them.
_MEANINGS = {
    "NoSuchBucket": "the bucket does not exist",
    "NoSuchKey": "the key does not exist",
    "AccessDenied": "the credentials do not allow it",
    "InvalidAccessKeyId": "the credentials are wrong",
    "SignatureDoesNotMatch": "the credentials are wrong",
    "ExpiredToken": "the credentials have expired",
    "InvalidToken": "the credentials have expired",
    "RequestTimeTooSkewed": "this machine's clock and the server's differ by too much",
    "NotImplemented": "the server does not support it",
}
# These may succeed a moment later. So may the statuses 409 (two writers of one key), 429 and 5xx.
_TRANSIENT_CODES = {"SlowDown", "RequestTimeout"}
_ABSENT_CODES = {"NoSuchKey", "404"}  # HEAD returns 404 without a name
_DENIED_CODES = {"AccessDenied", "403"}
_TAKEN_CODES = {"PreconditionFailed", "412"}
_MAX_KEYS_PER_PAGE = 1000
# The name starts with "." so that listings of a registry leave it out. It is written once per registry.
_PROBE = ".create-only"
_PROBE_CONTENT = b"This store writes no key twice. It is asked so before the first write of a command.\n"


class _Denied(ConfigError):
    """The credentials do not allow a request. S3 may also answer this if the key is absent; see `_is_absent`."""


class _Transient(Exception):
    """No answer, or the answer of a busy server. `maybe_done` says whether the request may have taken effect."""

    def __init__(self, line: str, *, maybe_done: bool) -> None:
        super().__init__(line)
        self.maybe_done = maybe_done


@dataclass(frozen=True)
class Patience:
    """How often a transient failure is retried, and how long the pauses are.

    Pauses double from `first_seconds` to `most_seconds`. Each is multiplied by a random number from [0, 1), so that
    writers that failed together do not retry together.

    Attributes
    ----------
    attempts : how often a request is made in all
    wait : waits for a number of seconds
    jitter : returns a number from [0, 1). No result depends on it
    """

    attempts: int
    first_seconds: float = 0.2
    most_seconds: float = 5.0
    wait: Callable[[float], object] = field(default_factory=lambda: Event().wait)
    jitter: Callable[[], float] = field(default_factory=lambda: secrets.SystemRandom().random)

    def pause(self, attempt: int) -> None:
        """Wait after the given attempt, counted from 0."""
        self.wait(self.jitter() * min(self.most_seconds, self.first_seconds * 2**attempt))


def default_patience() -> Patience:
    """Return the number of attempts in AWS_MAX_ATTEMPTS, or 6."""
    setting = os.environ.get("AWS_MAX_ATTEMPTS", "6")
    if not setting.isdecimal() or int(setting) < 1:
        raise ConfigError(f"AWS_MAX_ATTEMPTS is {setting!r}; set it to a whole number from 1")
    return Patience(attempts=int(setting))


class S3Store(Store):
    """A store in a bucket, below a prefix.

    The endpoint of a server that is not Amazon's comes from AWS_ENDPOINT_URL or from the URL's `?endpoint=`. boto3
    finds the credentials and the region, unless the store is opened with `environment_only`.

    Parameters
    ----------
    prefix : the start of all keys, without a final "/"; may be empty
    client : a boto3 client that makes each request once
    source : the option, variable or key that the URL comes from, for messages
    clock : the clock of this machine. `create` compares it with the `Date` of the server's latest answer
    """

    parameters: ClassVar[tuple[str, ...]] = ("endpoint",)
    example: ClassVar[str] = "s3://bucket/prefix"

    def __init__(
        self,
        bucket: str,
        prefix: str,
        client: Any,
        *,
        source: str = "the URL",
        patience: Patience | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.bucket = bucket
        self.prefix = prefix
        self.client = client
        self.source = source
        self.patience = patience or default_patience()
        self.clock = clock
        self._clocks: tuple[datetime, datetime] | None = None
        client.meta.events.register("after-call.s3", self._read_clocks)
        self._probed = False

    @classmethod
    def open(cls, url: StoreUrl, options: Options) -> "S3Store":
        if not url.host:
            raise ConfigError(f"{url.source} is {url.safe_text}; write s3://bucket/prefix")
        client = open_client(url, options)
        return cls(url.host, url.key, client, source=url.source)

    @property
    def identity(self) -> str:
        """The bucket, the prefix and the server, whether a URL or a setting named the server."""
        return f"s3://{self.bucket}/{self.prefix}?server={server_name(self.client.meta.endpoint_url)}"

    def address(self, key: str = "") -> str:
        return write_address("s3", self.bucket, self._full(key))

    def create(self, key: str, content: bytes, *, max_clock_skew: timedelta | None = None) -> bool:
        self._probe()
        if self._clocks and max_clock_skew is not None:
            store = f"{self.address()} ({self.client.meta.endpoint_url})"
            check_clock(*self._clocks, store=store, max_skew=max_clock_skew)
        return self._create(key, content)

    def put(self, key: str, content: bytes) -> None:
        def request() -> None:
            with self._translated(key, "write") as response:
                self.client.put_object(Bucket=self.bucket, Key=self._full(key), Body=content)
            if response.code:
                raise self._refusal(key, "write", response.code)

        self._retried(request)

    def read(self, key: str, *, size_limit: int | None = None) -> bytes:
        return self._retried(lambda: self._read(key, lambda size: check_size(size, size_limit, self.address(key))))

    def stream(self, key: str | StoredObject) -> Iterator[bytes]:
        listed = key if isinstance(key, StoredObject) else None
        name = key.key if isinstance(key, StoredObject) else key
        answer = self._retried(lambda: self._get(name))
        if listed is not None and (answer["ETag"], answer["ContentLength"]) != (listed.etag, listed.size):
            raise ConfigError(f"{self.address(name)} was changed while it was read; run the command again")
        try:
            with self._translated(name, "read"):
                yield from answer["Body"].iter_chunks(CHUNK_BYTES)
        except _Transient as error:
            raise Unanswered(str(error)) from None

    def exists(self, key: str) -> bool:
        def request() -> bool:
            try:
                with self._translated(key, "look for") as response:
                    self.client.head_object(Bucket=self.bucket, Key=self._full(key))
            except _Denied:
                if self._is_absent(key):
                    return False
                raise
            return response.code is None

        return self._retried(request)

    def pages(
        self, prefix: str = "", *, after: str = "", limit: int | None = None
    ) -> Iterator[builtins.list[StoredObject]]:
        request: dict[str, Any] = {"Bucket": self.bucket, "Prefix": self._full(prefix)}
        if after:
            request["StartAfter"] = self._full(after)
        remaining = limit
        while remaining is None or remaining > 0:
            if remaining is not None:
                request["MaxKeys"] = min(remaining, _MAX_KEYS_PER_PAGE)
            answer = self._retried(lambda: self._list(prefix, request))
            objects = [
                StoredObject(row["Key"].removeprefix(self._full("")), row["ETag"], row["Size"])
                for row in answer.get("Contents", ())
            ]
            yield objects
            if not answer.get("IsTruncated"):
                return
            request["ContinuationToken"] = answer["NextContinuationToken"]
            remaining = remaining if remaining is None else remaining - len(objects)

    def remove(self, key: str) -> None:
        def request() -> None:
            with self._translated(key, "remove") as response:
                self.client.delete_object(Bucket=self.bucket, Key=self._full(key))
            if response.code:
                raise self._refusal(key, "remove", response.code)

        self._retried(request)

    def _create(self, key: str, content: bytes) -> bool:
        """Create a key, even if answers are lost.

        After a lost answer, this call itself may have taken the key. The content under the key shows whether it did.
        If two writers write the same content, both may return True, and nothing is lost.
        """
        checksum = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
        lost = False
        for attempt in range(self.patience.attempts):
            try:
                created = self._create_once(key, content, checksum)
                return created or (lost and self._has_content(key, content))
            except _Transient as error:
                lost = lost or error.maybe_done
                fault = error
            if attempt + 1 < self.patience.attempts:
                self.patience.pause(attempt)
        if not lost:
            raise Unanswered(f"{fault} ({self.patience.attempts} attempts)")
        raise Unanswered(
            f"{fault} ({self.patience.attempts} attempts). It may have been written; repeat the command "
            "as the same operation"
        )

    def _create_once(self, key: str, content: bytes, checksum: str) -> bool:
        with self._translated(key, "write") as response:
            self.client.put_object(
                Bucket=self.bucket, Key=self._full(key), Body=content, IfNoneMatch="*", ContentMD5=checksum
            )
        return response.code is None

    def _has_content(self, key: str, content: bytes) -> bool:
        """Return whether a key has this content. A larger content is not read."""
        try:
            return self.read(key, size_limit=len(content)) == content
        except TooLarge:
            return False

    def _probe(self) -> None:
        """Raise ConfigError if the server accepts a second create of one key."""
        if self._probed:
            return
        self._create(_PROBE, _PROBE_CONTENT)
        # Not `_create`: after a lost answer it would find its own content and report that it created the key.
        checksum = base64.b64encode(hashlib.md5(_PROBE_CONTENT, usedforsecurity=False).digest()).decode()
        if self._retried(lambda: self._create_once(_PROBE, _PROBE_CONTENT, checksum)):
            raise ConfigError(
                f"{self.address(_PROBE)} was written twice: the server ignores `If-None-Match: *`, so writers would "
                f"overwrite each other. Nothing was written; change {self.source} to a server that honours it"
            )
        self._probed = True

    def _get(self, key: str) -> Any:
        try:
            with self._translated(key, "read") as response:
                answer = self.client.get_object(Bucket=self.bucket, Key=self._full(key))
            absent = response.code is not None
        except _Denied:
            absent = self._is_absent(key)
            if not absent:
                raise
        if absent:
            raise Absent(f"{self.address(key)} does not exist; add it or change {self.source}")
        return answer

    def _is_absent(self, key: str) -> bool:
        """Return whether a listing shows that nothing is stored under a key. False if it cannot be listed.

        S3 denies reading an absent key to credentials that may list only a prefix of the bucket.
        """
        full = self._full(key)
        try:
            answer = self._list(key, {"Bucket": self.bucket, "Prefix": full, "MaxKeys": 1})
        except ConfigError:
            return False
        return all(row["Key"] != full for row in answer.get("Contents", ()))

    def _read(self, key: str, check: Callable[[int], object]) -> bytes:
        chunks: builtins.list[bytes] = []
        answer = self._get(key)
        with self._translated(key, "read"):
            try:
                check(answer["ContentLength"])
                size = 0
                # The length that the server states may be wrong, so the chunks are counted too.
                for chunk in answer["Body"].iter_chunks(CHUNK_BYTES):
                    size += len(chunk)
                    check(size)
                    chunks.append(chunk)
            finally:
                answer["Body"].close()
        return b"".join(chunks)

    def _list(self, prefix: str, request: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = {}
        with self._translated(prefix, "list") as response:
            answer = self.client.list_objects_v2(**request)
        if response.code:
            raise self._refusal(prefix, "list", response.code)
        return answer

    def _retried(self, request: Callable[[], T]) -> T:
        for attempt in range(self.patience.attempts - 1):
            try:
                return request()
            except _Transient:
                self.patience.pause(attempt)
        try:
            return request()
        except _Transient as error:
            raise Unanswered(f"{error} ({self.patience.attempts} attempts)") from None

    @contextmanager
    def _translated(self, key: str, action: str) -> "Iterator[_Response]":
        """Sort failures: absent and taken keys set the response's code, transient ones raise _Transient.

        Every other failure is a ConfigError.
        """
        from botocore.exceptions import (
            BotoCoreError,
            ClientError,
            ConnectTimeoutError,
            EndpointConnectionError,
            HTTPClientError,
            IncompleteReadError,
            ResponseStreamingError,
        )

        response = _Response()
        failure = f"cannot {action} {self.address(key)}"
        try:
            yield response
        except ClientError as error:
            code, text = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if code in _ABSENT_CODES | _TAKEN_CODES:
                response.code = code
            elif code in _TRANSIENT_CODES or status in (409, 429) or (status >= 500 and code != "NotImplemented"):
                raise _Transient(self._line(f"{failure}: the server says {status} {code}"), maybe_done=True) from None
            elif code in _DENIED_CODES:
                raise _Denied(str(self._refusal(key, action, "AccessDenied", text))) from None
            else:
                raise self._refusal(key, action, code, text) from None
        except (EndpointConnectionError, ConnectTimeoutError) as error:
            raise _Transient(self._line(f"{failure}: {error}"), maybe_done=False) from None
        except (HTTPClientError, IncompleteReadError, ResponseStreamingError) as error:
            raise _Transient(self._line(f"{failure}: {error}"), maybe_done=True) from None
        except BotoCoreError as error:
            raise ConfigError(self._line(f"{failure}: {error}")) from None

    def _refusal(self, key: str, action: str, code: str, text: str = "") -> ConfigError:
        meaning = _MEANINGS.get(code, f"{code} {text}".strip())
        return ConfigError(self._line(f"cannot {action} {self.address(key)}: {meaning}"))

    def _line(self, failure: str) -> str:
        return (
            f"{' '.join(failure.split())[:300]} (at {self.client.meta.endpoint_url}). Change {self.source}, or "
            "AWS_ENDPOINT_URL, or the credentials (AWS_PROFILE, AWS_ACCESS_KEY_ID)"
        )

    def _full(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key

    def _read_clocks(self, parsed: dict[str, Any], **_: object) -> None:
        """Record both clocks at the moment of an answer. An answer without a `Date` is ignored."""
        date = parsed.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
        try:
            self._clocks = self.clock(), parsedate_to_datetime(date).replace(tzinfo=UTC)
        except (TypeError, ValueError, OverflowError):
            return


@dataclass
class _Response:
    """The error code of a request for an absent or a taken key; None if the request succeeded."""

    code: str | None = None

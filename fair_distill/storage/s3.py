"""Named byte strings in an S3 bucket. The only file that knows boto3, and only where an s3 address is used.

Not for: what the bytes mean, or who may write what once. The registry's own promises are in registry.store.
"""

import base64
import builtins
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, NoReturn
from urllib.parse import urlsplit

from fair_distill.errors import ConfigError
from fair_distill.storage.urls import path_of, read_address, read_endpoint
from fair_distill.text import address_without_secrets

# What S3 answers, in words; another code is shown as it came.
_ANSWERS = {
    "NoSuchBucket": "there is no such bucket",
    "NoSuchKey": "it is not there",
    "AccessDenied": "the credentials do not allow it",
    "InvalidAccessKeyId": "the credentials are wrong",
    "SignatureDoesNotMatch": "the credentials are wrong",
    "ExpiredToken": "the credentials are out of date",
    "InvalidToken": "the credentials are out of date",
    "RequestTimeTooSkewed": "this machine's clock and the server's differ by too much",
    "NotImplemented": "it cannot do this",
}
# What may be answered otherwise a moment later, as may 409 (two writers of one key at once), 429 and 5xx.
_BUSY = {"SlowDown", "RequestTimeout"}


class NotThere(ConfigError):
    """Nothing lies under the key."""


class Passing(ConfigError):
    """No answer, or a busy server's: it may do better in a moment. `done` says whether the asked may have been done."""

    def __init__(self, line: str, *, done: bool) -> None:
        super().__init__(line)
        self.done = done


@dataclass(frozen=True)
class Entry:
    """An object as a listing shows it: its key below the prefix, and what changes when its content does."""

    key: str
    etag: str
    size: int


def open_bucket(url: str, *, said_by: str, attempts: int | None = None) -> "Bucket":
    """Return the bucket at s3://bucket/prefix. Opening neither reads nor writes.

    The endpoint of an S3 that is not Amazon's comes from AWS_ENDPOINT_URL or from the URL's `?endpoint=`, the
    credentials from wherever boto3 looks for them, and so do region and number of attempts (AWS_MAX_ATTEMPTS).

    Parameters
    ----------
    said_by : where the URL came from, for messages
    attempts : how often S3 is asked before it has failed; None is what AWS_MAX_ATTEMPTS says
    """
    parts, options = read_address(url, said_by=said_by, parameters=("endpoint",))
    if parts.scheme != "s3" or not parts.netloc:
        raise ConfigError(
            f"{said_by} is {address_without_secrets(url)!r}; a folder or s3://bucket/prefix, with ?endpoint=URL if "
            "need be, was wanted"
        )
    endpoint = options.get("endpoint") or _endpoint()
    if endpoint:
        read_endpoint(endpoint, said_by=f"{said_by}: the endpoint of {parts.netloc}")
    return Bucket(parts.netloc, path_of(parts).strip("/"), _client(endpoint, said_by, attempts), said_by)


def open_bucket_read_only(url: str, *, endpoint: str | None, region: str | None, said_by: str) -> "Bucket":
    """Return the bucket at s3://bucket/prefix, with credentials from the environment and from nowhere else.

    boto3 also looks into files in the home directory, which can name a program to run for credentials. Here no file
    and no profile is read. Raises ConfigError if the environment has no key.

    Parameters
    ----------
    endpoint : the address of the server; None is AWS_ENDPOINT_URL, else Amazon's
    """
    parts, _ = read_address(url, said_by=said_by)
    if parts.scheme != "s3" or not parts.netloc:
        raise ConfigError(f"{said_by} is {address_without_secrets(url)!r}; write s3://bucket/prefix")
    keys = {name: os.environ.get(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")}
    if not (keys["AWS_ACCESS_KEY_ID"] and keys["AWS_SECRET_ACCESS_KEY"]):
        raise ConfigError(
            f"{said_by} is in S3, and AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not both set; "
            "pass read-only credentials in the environment"
        )
    client = _client(
        endpoint or _endpoint(),
        said_by,
        None,
        from_environment={key.lower(): value for key, value in keys.items()}
        | {"region_name": region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")},
    )
    return Bucket(parts.netloc, path_of(parts).strip("/"), client, said_by)


@dataclass(frozen=True)
class Bucket:
    """Objects in S3, where a put is atomic of itself.

    Parameters
    ----------
    prefix : what all keys are below; may be empty
    client : boto3's
    said_by : where the address came from, for messages
    """

    name: str
    prefix: str
    client: Any
    said_by: str

    @property
    def identity(self) -> str:
        """Return the one address of the place, with the server that is used, whether a URL or a setting named it."""
        return f"s3://{self.name}/{self.prefix}?server={_server(self.client.meta.endpoint_url)}"

    def put(self, key: str, content: bytes) -> None:
        with self._spoken_for(key, "write"):
            self.client.put_object(Bucket=self.name, Key=self._full(key), Body=content)

    def get(self, key: str) -> bytes:
        with self._spoken_for(key, "read"):
            content: bytes = self.client.get_object(Bucket=self.name, Key=self._full(key))["Body"].read()
            return content

    def list(self, folder: str) -> builtins.list[str]:
        below = f"{self._full(folder)}/"
        with self._spoken_for(folder, "list"):
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=below, Delimiter="/")
            found = [entry["Key"].removeprefix(below) for page in pages for entry in page.get("Contents", ())]
        return sorted(f"{folder}/{name}" for name in found)

    def entries(self, start: str = "", *, after: str = "") -> Iterator[builtins.list[Entry]]:
        """Yield all objects whose keys start so, in folders or not, a page of the listing at a time, in their order.

        `after` is a key: those up to it, in the order of their bytes, are left out.
        """
        below = f"{self.prefix}/" if self.prefix else ""
        with self._spoken_for(start, "list"):
            where = {"Prefix": below + start, **({"StartAfter": below + after} if after else {})}
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, **where)
            for page in pages:
                yield [
                    Entry(entry["Key"].removeprefix(below), entry["ETag"], entry["Size"])
                    for entry in page.get("Contents", ())
                ]

    def read(self, entry: Entry) -> Iterator[bytes]:
        """Yield the content that a listing showed, a bit at a time; another content is refused."""
        with self._spoken_for(entry.key, "read"):
            answer = self.client.get_object(Bucket=self.name, Key=self._full(entry.key))
            if (answer["ETag"], answer["ContentLength"]) != (entry.etag, entry.size):
                raise ConfigError(f"{self.address(entry.key)} was changed while it was being read; run again")
            yield from answer["Body"].iter_chunks(2**20)

    def delete(self, key: str) -> None:
        with self._spoken_for(key, "remove"):
            self.client.delete_object(Bucket=self.name, Key=self._full(key))

    def clear(self, folder: str) -> None:
        for key in self.list(folder):
            self.delete(key)

    def address(self, key: str) -> str:
        return f"s3://{self.name}/{self._full(key)}"

    # What a registry asks: each one request, and the answer told apart. Whoever asks decides whether to ask again.

    def create(self, key: str, content: bytes) -> bool:
        """Write a content if the key is free, and say whether it was. Raises Passing, or ConfigError for good."""
        checksum = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
        with self._told_apart(key, "write") as answer:
            self.client.put_object(
                Bucket=self.name, Key=self._full(key), Body=content, IfNoneMatch="*", ContentMD5=checksum
            )
        return answer.code is None

    def fetch(self, key: str, *, check: Callable[[int], object] = lambda size: None) -> bytes:
        """Return a content. Raises NotThere, Passing, or ConfigError for good.

        Parameters
        ----------
        check : raises if this many bytes are too many; called before any are read, and as they arrive
        """
        parts: builtins.list[bytes] = []
        with self._told_apart(key, "read") as answer:
            found = self.client.get_object(Bucket=self.name, Key=self._full(key))
            try:
                check(found["ContentLength"])
                arrived = 0
                # A server's word on the length is not trusted either.
                for part in found["Body"].iter_chunks(2**20):
                    arrived += len(part)
                    check(arrived)
                    parts.append(part)
            finally:
                found["Body"].close()
        if answer.code:
            raise NotThere(f"{self.address(key)} is not there")
        return b"".join(parts)

    def holds(self, key: str) -> bool:
        """Say whether a key is taken. Raises Passing, or ConfigError for good."""
        with self._told_apart(key, "look for") as answer:
            self.client.head_object(Bucket=self.name, Key=self._full(key))
        return answer.code is None

    def stream(self, key: str) -> Iterator[bytes]:
        """Yield a content in chunks. Raises NotThere, Passing, or ConfigError for good."""
        answer: _Answer
        with self._told_apart(key, "read") as answer:
            body = self.client.get_object(Bucket=self.name, Key=self._full(key))["Body"]
            yield from body.iter_chunks(2**20)
        if answer.code:
            raise NotThere(f"{self.address(key)} is not there")

    def below(self, prefix: str, *, after: str = "", at_most: int | None = None) -> builtins.list[str]:
        """Return the keys that begin with `prefix`, at any depth, sorted: those above `after`, the first `at_most`.

        Raises Passing, or ConfigError for good.
        """
        found: builtins.list[str] = []
        where: dict[str, Any] = {"Bucket": self.name, "Prefix": self._full(prefix)}
        if after:
            where["StartAfter"] = self._full(after)
        with self._told_apart(prefix, "list") as answer:
            pages = (
                self.client.get_paginator("list_objects_v2").paginate(**where)
                if at_most is None
                else [self.client.list_objects_v2(**where, MaxKeys=at_most)]
            )
            found = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        if answer.code:
            self._refuse(f"cannot list {self.address(prefix)}: {_ANSWERS.get(answer.code, answer.code)}")
        return sorted(key.removeprefix(self._full("")) for key in found)

    @contextmanager
    def _told_apart(self, key: str, doing: str) -> "Iterator[_Answer]":
        """Sort what S3 answers: a plain no goes into the answer's code, what may pass is Passing, the rest is one line.

        A put that finds its key taken is a 412; a read of nothing a 404, which HEAD gives without a name for it.
        """
        from botocore.exceptions import (
            ClientError,
            ConnectTimeoutError,
            EndpointConnectionError,
            HTTPClientError,
            IncompleteReadError,
            ResponseStreamingError,
        )

        answer = _Answer()
        what = f"cannot {doing} {self.address(key)}"
        with self._spoken_for(key, doing):
            try:
                yield answer
            except ClientError as error:
                code = error.response["Error"].get("Code", "")
                status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
                if code in ("PreconditionFailed", "NoSuchKey", "404", "412"):
                    answer.code = code
                elif code in _BUSY or status in (409, 429) or (status >= 500 and code != "NotImplemented"):
                    raise Passing(self._line(f"{what}: the server says {status} {code}"), done=True) from None
                else:
                    raise
            except (EndpointConnectionError, ConnectTimeoutError) as error:
                raise Passing(self._line(f"{what}: {error}"), done=False) from None
            except (HTTPClientError, IncompleteReadError, ResponseStreamingError) as error:
                raise Passing(self._line(f"{what}: {error}"), done=True) from None

    def _full(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key

    @contextmanager
    def _spoken_for(self, key: str, doing: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            code, said = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
            self._refuse(f"cannot {doing} {self.address(key)}: {_ANSWERS.get(code, f'{code} {said}')}")
        except BotoCoreError as error:
            self._refuse(f"cannot {doing} {self.address(key)}: {error}")

    def _refuse(self, fault: str) -> NoReturn:
        raise ConfigError(self._line(fault)) from None

    def _line(self, fault: str) -> str:
        return (
            f"{' '.join(fault.split())[:300]} (at {self.client.meta.endpoint_url}). Change {self.said_by}, or "
            "AWS_ENDPOINT_URL, or the credentials (AWS_PROFILE, AWS_ACCESS_KEY_ID)"
        )


@dataclass
class _Answer:
    """The code of a plain no, such as PreconditionFailed; None is yes."""

    code: str | None = None


def _endpoint() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None


def _server(endpoint: str) -> str:
    """Return one name for a server, whatever the spelling of its URL.

    Amazon has many endpoints, but a bucket's name is unique within a partition. Other servers are their host and port:
    http and https on their usual ports are one server.
    """
    parts = urlsplit(endpoint)
    host = (parts.hostname or "").rstrip(".")
    if host.endswith((".amazonaws.com", ".amazonaws.com.cn")):
        partition = "aws-cn" if host.endswith(".cn") else "aws-us-gov" if "us-gov-" in host else "aws"
        return partition
    host = "127.0.0.1" if host in ("localhost", "::1") else host
    port = "" if parts.port in (None, 80, 443) else f":{parts.port}"
    return f"{host}{port}{parts.path.rstrip('/')}"


@cache
def _models() -> Any:
    """What botocore reads of S3, which is most of the work of making a client: once a process."""
    from botocore.loaders import create_loader

    return create_loader()


# A session with these reads no file and no profile.
_NO_FILES: dict[str, tuple[None, None, str | None, None]] = {
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
    "profile": (None, None, None, None),
}


def _client(
    endpoint: str | None, said_by: str, attempts: int | None, from_environment: dict[str, str | None] | None = None
) -> Any:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session as BotocoreSession
    from botocore.session import get_session

    settings = Config(
        connect_timeout=10,
        read_timeout=60,
        # A bounded number of attempts (3, unless AWS_MAX_ATTEMPTS says otherwise), further and further apart.
        retries={"mode": "standard", **({"total_max_attempts": attempts} if attempts else {})},
        max_pool_connections=16,
        # Only Amazon's names resolve as BUCKET.HOST; and servers of other makers do not all know the newer checksums.
        s3={"addressing_style": "path"} if endpoint else {},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        session = get_session() if from_environment is None else BotocoreSession(session_vars=_NO_FILES)
        session.register_component("data_loader", _models())
        chosen = boto3.Session(botocore_session=session, **(from_environment or {}))
        return chosen.client("s3", endpoint_url=endpoint, config=settings)
    except (BotoCoreError, ValueError) as error:
        raise ConfigError(f"{said_by}: S3 cannot be used: {error}") from None

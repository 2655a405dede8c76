"""Where a registry may lie in these tests, and its bytes as somebody sees them who has the disk or the bucket.

A folder, and moto for what is about S3. Where FAIR_DISTILL_S3 is `moto`, or the endpoint of a real server (`make
test-s3`), everything is tried there instead.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from small_registry import local_registry

from fair_distill.registry.store import RegistryStore, open_registry

_SAID = os.environ.get("FAIR_DISTILL_S3")
REAL = _SAID if _SAID != "moto" else None
SERVERS = ["ceph" if REAL else "moto"]
PLACES = SERVERS if _SAID else ["folder"]
# What takes its time is tried in full where a server is named.
FULLY = bool(_SAID)


class Place(Protocol):
    url: str

    def store(self) -> RegistryStore:
        """Open the registry anew, as another command would."""

    def files(self) -> dict[str, bytes]:
        """Everything that lies there, by key."""

    def get(self, key: str) -> bytes: ...

    def put(self, key: str, content: bytes) -> None:
        """Overwrite, as the registry itself never does."""

    def remove(self, key: str) -> None: ...


@dataclass(frozen=True)
class Folder:
    root: Path

    @property
    def url(self) -> str:
        return str(self.root)

    def store(self) -> RegistryStore:
        return local_registry(self.root)

    def files(self) -> dict[str, bytes]:
        return {
            path.relative_to(self.root).as_posix(): path.read_bytes()
            for path in sorted(self.root.rglob("*"))
            if path.is_file()
        }

    def get(self, key: str) -> bytes:
        return (self.root / key).read_bytes()

    def put(self, key: str, content: bytes) -> None:
        path = self.root / key
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def remove(self, key: str) -> None:
        (self.root / key).unlink()


@dataclass(frozen=True)
class Bucket:
    bucket: str
    prefix: str
    client: Any

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    def store(self) -> RegistryStore:
        return open_registry(self.url)

    def files(self) -> dict[str, bytes]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=f"{self.prefix}/")
        keys = sorted(entry["Key"] for page in pages for entry in page.get("Contents", ()))
        found = {key: self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read() for key in keys}
        found = {key.removeprefix(f"{self.prefix}/"): content for key, content in found.items()}
        return {key: content for key, content in found.items() if not key.startswith(".")}

    def get(self, key: str) -> bytes:
        content: bytes = self.client.get_object(Bucket=self.bucket, Key=f"{self.prefix}/{key}")["Body"].read()
        return content

    def put(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=f"{self.prefix}/{key}", Body=content)

    def remove(self, key: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=f"{self.prefix}/{key}")

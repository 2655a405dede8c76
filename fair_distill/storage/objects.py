"""Named byte strings in a folder or an S3 bucket. Not for: what the bytes mean."""

import builtins
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fair_distill.errors import ConfigError
from fair_distill.files import write_bytes
from fair_distill.storage.s3 import open_bucket
from fair_distill.storage.urls import path_of, read_address


class Objects(Protocol):
    """Contents by key: names, with "/" between them. What goes wrong is a ConfigError of one line."""

    def put(self, key: str, content: bytes) -> None:
        """Write a content, whole or not at all, in place of what was there."""

    def get(self, key: str) -> bytes:
        """Return a content."""

    def list(self, folder: str) -> builtins.list[str]:
        """Return the keys directly in a folder, sorted; none if there is no such folder."""

    def delete(self, key: str) -> None:
        """Remove a content, if it is there."""

    def clear(self, folder: str) -> None:
        """Remove a folder and what is directly in it, also what an interrupted `put` left behind."""

    def address(self, key: str) -> str:
        """Return what to call a key in a message."""


def open_objects(url: str, *, said_by: str) -> Objects:
    """Return what lies at a path, a file:// URL, or s3://bucket/prefix (see `open_bucket`).

    Opening neither reads nor writes. `said_by` is where the URL came from, for messages.
    """
    if "://" not in url:
        return Folder(Path(url))
    parts, _ = read_address(url, said_by=said_by, parameters=("endpoint",) if url.startswith("s3:") else ())
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Folder(Path(path_of(parts)))
    return open_bucket(url, said_by=said_by)


@dataclass(frozen=True)
class Folder:
    """Objects as files. A content is written aside and renamed, so that readers see all of it or nothing."""

    root: Path

    def put(self, key: str, content: bytes) -> None:
        write_bytes(self.root / key, content)

    def get(self, key: str) -> bytes:
        with self._spoken_for(key, "read"):
            return (self.root / key).read_bytes()

    def list(self, folder: str) -> builtins.list[str]:
        with self._spoken_for(folder, "read"), suppress(FileNotFoundError):
            found = [path.name for path in (self.root / folder).iterdir()]
            return sorted(f"{folder}/{name}" for name in found if not name.startswith("."))
        return []

    def delete(self, key: str) -> None:
        with self._spoken_for(key, "remove"):
            (self.root / key).unlink(missing_ok=True)

    def clear(self, folder: str) -> None:
        with self._spoken_for(folder, "remove"), suppress(FileNotFoundError):
            shutil.rmtree(self.root / folder)

    def address(self, key: str) -> str:
        return str(self.root / key)

    @contextmanager
    def _spoken_for(self, key: str, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ConfigError(f"cannot {doing} {self.address(key)}: {error.strerror}") from None

"""A store in a local folder. `create` rests on one primitive: a hard link, which fails if the name is taken."""

import builtins
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, ClassVar

from fair_distill.errors import ConfigError, IntegrityError
from fair_distill.files import write_bytes
from fair_distill.storage.store import CHUNK_BYTES, Absent, Options, Store, StoredObject, check_clock, check_size
from fair_distill.storage.urls import StoreUrl

_TEMPORARY = ".aside"


class LocalStore(Store):
    """A store in a local folder. Needs a file system with hard links.

    `create` writes a temporary file, flushes it to the disk and links it to its name. The link fails if any process
    has taken the name, and it shows the whole file or nothing. A crash leaves at most a file in `.aside`, which no
    reader sees. Names that start with "." are not listed.

    The clock of a folder is the clock of its file server: the modification time of a file that was just written.

    Parameters
    ----------
    source : the option, variable or key that the path comes from, for messages
    follow_links : whether symbolic links are followed; if not, a link is an IntegrityError
    clock : the clock of this machine, in seconds since 1970
    """

    example: ClassVar[str] = "file:///path"
    remote: ClassVar[bool] = False

    def __init__(
        self,
        root: Path,
        *,
        source: str = "the path",
        follow_links: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.root = root
        self.source = source
        self.follow_links = follow_links
        self.clock = clock

    @classmethod
    def open(cls, url: StoreUrl, options: Options) -> "LocalStore":
        if url.host not in ("", "localhost"):
            raise ConfigError(f"{url.source} is {url.safe_text}; a file URL has no host. Write file:///path")
        root = Path(url.path)
        if options.must_exist and not root.is_dir():
            raise ConfigError(
                f"{url.source} is the folder {root}, which does not exist here. Use one that this machine reaches"
            )
        return cls(root, source=url.source, follow_links=options.follow_links)

    @property
    def identity(self) -> str:
        return os.path.realpath(self.root)

    def address(self, key: str = "") -> str:
        return str(self.root / key)

    def create(self, key: str, content: bytes, *, max_clock_skew: timedelta | None = None) -> bool:
        path = self._path(key)
        temporary = self.root / _TEMPORARY / secrets.token_hex(16)
        with self._translated(f"write {path}"):
            _make_folder(temporary.parent)
            _make_folder(path.parent)
            try:
                _write(temporary, content)
                if max_clock_skew is not None:
                    local, remote = _utc(self.clock()), _utc(temporary.stat().st_mtime)
                    check_clock(local, remote, store=f"the folder {self.root}", max_skew=max_clock_skew)
                created = _link(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
            # Sync also if the key was taken: its writer may have crashed before the name reached the disk.
            _sync_folder(path.parent)
        return created

    def put(self, key: str, content: bytes) -> None:
        write_bytes(self._path(key), content)

    def read(self, key: str, *, size_limit: int | None = None) -> bytes:
        path = self._path(key)
        with self._translated(f"read {path}"), self._opened(path) as file:
            size = os.fstat(file.fileno()).st_size
            check_size(size, size_limit, str(path))
            content = file.read(size + 1)  # one more byte detects a file that grows
            check_size(len(content), size, str(path))
        return content

    def stream(self, key: str | StoredObject) -> Iterator[bytes]:
        listed = key if isinstance(key, StoredObject) else None
        path = self._path(key.key if isinstance(key, StoredObject) else key)
        with self._translated(f"read {path}"), self._opened(path) as file:
            if listed is not None and _stored(listed.key, os.fstat(file.fileno())) != listed:
                raise ConfigError(f"{path} was changed while it was read; run the command again")
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def exists(self, key: str) -> bool:
        return os.path.lexists(self._path(key))

    def pages(
        self, prefix: str = "", *, after: str = "", limit: int | None = None
    ) -> Iterator[builtins.list[StoredObject]]:
        objects = []
        for key in self.list(prefix, after=after, limit=limit):
            # A link without a target has no content, and a file may be removed after it was listed.
            with self._translated(f"read {self.root / key}"), suppress(FileNotFoundError):
                objects.append(_stored(key, (self.root / key).stat()))
        yield objects

    def list(self, prefix: str = "", *, after: str = "", limit: int | None = None) -> builtins.list[str]:
        folder, _, name_start = prefix.rpartition("/")
        start = self._folder(folder)
        with self._translated(f"read {start}"):
            keys = [path.relative_to(self.root).as_posix() for path in _files(start, name_start)]
        return sorted(key for key in keys if key.startswith(prefix) and key > after)[:limit]

    def remove(self, key: str) -> None:
        path = self._path(key)
        with self._translated(f"remove {path}"):
            path.unlink(missing_ok=True)

    def clear(self, folder: str) -> None:
        """Remove a folder with everything in it, including temporary files of an interrupted `put`."""
        path = self._folder(folder)
        with self._translated(f"remove {path}"), suppress(FileNotFoundError):
            shutil.rmtree(path)

    @contextmanager
    def _translated(self, action: str) -> Iterator[None]:
        """Turn an OSError into an error with a message of one line."""
        try:
            yield
        except FileNotFoundError as error:
            if not action.startswith("read"):
                raise ConfigError(f"cannot {action}: {error.strerror}; change {self.source}") from None
            raise Absent(f"{action.removeprefix('read ')} does not exist; add it or change {self.source}") from None
        except OSError as error:
            raise ConfigError(f"cannot {action}: {error.strerror}; fix the folder or change {self.source}") from None

    @contextmanager
    def _opened(self, path: Path) -> Iterator[BinaryIO]:
        if self.follow_links:
            with path.open("rb") as file:
                yield file
            return
        if not stat.S_ISREG(path.lstat().st_mode):
            raise IntegrityError(f"{path} is not an ordinary file; links are not allowed here")
        # The file may be replaced after `lstat`. O_NONBLOCK keeps the open from waiting for the writer of a pipe.
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            yield file

    def _path(self, key: str) -> Path:
        folder, _, name = key.rpartition("/")
        return self._folder(folder) / _checked(name)

    def _folder(self, key: str) -> Path:
        for part in key.split("/") if key else ():
            _checked(part)
        # A folder that is a link leads out of the store, for reading and for writing.
        if not self.follow_links and Path(os.path.realpath(self.root / key)) != Path(os.path.realpath(self.root)) / key:
            raise IntegrityError(f"{self.root / key} is reached through a link; links are not allowed here")
        return self.root / key


def _checked(part: str) -> str:
    """Return a part of a key. Raises ConfigError for a part that would lead out of the folder."""
    if part in ("", ".", "..") or "\0" in part or "/" in part:
        raise ConfigError(f"a key has the part {part!r}; use names without '.', '..' and empty parts")
    return part


def _stored(key: str, status: os.stat_result) -> StoredObject:
    return StoredObject(key, f"{status.st_ino:x}-{status.st_mtime_ns:x}", status.st_size)


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _files(folder: Path, name_start: str = "") -> Iterator[Path]:
    """Yield all files below `folder` whose names, and whose folders' names, do not start with ".".

    Files and folders directly in `folder` are skipped if their names do not start with `name_start`. So a listing of
    one key does not walk through the folders next to it.
    """
    try:
        entries = builtins.list(os.scandir(folder))
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.name.startswith(".") or not entry.name.startswith(name_start):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path))
        else:
            yield Path(entry.path)


def _make_folder(folder: Path) -> None:
    """Make a folder and its parents, and sync them, so that they survive a loss of power."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def _write(path: Path, content: bytes) -> None:
    # The file is read-only, because a created content never changes.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _link(temporary: Path, path: Path) -> bool:
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""A registry's store in a local folder, on one primitive: a hard link, which is refused if the name is taken."""

import builtins
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from fair_distill.errors import ConfigError, IntegrityError
from fair_distill.registry.store import Absent, carries_time, check_clock, check_folder, check_key, check_size

_ASIDE = ".aside"


class LocalStore:
    """A store in a local folder.

    A content is written aside and flushed to the disk, then linked to its name: linking fails if the name is
    taken, whoever took it, and shows the whole file or none. A crash leaves at most a file in `.aside`, which
    nothing reads. Needs a file system with hard links.

    The clock of a folder is the clock of its file server: the modification time of a file that was just written.

    Parameters
    ----------
    clock : the clock of this machine, in seconds since 1970
    """

    def __init__(self, root: Path, clock: Callable[[], float] = time.time) -> None:
        self.root = root
        self.clock = clock

    @property
    def identity(self) -> str:
        return os.path.realpath(self.root)

    def create(self, key: str, content: bytes) -> bool:
        path = self._path(key)
        aside = self.root / _ASIDE / secrets.token_hex(16)
        try:
            _make_folder(aside.parent)
            _make_folder(path.parent)
            try:
                _write(aside, content)
                if carries_time(key):
                    here, there = self.clock(), aside.stat().st_mtime
                    check_clock(_utc(here), _utc(there), store=f"the folder {self.root}")
                created = _link(aside, path)
            finally:
                aside.unlink(missing_ok=True)
            # Also where the key was taken: its writer may have crashed before the name reached the disk.
            _sync_folder(path.parent)
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}; mend the folder or change --registry") from None
        return created

    def read(self, key: str, *, at_most: int | None = None) -> bytes:
        path = self._path(key)
        try:
            if not stat.S_ISREG(path.lstat().st_mode):
                raise IntegrityError(f"{path} is not an ordinary file; a registry has no links")
            # What is opened may be another file by now: O_NONBLOCK does not wait for the writer of a pipe.
            with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                size = os.fstat(file.fileno()).st_size
                check_size(key, size, at_most=at_most, shown=str(path))
                content = file.read(size + 1)  # one more shows a file that grows
        except FileNotFoundError:
            raise Absent(f"{path} is not there") from None
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}") from None
        check_size(key, len(content), at_most=size, shown=str(path))
        return content

    def exists(self, key: str) -> bool:
        return os.path.lexists(self._path(key))

    def list(self, prefix: str, *, after: str = "", at_most: int | None = None) -> builtins.list[str]:
        start = self._folder(prefix.rpartition("/")[0])
        try:
            keys = [path.relative_to(self.root).as_posix() for path in _files(start)]
        except OSError as error:
            raise ConfigError(f"cannot read {start}: {error.strerror}; change --registry or mend it") from None
        return sorted(key for key in keys if key.startswith(prefix) and key > after)[:at_most]

    def remove(self, key: str) -> None:
        """Remove a content. For `garbage` alone: no other command of a registry removes anything."""
        path = self._path(key)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot remove {path}: {error.strerror}") from None

    def _path(self, key: str) -> Path:
        folder, _, name = key.rpartition("/")
        check_key(key)
        return self._folder(folder) / name

    def _folder(self, key: str) -> Path:
        check_folder(key)
        # A folder that is a link would lead out of the registry, for reading and for writing.
        if Path(os.path.realpath(self.root / key)) != Path(os.path.realpath(self.root)) / key:
            raise IntegrityError(f"{self.root / key} is reached through a link; a registry has no links")
        return self.root / key


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _files(folder: Path) -> Iterator[Path]:
    """All files below `folder` but those whose name begins with '.'."""
    try:
        entries = builtins.list(os.scandir(folder))
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path))
        else:
            yield Path(entry.path)


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, so that they outlive a loss of power."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def _write(path: Path, content: bytes) -> None:
    # Readable and not writable: what is in a registry never changes.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _link(aside: Path, path: Path) -> bool:
    try:
        os.link(aside, path)
    except FileExistsError:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

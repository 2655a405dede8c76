"""A file that someone else made: where it is, what to call it, and that it is there and inside where it should be."""

from dataclasses import dataclass
from pathlib import Path

from fair_distill.errors import DataError


@dataclass(frozen=True)
class File:
    """A file to read, and what to call it in a message: it may be the copy of an object in a bucket."""

    path: Path
    name: str

    def __str__(self) -> str:
        return self.name

    @classmethod
    def at(cls, path: Path) -> "File":
        return cls(path, str(path))

    def size(self) -> int:
        """Bytes of it. Raises DataError where there is no such file."""
        if not self.path.is_file():
            raise DataError(f"{self} is missing; mend the path in params.yaml: data.source, or put the file there")
        return self.path.stat().st_size


def inside(folder: Path, name: str, *, where: str) -> Path:
    """Return the file of that name in a folder, and never one outside it, whatever dots and links say."""
    root = folder.resolve()
    try:
        path = (root / name).resolve()
        if not path.is_relative_to(root):
            raise DataError(f"{where}: {name!r} is outside {folder}; only files in that folder are read")
        if not path.is_file():
            raise DataError(f"{where}: {name!r} is no file in {folder}; mend the table or add the file")
    except (OSError, ValueError, RuntimeError) as error:  # a name with NUL, one too long, a circle of links
        raise DataError(f"{where}: {name[:80]!r} is no name of a file: {one_line(error)}") from None
    return path


def one_line(error: Exception) -> str:
    """What a library says of a file, on one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__

"""An input file: its path, its name in messages, and checks that it exists and is inside its folder."""

from dataclasses import dataclass
from pathlib import Path

from fair_distill.errors import DataError


@dataclass(frozen=True)
class InputFile:
    """A file to read. Its name in messages may be the address of an object, of which the file is a copy."""

    path: Path
    name: str

    def __str__(self) -> str:
        return self.name

    @classmethod
    def local(cls, path: Path) -> "InputFile":
        return cls(path, str(path))

    def size(self) -> int:
        """Return the size in bytes. Raises DataError if the file is missing."""
        if not self.path.is_file():
            raise DataError(f"{self} is missing. Correct the path in params.yaml: data.source, or add the file")
        return self.path.stat().st_size


def resolve_inside(folder: Path, name: str, *, where: str) -> Path:
    """Return the path of a file in a folder. A name that leads out of the folder, also by a link, is refused."""
    root = folder.resolve()
    try:
        path = (root / name).resolve()
        if not path.is_relative_to(root):
            raise DataError(
                f"{where}: {name!r} is outside {folder}; only files in that folder are read. Correct the table"
            )
        if not path.is_file():
            raise DataError(f"{where}: {name!r} is not a file in {folder}. Correct the table, or add the file")
    except (OSError, ValueError, RuntimeError) as error:  # a NUL in the name, a long name, a cycle of links
        raise DataError(
            f"{where}: {name[:80]!r} is not a valid file name ({one_line(error)}). Correct the table"
        ) from None
    return path


def one_line(error: Exception) -> str:
    """Return a library's message on one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__

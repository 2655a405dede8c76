"""An input file: its path, its name in messages, and checks that it exists and is inside its folder."""

import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from fair_distill.data.dvc_cache import is_cached_object
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


def resolve_inside(folder: Path, name: str, *, where: str, cache: Path | None = None) -> Path:
    """Return the path of a file in a folder. A name that leads out of the folder, also by a link, is refused.

    A name may be composed differently than that of the file: file systems of macOS decompose letters such as `é`.

    Parameters
    ----------
    where : the table and the column of the name, for messages
    cache : the DVC cache of the workspace; links to files in it are followed
    """
    root = folder.resolve()
    try:
        inside = Path(os.path.normpath(root / name))
        forms = (unicodedata.normalize(form, str(inside)) for form in ("NFC", "NFD"))
        if not inside.exists() and not inside.is_symlink():
            inside = next((path for path in map(Path, forms) if path.exists()), inside)
        path = inside.resolve()
        is_in_cache = inside.is_relative_to(root) and is_cached_object(path, cache)
        if not (path.is_relative_to(root) or is_in_cache):
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

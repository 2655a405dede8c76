"""Where the files of a source are: in the workspace, or in a bucket. One file for all, or files for each split."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from fair_distill.data.columns import Name
from fair_distill.data.files.file import File
from fair_distill.data.files.tables import TABLES
from fair_distill.data.remote_files import Remote, prune
from fair_distill.errors import ConfigError, DataError

# What was read of buckets, in the workspace or in the folder that the environment names. It may go at any time.
CACHE = Path(".cache") / "prepare"
_FOLDER, _GB = "FAIR_DISTILL_SOURCE_CACHE", "FAIR_DISTILL_SOURCE_CACHE_GB"
_MOST_GB = "100"

# One file, or a file for each of the source's splits.
Files = Name | Annotated[dict[Name, Name], Field(min_length=1)]


def files_of(root: Path, files: Files) -> dict[str, File]:
    """The file of each split; of the split "" if there is one file for all."""
    return {split: _file_at(root, name) for split, name in _named(files).items()}


def tables_of(root: Path, files: Files) -> dict[str, list[File]]:
    """The tables of each split: a file, or those of a folder."""
    return {split: _tables_at(root, name) for split, name in _named(files).items()}


def one_by_one(tables: Mapping[str, Sequence[File]]) -> tuple[list[File], list[str] | None]:
    """All tables, one after the other; and the split that each is of, if there are splits."""
    files = [file for several in tables.values() for file in several]
    return files, None if "" in tables else [split for split, several in tables.items() for _ in several]


def alike(root: Path, files: Files, images: Files, what: str) -> dict[str, File]:
    """The file of each split; refused if these are not the splits that the images have."""
    if (isinstance(files, str) or files.keys()) != (isinstance(images, str) or images.keys()):
        raise ConfigError(f"params.yaml: data.source.{what}: name a file for the same splits as in images")
    return files_of(root, files)


def folder_at(root: Path, name: str) -> Path | Remote:
    """A folder of images."""
    if "://" in name:
        return Remote.at(name, cache=_cache(root))
    if not (root / name).is_dir():
        raise DataError(f"{root / name} is no folder; mend params.yaml: data.source.path, or put the images there")
    return root / name


def splits_named(files: Files) -> list[str] | None:
    """The names of the splits, if each has files of its own."""
    return None if isinstance(files, str) else list(files)


def _named(files: Files) -> dict[str, str]:
    return {"": files} if isinstance(files, str) else files


def _file_at(root: Path, name: str) -> File:
    return Remote.at(name, cache=_cache(root)).file() if "://" in name else File.at(root / name)


def _tables_at(root: Path, name: str) -> list[File]:
    if "://" in name:
        return Remote.at(name, cache=_cache(root)).tables(TABLES)
    path = root / name
    if not path.is_dir():
        return [File.at(path)]
    found = sorted(file for file in path.iterdir() if file.suffix in TABLES)
    if not found:
        raise DataError(f"{path} has no files of {', '.join(TABLES)}; mend params.yaml: data.source.path")
    return [File.at(file) for file in found]


def tidy_up(root: Path) -> None:
    """Remove copies of what lies in buckets, those not used for longest, beyond FAIR_DISTILL_SOURCE_CACHE_GB."""
    said = os.environ.get(_GB, _MOST_GB)
    try:
        most = int(float(said) * 1e9)
    except (ValueError, OverflowError):
        raise ConfigError(f"{_GB} is {said!r}; how many gigabytes copies of a bucket may take was wanted") from None
    prune(_cache(root), most)


def _cache(root: Path) -> Path:
    return Path(os.environ.get(_FOLDER) or root / CACHE)

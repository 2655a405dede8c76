"""Finds the files of a source, in the workspace or in a bucket: one file, or one for each split."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from fair_distill.data.columns import Name
from fair_distill.data.files.input_file import InputFile
from fair_distill.data.files.tables import TABLES
from fair_distill.data.remote_files import RemoteFiles, prune_cache
from fair_distill.errors import ConfigError, DataError

# Copies of objects in buckets, in the workspace or in the folder that the environment names. They may be deleted at any
# time.
CACHE = Path(".cache") / "prepare"
_CACHE_VARIABLE, _CACHE_GB_VARIABLE = "FAIR_DISTILL_SOURCE_CACHE", "FAIR_DISTILL_SOURCE_CACHE_GB"
_DEFAULT_CACHE_GB = "100"

# One file, or a file for each of the source's splits.
Files = Name | Annotated[dict[Name, Name], Field(min_length=1)]


def resolve_files(root: Path, files: Files) -> dict[str, InputFile]:
    """Return the file of each split; one file for all has the split ""."""
    return {split: _resolve_file(root, name) for split, name in _by_split(files).items()}


def resolve_tables(root: Path, files: Files) -> dict[str, list[InputFile]]:
    """Return the tables of each split: a file, or the tables in a folder."""
    return {split: _resolve_table(root, name) for split, name in _by_split(files).items()}


def flatten_tables(tables: Mapping[str, Sequence[InputFile]]) -> tuple[list[InputFile], list[str] | None]:
    """Return the tables of all splits in one list, and the split of each; None if there are no splits."""
    files = [file for group in tables.values() for file in group]
    return files, None if "" in tables else [split for split, group in tables.items() for _ in group]


def matching_files(root: Path, files: Files, images: Files, key: str) -> dict[str, InputFile]:
    """Return the file of each split. Raises ConfigError if the splits are not those of the images.

    Parameters
    ----------
    key : the key below data.source, for the message
    """
    if (isinstance(files, str) or files.keys()) != (isinstance(images, str) or images.keys()):
        raise ConfigError(
            f"params.yaml: data.source.{key} and data.source.images have different splits. "
            "Name a file for the same splits in both"
        )
    return resolve_files(root, files)


def resolve_folder(root: Path, name: str) -> Path | RemoteFiles:
    """Return a folder of images."""
    if "://" in name:
        return RemoteFiles.from_url(name, cache=_cache(root))
    if not (root / name).is_dir():
        raise DataError(f"{root / name} is not a folder. Correct params.yaml: data.source.path, or add the images")
    return root / name


def split_names(files: Files) -> list[str] | None:
    """Return the names of the splits; None if there is one file for all."""
    return None if isinstance(files, str) else list(files)


def _by_split(files: Files) -> dict[str, str]:
    return {"": files} if isinstance(files, str) else files


def _resolve_file(root: Path, name: str) -> InputFile:
    if "://" in name:
        return RemoteFiles.from_url(name, cache=_cache(root)).file()
    return InputFile.local(root / name)


def _resolve_table(root: Path, name: str) -> list[InputFile]:
    if "://" in name:
        return RemoteFiles.from_url(name, cache=_cache(root)).tables(TABLES)
    path = root / name
    if not path.is_dir():
        return [InputFile.local(path)]
    tables = sorted(file for file in path.iterdir() if file.suffix in TABLES)
    if not tables:
        raise DataError(f"{path} has no files of {', '.join(TABLES)}. Correct params.yaml: data.source.path")
    return [InputFile.local(file) for file in tables]


def prune_source_cache(root: Path) -> None:
    """Delete the copies of objects that were not used for longest, beyond FAIR_DISTILL_SOURCE_CACHE_GB."""
    value = os.environ.get(_CACHE_GB_VARIABLE, _DEFAULT_CACHE_GB)
    try:
        limit = int(float(value) * 1e9)
    except (ValueError, OverflowError):
        raise ConfigError(
            f"{_CACHE_GB_VARIABLE} is {value!r}; it must be a number of gigabytes. Correct it, or unset it"
        ) from None
    prune_cache(_cache(root), limit)


def _cache(root: Path) -> Path:
    return Path(os.environ.get(_CACHE_VARIABLE) or root / CACHE)

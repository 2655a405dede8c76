"""Finds the files of a source, in the workspace or in a bucket: one file, or one for each split."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.compute
from pydantic import Field

from fair_distill.config.sections import DataName
from fair_distill.data.dvc_cache import dvc_cache
from fair_distill.data.files.input_file import InputFile
from fair_distill.data.files.table_names import TABLES, TableNames, select_tables
from fair_distill.data.remote_files import RemoteFiles, prune_cache
from fair_distill.errors import ConfigError, DataError

# Copies of objects in buckets, in the workspace or in the folder that the environment names. They may be deleted at any
# time.
CACHE = Path(".cache") / "prepare"
_CACHE_VARIABLE, _CACHE_GB_VARIABLE = "FAIR_DISTILL_SOURCE_CACHE", "FAIR_DISTILL_SOURCE_CACHE_GB"
_DEFAULT_CACHE_GB = "100"
# What fair-distill, DVC and git write into a workspace.
_WORKSPACE_FOLDERS = ("artifacts", ".cache", ".checkpoints", ".dvc", ".git")

PathName = Annotated[str, Field(min_length=1)]
# One file, or a file for each of the source's splits.
Files = PathName | Annotated[dict[DataName, PathName], Field(min_length=1)]


def resolve_files(root: Path, files: Files) -> dict[str, InputFile]:
    """Return the file of each split; one file for all has the split ""."""
    return {split: _resolve_file(root, name) for split, name in _by_split(files).items()}


@dataclass(frozen=True)
class TableFiles:
    """The tables of a source.

    Attributes
    ----------
    files : the tables of all splits
    split_of_file : the split of each table; None if there are no splits
    not_read : the other files in the folders of the tables, each with the reason why it is not read
    """

    files: tuple[InputFile, ...]
    split_of_file: tuple[str, ...] | None
    not_read: tuple[str, ...]


def resolve_tables(root: Path, files: Files) -> TableFiles:
    """Return the tables of all splits. The tables of a split are a file, or those in a folder and its subfolders."""
    tables: list[InputFile] = []
    splits: list[str] = []
    not_read: list[str] = []
    for split, name in _by_split(files).items():
        found, ignored = _resolve_table(root, name)
        tables += found
        splits += [split] * len(found)
        not_read += ignored
    return TableFiles(tuple(tables), None if isinstance(files, str) else tuple(splits), tuple(not_read))


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


@dataclass(frozen=True)
class LocalFolder:
    """A folder of images, and the DVC cache into which its files may be links; None without DVC."""

    path: Path
    cache: Path | None


def folder_of(root: Path, table: InputFile) -> LocalFolder:
    """Return the folder of a table, whose paths are relative to it."""
    return LocalFolder(table.path.parent, dvc_cache(root))


def resolve_folder(root: Path, name: str) -> LocalFolder | RemoteFiles:
    """Return a folder of images."""
    if "://" in name:
        return RemoteFiles.from_url(name, cache=_cache(root))
    if not (root / name).is_dir():
        raise DataError(f"{root / name} is not a folder. Correct params.yaml: data.source.path, or add the images")
    return LocalFolder(root / name, dvc_cache(root))


def unlisted_files(
    folder: LocalFolder | RemoteFiles, listed: Sequence[pa.Array], tables: Sequence[InputFile]
) -> list[str]:
    """Return a sentence part on the files in a folder of images that no table lists; empty if there is none.

    Parameters
    ----------
    listed : the names in each table
    tables : the tables, which can lie in the folder too
    """
    all_listed = pa.chunked_array(listed, pa.large_string())
    if isinstance(folder, LocalFolder):
        where, names = str(folder.path), _names_below(folder.path)
    else:
        where, names = folder.address, folder.names_below(all_listed.combine_chunks())
    table_names = pa.array([str(table).removeprefix(f"{where}/") for table in tables], pa.large_string())
    names = names.filter(pa.compute.invert(pa.compute.is_in(names, value_set=table_names)))
    composed = pa.compute.utf8_normalize(names, form="NFC")
    is_listed = pa.compute.is_in(composed, value_set=pa.compute.utf8_normalize(all_listed, form="NFC"))
    unlisted = names.filter(pa.compute.invert(is_listed))
    if not len(unlisted):
        return []
    first = pa.compute.min(unlisted).as_py()
    return [f"{len(unlisted):,} file{'s' if len(unlisted) > 1 else ''} in {where}, such as {first} (not in the table)"]


def _names_below(folder: Path) -> pa.Array:
    files = (Path(parent) / name for parent, _, names in os.walk(folder) for name in names)
    return pa.array([file.relative_to(folder).as_posix() for file in files], pa.large_string())


def split_names(files: Files) -> list[str] | None:
    """Return the names of the splits; None if there is one file for all."""
    return None if isinstance(files, str) else list(files)


def _by_split(files: Files) -> dict[str, str]:
    return {"": files} if isinstance(files, str) else files


def _resolve_file(root: Path, name: str) -> InputFile:
    if "://" in name:
        return RemoteFiles.from_url(name, cache=_cache(root)).file()
    return InputFile.local(root / name)


def _resolve_table(root: Path, name: str) -> tuple[list[InputFile], list[str]]:
    if "://" in name:
        remote = RemoteFiles.from_url(name, cache=_cache(root))
        if remote.is_table():
            return [remote.file()], []
        copies, names = remote.tables()
        return copies, _described(name, names)
    path = root / name
    if not path.is_dir():
        return [InputFile.local(path)], []
    names = select_tables(_files_below(path, root))
    if not names.tables:
        raise DataError(f"{path} has no files of {', '.join(TABLES)}. Correct params.yaml: data.source.path")
    return [InputFile.local(path / table) for table in names.tables], _described(name, names)


def _described(folder: str, names: TableNames) -> list[str]:
    return [f"{folder.rstrip('/')}/{name} ({reason})" for name, reason in names.ignored]


def _files_below(folder: Path, root: Path) -> Iterator[str]:
    """Yield the paths of all files below a folder, relative to it. The outputs in a workspace are left out."""
    for parent, folders, names in os.walk(folder):
        below = Path(parent)
        if below.resolve() == root.resolve():
            folders[:] = [name for name in folders if name not in _WORKSPACE_FOLDERS]
        # A hidden folder is named as a whole, because one such as .git has thousands of files.
        hidden = [name for name in folders if name.startswith((".", "_"))]
        links = [name for name in folders if (below / name).is_symlink()]
        folders[:] = [name for name in folders if name not in hidden + links]
        for name in names + hidden + links:
            yield (below / name).relative_to(folder).as_posix()


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

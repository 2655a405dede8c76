"""The files of a folder that are tables, by their names, and the reasons why the others are not read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from fair_distill.errors import DataError

# The suffixes of tables in lower case, and the format of each.
TABLES = {
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".csv": "csv",
    ".tsv": "csv",
    ".csv.gz": "csv",
    ".tsv.gz": "csv",
}
# Hugging Face `save_to_disk` writes this file next to the tables `data-*.arrow`; other tables there are caches.
_SAVED_DATASET = "state.json"


@dataclass(frozen=True)
class TableNames:
    """The names of the tables in a folder, in order, and the other names with the reason why they are not read."""

    tables: tuple[str, ...]
    ignored: tuple[tuple[str, str], ...]


def table_suffix(name: str) -> str | None:
    """Return the suffix of a table, in lower case; None for another file."""
    lower = name.lower()
    return next((suffix for suffix in TABLES if lower.endswith(suffix)), None)


def select_tables(names: Iterable[str]) -> TableNames:
    """Return which files below a folder are tables.

    Parameters
    ----------
    names : the paths of all files relative to the folder, with "/"

    Raises
    ------
    DataError
        If two tables of one folder differ only in their suffix.
    """
    names = sorted(names, key=lambda name: PurePosixPath(name).parts)
    saved = {str(PurePosixPath(name).parent) for name in names if PurePosixPath(name).name == _SAVED_DATASET}
    tables, ignored = [], []
    for name in names:
        reason = _reason(PurePosixPath(name), saved)
        if reason is None:
            tables.append(name)
        else:
            ignored.append((name, reason))
    _check_copies(tables)
    return TableNames(tuple(tables), tuple(ignored))


def _check_copies(tables: Sequence[str]) -> None:
    """Refuse `a.csv` and `a.csv.gz`, or `a.parquet`, in one folder: they probably have the same rows."""
    first: dict[str, str] = {}
    for name in tables:
        stem = name.removesuffix(name[-len(table_suffix(name) or "") :])
        if stem in first:
            raise DataError(
                f"{first[stem]} and {name} are in one folder and seem to be the same table, so its rows would count "
                "twice. Remove one of them, or rename it"
            )
        first[stem] = name


def _reason(path: PurePosixPath, saved: set[str]) -> str | None:
    """Return why a file is not read; None for a table."""
    if any(part.startswith((".", "_")) for part in path.parts):
        return "hidden"
    if table_suffix(path.name) is None:
        return "not a table"
    if str(path.parent) in saved and not path.name.startswith("data-"):
        return "a cache of Hugging Face datasets"
    return None

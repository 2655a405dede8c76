"""Names that differ only in their spelling, such as `Male`, `male` and `Male `. `attribute_values` merges them.

Two spellings are equal after compatibility normalisation (NFKC, Unicode Standard Annex 15), case folding, and removal
of the spaces around the name, of repeated spaces and of characters that are never visible. The integers `1` and `1.0`
are equal too, because pandas writes integers with gaps as floats.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from fair_distill.data.column_builders import CategoryColumn
from fair_distill.errors import DataError

GROUPS_KEY = "params.yaml: data.groups"

_WHOLE_FLOAT = re.compile(r"(-?[0-9]+)\.0+")
# Marks, separators other than the space, and invisible characters.
_UNCLEAR = ("M", "Z", "C")


def fold(name: str) -> str:
    """Return the form that all spellings of a name have in common."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    visible = "".join(character for character in folded if not _is_invisible(character))
    text = " ".join(visible.split())
    whole = _WHOLE_FLOAT.fullmatch(text)
    return whole[1] if whole else text


def _is_invisible(character: str) -> bool:
    """Whether a character is never visible: a format or a control character that is no space."""
    return unicodedata.category(character) in ("Cf", "Cc") and not character.isspace()


def variants(names: Iterable[str]) -> list[list[str]]:
    """Return the names with a common form, for each form that several names have."""
    by_form: dict[str, list[str]] = {}
    for name in names:
        by_form.setdefault(fold(name), []).append(name)
    return [spellings for spellings in by_form.values() if len(spellings) > 1]


def quoted_name(name: str) -> str:
    """Return a name in double quotes as YAML reads it, with escapes for characters that look like others."""
    return '"' + "".join(_escaped(character) for character in name) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character == " " or unicodedata.category(character)[0] not in _UNCLEAR:
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 2**16 else f"\\U{code:08x}"


def check_spellings(columns: Mapping[str, CategoryColumn], *, split: str | None) -> None:
    """Refuse names without a visible character, and splits whose names differ only in their spelling.

    Parameters
    ----------
    columns : the columns of classes, attributes and splits by name
    split : the column of the splits
    """
    for name, column in columns.items():
        for value in column.values:
            if not fold(value):
                raise DataError(
                    f"column {name!r} has the value {quoted_name(value)} in {len(column.rows(value))} rows, which has "
                    "no visible character. Correct the data, or for a CSV file set data.source.csv.strip"
                )
    if split is not None:
        for spellings in variants(columns[split].values):
            raise DataError(
                f"column {split!r} has {_counted(columns[split], spellings)}, which differ only in their spelling. "
                "Use one name for each split"
            )


def check_unknown(name: str, column: CategoryColumn, unknown: Sequence[str]) -> None:
    """Refuse another spelling of an unknown value in an attribute, which would be a group."""
    for value in column.values:
        if value not in unknown and any(fold(value) == fold(other) for other in unknown):
            listed = ", ".join(map(quoted_name, [*unknown, value]))
            raise DataError(
                f"column {name!r} has {_counted(column, [value])}, which differs from data.source.columns.unknown only "
                f"in its spelling. Set params.yaml: data.source.columns.unknown to [{listed}], or correct the data"
            )


def _counted(column: CategoryColumn, values: Sequence[str]) -> str:
    return " and ".join(f"{quoted_name(value)} in {len(column.rows(value)):,} rows" for value in values)

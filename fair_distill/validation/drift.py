"""Drift: a profile of the training data as a few counts, and its distance from an earlier profile.

A profile is plain JSON in validation.json and in the provenance of a published version. The limits on drift are in
`summary_rules`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.errors import DataError
from fair_distill.files import parse_json
from fair_distill.formats.row_columns import Numeric

_BINS = 16
_TENTHS = 10
# The share of an empty bin, whose logarithm would be infinite otherwise.
_MIN_SHARE = 1e-4


@dataclass(frozen=True)
class Histogram:
    """The counts of a number in bins: below the first edge, between edges, and from the last edge on."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Profile:
    """The distributions of a split.

    Attributes
    ----------
    cells : the number of examples by class and group
    numbers : histograms of the images' mean intensity (16 bins over the range of pixels), or of each numeric column
        (between its tenths)
    values : for each categorical column, the number of examples by value
    """

    cells: dict[str, dict[str, int]]
    numbers: dict[str, Histogram] = field(default_factory=dict)
    values: dict[str, dict[str, int]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: bytes, *, name: str) -> "Profile":
        """Read the profile in a validation.json. Raises DataError if it is missing."""
        document = parse_json(content, name=name)
        try:
            profile = document["profile"]
            return cls(
                cells={
                    str(label): {str(group): _count(count) for group, count in counts.items()}
                    for label, counts in profile["cells"].items()
                },
                numbers={
                    str(key): Histogram(tuple(map(float, item["edges"])), tuple(map(_count, item["counts"])))
                    for key, item in profile.get("numbers", {}).items()
                },
                values={
                    str(key): {str(value): _count(count) for value, count in counts.items()}
                    for key, counts in profile.get("values", {}).items()
                },
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"{name} has no profile of data ({error!r}). Set params.yaml: validate.drift.reference to a "
                "validation.json, or to the output of `fair-distill data reference`"
            ) from None


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"a count must be a non-negative integer; got {value!r}")
    return value


def profile_split(
    dataset: GroupedDataset, examples: pd.DataFrame, cells: pd.DataFrame, *, edges: Mapping[str, tuple[float, ...]]
) -> Profile:
    """Return the profile of a split.

    Parameters
    ----------
    examples, cells : the tables of the split, see `contract_tables`
    edges : the bins of another profile, to compare with it; other numbers get default bins
    """
    numbers, values = {}, {}
    if dataset.schema is None:
        white = 255 if dataset.images.dtype == np.uint8 else 1
        default = tuple((np.arange(1, _BINS) / _BINS).tolist())
        numbers["intensity"] = _histogram(examples["mean"].to_numpy() / white, edges.get("intensity", default))
    else:
        for column in dataset.schema.columns:
            entries = examples[f"row.{column.name}"]
            if isinstance(column, Numeric):
                present = entries.dropna().to_numpy(np.float64)
                tenths = np.quantile(present, np.arange(1, _TENTHS) / _TENTHS) if len(present) else np.zeros(0)
                default = tuple(np.unique(tenths).tolist())
                numbers[column.name] = _histogram(present, edges.get(column.name, default))
            else:
                counts = entries.value_counts()
                values[column.name] = {str(value): int(count) for value, count in sorted(counts.items())}
    cell_counts: dict[str, dict[str, int]] = {}
    for row in cells.to_dict("records"):
        cell_counts.setdefault(row["class"], {})[row["group"]] = row["count"]
    return Profile(cell_counts, numbers, values)


def _histogram(numbers: Array, edges: tuple[float, ...]) -> Histogram:
    bins = np.searchsorted(np.array(edges), numbers[np.isfinite(numbers)], side="right")
    return Histogram(edges, tuple(np.bincount(bins, minlength=len(edges) + 1).tolist()))


def drift_table(current: Profile, reference: Profile) -> pd.DataFrame:
    """Return a row for each distribution that both profiles have, with its distance and its largest change.

    Returns
    -------
    DataFrame
        what : `cells`, `intensity`, or the name of a column
        psi : the population stability index, the sum of (p - q) ln(p / q) over bins, where shares below 0.0001 count
            as 0.0001. Equal distributions give 0. By convention, below 0.1 is stable and above 0.25 has shifted. Chance
            alone gives about (bins - 1)(1/n + 1/m) for n and m examples
        variation : the total variation distance, half the sum of |p - q|: the share of examples that would have to
            change
        most, was, is : the bin whose share changed most, and its share in the reference and now
    """
    pairs: list[tuple[str, dict[str, int], dict[str, int]]] = [
        ("cells", _cell_counts(reference.cells), _cell_counts(current.cells))
    ]
    for name, histogram in reference.numbers.items():
        if name in current.numbers:
            pairs.append((name, _bin_counts(histogram), _bin_counts(current.numbers[name])))
    for name, counts in reference.values.items():
        if name in current.values:
            pairs.append((name, counts, current.values[name]))
    rows = []
    for name, before, after in pairs:
        if not sum(before.values()) or not sum(after.values()):
            continue
        bins = [*before, *(key for key in after if key not in before)]
        q, p = (np.array([counts.get(key, 0) for key in bins], float) for counts in (before, after))
        q, p = q / q.sum(), p / p.sum()
        clipped_p, clipped_q = p.clip(_MIN_SHARE), q.clip(_MIN_SHARE)
        largest = int(np.argmax(np.abs(p - q)))
        rows.append(
            {
                "what": name,
                "psi": float(((clipped_p - clipped_q) * np.log(clipped_p / clipped_q)).sum()),
                "variation": float(np.abs(p - q).sum() / 2),
                "most": bins[largest],
                "was": float(q[largest]),
                "is": float(p[largest]),
            }
        )
    return pd.DataFrame(rows, columns=["what", "psi", "variation", "most", "was", "is"])


def _cell_counts(cells: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    return {
        f"class {label!r} of group {group!r}": count
        for label, counts in cells.items()
        for group, count in counts.items()
    }


def _bin_counts(histogram: Histogram) -> dict[str, int]:
    edges = [repr(edge) for edge in histogram.edges]
    between = [f"{low} to {high}" for low, high in pairwise(edges)]
    names = [f"below {edges[0]}", *between, f"from {edges[-1]}"] if edges else ["any"]
    return dict(zip(names, histogram.counts, strict=True))

"""How the training data are spread, as a few counts, and how far that is from an earlier spread.

A profile is plain: it stands in validation.json, and beside a published version. Not for: what may move how far.
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
from fair_distill.formats.row_schema import Numeric

_BINS = 16
_TENTHS = 10
_LEAST = 1e-4  # an empty bin counts as this share, or its logarithm would be infinite


@dataclass(frozen=True)
class Histogram:
    """Counts of a number, in bins: below the first edge, between edges, from the last edge on."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Profile:
    """How examples are spread.

    Attributes
    ----------
    cells : examples of each class and group, by name
    numbers : histograms of the images' mean intensity (16 bins of the range of pixels), or of each numeric column
        (between its own tenths)
    values : of each categorical column, examples with each value
    """

    cells: dict[str, dict[str, int]]
    numbers: dict[str, Histogram] = field(default_factory=dict)
    values: dict[str, dict[str, int]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: bytes, *, name: str) -> "Profile":
        """Read the profile in a validation.json. Raises DataError where there is none."""
        written = parse_json(content, name=name)
        try:
            found = written["profile"]
            return cls(
                cells={str(c): {str(g): _count(n) for g, n in of.items()} for c, of in found["cells"].items()},
                numbers={
                    str(key): Histogram(tuple(map(float, item["edges"])), tuple(map(_count, item["counts"])))
                    for key, item in found.get("numbers", {}).items()
                },
                values={
                    str(key): {str(value): _count(n) for value, n in of.items()}
                    for key, of in found.get("values", {}).items()
                },
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"{name} has no profile of data ({error!r}); name a validation.json, or what "
                "`fair-distill data reference` wrote, in params.yaml: validate.drift.reference"
            ) from None


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"a count was wanted, got {value!r}")
    return value


def profile_of(
    dataset: GroupedDataset, table: pd.DataFrame, cells: pd.DataFrame, *, edges: Mapping[str, tuple[float, ...]]
) -> Profile:
    """Return the profile of a split.

    Parameters
    ----------
    table, cells : the split's examples and cells, see `validation.table`
    edges : those of another profile, to compare with; numbers that it does not have get their own
    """
    numbers, values = {}, {}
    if dataset.schema is None:
        full = 255 if dataset.images.dtype == np.uint8 else 1
        own = tuple((np.arange(1, _BINS) / _BINS).tolist())
        numbers["intensity"] = _histogram(table["mean"].to_numpy() / full, edges.get("intensity", own))
    else:
        for column in dataset.schema.columns:
            entries = table[f"row.{column.name}"]
            if isinstance(column, Numeric):
                known = entries.dropna().to_numpy(np.float64)
                tenths = np.quantile(known, np.arange(1, _TENTHS) / _TENTHS) if len(known) else np.zeros(0)
                own = tuple(np.unique(tenths).tolist())
                numbers[column.name] = _histogram(known, edges.get(column.name, own))
            else:
                counts = entries.value_counts()
                values[column.name] = {str(value): int(n) for value, n in sorted(counts.items())}
    of_cells: dict[str, dict[str, int]] = {}
    for row in cells.to_dict("records"):
        of_cells.setdefault(row["class"], {})[row["group"]] = row["count"]
    return Profile(of_cells, numbers, values)


def _histogram(numbers: Array, edges: tuple[float, ...]) -> Histogram:
    bins = np.searchsorted(np.array(edges), numbers[np.isfinite(numbers)], side="right")
    return Histogram(edges, tuple(np.bincount(bins, minlength=len(edges) + 1).tolist()))


def drift_table(now: Profile, before: Profile) -> pd.DataFrame:
    """Return a row for each distribution that both profiles have: how far it moved, and what moved most.

    Returns
    -------
    DataFrame
        what : `cells`, `intensity` or a column's name
        psi : population stability index, sum of (p - q) ln(p / q) over bins, where a share below 0.0001 counts as that.
            Equal distributions give 0; by custom below 0.1 is steady and above 0.25 has moved. Chance alone gives about
            (bins - 1)(1/n + 1/m) for n and m examples
        variation : total variation distance, half the sum of |p - q|: the share of examples that would have to change
        most, was, is : the bin whose share changed most, and that share before and now
    """
    pairs: list[tuple[str, dict[str, int], dict[str, int]]] = [("cells", _flat(before.cells), _flat(now.cells))]
    for name, histogram in before.numbers.items():
        if name in now.numbers:
            pairs.append((name, _bins(histogram), _bins(now.numbers[name])))
    pairs += [(name, of, now.values[name]) for name, of in before.values.items() if name in now.values]
    rows = []
    for what, was, came in pairs:
        if not sum(was.values()) or not sum(came.values()):
            continue
        bins = [*was, *(key for key in came if key not in was)]
        q, p = (np.array([counts.get(key, 0) for key in bins], float) for counts in (was, came))
        q, p = q / q.sum(), p / p.sum()
        high, low = p.clip(_LEAST), q.clip(_LEAST)
        most = int(np.argmax(np.abs(p - q)))
        rows.append(
            {
                "what": what,
                "psi": float(((high - low) * np.log(high / low)).sum()),
                "variation": float(np.abs(p - q).sum() / 2),
                "most": bins[most],
                "was": float(q[most]),
                "is": float(p[most]),
            }
        )
    return pd.DataFrame(rows, columns=["what", "psi", "variation", "most", "was", "is"])


def _flat(cells: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    return {f"class {label!r} of group {group!r}": n for label, of in cells.items() for group, n in of.items()}


def _bins(histogram: Histogram) -> dict[str, int]:
    edges = [repr(edge) for edge in histogram.edges]
    between = [f"{low} to {high}" for low, high in pairwise(edges)]
    names = [f"below {edges[0]}", *between, f"from {edges[-1]} on"] if edges else ["any"]
    return dict(zip(names, histogram.counts, strict=True))

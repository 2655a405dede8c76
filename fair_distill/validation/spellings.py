"""The rules that no two groups, and no two classes, differ only in their spelling."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.data.spelling import fold, quoted_name
from fair_distill.validation.rule import BETWEEN, Finding, Row, Rule, counted, expect
from fair_distill.validation.summary_rules import SummaryRule


def spelling_table(splits: Mapping[str, GroupedDataset]) -> pd.DataFrame:
    """Return a row for each name of a class or attribute value, apart from spelling, over all splits.

    The columns are `what` (class or group), `attribute` (its name; empty for classes and unnamed attributes),
    `spellings` (their number), `names` (the spellings, the most frequent first) and `counts` (their examples).
    """
    counts: dict[tuple[str, str], dict[str, int]] = {}
    for dataset in splits.values():
        _add(counts, "class", "", dataset.classes, _frequencies(dataset.labels, len(dataset.classes)))
        of_group = _frequencies(dataset.group_indices, len(dataset.groups))
        for i in range(len(dataset.attributes[0])):
            attribute = dataset.attribute_names[i] if dataset.attribute_names else ""
            _add(counts, "group", attribute, [values[i] for values in dataset.attributes], of_group)
    rows = []
    for (what, attribute), examples in counts.items():
        by_form: dict[str, list[str]] = {}
        for name in sorted(examples, key=lambda name: (-examples[name], name)):
            by_form.setdefault(fold(name), []).append(name)
        rows += [
            {
                "what": what,
                "attribute": attribute,
                "spellings": len(names),
                "names": names,
                "counts": [examples[name] for name in names],
            }
            for names in by_form.values()
        ]
    return pd.DataFrame(rows)


def _frequencies(indices: Array, count: int) -> Array:
    """Return how often each index occurs. Invalid ones, which other rules report, are left out."""
    return np.bincount(indices[(indices >= 0) & (indices < count)], minlength=count)


def _add(
    counts: dict[tuple[str, str], dict[str, int]],
    what: str,
    attribute: str,
    names: Sequence[str | None],
    examples: Array,
) -> None:
    of_name = counts.setdefault((what, attribute), {})
    for name, count in zip(names, examples.tolist(), strict=True):
        if name is not None:
            of_name[name] = of_name.get(name, 0) + count


def spelling_rules(split: str) -> dict[str, Rule]:
    """Return the rule for the groups and the rule for the classes of the spellings table.

    Parameters
    ----------
    split : the split that findings are reported for
    """

    def group_finding(row: Row) -> Finding:
        plain = [name.removeprefix(f"{row['attribute']}=") for name in row["names"]]
        merge = f"{{{quoted_name(plain[0])}: [{', '.join(map(quoted_name, plain[1:]))}]}}"
        where = f" of {row['attribute']!r}" if row["attribute"] else ""
        return Finding(
            split,
            f"the groups {_listed(row)}{where} differ only in their spelling. Set params.yaml: data.groups.merge to "
            f"{merge}, or validate.severity.group_spelling to off if they are different groups",
            sum(row["counts"][1:]),
        )

    def class_finding(row: Row) -> Finding:
        return Finding(
            split,
            f"the classes {_listed(row)} differ only in their spelling. Correct the labels, or set params.yaml: "
            "validate.severity.class_spelling to off if they are different classes",
            sum(row["counts"][1:]),
        )

    expectation = expect(BETWEEN, "spellings", max_value=1)
    return {
        "group": SummaryRule("group_spelling", expectation, group_finding),
        "class": SummaryRule("class_spelling", expectation, class_finding),
    }


def _listed(row: Row) -> str:
    names = [f"{quoted_name(name)} ({counted(n)})" for name, n in zip(row["names"], row["counts"], strict=True)]
    return " and ".join([", ".join(names[:-1]), names[-1]])

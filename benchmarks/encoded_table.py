"""The tables of docs/encoded.md, from the results of `benchmarks.encoded`: python -m benchmarks.encoded_table"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.encoded import ABSENT, IPCS, MULTIPLES
from benchmarks.measure import RESULTS

PAGE = Path(__file__).parent.parent / "docs" / "encoded.md"
TITLES = {
    "cifar10_s": "CIFAR10-S",
    "c_mnist_fg": "C-MNIST, foreground",
    "mnist_writers": "MNIST by writer",
    "adult": "Adult, sex",
    "diabetes130": "Diabetes-130, gender",
    "nih_sex": "NIH chest, sex",
    "nih_age": "NIH chest, age",
}
HEADS = ("ridge", "logistic", *ABSENT)


def results() -> dict[str, Any]:
    """Return the results of all data sets."""
    found: dict[str, Any] = json.loads((RESULTS / "encoded_cpu.json").read_text())
    return found


def quality(data: Mapping[str, Any]) -> str:
    """Return the figures of sets of equal size, and the gain over the coreset that is best on tune."""
    lines = ["| | ipc | best coreset on tune | pooled | barycentric | gain over the coreset | full, equal cells |"]
    lines.append("|---" * 7 + "|")
    for name, title in TITLES.items():
        rows = data[name]["rows"]
        for ipc in IPCS:
            gain = data[name]["over_best_coreset"].get(str(ipc))
            if gain is None:
                continue
            select = gain["coreset"].partition(",")[0]
            cells = [
                *(title, str(ipc), f"{select.replace('_', ' ')} {_cell(rows[gain['coreset']])}"),
                *(_cell(rows[f"{alignment}, ipc {ipc} | ridge"]) for alignment in ("pooled", "barycentric")),
                _interval(gain["gain"]),
                _cell(rows["full, equal cells | ridge"]),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def frontier(data: Mapping[str, Any]) -> str:
    """Return the figures of coresets of several times the size of a set with ten examples per class."""
    sizes = [f"coreset × {factor}" for factor in (1, *MULTIPLES)]
    lines = [f"| | barycentric | {' | '.join(sizes)} | full | full, equal cells |", "|---" * (len(sizes) + 4) + "|"]
    for name, title in TITLES.items():
        rows = data[name]["rows"]
        cells = [title, _cell(rows["barycentric, ipc 10 | ridge"])]
        for factor in (1, *MULTIPLES):
            size = ", ipc 10" if factor == 1 else f", {factor} × ipc 10"
            rivals = [
                rows[f"{select}{size} | ridge"]
                for select in ("herding", "medoids")
                if f"{select}{size} | ridge" in rows
            ]
            cells.append(_cell(max(rivals, key=lambda row: float(row["tune"]))) if rivals else "too few examples")
        lines.append(
            f"| {' | '.join([*cells, _cell(rows['full | ridge']), _cell(rows['full, equal cells | ridge'])])} |"
        )
    return "\n".join(lines)


def heads(data: Mapping[str, Any]) -> str:
    """Return the figures of other heads that are trained on sets with ten examples per class."""
    lines = [f"| | set | {' | '.join(head.replace('_', ' ') for head in HEADS)} |", "|---" * (len(HEADS) + 2) + "|"]
    for name, title in TITLES.items():
        rows = data[name]["rows"]
        for kind in ("barycentric", "herding"):
            cells = [_cell(rows[f"{kind}, ipc 10 | {head}"]) for head in HEADS]
            lines.append(f"| {' | '.join([title, kind, *cells])} |")
    return "\n".join(lines)


def _cell(row: Mapping[str, Any]) -> str:
    return f"{100 * row['worst_group'][0]:.1f} / {100 * row['eodm'][0]:.1f}"


def _interval(gain: list[float]) -> str:
    mean, low, high = (100 * value for value in gain)
    return f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"


TABLES: dict[str, Callable[[Mapping[str, Any]], str]] = {"quality": quality, "frontier": frontier, "heads": heads}


def filled(page: str, name: str) -> str:
    """Return the page with one generated table replaced between its marks."""
    first, last = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
    before, _, rest = page.partition(first)
    _, mark, after = rest.partition(last)
    assert mark, f"the page has no place for {name}"
    return before + first + TABLES[name](results()["data"]) + last + after


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    for table in TABLES:
        text = filled(text, table)
    PAGE.write_text(text, encoding="utf-8")

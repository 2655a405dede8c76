"""Generate the tables in docs/methods.md: python tests/methods_page.py"""

from collections.abc import Callable
from typing import Any

import torch
from small_methods import every_alignment, every_matcher
from small_workspace import REPOSITORY

from fair_distill.distillation.presets import PRESETS
from fair_distill.testing import contract_table

PAGE = REPOSITORY / "docs" / "methods.md"


def contract() -> str:
    return contract_table(every_matcher(), every_alignment(), torch.Generator().manual_seed(0))


def presets() -> str:
    def named(choice: Any) -> str:
        return str(choice["name"] if isinstance(choice, dict) else choice)

    def rate(optimiser: dict[str, Any]) -> str:
        return f"{optimiser['learning_rate']:g}" + (", normalised" if optimiser["name"] == "normalised_sgd" else "")

    columns = ("matcher", "steps", "real per class", "distance", "learning rate", "start", "formation", "augmented")
    columns += ("visits", "warm-up", "advance")
    lines = [f"| | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    for name, preset in PRESETS.items():
        networks = preset["networks"]
        row = [
            *(named(preset["matcher"]), f"{preset['steps']:,}", preset["real_per_class"], preset["distance"]),
            *(rate(preset["optimiser"]), preset["start"], preset["formation"]),
            *("yes" if preset["augment"] else "no", f"{networks['visits']:,}", networks["warmup_epochs"]),
            f"{networks['advance']} on {networks['advance_on']}" if networks["advance"] else "none",
        ]
        lines.append(f"| `{name}` | {' | '.join(map(str, row))} |")
    return "\n".join(lines)


TABLES: dict[str, Callable[[], str]] = {"contract": contract, "presets": presets}


def filled(page: str, name: str) -> str:
    """Return the page with one generated table replaced between its marks."""
    first, last = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
    before, _, rest = page.partition(first)
    _, mark, after = rest.partition(last)
    assert mark, f"the page has no place for {name}"
    return before + first + TABLES[name]() + last + after


if __name__ == "__main__":
    text = PAGE.read_text()
    for table in TABLES:
        text = filled(text, table)
    PAGE.write_text(text)

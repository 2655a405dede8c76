"""Generate the tables and examples in docs/gate.md: python tests/gate_page.py"""

import json
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from small_workspace import REPOSITORY, run, small_params, write_params

from fair_distill.gate.metrics import METRICS
from fair_distill.gate.spending import SMALLEST_FRACTION, fraction_of
from fair_distill.registry.store import open_registry
from fair_distill.text import ABSENT, markdown_table

PAGE = REPOSITORY / "docs" / "gate.md"
ATTEMPTS = REPOSITORY / "benchmarks" / "results" / "attempts.json"
SIMULATION = REPOSITORY / "benchmarks" / "results" / "gate_simulation.json"
RACE = REPOSITORY / "benchmarks" / "results" / "gates_cpu.json"
BOUNDARY_SIMULATION = REPOSITORY / "benchmarks" / "results" / "gate_boundaries.json"
NETWORKS = REPOSITORY / "benchmarks" / "results" / "gate_networks.json"
# The folders with the small test data that this script uses.
sys.path += [str(REPOSITORY / folder) for folder in ("", "tests/gate", "tests/registry")]
# A selection that fits a table: two and ten groups, few and many examples.
POLICY: dict[str, Any] = {
    "mode": "bounds",
    "alpha": 0.05,
    "minimum_seeds": 5,
    "minimum_per_cell": 50,
    "limits": [
        {"metric": "eo_diag_max", "at_most": 0.2, "why": "the example's"},
        {"metric": "accuracy", "over": "balanced", "at_least": -0.07, "why": "the example's"},
    ],
}


def _table(header: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    return markdown_table([*header], [[*row] for row in rows]).rstrip("\n")


def _rows(kind: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(SIMULATION.read_text())["rows"]
    return [row for row in rows if row["kind"] == kind]


def _split(row: dict[str, Any]) -> str:
    return "paired" if row["case"]["paired"] else "unpaired"


def _largest(rows: Iterable[dict[str, Any]], *names: str) -> str:
    """Return the largest of some shares over rows, in per cent."""
    return f"{100 * max(row['shares'][name] for row in rows for name in names):.1f}"


def coverage() -> str:
    """Return how often one-sided bounds at 95 % miss the true value, in the worst case of each kind of split."""
    rows = [row for row in _rows("coverage") if row["promised"] and row["what"] == "none"]
    lines = []
    for split, seeds in sorted({(_split(row), row["case"]["seeds"]) for row in rows}):
        of_split = [row for row in rows if (_split(row), row["case"]["seeds"]) == (split, seeds)]
        names = (("above",), ("below",), ("rate_above", "rate_below"), ("row_by_row",))
        lines.append([split, seeds, len(of_split), *(_largest(of_split, *columns) for columns in names)])
    header = ("split", "seeds", "cases", "difference, above", "difference, below", "one rate", "row by row")
    return _table(header, lines)


# The clusters of the simulation, see tests/gate/simulated_sets.py.
_CLUSTERS = {
    "fours": "of 4 examples",
    "tenth": "50, one with 10 % of the examples",
    "giant": "50, one with half of the examples",
    "opposed": "50, in both groups, which they move apart",
    "aligned": "50, in both groups, which they move together",
}


def clusters() -> str:
    """Return how often bounds miss the true value if examples are clustered."""
    lines = []
    for name, words in _CLUSTERS.items():
        rows = [row for row in _rows("coverage") if row["promised"] and row["what"] == name]
        lines.append([words, _largest(rows, "above", "below"), _largest(rows, "rate_above", "rate_below")])
    return _table(("clusters of a cell", "difference", "one rate"), lines)


def decisions() -> str:
    """Return how often sets at the limit pass, and how often fair sets pass."""
    shares: dict[tuple[int, int, str, int, int], dict[str, dict[str, float]]] = {}
    for row in _rows("decision"):
        case = row["case"]
        groups, classes, n, seeds = len(case["sizes"]), case["classes"], case["sizes"][0], case["seeds"]
        if len(set(case["sizes"])) == 1:
            kind = "fair" if max(case["rates"]) == min(case["rates"]) else "at"
            shares.setdefault((groups, classes, _split(row), n, seeds), {})[kind] = row["shares"]
    header = ("groups × classes", "split", "a cell", "seeds", "at the limit", "row by row", "fair", "row by row")
    lines = []
    for (groups, classes, split, n, seeds), of_sets in sorted(shares.items()):
        if len(of_sets) < 2:
            continue
        percentages = [
            f"{100 * of_sets[kind][name]:.1f}" for kind in ("at", "fair") for name in ("pass", "pass_row_by_row")
        ]
        lines.append([f"{groups} × {classes}", split, f"{n:,}", seeds, *percentages])
    return _table(header, lines)


def means() -> str:
    """Return how often sets pass a limit on the average gap."""
    cells: dict[tuple[str, int], list[str]] = {}
    for row in _rows("mean"):
        cells.setdefault((_split(row), row["case"]["sizes"][0]), []).append(_largest([row], "pass"))
    at_limit = ("rates 0.95 and 0.89", "0.8 and 0.74", "0.8 and 0.74, sd 0.01")
    header = ("split", "a cell", *at_limit, "fair, sd 0.03", "fair, sd 0.06")
    rows = ([split, f"{n:,}", *shares] for (split, n), shares in cells.items())
    return _table(header, rows)


def at_limit() -> str:
    """Return how often sets pass a limit that is their true value, for every metric."""
    cells: dict[str, list[str]] = {}
    for row in _rows("metric"):
        cells.setdefault(row["what"], [f"{row['replicates']:,}"]).append(_largest([row], "pass"))
    header = ("metric", "sets", "unpaired", "paired", "clusters of 4")
    return _table(header, [[f"`{name}`", *shares] for name, shares in cells.items()])


def networks() -> str:
    """Return how often a set at the limit passes, by the process that makes networks vary and by the assumption."""
    rows = json.loads(NETWORKS.read_text())["rows"]
    shares = {(row["mode"], row["process"], row["networks"]): f"{100 * row['passes']:.1f}" for row in rows}
    numbers = sorted({row["networks"] for row in rows if row["mode"] == "normal"} - {0})
    lines = [
        [process, f"`{mode}`", *(shares[mode, process, number] for number in (*numbers, 0))]
        for process in dict.fromkeys(row["process"] for row in rows if row["mode"] == "normal")
        for mode in ("normal", "bounded")
    ]
    return _table(("networks", "assumption", *numbers, "added until it passes"), lines)


def each_network() -> str:
    """Return how often sets pass a clause about single networks."""
    rows = [row for row in json.loads(NETWORKS.read_text())["rows"] if row["mode"] == "each_network"]
    numbers = sorted({row["networks"] for row in rows})
    lines = [
        [process, *(f"{100 * row['passes']:.1f}" for row in rows if row["process"] == process)]
        for process in dict.fromkeys(row["process"] for row in rows)
    ]
    return _table(("sets", *(f"{number} networks" for number in numbers)), lines)


def boundaries() -> str:
    """Return how often sets pass whose true value of a metric is the limit."""
    rows = json.loads(BOUNDARY_SIMULATION.read_text())["rows"]
    header = ("metric", "sets at the limit", "limit", "pass", "value alone")
    return _table(
        header,
        [
            [
                f"`{row['metric']}`",
                row["name"],
                f"{row['limit']:g}",
                f"{100 * row['passed']:.1f}",
                f"{100 * row['passed_by_value']:.0f}",
            ]
            for row in rows
        ],
    )


def spending() -> str:
    """Return the risk of attempts at one split that does not change, by the number of planned attempts."""
    ks = (1, 2, 5, 14, 20, 52, 104)
    rows = []
    for count in (1, 5, 14, 104):
        left, risks = 1.0, {}
        for k in range(1, ks[-1] + 1):
            fraction = fraction_of(left, count)
            left -= fraction
            risks[k] = 0.05 * fraction if fraction >= SMALLEST_FRACTION else None
        rows.append([count, *(ABSENT if risks[k] is None else f"{risks[k]:.2g}" for k in ks)])
    return _table(("`attempts`", *(f"attempt {k}" for k in ks)), rows)


def weekly() -> str:
    """Return level and examples of weekly attempts at a split that grows by 1 % a week."""
    from benchmarks.attempts import by_number, examples_needed, planned, weekly_levels

    rules = {"before": by_number, **{f"{count}": planned(count) for count in (1, 5, 14, 104)}}
    ks = (1, 2, 5, 20, 52, 104)
    rows = []
    for name, rule in rules.items():
        levels = weekly_levels(rule)
        rows.append([name, *(f"{levels[k - 1]:.2g} ({examples_needed(levels[k - 1]):.2f})" for k in ks)])
    return _table(("`attempts`", *(f"week {k}" for k in ks)), rows)


def repeated() -> str:
    """Return the simulated shares of sequences of attempts with a false pass, in per cent."""
    rows = []
    for row in json.loads(ATTEMPTS.read_text())["rows"]:
        shares = sorted(row["false_pass"].values())
        observed = f"{100 * shares[0]:.1f}" + (f" to {100 * shares[-1]:.1f}" if len(shares) > 1 else "")
        rows.append([row["case"], row["rule"], f"{100 * min(row['bound'], 1):.1f}", observed])
    return _table(("attempts at one split", "rule", "sum of the levels", "false pass"), rows)


def metrics() -> str:
    """Return a row for every metric of METRICS."""
    rows = ([f"`{name}`", metric.definition, metric.null_hypothesis, metric.bound] for name, metric in METRICS.items())
    header = ("metric", "what", "null hypothesis", "bound")
    return _table(header, ([cell.replace("|", r"\|") for cell in row] for row in rows))


def _shown(command: str, told: str) -> str:
    return f"```console\n$ fair-distill {command}\n{told.rstrip()}\n```"


def plan() -> str:
    """Return the output of `gate plan` for the split of the demo."""
    command = "gate plan --seed-sd 0.03 --draw-sd 0.02 --accuracy 0.9"
    with TemporaryDirectory() as folder:
        for name in ("params.yaml", "context.json"):
            shutil.copy(REPOSITORY / name, folder)
        ended = run(Path(folder), "prepare")
        assert ended.code == 0, ended.err
        return _shown(command, run(Path(folder), *command.split()).out)


def explain() -> str:
    """Return the output of `explain` for a set that fails one clause and is inconclusive in another."""
    from small_evidence import write_evidence

    with TemporaryDirectory() as folder:
        root = Path(folder)
        params = small_params() | {"gate": POLICY}
        params["evaluate"] = {"seeds": 5, "networks": params["evaluate"]["networks"][:1]}
        rates = {"pooled": [[0.95, 0.55], [0.9, 0.9]], "balanced": [[0.83, 0.83], [0.83, 0.83]]}
        for number, (name, of) in enumerate(rates.items()):
            write_evidence(root, params, names=(name,), rates=of, of=72, first_seed=number)
        ended = run(root, "explain", "pooled")
        assert ended.code == 0, ended.err
        return _shown("gate explain pooled", ended.out)


def replay() -> str:
    """Return the output of `gate replay` for three published versions under a stricter policy."""
    from small_registry import package, publish

    with TemporaryDirectory() as folder:
        root = Path(folder)
        write_params(root, small_params())
        (root / "context.json").write_text("{}\n")
        strict = {"mode": "point", "limits": [{"metric": "eo_diag_max", "at_most": 0.15, "why": "the example's"}]}
        (root / "stricter.yaml").write_text(yaml.safe_dump(strict))
        store = open_registry(str(root / "registry"))
        for seed, mistakes in enumerate((0, 2, 4)):
            made = package(seed, mistakes=mistakes)
            publish(store, made)
            store.create(f"versions/{made.version}/verdicts/{made.verdict.digest}.json", made.verdict_bytes)
        ended = run(root, "gate", "replay", "--policy", str(root / "stricter.yaml"), "--now", "2026-03-03")
        assert ended.code == 0, ended.err
        return _shown("gate replay --policy stricter.yaml", ended.out)


def race() -> str:
    """Return the percentages of sets that each gate passes, from the largest true gap to none, case by case."""
    found: dict[tuple[int, int, int], dict[str, list[str]]] = {}
    for case in json.loads(RACE.read_text())["cases"]:
        key = (case["classes"], case["networks"], case["examples"])
        for gate, count in case["passes"].items():
            found.setdefault(key, {}).setdefault(gate, []).append(f"{100 * count / case['draws']:.1f}")
    rows = [
        [classes, networks, f"{examples:,}", *(" / ".join(shares) for shares in by_gate.values())]
        for (classes, networks, examples), by_gate in found.items()
    ]
    return _table(("classes", "networks", "a cell", *next(iter(found.values()))), rows)


BLOCKS: dict[str, Callable[[], str]] = {
    "metrics": metrics,
    "coverage": coverage,
    "clusters": clusters,
    "at_limit": at_limit,
    "decisions": decisions,
    "means": means,
    "networks": networks,
    "each_network": each_network,
    "boundaries": boundaries,
    "spending": spending,
    "weekly": weekly,
    "repeated": repeated,
    "plan": plan,
    "race": race,
    "explain": explain,
    "replay": replay,
}


def filled(page: str, name: str) -> str:
    """Return the page with one generated block replaced between its marks."""
    first, last = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
    before, _, rest = page.partition(first)
    _, mark, after = rest.partition(last)
    assert mark, f"the page has no place for {name}"
    return before + first + BLOCKS[name]() + last + after


if __name__ == "__main__":
    text = PAGE.read_text()
    for block in BLOCKS:
        text = filled(text, block)
    PAGE.write_text(text)

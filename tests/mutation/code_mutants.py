"""Change one operation of the gate's or the registry's code, run that module's tests, and print what survives.

    nice python tests/mutation/code_mutants.py [--sample 60] [--seed 0] [MODULE ...]

MODULE is `gate`, `registry`, or one module such as `gate/clause`. The sample depends on the seed, the modules and their
code alone, so it can be repeated. A copy of the repository is changed, never the repository. Each mutant is tested in a
process that is forked from one that has already imported the third-party libraries.
"""

import argparse
import ast
import importlib
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from itertools import count
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
# The fewest test files that are responsible for a module, the quickest first. A module without an entry has the test
# file with its name.
TESTS = {
    "config/gate": (
        "gate/policy",
        "gate/binding",
    ),
    "gate/binding": (
        "gate/bound_files",
        "gate/binding",
    ),
    "gate/bounds": (
        "gate/bounds",
        "gate/evidence",
    ),
    "gate/choices": (
        "gate/choices",
        "gate/bounds",
    ),
    "gate/clusters": (
        "gate/bounds",
        "gate/simulation",
    ),
    "gate/combinations": (
        "gate/calibration_error",
        "gate/bounds",
    ),
    "gate/comparisons": (
        "gate/evidence",
        "gate/judge",
    ),
    "gate/confusion": ("gate/metrics",),
    "gate/decision": (
        "gate/decision",
        "gate/render",
        "gate/judge",
    ),
    "gate/degrees_of_freedom": (
        "gate/bounds",
        "gate/evidence",
    ),
    "gate/evidence": (
        "gate/evidence",
        "gate/judge",
    ),
    "gate/explain": (
        "gate/render",
        "gate/judge",
    ),
    "gate/fair_sets": ("gate/plan",),
    "gate/fewest_networks": ("gate/bounded_networks",),
    "gate/findings": (
        "gate/decision",
        "gate/judge",
    ),
    "gate/influence": ("gate/advice",),
    "gate/judge": (
        "gate/judge",
        "gate/near_copies",
    ),
    "gate/judged_examples": ("gate/model_predictions",),
    "gate/many_choices": ("gate/choices",),
    "gate/mean_of_levels": ("gate/balanced_accuracy",),
    "gate/metrics/accuracy": (
        "gate/metrics",
        "gate/evidence",
        "gate/plan",
    ),
    "gate/metrics/balanced_accuracy": (
        "gate/balanced_accuracy",
        "gate/metrics",
    ),
    "gate/metrics/base": (
        "gate/metrics",
        "gate/evidence",
        "gate/decision",
        "gate/judge",
    ),
    "gate/metrics/calibration": (
        "gate/metrics",
        "gate/evidence",
        "gate/decision",
    ),
    "gate/metrics/calibration_error": (
        "gate/calibration_error",
        "gate/metrics",
    ),
    "gate/metrics/equalized_odds": (
        "gate/metrics",
        "gate/evidence",
        "gate/plan",
    ),
    "gate/metrics/error_rates": (
        "gate/error_rates",
        "gate/metrics",
    ),
    "gate/metrics/largest_gap": (
        "gate/metrics",
        "gate/evidence",
        "gate/plan",
    ),
    "gate/metrics/majority": (
        "gate/majority",
        "gate/metrics",
    ),
    "gate/metrics/parity": (
        "gate/metrics",
        "gate/evidence",
    ),
    "gate/metrics/rates": (
        "gate/metrics",
        "gate/evidence",
    ),
    "gate/metrics/selection_ratio": (
        "gate/selection_ratio",
        "gate/metrics",
    ),
    "gate/metrics/smallest_rate": (
        "gate/metrics",
        "gate/evidence",
        "gate/plan",
    ),
    "gate/model_rows": ("gate/model_predictions",),
    "gate/name_columns": ("gate/model_predictions",),
    "gate/network_assumptions": (
        "gate/assumed_networks",
        "gate/bounded_networks",
        "gate/each_network",
    ),
    "gate/network_predictions": (
        "gate/network_predictions",
        "gate/evidence",
        "gate/judge",
    ),
    "gate/noise_floor": ("gate/noise",),
    "gate/policy": (
        "gate/policy",
        "gate/near_copies",
        "gate/attested",
    ),
    "gate/predictions": (
        "gate/predictions",
        "gate/bound_files",
    ),
    "gate/rare_events": (
        "gate/rare_events",
        "gate/bounds",
    ),
    "gate/references": (
        "gate/bound_files",
        "gate/judge",
    ),
    "gate/score": (
        "gate/bounds",
        "gate/evidence",
        "gate/balanced_accuracy",
    ),
    "gate/sentences": (
        "gate/decision",
        "gate/render",
        "gate/judge",
    ),
    "gate/set_kind": ("gate/remedies",),
    "gate/shared_clusters": (
        "gate/bounds",
        "gate/simulation",
    ),
    "gate/signed_contrasts": (
        "gate/choices",
        "gate/bounds",
    ),
    "gate/spending": (
        "gate/spending",
        "gate/policy",
    ),
    "gate/strictness": (
        "gate/policy",
        "gate/each_network",
    ),
    "gate/verdict": (
        "gate/judge",
        "gate/render",
    ),
    "registry/actor": (
        "registry/operations",
        "registry/writing",
    ),
    "registry/admission": (
        "registry/approvals",
        "registry/waivers",
        "registry/release",
        "registry/attempts",
    ),
    "registry/announcements": ("registry/garbage",),
    "registry/approvals": (
        "registry/approvals",
        "registry/statements",
        "registry/operations",
    ),
    "registry/attempt_checks": ("registry/attempts",),
    "registry/attempt_entry": ("registry/attempts",),
    "registry/channels": (
        "registry/channels",
        "registry/approvals",
        "registry/waivers",
        "registry/release",
    ),
    "registry/client": (
        "registry/client",
        "registry/consumption",
    ),
    "registry/client_state": (
        "registry/identity",
        "registry/writing",
        "registry/client",
    ),
    "registry/consumers": ("registry/overview",),
    "registry/costs": ("registry/overview",),
    "registry/dvc_layout": (
        "registry/identity",
        "registry/release",
        "registry/dvc",
    ),
    "registry/entry": (
        "registry/ledger",
        "registry/consumption",
        "registry/identity",
    ),
    "registry/erasure": ("registry/erasures",),
    "registry/export/croissant": ("registry/evidence_pack",),
    "registry/export/dataset_card": (
        "registry/foreign_text",
        "registry/waivers",
    ),
    "registry/export/evidence_bundle": (
        "registry/evidence_pack",
        "registry/approvals",
    ),
    "registry/garbage_collection": (
        "registry/garbage",
        "registry/erasures",
    ),
    "registry/integrity": (
        "registry/waivers",
        "registry/foreign_text",
        "registry/release",
        "registry/tampering",
        "registry/statements",
    ),
    "registry/layout": (
        "registry/identity",
        "registry/release",
    ),
    "registry/ledger": (
        "registry/ledger",
        "registry/channels",
        "registry/snapshots",
    ),
    "registry/legacy_attempts": ("registry/attempts",),
    "registry/lookup": (
        "text",
        "registry/identity",
        "registry/client",
    ),
    "registry/manifest": (
        "registry/manifest",
        "registry/release",
    ),
    "registry/pins": (
        "registry/consumption",
        "registry/identity",
    ),
    "registry/receipts": ("registry/overview",),
    "registry/regate_record": (
        "registry/overview",
        "registry/access",
    ),
    "registry/release": (
        "registry/release",
        "registry/approvals",
    ),
    "registry/retraction": (
        "registry/release",
        "registry/garbage",
        "registry/statements",
    ),
    "registry/split_examples": (
        "registry/attempts",
        "registry/split_examples",
    ),
    "registry/sealed_entry": ("registry/attempts", "registry/erasures"),
    "registry/status": ("registry/overview",),
    "registry/store": (
        "registry/store",
        "registry/identity",
        "registry/ledger",
    ),
    "registry/training_units": ("training_units",),
    "registry/verify": (
        "registry/client",
        "registry/tampering",
        "registry/snapshots",
    ),
    "registry/version_contents": (
        "registry/erasures",
        "registry/garbage",
    ),
    "registry/webhook": ("registry/overview",),
    "registry/writer": (
        "registry/writing",
        "registry/operations",
    ),
}
# Tests that take seconds: those that train a workspace, start a server or other processes, or write a long ledger.
SLOW_FIXTURES = {"workspace", "finished", "bucket", "s3", "console", "real_data", "server"}
SLOW_NAMES = ("moto", "10000", "2345", "processes_that", "heavy_libraries", "release_0", "flipped_bit")
LIBRARIES = ("hypothesis", "numpy", "scipy.stats", "pandas", "pyarrow.parquet", "pydantic", "torch", "yaml", "pytest")
SECONDS = 60
COMPARISONS = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
ARITHMETIC = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}


@dataclass(frozen=True)
class CodeMutant:
    """A module, such as `gate/clause`, with one operation changed; `what` is that operation after the change."""

    module: str
    line: int
    what: str
    source: str


def changed(node: ast.AST) -> Iterator[ast.AST]:
    """Yield other forms of one operation."""
    if isinstance(node, ast.Compare):
        for i, operation in enumerate(node.ops):
            if type(operation) in COMPARISONS:
                new = deepcopy(node)
                new.ops[i] = COMPARISONS[type(operation)]()
                yield new
    elif isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        yield ast.BinOp(node.left, ARITHMETIC[type(node.op)](), node.right)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield ast.Constant(node.value + 1)
        yield ast.Constant(node.value - 1)


def path_in(root: Path, module: str) -> Path:
    return root / "fair_distill" / f"{module}.py"


def code_mutants(module: str) -> Iterator[CodeMutant]:
    """Generate the module once for each operation of its functions, changed."""
    tree = ast.parse(path_in(REPOSITORY, module).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        for field, value in ast.iter_fields(node):
            children = value if isinstance(value, list) else [value]
            for i, child in enumerate(children):
                if not isinstance(child, ast.AST):
                    continue
                for new in changed(child):
                    ast.copy_location(new, child)
                    replaced = [*children[:i], new, *children[i + 1 :]]
                    setattr(node, field, replaced if isinstance(value, list) else new)
                    source = ast.unparse(ast.fix_missing_locations(tree))
                    setattr(node, field, value)
                    yield CodeMutant(module, getattr(child, "lineno", 0), ast.unparse(new)[:90], source)


def modules() -> list[str]:
    """Return the modules of the gate and of the registry."""
    package = REPOSITORY / "fair_distill"
    files = sorted(path for part in ("gate", "registry") for path in (package / part).rglob("*.py"))
    return [str(path.relative_to(package).with_suffix("")) for path in files if path.name != "__init__.py"]


def files_of(module: str) -> list[str]:
    part, *_, name = module.split("/")
    names = [Path(test) for test in TESTS.get(module, (f"{part}/{name}",))]
    return [str("tests" / name.with_name(f"test_{name.name}.py")) for name in names]


class WithoutSlowTests:
    """A pytest plugin that leaves out the slow tests."""

    @staticmethod
    def pytest_collection_modifyitems(items: list) -> None:  # type: ignore[type-arg]
        items[:] = [
            item
            for item in items
            if not SLOW_FIXTURES & set(item.fixturenames) and not any(name in item.name for name in SLOW_NAMES)
        ]


def survives(copy: Path, module: str) -> bool:
    """Fork, and run the module's tests on the copy. A run that takes more than a minute kills the mutant."""
    child = os.fork()
    if child == 0:
        code: int = 99
        try:
            signal.alarm(SECONDS)
            silence = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(silence, stream)
            os.chdir(copy)
            sys.path[:] = [str(copy), *(entry for entry in sys.path if entry not in (str(REPOSITORY), ""))]
            os.environ["PYTHONPATH"] = str(copy)
            pytest = importlib.import_module("pytest")
            arguments = ["-x", "-q", "-n", "0", "-p", "no:cacheprovider", *files_of(module)]
            code = int(pytest.main(arguments, plugins=[WithoutSlowTests()]))
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1] == 0


_MINUTES = count(1)


def tried(copy: Path, mutant: CodeMutant) -> bool:
    """Return whether a mutant survives; restore its module."""
    path = path_in(copy, mutant.module)
    before = path.read_text(encoding="utf-8")
    try:
        path.write_text(mutant.source, encoding="utf-8")
        # Python takes a compiled file for current if time and size are equal: no two mutants have equal times.
        os.utime(path, (0, 60 * next(_MINUTES)))
        return survives(copy, mutant.module)
    finally:
        path.write_text(before, encoding="utf-8")
        os.utime(path, (0, 60 * next(_MINUTES)))


def chosen(names: list[str]) -> list[str]:
    """Return the modules with these names, or in the packages with these names; all if there are none."""
    known = ["config/gate", *modules()]
    unknown = [name for name in names if name not in known and name not in ("gate", "registry")]
    if unknown:
        raise SystemExit(f"there is no module {', '.join(unknown)}; choose gate, registry, {', '.join(known)}")
    return [module for module in known if not names or module in names or module.split("/")[0] in names]


def main() -> int:
    """Print the survivors and, by module, how many mutants were killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", help="default: all")
    parser.add_argument("--sample", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    for name in LIBRARIES:
        importlib.import_module(name)
    every = [mutant for name in chosen(arguments.modules) for mutant in code_mutants(name)]
    sample = random.Random(arguments.seed).sample(every, min(arguments.sample, len(every)))
    counts: dict[str, list[bool]] = {}
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(REPOSITORY, copy, ignore=shutil.ignore_patterns("__pycache__", ".*", "shared", "build"))
        for name in dict.fromkeys(mutant.module for mutant in sample):
            assert survives(copy, name), f"{name}: the tests fail without a mutant"
        for mutant in sorted(sample, key=lambda mutant: (mutant.module, mutant.line)):
            alive = tried(copy, mutant)
            counts.setdefault(mutant.module, []).append(not alive)
            if alive:
                print(f"SURVIVES {mutant.module}.py:{mutant.line}: {mutant.what}", flush=True)
    for name, results in counts.items():
        print(f"{name:24}{sum(results):>4} of {len(results)} killed")
    total = [dead for results in counts.values() for dead in results]
    print(f"{'together':24}{sum(total):>4} of {len(total)} killed")
    return int(sum(total) < 0.9 * len(total))


if __name__ == "__main__":
    sys.exit(main())

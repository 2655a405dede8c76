"""Change one operation of the gate's code at a time, run the tests of that module, and print what survives.

    python tests/mutation/code_mutants.py [--sample 60] [--seed 0] [MODULE ...]

A copy of the repository is changed, never the repository.
"""

import argparse
import ast
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
GATE = REPOSITORY / "fair_distill" / "gate"
# The test files that a module is responsible to; by default the file of its name.
TESTS = {
    "answers": ("answers", "attributes", "judge"),
    "binding": ("binding", "bound_files"),
    "clause": ("clause", "judge", "explain"),
    "evidence": ("evidence", "judge"),
    "explain": ("render", "explain"),
    "judge": ("judge", "binding"),
    "metrics": ("metrics",),
    "policy": ("policy", "attested", "context"),
    "render": ("render",),
    "replay": ("replay",),
    "scope": ("judge", "attributes"),
    "verdict": ("judge", "render"),
}
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
    """A module with one operation changed; `what` is the line after the change."""

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


def code_mutants(path: Path) -> Iterator[CodeMutant]:
    """Generate the module once for each operation of its functions, changed."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
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
                    yield CodeMutant(path.stem, getattr(child, "lineno", 0), ast.unparse(new)[:90], source)


def tests_of(module: str) -> list[str]:
    names = TESTS.get(module, (module,))
    paths = [f"tests/gate/test_{name}.py" for name in names]
    return [path for path in paths if (REPOSITORY / path).exists()]


def killed(copy: Path, mutant: CodeMutant) -> bool:
    """Run the module's tests on the changed copy, and restore it. A run without an end in 5 minutes is a kill."""
    path = copy / "fair_distill" / "gate" / f"{mutant.module}.py"
    before = path.read_text(encoding="utf-8")
    path.write_text(mutant.source, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-n",
        "0",
        "-p",
        "no:cacheprovider",
        *tests_of(mutant.module),
    ]
    try:
        return subprocess.run(command, cwd=copy, capture_output=True, timeout=300, check=False).returncode != 0
    except subprocess.TimeoutExpired:
        return True
    finally:
        path.write_text(before, encoding="utf-8")


def main() -> int:
    """Print the survivors and, by module, how many mutants were killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", help="default: every module of the gate")
    parser.add_argument("--sample", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    names = arguments.modules or sorted(path.stem for path in GATE.glob("*.py") if tests_of(path.stem))
    every = [mutant for name in names for mutant in code_mutants(GATE / f"{name}.py")]
    sample = random.Random(arguments.seed).sample(every, min(arguments.sample, len(every)))
    counts: dict[str, list[bool]] = {}
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        copy.mkdir()
        for name in ("fair_distill", "tests"):
            shutil.copytree(REPOSITORY / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "params.yaml"):
            shutil.copy(REPOSITORY / name, copy / name)
        for name in dict.fromkeys(mutant.module for mutant in sample):
            source = (GATE / f"{name}.py").read_text(encoding="utf-8")
            assert not killed(copy, CodeMutant(name, 0, "nothing", source)), f"{name}: the tests fail without a mutant"
        for mutant in sorted(sample, key=lambda one: (one.module, one.line)):
            dead = killed(copy, mutant)
            counts.setdefault(mutant.module, []).append(dead)
            if not dead:
                print(f"SURVIVES {mutant.module}.py:{mutant.line}: {mutant.what}", flush=True)
    for name, results in counts.items():
        print(f"{name:12}{sum(results):>4} of {len(results)} killed")
    total = [dead for results in counts.values() for dead in results]
    print(f"{'together':12}{sum(total):>4} of {len(total)} killed")
    return int(sum(total) < 0.9 * len(total))


if __name__ == "__main__":
    sys.exit(main())

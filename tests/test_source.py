"""Rules about the source code: no clock, no global random state, no pickle."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import fair_distill

PACKAGE = Path(fair_distill.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
CLOCKS = {"time", "timeit", "sched"}
# Functions of torch that draw from its global generator unless they receive a generator.
DRAWS = {
    *("rand", "randn", "randint", "randperm", "normal", "bernoulli", "multinomial", "rand_like", "randn_like"),
    *("uniform_", "normal_", "kaiming_uniform_", "kaiming_normal_", "xavier_uniform_", "trunc_normal_", "dropout"),
}
SEEDING = {"manual_seed", "default_rng", "Generator", "SeedSequence", "PCG64"}
# The only module that seeds a generator. The seed in params becomes one generator for each purpose.
SEEDED_HERE = {"seeds.py"}
READS_CLOCK = {"storage/s3.py", "storage/local.py", "registry/client.py", "registry/lookup.py", "stages/model.py"}
GLOBAL = {
    *("torch.manual_seed", "torch.seed", "torch.set_rng_state", "torch.random.manual_seed", "torch.cuda.manual_seed"),
    *("torch.cuda.manual_seed_all", "np.random.seed", "numpy.random.seed", "random.seed"),
}


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Yield every call in a file with its dotted name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def imports(path: Path) -> set[str]:
    """Return the dotted names of everything that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def named(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", FILES, ids=named)
def test_nothing_is_pickled(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path)} & PICKLES
    for name, call in calls(path):
        assert name not in {"torch.save", "torch.load", "np.save", "np.load", "pd.read_pickle"}, f"line {call.lineno}"
        assert not name.endswith(".to_pickle"), f"line {call.lineno}"


@pytest.mark.parametrize("path", FILES, ids=named)
def test_nothing_reads_a_clock(path: Path) -> None:
    # The command line reads the clock and passes the time on. Stores and readers of ledgers compare the clock of this
    # machine with another one; they receive the clock as an argument, whose default is the clock of the machine. So
    # do `judge_model` and `load`, which are public functions.
    if named(path).startswith("cli/") or named(path) in READS_CLOCK:
        return
    assert not {name.split(".")[0] for name in imports(path)} & CLOCKS
    for name, call in calls(path):
        assert name.split(".")[-1] not in {"now", "utcnow", "today"}, f"line {call.lineno}: {name}"


@pytest.mark.parametrize("path", FILES, ids=named)
def test_randomness_is_an_argument(path: Path) -> None:
    assert not {"random", "numpy.random", "torch.random"} & imports(path)
    for name, call in calls(path):
        last = name.split(".")[-1]
        where = f"line {call.lineno}: {name}"
        if named(path) not in SEEDED_HERE:
            assert last not in SEEDING, where
        assert name not in GLOBAL, where
        if name.startswith(("np.random.", "numpy.random.")):
            assert last in {"default_rng"}, where
        if last in DRAWS and ".rng." not in f".{name}":
            assert "generator" in {keyword.arg for keyword in call.keywords}, where


def test_the_rules_can_fail(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text(
        "import pickle, time\nfrom random import random\nimport torch\ntorch.rand(3)\ntorch.manual_seed(0)\n"
    )

    assert {"pickle", "time", "random", "random.random"} <= imports(bad)
    assert [name for name, _ in calls(bad)] == ["torch.rand", "torch.manual_seed"]
    assert len(FILES) > 20

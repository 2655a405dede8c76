"""The example `examples/adult`, from a file in the format of UCI Adult to a published set that a consumer trains on."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
import yaml
from small_workspace import REPOSITORY, Ended, run, write_params

import fair_distill
from fair_distill.config import load_config
from fair_distill.data.prepare import make_splits
from fair_distill.data.sources import read_source
from fair_distill.data.split_file import read_split
from fair_distill.files import sha256
from fair_distill.formats.row_columns import Categorical, Numeric
from fair_distill.seeds import derive_seed, numpy_generator

EXAMPLE = REPOSITORY / "examples/adult"
VALUES = {
    "workclass": ["Private", "State-gov", "?"],
    "marital-status": ["Never-married", "Divorced"],
    "occupation": ["Sales", "Tech-support", "?"],
    "relationship": ["Wife", "Husband", "Unmarried"],
    "race": ["White", "Black"],
    "native-country": ["United-States", "Cuba"],
}


def lines(n: int, *, seed: int, dot: str) -> str:
    """Return lines of synthetic people in the format of UCI Adult."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        rich, male = i % 2, i // 2 % 2
        categories = {name: rng.choice(values) for name, values in VALUES.items()}
        numbers = {
            "age": rng.integers(17, 45) + 20 * rich,
            "fnlwgt": rng.integers(10**4, 10**6),
            "education-num": rng.integers(1, 10) + 6 * rich,
            "capital-gain": rich * rng.choice([0, 7688]),
            "capital-loss": 0,
            "hours-per-week": rng.integers(20, 60),
        }
        person = categories | numbers | {"education": "Bachelors", "sex": ["Female", "Male"][male]}
        person["income"] = ["<=50K", ">50K"][rich] + dot
        rows.append(", ".join(str(person[name]) for name in names()))
    return "\n".join(rows) + "\n\n"


def params() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((EXAMPLE / "params.yaml").read_text())
    read["validate"]["maximum_leak"] = 0.9  # the income depends on the other columns in an obvious way
    return read


def names() -> list[str]:
    column_names: list[str] = params()["data"]["source"]["csv"]["names"]
    return column_names


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the example with synthetic people and small sizes, so that it runs in seconds."""
    root = tmp_path_factory.mktemp("adult")
    (root / "data").mkdir()
    (root / "data/adult.data").write_text(lines(160, seed=0, dot=""))
    (root / "data/adult.test").write_text("|1x3 Cross validator\n" + lines(80, seed=1, dot="."))
    (root / "context.json").write_text("{}\n")
    small = params()
    small |= {"threads": 1, "sets": ["full", "balanced", "barycentric"]}
    small["data"]["splits"] |= {"train": 0.5, "tune": 0.5}
    small["validate"]["minimum_per_cell"] = 5
    small["recipe"]["steps"] = 20
    small["distill"] |= {"steps": 10, "ipc": 4, "real_per_class": 16}
    small["evaluate"]["seeds"] = 1
    limits = [{"metric": "accuracy", "at_least": 0.0, "why": "a tiny set has to pass here"}]
    small["gate"] = {"mode": "point", "limits": limits}
    write_params(root, small)
    sets = [("references", "full"), ("references", "balanced"), ("distill", "barycentric")]
    after = [(stage, name) for name in small["sets"] for stage in ("evaluate", "judge")]
    for command in [("prepare",), ("validate",), *sets, *after]:
        ok(run(root, *command))
    return root


def ok(ended: Ended) -> str:
    assert ended.code == 0, ended.err
    return ended.out


def test_the_set_of_the_small_example_has_the_columns_of_the_table(small: Path) -> None:
    content = (small / "artifacts/sets/barycentric/set.parquet").read_bytes()
    frame = pa.parquet.read_table(pa.BufferReader(content)).to_pandas()
    source = params()["data"]["source"]["columns"]

    assert list(frame.columns) == [*source["numeric"], *source["categorical"], "income"]
    assert frame["income"].tolist() == ["<=50K"] * 4 + [">50K"] * 4
    assert str(frame["age"].dtype) == "int64"
    assert frame["age"].between(17, 64).all()
    assert set(frame["workclass"].dropna()) <= {"Private", "State-gov"}
    assert (small / "artifacts/pictures/barycentric.png").read_bytes().startswith(b"\x89PNG")


def test_the_evaluated_rows_are_the_published_rows_for_every_kind_of_set(small: Path) -> None:
    before = sha256(small / "artifacts/predictions/barycentric.parquet")
    ok(run(small, "distill", "barycentric"))
    ok(run(small, "evaluate", "barycentric"))

    assert sha256(small / "artifacts/predictions/barycentric.parquet") == before


def test_rows_are_published_loaded_and_trained_on(small: Path) -> None:
    registry = str(small / "registry")
    ok(run(small, "publish", "--registry", registry))
    ok(run(small, "promote", "--to", "candidate", "--registry", registry))
    adult = fair_distill.load("adult@candidate", registry=registry)
    model = fair_distill.train(adult, seed=0)
    schema = adult.card.schema
    assert schema is not None
    gate = read_split(small / "artifacts/prepared/gate.arrow")
    people = schema.decode(gate.images)  # a consumer reads columns by name

    with torch.no_grad():
        predicted = model(torch.from_numpy(schema.encode(people))).argmax(dim=1).numpy()

    assert (predicted == gate.labels).mean() > 0.8  # the label of synthetic people depends on their age
    assert {name: values.tolist() for name, values in adult.columns.items()}.keys() == people.keys()


def test_gradient_boosting_trains_on_the_loaded_set_by_the_documented_lines(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = str(small / "registry")
    ok(run(small, "publish", "--registry", registry))
    ok(run(small, "promote", "--to", "candidate", "--registry", registry))
    page = (REPOSITORY / "docs/consuming.md").read_text().partition("## Train a model of scikit-learn")[2]
    code = page.partition("```python\n")[2].partition("```")[0]
    monkeypatch.chdir(small / "data")
    run_lines: dict[str, Any] = {"fair_distill": fair_distill, "registry": registry, "names": names()}

    exec(code, run_lines)

    people = run_lines["people"]
    assert set(run_lines["train"].columns) < set(people.columns)
    assert (run_lines["predicted"] == people["income"].str.strip(".")).mean() > 0.7


def test_augmenting_rows_is_refused(small: Path, tmp_path: Path) -> None:
    params_of_example = yaml.safe_load((small / "params.yaml").read_text())
    params_of_example["recipe"]["augment"] = ["crop"]
    os.symlink(small / "artifacts", tmp_path / "artifacts")
    write_params(tmp_path, params_of_example)
    ended = run(tmp_path, "distill", "barycentric")

    assert ended.code == 2
    assert "recipe.augment is ['crop'], which changes images; set it to [] for rows of a table" in ended.err


def test_the_graph_of_the_example_differs_from_the_repositorys_only_in_its_files() -> None:
    ours, example = (yaml.safe_load((folder / "dvc.yaml").read_text()) for folder in (REPOSITORY, EXAMPLE))
    files = example["stages"]["prepare"].pop("deps")

    assert example == ours
    assert files == list(params()["data"]["source"]["path"].values())


def test_the_example_reads_the_original_adult_files(real_data: Path, tmp_path: Path) -> None:
    os.symlink(real_data / "adult", tmp_path / "data")
    config = load_config(EXAMPLE / "params.yaml")
    source = read_source(config.data.source.name, config.data.source.options, root=tmp_path)
    dealing, colouring = derive_seed(config.seed, "prepare.split"), numpy_generator(config.seed, "prepare.colours")
    splits = make_splits(source, config.data, dealing=dealing, colouring=colouring)
    schema = splits["train"].schema
    assert schema is not None

    sizes = {name: len(split) for name, split in splits.items()}
    assert (sizes["train"] + sizes["tune"], sizes["gate"]) == (32561, 16281)
    assert abs(sizes["tune"] - 3256) < 4 * 54  # a tenth of 32,561 rows has a standard deviation of 54
    assert (source.classes, source.groups) == (("<=50K", ">50K"), ("Female", "Male"))
    assert sum(split.counts for split in splits.values()).tolist() == [[14423, 22732], [1769, 9918]]
    assert schema.columns[0] == Numeric("age", 17, 90, whole=True, type="int64")
    work = schema.columns[5]
    assert isinstance(work, Categorical)
    assert {"Private", "Never-worked", "unknown"} <= set(work.values)
    assert not any(value != value.strip(" .") for column in schema.columns[5:] for value in column.values)  # type: ignore[union-attr]

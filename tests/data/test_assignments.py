"""Later data move no unit: rows are added, removed and reordered, groups are renamed, and columns are appended."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_workspace import run, small_params, write_params

from fair_distill.config import Data
from fair_distill.data.assignments import Assignments
from fair_distill.data.columns import SourceData
from fair_distill.data.prepare import plan_splits
from fair_distill.data.units import name_units
from fair_distill.errors import DataError
from fair_distill.versioning.dvc_commands import ASSIGNMENTS
from fair_distill.versioning.dvc_graph import read_graph
from fair_distill.workspace import SPLITS, Workspace

DATA = Data.model_validate({"source": {"name": "npz", "path": "x"}, "splits": {"train": 0.5, "tune": 0.1, "gate": 0.4}})


def people(numbers: list[int], *, links: str, seed: int = 0, swap: bool = False) -> SourceData:
    """Return two examples of each person in a random order, with classes and groups that depend on the person.

    Parameters
    ----------
    links : what names a person: clusters, pairs, ids, or the content
    swap : whether the two groups have each other's names, and so also each other's numbers
    """
    rows = np.random.default_rng(seed).permutation(np.repeat(sorted(numbers), 2))
    images = np.zeros((len(rows), 1, 8, 8), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = rows % 256, rows // 256
    names, ranks = np.unique(rows, return_inverse=True)
    text = pa.array([f"person {name}" for name in names], pa.large_string())
    columns: dict[str, Any] = {
        "clusters": {"clusters": ranks, "cluster_names": text},
        "pairs": {"pairs": ranks, "pair_names": text},
        "ids": {"ids": text.take(pa.array(ranks))},
        "content": {},
    }[links]
    groups = ("b", "a") if swap else ("a", "b")
    return SourceData(
        images,
        rows % 2,
        ("x", "y"),
        group_indices=(rows // 2 + swap) % 2,
        groups=groups,
        attributes=tuple((group,) for group in groups),
        **columns,
    )


def split_of_person(source: SourceData, assignments: Assignments | None) -> tuple[dict[int, str], Any]:
    """Return the split of each person, and the preparation."""
    planned = plan_splits(source, DATA, dealing=5, colouring=np.random.default_rng(0), assignments=assignments)
    found: dict[int, str] = {}
    images = np.asarray(source.images)
    for name, plan in planned.plans.items():
        for row in plan.rows:
            person = int(images[row, 0, 0, 0]) + 256 * int(images[row, 0, 0, 1])
            assert found.setdefault(person, name) == name
    return found, planned


@pytest.mark.parametrize("links", ["clusters", "pairs", "ids", "content"])
@settings(max_examples=40)
@given(data=st.data())
def test_no_later_data_move_anybody(links: str, data: st.DataObject) -> None:
    crowds = data.draw(st.lists(st.sets(st.integers(0, 500), min_size=30, max_size=80), min_size=2, max_size=4))
    assignments, history = None, {}
    for step, crowd in enumerate(crowds):
        source = people(list(crowd), links=links, seed=step, swap=bool(step % 2))

        found, planned = split_of_person(source, assignments)

        assert {person: history.get(person, split) for person, split in found.items()} == found
        assert (planned.changes.units, planned.changes.moved) == (len(crowd), 0)
        assert planned.changes.new == len(crowd - history.keys())
        if step:
            assert planned.changes.gone == len(crowds[step - 1] - crowd)
        history |= found
        assignments = planned.assignments


def test_preparing_the_same_data_again_gives_the_same_assignments(tmp_path: Path) -> None:
    source = people(list(range(50)), links="clusters")
    first = split_of_person(source, None)[1]
    first.assignments.write(tmp_path / "first.arrow")

    again = split_of_person(source, Assignments.read(tmp_path / "first.arrow"))[1]
    again.assignments.write(tmp_path / "again.arrow")

    assert first.changes.is_first
    assert (again.changes.moved, again.changes.new, again.changes.gone) == (0, 0, 0)
    assert (tmp_path / "first.arrow").read_bytes() == (tmp_path / "again.arrow").read_bytes()


def test_a_person_who_returns_has_the_same_split() -> None:
    everybody = list(range(60))
    before, first = split_of_person(people(everybody, links="ids"), None)
    _, without = split_of_person(people(everybody[:40], links="ids"), first.assignments)
    after, last = split_of_person(people(everybody, links="ids"), without.assignments)

    assert without.changes.gone == 20
    assert after == before
    assert (last.changes.moved, last.changes.new) == (0, 0)


def test_a_link_between_two_splits_moves_the_examples_of_the_gate_to_train() -> None:
    # Person k is cluster k. Later a pair links a person of the gate split with one of train.
    base = people(list(range(40)), links="clusters")
    before, first = split_of_person(base, None)
    trained, gated = (next(p for p, split in before.items() if split == name) for name in ("train", "gate"))
    assert base.clusters is not None
    pairs = np.arange(len(base)) + 2
    for number, person in enumerate((trained, gated)):
        pairs[np.flatnonzero(base.clusters == person)[0]] = number // 2
    linked = replace(base, pairs=np.unique(pairs, return_inverse=True)[1])

    after, second = split_of_person(linked, first.assignments)

    assert after == before | {gated: "train"}
    assert (second.changes.moved, second.changes.new) == (1, 0)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.randoms())
def test_equal_rows_of_a_table_are_units_of_their_own(values: list[int], random: Any) -> None:
    def names(values: list[int]) -> list[int]:
        rows = np.array([(float(value),) for value in values], dtype=[("a", np.float32)])
        source = SourceData(rows, np.zeros(len(rows), np.int32), ("x", "y"), schema=lambda batches: None)  # type: ignore[arg-type, return-value]
        return name_units(source).digests.tolist()

    shuffled = random.sample(values, len(values))

    assert len(names(values)) == len(values)
    assert names(shuffled) == names(values)
    assert set(names(values[:-1] or values)) <= set(names(values))


def table_workspace(root: Path, rows: list[str], header: str, **columns: Any) -> Path:
    params = small_params()
    names = {"label": "y", "groups": "g", "numeric": ["a"]} | columns
    params["data"] = {
        "source": {"name": "table", "path": "p.csv", "columns": names},
        "splits": {"train": 0.6, "tune": 0.1, "gate": 0.3},
    }
    params["recipe"]["augment"] = []
    write_params(root, params)
    (root / "p.csv").write_text("\n".join([header, *rows]) + "\n")
    return root


def assigned(root: Path) -> dict[int, int]:
    """Return the split of every unit in the file of assignments."""
    read = Assignments.read(Workspace(root).assignments)
    return dict(zip(read.names.tolist(), read.splits.tolist(), strict=True))


@pytest.mark.parametrize("columns", [{"cluster": "person"}, {"example_id": "person"}, {}])
def test_a_table_that_grows_shrinks_and_gets_a_column_moves_nobody(tmp_path: Path, columns: dict[str, str]) -> None:
    rows = [f"{p},{p * 7},{'pn'[p % 2]},{'fm'[p % 3 % 2]}" for p in range(120)]
    header = "person,a,y,g"
    assert run(table_workspace(tmp_path, rows, header, **columns), "prepare").out.endswith("120, all of them new\n")
    before = assigned(tmp_path)

    more = [f"{row},extra" for row in ["900,5,p,f", *reversed(rows[10:])]]
    ended = run(table_workspace(tmp_path, more, f"{header},note", **columns), "prepare")

    assert ended.out.endswith("units: 111; 0 moved, 1 new, 10 gone\n")
    after = assigned(tmp_path)
    assert len(after) == 121
    assert after | before == after


@pytest.mark.parametrize(("renamed", "warned"), [(120, True), (30, False)])
def test_names_that_all_change_are_a_warning(tmp_path: Path, renamed: int, warned: bool) -> None:
    def rows(other: int) -> list[str]:
        people = [f"{'P' if p < other else 'p'}{p}" for p in range(120)]
        return [f"{person},{p * 7},{'pn'[p % 2]},{'fm'[p % 3 % 2]}" for p, person in enumerate(people)]

    run(table_workspace(tmp_path, rows(0), "person,a,y,g", example_id="person"), "prepare")
    ended = run(table_workspace(tmp_path, rows(renamed), "person,a,y,g", example_id="person"), "prepare")

    assert ended.code == 0
    assert f"0 moved, {renamed} new, {renamed} gone" in ended.out
    assert ("most units are new" in ended.err) == warned


def test_another_seed_deals_again_and_says_so(tmp_path: Path) -> None:
    rows = [f"{p},{p * 7},{'pn'[p % 2]},{'fm'[p % 3 % 2]}" for p in range(120)]
    table_workspace(tmp_path, rows, "person,a,y,g", example_id="person")
    run(tmp_path, "prepare")
    (tmp_path / "params.yaml").write_text((tmp_path / "params.yaml").read_text().replace("seed: 0", "seed: 1"))

    ended = run(tmp_path, "prepare")

    assert ended.code == 0
    assert "0 moved" not in ended.out
    assert "dealt all of them again" in ended.out


def test_lost_assignments_are_noticed(tmp_path: Path) -> None:
    rows = [f"{p},{p * 7},{'pn'[p % 2]},{'fm'[p % 3 % 2]}" for p in range(120)]
    table_workspace(tmp_path, rows, "person,a,y,g", example_id="person")
    lock = {"cmd": "fair-distill prepare", "outs": [{"path": "artifacts/assignments.arrow", "md5": "0" * 32}]}
    (tmp_path / "dvc.lock").write_text(f"schema: '2.0'\nstages: {{prepare: {lock}}}\n")

    refused = run(tmp_path, "prepare")

    assert refused.code == 2
    assert "Run `dvc pull artifacts/assignments.arrow`" in refused.err
    assert run(tmp_path, "prepare", "--deal-again").code == 0
    assert run(tmp_path, "prepare").code == 0


@pytest.mark.parametrize("content", [b"", b"ARROW1", b"x" * 1000])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.arrow").write_bytes(content)

    with pytest.raises(DataError, match="is not a file of assignments"):
        Assignments.read(tmp_path / "a.arrow")


def test_names_out_of_order_are_refused(tmp_path: Path) -> None:
    names = np.array([2**63, 5], np.uint64)
    Assignments("0" * 64, names, np.zeros(2, np.int8), np.ones(2, bool)).write(tmp_path / "a.arrow")

    with pytest.raises(DataError, match="not in ascending order"):
        Assignments.read(tmp_path / "a.arrow")


def test_every_graph_keeps_the_assignments_between_runs() -> None:
    repository = Path(__file__).parents[2]
    for folder in (repository, repository / "examples/adult", repository / "examples/mtt"):
        outs = read_graph(folder / "dvc.yaml", {"candidates": {}, "references": {}, "sets": []})[0]["prepare"].outs
        assert ASSIGNMENTS in outs
        assert "artifacts/assignments.arrow: {persist: true}" in (folder / "dvc.yaml").read_text()


def test_splits_and_paths_have_the_same_names_everywhere() -> None:
    assert list(DATA.splits.model_dump()) == list(SPLITS)
    assert Workspace(Path()).assignments == Path(ASSIGNMENTS)

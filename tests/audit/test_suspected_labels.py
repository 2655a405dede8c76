"""Suspected label errors: planted errors are recovered, and the group with errors is named."""

import csv
import hashlib
import hmac
import io
import json
from pathlib import Path

import numpy as np
import pytest
from small_workspace import run, small_params, write_params

from fair_distill.audit.suspected_labels import LabelAudit, audit_labels, most_certain, wrong_probability
from fair_distill.data.folds import deal_folds, unit_of_each
from fair_distill.data.grouped_dataset import Array, GroupedDataset
from fair_distill.data.split_file import read_split
from fair_distill.distillation.binomial import clustered_share, exact_share, least_difference
from fair_distill.errors import DataError
from fair_distill.report.label_tables import label_tables
from fair_distill.stages.label_audit import read_label_audit
from fair_distill.workspace import Workspace


def audited(rates: tuple[float, float], *, ambiguous: float = 0.0, n: int = 20_000) -> tuple[LabelAudit, Array]:
    """Return the audit of two classes and groups, and which suspects of the second group have a planted error.

    Parameters
    ----------
    rates : share of wrong labels in each group
    ambiguous : share of the second group whose class is uncertain
    """
    rng = np.random.default_rng(0)
    groups, true = rng.integers(0, 2, n), rng.integers(0, 2, n)
    unclear = (groups == 1) & (rng.random(n) < ambiguous)
    certainty = np.where(unclear, 0.6, rng.uniform(0.95, 0.999, n))
    likely = np.where(rng.random(n) < certainty, true, 1 - true)
    wrong = rng.random(n) < np.array(rates)[groups]
    data = GroupedDataset.from_arrays(
        np.zeros((n, 1, 1, 1), np.uint8), np.where(wrong, 1 - true, true), groups, groups=["a", "b"]
    )
    probabilities = np.where(np.arange(2) == likely[:, None], certainty[:, None], 1 - certainty[:, None])
    audit = audit_labels(data, probabilities[data.pairs])
    return audit, wrong[data.pairs][audit.rows[data.group_indices[audit.rows] == 1]]


def test_planted_errors_are_recovered_and_their_group_is_named() -> None:
    audit, is_wrong = audited((0.0, 0.05))

    first, second = audit.groups
    assert (first.is_high, second.is_high) == (False, True)
    assert second.error_rate.low < 0.05 < second.error_rate.high
    assert is_wrong.sum() > 0.7 * 0.05 * 10_000
    assert second.precision == pytest.approx(is_wrong.mean(), abs=0.05)
    assert (np.diff(audit.scores) <= 0).all()


def test_ambiguous_examples_do_not_name_their_group() -> None:
    audit, _ = audited((0.0, 0.0), ambiguous=0.3)

    first, second = audit.groups
    assert second.error_rate.value == pytest.approx(first.error_rate.value, abs=0.01)
    assert not first.is_high
    assert not second.is_high


def test_a_single_group_is_compared_with_nothing() -> None:
    n = 200
    labels = np.arange(n) % 2
    data = GroupedDataset.from_arrays(np.zeros((n, 1, 1, 1), np.uint8), labels, np.zeros(n, int))
    probabilities = np.full((n, 2), 0.5)

    assert not audit_labels(data, probabilities).groups[0].is_high


def test_a_group_of_one_class_has_no_suspects() -> None:
    labels, groups = np.array([0] * 50 + [0, 1] * 50), np.array([0] * 50 + [1] * 100)
    data = GroupedDataset.from_arrays(np.zeros((150, 1, 1, 1), np.uint8), labels, groups)
    probabilities = np.where(np.arange(2) == data.labels[:, None], 0.9, 0.1)

    audit = audit_labels(data, probabilities)

    assert audit.groups[0].suspected.count == 0
    assert len(audit.cells) == 3  # the cell without examples has no row


def test_the_probability_of_an_error_is_that_of_bayes() -> None:
    """Two classes: labels with the errors, drawn from known probabilities, are wrong as often as computed."""
    rng = np.random.default_rng(1)
    n, rate, p = 400_000, 0.1, 0.2  # class 1 has the probability 0.2
    true = (rng.random(n) < p).astype(int)
    given = np.where(rng.random(n) < rate, 1 - true, true)

    for label, clean in ((1, p), (0, 1 - p)):
        noisy = clean * (1 - 2 * rate) + rate  # what networks predict that were trained on the given labels
        expected = (given != true)[given == label].mean()
        learned = wrong_probability(np.array([noisy]), rate, learned=rate, classes=2)[0]
        assert learned == pytest.approx(expected, abs=0.005)
        unlearned = wrong_probability(np.array([clean]), rate, learned=0.0, classes=2)[0]
        assert unlearned == pytest.approx(expected, abs=0.005)
    assert wrong_probability(np.array([0.0, 1.0]), 0.0, learned=0.0, classes=2).tolist() == [0.0, 0.0]


def test_the_most_certain_tenth_ignores_the_label() -> None:
    probabilities = np.stack([np.linspace(0.5, 1, 20), np.linspace(0.5, 0, 20)], axis=1)

    assert most_certain(np.arange(20), probabilities).tolist() == [19, 18]
    assert most_certain(np.array([3]), probabilities).tolist() == [3]


def test_dependent_trials_widen_the_interval() -> None:
    hits, people = np.repeat([True, False, False, False], 25), np.repeat(np.arange(4), 25)

    alone, together = clustered_share(hits, np.arange(100)), clustered_share(hits, people)

    assert (alone.low, alone.high) == pytest.approx((exact_share(25, 100).low, exact_share(25, 100).high), rel=0.02)
    assert together.low < alone.low < alone.high < together.high
    assert clustered_share(np.zeros(100, bool), people).high == exact_share(0, 4).high
    assert least_difference(exact_share(50, 100), exact_share(10, 100)) > 0.2
    assert least_difference(exact_share(0, 0), exact_share(0, 0)) == -1


def test_pairs_and_clusters_are_one_unit_also_indirectly() -> None:
    data = GroupedDataset.from_arrays(
        np.zeros((5, 1, 1, 1), np.uint8),
        np.zeros(5, int),
        np.zeros(5, int),
        pairs=np.array([10**12, 1, 1, 2, 3]),
        clusters=np.array([7, 7, 8, 9, 5]),
    )
    assert unit_of_each(data).tolist() == [0, 0, 0, 1, 2]
    fold = deal_folds(np.zeros(5, int), unit_of_each(data), 2)
    assert fold[0] == fold[1] == fold[2] != fold[3]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a workspace of digits in which a tenth of the labels of one group in train are wrong."""
    root = tmp_path_factory.mktemp("labels")
    rng = np.random.default_rng(0)
    n = 3000
    labels, groups = rng.integers(0, 2, n), np.array(["f", "m"])[rng.integers(0, 2, n)]
    images = rng.integers(0, 60, (n, 1, 8, 8)).astype(np.uint8)
    images[:, 0, :4] += (150 * labels[:, None, None]).astype(np.uint8)
    wrong = (groups == "m") & (rng.random(n) < 0.12)
    split = np.where(np.arange(n) % 5 == 0, "gate", np.where(np.arange(n) % 5 == 1, "tune", "train"))
    ids = np.array([f"person {number}" for number in range(n)])
    np.savez(root / "all.npz", x=images, y=np.where(wrong, 1 - labels, labels), sex=groups, split=split, id=ids)
    np.save(root / "wrong.npy", ids[wrong & (split == "train")])
    params = small_params()
    columns = {"image": "x", "label": "y", "groups": "sex", "split": "split", "example_id": "id"}
    params["data"] = {
        "source": {"name": "npz", "path": "all.npz", "columns": columns},
        "splits": {"train": "train", "tune": "tune", "gate": "gate"},
    }
    params["recipe"]["augment"] = []
    params["labels"] = {"folds": 3, "steps": 60}
    write_params(root, params)
    assert run(root, "prepare").code == 0
    return root


def listed(root: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(Workspace(root).suspected_labels("train").read_text())))


def test_the_command_lists_the_planted_errors_by_id(root: Path) -> None:
    ended = run(root, "data", "labels", "--quiet")

    assert ended.code == 0, ended.err
    assert "significantly more label errors than in the other groups: 'm'" in ended.out
    planted = set(np.load(root / "wrong.npy").tolist())
    found = {row["example"] for row in listed(root)}
    assert len(found & planted) / len(planted) > 0.7
    assert len(found & planted) / len(found) > 0.7
    assert all(row["given"] != row["suggested"] for row in listed(root))
    table = json.loads(Workspace(root).label_audit("train").read_bytes())
    assert sum(row["suspected"]["total"] for row in table["cells"]) == len(read_split(Workspace(root).split("train")))
    before = Workspace(root).suspected_labels("train").read_bytes()
    assert run(root, "data", "labels", "--json").code == 0
    assert Workspace(root).suspected_labels("train").read_bytes() == before


def test_the_report_has_the_table_of_the_current_split(root: Path) -> None:
    workspace = Workspace(root)
    tables = label_tables(read_label_audit(workspace))

    assert [len(table.rows) for table in tables] == [2, 4]
    assert tables[0].rows[1][0] == "m (significantly more than the others)"
    content = workspace.label_audit("train").read_bytes()
    try:
        workspace.label_audit("train").write_bytes(content.replace(b'"precision"', b'"precison"', 1))
        with pytest.raises(DataError, match=r"is not a table of suspected labels .*precision.* run `fair-distill data"):
            read_label_audit(workspace)
        workspace.label_audit("train").write_bytes(content.replace(b'"sha256": "', b'"sha256": "0', 1))
        assert label_tables(read_label_audit(workspace)) == []  # of another version of the split
    finally:
        workspace.label_audit("train").write_bytes(content)


def test_restricted_data_are_named_by_salted_ids(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_rows = listed(root)
    text = (root / "params.yaml").read_text()
    try:
        (root / "params.yaml").write_text(text.replace("validate:", "validate:\n  privacy: restricted", 1))
        monkeypatch.delenv("FAIR_DISTILL_SALT", raising=False)
        refused = run(root, "data", "labels", "--quiet")
        assert (refused.code, refused.err.count("\n")) == (2, 1)
        assert "FAIR_DISTILL_SALT" in refused.err
        monkeypatch.setenv("FAIR_DISTILL_SALT", "a secret of sixteen or more")
        assert run(root, "data", "labels", "--quiet").code == 0
    finally:
        (root / "params.yaml").write_text(text)

    def salted(name: str) -> str:
        return hmac.new(b"a secret of sixteen or more", name.encode(), hashlib.sha256).hexdigest()[:12]

    assert [row["example"] for row in listed(root)] == [salted(row["example"]) for row in open_rows]
    assert "person" not in Workspace(root).suspected_labels("train").read_text()
    assert "person" not in Workspace(root).label_audit("train").read_text()


@pytest.mark.parametrize(
    ("argv", "removed", "message"),
    [
        (["--split", "test"], "", "--split is 'test'; pass one of train, tune, gate"),
        ([], "labels:", "params.yaml has no section `labels`"),
    ],
)
def test_what_cannot_be_audited_is_refused_in_one_line(
    root: Path, tmp_path: Path, argv: list[str], removed: str, message: str
) -> None:
    text = (root / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text[: text.index(removed)] if removed else text)

    ended = run(tmp_path, "data", "labels", *argv)

    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert message in ended.err

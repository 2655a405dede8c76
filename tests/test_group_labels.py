"""Group labels from the source to the card: unknown groups are inferred in train, and small cells are shrunk."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from small_workspace import grouped, run, small_params, write_params

from fair_distill.card import DatasetCard
from fair_distill.data.split_file import read_split
from fair_distill.registry.manifest import read_version
from fair_distill.workspace import Workspace

PROPAGATION: dict[str, Any] = {
    **{"name": "propagation", "steps": 20, "learning_rate": 0.05, "batch_size": 16},
    **{"neighbours": 5, "spread": 0.5, "folds": 2},
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a workspace in which a third of the training examples and all other examples have a known group."""
    dataset = grouped([[60, 36], [36, 60]])
    rows = np.arange(len(dataset))
    split = np.where(rows % 2 == 0, "train", np.where(rows % 4 == 1, "tune", "gate"))
    sex = np.where((split == "train") & (rows % 6 != 0), "?", np.array(["f", "m"])[dataset.group_indices])
    np.savez(tmp_path / "all.npz", x=dataset.images, y=dataset.labels, sex=sex, split=split)
    columns = {"image": "x", "label": "y", "groups": "sex", "split": "split", "unknown": "?"}
    params = small_params()
    params["data"] = {
        "source": {"name": "npz", "path": "all.npz", "columns": columns},
        "splits": {"train": "train", "tune": "tune", "gate": "gate"},
    }
    params["validate"]["minimum_per_cell"] = 2
    params["distill"] |= {"unknown": PROPAGATION, "shrinkage": {"prior": 3.0}}
    write_params(tmp_path, params)
    (tmp_path / "context.json").write_text("{}\n")
    return tmp_path


def card(root: Path, name: str) -> DatasetCard:
    return read_version(Workspace(root).set(name), made_by="")[0].card


def test_the_card_describes_how_unknown_groups_were_inferred(root: Path) -> None:
    commands = ("prepare", "validate", "data describe", "distill barycentric", "distill pooled")
    printed = ""
    for command in map(str.split, commands):
        ended = run(root, *command)
        assert ended.code == 0, ended.err
        printed += ended.out

    train, gate = (read_split(Workspace(root).split(name)) for name in ("train", "gate"))
    assert (train.groups, gate.groups) == (("f", "m", "?"), ("f", "m"))
    assert train.counts[:, 2].tolist() == [32, 32]
    outcome = json.loads(Workspace(root).validation.read_bytes())
    assert outcome["cells"]["train"]["0"] == {"f": 10, "m": 6, "?": 32}
    distilled_card = card(root, "barycentric")
    assert distilled_card.groups == ("f", "m")
    assert distilled_card.train_counts == ((30, 18), (18, 30))
    unknown, shrunk = distilled_card.group_labels["unknown"], distilled_card.group_labels["shrinkage"]
    assert (unknown["method"], unknown["share"], unknown["accuracy"]) == ("propagation", pytest.approx(64 / 96), 1.0)
    assert (unknown["measured_on"], unknown["majority_guess"]) == (32, pytest.approx(20 / 32))
    sentence = json.loads((Workspace(root).set("barycentric") / "provenance.json").read_bytes())["group_inference"]
    assert "100.0 % of 32 known examples are inferred correctly, and 62.5 % by the majority guess" in sentence
    assert f"groups: {sentence}" in printed
    assert unknown["cells"][1] == {
        **{"class": "0", "group": "m", "known": 6, "inferred": 12},
        **{"confidence": 1.0, "found": 1.0},
    }
    assert shrunk["prior"] == 3.0
    assert [(cell["class"], cell["group"], cell["own"]) for cell in shrunk["thin"]] == [
        ("0", "m", pytest.approx(18 / 21)),
        ("1", "f", pytest.approx(18 / 21)),
    ]
    assert card(root, "pooled").group_labels["shrinkage"] is None


def test_undeclared_unknown_groups_are_refused_before_distillation(root: Path) -> None:
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["distill"]["unknown"] = "refuse"
    write_params(root, params)
    assert run(root, "prepare").code == run(root, "validate").code == 0

    ended = run(root, "distill", "barycentric")

    assert ended.code == 2
    assert "64 of 96 examples in train have no known group" in ended.err
    assert len(ended.err.splitlines()) == 1
    assert not Workspace(root).set("barycentric").exists()

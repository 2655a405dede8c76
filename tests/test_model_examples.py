"""The scripts of `examples/models` and the code of docs/judging-models.md write files that the gate judges."""

import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from small_workspace import REPOSITORY, run
from test_adult import lines

EXAMPLES = REPOSITORY / "examples/models"
POLICY = str(EXAMPLES / "gate.yaml")
PAGE = (REPOSITORY / "docs/judging-models.md").read_text(encoding="utf-8")


def run_script(name: str, *words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [name, *words])
    threads = torch.get_num_threads()
    runpy.run_path(str(EXAMPLES / name))
    torch.set_num_threads(threads)


def test_the_scikit_learn_script_writes_predictions_of_adult(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "adult.data").write_text(lines(400, seed=0, dot=""))
    (tmp_path / "adult.test").write_text("|1x3 Cross validator\n" + lines(400, seed=1, dot="."))
    file = str(tmp_path / "p.parquet")
    run_script("sklearn_export.py", str(tmp_path), file, monkeypatch=monkeypatch)
    ended = run(tmp_path, "gate", "model", file, "--policy", POLICY, "--groups", "sex", "race")

    assert ended.err == ""
    assert "ok  accuracy: " in ended.out


def test_the_pytorch_script_writes_predictions_of_three_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = str(tmp_path / "p.parquet")
    run_script("torch_export.py", file, monkeypatch=monkeypatch)
    ended = run(tmp_path, "gate", "model", file, "--policy", POLICY)

    assert (ended.code, ended.err) == (3, "")  # ten classes in two groups are too many for 900 digits
    assert "3 of them were trained" in ended.out
    assert pq.read_table(file).num_rows == 3 * 900


def test_the_page_shows_the_export_of_the_scikit_learn_script() -> None:
    script = (EXAMPLES / "sklearn_export.py").read_text(encoding="utf-8")
    export = script.partition("one row for each example.\n")[2].replace("(output,", '("predictions.parquet",')

    assert export in PAGE


def test_the_pytorch_code_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = next(block.partition("```")[0] for block in PAGE.split("```python\n") if "torch.no_grad" in block)
    n = 400
    names: dict[str, Any] = {"torch": torch, "pa": pa, "pq": pq, "model": torch.nn.Identity(), "ids": np.arange(n)}
    labels = torch.arange(n) % 2
    names |= {"images": torch.nn.functional.one_hot(labels).float(), "labels": labels}
    names["groups"] = np.where(np.arange(n) < n // 2, "old", "young")
    exec(code, names)

    ended = run(tmp_path, "gate", "model", "predictions.parquet", "--policy", POLICY)
    assert (ended.code, ended.err) == (0, "")

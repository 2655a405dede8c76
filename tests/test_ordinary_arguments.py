"""Ordinary arguments of the Python API work, or end with an error of this package that says what to do."""

import io
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from small_workspace import small_params, write_params

import fair_distill
from fair_distill import GroupedDataset, distill
from fair_distill.data.sources import read_source
from fair_distill.errors import ConfigError, DataError, missing_library
from fair_distill.registry.client import until
from fair_distill.registry.store import locate

N = 24
IMAGES = np.random.default_rng(0).integers(0, 256, (N, 3, 8, 8)).astype(np.uint8)
LABELS, GROUPS = np.arange(N) % 2, np.arange(N) // 2 % 2
EXPECTED = GroupedDataset.from_arrays(IMAGES, LABELS, GROUPS)
SMALL: dict[str, Any] = {
    "ipc": 2,
    "steps": 1,
    "network": {"name": "convnet", "width": 8, "depth": 1},
    "real_per_class": 4,
}

KINDS: dict[str, Callable[[Any], Any]] = {
    "torch": torch.tensor,
    "torch with gradients": lambda values: torch.tensor(values, dtype=torch.float32, requires_grad=True),
    "lists": lambda values: values.tolist(),
    "pandas": pd.Series,
    "polars": pl.Series,
    "Arrow": pa.array,
}


@pytest.mark.parametrize("kind", ["torch", "lists", "pandas", "polars", "Arrow"])
def test_labels_and_groups_may_be_columns_of_other_libraries(kind: str):
    dataset = GroupedDataset.from_arrays(IMAGES, KINDS[kind](LABELS), KINDS[kind](GROUPS))

    assert np.array_equal(dataset.images, EXPECTED.images)
    assert dataset.counts.tolist() == EXPECTED.counts.tolist()


@pytest.mark.parametrize("kind", ["torch", "torch with gradients"])
def test_images_may_be_tensors(kind: str):
    dataset = GroupedDataset.from_arrays(KINDS[kind](IMAGES), torch.tensor(LABELS), torch.tensor(GROUPS))

    assert np.array_equal(dataset.images, EXPECTED.images)


@pytest.mark.parametrize("kind", [np.array, list, pd.Series, pl.Series, lambda names: np.array(names, object)])
def test_groups_and_classes_may_be_names(kind: Callable[[Any], Any]):
    names = ["mf"[group] for group in GROUPS]

    dataset = GroupedDataset.from_arrays(IMAGES, kind(["no" if label else "yes" for label in LABELS]), kind(names))
    declared = GroupedDataset.from_arrays(IMAGES, LABELS, kind(names), groups=["m", "f", "x"])

    assert (dataset.classes, dataset.groups) == (("no", "yes"), ("f", "m"))
    assert np.array_equal(dataset.images, GroupedDataset.from_arrays(IMAGES, 1 - LABELS, 1 - GROUPS).images)
    assert declared.groups == ("m", "f", "x")
    assert declared.counts.tolist() == [[*row, 0] for row in EXPECTED.counts.tolist()]
    with pytest.raises(DataError, match="the group 'f' is not one of `groups`, m, x"):
        GroupedDataset.from_arrays(IMAGES, LABELS, kind(names), groups=["m", "x"])


@pytest.mark.parametrize("labels", [[[1], [1, 2]], LABELS / 2, [None] * N, "y", object()])
def test_labels_that_are_no_column_are_refused(labels: Any):
    with pytest.raises(DataError):
        GroupedDataset.from_arrays(IMAGES, labels, GROUPS)


def test_a_pixel_that_is_not_a_number_is_refused_with_its_example():
    images = IMAGES.astype(np.float32) / 255
    images[3, 0, 0, 0] = np.nan

    with pytest.raises(DataError, match=r"example [0-9]+ of class '1' and group '1', .* NaN or infinite"):
        distill(GroupedDataset.from_arrays(images, LABELS, GROUPS), **SMALL)


@pytest.mark.parametrize("device", ["cuda:77", "tpu", "", "cuda" if not torch.cuda.is_available() else "cuda:78"])
def test_a_device_that_is_absent_is_refused(device: str):
    with pytest.raises(ConfigError, match=r"^device is .*cannot be used here.*Use 'cpu'$"):
        distill(EXPECTED, device=device, **SMALL)


def test_a_registry_may_be_a_path(tmp_path: Path):
    assert locate(tmp_path) == str(tmp_path)
    with pytest.raises(ConfigError, match=f"{tmp_path}"):
        fair_distill.load("digits@v1", registry=tmp_path / "registry")


class Entry:
    time, name, number = "2026-03-03T12:00:00Z", "digits", 1


@pytest.mark.parametrize(
    ("as_of", "exists"),
    [
        (date(2026, 3, 3), True),
        (date(2026, 3, 2), False),
        (datetime(2026, 3, 3, 12), True),
        (datetime(2026, 3, 3, 11, 59, 59), False),
        (datetime(2026, 3, 3, 12, tzinfo=UTC), True),
        (datetime(2026, 3, 3, 13, tzinfo=timezone(timedelta(hours=2))), False),
        (datetime(2026, 3, 3, 14, tzinfo=timezone(timedelta(hours=2))), True),
        ("2026-03-03", True),
    ],
)
def test_a_moment_may_be_an_object(as_of: Any, exists: bool):
    entries: Any = (Entry(),)

    if exists:
        assert until(entries, as_of) == entries
    else:
        with pytest.raises(ConfigError, match="nothing was published as 'digits' by 2026"):
            until(entries, as_of)


def test_a_function_without_its_library_names_the_extra(tmp_path: Path):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import fair_distill, fair_distill.errors\n"
        "for name in ('train', 'distill'):\n"
        "    try: getattr(fair_distill, name)\n"
        "    except fair_distill.errors.ConfigError as error: print(error)\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == [
        f"fair_distill.{name} needs torch, which is not installed; run: pip install 'fair-distill[distill]'"
        for name in ("train", "distill")
    ]
    write_params(tmp_path, small_params())
    words = ["--workspace", str(tmp_path), "stage", "distill", "barycentric"]
    command = f"import sys; sys.modules['torch'] = None; from fair_distill.cli import main; sys.exit(main({words}))"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "fair-distill: this command needs torch, which is not installed; run: pip install 'fair-distill[distill]'\n"
    )
    other = ModuleNotFoundError("No module named 'mine'", name="mine")
    assert missing_library("x", other) is other


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0), (2, 1, 0)])
def test_tensors_of_arrow_are_read_in_the_order_of_their_axes(order: tuple[int, int, int], tmp_path: Path):
    images = np.random.default_rng(0).integers(0, 256, (N, 3, 9, 8)).astype(np.uint8)
    stored = np.empty((N, *(images.shape[1 + order.index(axis)] for axis in range(3))), np.uint8)
    stored[:] = images.transpose(0, *(1 + order.index(axis) for axis in range(3)))
    kind = pa.fixed_shape_tensor(pa.uint8(), stored.shape[1:], permutation=list(order))
    storage = pa.FixedSizeListArray.from_arrays(pa.array(stored.ravel()), stored[0].size)
    x = pa.ExtensionArray.from_storage(kind, storage)
    table = pa.table({"x": x, "y": ["pn"[i % 2] for i in range(N)], "g": ["fm"[i // 2 % 2] for i in range(N)]})
    pa.parquet.write_table(table, tmp_path / "p.parquet", row_group_size=7)
    columns = {"image": "x", "label": "y", "groups": "g"}

    assert np.array_equal(read_source("table", {"path": "p.parquet", "columns": columns}, root=tmp_path).images, images)


def test_a_terminal_that_cannot_show_a_name_shows_its_code_points(monkeypatch: pytest.MonkeyPatch):
    from fair_distill.cli import main

    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stderr", terminal)

    assert main(["--workspace", "Zürich", "prepare"]) == 2
    terminal.flush()
    assert b"Z\\xfcrich" in terminal.buffer.getvalue()  # type: ignore[attr-defined]

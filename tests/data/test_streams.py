"""However many bytes are read at a time, the same source gives the same files."""

import hashlib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_files import COLUMNS, FORMS, SPLITS, N, facts, images, written

from fair_distill.config import Data
from fair_distill.data.files.csv_text import Csv
from fair_distill.data.files.input_file import InputFile
from fair_distill.data.files.tables import table_batches
from fair_distill.data.grouped_dataset import Array, GroupedDataset, placeholder_images
from fair_distill.data.image_stream import ImageStream, StreamPart
from fair_distill.data.prepare import Preparation, plan_splits
from fair_distill.data.sources import read_source
from fair_distill.data.split_file import read_split, write_split, write_split_without_images
from fair_distill.errors import DataError, ShapeError
from fair_distill.workspace import SPLITS as NAMES

PAINTED = {
    "colours": {"red": [255, 0, 0], "cyan": [0, 255, 255], "grey": "grey"},
    "own_share": 0.8,
    "paint": "stroke",
}


def planned(root: Path, source: dict[str, Any], **data: Any) -> Preparation:
    config = Data.model_validate({"source": source, "splits": SPLITS} | data)
    read = read_source(config.source.name, config.source.options, root=root)
    return plan_splits(read, config, dealing=np.random.default_rng(0), colouring=np.random.default_rng(1))


def files(root: Path) -> dict[str, Path]:
    return {name: root / f"{name}.arrow" for name in NAMES}


def digests(paths: dict[str, Path]) -> dict[str, str]:
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in paths.items()}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("painted", [False, True])
def test_files_are_those_of_the_same_splits_in_memory_whatever_the_batch(
    form: str, painted: bool, tmp_path: Path
) -> None:
    source = written(form, tmp_path)
    if painted:
        source["columns"] = {key: item for key, item in source.get("columns", {}).items() if key != "groups"}
        if form == "idx":
            source = {key: item for key, item in source.items() if key not in {"columns", "attributes"}}
    result = planned(tmp_path, source, **(PAINTED if painted else {}))
    whole = files(tmp_path / "whole")
    for name, split in result.in_memory().items():
        write_split(split, whole[name])

    for size in (1, 200, 10**6):
        streamed = files(tmp_path / str(size))
        result.write(streamed, size=size)
        assert digests(streamed) == digests(whole), size


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    batch=st.integers(1, 2000),
    rows_per_group=st.integers(1, 40),
)
def test_neither_batches_nor_files_nor_row_groups_move_a_byte(
    sizes: list[int], batch: int, rows_per_group: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("cut")
    table = pa.table(facts() | {"x": pa.FixedShapeTensorArray.from_numpy_ndarray(images())})
    (root / "parts").mkdir()
    cuts = np.unique([0, *np.minimum(np.cumsum(sizes), N), N])
    for i, (start, stop) in enumerate(pairwise(cuts)):
        part = table.slice(start, stop - start)
        pa.parquet.write_table(part, root / f"parts/{i}.parquet", row_group_size=rows_per_group)
    pa.parquet.write_table(table, root / "all.parquet")
    source = {"name": "table", "columns": COLUMNS | {"image": "x"}}

    planned(root, source | {"path": "parts"}).write(files(root / "a"), size=batch)
    planned(root, source | {"path": "all.parquet"}).write(files(root / "b"))

    assert digests(files(root / "a")) == digests(files(root / "b"))


def test_progress_is_told_up_to_the_last_image(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []

    planned(tmp_path, written("npz", tmp_path)).write(
        files(tmp_path), size=720, progress=lambda done, of: calls.append((done, of))
    )

    assert calls == [(done, N) for done in range(10, N + 1, 10)]


def test_what_fails_half_way_leaves_no_file_and_keeps_the_old_ones(tmp_path: Path) -> None:
    result = planned(tmp_path, written("npz", tmp_path))

    def broken(size: int) -> Any:
        yield images()[:20]
        raise DataError("half way")

    half = replace(result, images=ImageStream((StreamPart("x", N, broken),)))
    with pytest.raises(DataError, match="half way"):
        half.write(files(tmp_path / "new"))
    assert not (tmp_path / "new").exists()

    result.write(files(tmp_path / "old"))
    before = digests(files(tmp_path / "old"))
    with pytest.raises(DataError, match="half way"):
        half.write(files(tmp_path / "old"))
    assert digests(files(tmp_path / "old")) == before
    assert len(list((tmp_path / "old").iterdir())) == 3


def test_a_part_that_has_other_images_than_it_said_is_refused() -> None:
    few = ImageStream((StreamPart("few", 3, lambda size: iter([images()[:2]])),))
    with pytest.raises(DataError, match="few had 3 images when they were counted, and 2 when"):
        np.asarray(few)

    mixed = ImageStream(
        (
            StreamPart("a", 2, lambda size: iter([images()[:2]])),
            StreamPart("b", 2, lambda size: iter([images()[:2, :, :8]])),
        )
    )
    with pytest.raises(ShapeError, match=r"b: images have the shape \(1, 8, 8\), the images before them \(1, 9, 8\)"):
        np.asarray(mixed)


def grouped(pixels: Array) -> GroupedDataset:
    return GroupedDataset.from_arrays(pixels, np.arange(12) % 3, np.arange(12) % 2, pairs=np.arange(12) + 5)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_split_that_is_filled_is_the_one_that_is_written(dtype: Any, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(1, 255, (12, 3, 5, 7)).astype(dtype)
    whole, hollow = grouped(pixels), grouped(placeholder_images(pixels.shape, dtype))
    write_split(whole, tmp_path / "whole")

    with write_split_without_images(hollow, tmp_path / "filled") as room:
        assert not room.any()
        assert not (tmp_path / "filled").exists()
        room[::-1] = whole.images[::-1]

    assert (tmp_path / "filled").read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_stand_in_takes_no_memory_and_stays_one() -> None:
    result = grouped(placeholder_images((12, 3, 2000, 2000), np.uint8))

    assert result.take(np.arange(5)).images.shape == (5, 3, 2000, 2000)
    assert not any(result.take(np.arange(5)).images.strides)
    assert not any(result.of_known_groups().images.strides)


def test_clusters_ids_and_weights_go_with_their_examples(tmp_path: Path) -> None:
    about = facts() | {
        "who": [f"person {i % 7}" for i in range(N)],
        "name": [f"example {i}" for i in range(N)],
        "times": [i / 4 for i in range(N)],
    }
    table = pa.table(about | {"x": pa.FixedShapeTensorArray.from_numpy_ndarray(images())})
    pa.parquet.write_table(table, tmp_path / "all.parquet")
    columns = COLUMNS | {"image": "x", "cluster": "who", "example_id": "name", "weight": "times"}

    planned(tmp_path, {"name": "table", "path": "all.parquet", "columns": columns}).write(files(tmp_path))

    seen_ids: set[str] = set()
    for path in files(tmp_path).values():
        split = read_split(path)
        assert split.ids is not None
        assert split.weights is not None
        names = split.ids.to_pylist()
        rows = np.array([int(name.split()[1]) for name in names])
        assert not seen_ids & set(names)
        seen_ids |= set(names)
        assert np.array_equal(split.images, images()[rows])
        assert np.array_equal(split.clusters, rows % 7)
        assert np.array_equal(split.weights, (rows / 4).astype(np.float32))
        some = split.take(np.array([2, 0]))
        assert some.ids is not None
        assert set(some.ids.to_pylist()) == {names[0], names[2]}
    assert seen_ids == {f"example {i}" for i in range(N)}


def test_without_clusters_pairs_are_the_clusters_and_the_file_has_no_more_columns(tmp_path: Path) -> None:
    write_split(grouped(np.ones((12, 1, 8, 8), np.uint8)), tmp_path / "split")

    split = read_split(tmp_path / "split")

    assert np.array_equal(split.clusters, split.pairs)
    assert (split.clustered, split.ids, split.weights, split.missing_cells) == (None, None, None, {})
    columns = pa.ipc.open_file(pa.memory_map(str(tmp_path / "split"))).schema.names
    assert columns == ["image", "label", "group", "pair"]


@pytest.mark.parametrize(
    ("weight", "message"), [(-1.0, "-1.0 in row 3"), (float("nan"), "nan in row 3"), (None, "None")]
)
def test_a_weight_is_a_finite_number_from_0(weight: float | None, message: str, tmp_path: Path) -> None:
    weights = [1.0, 0.0, weight, *[2.0] * (N - 3)]
    table = pa.table(facts() | {"x": pa.FixedShapeTensorArray.from_numpy_ndarray(images()), "w": weights})
    pa.parquet.write_table(table, tmp_path / "all.parquet")

    with pytest.raises(DataError, match=message):
        planned(tmp_path, {"name": "table", "path": "all.parquet", "columns": COLUMNS | {"image": "x", "weight": "w"}})


def test_lines_that_are_passed_over_do_not_cut_a_table_into_small_batches(tmp_path: Path) -> None:
    lines = ["a,b", *(f"{i},{i % 7}" if i % 3 else f"# {i}" for i in range(5000))]
    (tmp_path / "a.csv").write_text("\n".join(lines))

    batches = list(table_batches(InputFile.local(tmp_path / "a.csv"), ["a"], 2**20, csv=Csv(comment="#")))

    assert len(batches) == 1
    assert batches[0].column("a").to_pylist() == [str(i) for i in range(5000) if i % 3]

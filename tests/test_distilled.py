"""A distilled set and its card are read back unchanged, or refused."""

import json
from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_rows import dataset

from fair_distill.card import DatasetCard, TrainingRecipe
from fair_distill.distilled_set import DistilledSet
from fair_distill.errors import DataError, ShapeError
from fair_distill.files import to_json

CARD = DatasetCard(
    dataset="digits",
    name="barycentric",
    kind="distilled",
    classes=("no", "yes"),
    groups=("red", "cyan"),
    shape=(3, 4, 4),
    examples=6,
    train_counts=((9, 1), (1, 9)),
    recipe=TrainingRecipe(
        network={"name": "convnet", "options": {"width": 8, "depth": 2}},
        steps=20,
        batch_size=32,
        learning_rate=0.01,
        momentum=0.9,
        weight_decay=0.0005,
        augment=("crop",),
        formation=1,
        mean=(0.1, 0.2, 0.3),
        std=(1.0, 1.0, 1.0),
    ),
    diagnostics={"first_loss": 1.5},
)
IMAGES = np.random.default_rng(0).normal(size=(6, 3, 4, 4)).astype(np.float32)  # includes values outside [0, 1]
LABELS = np.array([0, 0, 0, 1, 1, 1])
SET = DistilledSet(IMAGES, LABELS, CARD)
KEY = b"fair_distill"


def test_a_set_reads_back_unchanged() -> None:
    read = DistilledSet.from_parquet(SET.to_parquet())

    assert np.array_equal(read.images, IMAGES)
    assert np.array_equal(read.labels, LABELS)
    assert (read.images.dtype, read.labels.dtype) == (np.float32, np.int64)
    assert read.card == CARD
    assert len(read) == 6


def test_equal_sets_give_equal_bytes() -> None:
    assert SET.to_parquet() == DistilledSet.from_parquet(SET.to_parquet()).to_parquet()
    assert SET.to_parquet() == DistilledSet(np.asfortranarray(IMAGES), LABELS.astype(np.int32), CARD).to_parquet()
    assert SET.to_parquet() != replace(SET, images=IMAGES + 1).to_parquet()
    assert SET.to_parquet() != replace(SET, card=replace(CARD, name="pooled")).to_parquet()


def test_a_card_reads_back_from_json_types() -> None:
    assert DatasetCard.from_dict(json.loads(to_json(CARD.to_dict()))) == CARD


@pytest.mark.parametrize("key", ["dataset", "shape", "recipe", "train_counts", "diagnostics"])
def test_a_card_with_a_missing_key_is_refused(key: str) -> None:
    value = CARD.to_dict()
    del value[key]

    with pytest.raises(DataError, match=f"not a dataset card: .*{key}"):
        DatasetCard.from_dict(value)


def test_a_recipe_with_an_unknown_key_is_refused() -> None:
    value = CARD.to_dict()
    value["recipe"]["epochs"] = 3

    with pytest.raises(DataError, match=r"not a dataset card: .*epochs"):
        DatasetCard.from_dict(value)


def test_a_card_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        CARD.name = "another"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"images": IMAGES[:5]}, ShapeError, r"6 images of shape \(3, 4, 4\); got float32 \(5, 3, 4, 4\)"),
        ({"images": IMAGES.astype(float)}, ShapeError, "got float64"),
        ({"images": IMAGES[:, :1]}, ShapeError, r"got float32 \(6, 1, 4, 4\)"),
        ({"labels": LABELS[:5]}, ShapeError, "one label for each of"),
        ({"labels": LABELS[:, None]}, ShapeError, "one label for each of"),
        ({"labels": LABELS + 1}, DataError, "labels outside the 2 classes"),
        ({"labels": LABELS - 1}, DataError, "labels outside the 2 classes"),
        ({"images": np.where(IMAGES > 2, np.float32(np.nan), IMAGES)}, DataError, "not finite"),
        ({"images": np.where(IMAGES > 2, np.float32(np.inf), IMAGES)}, DataError, "not finite"),
    ],
)
def test_data_unlike_the_card_are_refused(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        replace(SET, **changes)


def rewritten(change: Any) -> bytes:
    """Return the file of the set after a change to its table."""
    sink = pa.BufferOutputStream()
    pq.write_table(change(pq.read_table(pa.BufferReader(SET.to_parquet()))), sink)
    return bytes(sink.getvalue())


def without(name: str) -> Any:
    return lambda table: table.drop_columns([name])


def carded(value: object) -> Any:
    return lambda table: table.replace_schema_metadata({KEY: to_json(value)})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PAR1",
        b"{}",
        rewritten(without("label")),
        rewritten(without("image")),
        rewritten(lambda table: table.replace_schema_metadata({})),
        rewritten(carded({})),
        rewritten(carded([])),
        rewritten(carded(CARD.to_dict() | {"examples": 5})),
        rewritten(carded(CARD.to_dict() | {"examples": "six"})),
        rewritten(carded(CARD.to_dict() | {"classes": ["no"]})),
        rewritten(lambda table: table.slice(0, 3)),
        rewritten(lambda table: table.set_column(0, "image", pa.array([1.0] * 6))),
        rewritten(lambda table: table.set_column(1, "label", pa.array(["a"] * 6))),
        rewritten(lambda table: table.set_column(1, "label", pa.array([None, *[0] * 5], pa.int32()))),
    ],
)
def test_a_file_that_is_not_a_set_is_refused_in_one_line(content: bytes) -> None:
    with pytest.raises(DataError, match=r"^[^\n]+$"):
        DistilledSet.from_parquet(content, name="the file")


def test_every_truncated_file_is_refused() -> None:
    content = SET.to_parquet()

    for size in range(0, len(content), 97):
        with pytest.raises(DataError, match="the file is not a distilled set"):
            DistilledSet.from_parquet(content[:size], name="the file")


ROWS = dataset(16)
assert ROWS.schema is not None
ROW_CARD = replace(CARD, schema=ROWS.schema, shape=ROWS.shape, examples=16)
ROW_SET = DistilledSet(ROWS.images, ROWS.labels, ROW_CARD)


def test_rows_are_stored_as_plain_columns() -> None:
    frame = pq.read_table(pa.BufferReader(ROW_SET.to_parquet())).to_pandas()

    assert list(frame.columns) == ["age", "height", "work", "colour", "label"]
    assert [str(frame[name].dtype) for name in ("age", "height", "label")] == ["int64", "float32", "int32"]
    assert all(frame[name].tolist() == values.tolist() for name, values in ROW_SET.columns.items())
    assert frame["label"].tolist() == ROWS.labels.tolist()
    assert set(frame.loc[frame["label"] == 1, "work"]) == {"office"}


def test_rows_read_back_unchanged() -> None:
    read = DistilledSet.from_parquet(ROW_SET.to_parquet())

    assert np.array_equal(read.images, ROWS.images)
    assert read.card == ROW_CARD
    assert read.to_parquet() == ROW_SET.to_parquet()


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("age", pa.array([200] * 16), "the file: row 1 is invalid: column 'age' is 200.0"),
        ("age", pa.array([30.5] * 16), "the file is not a distilled set: it has a column 'age' of double"),
        ("work", pa.array(["mine"] * 16), "the file: column 'work' is 'mine' in row 1, but the training data"),
        ("work", pa.array([1] * 16), "the file is not a distilled set: it has a column 'work' of int64"),
        ("height", pa.array(["tall"] * 16), "the file is not a distilled set: it has a column 'height' of string"),
    ],
)
def test_rows_that_violate_the_schema_are_refused(name: str, values: pa.Array, message: str) -> None:
    table = pq.read_table(pa.BufferReader(ROW_SET.to_parquet()))
    changed = table.set_column(table.column_names.index(name), name, values)
    sink = pa.BufferOutputStream()
    pq.write_table(changed.replace_schema_metadata(table.schema.metadata), sink)

    with pytest.raises(DataError, match=message):
        DistilledSet.from_parquet(bytes(sink.getvalue()), name="the file")


def test_columns_of_images_and_rows_without_a_schema_are_refused() -> None:
    with pytest.raises(DataError, match="'barycentric' is a set of images and has no columns"):
        _ = SET.columns
    table = pq.read_table(pa.BufferReader(ROW_SET.to_parquet())).drop_columns(["age"])
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    with pytest.raises(DataError, match="the file: the table has no column 'age'"):
        DistilledSet.from_parquet(bytes(sink.getvalue()), name="the file")


def test_a_card_of_rows_reads_back_from_json_types() -> None:
    assert DatasetCard.from_dict(json.loads(to_json(ROW_CARD.to_dict()))) == ROW_CARD
    assert "schema" not in CARD.to_dict()  # the version of a set of images does not depend on the support for rows

    broken = ROW_CARD.to_dict()
    broken["schema"] = {"columns": [{"kind": "date", "name": "born"}]}
    with pytest.raises(DataError, match=r"not a dataset card: .*date"):
        DatasetCard.from_dict(broken)

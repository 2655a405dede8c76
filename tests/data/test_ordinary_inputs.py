"""Inputs as common tools write them are read without options, or the message has the option."""

import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from small_files import CLASSES, COLUMNS, N, facts, images, labels, png, written
from small_workspace import run, small_params, write_params

from fair_distill.config import Data, checked
from fair_distill.config.yaml_dialect import parse_yaml
from fair_distill.data.column_builders import CategoryColumn
from fair_distill.data.columns import SourceData, index_classes
from fair_distill.data.sources import read_source
from fair_distill.errors import ConfigError, DataError

HF_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def read(root: Path, source: dict[str, Any]) -> SourceData:
    return read_source(source["name"], {key: value for key, value in source.items() if key != "name"}, root=root)


def hf_table(cells: list[dict[str, Any] | None]) -> pa.Table:
    return pa.table(facts() | {"image": pa.array(cells, HF_IMAGE)})


def test_an_image_column_of_hugging_face_is_read(tmp_path: Path) -> None:
    table = hf_table([{"bytes": png(image), "path": None} for image in images()])
    pa.parquet.write_table(table, tmp_path / "p.parquet")

    source = read(tmp_path, {"name": "table", "path": "p.parquet", "columns": COLUMNS | {"image": "image"}})

    assert np.array_equal(source.images, images())


def test_an_image_without_bytes_is_read_from_its_path_inside_the_folder(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for i, image in enumerate(images()):
        (tmp_path / f"d/{i}.png").write_bytes(png(image))
    cells: list[dict[str, Any] | None] = [{"bytes": None, "path": f"{i}.png"} for i in range(N)]
    source = {"name": "table", "path": "d/p.parquet", "columns": COLUMNS | {"image": "image"}}
    pa.parquet.write_table(hf_table(cells), tmp_path / "d/p.parquet")

    assert np.array_equal(read(tmp_path, source).images, images())
    (tmp_path / "secret.png").write_bytes(png(images()[0]))
    for cell, message in (
        ({"bytes": None, "path": "../secret.png"}, "'../secret.png' is outside"),
        ({"bytes": None, "path": None}, "image of row 3 has no bytes"),
        (None, "image is missing in row 3"),
    ):
        pa.parquet.write_table(hf_table([*cells[:2], cell, *cells[3:]]), tmp_path / "d/p.parquet")
        with pytest.raises(DataError, match=message):
            read(tmp_path, source).in_memory()


def test_a_folder_of_save_to_disk_is_read_without_its_caches(tmp_path: Path) -> None:
    """The layout of `datasets.Dataset.save_to_disk`: shards in Arrow's stream format, and files about them."""
    table = hf_table([{"bytes": png(image), "path": None} for image in images()])
    (tmp_path / "d").mkdir()
    for name, part in (
        ("data-00000-of-00002.arrow", table.slice(0, 15)),
        ("data-00001-of-00002.arrow", table.slice(15)),
        ("cache-1b2c.arrow", table),
    ):
        with pa.ipc.new_stream(tmp_path / "d" / name, table.schema) as writer:
            writer.write_table(part, max_chunksize=7)
    for name in ("state.json", "dataset_info.json"):
        (tmp_path / "d" / name).write_text("{}")

    source = read(tmp_path, {"name": "table", "path": "d", "columns": COLUMNS | {"image": "image"}})

    assert np.array_equal(source.images, images())
    assert source.not_read == (
        "d/cache-1b2c.arrow (a cache of Hugging Face datasets)",
        "d/dataset_info.json (not a table)",
        "d/state.json (not a table)",
    )


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
@pytest.mark.parametrize("url", [False, True])
def test_a_name_with_an_accent_is_found_however_it_is_composed(
    forms: tuple[str, str], url: bool, tmp_path: Path
) -> None:
    (tmp_path / "d").mkdir()
    rows = ["file,y,g"]
    for i in range(8):
        name = f"é{i}.png"
        (tmp_path / "d" / unicodedata.normalize(forms[0], name)).write_bytes(png(np.full((1, 8, 8), i, np.uint8)))
        rows.append(f"{unicodedata.normalize(forms[1], name)},{'pn'[i % 2]},{'fm'[i // 2 % 2]}")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    path = (tmp_path / "d").as_uri() if url else "d"
    columns = {"image": "file", "label": "y", "groups": "g"}

    source = read(tmp_path, {"name": "image_folder", "path": path, "metadata": "t.csv", "columns": columns})

    assert np.asarray(source.images)[:, 0, 0, 0].tolist() == list(range(8))


CACHED = f"files/md5/ab/{'c' * 30}"


def linked(root: Path, target: Path) -> dict[str, Any]:
    """An image folder whose first image is a link to a file outside."""
    source = written("folder", root)
    target.parent.mkdir(parents=True, exist_ok=True)
    (root / "pictures/0.png").rename(target)
    (root / "pictures/0.png").symlink_to(target)
    return source


@pytest.mark.parametrize("config", ["config", "config.local"])
def test_a_link_into_the_dvc_cache_is_followed(config: str, tmp_path: Path) -> None:
    root, cache = tmp_path / "repository/faces", tmp_path / "shared"
    (root.parent / ".dvc").mkdir(parents=True)
    root.mkdir()
    (root.parent / ".dvc" / config).write_text(f"[cache]\n    dir = {cache}\n    type = symlink\n")

    assert np.array_equal(read(root, linked(root, cache / CACHED)).images, images())


@pytest.mark.parametrize(
    ("target", "settings"),
    [
        (CACHED, None),
        ("secret.png", "[cache]\n    dir = ../../shared\n"),
        (f"deep/{CACHED}", "[cache]\n    dir = ../../shared\n"),
        (CACHED, "[cache]\n    dir = ../../other\n"),
        (CACHED, "[cache\n"),
    ],
    ids=["no DVC", "another layout", "another folder", "another cache", "invalid"],
)
def test_another_link_outside_is_refused(target: str, settings: str | None, tmp_path: Path) -> None:
    root = tmp_path / "faces"
    root.mkdir()
    if settings is not None:
        (root / ".dvc").mkdir()
        (root / ".dvc/config").write_text(settings)
    source = linked(root, tmp_path / "shared" / target)

    with pytest.raises(DataError, match=r"'0\.png' is outside"):
        read(root, source).in_memory()


def test_a_name_that_leaves_the_folder_does_not_reach_the_cache(tmp_path: Path) -> None:
    """Only links lead into the cache, so that a table alone cannot name its files."""
    (tmp_path / ".dvc/cache" / CACHED).parent.mkdir(parents=True)
    (tmp_path / ".dvc/cache" / CACHED).write_bytes(png(images()[0]))
    source = written("folder", tmp_path)
    text = (tmp_path / "about.csv").read_text().replace("0.png", f"../.dvc/cache/{CACHED}", 1)
    (tmp_path / "about.csv").write_text(text)

    with pytest.raises(DataError, match="is outside"):
        read(tmp_path, source).in_memory()


@pytest.mark.parametrize(
    ("classes", "values"),
    [
        ("[0, 1]", ("0", "1")),
        ("[no, yes]", ("no", "yes")),
        ("[-1, 1]", ("-1", "1")),
        ('["0", "1"]', ("0", "1")),
        ("[0, 1]", ("0.0", "1.0")),
    ],
)
def test_classes_are_written_as_people_write_them(classes: str, values: tuple[str, str], tmp_path: Path) -> None:
    source = written("folder", tmp_path) | {"classes": parse_yaml(f"classes: {classes}")["classes"]}
    text = (tmp_path / "about.csv").read_text()
    for name, value in zip(CLASSES, values, strict=True):
        text = text.replace(name, value)
    (tmp_path / "about.csv").write_text(text)

    result = read(tmp_path, source)

    assert [result.classes[label].removesuffix(".0") for label in result.labels] == [
        values[label].removesuffix(".0") for label in labels()
    ]


@pytest.mark.parametrize(
    ("value", "kind"), [("true", "bool True"), ("1.0", "float 1.0"), ("2026-01-01", "date 2026-01-01")]
)
def test_a_class_that_yaml_reads_as_something_else_is_refused_with_the_remedy(
    value: str, kind: str, tmp_path: Path
) -> None:
    classes = parse_yaml(f"classes: [a, {value}]")["classes"]

    with pytest.raises(ConfigError, match=rf"classes\.1: YAML reads it as the {kind}; put the text in quotes"):
        read(tmp_path, written("folder", tmp_path) | {"classes": classes})


@pytest.mark.parametrize(
    "change",
    [
        {"columns": {"label": "y", "groups": "g", "numeric": ["a"], "unknown": 9}},
        {"rows": {"missing": 0}, "csv": {"missing": [-1]}},
    ],
)
def test_integers_are_text_wherever_params_name_values_of_data(change: dict[str, Any], tmp_path: Path) -> None:
    rows = [f"{i},{i % 2},{(1, 2, 9)[i % 3]},{(-1, 5)[i % 2]}" for i in range(12)]
    (tmp_path / "p.csv").write_text("\n".join(["a,y,g,c", *rows]))
    columns = {"label": "y", "groups": "g", "numeric": ["a"], "categorical": ["c"]}

    source = read(tmp_path, {"name": "table", "path": "p.csv", "columns": columns} | change)

    assert len(source) == 12
    assert (None in {value for values in source.attributes for value in values}) == ("columns" in change)


def test_integers_name_groups_to_merge_and_declared_names() -> None:
    source = {"name": "table", "path": "p.csv", "columns": {"label": "y", "groups": "g", "numeric": ["a"]}}
    data = checked(
        Data,
        {"source": source, "splits": {"train": 0.5, "tune": 0.25, "gate": 0.25}, "groups": {"merge": {1: [2, 3]}}},
        name="params.yaml",
    )

    assert data.groups is not None
    assert data.groups.becomes("g") == {"2": "1", "3": "1"}


@pytest.mark.parametrize(
    "mark", [lambda text: "\ufeff" + text, lambda text: "\n" + text, lambda text: text.replace(",", ";")]
)
def test_the_table_of_an_image_folder_is_read_as_spreadsheets_save_it(
    mark: Callable[[str], str], tmp_path: Path
) -> None:
    source = written("folder", tmp_path)
    text = mark((tmp_path / "about.csv").read_text())
    (tmp_path / "about.csv").write_text(text)
    options = {"csv": {"delimiter": ";"}} if ";" in text else {}

    assert np.array_equal(read(tmp_path, source | options).images, images())


def test_prepare_names_what_it_read_and_what_it_did_not(tmp_path: Path) -> None:
    source = written("PNG in a folder of Parquet", tmp_path)
    (tmp_path / "parts/README.md").write_text("-")
    params = small_params()
    params["data"] = {"source": source, "splits": {"train": 0.5, "tune": 0.25, "gate": 0.25}}
    write_params(tmp_path, params)

    for command in (["prepare"], ["data", "describe"]):
        out = run(tmp_path, *command).out
        assert f"read 40 examples: {tmp_path}/parts/a.parquet (15), {tmp_path}/parts/b.parquet (25)\n" in out
        assert "not read: parts/README.md (not a table)\n" in out


def test_images_that_no_table_lists_are_named(tmp_path: Path) -> None:
    source = written("folder", tmp_path)
    text = (tmp_path / "about.csv").read_text().splitlines()
    (tmp_path / "about.csv").write_text("\n".join(line for line in text if "deep/1.png" not in line))

    result = read(tmp_path, source)

    assert len(result) == N - 1
    assert result.not_read == (f"1 file in {tmp_path}/pictures, such as deep/1.png (not in the table)",)
    (tmp_path / "all").mkdir()
    complete = written("folder", tmp_path / "all")
    (tmp_path / "all/about.csv").rename(tmp_path / "all/pictures/about.csv")
    assert read(tmp_path / "all", complete | {"metadata": "pictures/about.csv"}).not_read == ()


@pytest.mark.parametrize("column", ["cluster", "pair"])
def test_fewer_clusters_than_splits_are_refused_by_their_name(column: str, tmp_path: Path) -> None:
    source = written("folder", tmp_path)
    source["columns"] = source["columns"] | {column: "kind"}
    params = small_params() | {"data": {"source": source, "splits": {"train": 0.5, "tune": 0.25, "gate": 0.25}}}
    write_params(tmp_path, params)

    ended = run(tmp_path, "prepare")

    assert (ended.code, len(ended.err.splitlines())) == (2, 1)
    assert f"the source has 2 {column}s (data.source.columns.{column})" in ended.err


@pytest.mark.parametrize(("names", "values"), [(["1", "2", "3"], ["0", "1", "2"]), (["10", "20"], ["0", "1"])])
def test_integers_are_no_indices_of_classes_that_are_integers_themselves(names: list[str], values: list[str]) -> None:
    column = CategoryColumn(codes=np.arange(len(values), dtype=np.int32), values=tuple(values))

    with pytest.raises(DataError, match="label '0' of example 0 is not one of"):
        index_classes(column, names)


def test_integers_are_names_or_else_indices_of_classes_with_other_names() -> None:
    column = CategoryColumn(codes=np.arange(2, dtype=np.int32), values=("1", "0"))

    assert index_classes(column, ["0", "1"])[0].tolist() == [1, 0]
    assert index_classes(column, ["cat", "dog"])[0].tolist() == [1, 0]

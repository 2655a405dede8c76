"""The same images come out of every source, and what a source does not have is refused."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from small_files import CLASSES, COLUMNS, FORMS, GROUPS, N, facts, groups, images, labels, png, written

from fair_distill.data.columns import SourceData
from fair_distill.data.sources import SOURCES, read_source
from fair_distill.errors import ConfigError, DataError, FairDistillError, ShapeError


def read(root: Path, source: dict[str, Any]) -> SourceData:
    return read_source(source["name"], {key: value for key, value in source.items() if key != "name"}, root=root)


def digits(size: int) -> SourceData:
    return read(Path(), {"name": "digits", "size": size})


def test_digits_are_all_of_them_at_the_size_asked_for() -> None:
    result = digits(size=16)

    assert result.images.shape == (1797, 1, 16, 16)
    assert result.images.dtype == np.uint8
    assert np.bincount(result.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert result.classes == tuple("0123456789")


def test_digits_at_their_own_size_are_what_scikit_learn_bundles() -> None:
    from sklearn.datasets import load_digits

    assert np.array_equal(digits(size=8).images[:, 0], np.round(load_digits().images * 255 / 16))


def test_reading_twice_gives_the_same() -> None:
    assert np.array_equal(digits(size=16).images, digits(size=16).images)


def test_there_is_a_form_for_every_source_that_reads_files() -> None:
    """A source that reads files has an option `path` or `images` that names them."""
    readers = {
        name for name, source in SOURCES.items() if {"path", "images"} & inspect.signature(source).parameters.keys()
    }

    assert readers == {form.source for form in FORMS.values()}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_same_images_reads_the_same(form: str, tmp_path: Path) -> None:
    result = read(tmp_path, written(form, tmp_path))

    assert np.array_equal(result.images, images())
    assert result.images.dtype == np.uint8
    assert (result.classes, result.groups) == (CLASSES, GROUPS)
    assert result.labels.tolist() == labels().tolist()
    assert result.group_indices is not None
    assert result.group_indices.tolist() == groups().tolist()
    assert result.pairs is result.clusters is result.splits is None


def with_columns(root: Path, columns: dict[str, Any], **more: list[Any]) -> SourceData:
    source = written("folder", root)
    table = pa.csv.read_csv(root / "about.csv")
    for name, values in more.items():
        table = table.append_column(name, pa.array(values))
    pa.csv.write_csv(table, root / "about.csv")
    return read(root, source | {"columns": source["columns"] | columns})


def test_pairs_clusters_and_splits_come_from_their_columns(tmp_path: Path) -> None:
    pair, person = [i // 2 for i in range(N)], [f"person {i % 5}" for i in range(N)]
    fold = ["a" if i < 30 else "b" for i in range(N)]

    result = with_columns(
        tmp_path, {"pair": "pair", "cluster": "who", "split": "fold"}, pair=pair, who=person, fold=fold
    )

    assert result.pairs is not None
    assert result.clusters is not None
    assert result.splits is not None
    # Numbers that are equal exactly where the values are.
    for numbers, values in ((result.pairs, np.array(pair)), (result.clusters, np.array(person))):
        assert np.array_equal(numbers[:, None] == numbers, values[:, None] == values)
    assert result.splits.tolist() == fold


def test_a_file_for_each_split_names_the_splits(tmp_path: Path) -> None:
    source = written("folder", tmp_path)
    table = pa.csv.read_csv(tmp_path / "about.csv")
    pa.csv.write_csv(table.slice(0, 30), tmp_path / "first.csv")
    pa.csv.write_csv(table.slice(30), tmp_path / "second.csv")

    result = read(tmp_path, source | {"metadata": {"learn": "first.csv", "test": "second.csv"}})

    assert np.array_equal(result.images, images())
    assert result.splits is not None
    assert result.splits.tolist() == ["learn"] * 30 + ["test"] * 10


def test_one_attribute_makes_its_values_the_groups(tmp_path: Path) -> None:
    result = with_columns(tmp_path, {"groups": "sex"})

    assert result.groups == ("f", "m")


def test_an_attribute_of_numbers_says_which_it_is(tmp_path: Path) -> None:
    result = with_columns(tmp_path, {"groups": ["tens"]}, tens=[10 * (i % 3) for i in range(N)])

    assert result.groups == ("tens=0", "tens=10", "tens=20")


def test_groups_of_several_attributes_know_their_values(tmp_path: Path) -> None:
    result = with_columns(tmp_path, {"groups": ["tens", "sex"]}, tens=[10 * (i % 2) for i in range(N)])

    assert result.groups == ("tens=0×f", "tens=0×m", "tens=10×f", "tens=10×m")
    assert result.attributes == (("tens=0", "f"), ("tens=0", "m"), ("tens=10", "f"), ("tens=10", "m"))


@pytest.mark.parametrize("blank", ["?", "", None])
def test_a_declared_value_or_none_at_all_means_that_an_attribute_is_not_known(
    tmp_path: Path, blank: str | None
) -> None:
    columns = {"groups": ["sex", "tens"], "unknown": "?"}

    result = with_columns(tmp_path, columns, tens=[(blank, "10", "20")[i % 3] for i in range(N)])

    assert result.groups == ("f×tens=10", "f×tens=20", "f×?", "m×tens=10", "m×tens=20", "m×?")
    assert result.attributes[2] == ("f", None)
    assert result.group_indices is not None
    assert (result.group_indices % 3).tolist() == [(2, 0, 1)[i % 3] for i in range(N)]


def test_labels_that_are_numbers_stand_in_the_order_of_numbers(tmp_path: Path) -> None:
    result = with_columns(tmp_path, {"label": "digit"}, digit=[(2, 10, 9)[i % 3] for i in range(N)])

    assert result.classes == ("2", "9", "10")
    assert result.labels[:3].tolist() == [0, 2, 1]


def test_declared_classes_keep_their_order_and_may_be_absent(tmp_path: Path) -> None:
    result = read(tmp_path, written("folder", tmp_path) | {"classes": ["horse", "dog", "cat"]})

    assert result.classes == ("horse", "dog", "cat")
    assert result.labels[:2].tolist() == [2, 1]


def test_a_csv_keeps_leading_zeros_and_takes_quoted_line_breaks(tmp_path: Path) -> None:
    source = written("folder", tmp_path)
    rows = [f'{i}.png,{("007", "7")[i % 2]},"a\nb"' for i in range(0, N, 3)]
    (tmp_path / "about.csv").write_text("\n".join(["file_name,kind,sex", *rows, "3.png,7,c"]) + "\n")

    result = read(tmp_path, source | {"columns": {"image": "file_name", "label": "sex", "groups": "kind"}})

    assert result.groups == ("kind=007", "kind=7")
    assert result.classes == ("a\nb", "c")


@pytest.mark.parametrize("size", [7, 257, 16.0, "16", None, True])
def test_a_size_that_digits_do_not_have_is_refused(size: object) -> None:
    with pytest.raises(ConfigError, match=rf"params\.yaml: data\.source\.size is {size!r}; "):
        read_source("digits", {"size": size}, root=Path())


def test_an_unknown_source_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=f"data.source.name is 'digit'; choose one of {', '.join(SOURCES)}"):
        read_source("digit", {}, root=Path())


COMPLETE = {"path": "all.npz", "columns": COLUMNS | {"image": "x"}}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("digits", {}, "data.source.size is missing"),
        ("digits", {"size": 16, "sise": 16}, "data.source.sise is not a known key"),
        ("digits", {"size": 16, "root": "/"}, "data.source.root is not a known key"),
        ("npz", {"columns": COLUMNS}, "data.source.path is missing"),
        ("npz", COMPLETE | {"columns": COLUMNS | {"lable": "y"}}, "data.source.columns.lable is not a known key"),
        ("npz", COMPLETE | {"columns": {"image": "x"}}, "data.source.columns.label is missing; the source 'npz' needs"),
        (
            "table",
            COMPLETE | {"columns": {"label": "x"}},
            "data.source.columns.image is missing; the source 'table' needs",
        ),
        ("npz", COMPLETE | {"path": 3}, "data.source.path is 3; "),
        ("npz", COMPLETE | {"path": {}}, "data.source.path is {}; "),
        ("npz", COMPLETE | {"classes": ["a", "a"]}, "data.source.classes: each name may occur once"),
        ("npz", COMPLETE | {"classes": ["a"]}, "data.source.classes is .*; .*at least 2"),
        ("npz", COMPLETE | {"pixels": {"channels": 2}}, "data.source.pixels.channels is 2; .*1 or 3"),
        ("npz", COMPLETE | {"pixels": {"size": 16}}, "data.source.pixels: size and resize must be set together"),
        ("npz", COMPLETE | {"pixels": {"size": 4, "resize": "pad"}}, "data.source.pixels.size is 4; "),
        ("npz", COMPLETE | {"pixels": {"range": [1, 0]}}, "data.source.pixels: range must be two finite numbers"),
        (
            "npz",
            COMPLETE | {"pixels": {"range": [0, float("inf")]}},
            "data.source.pixels: range must be two finite numbers",
        ),
        ("npz", COMPLETE | {"columns": COMPLETE["columns"] | {"groups": []}}, "data.source.columns.groups is "),
        (
            "idx",
            {"images": "i", "labels": "l", "columns": {"groups": "g"}},
            "`attributes`, the files, and `columns`, their arrays, must be set together",
        ),
        (
            "idx",
            {"images": "i", "labels": {"train": "l"}},
            "data.source.labels and data.source.images have different splits",
        ),
    ],
)
def test_options_that_a_source_does_not_have_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=rf"^params\.yaml: .*{message}") as caught:
        read_source(name, options, root=Path("/nowhere"))

    assert len(str(caught.value).splitlines()) == 1


def test_images_of_two_sizes_are_refused_or_brought_to_one(tmp_path: Path) -> None:
    source = written("folder", tmp_path)
    (tmp_path / "pictures/3.png").write_bytes(png(np.zeros((3, 20, 12), np.uint8)))

    with pytest.raises(ShapeError, match=r"3\.png: the image has the shape \(3, 20, 12\), .*size and resize"):
        read(tmp_path, source).in_memory()
    result = read(tmp_path, source | {"pixels": {"channels": 1, "size": 16, "resize": "crop"}})
    assert result.images.shape == (N, 1, 16, 16)


def test_a_source_says_that_a_file_is_missing(tmp_path: Path) -> None:
    for form in FORMS:
        (tmp_path / form).mkdir()
        source = written(form, tmp_path / form)
        with pytest.raises(FairDistillError, match=r"missing|is not a folder"):
            read(tmp_path, source)


def test_names_of_columns_that_a_file_does_not_have_are_told_with_those_it_has(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"about\.csv has no column 'sx'; it has 'file_name', 'kind', 'sex', 'age'"):
        with_columns(tmp_path, {"groups": "sx"})
    assert set(facts()) == {"kind", "sex", "age"}

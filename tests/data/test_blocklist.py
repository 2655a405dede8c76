"""The blocklist: a source with an erased person gives the same files as a source without them, in every form."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from small_workspace import run, small_params, write_params

from fair_distill.config.loading import parse_mapping
from fair_distill.data.blocklist import Blocklist, apply_blocklist, blocklist_key, read_blocklist, select_examples
from fair_distill.data.columns import SourceData
from fair_distill.data.image_stream import ImageStream, StreamPart
from fair_distill.errors import ConfigError, DataError
from fair_distill.files import sha256
from fair_distill.stages.erase_blocklist import with_blocklist

KEY = b"a secret key of at least 32 bytes"
PEOPLE = np.arange(60) // 2


def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (60, 8, 8)).astype(np.uint8)


def columns(rows: np.ndarray) -> dict[str, list[str]]:
    return {
        "kind": [("cat", "dog")[row // 2 % 2] for row in rows],
        "sex": [("f", "m")[row // 4 % 2] for row in rows],
        "person": [f"p{PEOPLE[row]}" for row in rows],
        "name": [f"n{row}" for row in rows],
        "pair": [f"q{row // 2}" for row in rows],
    }


def write_npz(root: Path, rows: np.ndarray) -> dict[str, Any]:
    np.savez(root / "data.npz", x=images()[rows], **{name: np.array(text) for name, text in columns(rows).items()})
    return {"name": "npz", "path": "data.npz", "columns": {"image": "x"}}


def write_folder(root: Path, rows: np.ndarray) -> dict[str, Any]:
    folder = root / "images"
    folder.mkdir(exist_ok=True)
    for row in rows:
        Image.fromarray(images()[row]).save(folder / f"{row:03}.png")
    files = {"file_name": [f"{row:03}.png" for row in rows]}
    pq.write_table(pa.table(files | columns(rows)), root / "people.parquet")
    return {"name": "image_folder", "path": "images", "metadata": "people.parquet", "columns": {"image": "file_name"}}


@pytest.mark.parametrize("write", [write_npz, write_folder])
@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("cluster", {"cluster": "person"}),
        ("cluster", {"cluster": "person", "example_id": "name"}),
        ("example", {"example_id": "name"}),
        ("pair", {"pair": "pair"}),
    ],
)
def test_a_blocked_person_leaves_no_trace_in_the_prepared_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Any, kind: str, given: dict[str, str]
):
    monkeypatch.setenv("FAIR_DISTILL_BLOCKLIST_KEY", KEY.decode())
    gone = PEOPLE == 7
    names = {"cluster": ["p7"], "example": ["n14", "n15"], "pair": ["q7"]}[kind]
    blocklist = Blocklist().with_names(kind, names, key=KEY)
    prepared = []
    for name, rows in (("with", np.arange(60)), ("without", np.flatnonzero(~gone))):
        root = tmp_path / name
        root.mkdir()
        params = small_params()
        source = write(root, rows)
        source["columns"] |= {"label": "kind", "groups": ["sex"], **given}
        params["data"] = {"source": source, "splits": {"train": 0.5, "tune": 0.2, "gate": 0.3}}
        if name == "with":
            params["data"]["blocklist"] = sha256(blocklist.to_json())
            (root / "blocklist.json").write_bytes(blocklist.to_json())
        write_params(root, params)
        ended = run(root, "stage", "prepare")
        assert ended.code == 0, ended.err
        assert ("left out 2 examples" in ended.out) == (name == "with")
        prepared.append({path.name: path.read_bytes() for path in (root / "artifacts").rglob("*.arrow")})

    assert prepared[0] == prepared[1]


def source(numbers: list[int] | None = None, **given: Any) -> SourceData:
    count = 6
    labels = np.array([0, 1] * 3, np.int32)
    clusters = None if numbers is None else np.array(numbers, np.int32)
    made = {"classes": ("a", "b"), "group_indices": labels, "groups": ("f", "m"), "clusters": clusters}
    return SourceData(np.zeros((count, 1, 2, 2), np.uint8), labels, **{**made, **given})


def test_clusters_without_names_keep_their_numbers_because_these_are_their_names():
    data = source([0, 0, 3, 3, 5, 5])
    blocked = Blocklist().with_names("cluster", ["3"], key=KEY).blocked(data, key=KEY)

    assert blocked.tolist() == [False, False, True, True, False, False]
    assert select_examples(data, ~blocked).clusters.tolist() == [0, 0, 5, 5]


def test_equal_names_of_another_kind_are_not_blocked():
    data = source([0, 0, 1, 1, 2, 2], ids=pa.array(list("012345"), pa.large_string()))

    assert not Blocklist().with_names("pair", ["1"], key=KEY).blocked(data, key=KEY).any()
    assert (
        Blocklist().with_names("example", ["1"], key=KEY).blocked(data, key=KEY).tolist() == [False, True] + [False] * 4
    )


def test_a_stream_that_changes_while_it_is_read_is_refused():
    stream = ImageStream((StreamPart("a.bin", 6, lambda size: iter([np.zeros((7, 1, 2, 2), np.uint8)])),))
    kept = select_examples(source(), np.array([True] * 5 + [False]))
    assert len(kept) == 5
    data = SourceData(stream, source().labels, ("a", "b"), source().labels, ("f", "m"))

    with pytest.raises(DataError, match=r"a\.bin had 6 images when they were counted"):
        list(select_examples(data, np.array([True] * 5 + [False])).images.batches())  # type: ignore[union-attr]


def test_a_file_that_was_edited_and_a_list_of_everybody_are_refused(tmp_path: Path):
    path = tmp_path / "blocklist.json"
    everybody = Blocklist().with_names("cluster", ["0", "1", "2"], key=KEY)
    environment = {"FAIR_DISTILL_BLOCKLIST_KEY": KEY.decode()}
    path.write_bytes(everybody.to_json())

    with pytest.raises(DataError, match="all 6 examples"):
        apply_blocklist(source([0, 0, 1, 1, 2, 2]), path, sha256(path), environment=environment)
    with pytest.raises(ConfigError, match=r"params\.yaml: data\.blocklist is missing"):
        apply_blocklist(source([0, 0, 1, 1, 2, 2]), path, None, environment=environment)
    path.write_bytes(everybody.to_json().replace(b'"format": 1', b'"format": 2'))
    with pytest.raises(ConfigError, match="not a blocklist of format 1"):
        read_blocklist(path)
    with pytest.raises(ConfigError, match="has 3 characters"):
        blocklist_key({"FAIR_DISTILL_BLOCKLIST_KEY": "abc"})
    with pytest.raises(ConfigError, match="another key"):
        everybody.with_names("cluster", ["4"], key=b"b" * 40)


DIGEST = "0" * 60 + "1234"


@pytest.mark.parametrize(
    "text",
    [
        "seed: 0\ndata:   # the data\n  # a comment\n  source: {name: digits}\nother: {}\n",
        "data:\n    source:\n        name: digits\n",
        'data:\n  source: {name: digits}\n  blocklist: "' + "f" * 64 + '"  # old\nlast: [1]\n',
        "data:\n  source: {name: digits, blocklist: 3}\nbelow:\n  blocklist: stays\n",
        "data:\n\n  source: {name: digits}",
    ],
)
def test_params_get_the_digest_and_nothing_else_changes(text: str):
    edited = with_blocklist(text, DIGEST, name="params.yaml")

    before, after = parse_mapping(text, name="a"), parse_mapping(edited, name="b")
    assert after == {**before, "data": {**before["data"], "blocklist": DIGEST}}
    lines = [line for line in text.splitlines() if "old" not in line]
    assert [line for line in edited.splitlines() if DIGEST not in line] == lines
    assert with_blocklist(edited, DIGEST, name="params.yaml") == edited


@pytest.mark.parametrize("text", ["data: {source: {name: digits}}\n", "data: &anchor\n  source: {name: digits}\n"])
def test_params_of_another_form_are_refused_with_the_line_to_write(text: str):
    with pytest.raises(ConfigError, match=f'Write `blocklist: "{DIGEST}"` into it'):
        with_blocklist(text, DIGEST, name="params.yaml")

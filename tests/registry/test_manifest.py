"""What names a version, and the folder that a set's files lie in before they are published."""

import json
from hashlib import sha256
from pathlib import Path

import pytest
from small_registry import package

from fair_distill.errors import DataError, IntegrityError
from fair_distill.files import to_json
from fair_distill.registry.manifest import MANIFEST_FILE, SET_FILE, Manifest, read_version, write_version

ONE, TWO = package(1), package(2)
VALUE = json.loads(ONE.manifest.to_json())


def test_a_version_is_the_sha256_of_its_manifest_and_comes_back_with_it():
    content = ONE.manifest.to_json()

    assert ONE.version == sha256(content).hexdigest()
    assert Manifest.from_json(content).version == ONE.version
    assert TWO.version != ONE.version
    assert VALUE["format"] == 1


@pytest.mark.parametrize(
    "content",
    [
        ONE.manifest.to_json().replace(b"\n", b"\n\n"),
        json.dumps(VALUE).encode(),
        to_json({**VALUE, "more": 1}),
        to_json({**VALUE, "format": 2}),
        to_json({key: value for key, value in VALUE.items() if key != "engine"}),
        to_json({**VALUE, "files": [{**VALUE["files"][0], "more": 1}]}),
        to_json({**VALUE, "files": [{**VALUE["files"][0], "size": True}]}),
        to_json({**VALUE, "files": VALUE["files"] * 2}),
        to_json({**VALUE, "files": 1}),
        to_json({**VALUE, "card": {**VALUE["card"], "shape": [1]}}),
        ONE.manifest.to_json().replace(b'"engine": 1', b'"engine": 1e999'),
        ONE.manifest.to_json().replace(b'"seed": 1', b'"seed": "\\ud800"'),
        ONE.manifest.to_json()[:-3],
        b"",
    ],
)
def test_only_what_a_manifest_wrote_is_read_as_one(content: bytes):
    with pytest.raises(IntegrityError):
        Manifest.from_json(content)


def test_a_folder_gives_back_what_was_written_to_it(tmp_path: Path):
    write_version(tmp_path, ONE.manifest, ONE.files)

    assert read_version(tmp_path, made_by="fair-distill stage distill") == (ONE.manifest, ONE.files)


def test_a_folder_whose_writing_was_cut_short_is_not_whole(tmp_path: Path):
    write_version(tmp_path, ONE.manifest, ONE.files)

    with pytest.raises(TypeError):
        write_version(tmp_path, TWO.manifest, {SET_FILE: None})

    with pytest.raises(
        DataError, match=r"manifest\.json is missing; run `fair-distill stage distill`, which writes it"
    ):
        read_version(tmp_path, made_by="fair-distill stage distill")


@pytest.mark.parametrize("file", [SET_FILE, MANIFEST_FILE])
def test_a_folder_with_an_edited_file_is_refused(tmp_path: Path, file: str):
    write_version(tmp_path, ONE.manifest, ONE.files)
    content = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])

    with pytest.raises(IntegrityError, match=file):
        read_version(tmp_path, made_by="fair-distill stage distill")
